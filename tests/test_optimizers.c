/* The optimisers step by step: ten steps with given gradients against PyTorch's formulas, with
 * layer decay and both schedules (tools/reference/make_optimizer_goldens.py); what threads, bad
 * steps and freezing change, which is nothing. */
#include "golden.h"
#include "test_util.h"
#include "train/trainer.h"

enum { STEPS = 10 };
static const float first_share[STEPS] = {1, -.5f, 2, .25f, 1, -1, .5f, 4, -2, 1};
static const float second_share[STEPS] = {0, 1, -1, 2, .5f, .25f, -4, 1, 1, -.5f};

struct bench {
    struct dvit_safetensors *file;
    struct dvit_model *model;
    struct dvit_trainer *trainer;
};

static struct dvit_train_options bench_options(const char *optimizer, bool nesterov)
{
    struct dvit_train_options options = dvit_train_options_dense();
    options.optimizer = optimizer;
    options.nesterov = nesterov;
    options.batch = 2;
    options.threads = 1;
    options.epochs = STEPS;
    options.warmup_epochs = 2;
    options.learning_rate = .02;
    options.min_learning_rate = .001;
    options.backbone_lr_scale = .5;
    options.layer_decay = .7;
    options.weight_decay = .1;
    options.weight_decay_end = .01;
    options.ema_decay = 0;
    options.weight_kl = options.weight_token = 0;
    return options;
}

/* The array of the model's weights with the file's tensors "<prefix>.<name>" (malloc'ed). */
static float *array_of(const struct bench *b, const char *prefix)
{
    const struct dvit_parameters *p = &b->model->parameters;
    float *array = calloc(p->floats, sizeof *array);
    for (size_t i = 0; i < p->count; i++) {
        char name[128];
        size_t count;
        snprintf(name, sizeof name, "%s.%s", prefix, p->items[i].name);
        float *values = golden_floats(b->file, name, &count);
        assert_int_equal(count, p->items[i].count);
        memcpy(array + p->items[i].offset, values, count * sizeof *array);
        free(values);
    }
    return array;
}

static void bench_create(struct bench *b, const struct dvit_train_options *options)
{
    const struct dvit_config config = {.name = "vit",
                                       .image_width = 4,
                                       .image_height = 4,
                                       .patch = 2,
                                       .dim = 8,
                                       .depth = 2,
                                       .heads = 1,
                                       .mlp = 12,
                                       .classes = 3,
                                       .norm_eps = 1e-6f,
                                       .skip_lam = 1,
                                       .qkv_bias = true,
                                       .keep = 1};
    const int block = 1;
    struct dvit_error error;
    struct dvit_model *dense;
    *b = (struct bench){0};
    b->file = golden_open_in("optim", "ten_steps");
    assert_ok(dvit_model_create(&dense, &config, 1, &error), &error);
    assert_ok(dvit_model_sparsify(&b->model, dense, 1, &block, .7, 1, &error), &error);
    dvit_model_free(dense);
    float *initial = array_of(b, "initial");
    memcpy(b->model->weights, initial, b->model->parameters.floats * sizeof *initial);
    free(initial);
    assert_ok(dvit_trainer_create(&b->trainer, b->model, NULL, options, 1, STEPS, &error), &error);
}

static void bench_free(struct bench *b)
{
    dvit_trainer_free(b->trainer);
    dvit_model_free(b->model);
    dvit_safetensors_free(b->file);
}

/* A step whose gradients are the golden ones of `step`, or not finite where `spoil`. */
static void take_step(struct bench *b, const float *first, const float *second, int step,
                      bool spoil)
{
    static const float pixels[2 * 3 * 4 * 4] = {.5f};
    static const int labels[2] = {0, 2};
    struct dvit_micro_batch batch = {.images = 2, .pixels = pixels, .labels = labels};
    struct dvit_error error;
    bool skipped;
    assert_ok(dvit_trainer_micro(b->trainer, &batch, &error), &error);
    for (size_t i = 0; i < b->model->parameters.floats; i++)
        b->trainer->gradients[i] = first[i] * first_share[step] + second[i] * second_share[step];
    if (spoil)
        b->trainer->gradients[b->model->parameters.items[3].offset] = NAN;
    dvit_trainer_update(b->trainer, &skipped);
    assert_int_equal(skipped, spoil);
}

/* All ten steps; a bad one before each where `spoil`. */
static void take_steps(struct bench *b, bool spoil)
{
    float *first = array_of(b, "first"), *second = array_of(b, "second");
    for (int step = 0; step < STEPS; step++) {
        if (spoil) {
            take_step(b, first, second, step, true);
            b->trainer->progress.step--; /* the schedule waits */
        }
        take_step(b, first, second, step, false);
    }
    free(first);
    free(second);
}

static const struct kind {
    const char *golden, *optimizer;
    bool nesterov;
} kinds[] = {
    {"adamw", "adamw", false},
    {"lamb", "lamb", false},
    {"sgd", "sgd", false},
    {"nesterov", "sgd", true},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static void expect_golden(const struct bench *b, const char *golden)
{
    const struct dvit_parameters *p = &b->model->parameters;
    float *expected = array_of(b, golden), *initial = array_of(b, "initial");
    for (size_t i = 0; i < p->count; i++) {
        size_t at = p->items[i].offset, count = p->items[i].count;
        double error = golden_error(b->model->weights + at, expected + at, count);
        double change = golden_error(initial + at, expected + at, count);
        if (!(error < 2e-5) || !(change > 5e-3)) /* 1 − .999 in float is off by 1.3e-5 */
            fail_msg("%s %s: error %g, change %g", golden, p->items[i].name, error, change);
    }
    free(expected);
    free(initial);
}

static void ten_steps_are_pytorchs(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++)
        for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++)
            for (int threads = 1; threads <= 3; threads += 2) {
                struct dvit_train_options options =
                    bench_options(kinds[k].optimizer, kinds[k].nesterov);
                struct bench b;
                options.cpu = dvit_cpu_name((enum dvit_cpu)cpu);
                options.threads = threads;
                bench_create(&b, &options);
                take_steps(&b, false);
                expect_golden(&b, kinds[k].golden);
                bench_free(&b);
            }
}

static void bad_steps_leave_no_trace(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        struct dvit_train_options options = bench_options(kinds[k].optimizer, kinds[k].nesterov);
        struct bench b;
        options.threads = 2;
        bench_create(&b, &options);
        take_steps(&b, true);
        expect_golden(&b, kinds[k].golden);
        assert_int_equal(b.trainer->progress.bad_steps, STEPS);
        bench_free(&b);
    }
}

/* A backbone that is held gathers moments and does not move. */
static void what_is_held_stands(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        struct dvit_train_options options = bench_options(kinds[k].optimizer, kinds[k].nesterov);
        struct bench b;
        options.backbone_freeze_epochs = STEPS;
        bench_create(&b, &options);
        take_steps(&b, false);
        const struct dvit_parameters *p = &b.model->parameters;
        float *initial = array_of(&b, "initial");
        for (size_t i = 0; i < p->count; i++) {
            size_t at = p->items[i].offset;
            bool stands = memcmp(b.model->weights + at, initial + at,
                                 p->items[i].count * sizeof *initial) == 0;
            assert_int_equal(stands, p->items[i].group != DVIT_GROUP_PREDICTOR);
            assert_true(b.trainer->moment1[at] != 0);
        }
        free(initial);
        bench_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_steps_are_pytorchs),
        cmocka_unit_test(bad_steps_leave_no_trace),
        cmocka_unit_test(what_is_held_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
