/* What keeps weeks of training safe: one trainer in a folder, saves on request, states kept by
 * epoch, evaluations that were interrupted, states of earlier versions. */
#define _GNU_SOURCE
#include "run_bench.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/lock.h"

/* ---- the lock ---- */

static void two_trainings_do_not_share_a_folder(void **state)
{
    (void)state;
    char folder[32], expected[64];
    struct dvit_error error;
    struct dvit_lock lock, second;
    struct train_run run = run_create(test_folder_create(folder));
    char *path = dvit_path_join(folder, "run.lock");
    assert_ok(dvit_lock_take(&lock, path, &error), &error);
    snprintf(expected, sizeof expected, "run.lock\": held by process %ld", (long)getpid());
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_IO, expected);
    assert_int_equal(run.told[DVIT_TRAIN_STARTED], 0);
    assert_int_equal(test_folder_count(folder), 1);
    assert_fails(dvit_lock_take(&second, path, &error), &error, DVIT_ERROR_IO, expected);
    dvit_lock_release(&second);
    dvit_lock_release(&lock);
    assert_int_equal(test_folder_count(folder), 0);
    assert_ok(run_train(&run), &run.error);
    assert_false(dvit_file_exists(path));
    run_free(&run);
    free(path);
    test_folder_remove(folder);
}

/* A holder that was killed leaves its file, and it is no obstacle. */
static void a_stale_lock_is_no_obstacle(void **state)
{
    (void)state;
    char folder[32];
    int code;
    struct dvit_error error;
    struct train_run run = run_create(test_folder_create(folder));
    char *path = dvit_path_join(folder, "run.lock");
    pid_t child = fork();
    if (child == 0) {
        struct dvit_lock lock;
        if (dvit_lock_take(&lock, path, &error) != DVIT_OK)
            _exit(1);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_true(WIFSIGNALED(code));
    assert_true(dvit_file_exists(path));
    assert_ok(run_train(&run), &run.error);
    assert_false(dvit_file_exists(path));
    run_free(&run);
    free(path);
    test_folder_remove(folder);
}

/* ---- saves on request ---- */

static void a_request_saves_and_goes_on(void **state)
{
    (void)state;
    char whole_folder[32], folder[32], copy[32];
    for (int accumulate = 1; accumulate <= 2; accumulate++) {
        struct train_run run = run_create(test_folder_create(whole_folder));
        run.options.batch = 4 / accumulate;
        run.options.accumulate = accumulate;
        run.options.optimizer = accumulate == 1 ? "lamb" : "sgd";
        run.options.weight_decay_end = .2;
        run.options.layer_decay = .8;
        assert_ok(run_train(&run), &run.error);
        long saves = run.told[DVIT_TRAIN_SAVED];
        struct run_result whole = run_keep(whole_folder);
        run.options.out = test_folder_create(folder);
        run.save_at = run.copy_at = 7;
        run.copy_to = test_folder_create(copy);
        assert_ok(run_train(&run), &run.error);
        assert_int_equal(run.told[DVIT_TRAIN_SAVED], saves + 1);
        run_assert_same(folder, &whole);
        /* What was saved is a state to go on from. */
        run.options.out = copy;
        run.options.resume = true;
        run.save_at = run.copy_at = 0;
        assert_ok(run_train(&run), &run.error);
        assert_int_equal(run.first_step, 8);
        run_assert_file(copy, "last.safetensors", &whole.files[0]);
        run_assert_file(copy, "state.safetensors", &whole.files[2]);
        run_forget(&whole);
        run_free(&run);
        test_folder_remove(copy);
        test_folder_remove(folder);
        test_folder_remove(whole_folder);
    }
}

/* Ended while it evaluated, a run goes on with the evaluation. */
static void an_interrupted_evaluation_is_made_up_for(void **state)
{
    (void)state;
    char whole_folder[32], copy[32];
    struct train_run run = run_create(test_folder_create(whole_folder));
    run.copy_at = 2 * RUN_STEPS_PER_EPOCH; /* the state saved before that epoch's evaluation */
    run.copy_to = test_folder_create(copy);
    assert_ok(run_train(&run), &run.error);
    struct run_result whole = run_keep(whole_folder);
    char *best[2] = {dvit_path_join(whole_folder, "best.safetensors"),
                     dvit_path_join(copy, "best.safetensors")};
    struct dvit_error error;
    assert_ok(dvit_file_duplicate(best[0], best[1], &error), &error); /* made in the first epoch */
    run.options.out = copy;
    run.options.resume = true;
    run.copy_at = 0;
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.told[DVIT_TRAIN_EVALUATED], 2);
    assert_int_equal(run.first_step, 2 * RUN_STEPS_PER_EPOCH + 1);
    run_assert_same(copy, &whole);
    run_forget(&whole);
    run_free(&run);
    free(best[0]);
    free(best[1]);
    test_folder_remove(copy);
    test_folder_remove(whole_folder);
}

static ino_t inode_of(const char *folder, const char *name)
{
    struct stat file;
    char *path = dvit_path_join(folder, name);
    ino_t inode = stat(path, &file) == 0 ? file.st_ino : 0;
    free(path);
    return inode;
}

/* Equal weights are one file; the state of a rollback goes with the end of the run, and comes back
 * with a resumed one. */
static void a_folder_keeps_what_is_needed(void **state)
{
    (void)state;
    for (int validate = 0; validate < 2; validate++) {
        char folder[32];
        struct train_run run = run_create(test_folder_create(folder));
        run.validate = validate;
        run.options.ema_decay = 0;
        run.options.max_steps = RUN_STEPS_PER_EPOCH; /* the first epoch is the best so far */
        assert_ok(run_train(&run), &run.error);
        ino_t best = inode_of(folder, "best.safetensors");
        assert_true(best && best == inode_of(folder, "last.safetensors"));
        assert_true(inode_of(folder, "good.safetensors") != 0);
        run.options.max_steps = 0;
        run.options.resume = true;
        run.stop_at = RUN_STEPS_PER_EPOCH + 1;
        assert_int_equal(run_train(&run), DVIT_ERROR_INTERRUPTED);
        best = inode_of(folder, "best.safetensors");
        assert_true(best != inode_of(folder, "last.safetensors"));
        assert_true(inode_of(folder, "good.safetensors") != 0);
        run.stop_at = 0;
        assert_ok(run_train(&run), &run.error);
        assert_true(inode_of(folder, "good.safetensors") == 0);
        assert_true(inode_of(folder, "state.safetensors") != 0);
        struct run_result done = run_keep(folder);
        assert_ok(run_train(&run), &run.error); /* nothing is left to do */
        run_assert_same(folder, &done);
        run_forget(&done);
        run_free(&run);
        test_folder_remove(folder);
    }
}

/* A stop right after any save leaves what no stop leaves: also the states that are kept by epoch,
 * and the one that a rollback returns to. */
static void stopped_at_any_save_is_never_stopped(void **state)
{
    (void)state;
    static const char *const names[] = {"state-epoch0002.safetensors",
                                        "state-epoch0003.safetensors", "last-epoch0003.safetensors",
                                        "state.safetensors", "last.safetensors"};
    enum { NAMES = sizeof names / sizeof *names };
    struct run_file expected[NAMES];
    char whole_folder[32], folder[32];
    struct train_run run = run_create(test_folder_create(whole_folder));
    run.options.keep_checkpoints = 2;
    run.options.checkpoint_every = 2;
    assert_ok(run_train(&run), &run.error);
    long saves = run.told[DVIT_TRAIN_SAVED];
    for (int k = 0; k < NAMES; k++)
        expected[k] = run_read(whole_folder, names[k]);
    for (long save = 1; save <= saves; save++) {
        run.options.out = test_folder_create(folder);
        run.options.resume = false;
        run.stop_at_save = save;
        if (run_train(&run) != DVIT_OK) {
            assert_int_equal(run.status, DVIT_ERROR_INTERRUPTED);
            run.options.resume = true;
            run.stop_at_save = 0;
            assert_ok(run_train(&run), &run.error);
        }
        for (int k = 0; k < NAMES; k++)
            run_assert_file(folder, names[k], &expected[k]);
        test_folder_remove(folder);
    }
    for (int k = 0; k < NAMES; k++)
        free(expected[k].data);
    run_free(&run);
    test_folder_remove(whole_folder);
}

/* ---- what is kept ---- */

static bool has(const char *folder, const char *kind, int epoch)
{
    char name[64];
    snprintf(name, sizeof name, "%s-epoch%04d.safetensors", kind, epoch);
    char *path = dvit_path_join(folder, name);
    bool found = dvit_file_exists(path);
    free(path);
    return found;
}

static void old_states_are_kept_by_epoch(void **state)
{
    (void)state;
    char folder[32];
    struct train_run run = run_create(test_folder_create(folder));
    run.options.epochs = 4;
    run.options.keep_checkpoints = 2;
    assert_ok(run_train(&run), &run.error);
    for (int epoch = 1; epoch <= 4; epoch++) {
        assert_int_equal(has(folder, "state", epoch), epoch > 2);
        assert_int_equal(has(folder, "last", epoch), epoch > 2);
    }
    struct run_result whole = run_keep(folder);
    run_assert_file(folder, "state-epoch0004.safetensors", &whole.files[2]);
    /* A kept state is one to go on from. */
    char older[32];
    struct dvit_error error;
    test_folder_create(older);
    char *from = dvit_path_join(folder, "state-epoch0003.safetensors");
    char *to = dvit_path_join(older, "state.safetensors");
    assert_ok(dvit_file_duplicate(from, to, &error), &error);
    run.options.out = older;
    run.options.resume = true;
    run.options.keep_checkpoints = 1;
    assert_ok(run_train(&run), &run.error);
    run_assert_file(older, "state.safetensors", &whole.files[2]);
    assert_true(!has(older, "state", 3) && has(older, "state", 4));
    run_forget(&whole);
    run_free(&run);
    free(from);
    free(to);
    test_folder_remove(older);
    test_folder_remove(folder);
}

/* Puts another text in place of the training's part of a state's header, blanks behind it. */
static void replace_training(struct run_file *file, const char *text)
{
    static const char key[] = "\"dvit.training\":\"";
    char *at = memmem(file->data, file->size, key, sizeof key - 1);
    assert_non_null(at);
    at += sizeof key - 1;
    char *end = at;
    while (*end != '"')
        end += *end == '\\' ? 2 : 1;
    for (; *text; text++) {
        if (*text == '"')
            *at++ = '\\';
        *at++ = *text;
    }
    assert_true(at < end);
    memset(at, ' ', (size_t)(end - at));
}

/* What a state says of itself, as a text of JSON. */
static void read_training(const struct run_file *file, char *text, size_t capacity)
{
    const char *at = memmem(file->data, file->size, "\"dvit.training\":\"", 17);
    assert_non_null(at);
    for (at += 17; *at != '"' && capacity > 1; capacity--) {
        at += *at == '\\';
        *text++ = *at++;
    }
    *text = 0;
}

static double number_in(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    assert_non_null(at);
    return strtod(at + strlen(key), NULL);
}

/* A state as version 0.1.0 wrote it. */
static void make_old(struct run_file *file)
{
    char text[4000], old[400], data[17];
    read_training(file, text, sizeof text);
    assert_non_null(strstr(text, "\"data\":\""));
    snprintf(data, sizeof data, "%s", strstr(text, "\"data\":\"") + 8);
    snprintf(old, sizeof old,
             "{\"step\":%.0f,\"adam_step\":%.0f,\"bad_steps\":0,\"bad_in_row\":0,"
             "\"best_top1\":%.17g,\"seed\":0,\"batch\":4,\"accumulate\":1,"
             "\"steps_per_epoch\":%d,\"data\":\"%s\"}",
             number_in(text, "\"step\":"), number_in(text, "\"adam_step\":"),
             number_in(text, "\"best_top1\":"), RUN_STEPS_PER_EPOCH, data);
    replace_training(file, old);
}

static void states_of_earlier_versions_are_resumed(void **state)
{
    (void)state;
    char whole_folder[32], folder[32];
    struct dvit_error error;
    struct train_run run = run_create(test_folder_create(whole_folder));
    assert_ok(run_train(&run), &run.error);
    struct run_result whole = run_keep(whole_folder);
    run.options.out = test_folder_create(folder);
    run.options.max_steps = 7;
    assert_ok(run_train(&run), &run.error);
    struct run_file file = run_read(folder, "state.safetensors");
    make_old(&file);
    char *path = dvit_path_join(folder, "state.safetensors");
    assert_ok(dvit_file_replace(path, file.data, file.size, &error), &error);
    run.options.max_steps = 0;
    run.options.resume = true;
    run.options.batch = 5; /* what the state knows of still counts */
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_MISMATCH, "has batch 4, this one 5");
    run.options.batch = 4;
    assert_ok(run_train(&run), &run.error);
    run_assert_file(folder, "last.safetensors", &whole.files[0]);
    free(file.data);
    free(path);
    run_forget(&whole);
    run_free(&run);
    test_folder_remove(folder);
    test_folder_remove(whole_folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_trainings_do_not_share_a_folder),
        cmocka_unit_test(a_stale_lock_is_no_obstacle),
        cmocka_unit_test(a_request_saves_and_goes_on),
        cmocka_unit_test(an_interrupted_evaluation_is_made_up_for),
        cmocka_unit_test(a_folder_keeps_what_is_needed),
        cmocka_unit_test(stopped_at_any_save_is_never_stopped),
        cmocka_unit_test(old_states_are_kept_by_epoch),
        cmocka_unit_test(states_of_earlier_versions_are_resumed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
