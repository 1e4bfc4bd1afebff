/* Fifty steps of a dynamic model with its teacher against PyTorch, step by step: every part of the
 * loss, the gradient's norm, and the weights at the end. And the same steps in bfloat16, which stay
 * near them.
 *
 * Tolerances come from how float32 rounding grows. The golden is computed in float64; the same
 * PyTorch code in float32 stays within 8e-7 of each loss's largest value and 5e-6 of the norm's,
 * with no growth over the steps: no decision hangs on rounding (each is 0.05 or more from a tie),
 * and the rest is smooth. Sums in another order may cost some times as much. The weights' change
 * is what Adam makes of gradients whose small elements are mostly rounding: float32 PyTorch is off
 * by 2.5e-4 of the largest change of a tensor. */
#include "training_bench.h"

#include "test_util.h"

enum { STEPS = 50, PARTS = 6 };

static const double curve_tolerance = 1e-5, norm_tolerance = 5e-5, change_tolerance = 5e-3;

static const char *const parts[PARTS] = {"curve.cls",   "curve.ratio", "curve.kl",
                                         "curve.token", "curve.total", "curve.gradient_norm"};

struct level {
    const char *cpu;
    int threads;
};

struct curves {
    float values[PARTS][STEPS];
};

static struct dvit_train_options recipe(void)
{
    struct dvit_train_options options = bench_sparsify_options();
    options.epochs = STEPS;
    options.warmup_epochs = 5;
    options.backbone_freeze_epochs = 10;
    options.ema_decay = 0;
    return options;
}

/* The steps of the golden; the bench stays open for its weights. */
static void run_steps(struct training_bench *b, const struct dvit_train_options *options,
                      struct curves *out)
{
    struct dvit_safetensors *golden = golden_open("tiny_curve");
    size_t count;
    float *noise = golden_floats(golden, "noise", &count);
    assert_int_equal(count, STEPS * BENCH_NOISE);
    bench_create(b, BENCH_STAGES, options);
    for (int step = 0; step < STEPS; step++) {
        const struct dvit_trainer *t = b->trainer;
        struct dvit_micro_batch batch = bench_batch(b, step);
        batch.noise = noise + step * BENCH_NOISE;
        assert_false(bench_step(b, &batch));
        const double values[PARTS] = {t->losses.cls,   t->losses.ratio, t->losses.kl,
                                      t->losses.token, t->losses.total, t->gradient_norm};
        for (int i = 0; i < PARTS; i++)
            out->values[i][step] = (float)values[i];
    }
    free(noise);
    dvit_safetensors_free(golden);
}

/* The key third of a qkv bias has no gradient but rounding: see the golden's README. */
static void compare_change(const struct dvit_parameter *item, const float *weights,
                           const float *start, float *expected)
{
    size_t third = item->count / 3;
    bool keys = strstr(item->name, "attn.qkv.bias") != NULL;
    float *got = malloc(item->count * sizeof *got);
    for (size_t k = 0; k < item->count; k++) {
        bool counts = !keys || k < third || k >= 2 * third;
        got[k] = counts ? weights[k] - start[k] : 0;
        expected[k] = counts ? expected[k] - start[k] : 0;
    }
    double error = golden_error(got, expected, item->count);
    if (!(error <= change_tolerance))
        fail_msg("%s: change is off by %.3g, above %.3g", item->name, error, change_tolerance);
    free(got);
}

static void compare_weights(const struct training_bench *b)
{
    struct dvit_safetensors *golden = golden_open("tiny_curve");
    struct dvit_model *initial = golden_model("tiny_student", BENCH_STAGES);
    const struct dvit_parameters *p = &b->model->parameters;
    for (size_t i = 0; i < p->count; i++) {
        char name[128];
        size_t count;
        snprintf(name, sizeof name, "param.%s", p->items[i].name);
        float *expected = golden_floats(golden, name, &count);
        assert_int_equal(count, p->items[i].count);
        compare_change(&p->items[i], b->model->weights + p->items[i].offset,
                       initial->weights + p->items[i].offset, expected);
        free(expected);
    }
    dvit_model_free(initial);
    dvit_safetensors_free(golden);
}

static void fifty_steps_are_pytorchs(void **state)
{
    const struct level *level = *state;
    struct dvit_train_options options = recipe();
    struct training_bench b;
    struct curves got;
    options.cpu = level->cpu;
    options.threads = level->threads;
    run_steps(&b, &options, &got);
    struct dvit_safetensors *golden = golden_open("tiny_curve");
    for (int i = 0; i < PARTS; i++)
        golden_compare(golden, parts[i], got.values[i], STEPS,
                       i == PARTS - 1 ? norm_tolerance : curve_tolerance);
    compare_weights(&b);
    dvit_safetensors_free(golden);
    bench_free(&b);
}

/* Rounding the factors of linear layers moves single losses by about the square root of what they
 * sum over; a curve that drifts away, or that is f32's own, would be a mistake. Decisions 0.05 from
 * a tie may fall otherwise, and with them the ratio by a patch or two. */
static void bfloat16_stays_near(void **state)
{
    (void)state;
    struct dvit_train_options options = recipe();
    struct training_bench b;
    struct curves exact, rounded;
    options.cpu = dvit_cpu_has_bf16() ? "auto" : "reference";
    run_steps(&b, &options, &exact);
    bench_free(&b);
    options.precision = "bf16";
    run_steps(&b, &options, &rounded);
    bench_free(&b);
    double gap = 0, mean = 0, farthest = 0;
    for (int step = 0; step < STEPS; step++) {
        double x = exact.values[4][step], y = rounded.values[4][step];
        gap += fabs(x - y) / STEPS;
        mean += x / STEPS;
        farthest = fabs(x - y) > farthest ? fabs(x - y) : farthest;
    }
    if (!(gap < .02 * mean && farthest < .1 * mean && gap > 1e-5 * mean))
        fail_msg("of a mean loss %.3g, bf16 is off by %.3g, at most by %.3g", mean, gap, farthest);
}

int main(void)
{
    int failed = 0;
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++)
        for (int threads = 1; threads <= 3; threads += 2) {
            struct level level = {dvit_cpu_name((enum dvit_cpu)cpu), threads};
            char name[64];
            snprintf(name, sizeof name, "%s, %d threads", level.cpu, threads);
            const struct CMUnitTest tests[] = {
                cmocka_unit_test_prestate(fifty_steps_are_pytorchs, &level),
            };
            failed += cmocka_run_group_tests_name(name, tests, NULL, NULL);
        }
    const struct CMUnitTest tests[] = {cmocka_unit_test(bfloat16_stays_near)};
    return failed + cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
