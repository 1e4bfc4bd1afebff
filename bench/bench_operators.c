/* Where the time of a pass goes: every operator of a pruned model timed by itself, one member with
 * images of its own, and summed by kind; the predictors' operators make a kind of their own. The
 * fastest of many passes counts for each operator, so that what disturbs the machine for a while
 * disappears.
 *
 *     bench_operators [MODEL [IMAGES [PRECISION [SECONDS [KEEP]]]]]
 *     MODEL      preset or "vit:…" text; random weights, three stages at keep ratio 0.7 [deit-s]
 *     IMAGES     that the member carries together [4]
 *     PRECISION  f32, bf16 or auto [f32]
 *     SECONDS    [5]
 *     KEEP       keep ratio; 1 is the dense path [0.7] */
#define _POSIX_C_SOURCE 199309L /* clock_gettime */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/rng.h"
#include "dvit/dvit.h"
#include "graph/forward.h"
#include "models/model.h"
#include "models/vit.h"

enum { MAX_KINDS = 32 };

struct pass {
    struct dvit_model *model;
    struct dvit_graph *graph;
    struct dvit_vit_values values;
    struct dvit_kernels kernels;
    struct dvit_products products;
    struct dvit_forward forward;
    float **parameters;
    float *pixels;
    double *best;    /* [op_count] seconds */
    double *seconds; /* [op_count] of one pass */
    double whole;    /* the fastest pass */
    atomic_int failure;
    int images;
};

static void check(enum dvit_status status, const struct dvit_error *error)
{
    if (status == DVIT_OK)
        return;
    fprintf(stderr, "bench_operators: %s\n", error->message);
    exit(1);
}

static void *take(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory)
        exit(1);
    return memory;
}

static void open_pass(struct pass *p, const char *text, int images, const char *precision,
                      double keep)
{
    struct dvit_config config;
    struct dvit_error error;
    enum dvit_precision chosen;
    struct dvit_vit_options options = {.keep = keep};
    p->images = images;
    check(dvit_config_parse(text, &config, &error), &error);
    dvit_config_add_stages(&config, 3, 0.7);
    check(dvit_model_create(&p->model, &config, 1, &error), &error);
    check(dvit_cpu_parse_precision(precision, dvit_cpu_best(), false, &chosen, &error), &error);
    options.bf16 = chosen == DVIT_PRECISION_BF16;
    dvit_kernels_select(&p->kernels, dvit_cpu_best());
    const struct dvit_parameters *parameters = &p->model->parameters;
    check(dvit_vit_build(&p->graph, &p->values, &config, parameters, &options, &error), &error);
    check(dvit_products_create(&p->products, p->graph, dvit_cpu_best(), 1, &error), &error);
    check(dvit_products_prepare(&p->products, p->graph, images, false, &error), &error);
    p->parameters = take(parameters->count, sizeof *p->parameters);
    dvit_parameters_pointers(parameters, p->model->weights, p->parameters);
    check(dvit_products_pack(&p->products, p->graph, (const float *const *)p->parameters, NULL,
                             &error),
          &error);
    check(dvit_forward_create(&p->forward, p->graph, &p->kernels, &p->products, images, 1, &error),
          &error);
    size_t pixels = (size_t)images * p->graph->values[p->values.pixels].width;
    struct dvit_rng rng = dvit_rng_stream(1, DVIT_RNG_BENCH_INPUT, 0, 0);
    p->pixels = take(pixels, sizeof *p->pixels);
    for (size_t i = 0; i < pixels; i++)
        p->pixels[i] = (float)dvit_rng_normal(&rng);
    p->best = take((size_t)p->graph->op_count, sizeof *p->best);
    p->seconds = take((size_t)p->graph->op_count, sizeof *p->seconds);
    p->whole = INFINITY;
    for (int i = 0; i < p->graph->op_count; i++)
        p->best[i] = INFINITY;
}

/* The processor's time, not the wall's: what else the machine does hurts little. */
static double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void time_pass(struct pass *p)
{
    const size_t count = (size_t)p->graph->op_count;
    struct dvit_forward_times times = {.seconds = p->seconds};
    struct dvit_forward_job job = {.forward = &p->forward,
                                   .parameters = (const float *const *)p->parameters,
                                   .images = p->images,
                                   .failure = &p->failure,
                                   .times = &times};
    dvit_forward_begin(&p->forward, p->images);
    p->forward.values[p->values.pixels] = p->pixels;
    memset(p->seconds, 0, count * sizeof *p->seconds);
    double begin = thread_seconds();
    dvit_forward_run(&job, 0, 0);
    p->whole = fmin(p->whole, thread_seconds() - begin);
    for (size_t i = 0; i < count; i++)
        p->best[i] = fmin(p->best[i], p->seconds[i]);
}

static const char *kind_of(const struct dvit_op *op)
{
    return strncmp(op->name, "score_predictor", 15) == 0 ? "predictors" : op->class->kind;
}

static void print_kinds(const struct pass *p)
{
    struct {
        const char *name;
        double seconds, macs;
        int count;
    } kinds[MAX_KINDS] = {0};
    double total = 0, macs = dvit_graph_macs(p->graph) * p->images;
    int count = 0;
    for (int i = 0; i < p->graph->op_count; i++) {
        const struct dvit_op *op = &p->graph->ops[i];
        int k = 0;
        while (k < count && strcmp(kinds[k].name, kind_of(op)) != 0)
            k++;
        if (k == MAX_KINDS)
            continue;
        count = k == count ? count + 1 : count;
        kinds[k].name = kind_of(op);
        kinds[k].count++;
        kinds[k].seconds += p->best[i];
        kinds[k].macs += op->class->macs ? op->class->macs(p->graph, op) * p->images : 0;
        total += p->best[i];
    }
    printf("%-16s %5s %12s %7s %9s\n", "kind", "count", "µs/image", "share", "GFLOP/s");
    for (int k = 0; k < count; k++)
        printf("%-16s %5d %12.1f %6.2f%% %9.1f\n", kinds[k].name, kinds[k].count,
               kinds[k].seconds * 1e6 / p->images, 100 * kinds[k].seconds / total,
               2e-9 * kinds[k].macs / kinds[k].seconds);
    printf("%-16s %5d %12.1f\n", "all", p->graph->op_count, total * 1e6 / p->images);
    printf("%-16s %5s %12.1f %7s %9.1f\n", "fastest pass", "", p->whole * 1e6 / p->images, "",
           2e-9 * macs / p->whole);
}

int main(int argc, char **argv)
{
    struct pass p = {0};
    int images = argc > 2 ? atoi(argv[2]) : 4;
    double seconds = argc > 4 ? atof(argv[4]) : 5, begin;
    open_pass(&p, argc > 1 ? argv[1] : "deit-s", images < 1 ? 1 : images,
              argc > 3 ? argv[3] : "f32", argc > 5 ? atof(argv[5]) : 0.7);
    begin = dvit_clock_seconds();
    do
        time_pass(&p);
    while (dvit_clock_seconds() - begin < seconds);
    print_kinds(&p);
    dvit_forward_free(&p.forward);
    dvit_products_free(&p.products);
    dvit_graph_free(p.graph);
    dvit_model_free(p.model);
    free(p.parameters), free(p.pixels), free(p.best), free(p.seconds);
    return atomic_load(&p.failure) == DVIT_OK ? 0 : 1;
}
