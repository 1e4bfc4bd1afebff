/* A trainer on the golden batches of tests/golden/model/tiny_steps.safetensors: what the tests of
 * goldens and of the trainer share. */
#ifndef DVIT_TESTS_TRAINING_BENCH_H
#define DVIT_TESTS_TRAINING_BENCH_H

#include "golden.h"
#include "train/trainer.h"

enum {
    BENCH_IMAGES = 3,
    BENCH_PATCHES = 12,
    BENCH_STAGES = 3,
    BENCH_CLASSES = 5,
    BENCH_PIXELS = 3 * 24 * 32, /* floats of an image */
    BENCH_POOL = 2,             /* batches: step t takes batch t mod 2 */
    BENCH_STEPS = 10,
    BENCH_NOISE = BENCH_STAGES * BENCH_IMAGES * BENCH_PATCHES * 2, /* floats of a step */
};

struct training_bench {
    struct dvit_model *model, *teacher;
    struct dvit_trainer *trainer;
    struct dvit_safetensors *file;
    float *pixels, *targets, *noise;
    int labels[BENCH_POOL * BENCH_IMAGES];
};

/* The recipe of the golden "sparsify." run; "dense." is bench_dense_options. One step an epoch. */
static inline struct dvit_train_options bench_sparsify_options(void)
{
    struct dvit_train_options options = dvit_train_options_sparsify();
    options.decision_gradient_cap = DVIT_DECISION_GRADIENT_EXACT; /* as the goldens define it */
    options.epochs = BENCH_STEPS;
    options.batch = BENCH_IMAGES;
    options.threads = 1;
    options.learning_rate = .02;
    options.warmup_epochs = 2;
    options.backbone_freeze_epochs = 3;
    options.ema_decay = .9;
    return options;
}

static inline struct dvit_train_options bench_dense_options(void)
{
    struct dvit_train_options options = dvit_train_options_dense();
    options.epochs = BENCH_STEPS;
    options.batch = BENCH_IMAGES;
    options.threads = 1;
    options.warmup_epochs = 2;
    options.ema_decay = 0;
    return options;
}

/* Options whose rate is the same at every step. */
static inline struct dvit_train_options bench_steady(struct dvit_train_options options)
{
    options.epochs = 1000;
    options.warmup_epochs = 0;
    options.backbone_freeze_epochs = 0;
    options.min_learning_rate = options.learning_rate;
    return options;
}

/* stages = 0 trains the student's backbone alone, without a teacher. */
static inline void bench_create(struct training_bench *b, int stages,
                                const struct dvit_train_options *options)
{
    struct dvit_error error;
    int64_t labels[BENCH_POOL * BENCH_IMAGES];
    *b = (struct training_bench){.file = golden_open("tiny_steps")};
    b->model = golden_model("tiny_student", stages);
    if (stages)
        b->teacher = golden_model("tiny_teacher", 0);
    b->pixels = golden_floats(b->file, "pixels", NULL);
    b->targets = golden_floats(b->file, "targets", NULL);
    b->noise = golden_floats(b->file, "noise", NULL);
    assert_int_equal(dvit_tensor_to_i64(dvit_safetensors_find(b->file, "labels"), labels, NULL),
                     DVIT_OK);
    for (int i = 0; i < BENCH_POOL * BENCH_IMAGES; i++)
        b->labels[i] = (int)labels[i];
    if (dvit_trainer_create(&b->trainer, b->model, b->teacher, options, 1, options->epochs,
                            &error) != DVIT_OK)
        fail_msg("%s", error.message);
}

static inline void bench_free(struct training_bench *b)
{
    dvit_trainer_free(b->trainer);
    dvit_model_free(b->model);
    dvit_model_free(b->teacher);
    dvit_safetensors_free(b->file);
    free(b->pixels);
    free(b->targets);
    free(b->noise);
}

/* The golden batch of step `step`. */
static inline struct dvit_micro_batch bench_batch(const struct training_bench *b, long step)
{
    long entry = step % BENCH_POOL;
    return (struct dvit_micro_batch){
        .images = BENCH_IMAGES,
        .pixels = b->pixels + entry * BENCH_IMAGES * BENCH_PIXELS,
        .labels = b->labels + entry * BENCH_IMAGES,
        .targets = b->targets + entry * BENCH_IMAGES * BENCH_CLASSES,
        .noise = b->model->config.stages ? b->noise + step % BENCH_STEPS * BENCH_NOISE : NULL,
    };
}

static inline void bench_micro(struct training_bench *b, const struct dvit_micro_batch *batch)
{
    struct dvit_error error;
    if (dvit_trainer_micro(b->trainer, batch, &error) != DVIT_OK)
        fail_msg("%s", error.message);
}

/* One whole step on a batch; true if it was skipped. */
static inline bool bench_step(struct training_bench *b, const struct dvit_micro_batch *batch)
{
    bool skipped;
    for (int i = 0; i < b->trainer->options.accumulate; i++)
        bench_micro(b, batch);
    dvit_trainer_update(b->trainer, &skipped);
    return skipped;
}

/* The golden step that the trainer has come to. */
static inline void bench_golden_step(struct training_bench *b)
{
    struct dvit_micro_batch batch = bench_batch(b, b->trainer->progress.step);
    assert_false(bench_step(b, &batch));
}

/* Euclidean norm over all tensors of one group (−1: all) of an array laid out as the weights. */
static inline double bench_norm(const struct training_bench *b, const float *array, int group)
{
    const struct dvit_parameters *p = &b->model->parameters;
    double squares = 0;
    for (size_t i = 0; i < p->count; i++)
        for (size_t k = 0; k < p->items[i].count; k++)
            if (group < 0 || (int)p->items[i].group == group)
                squares += pow(array[p->items[i].offset + k], 2);
    return sqrt(squares);
}

#endif
