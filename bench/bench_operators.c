/* Where the time of a pass goes: every operator of a pruned model timed by itself, one member with
 * images of its own, and summed by kind; the predictors' operators make a kind of their own. The
 * fastest of many passes counts for each operator, so that what disturbs the machine for a while
 * disappears.
 *
 *     bench_operators [MODEL [IMAGES [PRECISION [SECONDS]]]]
 *     MODEL      preset or "vit:…" text; random weights, three stages at keep ratio 0.7 [deit-s]
 *     IMAGES     that the member carries together [4]
 *     PRECISION  f32, bf16 or auto [f32]
 *     SECONDS    [5] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    double *best; /* [op_count] seconds */
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

static void open_pass(struct pass *p, const char *text, int images, const char *precision)
{
    struct dvit_config config;
    struct dvit_error error;
    enum dvit_precision chosen;
    struct dvit_vit_options options = {.keep = 0.7};
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
    check(dvit_products_pack(&p->products, p->graph, (const float *const *)p->parameters, &error),
          &error);
    check(dvit_forward_create(&p->forward, p->graph, &p->kernels, &p->products, images, 1, &error),
          &error);
    size_t pixels = (size_t)images * p->graph->values[p->values.pixels].width;
    struct dvit_rng rng = dvit_rng_stream(1, DVIT_RNG_BENCH_INPUT, 0, 0);
    p->pixels = take(pixels, sizeof *p->pixels);
    for (size_t i = 0; i < pixels; i++)
        p->pixels[i] = (float)dvit_rng_normal(&rng);
    p->best = take((size_t)p->graph->op_count, sizeof *p->best);
    for (int i = 0; i < p->graph->op_count; i++)
        p->best[i] = INFINITY;
}

static void time_pass(struct pass *p)
{
    dvit_forward_begin(&p->forward, p->images);
    p->forward.values[p->values.pixels] = p->pixels;
    struct dvit_run run = {.graph = p->graph,
                           .kernels = &p->kernels,
                           .images = p->images,
                           .layout = p->forward.layout,
                           .values = p->forward.values,
                           .parameters = (const float *const *)p->parameters,
                           .kept = p->forward.kept,
                           .scratch = p->forward.scratch,
                           .members = 1,
                           .failure = &p->failure};
    for (int i = 0; i < p->graph->op_count; i++) {
        const struct dvit_op *op = &p->graph->ops[i];
        double begin = dvit_clock_seconds();
        op->class->forward(op, &run);
        p->best[i] = fmin(p->best[i], dvit_clock_seconds() - begin);
    }
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
    double total = 0;
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
}

int main(int argc, char **argv)
{
    struct pass p = {0};
    int images = argc > 2 ? atoi(argv[2]) : 4;
    double seconds = argc > 4 ? atof(argv[4]) : 5, begin;
    open_pass(&p, argc > 1 ? argv[1] : "deit-s", images < 1 ? 1 : images,
              argc > 3 ? argv[3] : "f32");
    begin = dvit_clock_seconds();
    do
        time_pass(&p);
    while (dvit_clock_seconds() - begin < seconds);
    print_kinds(&p);
    dvit_forward_free(&p.forward);
    dvit_products_free(&p.products);
    dvit_graph_free(p.graph);
    dvit_model_free(p.model);
    free(p.parameters), free(p.pixels), free(p.best);
    return atomic_load(&p.failure) == DVIT_OK ? 0 : 1;
}
