/* A state to resume from is foreign: each number has its bounds, each value is finite, and what
 * does not fit is named. What differs without harm is told; more epochs extend the run. */
#define _GNU_SOURCE
#include "run_bench.h"

#include <jansson.h>
#include <sys/stat.h>

/* ---- a state with something else in it ---- */

struct opened {
    json_t *header, *training;
    unsigned char *data; /* of the tensors */
    size_t size;
};

static struct opened open_state(const struct run_file *file)
{
    struct opened state;
    uint64_t length;
    memcpy(&length, file->data, sizeof length);
    state.header = json_loadb((char *)file->data + 8, (size_t)length, 0, NULL);
    assert_non_null(state.header);
    json_t *metadata = json_object_get(state.header, "__metadata__");
    state.training =
        json_loads(json_string_value(json_object_get(metadata, "dvit.training")), 0, NULL);
    assert_non_null(state.training);
    state.size = file->size - 8 - (size_t)length;
    state.data = malloc(state.size);
    memcpy(state.data, file->data + 8 + length, state.size);
    return state;
}

static void close_state(struct opened *state, const char *folder)
{
    struct dvit_error error;
    char *text = json_dumps(state->training, JSON_COMPACT);
    json_object_set_new(json_object_get(state->header, "__metadata__"), "dvit.training",
                        json_string(text));
    char *header = json_dumps(state->header, JSON_COMPACT);
    size_t length = strlen(header), padded = (length + 7) / 8 * 8;
    unsigned char *whole = malloc(8 + padded + state->size);
    uint64_t stored = padded;
    memcpy(whole, &stored, 8);
    memset(whole + 8, ' ', padded);
    memcpy(whole + 8, header, length);
    memcpy(whole + 8 + padded, state->data, state->size);
    char *path = dvit_path_join(folder, "state.safetensors");
    assert_ok(dvit_file_replace(path, whole, 8 + padded + state->size, &error), &error);
    free(path);
    free(whole);
    free(header);
    free(text);
    free(state->data);
    json_decref(state->header);
    json_decref(state->training);
}

/* The last value of the first tensor whose name begins so. */
static float *value_in(const struct opened *state, const char *prefix)
{
    const char *key;
    json_t *tensor;
    json_object_foreach(state->header, key, tensor)
    {
        if (strncmp(key, prefix, strlen(prefix)) != 0)
            continue;
        json_int_t end =
            json_integer_value(json_array_get(json_object_get(tensor, "data_offsets"), 1));
        return (float *)(state->data + end) - 1;
    }
    fail_msg("no tensor %s", prefix);
    return NULL;
}

static struct train_run short_run(const char *folder)
{
    struct train_run run = run_create(folder);
    run.options.max_steps = 2;
    assert_ok(run_train(&run), &run.error);
    run.options.max_steps = 0;
    run.options.resume = true;
    return run;
}

/* ---- what is refused ---- */

static void numbers_have_bounds(void **unused)
{
    (void)unused;
    static const struct {
        const char *key;
        json_int_t value;
        const char *expected;
    } rows[] = {
        {"step", -1, "\"step\" is -1, expected 0 to 15"},
        {"step", 16, "\"step\" is 16, expected 0 to 15"},
        {"step", INT64_MAX, "\"step\" is 9223372036854775807, expected 0 to 15"},
        {"step", 1000000000000000, "expected 0 to 15"},
        {"adam_step", 3, "\"adam_step\" is 3, expected 0 to 2"},
        {"adam_step", -1, "\"adam_step\" is -1"},
        {"bad_steps", 1, "2 steps made and 1 skipped, expected at most 2"},
        {"bad_steps", INT64_MAX, "\"bad_steps\" is"},
        {"bad_in_row", 1, "\"bad_in_row\" is 1, expected 0 to 0"},
        {"rollbacks", 33, "\"rollbacks\" is 33, expected 0 to 32"},
        {"best_top1", 2, "\"best_top1\" is 2, expected 0 to 1"},
        {"best_top1", -5, "\"best_top1\" is -5"},
        {"steps_per_epoch", 6, "steps per epoch 6"},
    };
    char folder[32];
    struct train_run run = short_run(test_folder_create(folder));
    struct run_file file = run_read(folder, "state.safetensors");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct opened state = open_state(&file);
        json_object_set_new(state.training, rows[i].key, json_integer(rows[i].value));
        close_state(&state, folder);
        run_train(&run);
        if (run.status == DVIT_OK || !strstr(run.error.message, rows[i].expected))
            fail_msg("%s: %s", run.error.message, rows[i].expected);
        assert_int_equal(run.told[DVIT_TRAIN_STARTED], 0);
    }
    struct opened state = open_state(&file);
    json_object_set_new(state.training, "best_top1", json_real(1e308));
    close_state(&state, folder);
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_FORMAT, "\"best_top1\" is 1e+308");
    free(file.data);
    run_free(&run);
    test_folder_remove(folder);
}

static void values_are_finite(void **unused)
{
    (void)unused;
    static const struct {
        const char *prefix;
        float value;
        const char *expected;
    } rows[] = {
        {"model.", INFINITY, "is inf, expected a finite number"},
        {"moment1.", NAN, "is nan, expected a finite number"},
        {"moment2.", NAN, "is nan, expected a finite number that is not negative"},
        {"moment2.", -1, "is -1, expected a finite number that is not negative"},
        {"average.", -INFINITY, "is -inf, expected a finite number"},
    };
    char folder[32];
    struct train_run run = short_run(test_folder_create(folder));
    struct run_file file = run_read(folder, "state.safetensors");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct opened state = open_state(&file);
        *value_in(&state, rows[i].prefix) = rows[i].value;
        close_state(&state, folder);
        assert_fails(run_train(&run), &run.error, DVIT_ERROR_FORMAT, rows[i].expected);
        assert_non_null(strstr(run.error.message, rows[i].prefix));
    }
    free(file.data);
    run_free(&run);
    test_folder_remove(folder);
}

static void options_are_there(void **unused)
{
    (void)unused;
    char folder[32];
    struct train_run run = short_run(test_folder_create(folder));
    struct run_file file = run_read(folder, "state.safetensors");
    struct opened state = open_state(&file);
    json_object_del(json_object_get(state.training, "options"), "learning_rate");
    close_state(&state, folder);
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_FORMAT,
                 "the option \"learning_rate\" is missing");
    state = open_state(&file);
    json_object_set_new(state.training, "options", json_null());
    close_state(&state, folder);
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_FORMAT, "\"options\" is not an object");
    state = open_state(&file);
    json_object_set_new(state.training, "teacher", json_integer(3));
    close_state(&state, folder);
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_FORMAT, "\"teacher\" is not a text");
    free(file.data);
    run_free(&run);
    test_folder_remove(folder);
}

/* ---- what is told ---- */

static bool logged(const char *folder, const char *text)
{
    struct run_file log = run_read(folder, "log.jsonl");
    log.data[log.size - 1] = 0;
    bool found = strstr((char *)log.data, text) != NULL;
    free(log.data);
    return found;
}

static void what_is_not_as_it_was_is_told(void **unused)
{
    (void)unused;
    char folder[32];
    struct train_run run = short_run(test_folder_create(folder));
    run.options.max_steps = 3;
    assert_ok(run_train(&run), &run.error);
    assert_false(logged(folder, "not as before"));
    run.options.max_steps = 4;
    run.options.threads = 1;
    run.data = "builtin:scenes,image=16,classes=3,train=22,val=12";
    assert_ok(run_train(&run), &run.error);
    assert_true(logged(folder, "not as before: threads (2, now 1): the bits"));
    assert_true(logged(folder, "(9 images in 3 classes, now 12 images in 3 classes)"));
    run.options.max_steps = 0;
    run.validate = false;
    assert_ok(run_train(&run), &run.error);
    assert_true(logged(folder, "(12 images in 3 classes, now none)"));
    run_free(&run);
    test_folder_remove(folder);
}

/* More epochs: the same run, with the schedule of the longer one from where it is. */
static void a_run_is_extended(void **unused)
{
    (void)unused;
    char folder[32];
    struct train_run run = run_create(test_folder_create(folder));
    run.options.warmup_epochs = DVIT_TRAIN_FIT;
    run.options.ema_decay = DVIT_TRAIN_FIT;
    assert_ok(run_train(&run), &run.error);
    assert_true(run.rate < 1e-4);
    run.options.resume = true;
    run.options.epochs = 6;
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.first_step, RUN_STEPS + 1);
    assert_int_equal(run.last_step, 2 * RUN_STEPS);
    assert_true(logged(folder, "extended from 3 epochs to 6: from step 15 on"));
    assert_true(run.rate < 1e-4);
    run.options.epochs = 3;
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_MISMATCH, "extended but not shortened");
    run_free(&run);
    test_folder_remove(folder);
}

/* ---- beginning ---- */

static void resuming_nothing_begins(void **unused)
{
    (void)unused;
    char folder[32], path[64];
    struct train_run run = run_create(test_folder_create(folder));
    snprintf(path, sizeof path, "%s/a/b", folder);
    run.options.out = path;
    run.options.resume = true;
    run.options.max_steps = 2;
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.first_step, 1);
    assert_true(logged(path, "holds no state to resume: the run begins"));
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.told[DVIT_TRAIN_STEP], 0);
    run_free(&run);
    test_folder_remove(path);
    *strrchr(path, '/') = 0;
    test_folder_remove(path);
    test_folder_remove(folder);
}

static void a_run_that_cannot_begin_leaves_no_folder(void **unused)
{
    (void)unused;
    char folder[32], path[64], parent[64];
    struct train_run run = run_create(test_folder_create(folder));
    snprintf(path, sizeof path, "%s/a/b", folder);
    snprintf(parent, sizeof parent, "%s/a", folder);
    run.options.out = path;
    test_limit_file_size(1000); /* there is no room for a state */
    assert_true(run_train(&run) != DVIT_OK);
    assert_int_equal(test_folder_count(folder), 0);
    assert_int_equal(mkdir(parent, 0777), 0);
    assert_true(run_train(&run) != DVIT_OK);
    test_limit_file_size(-1);
    assert_int_equal(test_folder_count(folder), 1); /* what was there stays */
    assert_int_equal(test_folder_count(parent), 0);
    run_free(&run);
    test_folder_remove(parent);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_bounds),
        cmocka_unit_test(values_are_finite),
        cmocka_unit_test(options_are_there),
        cmocka_unit_test(what_is_not_as_it_was_is_told),
        cmocka_unit_test(a_run_is_extended),
        cmocka_unit_test(resuming_nothing_begins),
        cmocka_unit_test(a_run_that_cannot_begin_leaves_no_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
