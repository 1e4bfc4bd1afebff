/* Memory over many batches: sessions of all kinds and precisions of one model, calibrated, written
 * as bytes and loaded, answer again and again, each after every other, then they are made anew
 * again and again. What the process holds may not grow once every session has answered every batch
 * size, and thus touched all its pages. A precision that the processor does not have is left out.
 *
 *     soak_inference [BATCHES]   [300] */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "allocation_count.h"
#include "base/cpu.h"
#include "infer/calibrate.h"
#include "random_model.h"

#include "dvit/infer.h"

enum { PRECISIONS = 3, OF_EACH = 6, KINDS = PRECISIONS * OF_EACH, MAX_BATCH = 9, CLASSES = 100 };
static const enum dvit_precision precisions[PRECISIONS] = {DVIT_PRECISION_F32, DVIT_PRECISION_BF16,
                                                           DVIT_PRECISION_INT8};
/* While sessions run nothing is allocated: what remains is the C library's. */
static const double allowed_running = 256 << 10;
/* Of a heap from which sessions come and go; one session here has about as much. */
static const double allowed_renewing = 4 << 20;

struct soak {
    struct dvit_model *model;
    struct dvit_session *sessions[KINDS]; /* [count] */
    int count;
    int batches;
    float *pixels, *logits;
};

static struct dvit_session *open_session(const struct dvit_model *model, int index, bool *there)
{
    struct dvit_session *session = NULL;
    struct dvit_error error;
    enum dvit_precision precision = precisions[index / OF_EACH];
    struct dvit_session_options options = {.keep = index % 2 ? 0.7 : 1,
                                           .max_batch = MAX_BATCH,
                                           .threads = 1 + index / 2 % 3,
                                           .precision = dvit_precision_name(precision)};
    *there = dvit_cpu_can(dvit_cpu_best(), precision);
    if (*there)
        assert_ok(dvit_session_create(&session, model, &options, &error), &error);
    return session;
}

/* Resident bytes of this process; 0 where the system does not tell. */
static double resident_bytes(void)
{
    FILE *stream = fopen("/proc/self/statm", "r");
    double total = 0, resident = 0;
    bool told = stream && fscanf(stream, "%lf %lf", &total, &resident) == 2;
    if (stream)
        fclose(stream);
    return told ? resident * (double)sysconf(_SC_PAGESIZE) : 0;
}

static void open_sessions(struct soak *s)
{
    s->count = 0;
    for (int index = 0; index < KINDS; index++) {
        bool there;
        s->sessions[s->count] = open_session(s->model, index, &there);
        s->count += there;
    }
}

static void run(struct soak *s, int index, int batch)
{
    struct dvit_error error;
    assert_ok(dvit_session_run(s->sessions[index], s->pixels, batch, s->logits, &error), &error);
}

/* Every session, every batch size. */
static void touch_all(struct soak *s)
{
    for (int index = 0; index < s->count; index++)
        for (int batch = 1; batch <= MAX_BATCH; batch++)
            run(s, index, batch);
}

static void renew(struct soak *s, int index)
{
    bool there;
    dvit_session_free(s->sessions[index]);
    s->sessions[index] = open_session(s->model, index, &there);
    run(s, index, MAX_BATCH);
}

/* Prints and returns how much more than `settled` the process held at most. */
static double report(const char *what, int times, double settled, double most)
{
    printf("%s %d times: resident %.2f MB before, %.2f MB at most, %.2f MB at the end\n", what,
           times, settled / 1e6, most / 1e6, resident_bytes() / 1e6);
    return most - settled;
}

static double soak_runs(struct soak *s, int batches)
{
    double settled = resident_bytes(), most = settled;
    for (int i = 0; i < batches; i++) {
        run(s, i % s->count, 1 + i / s->count % MAX_BATCH);
        most = fmax(most, resident_bytes());
    }
    return report("a batch answered", batches, settled, most);
}

static double soak_sessions(struct soak *s, int times)
{
    for (int i = 0; i < 2 * s->count; i++) /* the heap finds its size */
        renew(s, i % s->count);
    double settled = resident_bytes(), most = settled;
    for (int i = 0; i < times; i++) {
        renew(s, i % s->count);
        most = fmax(most, resident_bytes());
    }
    return report("a session made anew", times, settled, most);
}

static void expect_at_most(double grown, double allowed)
{
    if (!allocation_count_works()) /* a sanitizer keeps what is freed */
        skip();
    if (grown > allowed)
        fail_msg("memory grew by %.2f MB, expected at most %.2f MB", grown / 1e6, allowed / 1e6);
}

static void batches_take_no_memory(void **state)
{
    struct soak *s = *state;
    expect_at_most(soak_runs(s, s->batches), allowed_running);
}

static void sessions_leave_no_memory(void **state)
{
    struct soak *s = *state;
    expect_at_most(soak_sessions(s, 20 + s->batches / 20), allowed_renewing);
}

/* The ranges of the model's layers on these pixels. */
static void calibrate(struct dvit_model *model, const float *pixels)
{
    struct dvit_calibration *calibration;
    struct dvit_error error;
    const struct dvit_session_options options = {.keep = 1, .max_batch = MAX_BATCH, .threads = 1};
    assert_ok(dvit_calibration_create(&calibration, model, &options, &error), &error);
    assert_ok(dvit_calibration_run(calibration, pixels, MAX_BATCH, &error), &error);
    assert_ok(dvit_calibration_finish(calibration, model->inputs, &error), &error);
    dvit_calibration_free(calibration);
}

/* The model as a file of bytes gives it back; frees the one given. */
static struct dvit_model *write_and_load(struct dvit_model *model)
{
    char folder[32], path[64];
    struct dvit_model *loaded;
    struct dvit_error error;
    const struct dvit_save_options bytes = {.dtype = "int8"};
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/soak.safetensors", folder);
    assert_ok(dvit_model_save(model, path, &bytes, &error), &error);
    assert_ok(dvit_model_load(&loaded, path, NULL, &error), &error);
    test_folder_remove(folder);
    dvit_model_free(model);
    return loaded;
}

static void begin(struct soak *s)
{
    struct dvit_model *model =
        random_model("vit:dim=64,depth=6,heads=2,patch=8,image=96,classes=100", 3, 0.7, 1, 1);
    s->pixels = random_pixels(model, MAX_BATCH, 1);
    calibrate(model, s->pixels);
    s->model = write_and_load(model);
    s->logits = malloc(MAX_BATCH * CLASSES * sizeof *s->logits);
    assert_non_null(s->logits);
    open_sessions(s);
    touch_all(s);
}

static void end(struct soak *s)
{
    for (int i = 0; i < s->count; i++)
        dvit_session_free(s->sessions[i]);
    dvit_model_free(s->model);
    free(s->pixels);
    free(s->logits);
}

int main(int argc, char **argv)
{
    struct soak soak = {.batches = argc > 1 ? atoi(argv[1]) : 300};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(batches_take_no_memory, &soak),
        cmocka_unit_test_prestate(sessions_leave_no_memory, &soak),
    };
    begin(&soak);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    end(&soak);
    return failed;
}
