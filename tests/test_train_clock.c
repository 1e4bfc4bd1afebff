/* A wall clock that jumps by days, forwards and backwards, whenever somebody looks at it: records
 * stay in order, also over several starts of a run, and nothing is estimated from it.
 *
 * The linker gives this program its own clocks. */
#define _GNU_SOURCE
#include "run_bench.h"

#include <jansson.h>
#include <time.h>

#include "event_reader.h"

static double wall_s; /* as of the next look, which moves it; 0: the real one */

static double look(void)
{
    static int looks;
    double now = wall_s;
    looks++;
    if (wall_s > 0)
        wall_s += (looks % 2 ? -3 : 2) * 86400.0;
    return now;
}

int __real_timespec_get(struct timespec *out, int base);
int __wrap_timespec_get(struct timespec *out, int base);
int __wrap_timespec_get(struct timespec *out, int base)
{
    double now = look();
    int got = __real_timespec_get(out, base);
    if (now > 0)
        *out = (struct timespec){.tv_sec = (time_t)now};
    return got;
}

time_t __real_time(time_t *out);
time_t __wrap_time(time_t *out);
time_t __wrap_time(time_t *out)
{
    double now = look();
    if (now <= 0)
        return __real_time(out);
    if (out)
        *out = (time_t)now;
    return (time_t)now;
}

int __real_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    int got = __real_clock_gettime(clock, out);
    double now = clock == CLOCK_REALTIME ? look() : 0;
    if (now > 0)
        *out = (struct timespec){.tv_sec = (time_t)now};
    return got;
}

static enum dvit_status draw(void *context, const struct dvit_model *model, int epoch,
                             struct dvit_image *out, struct dvit_error *error)
{
    (void)context;
    (void)model;
    (void)epoch;
    return dvit_image_create(out, 8, 8, error);
}

static void expect_lines_in_order(const char *folder)
{
    struct run_file file = run_read(folder, "log.jsonl");
    json_int_t before = 0;
    size_t lines = 0;
    for (size_t at = 0; at < file.size; lines++) {
        unsigned char *end = memchr(file.data + at, '\n', file.size - at);
        assert_non_null(end);
        json_t *line = json_loadb((char *)file.data + at, (size_t)(end - file.data) - at, 0, NULL);
        json_int_t now = json_integer_value(json_object_get(line, "time"));
        assert_true(now >= before);
        before = now;
        json_decref(line);
        at = (size_t)(end - file.data) + 1;
    }
    assert_true(lines > RUN_STEPS);
    free(file.data);
}

/* TensorBoard reads the files in the order of their names. */
static void expect_events_in_order(const char *folder, size_t files)
{
    double before = 0;
    uint64_t step = 0;
    assert_int_equal(event_file_count(folder), files);
    for (size_t k = 0; k < files; k++) {
        struct read_events events = events_in(folder, k);
        assert_true(events.count > 5);
        for (size_t i = 0; i < events.count; i++) {
            assert_true(events.items[i].time >= before);
            before = events.items[i].time;
            if (events.items[i].tag[0]) {
                assert_true(events.items[i].step >= step);
                step = events.items[i].step;
            }
        }
        free(events.items);
    }
    assert_int_equal(step, RUN_STEPS);
}

static void records_stay_in_order(void **state)
{
    (void)state;
    static const double starts[3] = {1.9e9, 1.2e9, 1.5e9}; /* 2030, 2008, 2017 */
    char folder[32], kept[64];
    struct train_run run = run_create(test_folder_create(folder));
    run.options.draw = draw;
    for (int k = 0; k < 3; k++) {
        wall_s = starts[k];
        run.options.max_steps = 5 * (k + 1);
        run.options.resume = k > 0;
        assert_ok(run_train(&run), &run.error);
        assert_true(run.least_eta_s >= 0 && run.longest_eta_s < 600);
    }
    wall_s = 0;
    expect_lines_in_order(folder);
    expect_events_in_order(folder, 3);
    snprintf(kept, sizeof kept, "%s/kept", folder);
    test_folder_remove(kept);
    run_free(&run);
    test_folder_remove(folder);
}

/* A log may say anything about when it was written. */
static void times_of_no_year_are_ignored(void **state)
{
    (void)state;
    char folder[32];
    struct dvit_error error;
    struct train_run run = run_create(test_folder_create(folder));
    run.options.max_steps = 5;
    assert_ok(run_train(&run), &run.error);
    struct run_file log = run_read(folder, "log.jsonl");
    char *path = dvit_path_join(folder, "log.jsonl"), *text = NULL;
    assert_true(asprintf(&text,
                         "{\"event\":\"saved\",\"time\":9223372036854775807,\"step\":1}\n%.*s",
                         (int)log.size, (char *)log.data) > 0);
    assert_ok(dvit_file_replace(path, text, strlen(text), &error), &error);
    run.options.max_steps = 0;
    run.options.resume = true;
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(event_file_count(folder), 2);
    struct read_events events = events_in(folder, 1);
    assert_true(events.items[0].time < 1e11);
    free(events.items);
    free(text);
    free(path);
    free(log.data);
    run_free(&run);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_stay_in_order),
        cmocka_unit_test(times_of_no_year_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
