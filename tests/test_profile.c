/* A session's profile: its rows are the operators, their times add up to the runs, their work to
 * the model's cost, and taking it changes no answer. No time is compared with a bound. */
#include "allocation_count.h"
#include "random_model.h"

#include "base/cpu.h"
#include "dvit/infer.h"
#include "kernels/matmul.h"

enum { STAGES = 3, CLASSES = 6, IMAGES = 7, RUNS = 3 };
static const char *const text = "vit:dim=32,depth=5,heads=2,patch=4,image=24,classes=6";

struct fixture {
    struct dvit_model *model;
    struct dvit_session *session;
    float *pixels;
    float logits[IMAGES * CLASSES];
};

static void open_fixture(struct fixture *f, double keep, int threads)
{
    struct dvit_error error;
    struct dvit_session_options options = {.keep = keep, .max_batch = IMAGES, .threads = threads};
    f->model = random_model(text, STAGES, 0.7, 4, 1);
    f->pixels = random_pixels(f->model, IMAGES, 3);
    assert_ok(dvit_session_create(&f->session, f->model, &options, &error), &error);
}

static void run_times(struct fixture *f, int runs)
{
    struct dvit_error error;
    for (int i = 0; i < runs; i++)
        assert_ok(dvit_session_run(f->session, f->pixels, IMAGES, f->logits, &error), &error);
}

static void close_fixture(struct fixture *f)
{
    dvit_session_free(f->session);
    dvit_model_free(f->model);
    free(f->pixels);
}

static void rows_add_up(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++)
        for (int pruned = 0; pruned < 2; pruned++) {
            struct fixture f;
            struct dvit_error error;
            double seconds = 0, macs = 0;
            open_fixture(&f, pruned ? 0.7 : 1, threads);
            assert_int_equal(dvit_session_profile_rows(f.session), 0);
            assert_ok(dvit_session_profile_begin(f.session, &error), &error);
            run_times(&f, RUNS);
            struct dvit_profile profile = dvit_session_profile(f.session);
            assert_int_equal(profile.runs, RUNS);
            assert_int_equal(profile.images, RUNS * IMAGES);
            size_t rows = dvit_session_profile_rows(f.session);
            for (size_t i = 0; i < rows; i++) {
                struct dvit_profile_row row = dvit_session_profile_row(f.session, i);
                seconds += row.seconds;
                macs += row.macs;
                assert_true(i + 1 == rows || (row.seconds > 0 && row.bytes > 0));
                assert_true(strlen(row.kind) > 0 && strlen(row.name) > 0);
            }
            assert_true(fabs(seconds / (threads * profile.seconds) - 1) < 1e-9);
            double cost = dvit_session_describe(f.session).cost.macs;
            assert_true(fabs(macs / (cost * RUNS * IMAGES) - 1) < 1e-9);
            close_fixture(&f);
        }
}

static struct dvit_profile_row row_of(const struct dvit_session *session, const char *name)
{
    for (size_t i = 0; i < dvit_session_profile_rows(session); i++) {
        struct dvit_profile_row row = dvit_session_profile_row(session, i);
        if (strcmp(row.name, name) == 0)
            return row;
    }
    fail_msg("no row %s", name);
    return (struct dvit_profile_row){0};
}

/* The dense model, calibrated, has answered one image at this precision. Free with
 * dvit_session_free. */
static struct dvit_session *run_as(const struct dvit_model *model, const char *cpu,
                                   enum dvit_precision precision)
{
    struct dvit_session *session;
    struct dvit_error error;
    struct dvit_session_options options = {.keep = 1,
                                           .max_batch = 1,
                                           .threads = 1,
                                           .cpu = cpu,
                                           .precision = dvit_precision_name(precision)};
    float *pixels = random_pixels(model, 1, 3), logits[CLASSES];
    assert_ok(dvit_session_create(&session, model, &options, &error), &error);
    assert_ok(dvit_session_profile_begin(session, &error), &error);
    assert_ok(dvit_session_run(session, pixels, 1, logits, &error), &error);
    free(pixels);
    return session;
}

/* A product reads its rows and its weights and writes its rows, in the form of its precision where
 * products take that. */
static void check_bytes(const struct dvit_session *session, enum dvit_cpu cpu,
                        enum dvit_precision precision)
{
    static const double sizes[] = {
        [DVIT_PRECISION_F32] = 4, [DVIT_PRECISION_BF16] = 2, [DVIT_PRECISION_INT8] = 1};
    const struct dvit_matmul_shape shape = {.kind = DVIT_MATMUL_FORWARD,
                                            .outputs = 128,
                                            .inputs = 32,
                                            .x_stride = 32,
                                            .y_stride = 128,
                                            .bias = true,
                                            .bf16 = precision == DVIT_PRECISION_BF16,
                                            .int8 = precision == DVIT_PRECISION_INT8,
                                            .constant = true,
                                            .gelu = true};
    double size = dvit_matmul_takes_formats(&shape, cpu) ? sizes[precision] : 4;
    double rows = 37.0 * (32 + 128) * size;
    double weights = 32 * 128 * (cpu == DVIT_CPU_REFERENCE ? 4 : sizes[precision]);
    struct dvit_profile_row row = row_of(session, "blocks.0.mlp.fc1");
    assert_true(row.bytes >= rows + 32 * 128 * sizes[precision]);
    assert_true(row.bytes <= rows + 1.25 * weights + 4096);
}

static void check_precision(const struct dvit_session *session, const char *name,
                            enum dvit_precision precision)
{
    assert_string_equal(row_of(session, name).precision, dvit_precision_name(precision));
}

/* Bytes and precision of each operator are its own, which is not always the session's. */
static void rows_tell_what_they_move_and_multiply(void **state)
{
    struct dvit_model *model = random_model(text, STAGES, 0.7, 4, 1);
    (void)state;
    for (size_t i = 0; i < model->parameters.count; i++)
        if (dvit_parameter_is_quantisable(&model->parameters, i))
            model->inputs[i] = (struct dvit_quantised){0.03f, 128};
    for (int own = 0; own < 2; own++)
        for (int p = 0; p < DVIT_PRECISION_COUNT; p++) {
            enum dvit_cpu cpu = own ? dvit_cpu_best() : DVIT_CPU_REFERENCE;
            enum dvit_precision precision = (enum dvit_precision)p;
            if (!dvit_cpu_can(cpu, precision))
                continue;
            struct dvit_session *session = run_as(model, dvit_cpu_name(cpu), precision);
            check_bytes(session, cpu, precision);
            check_precision(session, "blocks.0.mlp.fc1", precision);
            if (precision != DVIT_PRECISION_INT8) {
                check_precision(session, "blocks.0.attn", precision);
                check_precision(session, "head", precision);
            } else if (dvit_cpu_can(cpu, DVIT_PRECISION_BF16))
                check_precision(session, "head", DVIT_PRECISION_BF16);
            assert_null(row_of(session, "blocks.0.norm1").precision);
            dvit_session_free(session);
        }
    dvit_model_free(model);
}

static void answers_stay_the_same(void **state)
{
    (void)state;
    struct fixture f;
    struct dvit_error error;
    float before[IMAGES * CLASSES];
    open_fixture(&f, 0.7, 2);
    run_times(&f, 1);
    memcpy(before, f.logits, sizeof before);
    assert_ok(dvit_session_profile_begin(f.session, &error), &error);
    allocation_count_begin();
    run_times(&f, RUNS);
    assert_int_equal(allocation_count_end().ours, 0);
    assert_memory_equal(before, f.logits, sizeof before);
    assert_ok(dvit_session_profile_begin(f.session, &error), &error);
    assert_int_equal(dvit_session_profile(f.session).runs, 0);
    for (size_t i = 0; i < dvit_session_profile_rows(f.session); i++)
        assert_true(dvit_session_profile_row(f.session, i).seconds == 0);
    close_fixture(&f);
}

static void memory_moves(void **state)
{
    (void)state;
    struct dvit_error error;
    static const size_t sizes[] = {0, 1000, 1 << 20};
    for (size_t i = 0; i < 3; i++)
        for (int threads = 1; threads <= 2; threads++) {
            double rate = 0;
            assert_ok(dvit_memory_rate(sizes[i], threads, 0.002, &rate, &error), &error);
            assert_true(rate > 0 && isfinite(rate));
        }
    double rate = 1;
    assert_fails(dvit_memory_rate(SIZE_MAX, 1, 0.001, &rate, &error), &error, DVIT_ERROR_LIMIT,
                 "memory measurement");
    assert_true(rate == 0);
}

static void products_have_a_rate(void **state)
{
    (void)state;
    struct dvit_error error;
    struct dvit_config config;
    double rate = 0;
    assert_ok(dvit_config_parse(text, &config, &error), &error);
    for (int p = 0; p < DVIT_PRECISION_COUNT; p++) {
        const char *name = dvit_precision_name((enum dvit_precision)p);
        if (!dvit_cpu_can(dvit_cpu_best(), (enum dvit_precision)p))
            continue;
        assert_ok(dvit_matmul_rate(&config, name, 2, 0.002, &rate, &error), &error);
        assert_true(rate > 0 && isfinite(rate));
    }
    assert_fails(dvit_matmul_rate(&config, "f8", 1, 0.002, &rate, &error), &error,
                 DVIT_ERROR_ARGUMENT, "unknown precision \"f8\"");
    assert_true(rate == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_add_up),
        cmocka_unit_test(rows_tell_what_they_move_and_multiply),
        cmocka_unit_test(answers_stay_the_same),
        cmocka_unit_test(memory_moves),
        cmocka_unit_test(products_have_a_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
