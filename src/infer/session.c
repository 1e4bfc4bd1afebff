/* The inference session: schedules a batch over a team of threads.
 *
 * Each member carries whole images through all layers in a lane of its own, in groups that keep the
 * activations in cache; nothing is synchronised. What is left over when the batch does not divide,
 * and a batch of one, goes through one shared lane whose rows the members split. All products,
 * packed weights, plans and memory are made at creation. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/free_memory.h"
#include "base/threads.h"
#include "dvit/infer.h"
#include "graph/forward.h"
#include "infer/packed_cache.h"
#include "infer/profile.h"
#include "models/model.h"
#include "infer/session.h"
#include "models/vit.h"

enum {
    GROUP_IMAGES = 4, /* that a member carries together: more rows per product, still in cache */
    MAX_BATCH = 4096,
};

struct dvit_session {
    const struct dvit_model *model;
    double keep;
    int max_batch;
    enum dvit_precision precision;
    struct dvit_cost cost;
    struct dvit_kernels kernels;
    struct dvit_threads *threads;
    struct dvit_graph *graph;
    struct dvit_vit_values values;
    struct dvit_products products;
    struct dvit_forward *lanes; /* [members]: one each */
    struct dvit_forward shared; /* whose rows all split; unused with one member */
    bool has_shared;
    struct dvit_arena arena;
    float **parameters;
    int **kept; /* [stages]: max_batch × kept[stage] */
    struct dvit_times times;
    char packed_trouble[DVIT_PACKED_TROUBLE]; /* "": none */

    /* of the run in progress */
    const float *pixels;
    float *logits;
    int count;     /* images */
    int own_count; /* images that members carry whole, members × own share; then the shared rest */
    atomic_int failure;
    struct dvit_observer observer;
};

struct dvit_session_options dvit_session_options_default(void)
{
    return (struct dvit_session_options){.keep = 0, .max_batch = 32, .threads = 0, .cpu = "auto"};
}

static enum dvit_status check_options(struct dvit_session *s, struct dvit_session_options *o,
                                      struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    if (!(o->keep >= 0 && o->keep <= 1))
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "keep is %g, expected above 0 up to 1", o->keep);
    if (o->max_batch < 1 || o->max_batch > MAX_BATCH)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "batch is %d, expected 1 to %d", o->max_batch,
                  MAX_BATCH);
    if (o->threads < 0 || o->threads > DVIT_MAX_THREADS)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "threads is %d, expected 0 to %d", o->threads,
                  DVIT_MAX_THREADS);
    if (o->threads == 0)
        o->threads = dvit_threads_default();
    const struct dvit_config *config = &s->model->config;
    if (o->keep == 0)
        o->keep = config->stages ? config->keep : 1.0;
    if (o->keep < 1 && !config->stages)
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH,
                  "keep is %g, but the model \"%s\" is dense: it has no predictors to prune with "
                  "(make a dynamic one with `dvit sparsify`)",
                  o->keep, config->name);
    DVIT_TRY(dvit_config_check_keep(config, o->keep, error));
    s->keep = o->keep;
    s->max_batch = o->max_batch;
done:
    return status;
}

static enum dvit_status choose_precision(struct dvit_session *s, const char *name,
                                         enum dvit_cpu cpu, struct dvit_error *error)
{
    bool quantised = dvit_model_quantised_layers(s->model) > 0;
    enum dvit_status status = dvit_cpu_parse_precision(name, cpu, quantised, &s->precision, error);
    if (status == DVIT_OK && s->precision == DVIT_PRECISION_INT8 && !quantised)
        return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                              "precision int8 needs a calibrated model and this one is not; `dvit "
                              "quantize` makes one (dvit_model_calibrate)");
    return status;
}

/* Whether what int8 leaves in floats – attention, head, predictors – multiplies in bfloat16. */
static bool rounds_the_rest(enum dvit_precision precision, enum dvit_cpu cpu)
{
    return precision == DVIT_PRECISION_BF16 ||
           (precision == DVIT_PRECISION_INT8 && dvit_cpu_can(cpu, DVIT_PRECISION_BF16));
}

/* Row counts of every way a run can be cut. */
static enum dvit_status prepare_products(struct dvit_session *s, int members,
                                         struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    int whole = s->max_batch / members;
    int largest_group = whole < GROUP_IMAGES ? whole : GROUP_IMAGES;
    for (int images = 1; images <= largest_group; images++)
        DVIT_TRY(dvit_products_prepare(&s->products, s->graph, images, false, error));
    int rest = s->max_batch < members - 1 ? s->max_batch : members - 1;
    for (int images = 1; images <= rest; images++)
        DVIT_TRY(dvit_products_prepare(&s->products, s->graph, images, true, error));
done:
    return status;
}

static enum dvit_status create_lanes(struct dvit_session *s, int members, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    int whole = s->max_batch / members;
    int group = whole < GROUP_IMAGES ? whole : GROUP_IMAGES;
    s->lanes = calloc((size_t)members, sizeof *s->lanes);
    if (!s->lanes)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "session: out of memory");
    for (int m = 0; m < members && group > 0; m++)
        DVIT_TRY(dvit_forward_create(&s->lanes[m], s->graph, &s->kernels, &s->products, group, 1,
                                     error));
    int rest = s->max_batch < members - 1 ? s->max_batch : members - 1;
    if (rest > 0) {
        DVIT_TRY(dvit_forward_create(&s->shared, s->graph, &s->kernels, &s->products, rest, members,
                                     error));
        s->has_shared = true;
    }
done:
    return status;
}

const char *dvit_session_note(const struct dvit_session *s, size_t index)
{
    return s && index == 0 && s->packed_trouble[0] ? s->packed_trouble : NULL;
}

static void lay_out(struct dvit_session *s)
{
    int stages = s->graph->stages;
    s->parameters = dvit_arena_take(&s->arena, s->model->parameters.count, sizeof *s->parameters);
    s->kept = dvit_arena_take(&s->arena, (size_t)stages + 1, sizeof *s->kept);
    for (int i = 0; i < stages; i++) {
        int *kept = dvit_arena_take(&s->arena, (size_t)s->max_batch * (size_t)s->graph->kept[i],
                                    sizeof *kept);
        if (s->kept)
            s->kept[i] = kept;
    }
}

static enum dvit_status fill_packed(struct dvit_session *s, const char *cache,
                                    struct dvit_error *error)
{
    const float *const *parameters = (const float *const *)s->parameters;
    enum dvit_status status = dvit_products_reserve(&s->products, s->graph, error);
    if (status != DVIT_OK)
        return status;
    if (!cache)
        return dvit_products_pack(&s->products, s->graph, parameters, s->threads, error);
    return dvit_packed_cache_fill(cache, &s->products, s->graph, s->model, parameters, s->threads,
                                  s->packed_trouble, error);
}

enum dvit_status dvit_session_create(struct dvit_session **out, const struct dvit_model *model,
                                     const struct dvit_session_options *options,
                                     struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, model);
    enum dvit_status status = DVIT_OK;
    struct dvit_session_options o = options ? *options : dvit_session_options_default();
    enum dvit_cpu cpu;
    struct dvit_session *s = calloc(1, sizeof *s);
    if (!s)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "session: out of memory");
    s->model = model;
    DVIT_TRY(check_options(s, &o, error));
    DVIT_TRY(dvit_cpu_parse(o.cpu ? o.cpu : "auto", &cpu, error));
    DVIT_TRY(choose_precision(s, o.precision, cpu, error));
    dvit_kernels_select(&s->kernels, cpu);
    DVIT_TRY(dvit_model_cost(&model->config, s->keep, &s->cost, error));
    DVIT_TRY(dvit_threads_create(&s->threads, o.threads, &dvit_matmul_setting, error));

    struct dvit_vit_options build = {.keep = s->keep,
                                     .bf16 = rounds_the_rest(s->precision, cpu),
                                     .inputs = s->precision == DVIT_PRECISION_INT8 ? model->inputs
                                                                                   : NULL};
    DVIT_TRY(
        dvit_vit_build(&s->graph, &s->values, &model->config, &model->parameters, &build, error));
    DVIT_TRY(dvit_products_create(&s->products, s->graph, cpu, o.threads, error));
    DVIT_TRY(prepare_products(s, o.threads, error));
    lay_out(s);
    DVIT_TRY(dvit_arena_commit(&s->arena, "session", error));
    lay_out(s);
    dvit_parameters_pointers(&model->parameters, model->weights, s->parameters);
    DVIT_TRY(fill_packed(s, o.packed_cache, error));
    DVIT_TRY(create_lanes(s, o.threads, error));
    DVIT_TRY(dvit_memory_check(dvit_session_describe(s).activation_bytes, "activations", error));
    *out = s;
    s = NULL;
done:
    dvit_session_free(s);
    return status;
}

void dvit_session_free(struct dvit_session *s)
{
    if (!s)
        return;
    for (int m = 0; s->lanes && m < dvit_threads_count(s->threads); m++)
        dvit_forward_free(&s->lanes[m]);
    free(s->lanes);
    dvit_forward_free(&s->shared);
    dvit_products_free(&s->products);
    dvit_graph_free(s->graph);
    dvit_threads_free(s->threads);
    dvit_times_free(&s->times);
    dvit_arena_free(&s->arena);
    free(s);
}

/* Points a lane at images first … first + count − 1 of the batch. */
static void bind(struct dvit_session *s, struct dvit_forward *lane, int first, int count)
{
    size_t pixels = s->graph->values[s->values.pixels].width;
    dvit_forward_begin(lane, count);
    /* The graph only reads its inputs. */
    lane->values[s->values.pixels] = (float *)s->pixels + (size_t)first * pixels;
}

/* Copies a lane's answers to their places in the batch. */
static void collect(struct dvit_session *s, const struct dvit_forward *lane, int first, int count)
{
    size_t classes = (size_t)s->model->config.classes, images = (size_t)count;
    memcpy(s->logits + (size_t)first * classes, lane->values[s->values.logits],
           images * classes * sizeof *s->logits);
    for (int stage = 0; stage < s->graph->stages; stage++) {
        size_t kept = (size_t)s->graph->kept[stage];
        memcpy(s->kept[stage] + (size_t)first * kept, lane->kept[stage],
               images * kept * sizeof **s->kept);
    }
}

static struct dvit_forward_job job_of(struct dvit_session *s, struct dvit_forward *lane, int count,
                                      int member)
{
    return (struct dvit_forward_job){
        .forward = lane,
        .parameters = (const float *const *)s->parameters,
        .images = count,
        .team = s->threads,
        .failure = &s->failure,
        .times = s->times.members ? &s->times.members[member] : NULL,
        .observer = s->observer,
    };
}

/* What every member does: its own images, then its rows of the rest. */
static void run_member(void *context, int member, int members)
{
    struct dvit_session *s = context;
    int share = s->own_count / members, first = member * share;
    for (int done = 0; done < share;) {
        int count = share - done < GROUP_IMAGES ? share - done : GROUP_IMAGES;
        struct dvit_forward_job job = job_of(s, &s->lanes[member], count, member);
        bind(s, job.forward, first + done, count);
        dvit_forward_run(&job, 0, member);
        collect(s, job.forward, first + done, count);
        done += count;
    }
    int rest = s->count - s->own_count;
    if (rest == 0)
        return;
    struct dvit_forward_job job = job_of(s, &s->shared, rest, member);
    dvit_forward_run(&job, member, member);
}

/* Of the profile, where there is one: a run that began at `begin` is over. */
static void note_run(struct dvit_session *s, double begin)
{
    if (!s->times.members)
        return;
    s->times.sum.seconds += dvit_clock_seconds() - begin;
    s->times.sum.images += s->count;
    s->times.sum.runs++;
}

enum dvit_status dvit_session_run(struct dvit_session *s, const float *pixels, int count,
                                  float *logits, struct dvit_error *error)
{
    DVIT_REQUIRE_AS(error, "session", s);
    DVIT_REQUIRE(error, pixels, logits);
    int members = dvit_threads_count(s->threads);
    if (count < 1 || count > s->max_batch)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "batch of %d images, expected 1 to %d",
                              count, s->max_batch);
    if (s->model->nonfinite > 0) /* softmax or rounding may hide a NaN: no answer would be one */
        return dvit_model_check_finite(s->model, error);
    enum dvit_status status = dvit_threads_resume(s->threads, error);
    if (status != DVIT_OK)
        return status;
    s->pixels = pixels;
    s->logits = logits;
    s->count = count;
    s->own_count = count / members * members;
    atomic_store(&s->failure, DVIT_OK);
    double begin = s->times.members ? dvit_clock_seconds() : 0;
    if (s->own_count < count)
        bind(s, &s->shared, s->own_count, count - s->own_count);
    dvit_threads_run(s->threads, run_member, s);
    if (s->own_count < count)
        collect(s, &s->shared, s->own_count, count - s->own_count);
    note_run(s, begin);
    int failure = atomic_load(&s->failure);
    if (failure != DVIT_OK)
        return dvit_error_set(error, (enum dvit_status)failure,
                              "the matrix-product backend (%s) refused a product",
                              dvit_products_server(&s->products));
    return DVIT_OK;
}

enum dvit_status dvit_session_check_model(const struct dvit_session *s,
                                          const struct dvit_model *model, struct dvit_error *error)
{
    const struct dvit_config *a = &s->model->config, *b = &model->config;
    if (a->classes == b->classes && a->image_width == b->image_width &&
        a->image_height == b->image_height)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                          "the session is of another model: %d classes of %d × %d pixels, "
                          "expected %d of %d × %d",
                          a->classes, a->image_width, a->image_height, b->classes, b->image_width,
                          b->image_height);
}

void dvit_session_observe(struct dvit_session *s, struct dvit_observer observer)
{
    s->observer = observer;
}

const int *dvit_session_kept(const struct dvit_session *s, int image, int stage, int *count)
{
    bool known = s && image >= 0 && image < s->count && stage >= 0 && stage < s->graph->stages;
    int kept = known ? s->graph->kept[stage] : 0;
    if (count)
        *count = kept;
    return known ? s->kept[stage] + (size_t)image * (size_t)kept : NULL;
}

int dvit_session_stages(const struct dvit_session *s)
{
    if (!s)
        return 0;
    return s->graph->stages;
}

struct dvit_session_info dvit_session_describe(const struct dvit_session *s)
{
    if (!s)
        return (struct dvit_session_info){0};
    struct dvit_session_info info = {
        .keep = s->keep,
        .threads = dvit_threads_count(s->threads),
        .max_batch = s->max_batch,
        .cpu = dvit_cpu_name(s->kernels.cpu),
        .precision = dvit_precision_name(s->precision),
        .backend = dvit_products_server(&s->products),
        .weight_bytes = s->products.packed.size_bytes,
        .activation_bytes = s->shared.arena.size_bytes,
        .cost = s->cost,
    };
    for (int m = 0; m < info.threads; m++)
        info.activation_bytes += s->lanes[m].arena.size_bytes;
    return info;
}

enum dvit_status dvit_session_profile_begin(struct dvit_session *s, struct dvit_error *error)
{
    DVIT_REQUIRE_AS(error, "session", s);
    return dvit_times_begin(&s->times, s->graph, dvit_threads_count(s->threads), error);
}

struct dvit_profile dvit_session_profile(const struct dvit_session *s)
{
    if (!s)
        return (struct dvit_profile){0};
    return s->times.sum;
}

size_t dvit_session_profile_rows(const struct dvit_session *s)
{
    if (!s)
        return 0;
    return s->times.members ? (size_t)s->graph->op_count + 1 : 0;
}

struct dvit_profile_row dvit_session_profile_row(const struct dvit_session *s, size_t index)
{
    if (index >= dvit_session_profile_rows(s))
        return (struct dvit_profile_row){0};
    return dvit_times_row(&s->times, s->graph, &s->model->parameters, index);
}
