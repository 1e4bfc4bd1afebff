/* A training run and its folder: what is written, that it can be read, and that stopping anywhere
 * and going on gives the bits of never having stopped. */
#include "run_bench.h"

#include <jansson.h>

#include "dvit/eval.h"

/* ---- what a run leaves ---- */

static void files_of_a_run(void **state)
{
    (void)state;
    char folder[32];
    struct dvit_error error;
    struct train_run run = run_create(test_folder_create(folder));
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(test_folder_count(folder), 7);
    assert_int_equal(run.told[DVIT_TRAIN_STARTED], 1);
    assert_int_equal(run.told[DVIT_TRAIN_STEP], RUN_STEPS);
    assert_int_equal(run.told[DVIT_TRAIN_EVALUATED], RUN_EPOCHS);
    assert_int_equal(run.told[DVIT_TRAIN_SKIPPED], 0);
    assert_int_equal(run.told[DVIT_TRAIN_FINISHED], 1);
    assert_string_equal(run.finished, "done");
    char *path = dvit_path_join(folder, "last.safetensors");
    struct dvit_model *model = NULL;
    assert_ok(dvit_model_load(&model, path, NULL, &error), &error);
    assert_memory_equal(model->weights, run.weights, run.floats * sizeof(float));
    assert_string_equal(dvit_model_preprocess(model)->name, "native");
    struct dvit_dataset *data = NULL;
    assert_ok(dvit_dataset_open(&data, RUN_SCENES, "val", NULL, &error), &error);
    for (int k = 0; k < 3; k++)
        assert_string_equal(dvit_model_label(model, k), dvit_dataset_class_name(data, k));
    dvit_dataset_free(data);
    dvit_model_free(model);
    free(path);
    run_free(&run);
    test_folder_remove(folder);
}

/* best.safetensors has the accuracy that made it the best. */
static void best_is_the_best(void **state)
{
    (void)state;
    char folder[32];
    struct dvit_error error;
    struct train_run run = run_create(test_folder_create(folder));
    assert_ok(run_train(&run), &run.error);
    char *path = dvit_path_join(folder, "best.safetensors");
    struct dvit_model *model = NULL;
    struct dvit_dataset *data = NULL;
    struct dvit_session *session = NULL;
    struct dvit_evaluation result;
    struct dvit_evaluate_options options = {.batch = 9};
    assert_ok(dvit_model_load(&model, path, NULL, &error), &error);
    assert_ok(dvit_dataset_open(&data, RUN_SCENES, "val", NULL, &error), &error);
    assert_ok(dvit_session_create(&session, model, NULL, &error), &error);
    assert_ok(dvit_evaluate(session, model, data, &options, NULL, NULL, &result, &error), &error);
    assert_true(result.top1 == run.best_top1);
    dvit_session_free(session);
    dvit_dataset_free(data);
    dvit_model_free(model);
    free(path);
    run_free(&run);
    test_folder_remove(folder);
}

static void without_validation_best_is_last(void **state)
{
    (void)state;
    char folder[32];
    struct train_run run = run_create(test_folder_create(folder));
    run.validate = false;
    run.options.ema_decay = 0;
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.told[DVIT_TRAIN_EVALUATED], 0);
    struct run_file last = run_read(folder, "last.safetensors");
    run_assert_file(folder, "best.safetensors", &last);
    free(last.data);
    run_free(&run);
    test_folder_remove(folder);
}

/* ---- the log ---- */

static void expect_keys(const json_t *line, const char *const *keys)
{
    for (; *keys; keys++)
        if (!json_object_get(line, *keys))
            fail_msg("a record has no \"%s\"", *keys);
}

static void check_line(const json_t *line)
{
    static const char *const every[] = {"event", "time", "epoch", "step", NULL};
    static const char *const started[] = {"steps_per_epoch", "total_steps", NULL};
    static const char *const step[] = {"lr",           "backbone_lr", "loss",          "loss_cls",
                                       "loss_kl",      "loss_ratio",  "loss_token",    "keep",
                                       "images_per_s", "bad_steps",   "gradient_norm", NULL};
    static const char *const evaluated[] = {"top1", "top5", "loss", "ema_top1", "best", NULL};
    static const char *const text[] = {"text", NULL};
    const char *kind = json_string_value(json_object_get(line, "event"));
    assert_non_null(kind);
    expect_keys(line, every);
    if (strcmp(kind, "started") == 0)
        expect_keys(line, started);
    else if (strcmp(kind, "step") == 0)
        expect_keys(line, step);
    else if (strcmp(kind, "evaluated") == 0)
        expect_keys(line, evaluated);
    else
        expect_keys(line, text);
    if (strcmp(kind, "step") == 0) {
        const json_t *keep = json_object_get(line, "keep");
        assert_int_equal(json_array_size(keep), 2);
        for (size_t s = 0; s < 2; s++) {
            double share = json_real_value(json_array_get(keep, s));
            assert_true(share >= 0 && share <= 1);
        }
        assert_true(json_real_value(json_object_get(line, "loss")) > 0);
    }
}

/* Every line is a JSON object; the steps of its step records, in order. */
static size_t read_log(const char *folder, long *steps, size_t capacity, bool check)
{
    struct run_file file = run_read(folder, "log.jsonl");
    size_t count = 0;
    assert_int_equal(file.data[file.size - 1], '\n');
    for (size_t at = 0; at < file.size;) {
        size_t length = (size_t)((unsigned char *)memchr(file.data + at, '\n', file.size - at) -
                                 (file.data + at)) +
                        1;
        json_t *line = json_loadb((char *)file.data + at, length, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(line);
        if (check)
            check_line(line);
        if (strcmp(json_string_value(json_object_get(line, "event")), "step") == 0) {
            assert_true(count < capacity);
            steps[count++] = (long)json_integer_value(json_object_get(line, "step"));
        }
        json_decref(line);
        at += length;
    }
    free(file.data);
    return count;
}

static void expect_every_step_once(const char *folder, bool check)
{
    long steps[2 * RUN_STEPS];
    assert_int_equal(read_log(folder, steps, 2 * RUN_STEPS, check), RUN_STEPS);
    for (int i = 0; i < RUN_STEPS; i++)
        assert_int_equal(steps[i], i + 1);
}

static void log_and_configuration_are_json(void **state)
{
    (void)state;
    char folder[32];
    struct train_run run = run_create(test_folder_create(folder));
    run.dynamic = true;
    assert_ok(run_train(&run), &run.error);
    expect_every_step_once(folder, true);
    struct run_file file = run_read(folder, "config.json");
    json_t *root = json_loadb((char *)file.data, file.size, JSON_REJECT_DUPLICATES, NULL);
    static const char *const parts[] = {"command", "version",    "build",   "seed",    "data",
                                        "model",   "validation", "options", "machine", NULL};
    static const char *const build[] = {"revision", "compiler", NULL};
    static const char *const machine[] = {"processor",       "system",  "kernels",
                                          "matrix_products", "threads", NULL};
    assert_non_null(root);
    expect_keys(root, parts);
    expect_keys(json_object_get(root, "build"), build);
    expect_keys(json_object_get(root, "machine"), machine);
    const json_t *validation = json_object_get(root, "validation");
    assert_int_equal(json_integer_value(json_object_get(validation, "images")), 9);
    assert_non_null(json_object_get(validation, "fingerprint"));
    assert_string_equal(json_string_value(json_object_get(root, "command")), "a test");
    const json_t *options = json_object_get(root, "options");
    assert_int_equal(json_integer_value(json_object_get(options, "batch")), 4);
    assert_true(json_real_value(json_object_get(options, "drop_path")) == .1);
    const json_t *blocks = json_object_get(json_object_get(root, "model"), "stage_blocks");
    assert_int_equal(json_array_size(blocks), 2);
    json_decref(root);
    free(file.data);
    run_free(&run);
    test_folder_remove(folder);
}

/* ---- going on ---- */

static void empty_folder(const char *folder)
{
    struct dvit_names names;
    struct dvit_error error;
    assert_ok(dvit_folder_list(folder, &names, &error), &error);
    for (size_t i = 0; i < names.count; i++) {
        char *path = dvit_path_join(folder, names.items[i]);
        remove(path);
        free(path);
    }
    dvit_names_free(&names);
}

/* Asked to stop after `first` steps, then after `second`, then not. */
static void stop_twice(struct train_run run, long first, long second,
                       const struct run_result *whole)
{
    const char *folder = run.options.out;
    run.stop_at = first;
    assert_int_equal(run_train(&run), DVIT_ERROR_INTERRUPTED);
    assert_string_equal(run.finished, "stopped on request");
    assert_int_equal(run.last_step, first);
    run.options.resume = true;
    if (second > first) {
        run.stop_at = second;
        assert_int_equal(run_train(&run), DVIT_ERROR_INTERRUPTED);
        assert_int_equal(run.first_step, first + 1);
    }
    run.stop_at = 0;
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.last_step, RUN_STEPS);
    run_assert_same(folder, whole);
    expect_every_step_once(folder, false);
    empty_folder(folder);
    run_free(&run);
}

static void stopped_anywhere_is_never_stopped(void **state)
{
    (void)state;
    for (int dynamic = 0; dynamic < 2; dynamic++) {
        char whole_folder[32], folder[32];
        struct train_run run = run_create(test_folder_create(whole_folder));
        run.dynamic = dynamic;
        run.options.freeze_embeddings = dynamic;
        run.options.backbone_freeze_epochs = dynamic;
        assert_ok(run_train(&run), &run.error);
        struct run_result whole = run_keep(whole_folder);
        run_free(&run);
        run.options.out = test_folder_create(folder);
        for (long first = 1; first < RUN_STEPS; first++)
            stop_twice(run, first, (first * 7) % RUN_STEPS, &whole);
        run_forget(&whole);
        test_folder_remove(folder);
        test_folder_remove(whole_folder);
    }
}

/* A stop in the last step comes too late: the run is done. */
static void stopped_in_the_last_step_is_done(void **state)
{
    (void)state;
    char folder[32];
    struct train_run run = run_create(test_folder_create(folder));
    run.stop_at = RUN_STEPS;
    assert_ok(run_train(&run), &run.error);
    assert_string_equal(run.finished, "done");
    assert_int_equal(run.told[DVIT_TRAIN_EVALUATED], RUN_EPOCHS);
    run_free(&run);
    test_folder_remove(folder);
}

/* In pieces of so many steps, with gradient accumulation and other numbers of loader threads. */
static void step_limits_add_up(void **state)
{
    (void)state;
    char whole_folder[32], folder[32];
    struct train_run run = run_create(test_folder_create(whole_folder));
    run.validate = false;
    run.dynamic = true;
    run.options.batch = 3;
    run.options.accumulate = 2; /* 22 images: 7 batches, 3 steps an epoch */
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.last_step, 9);
    struct run_result whole = run_keep(whole_folder);
    run.options.out = test_folder_create(folder);
    for (int limit = 1; limit <= 9; limit++) {
        run.options.max_steps = limit;
        run.options.workers = limit % 4;
        run.options.resume = limit > 1;
        assert_ok(run_train(&run), &run.error);
        assert_int_equal(run.told[DVIT_TRAIN_STEP], 1);
        assert_string_equal(run.finished, limit < 9 ? "step limit reached" : "done");
    }
    run_assert_same(folder, &whole);
    run.options.max_steps = 0;
    assert_ok(run_train(&run), &run.error); /* finished already: nothing is done */
    assert_int_equal(run.told[DVIT_TRAIN_STEP], 0);
    run_assert_same(folder, &whole);
    run_forget(&whole);
    run_free(&run);
    test_folder_remove(folder);
    test_folder_remove(whole_folder);
}

/* A run that dies after its last checkpoint has told steps that will be told again. */
static void records_of_lost_steps_are_replaced(void **state)
{
    (void)state;
    char folder[32];
    struct dvit_error error;
    struct train_run run = run_create(test_folder_create(folder));
    char *path = dvit_path_join(folder, "state.safetensors");
    run.options.max_steps = 6;
    assert_ok(run_train(&run), &run.error);
    struct run_file saved = run_read(folder, "state.safetensors");
    run.options.resume = true;
    run.options.max_steps = 9;
    assert_ok(run_train(&run), &run.error);
    assert_ok(dvit_file_replace(path, saved.data, saved.size, &error), &error);
    run.options.max_steps = 0;
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.first_step, 7);
    expect_every_step_once(folder, false);
    free(saved.data);
    free(path);
    run_free(&run);
    test_folder_remove(folder);
}

static void the_seed_decides(void **state)
{
    (void)state;
    char folder[32];
    struct train_run run = run_create(test_folder_create(folder));
    run.options.epochs = 1;
    assert_ok(run_train(&run), &run.error);
    struct run_result first = run_keep(folder);
    empty_folder(folder);
    assert_ok(run_train(&run), &run.error);
    run_assert_same(folder, &first);
    empty_folder(folder);
    run.options.seed = 1;
    assert_ok(run_train(&run), &run.error);
    struct run_file other = run_read(folder, "last.safetensors");
    assert_int_equal(other.size, first.files[0].size);
    assert_memory_not_equal(other.data, first.files[0].data, other.size);
    free(other.data);
    run_forget(&first);
    run_free(&run);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_a_run),
        cmocka_unit_test(best_is_the_best),
        cmocka_unit_test(without_validation_best_is_last),
        cmocka_unit_test(log_and_configuration_are_json),
        cmocka_unit_test(stopped_anywhere_is_never_stopped),
        cmocka_unit_test(stopped_in_the_last_step_is_done),
        cmocka_unit_test(step_limits_add_up),
        cmocka_unit_test(records_of_lost_steps_are_replaced),
        cmocka_unit_test(the_seed_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
