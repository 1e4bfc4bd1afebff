/* Training when things go wrong: another run's state, unreadable images, a full disk, a folder that
 * cannot be written, losses that are not finite. What was saved before must survive. */
#define _GNU_SOURCE
#include "run_bench.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- resuming what cannot be resumed ---- */

static void resume_refused(struct train_run *run, enum dvit_status code, const char *first,
                           const char *second)
{
    struct run_result before = run_keep(run->options.out);
    struct run_file log = run_read(run->options.out, "log.jsonl");
    run->options.resume = true;
    run_train(run);
    if (run->status != code || !strstr(run->error.message, first) ||
        !strstr(run->error.message, second))
        fail_msg("%s: %s\nexpected %s, with %s and %s", dvit_status_name(run->status),
                 run->error.message, dvit_status_name(code), first, second);
    assert_int_equal(run->told[DVIT_TRAIN_STARTED], 0);
    run_assert_same(run->options.out, &before);
    run_assert_file(run->options.out, "log.jsonl", &log);
    free(log.data);
    run_forget(&before);
    run_free(run);
}

static struct train_run short_run(const char *folder)
{
    struct train_run run = run_create(folder);
    run.options.max_steps = 2;
    assert_ok(run_train(&run), &run.error);
    run_free(&run);
    run.options.max_steps = 0;
    return run;
}

static void another_run_is_not_resumed(void **state)
{
    (void)state;
    char folder[32];
    const struct train_run begun = short_run(test_folder_create(folder));
    struct train_run run = begun;
    run.options.seed = 7;
    resume_refused(&run, DVIT_ERROR_MISMATCH, "has seed 0, this one 7", "state.safetensors");
    run = begun;
    run.data = "builtin:scenes,image=16,classes=3,train=22,val=9,seed=1";
    resume_refused(&run, DVIT_ERROR_MISMATCH, "other training data", "with other names");
    run = begun;
    run.data = "builtin:scenes,image=16,classes=3,train=31,val=9";
    resume_refused(&run, DVIT_ERROR_MISMATCH, "used other training data: 22 images, now 31", "");
    run = begun;
    run.dim = 20;
    resume_refused(&run, DVIT_ERROR_MISMATCH, "has model dim 16, this one 20", "");
    run = begun;
    run.heads = 4; /* the same parameters, other sums */
    resume_refused(&run, DVIT_ERROR_MISMATCH, "has model heads 2, this one 4", "");
    run = begun;
    run.dynamic = true;
    resume_refused(&run, DVIT_ERROR_MISMATCH, "had no teacher, this one has one", "");
    test_folder_remove(folder);
}

/* Whoever learns from another model is another run, and so is whoever learns from none. */
static void another_teacher_is_not_resumed(void **state)
{
    (void)state;
    char folder[32];
    struct train_run begun = run_create(test_folder_create(folder));
    begun.dynamic = true;
    begun.options.max_steps = 2;
    assert_ok(run_train(&begun), &begun.error);
    struct train_run run = begun;
    run.weights = NULL;
    run.dense_seed = 5;
    resume_refused(&run, DVIT_ERROR_MISMATCH, "had another teacher", "cannot be resumed");
    run = begun;
    run.weights = NULL;
    run.options.keep = .6;
    resume_refused(&run, DVIT_ERROR_MISMATCH, "has keep 1, this one 0.6", "");
    run_free(&begun);
    test_folder_remove(folder);
}

#define OPTION(member) offsetof(struct dvit_train_options, member)

/* Options that change what is computed, or from which images: each refused by name. */
static void options_that_compute_something_else_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t offset;
        enum { WHOLE, REAL, FLAG, TEXT } kind;
        double value;
        const char *text, *expected;
    } rows[] = {
        {OPTION(epochs), WHOLE, 2, NULL, "has epochs 3, this one 2"},
        {OPTION(batch), WHOLE, 5, NULL, "has batch 4, this one 5"},
        {OPTION(accumulate), WHOLE, 2, NULL, "has accumulate 1, this one 2"},
        {OPTION(learning_rate), REAL, .01, NULL, "has learning rate 0.001, this one 0.01"},
        {OPTION(backbone_lr_scale), REAL, .5, NULL, "backbone learning-rate scale 1, this one 0.5"},
        {OPTION(min_learning_rate), REAL, 0, NULL, "minimum learning rate 1e-06, this one 0"},
        {OPTION(warmup_epochs), REAL, 1, NULL, "has warm-up epochs 0.4, this one 1"},
        {OPTION(backbone_freeze_epochs), REAL, 1, NULL, "has backbone freeze epochs 0, this one 1"},
        {OPTION(freeze_embeddings), FLAG, 1, NULL, "has frozen embeddings false, this one true"},
        {OPTION(optimizer), TEXT, 0, "sgd", "has optimizer adamw, this one sgd"},
        {OPTION(layer_decay), REAL, .5, NULL, "has layer decay 1, this one 0.5"},
        {OPTION(weight_decay), REAL, .1, NULL, "has weight decay 0.05, this one 0.1"},
        {OPTION(weight_decay_end), REAL, .1, NULL, "has weight decay at the end -1, this one 0.1"},
        {OPTION(beta1), REAL, .8, NULL, "has beta1 0.9, this one 0.8"},
        {OPTION(beta2), REAL, .9, NULL, "has beta2 0.999, this one 0.9"},
        {OPTION(adam_eps), REAL, 1e-6, NULL, "has Adam epsilon 1e-08, this one 1e-06"},
        {OPTION(clip_norm), REAL, 1, NULL, "has gradient clipping norm 0, this one 1"},
        {OPTION(ema_decay), REAL, .5, NULL, "has EMA decay 0.8, this one 0.5"},
        {OPTION(ema_decay), REAL, 0, NULL, "has EMA decay 0.8, this one 0"},
        {OPTION(drop_path), REAL, 0, NULL, "has drop path 0.1, this one 0"},
        {OPTION(label_smoothing), REAL, 0, NULL, "has label smoothing 0.1, this one 0"},
        {OPTION(augment), FLAG, 0, NULL, "has augmentation true, this one false"},
        {OPTION(flip), FLAG, 0, NULL, "has flips true, this one false"},
        {OPTION(rand_augment), TEXT, 0, "rand-m9",
         "has augmentation policy none, this one rand-m9"},
        {OPTION(color_jitter), REAL, .4, NULL, "has colour jitter 0, this one 0.4"},
        {OPTION(erasing), REAL, .25, NULL, "has erasing probability 0, this one 0.25"},
        {OPTION(mixup), REAL, .8, NULL, "has mixup alpha 0, this one 0.8"},
        {OPTION(cutmix), REAL, 1, NULL, "has cutmix alpha 0, this one 1"},
        {OPTION(repeats), WHOLE, 2, NULL, "has repeats 1, this one 2"},
        {OPTION(elastic_high), REAL, .9, NULL, "has elastic keep, high end 0, this one 0.9"},
        {OPTION(weight_cls), REAL, 2, NULL, "has classification weight 1, this one 2"},
        {OPTION(decision_gradient_cap), REAL, 1, NULL, "has decision gradient cap 0, this one 1"},
    };
    char folder[32];
    const struct train_run begun = short_run(test_folder_create(folder));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct train_run run = begun;
        char *at = (char *)&run.options + rows[i].offset;
        if (rows[i].kind == WHOLE)
            *(int *)at = (int)rows[i].value;
        else if (rows[i].kind == REAL)
            *(double *)at = rows[i].value;
        else if (rows[i].kind == FLAG)
            *(bool *)at = rows[i].value != 0;
        else
            *(const char **)at = rows[i].text;
        resume_refused(&run, DVIT_ERROR_MISMATCH, rows[i].expected, "cannot be resumed");
    }
    test_folder_remove(folder);
}

/* What says how fast, how often saved, or how long may change. */
static void other_options_may_change(void **state)
{
    (void)state;
    char folder[32];
    struct train_run run = short_run(test_folder_create(folder));
    run.options.resume = true;
    run.options.threads = 1;
    run.options.workers = 0;
    run.options.strict = true;
    run.options.log_every = 3;
    run.options.checkpoint_every = 2;
    run.options.keep_checkpoints = 1;
    run.options.max_steps = 12;
    run.options.max_bad_steps = 3;
    run.options.max_rollbacks = 1;
    run.options.tensorboard = false;
    run.options.rand_augment = "none";
    run.options.optimizer = "adamw";
    run.options.precision = "f32";
    assert_ok(run_train(&run), &run.error);
    run_free(&run);
    test_folder_remove(folder);
}

static void a_run_is_not_overwritten(void **state)
{
    (void)state;
    char folder[32];
    struct train_run run = short_run(test_folder_create(folder));
    struct run_result before = run_keep(folder);
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_ARGUMENT, "--resume");
    assert_non_null(strstr(run.error.message, folder));
    run_assert_same(folder, &before);
    run_forget(&before);
    run_free(&run);
    test_folder_remove(folder);
}

static void write_state(const char *folder, const struct run_file *file, size_t size)
{
    struct dvit_error error;
    char *path = dvit_path_join(folder, "state.safetensors");
    assert_ok(dvit_file_replace(path, file->data, size, &error), &error);
    free(path);
}

static void write_last(const char *folder, const struct run_file *file)
{
    struct dvit_error error;
    char *path = dvit_path_join(folder, "last.safetensors");
    assert_ok(dvit_file_replace(path, file->data, file->size, &error), &error);
    free(path);
}

static void damaged_states_are_refused(void **state)
{
    (void)state;
    char folder[32], empty[32];
    struct train_run run = short_run(test_folder_create(folder));
    struct run_file file = run_read(folder, "state.safetensors");
    struct run_file model = run_read(folder, "last.safetensors");
    for (size_t size = 0; size < file.size; size += file.size / 7 + 1) {
        write_state(folder, &file, size);
        resume_refused(&run, DVIT_ERROR_FORMAT, "state.safetensors", "");
    }
    write_state(folder, &model, model.size); /* a sound file, but of a model alone */
    resume_refused(&run, DVIT_ERROR_FORMAT, "dvit.training", "not a training state");
    unsigned char *step = memmem(file.data, file.size, "\\\"step\\\":2", 10);
    assert_non_null(step);
    step[9] = '1'; /* fewer steps than updates */
    write_state(folder, &file, file.size);
    resume_refused(&run, DVIT_ERROR_FORMAT, "\"adam_step\" is 2, expected 0 to 1", "");
    run.options.out = test_folder_create(empty);
    run.options.resume = true;
    write_last(empty, &model); /* a model that beginning anew would replace */
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_IO, "state.safetensors\" is not there");
    run_assert_file(empty, "last.safetensors", &model);
    run_free(&run);
    free(model.data);
    free(file.data);
    test_folder_remove(empty);
    test_folder_remove(folder);
}

/* ---- images ---- */

/* Two classes of ten small images; of those whose bit is set, only the first bytes. */
static void write_images(const char *folder, char class[2][64], unsigned unreadable)
{
    struct dvit_error error;
    for (int k = 0; k < 2; k++) {
        snprintf(class[k], 64, "%s/class%d", folder, k);
        assert_ok(dvit_folder_create(class[k], &error), &error);
        for (int i = 0; i < 10; i++) {
            unsigned char data[13 + 16 * 16 * 3] = "P6 16 16 255\n";
            char path[96];
            for (size_t n = 13; n < sizeof data; n++)
                data[n] = (unsigned char)(n * (size_t)(i + 2) + 100 * (size_t)k);
            bool cut = unreadable >> (10 * k + i) & 1;
            snprintf(path, sizeof path, "%s/%d.ppm", class[k], i);
            assert_ok(dvit_file_replace(path, data, cut ? 50 : sizeof data, &error), &error);
        }
    }
}

static void remove_images(const char *folder, char class[2][64])
{
    test_folder_remove(class[0]);
    test_folder_remove(class[1]);
    test_folder_remove(folder);
}

static struct train_run folder_run(const char *out, const char *images)
{
    struct train_run run = run_create(out);
    run.data = images;
    run.validate = false;
    run.classes = 2;
    return run;
}

static void unreadable_images_are_told_once(void **state)
{
    (void)state;
    char images[32], out[32], class[2][64];
    write_images(test_folder_create(images), class, 1u << 3 | 1u << 15);
    struct train_run run = folder_run(test_folder_create(out), images);
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.told[DVIT_TRAIN_SKIPPED], 2);
    assert_non_null(strstr(run.skipped, "skipped image"));
    assert_true(strstr(run.skipped, "class0/3.ppm") || strstr(run.skipped, "class1/5.ppm"));
    assert_int_equal(run.told[DVIT_TRAIN_STEP], 15);
    test_folder_remove(out);
    run.options.out = test_folder_create(out);
    run.options.strict = true;
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_FORMAT, ".ppm");
    run_free(&run);
    test_folder_remove(out);
    remove_images(images, class);
}

/* With one or two images a batch, whole batches are unreadable; stopping does not shift the data.
 */
static void unreadable_batches_do_not_shift_a_resumed_run(void **state)
{
    (void)state;
    char images[32], whole_folder[32], out[32], class[2][64];
    write_images(test_folder_create(images), class, 0x53a7u);
    for (int accumulate = 1; accumulate <= 3; accumulate++) {
        struct train_run run = folder_run(test_folder_create(whole_folder), images);
        run.options.batch = 1;
        run.options.accumulate = accumulate;
        run.options.epochs = 2;
        run.options.checkpoint_every = 1;
        assert_ok(run_train(&run), &run.error);
        if (accumulate == 1) /* else an epoch has batches left over */
            assert_int_equal(run.told[DVIT_TRAIN_SKIPPED], 9);
        long steps = run.told[DVIT_TRAIN_STEP];
        assert_true(steps < 40 / accumulate);
        struct run_result whole = run_keep(whole_folder);
        for (int stop = 1; stop < 40 / accumulate; stop += 3) {
            run.options.out = test_folder_create(out);
            run.options.resume = false;
            run.stop_at = stop;
            enum dvit_status status = run_train(&run);
            assert_true(status == DVIT_OK || status == DVIT_ERROR_INTERRUPTED);
            run.options.resume = true;
            run.stop_at = 0;
            assert_ok(run_train(&run), &run.error);
            run_assert_same(out, &whole);
            test_folder_remove(out);
        }
        run_forget(&whole);
        run_free(&run);
        test_folder_remove(whole_folder);
    }
    remove_images(images, class);
}

/* A stop that comes while a step gathers its micro-batches gives that step up. It comes when an
 * image cannot be read, which is before the step's last micro-batch for most images. */
static void a_stop_does_not_wait_for_a_long_step(void **state)
{
    (void)state;
    int given_up = 0;
    for (unsigned image = 0; image < 4; image++) {
        char images[32], whole_folder[32], out[32], class[2][64];
        write_images(test_folder_create(images), class, 1u << image);
        struct train_run run = folder_run(test_folder_create(whole_folder), images);
        run.options.batch = 2;
        run.options.accumulate = 10;
        run.options.workers = 0;
        assert_ok(run_train(&run), &run.error);
        assert_int_equal(run.told[DVIT_TRAIN_STEP], 3);
        struct run_result whole = run_keep(whole_folder);
        run.options.out = test_folder_create(out);
        run.stop_at_skip = 1;
        assert_fails(run_train(&run), &run.error, DVIT_ERROR_INTERRUPTED, "stopped on request");
        given_up += run.told[DVIT_TRAIN_STEP] == 0;
        run.options.resume = true;
        run.stop_at_skip = 0;
        assert_ok(run_train(&run), &run.error);
        run_assert_same(out, &whole);
        run_forget(&whole);
        run_free(&run);
        test_folder_remove(out);
        test_folder_remove(whole_folder);
        remove_images(images, class);
    }
    assert_true(given_up > 0);
}

static void no_readable_image_is_an_error(void **state)
{
    (void)state;
    char images[32], out[32], class[2][64];
    write_images(test_folder_create(images), class, 0xfffffu);
    struct train_run run = folder_run(test_folder_create(out), images);
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_FORMAT, "none of the 20 images");
    run_free(&run);
    test_folder_remove(out);
    remove_images(images, class);
}

/* ---- disks ---- */

static void expect_nothing_half_written(const char *folder)
{
    struct dvit_names names;
    struct dvit_error error;
    assert_ok(dvit_folder_list(folder, &names, &error), &error);
    for (size_t i = 0; i < names.count; i++)
        assert_null(strstr(names.items[i], ".tmp"));
    dvit_names_free(&names);
}

static void a_full_disk_leaves_the_last_checkpoint(void **state)
{
    (void)state;
    char whole_folder[32], folder[32];
    struct train_run run = run_create(test_folder_create(whole_folder));
    run.validate = false;
    assert_ok(run_train(&run), &run.error);
    struct run_result whole = run_keep(whole_folder);
    run.options.out = test_folder_create(folder);
    run.options.max_steps = 4;
    assert_ok(run_train(&run), &run.error);
    struct run_result before = run_keep(folder);
    run.options.max_steps = 0;
    run.options.resume = true;
    /* No room for the model, or none for the state. */
    const size_t room[2] = {before.files[0].size / 2, before.files[0].size + 100};
    for (int i = 0; i < 2; i++) {
        test_limit_file_size((long)room[i]);
        run_train(&run);
        test_limit_file_size(-1);
        assert_int_equal(run.status, DVIT_ERROR_IO);
        assert_non_null(strstr(run.error.message, i ? "state.safetensors" : ".safetensors"));
        run_assert_file(folder, "state.safetensors", &before.files[2]);
        if (i == 0)
            run_assert_same(folder, &before);
        expect_nothing_half_written(folder);
    }
    assert_ok(run_train(&run), &run.error);
    run_assert_same(folder, &whole);
    run_forget(&before);
    run_forget(&whole);
    run_free(&run);
    test_folder_remove(folder);
    test_folder_remove(whole_folder);
}

/* Where record_file.c writes; standard I/O has its own way to the system. */
ssize_t __real_write(int descriptor, const void *data, size_t size);
ssize_t __wrap_write(int descriptor, const void *data, size_t size);

static bool records_fail;

ssize_t __wrap_write(int descriptor, const void *data, size_t size)
{
    if (!records_fail)
        return __real_write(descriptor, data, size);
    errno = ENOSPC;
    return -1;
}

static void fail_records(struct train_run *run, long step)
{
    (void)run, (void)step;
    records_fail = true;
}

/* The log is worth less than the training: said once, and on it goes. */
static void a_log_that_cannot_be_written_is_told(void **state)
{
    (void)state;
    char folder[32];
    test_folder_create(folder);
    struct train_run run = run_create(folder);
    run.options.tensorboard = false;
    run.at_step = fail_records;
    enum dvit_status status = run_train(&run);
    records_fail = false;
    assert_ok(status, &run.error);
    assert_int_equal(run.told[DVIT_TRAIN_SKIPPED], 1);
    assert_non_null(strstr(run.skipped, "log.csv"));
    assert_int_equal(run.told[DVIT_TRAIN_STEP], RUN_STEPS);
    run_free(&run);
    test_folder_remove(folder);
}

/* 0 where training into `folder` is refused as it should be. */
static int try_as_nobody(const char *folder)
{
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        return 0; /* no way to be anyone else here */
    struct train_run run = run_create(folder);
    run_train(&run);
    bool right = run.status == DVIT_ERROR_IO && strstr(run.error.message, folder) &&
                 run.told[DVIT_TRAIN_STEP] == 0;
    if (!right)
        print_error("%s: %s\n", dvit_status_name(run.status), run.error.message);
    run_free(&run);
    return right ? 0 : 1;
}

static void a_folder_without_permission_is_refused_at_once(void **state)
{
    (void)state;
    char folder[32], below[64];
    test_folder_create(folder);
    assert_int_equal(chmod(folder, 0555), 0);
    snprintf(below, sizeof below, "%s/below", folder);
    for (int i = 0; i < 2; i++) {
        int code;
        pid_t child = fork();
        if (child == 0)
            _exit(try_as_nobody(i ? below : folder));
        assert_int_equal(waitpid(child, &code, 0), child);
        assert_true(WIFEXITED(code));
        assert_int_equal(WEXITSTATUS(code), 0);
    }
    assert_int_equal(chmod(folder, 0755), 0);
    test_folder_remove(folder);
}

static void a_file_is_not_a_folder(void **state)
{
    (void)state;
    char folder[32], path[64];
    struct dvit_error error;
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/file", folder);
    assert_ok(dvit_file_replace(path, "x", 1, &error), &error);
    struct train_run run = run_create(path);
    assert_int_equal(run_train(&run), DVIT_ERROR_IO);
    assert_non_null(strstr(run.error.message, path));
    run.options.out = NULL;
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_ARGUMENT, "no run folder");
    run_free(&run);
    test_folder_remove(folder);
}

/* ---- numbers ---- */

static void steps_that_stay_bad_end_the_run(void **state)
{
    (void)state;
    char folder[32];
    struct train_run run = short_run(test_folder_create(folder));
    char fresh[32];
    struct run_result before = run_keep(folder);
    run.break_at = 1;
    run.breaks = 100;
    run.options.max_bad_steps = 3;
    run.options.max_rollbacks = 0;
    run.options.out = test_folder_create(fresh);
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_NUMERIC, "3 steps in a row");
    assert_int_equal(run.told[DVIT_TRAIN_SKIPPED], 3);
    assert_int_equal(run.told[DVIT_TRAIN_STEP], 3); /* the second and third one without a loss */
    assert_null(strstr(run.error.message, "last saved state"));
    assert_non_null(strstr(run.error.message, "no earlier state"));
    test_folder_remove(fresh);
    /* A resumed run takes the state's weights, whatever it was given. */
    run.breaks = 0;
    run.options.out = folder;
    run.options.resume = true;
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.told[DVIT_TRAIN_SKIPPED], 0);
    run_forget(&before);
    run_free(&run);
    test_folder_remove(folder);
}

static void data_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    char folder[32];
    struct train_run run = run_create(test_folder_create(folder));
    run.data = "builtin:scenes,image=16,classes=4,train=22,val=9";
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_MISMATCH, "4 classes, the model 3");
    run.data = RUN_SCENES;
    run.options.batch = 12;
    run.options.accumulate = 2;
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_ARGUMENT, "22 images");
    run.options.batch = 0;
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_ARGUMENT,
                 "batch is 0, expected 1 to 4096");
    assert_int_equal(test_folder_count(folder), 0);
    run_free(&run);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_run_is_not_resumed),
        cmocka_unit_test(another_teacher_is_not_resumed),
        cmocka_unit_test(options_that_compute_something_else_are_refused),
        cmocka_unit_test(other_options_may_change),
        cmocka_unit_test(a_run_is_not_overwritten),
        cmocka_unit_test(damaged_states_are_refused),
        cmocka_unit_test(unreadable_images_are_told_once),
        cmocka_unit_test(unreadable_batches_do_not_shift_a_resumed_run),
        cmocka_unit_test(a_stop_does_not_wait_for_a_long_step),
        cmocka_unit_test(no_readable_image_is_an_error),
        cmocka_unit_test(a_full_disk_leaves_the_last_checkpoint),
        cmocka_unit_test(a_log_that_cannot_be_written_is_told),
        cmocka_unit_test(a_folder_without_permission_is_refused_at_once),
        cmocka_unit_test(a_file_is_not_a_folder),
        cmocka_unit_test(steps_that_stay_bad_end_the_run),
        cmocka_unit_test(data_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
