/* The speed of a training step on synthetic images: forward and backward of one micro-batch, the
 * teacher, and the update, without data, files or evaluations. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "train/trainer.h"

enum { LEAST_STEPS = 3, MOST_STEPS = 1000 };

struct measurement {
    struct dvit_model *model; /* a copy: steps change it */
    struct dvit_trainer *trainer;
    float *pixels;
    int *labels;
    double *seconds; /* [MOST_STEPS] */
    int steps;
};

/* Attention's backward pass makes the scores again, and then four products of their size. */
static double backward_factor(const struct dvit_graph *graph, const struct dvit_op *op)
{
    if (!graph->values[op->outputs[0]].gradient)
        return 0;
    if (op->class == &dvit_op_attention)
        return 2.5;
    bool data = op->inputs[0] != DVIT_NONE && graph->values[op->inputs[0]].gradient;
    return (data ? 1 : 0) + (dvit_op_trains(graph, op, 0) ? 1 : 0);
}

/* Of the rows that an operator may have at most, the share that it had in the last micro-batch. */
static double share_of_rows(const struct dvit_trainer *t, const struct dvit_op *op)
{
    int stage = t->graph->values[op->outputs[0]].stage;
    if (!dvit_graph_decides(t->graph, stage))
        return 1;
    double most = (double)dvit_graph_rows(t->graph, op->outputs[0]) * t->batch->images;
    return t->training.layout[stage].offset[t->batch->images] / most;
}

/* Multiply–accumulates of one image through student and teacher, as they are computed. */
static double step_macs(const struct dvit_trainer *t)
{
    double macs = t->teacher.graph ? dvit_graph_macs(t->teacher.graph) : 0;
    for (int i = 0; i < t->graph->op_count; i++) {
        const struct dvit_op *op = &t->graph->ops[i];
        if (op->class->macs)
            macs += op->class->macs(t->graph, op) * (1 + backward_factor(t->graph, op)) *
                    share_of_rows(t, op);
    }
    return macs;
}

static size_t trainer_bytes(const struct dvit_trainer *t)
{
    size_t bytes = t->model->arena.used_bytes + t->arena.used_bytes + t->training.arena.used_bytes +
                   t->teacher.products.packed.used_bytes;
    bytes +=
        t->teacher.graph ? t->teacher.model->arena.used_bytes + t->teacher.arena.used_bytes : 0;
    bytes += t->average ? t->average->arena.used_bytes : 0;
    for (int m = 0; t->teacher.lanes && m < t->teacher.members; m++)
        bytes += t->teacher.lanes[m].arena.used_bytes;
    return bytes;
}

static enum dvit_status prepare(struct measurement *m, const struct dvit_model *model,
                                const struct dvit_model *teacher,
                                const struct dvit_train_options *options, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_config *c = &model->config;
    size_t batch = options->batch > 0 ? (size_t)options->batch : 0;
    size_t count = batch * 3 * (size_t)c->image_width * (size_t)c->image_height;
    DVIT_TRY(dvit_train_options_check(options, error));
    DVIT_TRY(dvit_model_copy(&m->model, model, error));
    DVIT_TRY(dvit_trainer_create(&m->trainer, m->model, teacher, options, MOST_STEPS, MOST_STEPS,
                                 error));
    m->pixels = malloc(count * sizeof *m->pixels);
    m->labels = malloc(batch * sizeof *m->labels);
    m->seconds = malloc(MOST_STEPS * sizeof *m->seconds);
    if (!m->pixels || !m->labels || !m->seconds)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "measurement: out of memory");
    struct dvit_rng rng = dvit_rng_stream(options->seed, DVIT_RNG_BENCH_INPUT, 0, 0);
    for (size_t i = 0; i < count; i++)
        m->pixels[i] = (float)dvit_rng_normal(&rng);
    for (size_t i = 0; i < batch; i++)
        m->labels[i] = (int)(i % (size_t)c->classes);
done:
    return status;
}

static enum dvit_status one_step(struct measurement *m, int batch, int accumulate, double *seconds,
                                 struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_micro_batch micro = {.images = batch, .pixels = m->pixels, .labels = m->labels};
    bool skipped;
    double start = dvit_clock_seconds();
    for (int i = 0; i < accumulate; i++)
        DVIT_TRY(dvit_trainer_micro(m->trainer, &micro, error));
    dvit_trainer_update(m->trainer, &skipped);
    *seconds = dvit_clock_seconds() - start;
done:
    return status;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum dvit_status dvit_train_measure(struct dvit_step_speed *out, const struct dvit_model *model,
                                    const struct dvit_model *teacher,
                                    const struct dvit_train_options *options, double seconds,
                                    struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, model, options);
    enum dvit_status status = DVIT_OK;
    struct measurement m = {0};
    double spent = 0, first;
    DVIT_TRY(prepare(&m, model, teacher, options, error));
    DVIT_TRY(one_step(&m, options->batch, options->accumulate, &first, error)); /* warms up */
    while (m.steps < MOST_STEPS && (m.steps < LEAST_STEPS || spent < seconds)) {
        double *own = &m.seconds[m.steps++];
        DVIT_TRY(one_step(&m, options->batch, options->accumulate, own, error));
        spent += *own;
    }
    qsort(m.seconds, (size_t)m.steps, sizeof *m.seconds, compare_doubles);
    double images = (double)options->batch * options->accumulate;
    *out = (struct dvit_step_speed){
        .steps = m.steps,
        .step_s = m.seconds[m.steps / 2],
        .images_per_s = images / m.seconds[m.steps / 2],
        .gflop = 2e-9 * images * step_macs(m.trainer),
        .bf16 = m.trainer->bf16,
        .threads = dvit_threads_count(m.trainer->threads),
        .memory_bytes = trainer_bytes(m.trainer),
    };
done:
    dvit_trainer_free(m.trainer);
    dvit_model_free(m.model);
    free(m.pixels);
    free(m.labels);
    free(m.seconds);
    return status;
}
