/* Calibration: histograms against counting by hand, ranges against trying them out, a calibrated
 * model against f32; the comparison of sessions against two of them asked one by one. */
#include "random_model.h"

#include "base/cpu.h"
#include "dvit/quantize.h"
#include "infer/range_histogram.h"

enum { CLASSES = 5, STAGES = 2, LAYERS = 4 * 4 + 1 + STAGES, VALIDATION = 23 };
static const char *const text = "vit:dim=48,depth=4,heads=3,patch=4,image=32,classes=5";
static const char scenes[] = "builtin:scenes,image=32,classes=5,train=64,val=23";

/* --- histograms ------------------------------------------------------------------------------- */

enum { NUMBERS = 20000 };

static float *normal_numbers(double mean, double deviation, uint64_t seed)
{
    float *x = malloc(NUMBERS * sizeof *x);
    struct dvit_rng rng = dvit_rng_stream(seed, DVIT_RNG_TEST, 0, 0);
    for (int i = 0; i < NUMBERS; i++)
        x[i] = (float)(mean + deviation * dvit_rng_normal(&rng));
    return x;
}

static struct dvit_range_histogram *histogram_of(const float *x, size_t count)
{
    struct dvit_range_histogram *h = calloc(1, sizeof *h);
    dvit_range_histogram_add(h, x, count);
    return h;
}

static void every_number_is_in_its_bin(void **state)
{
    float *x = normal_numbers(-0.3, 2, 1);
    struct dvit_range_histogram *h = histogram_of(x, NUMBERS);
    uint64_t *expected = calloc(2 * DVIT_HISTOGRAM_SIDE, sizeof *expected);
    (void)state;
    for (int i = 0; i < NUMBERS; i++)
        expected[DVIT_HISTOGRAM_SIDE + (int)floor(x[i] / h->width)]++;
    assert_memory_equal(h->counts, expected, sizeof h->counts);
    free(expected);
    free(h);
    free(x);
}

/* Bins that had to double, at whatever moment, are those that were wide from the start. */
static void the_order_and_the_split_do_not_matter(void **state)
{
    float *x = normal_numbers(0.1, 1, 2);
    (void)state;
    x[17] = 31.0f;
    x[NUMBERS - 1] = -77.7f;
    x[300] = INFINITY;
    x[301] = NAN;
    struct dvit_range_histogram *whole = histogram_of(x, NUMBERS);
    assert_int_equal(whole->not_finite, 2);
    assert_true(whole->lowest == -77.7f && whole->highest == 31.0f);
    for (size_t part = 1; part < NUMBERS; part = part * 7 + 3) {
        struct dvit_range_histogram *sum = calloc(1, sizeof *sum);
        for (size_t first = 0; first < NUMBERS; first += part) {
            size_t count = NUMBERS - first < part ? NUMBERS - first : part;
            if (part < 100) {
                dvit_range_histogram_add(sum, x + first, count);
                continue;
            }
            struct dvit_range_histogram *own = histogram_of(x + first, count);
            dvit_range_histogram_merge(sum, own);
            free(own);
        }
        assert_memory_equal(sum, whole, sizeof *sum);
        free(sum);
    }
    free(whole);
    free(x);
}

/* The mean squared error of numbers that pass through bytes. */
static double loss(const float *x, struct dvit_quantised q)
{
    double sum = 0;
    for (int i = 0; i < NUMBERS; i++) {
        double back = (double)q.scale * (dvit_quantise(x[i], q) - q.zero);
        sum += (x[i] - back) * (x[i] - back);
    }
    return sum / NUMBERS;
}

static double least_loss(const float *x, float lowest, float highest)
{
    double least = INFINITY;
    for (int i = 0; i <= 40; i++)
        for (int k = 0; k <= 40; k++) {
            float low = lowest * (float)i / 40, high = highest * (float)k / 40;
            if (low < high)
                least = fmin(least, loss(x, dvit_quantise_range(low, high)));
        }
    return least;
}

static void no_range_loses_less(void **state)
{
    float *even = normal_numbers(0, 0, 1), *outlier = normal_numbers(0, 1, 3),
          *positive = normal_numbers(0, 1, 4), *gelu = normal_numbers(0, 2, 5);
    float *const sets[] = {even, outlier, positive, gelu};
    (void)state;
    for (int i = 0; i < NUMBERS; i++) {
        even[i] = (float)i / NUMBERS * 3 - 1;
        positive[i] = fabsf(positive[i]);
        gelu[i] = (float)(0.5 * gelu[i] * (1 + erf(gelu[i] / sqrt(2))));
    }
    outlier[5] = 60;
    for (int s = 0; s < 4; s++) {
        struct dvit_range_histogram *h = histogram_of(sets[s], NUMBERS);
        struct dvit_quantised q = dvit_range_histogram_choose(h);
        double own = loss(sets[s], q), best = least_loss(sets[s], h->lowest, h->highest);
        print_message("set %d: mean squared error %.3g, least of 1600 ranges %.3g\n", s, own, best);
        assert_true(own <= 1.1 * best);
        free(h);
    }
    struct dvit_range_histogram *h = histogram_of(positive, NUMBERS);
    assert_int_equal(dvit_range_histogram_choose(h).zero, 0);
    free(h);
    for (int s = 0; s < 4; s++)
        free(sets[s]);
}

/* --- models ----------------------------------------------------------------------------------- */

static struct dvit_dataset *open_data(const char *split)
{
    struct dvit_dataset *set;
    struct dvit_error error;
    assert_ok(dvit_dataset_open(&set, scenes, split, NULL, &error), &error);
    return set;
}

static enum dvit_status calibrate(struct dvit_model *model, int threads, int batch, size_t images,
                                  struct dvit_error *error)
{
    struct dvit_dataset *set = open_data("train");
    struct dvit_calibrate_options options = dvit_calibrate_options_default();
    options.threads = threads;
    options.batch = batch;
    options.images = images;
    enum dvit_status status = dvit_model_calibrate(model, set, &options, NULL, NULL, error);
    dvit_dataset_free(set);
    return status;
}

static struct dvit_session *open_session(const struct dvit_model *model, const char *precision,
                                         const char *cpu, double keep)
{
    struct dvit_session *session;
    struct dvit_error error;
    struct dvit_session_options options = {
        .keep = keep, .max_batch = 8, .threads = 2, .cpu = cpu, .precision = precision};
    assert_ok(dvit_session_create(&session, model, &options, &error), &error);
    return session;
}

static void layers_that_may_be_bytes_are_calibrated(void **state)
{
    struct dvit_model *model = random_model(text, STAGES, 0.7, 1, 1);
    struct dvit_error error;
    (void)state;
    assert_ok(calibrate(model, 2, 8, 32, &error), &error);
    assert_int_equal(dvit_model_quantised_layers(model), LAYERS);
    for (size_t i = 0; i < model->parameters.count; i++) {
        const struct dvit_quantised *input = &model->inputs[i];
        bool wanted = dvit_parameter_is_quantisable(&model->parameters, i);
        const char *name = model->parameters.items[i].name;
        bool of_block = strstr(name, "blocks.") && model->parameters.items[i].rank == 2;
        bool first = strcmp(name, "patch_embed.proj.weight") == 0 ||
                     (strstr(name, "score_predictor.") && strstr(name, ".in_conv.1.weight"));
        assert_int_equal(wanted, of_block || first);
        assert_int_equal(wanted, input->scale != 0);
        assert_true(input->zero >= 0 && input->zero <= 255);
        if (wanted && strstr(name, "fc2"))
            assert_true(input->zero < 100 && input->zero > 0); /* GELU: little below 0 */
    }
    dvit_model_free(model);
}

static void the_team_and_the_batch_do_not_matter(void **state)
{
    struct dvit_model *a = random_model(text, STAGES, 0.7, 1, 1),
                      *b = random_model(text, STAGES, 0.7, 1, 1);
    struct dvit_error error;
    (void)state;
    assert_ok(calibrate(a, 1, 32, 50, &error), &error);
    assert_ok(calibrate(b, 3, 7, 50, &error), &error);
    for (size_t i = 0; i < a->parameters.count; i++) {
        assert_true(fabsf(a->inputs[i].scale - b->inputs[i].scale) <= 1e-3f * a->inputs[i].scale);
        assert_true(abs(a->inputs[i].zero - b->inputs[i].zero) <= 1);
    }
    dvit_model_free(a);
    dvit_model_free(b);
}

static void what_is_not_finite_is_named(void **state)
{
    struct dvit_model *model = random_model(text, STAGES, 0.7, 1, 1);
    struct dvit_error error;
    int index = dvit_parameters_find(&model->parameters, "blocks.2.norm2.bias");
    (void)state;
    dvit_model_weights(model, (size_t)index)[3] = NAN;
    assert_fails(calibrate(model, 2, 8, 8, &error), &error, DVIT_ERROR_NUMERIC,
                 "tensor \"blocks.2.norm2.bias\" has 1 of 48");
    int scale = dvit_parameters_find(&model->parameters, "blocks.2.norm2.weight");
    dvit_model_weights(model, (size_t)index)[3] = 3e38f;
    dvit_model_weights(model, (size_t)scale)[3] = 3e38f; /* finite, and overflows */
    assert_fails(calibrate(model, 2, 8, 8, &error), &error, DVIT_ERROR_FORMAT,
                 "\"blocks.2.mlp.fc1.weight\" is not finite");
    assert_int_equal(dvit_model_quantised_layers(model), 0);
    assert_fails(calibrate(model, 2, 8, 0, &error), &error, DVIT_ERROR_ARGUMENT, "0 images");
    dvit_model_free(model);
}

/* --- precisions beside each other ------------------------------------------------------------- */

static enum dvit_status compare(struct dvit_session *const *sessions, int count,
                                const struct dvit_model *model, size_t limit,
                                struct dvit_comparison *out, struct dvit_error *error)
{
    struct dvit_dataset *set = open_data("val");
    const struct dvit_compare_options options = {.batch = 5, .workers = 1, .limit = limit};
    enum dvit_status status =
        dvit_compare_sessions(sessions, count, model, set, &options, NULL, NULL, out, error);
    dvit_dataset_free(set);
    return status;
}

/* Measured: one class of 23 differs, and 1.2 and 2.2 % of the patches. */
static void a_calibrated_model_answers_as_in_f32(void **state)
{
    struct dvit_model *model = random_model(text, STAGES, 0.7, 1, 1);
    struct dvit_error error;
    bool has = dvit_cpu_can(dvit_cpu_best(), DVIT_PRECISION_INT8);
    const char *cpu = has ? "auto" : "reference";
    struct dvit_comparison results[2];
    (void)state;
    assert_ok(calibrate(model, 2, 8, 64, &error), &error);
    struct dvit_session *const sessions[] = {open_session(model, "f32", cpu, 0),
                                             open_session(model, "int8", cpu, 0)};
    assert_ok(compare(sessions, 2, model, 0, results, &error), &error);
    print_message("int8: same class %.3g, other patches %.3g %.3g\n", results[1].agreement,
                  results[1].other_kept[0], results[1].other_kept[1]);
    assert_int_equal(results[1].images, VALIDATION);
    assert_true(results[0].agreement == 1 && results[0].other_kept[1] == 0);
    assert_true(results[1].agreement >= 0.85);
    assert_int_equal(results[1].stages, STAGES);
    assert_true(results[1].other_kept[0] < 0.04 && results[1].other_kept[1] < 0.08);
    for (int i = 0; i < 2; i++)
        dvit_session_free(sessions[i]);
    dvit_model_free(model);
}

/* What one session says of one image. */
struct answer {
    int best, kept_count;
    int kept[64];
};

static struct answer ask(struct dvit_session *session, const float *pixels)
{
    struct answer answer;
    struct dvit_error error;
    float logits[CLASSES];
    assert_ok(dvit_session_run(session, pixels, 1, logits, &error), &error);
    dvit_top_k(logits, CLASSES, 1, &answer.best);
    const int *kept = dvit_session_kept(session, 0, STAGES - 1, &answer.kept_count);
    memcpy(answer.kept, kept, (size_t)answer.kept_count * sizeof *kept);
    return answer;
}

static int others(const struct answer *a, const struct answer *base)
{
    int count = 0;
    for (int i = 0; i < a->kept_count; i++) {
        bool found = false;
        for (int k = 0; k < base->kept_count; k++)
            found = found || base->kept[k] == a->kept[i];
        count += !found;
    }
    return count;
}

/* A crude calibration, so that much differs. */
static void a_comparison_is_what_the_sessions_say(void **state)
{
    struct dvit_model *model = random_model(text, STAGES, 0.7, 4, 1);
    struct dvit_dataset *set = open_data("val");
    struct dvit_loader_options load = dvit_loader_options_default();
    struct dvit_loader *loader;
    const struct dvit_batch *batch;
    struct dvit_error error;
    struct dvit_comparison results[2];
    int right = 0, agreeing = 0, other = 0, kept = 0, images = 0;
    bool has = dvit_cpu_can(dvit_cpu_best(), DVIT_PRECISION_INT8);
    const char *cpu = has ? "auto" : "reference";
    (void)state;
    for (size_t i = 0; i < model->parameters.count; i++)
        if (dvit_parameter_is_quantisable(&model->parameters, i))
            model->inputs[i] = (struct dvit_quantised){0.8f, 100};
    struct dvit_session *const sessions[] = {open_session(model, "f32", cpu, 0),
                                             open_session(model, "int8", cpu, 0)};
    assert_ok(compare(sessions, 2, model, 0, results, &error), &error);
    load.preprocess = model->preprocess;
    assert_ok(dvit_loader_create(&loader, set, &load, &error), &error);
    assert_ok(dvit_loader_start(loader, 0, 0, &error), &error);
    while (dvit_loader_next(loader, &batch, &error) == DVIT_OK && batch)
        for (int i = 0; i < batch->count; i++, images++) {
            const float *pixels = batch->pixels + (size_t)i * 3 * 32 * 32;
            struct answer base = ask(sessions[0], pixels), own = ask(sessions[1], pixels);
            right += own.best == batch->labels[i];
            agreeing += own.best == base.best;
            other += others(&own, &base);
            kept += own.kept_count;
        }
    assert_true(other > 0 && agreeing < images);
    assert_int_equal(results[1].images, images);
    assert_float_equal(results[1].top1, (double)right / images, 1e-9);
    assert_float_equal(results[1].agreement, (double)agreeing / images, 1e-9);
    assert_float_equal(results[1].other_kept[STAGES - 1], (double)other / kept, 1e-9);
    assert_ok(compare(sessions, 2, model, 11, results, &error), &error);
    assert_int_equal(results[0].images, 11);
    dvit_session_free(sessions[1]);
    struct dvit_session *const apart[] = {sessions[0], open_session(model, "f32", cpu, 0.5)};
    assert_fails(compare(apart, 2, model, 0, results, &error), &error, DVIT_ERROR_MISMATCH,
                 "keep ratios 0.7 and 0.5");
    dvit_session_free(apart[0]);
    dvit_session_free(apart[1]);
    dvit_loader_free(loader);
    dvit_dataset_free(set);
    dvit_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_is_in_its_bin),
        cmocka_unit_test(the_order_and_the_split_do_not_matter),
        cmocka_unit_test(no_range_loses_less),
        cmocka_unit_test(layers_that_may_be_bytes_are_calibrated),
        cmocka_unit_test(the_team_and_the_batch_do_not_matter),
        cmocka_unit_test(what_is_not_finite_is_named),
        cmocka_unit_test(a_calibrated_model_answers_as_in_f32),
        cmocka_unit_test(a_comparison_is_what_the_sessions_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
