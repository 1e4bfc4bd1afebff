/* Weights that have become useless: training returns to the last good state and goes on, the same
 * way however often it is stopped, and gives up after a bounded number of times. */
#include "run_bench.h"

static struct train_run breaking_run(const char *folder, long step, int times)
{
    struct train_run run = run_create(folder);
    run.options.max_bad_steps = 2;
    run.break_at = step;
    run.breaks = times;
    return run;
}

static void expect_finite(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_true(isfinite(values[i]));
}

/* Every array of a state: weights, moments, average. */
static void expect_finite_state(const char *folder, const char *name)
{
    struct run_file file = run_read(folder, name);
    uint64_t header;
    memcpy(&header, file.data, 8);
    expect_finite((const float *)(file.data + 8 + header),
                  (file.size - 8 - (size_t)header) / sizeof(float));
    free(file.data);
}

static void a_run_recovers_from_broken_weights(void **state)
{
    (void)state;
    char folder[32];
    struct train_run clean = run_create(test_folder_create(folder));
    assert_ok(run_train(&clean), &clean.error);
    test_folder_remove(folder);
    struct train_run run = breaking_run(test_folder_create(folder), 7, 1);
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.told[DVIT_TRAIN_ROLLED_BACK], 1);
    assert_int_equal(run.told[DVIT_TRAIN_SKIPPED], 2);
    assert_non_null(strstr(run.rolled_back, "to the state after step 5,"));
    assert_int_equal(run.last_step, RUN_STEPS); /* the schedule's length is as ever */
    assert_true(run.rate == clean.rate / 2);
    expect_finite(run.weights, run.floats);
    expect_finite_state(folder, "state.safetensors");
    run_free(&clean);
    run_free(&run);
    test_folder_remove(folder);
}

/* Before the first save there are the weights that the run began with. */
static void the_first_epoch_rolls_back_to_the_beginning(void **state)
{
    (void)state;
    char folder[32];
    struct train_run run = breaking_run(test_folder_create(folder), 2, 1);
    assert_ok(run_train(&run), &run.error);
    assert_non_null(strstr(run.rolled_back, "to the state after step 0,"));
    expect_finite_state(folder, "state.safetensors");
    run_free(&run);
    test_folder_remove(folder);
}

/* Broken by the epoch's last step, weights are saved before any step shows it: no good state. */
static void what_is_not_finite_is_no_good_state(void **state)
{
    (void)state;
    char folder[32];
    struct train_run run = breaking_run(test_folder_create(folder), 10, 1);
    assert_ok(run_train(&run), &run.error);
    assert_non_null(strstr(run.rolled_back, "to the state after step 5,"));
    expect_finite_state(folder, "state.safetensors");
    run_free(&run);
    test_folder_remove(folder);
}

static void rollbacks_end(void **state)
{
    (void)state;
    char folder[32];
    struct train_run run = breaking_run(test_folder_create(folder), 6, 100);
    run.options.epochs = 10;
    run.options.max_rollbacks = 2;
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_NUMERIC, "after 2 rollbacks");
    assert_int_equal(run.told[DVIT_TRAIN_ROLLED_BACK], 2);
    assert_int_equal(run.told[DVIT_TRAIN_SKIPPED], 6);
    expect_finite_state(folder, "good.safetensors");
    run_free(&run);
    test_folder_remove(folder);
}

/* The good state is one that every run makes, whoever stopped when: a save on request is none. */
static void stopping_does_not_move_the_good_state(void **state)
{
    (void)state;
    char whole_folder[32], folder[32];
    for (int validate = 0; validate < 2; validate++) {
        struct train_run run = breaking_run(test_folder_create(whole_folder), 8, 1);
        run.validate = validate;
        assert_ok(run_train(&run), &run.error);
        assert_int_equal(run.told[DVIT_TRAIN_ROLLED_BACK], 1);
        struct run_result whole = run_keep(whole_folder);
        for (long stop = 1; stop < RUN_STEPS; stop++) {
            run.options.out = test_folder_create(folder);
            run.stop_at = stop;
            run.break_at = 8;
            run.breaks = 1;
            run.options.resume = false;
            enum dvit_status status = run_train(&run);
            assert_true(status == DVIT_OK || status == DVIT_ERROR_INTERRUPTED);
            run.options.resume = true;
            run.stop_at = 0;
            assert_ok(run_train(&run), &run.error);
            run_assert_same(folder, &whole);
            test_folder_remove(folder);
        }
        run_forget(&whole);
        run_free(&run);
        test_folder_remove(whole_folder);
    }
}

static void a_good_state_that_is_gone_is_made_again(void **state)
{
    (void)state;
    char folder[32];
    struct train_run run = breaking_run(test_folder_create(folder), 0, 0);
    run.options.max_steps = 5;
    assert_ok(run_train(&run), &run.error);
    char *good = dvit_path_join(folder, "good.safetensors");
    assert_true(dvit_file_exists(good));
    assert_int_equal(remove(good), 0);
    run.options.max_steps = 7;
    run.options.resume = true;
    assert_ok(run_train(&run), &run.error); /* a resumed run makes it again */
    assert_true(dvit_file_exists(good));
    run_free(&run);
    free(good);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_recovers_from_broken_weights),
        cmocka_unit_test(the_first_epoch_rolls_back_to_the_beginning),
        cmocka_unit_test(what_is_not_finite_is_no_good_state),
        cmocka_unit_test(rollbacks_end),
        cmocka_unit_test(stopping_does_not_move_the_good_state),
        cmocka_unit_test(a_good_state_that_is_gone_is_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
