/* Sessions in 8 bits: which precision is chosen and which refused, the levels against plain C, the
 * same answer whatever the batch and the team. The calibration here is made up; how it is measured
 * is test_calibrate.c's. */
#include "allocation_count.h"
#include "random_model.h"

#include "base/cpu.h"
#include "dvit/infer.h"

enum { IMAGES = 7, STAGES = 3, CLASSES = 6 };
static const char *const text = "vit:dim=32,depth=5,heads=2,patch=4,image=24,classes=6";

static void calibrate(struct dvit_model *model)
{
    for (size_t i = 0; i < model->parameters.count; i++)
        if (dvit_parameter_is_quantisable(&model->parameters, i))
            model->inputs[i] = (struct dvit_quantised){0.03f, 128};
}

static struct dvit_model *calibrated_model(uint64_t seed)
{
    struct dvit_model *model = random_model(text, STAGES, 0.7, seed, 1);
    calibrate(model);
    return model;
}

static enum dvit_status open_as(struct dvit_session **out, const struct dvit_model *model,
                                const char *precision, const char *cpu, int batch, int threads,
                                struct dvit_error *error)
{
    struct dvit_session_options options = {
        .max_batch = batch, .threads = threads, .cpu = cpu, .precision = precision};
    return dvit_session_create(out, model, &options, error);
}

/* Logits of all images, `batch` at a time; kept patches of the last stage if wanted. */
static void answer(const struct dvit_model *model, const char *precision, const char *cpu,
                   int batch, int threads, const float *pixels, float *logits)
{
    struct dvit_session *session;
    struct dvit_error error;
    size_t size = 3 * 24 * 24;
    assert_ok(open_as(&session, model, precision, cpu, batch, threads, &error), &error);
    for (int done = 0; done < IMAGES; done += batch) {
        int count = IMAGES - done < batch ? IMAGES - done : batch;
        assert_ok(dvit_session_run(session, pixels + (size_t)done * size, count,
                                   logits + done * CLASSES, &error),
                  &error);
    }
    dvit_session_free(session);
}

static double worst_gap(const float *a, const float *b)
{
    double worst = 0;
    for (int i = 0; i < IMAGES; i++)
        worst = fmax(worst, logit_gap(a + i * CLASSES, b + i * CLASSES, CLASSES));
    return worst;
}

static bool has_int8(void)
{
    return dvit_cpu_best() == DVIT_CPU_AVX512 && dvit_cpu_has_vnni();
}

static void what_is_not_calibrated_is_refused(void **state)
{
    struct dvit_model *model = random_model(text, STAGES, 0.7, 3, 1);
    struct dvit_session *session;
    struct dvit_error error;
    (void)state;
    assert_int_equal(open_as(&session, model, "int8", "reference", 1, 1, &error),
                     DVIT_ERROR_MISMATCH);
    assert_null(session);
    assert_non_null(strstr(error.message, "dvit quantize"));
    dvit_model_free(model);
}

static void a_level_without_such_products_is_refused(void **state)
{
    (void)state;
    if (dvit_cpu_best() < DVIT_CPU_AVX2)
        skip();
    struct dvit_model *model = calibrated_model(3);
    struct dvit_session *session;
    struct dvit_error error;
    assert_int_equal(open_as(&session, model, "int8", "avx2", 1, 1, &error),
                     DVIT_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "AVX-512 VNNI"));
    assert_int_equal(open_as(&session, model, "int4", "avx2", 1, 1, &error), DVIT_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "f32, bf16, int8 or auto"));
    dvit_model_free(model);
}

static void check_choice(const struct dvit_model *model, const char *cpu, const char *expected)
{
    struct dvit_session *session;
    struct dvit_error error;
    assert_ok(open_as(&session, model, "auto", cpu, 1, 1, &error), &error);
    assert_string_equal(dvit_session_describe(session).precision, expected);
    dvit_session_free(session);
}

static void auto_rounds_to_bytes_only_what_was_calibrated(void **state)
{
    struct dvit_model *plain = random_model(text, STAGES, 0.7, 3, 1), *model = calibrated_model(3);
    const char *best =
        dvit_cpu_can(dvit_cpu_best(), DVIT_PRECISION_BF16) && dvit_cpu_best() != DVIT_CPU_REFERENCE
            ? "bf16"
            : "f32";
    (void)state;
    check_choice(plain, "auto", best);
    check_choice(model, "auto", has_int8() ? "int8" : best);
    check_choice(model, "reference", "f32");
    dvit_model_free(plain);
    dvit_model_free(model);
}

/* Sums of bytes are exact, so the levels differ only in what is computed around them; where that
 * moves a number to its neighbour among the bytes, by a step. A step may turn a decision, and then
 * another patch is dropped: the model here drops none. */
static void levels_agree_with_plain_c(void **state)
{
    struct dvit_model *model = random_model(text, 0, 1, 4, 1);
    float *pixels = random_pixels(model, IMAGES, 4), reference[IMAGES * CLASSES],
          got[IMAGES * CLASSES], f32[IMAGES * CLASSES];
    (void)state;
    calibrate(model);
    answer(model, "int8", "reference", IMAGES, 1, pixels, reference);
    answer(model, "f32", "reference", IMAGES, 1, pixels, f32);
    print_message("8 bits differ from f32 by %.2g of the logits' spread\n",
                  worst_gap(f32, reference));
    assert_true(worst_gap(f32, reference) > 1e-4); /* they do round */
    assert_true(worst_gap(f32, reference) < 0.25);
    if (has_int8()) {
        answer(model, "int8", "auto", IMAGES, 1, pixels, got);
        print_message("the level differs from plain C by %.2g\n", worst_gap(reference, got));
        assert_true(worst_gap(reference, got) < 0.05);
    }
    free(pixels);
    dvit_model_free(model);
}

static void answers_depend_on_the_image_alone(void **state)
{
    struct dvit_model *model = calibrated_model(5);
    float *pixels = random_pixels(model, IMAGES, 5), alone[IMAGES * CLASSES], got[IMAGES * CLASSES];
    const char *cpu = has_int8() ? "auto" : "reference";
    (void)state;
    answer(model, "int8", cpu, 1, 1, pixels, alone);
    for (int threads = 1; threads <= 4; threads++)
        for (int batch = 1; batch <= IMAGES; batch += 2) {
            answer(model, "int8", cpu, batch, threads, pixels, got);
            assert_true(worst_gap(alone, got) <= 1e-4);
        }
    free(pixels);
    dvit_model_free(model);
}

/* Whatever a block is made of, its linear layers may be of bytes. */
static void every_kind_of_model_runs(void **state)
{
    static const char *const kinds[] = {
        "vit:dim=32,depth=3,heads=2,patch=4,image=24,classes=6,distilled=1",
        "vit:dim=32,depth=3,heads=2,patch=4,image=24,classes=6,mean_pool=1,layer_scale=1",
        "lvvit:dim=32,depth=3,heads=2,patch=4,image=24,classes=6,stem_width=8",
    };
    const char *cpu = has_int8() ? "auto" : "reference";
    (void)state;
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        struct dvit_model *model = random_model(kinds[kind], 2, 0.7, 5, 1);
        float *pixels = random_pixels(model, IMAGES, 5), f32[IMAGES * CLASSES],
              got[IMAGES * CLASSES];
        calibrate(model);
        answer(model, "f32", cpu, IMAGES, 2, pixels, f32);
        answer(model, "int8", cpu, IMAGES, 2, pixels, got);
        print_message("%s: %.2g of the spread\n", kinds[kind], worst_gap(f32, got));
        assert_true(worst_gap(f32, got) < 0.25);
        free(pixels);
        dvit_model_free(model);
    }
}

static void runs_allocate_nothing(void **state)
{
    (void)state;
    if (!allocation_count_works())
        skip();
    struct dvit_model *model = calibrated_model(5);
    float *pixels = random_pixels(model, IMAGES, 5), logits[IMAGES * CLASSES];
    struct dvit_session *session;
    struct dvit_error error;
    assert_ok(
        open_as(&session, model, "int8", has_int8() ? "auto" : "reference", IMAGES, 2, &error),
        &error);
    assert_ok(dvit_session_run(session, pixels, IMAGES, logits, &error), &error);
    allocation_count_begin();
    for (int images = 1; images <= IMAGES; images++)
        assert_ok(dvit_session_run(session, pixels, images, logits, &error), &error);
    assert_int_equal(allocation_count_end().ours, 0);
    dvit_session_free(session);
    free(pixels);
    dvit_model_free(model);
}

/* A dequantised weight has the bytes and the scale that it came from. */
static void weights_of_bytes_keep_their_bytes(void **state)
{
    enum { COUNT = 97 };
    float weight[COUNT], again[COUNT];
    struct dvit_rng rng = dvit_rng_stream(1, DVIT_RNG_TEST, 0, 0);
    (void)state;
    for (int n = 0; n < 2000; n++) {
        double size = pow(10, (double)(n % 60) / 2 - 20);
        for (int i = 0; i < COUNT; i++)
            weight[i] = (float)(size * dvit_rng_normal(&rng));
        float scale = dvit_quantise_weight_scale(weight, COUNT);
        for (int i = 0; i < COUNT; i++)
            again[i] = scale * (float)dvit_quantise_weight(weight[i], scale);
        float second = dvit_quantise_weight_scale(again, COUNT);
        assert_memory_equal(&scale, &second, sizeof scale);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(dvit_quantise_weight(weight[i], scale),
                             dvit_quantise_weight(again[i], second));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_calibrated_is_refused),
        cmocka_unit_test(a_level_without_such_products_is_refused),
        cmocka_unit_test(auto_rounds_to_bytes_only_what_was_calibrated),
        cmocka_unit_test(levels_agree_with_plain_c),
        cmocka_unit_test(answers_depend_on_the_image_alone),
        cmocka_unit_test(every_kind_of_model_runs),
        cmocka_unit_test(runs_allocate_nothing),
        cmocka_unit_test(weights_of_bytes_keep_their_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
