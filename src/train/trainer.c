/* Creating a trainer, and the forward and backward of a micro-batch. The update is update.c. */
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/free_memory.h"
#include "base/rng.h"
#include "train/options.h"

/* Gradients are computed for what may be updated; a backbone whose rate is 0 for the first epochs
 * still gets them, for its moments. */
static bool is_trained(const struct dvit_train_options *o, const struct dvit_parameter *item)
{
    if (item->group == DVIT_GROUP_PREDICTOR)
        return true;
    if (item->group == DVIT_GROUP_STATISTICS)
        return false;
    if (o->freeze_backbone)
        return false;
    return item->group != DVIT_GROUP_EMBEDDING || !o->freeze_embeddings;
}

static enum dvit_status mark_trained(struct dvit_trainer *t, struct dvit_error *error)
{
    const struct dvit_parameters *p = &t->model->parameters;
    bool any = false;
    t->trained = calloc(p->count, sizeof *t->trained);
    if (!t->trained)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "trainer: out of memory");
    for (size_t i = 0; i < p->count; i++) {
        t->trained[i] = is_trained(&t->options, &p->items[i]);
        any = any || t->trained[i];
    }
    if (!any)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "nothing to train: the backbone is frozen and the model has no "
                              "predictors");
    return DVIT_OK;
}

/* A model that pools has one ratio, and none to draw. */
static enum dvit_status check_keep(const struct dvit_trainer *t, struct dvit_error *error)
{
    const struct dvit_config *c = &t->model->config;
    if (c->stages && c->pruning == DVIT_PRUNING_POOL && t->options.elastic_low > 0)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "elastic keep ratios, but the model \"%s\" pools its patches: it has "
                              "one ratio only, %g",
                              c->name, DVIT_POOL_KEEP);
    return c->stages ? dvit_config_check_keep(c, t->options.keep, error) : DVIT_OK;
}

/* In bfloat16 linear layers read the rounded weights. */
static void point_at_rounded(struct dvit_trainer *t)
{
    for (int i = 0; t->bf16 && i < t->graph->op_count; i++) {
        struct dvit_op *op = &t->graph->ops[i];
        if (op->class == &dvit_op_linear)
            op->product.packed = t->rounded + t->model->parameters.items[op->parameters[0]].offset +
                                 op->product.weight_first;
    }
}

static enum dvit_status build_student(struct dvit_trainer *t, enum dvit_cpu cpu, int members,
                                      struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_train_options *o = &t->options;
    struct dvit_vit_options build = {
        .training = true,
        .bf16 = t->bf16,
        .keep = o->keep,
        .trained = t->trained,
        .drop_path = o->drop_path > 0,
        .distill = t->teacher.logits,
        .distill_tokens = t->teacher.tokens,
        .weight_cls = o->weight_cls,
        .weight_ratio = o->weight_ratio,
        .weight_kl = o->weight_kl,
        .weight_token = o->weight_token,
        .weight_aux = o->weight_aux,
        .ratio_on_batch_mean = o->ratio_on_batch_mean,
        .ranked = o->elastic_low > 0,
        .lead_cap = o->decision_gradient_cap,
    };
    DVIT_TRY(dvit_vit_build(&t->graph, &t->values, &t->model->config, &t->model->parameters, &build,
                            error));
    DVIT_TRY(dvit_training_mark(t->graph, error));
    DVIT_TRY(dvit_products_create(&t->products, t->graph, cpu, members, error));
    DVIT_TRY(dvit_products_prepare(&t->products, t->graph, (o->batch + members - 1) / members,
                                   false, error));
    if (o->batch >= members && o->batch % members)
        DVIT_TRY(dvit_products_prepare(&t->products, t->graph, o->batch / members, false, error));
    DVIT_TRY(dvit_products_prepare_batch(t->graph, o->batch, error));
    point_at_rounded(t);
    DVIT_TRY(dvit_training_create(&t->training, t->graph, &t->kernels, &t->products, o->batch,
                                  members, error));
done:
    return status;
}

static void lay_out(struct dvit_trainer *t)
{
    const struct dvit_config *c = &t->model->config;
    const struct dvit_parameters *p = &t->model->parameters;
    size_t batch = (size_t)t->options.batch, classes = (size_t)c->classes;
    size_t patches = (size_t)dvit_config_patches(c);
    struct dvit_arena *a = &t->arena;
    t->gradients = dvit_arena_take(a, p->floats, sizeof(float));
    t->moment1 = dvit_arena_take(a, p->floats, sizeof(float));
    t->moment2 =
        t->optimizer == DVIT_OPTIMIZER_SGD ? NULL : dvit_arena_take(a, p->floats, sizeof(float));
    t->rate_scale = dvit_arena_take(a, p->count, sizeof *t->rate_scale);
    size_t norms = t->optimizer == DVIT_OPTIMIZER_LAMB ? 2 * DVIT_MAX_THREADS * p->count : 0;
    t->norms = dvit_arena_take(a, norms, sizeof *t->norms);
    t->parameters = dvit_arena_take(a, p->count, sizeof(float *));
    t->parameter_gradients = dvit_arena_take(a, p->count, sizeof(float *));
    t->targets = dvit_arena_take(a, batch * classes, sizeof(float));
    t->teacher_logits = dvit_arena_take(a, batch * t->teacher.classes, sizeof(float));
    t->teacher_tokens = dvit_arena_take(a, batch * t->teacher.compared, sizeof(float));
    t->noise = dvit_arena_take(a, (size_t)c->stages * batch * patches * 2, sizeof(float));
    t->branch_scale = dvit_arena_take(a, 2 * (size_t)c->depth * batch, sizeof(float));
    t->partial = dvit_arena_take(a, DVIT_MAX_THREADS, sizeof *t->partial);
    t->rounded = dvit_arena_take(a, t->bf16 ? p->floats : 0, sizeof *t->rounded);
    t->moments = dvit_arena_take(a, 2 * (size_t)c->stem_width, sizeof *t->moments);
}

static void bind_inputs(struct dvit_trainer *t)
{
    float **values = t->training.values;
    values[t->values.targets] = t->targets;
    if (t->teacher.logits)
        values[t->values.teacher_logits] = t->teacher_logits;
    if (t->teacher.tokens)
        values[t->values.teacher_tokens] = t->teacher_tokens;
    for (int i = 0; i < 2 * t->model->config.depth; i++)
        if (t->values.branch_scale[i] != DVIT_NONE)
            values[t->values.branch_scale[i]] = t->branch_scale + i * t->options.batch;
}

/* All of it together, while the system has handed out none of its pages. */
static enum dvit_status check_memory(const struct dvit_trainer *t, struct dvit_error *error)
{
    char what[80];
    snprintf(what, sizeof what, "training in batches of %d images", t->options.batch);
    return dvit_memory_check(t->arena.size_bytes + t->training.arena.size_bytes +
                                 t->teacher.arena.size_bytes,
                             what, error);
}

enum dvit_status dvit_trainer_create(struct dvit_trainer **out, struct dvit_model *model,
                                     const struct dvit_model *teacher,
                                     const struct dvit_train_options *options, long steps_per_epoch,
                                     long total_steps, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    enum dvit_cpu cpu;
    enum dvit_precision precision;
    *out = NULL;
    struct dvit_trainer *t = calloc(1, sizeof *t);
    if (!t)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "trainer: out of memory");
    t->model = model;
    t->asked = t->options = *options;
    dvit_train_options_fit(&t->options, total_steps);
    t->steps_per_epoch = steps_per_epoch;
    t->total_steps = total_steps;
    t->progress.best_top1 = -1;
    DVIT_TRY(dvit_train_options_check(options, error));
    DVIT_TRY(dvit_optimizer_parse(options->optimizer, &t->optimizer, error));
    DVIT_TRY(check_keep(t, error));
    DVIT_TRY(dvit_cpu_parse(options->cpu ? options->cpu : "auto", &cpu, error));
    dvit_kernels_select(&t->kernels, cpu);
    DVIT_TRY(dvit_cpu_parse_precision(options->precision, cpu, false, &precision, error));
    if (precision == DVIT_PRECISION_INT8)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "precision int8 is for inference, expected f32, bf16 or auto");
    t->bf16 = precision == DVIT_PRECISION_BF16;
    int members = options->threads ? options->threads : dvit_threads_default();
    struct dvit_teacher_place place = {&t->kernels, t->bf16, members};
    DVIT_TRY(dvit_teacher_create(&t->teacher, teacher, model, options, &place, error));
    DVIT_TRY(dvit_threads_create(&t->threads, members, &dvit_matmul_setting, error));
    DVIT_TRY(mark_trained(t, error));
    lay_out(t);
    DVIT_TRY(dvit_arena_commit(&t->arena, "trainer", error));
    lay_out(t);
    dvit_parameters_pointers(&model->parameters, model->weights, t->parameters);
    dvit_parameters_pointers(&model->parameters, t->gradients, t->parameter_gradients);
    for (size_t i = 0; i < model->parameters.count; i++) {
        if (!t->trained[i])
            t->parameter_gradients[i] = NULL;
        int above = model->config.depth + 1 - model->parameters.items[i].layer;
        t->rate_scale[i] = pow(options->layer_decay, above); /* predictors: the last layer's, 1 */
    }
    DVIT_TRY(build_student(t, cpu, members, error));
    DVIT_TRY(check_memory(t, error));
    /* A calibration is that of weights which will be others. */
    memset(model->inputs, 0, model->parameters.count * sizeof *model->inputs);
    if (t->options.ema_decay > 0)
        DVIT_TRY(dvit_model_copy(&t->average, model, error));
    bind_inputs(t);
    *out = t;
    t = NULL;
done:
    dvit_trainer_free(t);
    return status;
}

void dvit_trainer_free(struct dvit_trainer *t)
{
    if (!t)
        return;
    dvit_teacher_free(&t->teacher);
    dvit_training_free(&t->training);
    dvit_products_free(&t->products);
    dvit_graph_free(t->graph);
    dvit_threads_free(t->threads);
    dvit_model_free(t->average);
    dvit_arena_free(&t->arena);
    free(t->trained);
    free(t);
}

/* Smoothed one-hot: off = ε/K, on = 1 − ε + ε/K. */
static void fill_targets(struct dvit_trainer *t, struct dvit_span images)
{
    size_t classes = (size_t)t->model->config.classes;
    float off = (float)(t->options.label_smoothing / (double)classes);
    float on = (float)(1.0 - t->options.label_smoothing) + off;
    for (size_t image = images.first; image < images.last; image++)
        for (size_t k = 0; k < classes; k++)
            t->targets[image * classes + k] =
                t->batch->targets ? t->batch->targets[image * classes + k]
                                  : ((size_t)t->batch->labels[image] == k ? on : off);
}

static void fill_noise(struct dvit_trainer *t, struct dvit_span images)
{
    int stages = t->model->config.stages;
    size_t width = 2 * (size_t)dvit_config_patches(&t->model->config);
    for (size_t image = images.first; image < images.last; image++)
        for (int s = 0; s < stages; s++) {
            float *to = t->noise + ((size_t)s * (size_t)t->batch->images + image) * width;
            if (t->batch->noise) {
                memcpy(to, t->batch->noise + (to - t->noise), width * sizeof *to);
                continue;
            }
            struct dvit_rng rng = dvit_rng_stream(t->options.seed, DVIT_RNG_GUMBEL, t->noise_step,
                                                  (uint32_t)(image * (size_t)stages + (size_t)s));
            for (size_t i = 0; i < width; i++)
                to[i] = (float)dvit_rng_gumbel(&rng);
        }
}

/* Drop path: block i drops each of its two branches with rate·i/(depth−1), per image; survivors are
 * divided by 1 − p. */
static void fill_branch_scale(struct dvit_trainer *t, struct dvit_span images)
{
    int depth = t->model->config.depth;
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_rng rng =
            dvit_rng_stream(t->options.seed, DVIT_RNG_DROP_PATH, t->noise_step, (uint32_t)image);
        for (int branch = 0; branch < 2 * depth; branch++) {
            double rate = depth > 1 ? t->options.drop_path * (branch / 2) / (depth - 1) : 0;
            bool survives = dvit_rng_uniform(&rng) >= rate;
            t->branch_scale[(size_t)branch * (size_t)t->options.batch + image] =
                survives ? (float)(1.0 / (1.0 - rate)) : 0.0f;
        }
    }
}

static void run_teacher(struct dvit_trainer *t, int member, struct dvit_span images)
{
    struct dvit_teacher_job job = {
        .pixels = t->batch->pixels,
        .indices = t->batch->indices,
        .logits = t->teacher_logits,
        .compared = t->teacher_tokens,
        .failure = &t->failure,
    };
    dvit_teacher_run(&t->teacher, &job, member, images);
}

static struct dvit_training_job job_of(struct dvit_trainer *t)
{
    return (struct dvit_training_job){
        .training = &t->training,
        .parameters = (const float *const *)t->parameters,
        .parameter_gradients = t->parameter_gradients,
        .images = t->batch->images,
        .loss_scale = 1.0 / t->options.accumulate,
        .team = t->threads,
        .failure = &t->failure,
    };
}

static void micro_member(void *context, int member, int members)
{
    struct dvit_trainer *t = context;
    struct dvit_span images = dvit_span_share((size_t)t->batch->images, member, members);
    if (t->micro == 0) {
        struct dvit_span share = dvit_span_share(t->model->parameters.floats, member, members);
        memset(t->gradients + share.first, 0, (share.last - share.first) * sizeof(float));
    }
    fill_targets(t, images);
    fill_noise(t, images);
    fill_branch_scale(t, images);
    if (dvit_teacher_runs(&t->teacher))
        run_teacher(t, member, images);
    if (t->bf16 && t->micro == 0) {
        struct dvit_span share = dvit_span_share(t->model->parameters.floats, member, members);
        t->kernels.to_bf16(t->rounded + share.first, t->model->weights + share.first,
                           share.last - share.first);
        dvit_threads_barrier(t->threads);
    }
    struct dvit_training_job job = job_of(t);
    dvit_training_run(&job, member);
}

static double loss_of(struct dvit_trainer *t, const struct dvit_run *run, int op)
{
    return op == DVIT_NONE ? 0 : dvit_loss_value(&t->graph->ops[op], run);
}

static double kept_share(const struct dvit_trainer *t, const struct dvit_run *run, int stage)
{
    int patches = t->graph->patches, prefix = t->graph->prefix;
    const float *policy = t->training.values[t->values.policy[stage]];
    double sum = 0;
    for (int row = 0; row < run->images * (patches + prefix); row++)
        sum += row % (patches + prefix) >= prefix ? policy[row] : 0;
    return sum / ((double)run->images * patches);
}

/* Adds this micro-batch's losses to the step's means. */
static void read_losses(struct dvit_trainer *t)
{
    const struct dvit_train_options *o = &t->options;
    struct dvit_training_job job = job_of(t);
    struct dvit_run run = dvit_training_view(&job, 0);
    int stages = t->model->config.stages;
    double share = 1.0 / o->accumulate, ratio = 0;
    for (int s = 0; s < stages; s++) {
        ratio += loss_of(t, &run, t->values.loss_ratio[s]) / stages;
        t->losses.keep[s] += share * kept_share(t, &run, s);
    }
    double cls = loss_of(t, &run, t->values.loss_cls), kl = loss_of(t, &run, t->values.loss_kl);
    double token = loss_of(t, &run, t->values.loss_token);
    double aux = loss_of(t, &run, t->values.loss_aux);
    if (t->values.loss_cls_distilled != DVIT_NONE)
        cls = (cls + loss_of(t, &run, t->values.loss_cls_distilled)) / 2;
    t->losses.aux += share * aux;
    t->losses.cls += share * cls;
    t->losses.ratio += share * ratio;
    t->losses.kl += share * kl;
    t->losses.token += share * token;
    t->losses.total += share * (o->weight_cls * cls + o->weight_ratio * ratio + o->weight_kl * kl +
                                o->weight_token * token + o->weight_aux * aux);
}

/* Running statistics of the batch norms: momentum .1, the unbiased variance. A batch that is not
 * finite leaves them as they were. */
static void update_statistics(struct dvit_trainer *t, const struct dvit_op *op)
{
    struct dvit_training_job job = job_of(t);
    struct dvit_run run = dvit_training_view(&job, 0);
    size_t width = t->graph->values[op->outputs[0]].width;
    float *mean = t->moments, *variance = mean + width;
    float *running_mean = t->parameters[op->is.batch_norm.statistics[0]];
    float *running_variance = t->parameters[op->is.batch_norm.statistics[1]];
    double samples = dvit_batch_norm_samples(op, &run);
    bool finite = true;
    dvit_batch_norm_moments(op, &run, mean, variance);
    for (size_t c = 0; c < 2 * width; c++)
        finite = finite && isfinite(t->moments[c]);
    for (size_t c = 0; finite && c < width; c++) {
        double unbiased = samples > 1 ? variance[c] * samples / (samples - 1) : variance[c];
        running_mean[c] = (float)(.9 * running_mean[c] + .1 * mean[c]);
        running_variance[c] = (float)(.9 * running_variance[c] + .1 * unbiased);
    }
}

/* The ratio of this micro-batch; elastic training draws it. Decisions by rank keep exactly as many
 * patches as inference would, so the ratio loss aims at that share and is 0. */
static void choose_keep(struct dvit_trainer *t)
{
    const struct dvit_config *c = &t->model->config;
    double keep = t->options.keep;
    if (t->options.elastic_low > 0) {
        struct dvit_rng rng = dvit_rng_stream(t->options.seed, DVIT_RNG_KEEP, t->noise_step, 0);
        keep = dvit_rng_range(&rng, t->options.elastic_low, t->options.elastic_high);
    }
    for (int s = 0; s < c->stages; s++) {
        struct dvit_op *select =
            t->values.select[s] == DVIT_NONE ? NULL : &t->graph->ops[t->values.select[s]];
        if (!select || !select->is.select.ranked)
            continue;
        select->is.select.kept = dvit_config_kept(c, keep, s);
        t->graph->ops[t->values.loss_ratio[s]].is.loss.target =
            (double)select->is.select.kept / t->graph->patches;
    }
}

bool dvit_trainer_is_finite(const struct dvit_trainer *t)
{
    const struct dvit_parameters *p = &t->model->parameters;
    const float *arrays[] = {t->model->weights, t->moment1, t->moment2,
                             t->average ? t->average->weights : NULL};
    double squares = 0;
    for (size_t a = 0; a < sizeof arrays / sizeof *arrays; a++)
        for (size_t i = 0; arrays[a] && i < p->count; i++)
            squares += t->kernels.sum_squares(arrays[a] + p->items[i].offset, p->items[i].count);
    return isfinite(squares);
}

bool dvit_trainer_has_statistics(const struct dvit_trainer *t)
{
    for (int i = 0; i < t->graph->op_count; i++)
        if (t->graph->ops[i].class == &dvit_op_batch_norm)
            return true;
    return false;
}

enum dvit_status dvit_trainer_micro(struct dvit_trainer *t, const struct dvit_micro_batch *batch,
                                    struct dvit_error *error)
{
    if (batch->images < 1 || batch->images > t->options.batch)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "batch of %d images, expected 1 to %d",
                              batch->images, t->options.batch);
    enum dvit_status status = dvit_threads_resume(t->threads, error);
    if (status != DVIT_OK)
        return status;
    t->batch = batch;
    t->noise_step =
        (uint64_t)t->progress.step * (uint64_t)t->options.accumulate + (uint64_t)t->micro;
    choose_keep(t);
    if (t->micro == 0)
        t->losses = (struct dvit_losses){0};
    t->training.values[t->values.pixels] = (float *)batch->pixels; /* the graph only reads it */
    size_t noise = (size_t)batch->images * 2 * (size_t)t->graph->patches;
    for (int s = 0; s < t->model->config.stages; s++)
        if (t->values.noise[s] != DVIT_NONE)
            t->training.values[t->values.noise[s]] = t->noise + (size_t)s * noise;
    atomic_store(&t->failure, DVIT_OK);
    dvit_training_begin(&t->training, batch->images);
    dvit_threads_run(t->threads, micro_member, t);
    t->micro++;
    int failure = atomic_load(&t->failure);
    if (failure != DVIT_OK)
        return dvit_error_set(error, (enum dvit_status)failure,
                              "the matrix-product backend (%s) refused a product",
                              dvit_matmul_backend());
    read_losses(t);
    for (int i = 0; i < t->graph->op_count; i++)
        if (t->graph->ops[i].class == &dvit_op_batch_norm)
            update_statistics(t, &t->graph->ops[i]);
    return DVIT_OK;
}
