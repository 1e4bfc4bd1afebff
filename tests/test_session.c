/* Inference sessions: the same answer whatever the batch, the place in it and the team; no
 * allocation in a run; ties, numbers that are not, options out of range; labels' arithmetic. */
#include "allocation_count.h"
#include "random_model.h"

#include <pthread.h>

#include "base/cpu.h"
#include "dvit/infer.h"

enum { MOST = 9, STAGES = 3, CLASSES = 6, PATCHES = 36 };
static const char *const text = "vit:dim=32,depth=5,heads=2,patch=4,image=24,classes=6";
/* Of the spread of an image's logits; measured about 2e-6. */
static const double bound = 1e-4;

static const char *cpu_level(void **state)
{
    return *state;
}

static struct dvit_session *session_open(const struct dvit_model *model, double keep, int batch,
                                         int threads, const char *cpu)
{
    struct dvit_session *session;
    struct dvit_error error;
    struct dvit_session_options options = {
        .keep = keep, .max_batch = batch, .threads = threads, .cpu = cpu};
    assert_ok(dvit_session_create(&session, model, &options, &error), &error);
    return session;
}

/* --- invariance --------------------------------------------------------------------------- */

struct answers {
    float logits[MOST * CLASSES];
    int kept[MOST][STAGES][PATCHES], counts[STAGES];
};

static void run(struct dvit_session *session, const float *pixels, int count, struct answers *out)
{
    struct dvit_error error;
    memset(out, 0, sizeof *out);
    assert_ok(dvit_session_run(session, pixels, count, out->logits, &error), &error);
    for (int image = 0; image < count; image++)
        for (int s = 0; s < dvit_session_stages(session); s++) {
            const int *kept = dvit_session_kept(session, image, s, &out->counts[s]);
            memcpy(out->kept[image][s], kept, sizeof(int) * (size_t)out->counts[s]);
        }
}

/* The first `count` images of `answers` are images first … of `alone`. */
static double compare(const struct answers *got, const struct answers *alone, int first, int count)
{
    double worst = 0;
    for (int image = 0; image < count; image++) {
        double gap = logit_gap(alone->logits + (first + image) * CLASSES,
                               got->logits + image * CLASSES, CLASSES);
        assert_true(gap <= bound);
        worst = fmax(worst, gap);
        for (int s = 0; s < STAGES; s++)
            assert_memory_equal(got->kept[image][s], alone->kept[first + image][s],
                                sizeof got->kept[image][s]);
    }
    return worst;
}

static void answers_depend_on_the_image_alone(void **state)
{
    struct dvit_model *model = random_model(text, STAGES, 0.7, 11, 1.5);
    float *pixels = random_pixels(model, MOST, 11);
    size_t size = 3 * 24 * 24;
    static struct answers alone, got;
    double worst = 0;
    struct dvit_session *single = session_open(model, 0.7, 1, 1, cpu_level(state));
    for (int image = 0; image < MOST; image++) {
        run(single, pixels + (size_t)image * size, 1, &got);
        memcpy(alone.logits + image * CLASSES, got.logits, CLASSES * sizeof(float));
        memcpy(alone.kept[image], got.kept[0], sizeof got.kept[0]);
    }
    dvit_session_free(single);
    for (int threads = 1; threads <= 5; threads++)
        for (int batch = 1; batch <= MOST; batch += 4) {
            struct dvit_session *session =
                session_open(model, 0.7, batch, threads, cpu_level(state));
            for (int count = 1; count <= batch; count++) {
                int first = (count * 3 + batch) % (MOST - count + 1);
                run(session, pixels + (size_t)first * size, count, &got);
                worst = fmax(worst, compare(&got, &alone, first, count));
            }
            dvit_session_free(session);
        }
    print_message("logits differ by at most %.1g of their spread\n", worst);
    free(pixels);
    dvit_model_free(model);
}

/* So many that they share the outputs of a row too. */
static void a_large_team_shares_one_image(void **state)
{
    struct dvit_model *model = random_model(
        "vit:dim=384,depth=5,heads=6,patch=4,image=24,classes=6", STAGES, 0.7, 13, 1.5);
    float *pixels = random_pixels(model, 2, 13);
    static struct answers alone, got;
    struct dvit_session *session = session_open(model, 0.7, 2, 1, cpu_level(state));
    run(session, pixels, 2, &alone);
    dvit_session_free(session);
    for (int threads = 8; threads <= 24; threads += 8) {
        session = session_open(model, 0.7, 2, threads, cpu_level(state));
        for (int count = 1; count <= 2; count++) {
            run(session, pixels, count, &got);
            compare(&got, &alone, 0, count);
        }
        dvit_session_free(session);
    }
    free(pixels);
    dvit_model_free(model);
}

/* The same call gives the same bits. */
static void runs_repeat(void **state)
{
    struct dvit_model *model = random_model(text, STAGES, 0.7, 5, 1);
    float *pixels = random_pixels(model, MOST, 5);
    static struct answers first, again;
    struct dvit_session *session = session_open(model, 0, MOST, 3, cpu_level(state));
    run(session, pixels, MOST, &first);
    for (int i = 0; i < 20; i++) {
        run(session, pixels, 1 + i % MOST, &again);
        run(session, pixels, MOST, &again);
        assert_memory_equal(&first, &again, sizeof first);
    }
    dvit_session_free(session);
    free(pixels);
    dvit_model_free(model);
}

struct caller {
    const struct dvit_model *model;
    const char *cpu;
    const float *pixels;
    struct answers answers;
};

static void *call(void *context)
{
    struct caller *caller = context;
    struct dvit_session *session = session_open(caller->model, 0, 5, 2, caller->cpu);
    for (int i = 0; i < 5; i++)
        run(session, caller->pixels, 5, &caller->answers);
    dvit_session_free(session);
    return NULL;
}

static void sessions_share_a_model(void **state)
{
    enum { CALLERS = 3 };
    struct dvit_model *model = random_model(text, STAGES, 0.7, 6, 1);
    float *pixels = random_pixels(model, 5, 6);
    static struct caller callers[CALLERS];
    pthread_t threads[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.model = model, .cpu = cpu_level(state), .pixels = pixels};
        assert_int_equal(pthread_create(&threads[i], NULL, call, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 1; i < CALLERS; i++)
        assert_memory_equal(&callers[i].answers, &callers[0].answers, sizeof callers[0].answers);
    free(pixels);
    dvit_model_free(model);
}

/* --- allocations -------------------------------------------------------------------------- */

static void runs_allocate_nothing(void **state)
{
    if (!allocation_count_works()) {
        skip();
        return;
    }
    bool reference = strcmp(cpu_level(state), "reference") == 0;
    long backend = 0;
    for (int threads = 1; threads <= 3; threads++)
        for (int pruned = 0; pruned <= 1; pruned++) {
            struct dvit_model *model = random_model(text, STAGES, 0.7, 1, 1);
            float *pixels = random_pixels(model, MOST, 1);
            float logits[MOST * CLASSES];
            struct dvit_error error;
            struct dvit_session *session =
                session_open(model, pruned ? 0.7 : 1, MOST, threads, cpu_level(state));
            /* In the first run the workers may still be starting: oneDNN's OpenMP allocates then.
             */
            allocation_count_begin();
            enum dvit_status status = dvit_session_run(session, pixels, MOST, logits, &error);
            struct allocation_count count = allocation_count_end();
            assert_ok(status, &error);
            assert_int_equal(count.ours, 0);
            allocation_count_begin();
            for (int images = 1; images <= MOST && status == DVIT_OK; images++)
                status = dvit_session_run(session, pixels, images, logits, &error);
            count = allocation_count_end();
            assert_ok(status, &error);
            assert_int_equal(count.ours, 0);
            backend += count.backend;
            dvit_session_free(session);
            free(pixels);
            dvit_model_free(model);
        }
    if (reference)
        assert_int_equal(backend, 0);
    else
        print_message("%s allocated %.0f times per run\n", dvit_machine_describe().backend,
                      (double)backend / (6 * MOST));
    /* The counter does count. */
    allocation_count_begin();
    void *volatile block = malloc(10);
    struct allocation_count count = allocation_count_end();
    free(block);
    assert_int_equal(count.ours, 1);
}

/* --- ties and numbers that are not -------------------------------------------------------- */

static void fill(struct dvit_model *model, const char *name, float value)
{
    int index = dvit_parameters_find(&model->parameters, name);
    assert_true(index >= 0);
    for (size_t i = 0; i < model->parameters.items[index].count; i++)
        dvit_model_weights(model, (size_t)index)[i] = value;
}

static void ties_keep_the_lower_index(void **state)
{
    struct dvit_model *model = random_model(text, STAGES, 0.7, 2, 1);
    float *pixels = random_pixels(model, MOST, 2);
    static struct answers got;
    for (int s = 0; s < STAGES; s++) {
        char name[64];
        snprintf(name, sizeof name, "score_predictor.%d.out_conv.4.weight", s);
        fill(model, name, 0);
    }
    for (int threads = 1; threads <= 3; threads++) {
        struct dvit_session *session = session_open(model, 0.7, 5, threads, cpu_level(state));
        run(session, pixels, 5, &got);
        for (int image = 0; image < 5; image++)
            for (int s = 0; s < STAGES; s++) {
                assert_int_equal(got.counts[s], dvit_config_kept(&model->config, 0.7, s));
                for (int i = 0; i < got.counts[s]; i++)
                    assert_int_equal(got.kept[image][s][i], i);
            }
        dvit_session_free(session);
    }
    free(pixels);
    dvit_model_free(model);
}

/* Kept patches are always patches: ascending, and each stage's among the one before. */
static void assert_legal(const struct answers *got, int images)
{
    for (int image = 0; image < images; image++)
        for (int s = 0; s < STAGES; s++)
            for (int i = 0; i < got->counts[s]; i++) {
                int patch = got->kept[image][s][i];
                bool before = s == 0;
                for (int k = 0; s > 0 && k < got->counts[s - 1]; k++)
                    before = before || got->kept[image][s - 1][k] == patch;
                assert_true(before && patch >= 0 && patch < PATCHES);
                assert_true(i == 0 || patch > got->kept[image][s][i - 1]);
            }
}

static void nan_is_survived(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f};
    static struct answers clean, got;
    struct dvit_model *model = random_model(text, STAGES, 0.7, 3, 1);
    float *pixels = random_pixels(model, 5, 3);
    struct dvit_session *session = session_open(model, 0.7, 5, 2, cpu_level(state));
    run(session, pixels, 5, &clean);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        float *spoiled = random_pixels(model, 5, 3);
        spoiled[3 * 24 * 24 * 2 + 100] = bad[i]; /* one pixel of image 2 */
        run(session, spoiled, 5, &got);
        assert_legal(&got, 5);
        for (int image = 0; image < 5; image++) /* the others do not notice */
            if (image != 2)
                assert_memory_equal(got.logits + image * CLASSES, clean.logits + image * CLASSES,
                                    CLASSES * sizeof(float));
        free(spoiled);
    }
    dvit_session_free(session);
    for (size_t i = 0; i < model->parameters.count; i++) {
        float *weights = dvit_model_weights(model, i), before = weights[0];
        weights[0] = bad[i % (sizeof bad / sizeof *bad)];
        session = session_open(model, 0.7, 5, 2, cpu_level(state));
        run(session, pixels, 5, &got);
        assert_legal(&got, 5);
        dvit_session_free(session);
        weights[0] = before;
    }
    free(pixels);
    dvit_model_free(model);
}

/* --- options ------------------------------------------------------------------------------ */

static void options_out_of_range_are_errors(void **state)
{
    (void)state;
    struct dvit_model *dynamic = random_model(text, STAGES, 0.7, 4, 1);
    struct dvit_model *dense = random_model(text, 0, 1, 4, 1);
    const struct {
        bool dense;
        struct dvit_session_options options;
        enum dvit_status code;
        const char *part;
    } bad[] = {
        {false,
         {-0.1, 1, 1, "auto", NULL, NULL},
         DVIT_ERROR_ARGUMENT,
         "keep is -0.1, expected above 0 up to 1"},
        {false,
         {1.1, 1, 1, "auto", NULL, NULL},
         DVIT_ERROR_ARGUMENT,
         "keep is 1.1, expected above 0 up to 1"},
        {false, {NAN, 1, 1, "auto", NULL, NULL}, DVIT_ERROR_ARGUMENT, "keep is"},
        {false,
         {0, 0, 1, "auto", NULL, NULL},
         DVIT_ERROR_ARGUMENT,
         "batch is 0, expected 1 to 4096"},
        {false, {0, -7, 1, "auto", NULL, NULL}, DVIT_ERROR_ARGUMENT, "batch is -7"},
        {false,
         {0, 4097, 1, "auto", NULL, NULL},
         DVIT_ERROR_ARGUMENT,
         "batch is 4097, expected 1 to 4096"},
        {false,
         {0, 1, -1, "auto", NULL, NULL},
         DVIT_ERROR_ARGUMENT,
         "threads is -1, expected 0 to 256"},
        {false,
         {0, 1, 257, "auto", NULL, NULL},
         DVIT_ERROR_ARGUMENT,
         "threads is 257, expected 0 to 256"},
        {false, {0, 1, 1, "sse9", NULL, NULL}, DVIT_ERROR_ARGUMENT, "sse9"},
        {true,
         {0.7, 1, 1, "auto", NULL, NULL},
         DVIT_ERROR_MISMATCH,
         "keep is 0.7, but the model \"vit\" is dense"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dvit_session *session = (void *)dense;
        struct dvit_error error;
        assert_fails(
            dvit_session_create(&session, bad[i].dense ? dense : dynamic, &bad[i].options, &error),
            &error, bad[i].code, bad[i].part);
        assert_null(session);
        assert_int_equal(
            dvit_session_create(&session, bad[i].dense ? dense : dynamic, &bad[i].options, NULL),
            bad[i].code);
    }
    dvit_session_free(NULL);
    dvit_model_free(dynamic);
    dvit_model_free(dense);
}

static void sessions_say_what_runs(void **state)
{
    (void)state;
    struct dvit_model *model = random_model(text, STAGES, 0.7, 4, 1);
    struct dvit_model *dense = random_model(text, 0, 1, 4, 1);
    float *pixels = random_pixels(model, 4, 4), logits[4 * CLASSES];
    struct dvit_session *session;
    struct dvit_error error;
    struct dvit_cost cost;
    int count;

    assert_ok(dvit_session_create(&session, dense, NULL, &error), &error); /* all defaults */
    struct dvit_session_info info = dvit_session_describe(session);
    assert_true(info.keep == 1 && info.threads >= 1 && info.max_batch == 32);
    assert_int_equal(dvit_session_stages(session), 0);
    assert_ok(dvit_session_run(session, pixels, 1, logits, &error), &error);
    assert_null(dvit_session_kept(session, 0, 0, &count));
    assert_int_equal(count, 0);
    dvit_session_free(session);

    session = session_open(model, 0, 3, 2, "reference");
    info = dvit_session_describe(session);
    assert_true(info.keep == 0.7 && info.threads == 2 && info.max_batch == 3);
    assert_string_equal(info.cpu, "reference");
    assert_true(info.activation_bytes > 0);
    assert_ok(dvit_model_cost(&model->config, 0.7, &cost, &error), &error);
    assert_true(info.cost.macs == cost.macs && info.cost.macs_published == cost.macs_published);
    assert_int_equal(dvit_session_stages(session), STAGES);
    assert_null(dvit_session_kept(session, 0, 0, &count)); /* nothing has run */
    static const int wrong[] = {0, -1, 4, 1000};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_fails(dvit_session_run(session, pixels, wrong[i], logits, &error), &error,
                     DVIT_ERROR_ARGUMENT, "expected 1 to 3");
    assert_ok(dvit_session_run(session, pixels, 2, logits, &error), &error);
    assert_non_null(dvit_session_kept(session, 1, 2, &count));
    assert_int_equal(count, dvit_config_kept(&model->config, 0.7, 2));
    assert_null(dvit_session_kept(session, 2, 0, &count));
    assert_null(dvit_session_kept(session, -1, 0, &count));
    assert_null(dvit_session_kept(session, 0, STAGES, &count));
    assert_null(dvit_session_kept(session, 0, -1, &count));
    assert_int_equal(count, 0);
    dvit_session_free(session);
    free(pixels);
    dvit_model_free(dense);
    dvit_model_free(model);
}

/* --- softmax and the best classes --------------------------------------------------------- */

static void softmax_is_a_distribution(void **state)
{
    (void)state;
    float x[4] = {1, 2, 3, -1}, p[4];
    dvit_softmax(x, 4, p);
    double sum = exp(1) + exp(2) + exp(3) + exp(-1);
    for (int k = 0; k < 4; k++)
        assert_true(fabs(p[k] - exp(x[k]) / sum) < 1e-7);
    float large[3] = {1000, 999, -1000}; /* in place, and without overflow */
    dvit_softmax(large, 3, large);
    assert_true(fabs(large[0] - 1 / (1 + exp(-1))) < 1e-7 && large[2] == 0);
    float one[1] = {-5};
    dvit_softmax(one, 1, one);
    assert_true(one[0] == 1);
    float bad[2] = {NAN, 1};
    dvit_softmax(bad, 2, bad);
    assert_true(isnan(bad[0]) && isnan(bad[1]));
}

/* Stands a before b: larger, ties to the lower index, NaN last. */
static int rank_of(const float *values, int count, int index)
{
    int rank = 0;
    for (int i = 0; i < count; i++) {
        float x = values[i], y = values[index];
        bool tied = x == y || (isnan(x) && isnan(y));
        rank += tied ? i < index : isnan(y) || x > y;
    }
    return rank;
}

static void top_k_is_the_order(void **state)
{
    (void)state;
    enum { COUNT = 30 };
    for (uint32_t seed = 0; seed < 500; seed++) {
        struct dvit_rng rng = dvit_rng_stream(5, DVIT_RNG_TEST, 0, seed);
        float values[COUNT];
        int indices[COUNT + 1], count = 1 + (int)dvit_rng_below(&rng, COUNT);
        for (int i = 0; i < count; i++)
            values[i] = dvit_rng_below(&rng, 7) == 0 ? NAN : (float)dvit_rng_below(&rng, 6);
        for (int k = 0; k <= count; k++) {
            indices[k] = -7;
            dvit_top_k(values, count, k, indices);
            assert_int_equal(indices[k], -7);
            for (int i = 0; i < k; i++)
                assert_int_equal(rank_of(values, count, indices[i]), i);
        }
    }
}

/* Rounded factors change a dense model's logits a little, and not by nothing; every batch, team and
 * level that has bfloat16 gives nearly the same ones. */
static void bf16_answers_are_near_those_of_f32(void **state)
{
    (void)state;
    enum { IMAGES = 5 };
    struct dvit_model *model = random_model(text, 0, 1, 3, 1);
    float *pixels = random_pixels(model, IMAGES, 3);
    float exact[IMAGES * CLASSES], rounded[IMAGES * CLASSES];
    struct dvit_session *session = session_open(model, 1, IMAGES, 1, "reference");
    struct dvit_error error;
    assert_ok(dvit_session_run(session, pixels, IMAGES, exact, &error), &error);
    assert_string_equal(dvit_session_describe(session).precision, "f32");
    dvit_session_free(session);
    for (int level = 0; level < (dvit_cpu_has_bf16() ? 2 : 1); level++)
        for (int threads = 1; threads <= 3; threads++) {
            struct dvit_session_options options = {.keep = 1,
                                                   .max_batch = IMAGES,
                                                   .threads = threads,
                                                   .cpu = level ? "avx512" : "reference",
                                                   .precision = "bf16"};
            assert_ok(dvit_session_create(&session, model, &options, &error), &error);
            assert_ok(dvit_session_run(session, pixels, IMAGES, rounded, &error), &error);
            assert_string_equal(dvit_session_describe(session).precision, "bf16");
            for (int image = 0; image < IMAGES; image++) {
                double gap = logit_gap(exact + image * CLASSES, rounded + image * CLASSES, CLASSES);
                assert_true(gap > 1e-5 && gap < 5e-2);
            }
            dvit_session_free(session);
        }
    free(pixels);
    dvit_model_free(model);
}

static void precisions_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct dvit_model *model = random_model(text, 0, 1, 3, 1);
    struct dvit_session *session;
    struct dvit_error error;
    struct dvit_session_options options = dvit_session_options_default();
    options.precision = "f8";
    assert_fails(dvit_session_create(&session, model, &options, &error), &error,
                 DVIT_ERROR_ARGUMENT, "unknown precision \"f8\"");
    options.precision = "bf16";
    options.cpu = "avx2";
    if (dvit_cpu_best() >= DVIT_CPU_AVX2)
        assert_fails(dvit_session_create(&session, model, &options, &error), &error,
                     DVIT_ERROR_UNSUPPORTED, "AVX-512 BF16");
    dvit_model_free(model);
}

int main(void)
{
    int failed = 0;
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        void *level = (void *)dvit_cpu_name((enum dvit_cpu)cpu);
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_prestate(answers_depend_on_the_image_alone, level),
            cmocka_unit_test_prestate(a_large_team_shares_one_image, level),
            cmocka_unit_test_prestate(runs_repeat, level),
            cmocka_unit_test_prestate(sessions_share_a_model, level),
            cmocka_unit_test_prestate(runs_allocate_nothing, level),
            cmocka_unit_test_prestate(ties_keep_the_lower_index, level),
            cmocka_unit_test_prestate(nan_is_survived, level),
        };
        failed += cmocka_run_group_tests_name((const char *)level, tests, NULL, NULL);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_out_of_range_are_errors),
        cmocka_unit_test(bf16_answers_are_near_those_of_f32),
        cmocka_unit_test(precisions_that_cannot_be_are_refused),
        cmocka_unit_test(sessions_say_what_runs),
        cmocka_unit_test(softmax_is_a_distribution),
        cmocka_unit_test(top_k_is_the_order),
    };
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed != 0;
}
