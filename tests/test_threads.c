/* The team: every member runs once per call, the barrier holds under load, sleeping workers wake.
 * Meant to be run under ThreadSanitizer too. */
#define _GNU_SOURCE
#include "test_util.h"

#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/threads.h"

enum { MOST = 8, ROUNDS = 100 };

struct shared {
    struct dvit_threads *team;
    int rounds;
    int slots[MOST]; /* plain memory: only the barrier orders it */
    int calls[MOST];
    atomic_int errors;
};

static void count_call(void *context, int member, int count)
{
    struct shared *shared = context;
    shared->calls[member]++;
    if (count != dvit_threads_count(shared->team))
        atomic_fetch_add(&shared->errors, 1);
}

static struct dvit_threads *create(int count)
{
    struct dvit_threads *team;
    struct dvit_error error;
    assert_ok(dvit_threads_create(&team, count, NULL, &error), &error);
    return team;
}

static void test_every_member_runs(void **state)
{
    for (int count = 1; count <= MOST; count++) {
        struct shared shared = {.team = create(count)};
        assert_int_equal(dvit_threads_count(shared.team), count);
        for (int i = 0; i < 300; i++) {
            dvit_threads_run(shared.team, count_call, &shared);
            for (int member = 0; member < count; member++)
                assert_int_equal(shared.calls[member], i + 1);
        }
        assert_int_equal(atomic_load(&shared.errors), 0);
        dvit_threads_free(shared.team);
    }
}

/* Workers that fell asleep (after some tens of microseconds) are woken by the next run. */
static void test_sleeping_workers_wake(void **state)
{
    struct shared shared = {.team = create(4)};
    for (int i = 0; i < 50; i++) {
        usleep(2000);
        dvit_threads_run(shared.team, count_call, &shared);
    }
    for (int member = 0; member < 4; member++)
        assert_int_equal(shared.calls[member], 50);
    dvit_threads_free(shared.team);
}

static void meet(void *context, int member, int count)
{
    struct shared *shared = context;
    for (int round = 1; round <= shared->rounds; round++) {
        shared->slots[member] = round;
        for (volatile int work = 0; work < 50 * (1 + (member + round) % count); work++) {
        }
        dvit_threads_barrier(shared->team);
        for (int other = 0; other < count; other++)
            if (shared->slots[other] != round)
                atomic_fetch_add(&shared->errors, 1);
        dvit_threads_barrier(shared->team); /* nobody writes before all have looked */
    }
}

static void test_barrier(void **state)
{
    for (int count = 1; count <= MOST; count++) {
        struct shared shared = {.team = create(count), .rounds = ROUNDS};
        dvit_threads_run(shared.team, meet, &shared);
        dvit_threads_run(shared.team, meet, &shared); /* reusable in a second run */
        assert_int_equal(atomic_load(&shared.errors), 0);
        for (int member = 0; member < count; member++)
            assert_int_equal(shared.slots[member], ROUNDS);
        dvit_threads_free(shared.team);
    }
}

/* Member 0 of one team runs a team of its own, as a loader beside a trainer does. */
static void run_inner(void *context, int member, int count)
{
    struct shared *inner = context;
    if (member == 0)
        dvit_threads_run(inner->team, count_call, inner);
}

static void test_two_teams(void **state)
{
    struct shared inner = {.team = create(3)};
    struct dvit_threads *outer = create(2);
    for (int i = 0; i < 100; i++)
        dvit_threads_run(outer, run_inner, &inner);
    for (int member = 0; member < 3; member++)
        assert_int_equal(inner.calls[member], 100);
    dvit_threads_free(outer);
    dvit_threads_free(inner.team);
}

static atomic_int starts;

static void count_start(void)
{
    atomic_fetch_add(&starts, 1);
}

static void do_nothing(void *context, int member, int count)
{
}

static void test_on_start(void **state)
{
    struct dvit_threads *team;
    struct dvit_error error;
    for (int count = 1; count <= MOST; count++) {
        atomic_store(&starts, 0);
        assert_ok(dvit_threads_create(&team, count, count_start, &error), &error);
        dvit_threads_run(team, do_nothing, NULL);
        assert_int_equal(atomic_load(&starts), count);
        dvit_threads_free(team);
    }
}

static void test_free_at_once(void **state)
{
    for (int i = 0; i < 100; i++)
        dvit_threads_free(create(1 + i % MOST));
    dvit_threads_free(NULL);
}

static void test_count_refused(void **state)
{
    static const int counts[] = {0, -1, DVIT_MAX_THREADS + 1};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct dvit_threads *team = (void *)&starts; /* anything but NULL */
        struct dvit_error error;
        assert_fails(dvit_threads_create(&team, counts[i], NULL, &error), &error,
                     DVIT_ERROR_ARGUMENT, "expected 1 to 256");
        assert_null(team);
    }
}

/* The default follows the affinity mask. */
static void test_default_count(void **state)
{
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    int count = dvit_threads_default();
    assert_in_range(count, 1, CPU_COUNT(&all));
    int first = 0;
    while (!CPU_ISSET(first, &all))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(dvit_threads_default(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    assert_int_equal(dvit_threads_default(), count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_member_runs), cmocka_unit_test(test_sleeping_workers_wake),
        cmocka_unit_test(test_barrier),           cmocka_unit_test(test_two_teams),
        cmocka_unit_test(test_on_start),          cmocka_unit_test(test_free_at_once),
        cmocka_unit_test(test_count_refused),     cmocka_unit_test(test_default_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
