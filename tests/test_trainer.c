/* What a trainer promises beyond the arithmetic (test_training_goldens): it learns, bad steps
 * change nothing, micro-batches add up, the same seed gives the same bits, nothing is allocated. */
#include "training_bench.h"

#include "allocation_count.h"
#include "test_util.h"

/* ---- learning ---- */

static void a_dense_model_learns_one_batch(void **state)
{
    (void)state;
    struct dvit_train_options options = bench_steady(bench_dense_options());
    struct training_bench b;
    options.learning_rate = options.min_learning_rate = 5e-3;
    options.label_smoothing = 0;
    options.threads = 2;
    bench_create(&b, 0, &options);
    struct dvit_micro_batch batch = bench_batch(&b, 0);
    batch.targets = NULL;
    bench_step(&b, &batch);
    assert_true(b.trainer->losses.total > .5);
    for (int step = 0; step < 100; step++)
        assert_false(bench_step(&b, &batch));
    assert_true(b.trainer->losses.total < .01);
    bench_free(&b);
}

static void a_dynamic_model_learns_one_batch_and_its_ratio(void **state)
{
    (void)state;
    struct dvit_train_options options = bench_steady(bench_sparsify_options());
    struct training_bench b;
    options.learning_rate = options.min_learning_rate = 5e-3;
    options.backbone_lr_scale = 1;
    options.weight_kl = options.weight_token = 0;
    options.label_smoothing = 0;
    bench_create(&b, BENCH_STAGES, &options);
    struct dvit_micro_batch batch = bench_batch(&b, 0);
    batch.targets = NULL;
    batch.noise = NULL;
    for (int step = 0; step < 200; step++)
        assert_false(bench_step(&b, &batch));
    double cls = 0, keep[BENCH_STAGES] = {0};
    for (int step = 0; step < 20; step++) {
        bench_step(&b, &batch);
        cls += b.trainer->losses.cls / 20;
        for (int s = 0; s < BENCH_STAGES; s++)
            keep[s] += b.trainer->losses.keep[s] / 20;
    }
    assert_true(cls < .05);
    for (int s = 0; s < BENCH_STAGES; s++)
        assert_true(fabs(keep[s] - pow(.7, s + 1)) < .1);
    bench_free(&b);
}

/* ---- precision ---- */

/* The loss after a step's forward pass and all its gradients. */
static double gradients_of(const char *precision, const char *cpu, float *gradients)
{
    struct dvit_train_options options = bench_sparsify_options();
    struct training_bench b;
    options.precision = precision;
    options.cpu = cpu;
    bench_create(&b, BENCH_STAGES, &options);
    struct dvit_micro_batch batch = bench_batch(&b, 0);
    struct dvit_error error;
    assert_ok(dvit_trainer_micro(b.trainer, &batch, &error), &error);
    memcpy(gradients, b.trainer->gradients, b.model->parameters.floats * sizeof *gradients);
    double loss = b.trainer->losses.total;
    bench_free(&b);
    return loss;
}

/* Rounding factors to 8 bits changes a gradient by a small part of its length, and not by nothing;
 * what the processor computes is what the definition says. */
static void bf16_gradients_are_those_of_f32_within_rounding(void **state)
{
    (void)state;
    enum { MOST = 1 << 20 };
    static float exact[MOST], rounded[MOST];
    double loss = gradients_of("f32", "reference", exact);
    for (int level = 0; level < (dvit_cpu_has_bf16() ? 2 : 1); level++) {
        double gap = 0, length = 0;
        double other = gradients_of("bf16", level ? "avx512" : "reference", rounded);
        for (size_t i = 0; i < MOST; i++) {
            gap += ((double)rounded[i] - exact[i]) * ((double)rounded[i] - exact[i]);
            length += (double)exact[i] * exact[i];
        }
        assert_true(fabs(other - loss) < 1e-2 * loss);
        assert_true(sqrt(gap / length) < 5e-2 && sqrt(gap / length) > 1e-4);
    }
}

static void bf16_learns_one_batch(void **state)
{
    (void)state;
    struct dvit_train_options options = bench_steady(bench_dense_options());
    struct training_bench b;
    options.learning_rate = options.min_learning_rate = 5e-3;
    options.label_smoothing = 0;
    options.precision = "bf16";
    options.cpu = dvit_cpu_has_bf16() ? "auto" : "reference";
    bench_create(&b, 0, &options);
    struct dvit_micro_batch batch = bench_batch(&b, 0);
    batch.targets = NULL;
    for (int step = 0; step < 100; step++)
        assert_false(bench_step(&b, &batch));
    assert_true(b.trainer->losses.total < .01);
    bench_free(&b);
}

static void precisions_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct dvit_train_options options = bench_dense_options();
    struct dvit_error error;
    struct dvit_model *model;
    struct dvit_trainer *trainer = NULL;
    struct dvit_config config;
    assert_ok(dvit_config_parse("vit:dim=16,depth=1,heads=1,patch=8,image=16", &config, &error),
              &error);
    assert_ok(dvit_model_create(&model, &config, 1, &error), &error);
    options.precision = "f8";
    assert_fails(dvit_trainer_create(&trainer, model, NULL, &options, 1, 1, &error), &error,
                 DVIT_ERROR_ARGUMENT, "unknown precision \"f8\", expected f32, bf16");
    options.precision = "int8";
    if (dvit_cpu_can(dvit_cpu_best(), DVIT_PRECISION_INT8))
        assert_fails(dvit_trainer_create(&trainer, model, NULL, &options, 1, 1, &error), &error,
                     DVIT_ERROR_ARGUMENT, "int8 is for inference, expected f32, bf16 or auto");
    options.precision = "bf16";
    options.cpu = "avx2";
    if (dvit_cpu_best() >= DVIT_CPU_AVX2)
        assert_fails(dvit_trainer_create(&trainer, model, NULL, &options, 1, 1, &error), &error,
                     DVIT_ERROR_UNSUPPORTED, "AVX-512 BF16");
    dvit_model_free(model);
}

/* Ranges were measured with other weights: sessions of what was trained must not take them. */
static void training_ends_a_calibration(void **state)
{
    (void)state;
    struct dvit_train_options options = bench_dense_options();
    struct dvit_error error;
    struct dvit_model *model;
    struct dvit_trainer *trainer;
    struct dvit_config config;
    assert_ok(dvit_config_parse("vit:dim=16,depth=1,heads=1,patch=8,image=16", &config, &error),
              &error);
    assert_ok(dvit_model_create(&model, &config, 1, &error), &error);
    for (size_t i = 0; i < model->parameters.count; i++)
        model->inputs[i].scale = dvit_parameter_is_quantisable(&model->parameters, i);
    assert_int_equal(dvit_model_quantised_layers(model), 5);
    assert_ok(dvit_trainer_create(&trainer, model, NULL, &options, 1, 1, &error), &error);
    assert_int_equal(dvit_model_quantised_layers(model), 0);
    dvit_trainer_free(trainer);
    dvit_model_free(model);
}

/* ---- bad steps ---- */

/* Everything that a step changes, to compare bit by bit. */
struct snapshot {
    float *arrays[4];
    size_t floats;
};

static void arrays_of(const struct training_bench *b, float *arrays[4])
{
    const struct dvit_trainer *t = b->trainer;
    arrays[0] = b->model->weights;
    arrays[1] = t->moment1;
    arrays[2] = t->moment2;
    arrays[3] = t->average ? t->average->weights : NULL;
}

static struct snapshot take_snapshot(const struct training_bench *b)
{
    struct snapshot shot = {.floats = b->model->parameters.floats};
    float *arrays[4];
    arrays_of(b, arrays);
    for (int i = 0; i < 4; i++)
        if (arrays[i]) {
            shot.arrays[i] = malloc(shot.floats * sizeof(float));
            memcpy(shot.arrays[i], arrays[i], shot.floats * sizeof(float));
        }
    return shot;
}

/* Bit i: array i (weights, first moments, second moments, average) differs. */
static unsigned differences(const struct snapshot *shot, const struct training_bench *b)
{
    float *arrays[4];
    unsigned different = 0;
    arrays_of(b, arrays);
    for (int i = 0; i < 4; i++)
        if (arrays[i] && memcmp(shot->arrays[i], arrays[i], shot->floats * sizeof(float)) != 0)
            different |= 1u << i;
    return different;
}

static void free_snapshot(struct snapshot *shot)
{
    for (int i = 0; i < 4; i++)
        free(shot->arrays[i]);
}

enum damage { NAN_PIXEL, INFINITE_PIXEL, INFINITE_TARGET, NAN_NOISE, DAMAGES };

static struct dvit_micro_batch damaged(struct dvit_micro_batch batch, enum damage damage,
                                       float *pixels, float *targets, float *noise)
{
    memcpy(pixels, batch.pixels, BENCH_IMAGES * BENCH_PIXELS * sizeof *pixels);
    memcpy(targets, batch.targets, BENCH_IMAGES * BENCH_CLASSES * sizeof *targets);
    memcpy(noise, batch.noise, BENCH_NOISE * sizeof *noise);
    if (damage == NAN_PIXEL)
        pixels[2 * BENCH_PIXELS + 77] = NAN;
    if (damage == INFINITE_PIXEL)
        pixels[BENCH_PIXELS - 1] = INFINITY;
    if (damage == INFINITE_TARGET)
        targets[4] = INFINITY;
    if (damage == NAN_NOISE) /* decides "drop"; the losses stay finite, the gradient does not */
        noise[5 * BENCH_PATCHES * 2] = NAN;
    batch.pixels = pixels;
    batch.targets = targets;
    batch.noise = noise;
    return batch;
}

static void one_bad_step(const char *cpu, int threads, enum damage damage, bool clip)
{
    float pixels[BENCH_IMAGES * BENCH_PIXELS], targets[BENCH_IMAGES * BENCH_CLASSES];
    float noise[BENCH_NOISE];
    struct dvit_train_options options = bench_steady(bench_sparsify_options());
    struct training_bench b, clean;
    options.cpu = cpu;
    options.threads = threads;
    options.clip_norm = clip ? .5 : 0;
    bench_create(&b, BENCH_STAGES, &options);
    bench_create(&clean, BENCH_STAGES, &options);
    struct dvit_micro_batch good = bench_batch(&b, 0), next = bench_batch(&b, 1);
    struct dvit_micro_batch bad = damaged(next, damage, pixels, targets, noise);
    assert_false(bench_step(&b, &good));
    struct snapshot shot = take_snapshot(&b);
    assert_true(bench_step(&b, &bad));
    assert_true(bench_step(&b, &bad));
    if (damage == NAN_NOISE)
        assert_true(isfinite(b.trainer->losses.total));
    assert_int_equal(differences(&shot, &b), 0);
    free_snapshot(&shot);
    const struct dvit_progress *p = &b.trainer->progress;
    assert_int_equal(p->step, 3);
    assert_int_equal(p->adam_step, 1);
    assert_int_equal(p->bad_steps, 2);
    assert_int_equal(p->bad_in_row, 2);
    /* Going on gives what would have been without the bad steps. */
    assert_false(bench_step(&b, &next));
    assert_int_equal(p->bad_steps, 2);
    assert_int_equal(p->bad_in_row, 0);
    assert_false(bench_step(&clean, &good));
    assert_false(bench_step(&clean, &next));
    shot = take_snapshot(&clean);
    assert_int_equal(differences(&shot, &b), 0);
    free_snapshot(&shot);
    bench_free(&b);
    bench_free(&clean);
}

static void bad_steps_change_nothing(void **state)
{
    (void)state;
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++)
        for (enum damage damage = 0; damage < DAMAGES; damage++)
            one_bad_step(dvit_cpu_name((enum dvit_cpu)cpu), 1 + damage % 2, damage, cpu == 0);
}

static void one_bad_micro_batch_spoils_its_step(void **state)
{
    (void)state;
    float pixels[BENCH_IMAGES * BENCH_PIXELS], targets[BENCH_IMAGES * BENCH_CLASSES];
    float noise[BENCH_NOISE];
    struct dvit_train_options options = bench_steady(bench_sparsify_options());
    struct training_bench b;
    options.accumulate = 2;
    for (int place = 0; place < 2; place++) {
        bool skipped;
        bench_create(&b, BENCH_STAGES, &options);
        struct dvit_micro_batch good = bench_batch(&b, 0);
        struct dvit_micro_batch bad = damaged(good, NAN_PIXEL, pixels, targets, noise);
        struct snapshot shot = take_snapshot(&b);
        bench_micro(&b, place ? &good : &bad);
        bench_micro(&b, place ? &bad : &good);
        dvit_trainer_update(b.trainer, &skipped);
        assert_true(skipped);
        assert_int_equal(differences(&shot, &b), 0);
        assert_false(bench_step(&b, &good));
        assert_int_not_equal(differences(&shot, &b), 0);
        free_snapshot(&shot);
        bench_free(&b);
    }
}

/* ---- batches, threads, seeds ---- */

static void compare_gradients(const struct training_bench *a, const struct training_bench *b,
                              double bound)
{
    const struct dvit_parameters *p = &a->model->parameters;
    for (size_t i = 0; i < p->count; i++) {
        double error = golden_error(b->trainer->gradients + p->items[i].offset,
                                    a->trainer->gradients + p->items[i].offset, p->items[i].count);
        if (!(error <= bound))
            fail_msg("gradient of %s differs by %.3g, above %.3g", p->items[i].name, error, bound);
    }
}

/* Where a loss is a mean over images, two half batches are the whole one. The token loss is a mean
 * over what is kept in the batch, so it is left out. */
static void micro_batches_add_up(void **state)
{
    (void)state;
    struct dvit_train_options options = bench_steady(bench_sparsify_options());
    struct training_bench halves, whole;
    float noise[2 * BENCH_NOISE];
    const size_t part = BENCH_NOISE / BENCH_STAGES;
    options.weight_token = 0;
    options.accumulate = 2;
    bench_create(&halves, BENCH_STAGES, &options);
    options.accumulate = 1;
    options.batch = 2 * BENCH_IMAGES;
    bench_create(&whole, BENCH_STAGES, &options);
    for (size_t s = 0; s < BENCH_STAGES; s++)
        for (size_t half = 0; half < 2; half++)
            memcpy(noise + (2 * s + half) * part, halves.noise + half * BENCH_NOISE + s * part,
                   part * sizeof *noise);
    struct dvit_micro_batch batch = bench_batch(&whole, 0);
    batch.images = 2 * BENCH_IMAGES;
    batch.noise = noise;
    bench_micro(&whole, &batch);
    for (int half = 0; half < 2; half++) {
        batch = bench_batch(&halves, half);
        bench_micro(&halves, &batch);
    }
    compare_gradients(&whole, &halves, 1e-5);
    const struct dvit_losses *a = &whole.trainer->losses, *b = &halves.trainer->losses;
    assert_float_equal(a->total, b->total, 1e-6);
    assert_float_equal(a->kl, b->kl, 1e-6);
    assert_float_equal(a->keep[2], b->keep[2], 1e-6);
    bench_free(&whole);
    bench_free(&halves);
}

/* Gradients of a batch do not depend on the team beyond rounding of sums: 1e-5 of each tensor's
 * largest value. Eleven images, so that shares are uneven and some members have one more. */
static void threads_do_not_change_gradients(void **state)
{
    (void)state;
    enum { MANY = 11 };
    struct dvit_train_options options = bench_steady(bench_sparsify_options());
    struct training_bench one;
    float *pixels = malloc(MANY * BENCH_PIXELS * sizeof *pixels);
    int labels[MANY];
    options.batch = MANY;
    options.drop_path = .2;
    bench_create(&one, BENCH_STAGES, &options);
    for (int i = 0; i < MANY; i++) {
        int from = i % (BENCH_POOL * BENCH_IMAGES);
        memcpy(pixels + i * BENCH_PIXELS, one.pixels + from * BENCH_PIXELS,
               BENCH_PIXELS * sizeof *pixels);
        labels[i] = one.labels[from];
    }
    struct dvit_micro_batch batch = {.images = MANY, .pixels = pixels, .labels = labels};
    bench_micro(&one, &batch);
    for (int threads = 2; threads <= 13; threads += threads < 4 ? 1 : 9) {
        struct training_bench b;
        options.threads = threads;
        bench_create(&b, BENCH_STAGES, &options);
        bench_micro(&b, &batch);
        compare_gradients(&one, &b, 1e-5);
        for (int s = 0; s < BENCH_STAGES; s++)
            assert_true(b.trainer->losses.keep[s] == one.trainer->losses.keep[s]);
        bench_free(&b);
    }
    free(pixels);
    bench_free(&one);
}

/* A batch smaller than the plan is the batch it is. */
static void a_short_batch_is_whole(void **state)
{
    (void)state;
    struct dvit_train_options options = bench_steady(bench_sparsify_options());
    struct training_bench fitting, roomy;
    options.batch = 1;
    bench_create(&fitting, BENCH_STAGES, &options);
    options.batch = 7;
    options.threads = 3;
    bench_create(&roomy, BENCH_STAGES, &options);
    struct dvit_micro_batch batch = bench_batch(&fitting, 0);
    batch.images = 1;
    batch.noise = NULL;
    bench_micro(&fitting, &batch);
    bench_micro(&roomy, &batch);
    compare_gradients(&fitting, &roomy, 1e-5);
    bench_free(&fitting);
    bench_free(&roomy);
}

static void run_drawn_steps(struct training_bench *b, int steps)
{
    for (int step = 0; step < steps; step++) {
        struct dvit_micro_batch batch = bench_batch(b, step);
        batch.noise = NULL;
        assert_false(bench_step(b, &batch));
    }
}

static void the_same_seed_gives_the_same_bits(void **state)
{
    (void)state;
    struct dvit_train_options options = bench_steady(bench_sparsify_options());
    options.drop_path = .3;
    for (int threads = 1; threads <= 3; threads++) {
        struct training_bench a, b, other;
        options.threads = threads;
        options.seed = 0;
        bench_create(&a, BENCH_STAGES, &options);
        bench_create(&b, BENCH_STAGES, &options);
        options.seed = 1;
        bench_create(&other, BENCH_STAGES, &options);
        run_drawn_steps(&a, 6);
        run_drawn_steps(&b, 6);
        run_drawn_steps(&other, 6);
        struct snapshot shot = take_snapshot(&a);
        assert_int_equal(differences(&shot, &b), 0);
        assert_int_equal(differences(&shot, &other), 15);
        free_snapshot(&shot);
        bench_free(&a);
        bench_free(&b);
        bench_free(&other);
    }
}

/* Block i drops with rate·i/(depth − 1) and divides by what is left; every step draws anew. */
static void drop_path_is_drawn_per_image_and_step(void **state)
{
    (void)state;
    enum { STEPS = 400, DEPTH = 4 };
    struct dvit_train_options options = bench_steady(bench_dense_options());
    struct training_bench b;
    double dropped[2 * DEPTH] = {0};
    options.drop_path = .6;
    options.learning_rate = options.min_learning_rate = 1e-6;
    bench_create(&b, 0, &options);
    struct dvit_micro_batch batch = bench_batch(&b, 0);
    for (int step = 0; step < STEPS; step++) {
        bench_step(&b, &batch);
        for (int i = 0; i < 2 * DEPTH * BENCH_IMAGES; i++) {
            int branch = i / BENCH_IMAGES, block = branch / 2;
            float kept = (float)(1 / (1 - .6 * block / (DEPTH - 1)));
            float scale = b.trainer->branch_scale[i];
            assert_true(scale == 0 || scale == kept);
            dropped[branch] += scale == 0;
        }
    }
    for (int branch = 0; branch < 2 * DEPTH; branch++) { /* 1200 draws: 4 σ is at most .058 */
        double rate = .6 * (branch / 2) / (DEPTH - 1);
        double bound = 4 * sqrt(rate * (1 - rate) / (STEPS * BENCH_IMAGES));
        assert_float_equal(dropped[branch] / (STEPS * BENCH_IMAGES), rate, bound + 1e-12);
    }
    bench_free(&b);
}

/* ---- edges ---- */

static void no_step_allocates(void **state)
{
    (void)state;
    if (!allocation_count_works())
        skip();
    for (int stages = 0; stages <= BENCH_STAGES; stages += BENCH_STAGES) {
        struct dvit_train_options options =
            bench_steady(stages ? bench_sparsify_options() : bench_dense_options());
        struct training_bench b;
        options.threads = 2;
        options.accumulate = 2;
        options.drop_path = .1;
        options.clip_norm = 1;
        options.ema_decay = .9;
        bench_create(&b, stages, &options);
        run_drawn_steps(&b, 2);
        allocation_count_begin();
        run_drawn_steps(&b, 5);
        struct allocation_count count = allocation_count_end();
        print_message("%d stages: %ld allocations of dvit, %ld inside the matrix products' library "
                      "in 5 steps\n",
                      stages, count.ours, count.backend);
        assert_int_equal(count.ours, 0);
        bench_free(&b);
    }
}

static void batches_out_of_range_are_refused(void **state)
{
    (void)state;
    struct dvit_train_options options = bench_dense_options();
    struct dvit_error error;
    struct training_bench b;
    bench_create(&b, 0, &options);
    struct dvit_micro_batch batch = bench_batch(&b, 0);
    for (int i = 0; i < 2; i++) {
        batch.images = i ? BENCH_IMAGES + 1 : 0;
        assert_fails(dvit_trainer_micro(b.trainer, &batch, &error), &error, DVIT_ERROR_ARGUMENT,
                     "expected 1 to 3");
    }
    bench_free(&b);
}

static void trainers_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct dvit_train_options options = bench_sparsify_options();
    struct dvit_model *dynamic = golden_model("tiny_student", BENCH_STAGES);
    struct dvit_model *dense = golden_model("tiny_student", 0), *wide = NULL;
    struct dvit_trainer *trainer = NULL;
    struct dvit_error error;
    struct dvit_config config = golden_config(0);
    config.dim = 48;
    assert_ok(dvit_model_create(&wide, &config, 0, &error), &error);
    assert_fails(dvit_trainer_create(&trainer, dynamic, NULL, &options, 1, 10, &error), &error,
                 DVIT_ERROR_ARGUMENT, "needs a teacher");
    assert_null(trainer);
    assert_fails(dvit_trainer_create(&trainer, dynamic, wide, &options, 1, 10, &error), &error,
                 DVIT_ERROR_MISMATCH, "width 48");
    options.freeze_backbone = true;
    assert_fails(dvit_trainer_create(&trainer, dense, NULL, &options, 1, 10, &error), &error,
                 DVIT_ERROR_ARGUMENT, "nothing to train");
    options = bench_sparsify_options();
    options.cpu = "abacus";
    assert_fails(dvit_trainer_create(&trainer, dynamic, dense, &options, 1, 10, &error), &error,
                 DVIT_ERROR_ARGUMENT, "abacus");
    options = bench_sparsify_options();
    options.weight_kl = options.weight_token = 0;
    assert_ok(dvit_trainer_create(&trainer, dynamic, NULL, &options, 1, 10, &error), &error);
    dvit_trainer_free(trainer);
    dvit_trainer_free(NULL);
    dvit_model_free(dynamic);
    dvit_model_free(dense);
    dvit_model_free(wide);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dense_model_learns_one_batch),
        cmocka_unit_test(a_dynamic_model_learns_one_batch_and_its_ratio),
        cmocka_unit_test(bf16_gradients_are_those_of_f32_within_rounding),
        cmocka_unit_test(bf16_learns_one_batch),
        cmocka_unit_test(precisions_that_cannot_be_are_refused),
        cmocka_unit_test(training_ends_a_calibration),
        cmocka_unit_test(bad_steps_change_nothing),
        cmocka_unit_test(one_bad_micro_batch_spoils_its_step),
        cmocka_unit_test(micro_batches_add_up),
        cmocka_unit_test(threads_do_not_change_gradients),
        cmocka_unit_test(a_short_batch_is_whole),
        cmocka_unit_test(the_same_seed_gives_the_same_bits),
        cmocka_unit_test(drop_path_is_drawn_per_image_and_step),
        cmocka_unit_test(no_step_allocates),
        cmocka_unit_test(batches_out_of_range_are_refused),
        cmocka_unit_test(trainers_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
