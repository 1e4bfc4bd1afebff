/* Numbers that are not finite, through whole runs: in the data, in a gradient, in the loss. Such a
 * step changes nothing but the counters, several in a row lead back to the last good state, and
 * neither the average nor any file ever holds such a number. What a single step does is
 * test_trainer.c's.
 *
 * The linker puts this program's dvit_trainer_micro before the trainer's. */
#include "run_bench.h"

#include "train/trainer.h"

enum place { NOWHERE, DATA, GRADIENT, LOSS, PLACES };

static enum place place;
static long first_bad, bad_steps; /* of the run, 0-based */
static float value;

static bool is_bad(const struct dvit_trainer *t)
{
    return place != NOWHERE && t->progress.step >= first_bad &&
           t->progress.step < first_bad + bad_steps;
}

enum dvit_status __real_dvit_trainer_micro(struct dvit_trainer *t,
                                           const struct dvit_micro_batch *batch,
                                           struct dvit_error *error);
enum dvit_status __wrap_dvit_trainer_micro(struct dvit_trainer *t,
                                           const struct dvit_micro_batch *batch,
                                           struct dvit_error *error);
enum dvit_status __wrap_dvit_trainer_micro(struct dvit_trainer *t,
                                           const struct dvit_micro_batch *batch,
                                           struct dvit_error *error)
{
    static float pixels[4 * 3 * 16 * 16];
    struct dvit_micro_batch damaged = *batch;
    bool bad = is_bad(t);
    if (bad && place == DATA) {
        memcpy(pixels, batch->pixels, (size_t)batch->images * 3 * 16 * 16 * sizeof *pixels);
        pixels[100] = value;
        damaged.pixels = pixels;
    }
    enum dvit_status status = __real_dvit_trainer_micro(t, &damaged, error);
    if (bad && place == GRADIENT) /* of the last parameter */
        t->gradients[t->model->parameters.items[t->model->parameters.count - 1].offset] = value;
    if (bad && place == LOSS)
        t->losses.total = value;
    return status;
}

static void inject(enum place where, long first, long count, float what)
{
    place = where;
    first_bad = first;
    bad_steps = count;
    value = what;
}

static void expect_finite_file(const char *folder, const char *name)
{
    struct run_file file = run_read(folder, name);
    uint64_t header;
    memcpy(&header, file.data, 8);
    const float *values = (const float *)(file.data + 8 + header);
    for (size_t i = 0; i < (file.size - 8 - (size_t)header) / sizeof *values; i++)
        assert_true(isfinite(values[i]));
    free(file.data);
}

static bool exists(const char *folder, const char *name)
{
    char *path = dvit_path_join(folder, name);
    bool found = dvit_file_exists(path);
    free(path);
    return found;
}

static void expect_finite_files(const char *folder)
{
    expect_finite_file(folder, "state.safetensors"); /* the average is in it */
    if (exists(folder, "good.safetensors"))          /* else the state itself is good */
        expect_finite_file(folder, "good.safetensors");
    expect_finite_file(folder, "best.safetensors");
    expect_finite_file(folder, "last.safetensors");
}

static struct train_run bad_run(const char *folder, const char *optimizer, bool dynamic)
{
    struct train_run run = run_create(folder);
    run.options.optimizer = optimizer;
    run.options.max_bad_steps = 2;
    run.options.clip_norm = 1;
    run.options.checkpoint_every = 2;
    run.dynamic = dynamic;
    return run;
}

static void expect_logged(const char *folder, const char *text, int times)
{
    struct run_file log = run_read(folder, "log.jsonl");
    int found = 0;
    log.data[log.size - 1] = 0;
    for (const char *at = (char *)log.data; (at = strstr(at, text)); at += strlen(text))
        found++;
    assert_int_equal(found, times);
    free(log.data);
}

/* What the run is without the step is what it is with it, wherever the number came from. */
static void compare_places(const char *optimizer, bool dynamic, long first, long count)
{
    static const float values[2] = {NAN, -INFINITY};
    struct run_result expected = {0};
    for (int k = 0; k < 2 * (PLACES - 1); k++) {
        char folder[32];
        struct train_run run = bad_run(test_folder_create(folder), optimizer, dynamic);
        inject(DATA + k / 2, first, count, values[k % 2]);
        assert_ok(run_train(&run), &run.error);
        assert_int_equal(run.told[DVIT_TRAIN_SKIPPED], count);
        assert_int_equal(run.told[DVIT_TRAIN_ROLLED_BACK], count / 2);
        assert_string_equal(run.finished, "done");
        expect_finite_files(folder);
        expect_logged(folder, "its loss or gradient is not finite", (int)count);
        expect_logged(folder, "\"loss\":null,\"loss_cls\":null", (int)count); /* gaps in curves */
        expect_logged(folder, "nan", 0);
        if (k == 0)
            expected = run_keep(folder);
        else
            run_assert_same(folder, &expected);
        run_free(&run);
        test_folder_remove(folder);
    }
    run_forget(&expected);
    inject(NOWHERE, 0, 0, 0);
}

static void a_bad_step_changes_nothing(void **state)
{
    (void)state;
    compare_places("adamw", false, 6, 1);
    compare_places("lamb", true, 0, 1);
    compare_places("sgd", false, 14, 1); /* the last */
}

static void bad_steps_in_a_row_roll_back(void **state)
{
    (void)state;
    compare_places("adamw", false, 7, 2);
    compare_places("sgd", true, 0, 2);
    compare_places("lamb", false, 3, 4); /* twice, over the end of an epoch */
}

/* Stopped after each of its steps. */
static void stopping_in_a_bad_stretch_changes_nothing(void **state)
{
    (void)state;
    char whole_folder[32], folder[32];
    struct train_run run = bad_run(test_folder_create(whole_folder), "adamw", false);
    run.options.max_bad_steps = 3;
    inject(GRADIENT, 6, 3, NAN);
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.told[DVIT_TRAIN_ROLLED_BACK], 1);
    struct run_result whole = run_keep(whole_folder);
    for (int skips = 1; skips <= 3; skips++) {
        run.options.out = test_folder_create(folder);
        run.options.resume = false;
        run.stop_at_skip = skips;
        assert_fails(run_train(&run), &run.error, DVIT_ERROR_INTERRUPTED, "stopped on request");
        run.options.resume = true;
        run.stop_at_skip = 0;
        assert_ok(run_train(&run), &run.error);
        run_assert_same(folder, &whole);
        test_folder_remove(folder);
    }
    run_free(&run);
    run_forget(&whole);
    test_folder_remove(whole_folder);
    inject(NOWHERE, 0, 0, 0);
}

static void a_run_that_stays_bad_gives_up(void **state)
{
    (void)state;
    for (enum place where = DATA; where < PLACES; where++) {
        char folder[32];
        struct train_run run = bad_run(test_folder_create(folder), "adamw", false);
        run.options.epochs = 10;
        run.options.max_rollbacks = 2;
        inject(where, 6, 1000, NAN);
        assert_fails(run_train(&run), &run.error, DVIT_ERROR_NUMERIC, "after 2 rollbacks");
        assert_int_equal(run.told[DVIT_TRAIN_SKIPPED], 6);
        expect_finite_files(folder);
        /* With the cause gone it goes on from what was saved. */
        inject(NOWHERE, 0, 0, 0);
        run.options.resume = true;
        assert_ok(run_train(&run), &run.error);
        expect_finite_files(folder);
        run_free(&run);
        test_folder_remove(folder);
    }
}

/* ---- answers that are not finite ---- */

/* The weights break before the first evaluation: it has no accuracy, its state is not one to return
 * to, and the run recovers. */
static void answers_that_are_not_finite_have_no_accuracy(void **state)
{
    (void)state;
    char folder[32];
    struct train_run run = bad_run(test_folder_create(folder), "adamw", false);
    run.options.ema_decay = 0;
    run.break_at = RUN_STEPS_PER_EPOCH;
    run.breaks = 1;
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.told[DVIT_TRAIN_EVALUATED], 3);
    assert_int_equal(run.told[DVIT_TRAIN_ROLLED_BACK], 1);
    expect_logged(folder, "\"top1\":null", 1);
    expect_finite_files(folder);
    run_free(&run);
    test_folder_remove(folder);
}

static void a_run_without_a_finite_evaluation_fails(void **state)
{
    (void)state;
    char folder[32];
    struct train_run run = bad_run(test_folder_create(folder), "adamw", false);
    run.options.ema_decay = 0;
    run.options.epochs = 1;
    run.break_at = RUN_STEPS_PER_EPOCH;
    run.breaks = 1;
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_NUMERIC, "there is no best model");
    assert_non_null(strstr(run.error.message, "--lr"));
    assert_non_null(strstr(run.finished, "diverged"));
    assert_false(exists(folder, "best.safetensors"));
    expect_finite_file(folder, "good.safetensors");
    run_free(&run);
    test_folder_remove(folder);
}

/* All its evaluations are finite, but most of its steps were none. */
static void a_run_of_skipped_steps_fails(void **state)
{
    (void)state;
    char folder[32];
    struct train_run run = bad_run(test_folder_create(folder), "adamw", false);
    run.options.max_bad_steps = 100;
    inject(GRADIENT, 7, 100, NAN);
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_NUMERIC, "8 of 15 steps were skipped");
    assert_non_null(strstr(run.error.message, "best.safetensors"));
    expect_finite_files(folder);
    inject(NOWHERE, 0, 0, 0);
    run_free(&run);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_step_changes_nothing),
        cmocka_unit_test(bad_steps_in_a_row_roll_back),
        cmocka_unit_test(stopping_in_a_bad_stretch_changes_nothing),
        cmocka_unit_test(a_run_that_stays_bad_gives_up),
        cmocka_unit_test(answers_that_are_not_finite_have_no_accuracy),
        cmocka_unit_test(a_run_without_a_finite_evaluation_fails),
        cmocka_unit_test(a_run_of_skipped_steps_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
