/* Every write of a run fails once, with EIO or ENOSPC: opening, writing (half of it is there),
 * flushing, syncing, closing, linking, renaming. What was saved before stays whole, nothing half
 * written has a final name or is left behind, the error says which file and why, and going on gives
 * what would have been.
 *
 * The linker gives this program its own of those calls. */
#define _GNU_SOURCE
#include "run_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>

#include "dvit/report.h"
#include "event_reader.h"

static long calls, failing_call; /* 0: none fails */
static int failing_code;
static bool rest_fails; /* of a write whose first half arrived */

static bool fails_now(void)
{
    calls++;
    if (calls != failing_call)
        return false;
    errno = failing_code;
    return true;
}

size_t __real_fwrite(const void *data, size_t size, size_t count, FILE *stream);
size_t __wrap_fwrite(const void *data, size_t size, size_t count, FILE *stream);
size_t __wrap_fwrite(const void *data, size_t size, size_t count, FILE *stream)
{
    if (fileno(stream) < 0 || !fails_now())
        return __real_fwrite(data, size, count, stream);
    size_t half = __real_fwrite(data, size, count / 2, stream);
    errno = failing_code;
    return half;
}

ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size)
{
    if (rest_fails) {
        rest_fails = false;
        errno = failing_code;
        return -1;
    }
    if (!fails_now())
        return __real_write(fd, data, size);
    rest_fails = true;
    return __real_write(fd, data, size / 2);
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    if ((flags & O_CREAT) && fails_now())
        return -1;
    return __real_open64(path, flags, 0666);
}

int __real_fflush(FILE *stream);
int __wrap_fflush(FILE *stream);
int __wrap_fflush(FILE *stream)
{
    return fails_now() ? EOF : __real_fflush(stream);
}

int __real_fclose(FILE *stream);
int __wrap_fclose(FILE *stream);
int __wrap_fclose(FILE *stream)
{
    bool fails = fileno(stream) >= 0 && fails_now(); /* not what is written to memory */
    int result = __real_fclose(stream);
    if (fails)
        errno = failing_code;
    return fails ? EOF : result;
}

/* Nobody pulls the plug here, and the disk is slow. */
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    (void)fd;
    return fails_now() ? -1 : 0;
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
    return fails_now() ? -1 : __real_rename(from, to);
}

int __real_link(const char *from, const char *to);
int __wrap_link(const char *from, const char *to);
int __wrap_link(const char *from, const char *to)
{
    return fails_now() ? -1 : __real_link(from, to);
}

/* ---- a run that writes everything that a run can ---- */

static enum dvit_status draw(void *context, const struct dvit_model *model, int epoch,
                             struct dvit_image *out, struct dvit_error *error)
{
    (void)context;
    (void)model;
    (void)epoch;
    return dvit_image_create(out, 8, 8, error);
}

static struct train_run writing_run(const char *folder)
{
    struct train_run run = run_create(folder);
    run.options.epochs = 1;
    run.options.threads = 1;
    run.options.workers = 0;
    run.options.optimizer = "sgd"; /* fewer arrays: what takes time is how often it runs */
    run.options.ema_decay = 0;
    run.options.checkpoint_every = 3;
    run.options.keep_checkpoints = 1;
    run.options.draw = draw;
    return run;
}

/* The training and then its page, as the command does it. */
static enum dvit_status train_and_report(struct train_run *run, enum dvit_status *reported)
{
    struct dvit_error error;
    const struct dvit_report_run one = {.folder = run->options.out};
    const struct dvit_report report = {.runs = &one, .run_count = 1};
    char *path = dvit_path_join(run->options.out, "report.html");
    *reported = DVIT_OK;
    run_train(run);
    if (run->status == DVIT_OK)
        *reported = dvit_report_html(path, &report, &error);
    if (*reported != DVIT_OK && !strstr(error.message, path))
        fail_msg("the report's error does not name its file: %s", error.message);
    free(path);
    return run->status;
}

static void clean(const char *folder)
{
    char kept[64];
    snprintf(kept, sizeof kept, "%s/kept", folder);
    if (dvit_folder_exists(kept))
        test_folder_remove(kept);
    test_folder_remove(folder);
}

/* ---- what is there afterwards ---- */

static void expect_model(const char *path)
{
    struct dvit_error error;
    struct dvit_model *model = NULL;
    assert_ok(dvit_model_load(&model, path, NULL, &error), &error);
    dvit_model_free(model);
}

static void expect_lines(const char *folder)
{
    struct run_file file = run_read(folder, "log.jsonl");
    for (size_t at = 0; at < file.size;) {
        unsigned char *end = memchr(file.data + at, '\n', file.size - at);
        assert_non_null(end);
        size_t length = (size_t)(end - file.data) - at;
        json_t *line = json_loadb((char *)file.data + at, length, 0, NULL);
        assert_non_null(line);
        json_decref(line);
        at += length + 1;
    }
    free(file.data);
}

static void expect_table(const char *folder)
{
    struct run_file file = run_read(folder, "log.csv");
    size_t first = 0, commas = 0;
    for (size_t i = 0; i < file.size; i++) {
        commas += file.data[i] == ',';
        if (file.data[i] != '\n')
            continue;
        first = first ? first : commas;
        assert_int_equal(commas, first);
        commas = 0;
    }
    assert_int_equal(commas, 0);
    free(file.data);
}

static void expect_picture(const char *path)
{
    struct dvit_error error;
    struct dvit_image image;
    assert_ok(dvit_image_load(&image, path, NULL, NULL, &error), &error);
    dvit_image_free(&image);
}

/* Whatever has a name is whole, and no other file is there. */
static void expect_whole(const char *folder)
{
    struct dvit_names names;
    struct dvit_error error;
    assert_ok(dvit_folder_list(folder, &names, &error), &error);
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.items[i];
        char *path = dvit_path_join(folder, name);
        if (strstr(name, ".tmp") || strcmp(name, "run.lock") == 0)
            fail_msg("%s is left", path);
        if (strncmp(name, "last", 4) == 0 || strncmp(name, "best", 4) == 0)
            expect_model(path);
        if (strcmp(name, "log.jsonl") == 0)
            expect_lines(folder);
        if (strcmp(name, "log.csv") == 0)
            expect_table(folder);
        if (strcmp(name, "kept") == 0)
            expect_whole(path);
        if (strstr(name, ".png"))
            expect_picture(path);
        free(path);
    }
    dvit_names_free(&names);
    for (size_t k = 0; strstr(folder, "/kept") == NULL && k < event_file_count(folder); k++) {
        struct read_events events = events_in(folder, k);
        assert_false(events.cut);
        free(events.items);
    }
}

static void expect_reason(const struct train_run *run, long n, int code)
{
    const char *message = run->status == DVIT_OK ? run->skipped : run->error.message;
    if (!strstr(message, run->options.out) || !strstr(message, strerror(code)))
        fail_msg("write %ld: %s", n, message);
}

/* Counts over all failures, to see that each kind was met. */
static struct {
    long ended, told, silent, report;
} met;

/* The run with its n-th write failing; then, if it ended, gone on with or begun anew. */
static void fail_and_go_on(long n, int code, const struct run_result *whole)
{
    char folder[32];
    enum dvit_status reported;
    struct train_run run = writing_run(test_folder_create(folder));
    calls = 0;
    failing_call = n;
    failing_code = code;
    enum dvit_status status = train_and_report(&run, &reported);
    failing_call = 0;
    expect_whole(folder);
    if (status != DVIT_OK) {
        met.ended++;
        if (status != DVIT_ERROR_IO)
            fail_msg("write %ld: %s", n, run.error.message);
        expect_reason(&run, n, code);
        char *state = dvit_path_join(folder, "state.safetensors");
        run.options.resume = dvit_file_exists(state);
        free(state);
    } else if (reported != DVIT_OK) {
        met.report++;
    } else if (run.told[DVIT_TRAIN_SKIPPED] > 0) {
        met.told++; /* the log or a picture: the training goes on */
        expect_reason(&run, n, code);
    } else {
        met.silent++; /* a folder's sync, or what was done another way */
    }
    if (status != DVIT_OK || reported != DVIT_OK) {
        run.options.resume = run.options.resume || status == DVIT_OK;
        assert_ok(train_and_report(&run, &reported), &run.error);
        assert_int_equal(reported, DVIT_OK);
    }
    run_assert_same(folder, whole);
    expect_whole(folder);
    run_free(&run);
    clean(folder);
}

static void every_write_may_fail_once(void **state)
{
    (void)state;
    char folder[32];
    enum dvit_status reported;
    struct train_run run = writing_run(test_folder_create(folder));
    calls = 0;
    assert_ok(train_and_report(&run, &reported), &run.error);
    long total = calls;
    struct run_result whole = run_keep(folder);
    for (long n = 1; n <= total; n++)
        fail_and_go_on(n, n % 2 ? EIO : ENOSPC, &whole);
    print_message("%ld writes failed: %ld ended the run, %ld were told, %ld the report's, %ld "
                  "without consequence\n",
                  total, met.ended, met.told, met.report, met.silent);
    assert_true(met.ended > 50 && met.told > 10 && met.report > 3);
    run_forget(&whole);
    run_free(&run);
    clean(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_write_may_fail_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
