/* The team: every member runs once per call, the barrier holds under load, sleeping workers wake.
 * Meant to be run under ThreadSanitizer too. */
#define _GNU_SOURCE
#include "test_util.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/flag.h"
#include "base/thread_start.h"
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

static atomic_int leaves;
static _Thread_local int setting; /* of the test; 7 in the calling thread */

static int enter(void)
{
    int before = setting;
    atomic_fetch_add(&starts, 1);
    setting = 1;
    return before;
}

static void leave(int before)
{
    atomic_fetch_add(&leaves, 1);
    setting = before;
}

static void look_at_setting(void *context, int member, int count)
{
    if (setting != 1)
        atomic_fetch_add((atomic_int *)context, 1);
}

/* All members have the setting while they run; the calling thread has its own again afterwards. */
static void test_setting(void **state)
{
    static const struct dvit_thread_setting functions = {enter, leave};
    struct dvit_threads *team;
    struct dvit_error error;
    atomic_int wrong = 0;
    for (int count = 1; count <= MOST; count++) {
        atomic_store(&starts, 0);
        atomic_store(&leaves, 0);
        setting = 7;
        assert_ok(dvit_threads_create(&team, count, &functions, &error), &error);
        assert_int_equal(setting, 7);
        for (int i = 0; i < 3; i++) {
            dvit_threads_run(team, look_at_setting, &wrong);
            assert_int_equal(setting, 7);
        }
        assert_int_equal(atomic_load(&starts), count - 1 + 3);
        assert_int_equal(atomic_load(&leaves), 3);
        dvit_threads_free(team);
    }
    assert_int_equal(atomic_load(&wrong), 0);
}

static atomic_int handled;

static void handle(int number)
{
    atomic_fetch_add(&handled, 1);
}

struct signalled {
    atomic_int handled_inside, blocked, faults_open;
};

static void be_signalled(void *context, int member, int count)
{
    struct signalled *seen = context;
    sigset_t mask;
    if (member == 0)
        raise(SIGUSR1);
    for (int i = 0; i < 3; i++)
        kill(getpid(), SIGTERM);
    atomic_fetch_add(&seen->handled_inside, atomic_load(&handled));
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    atomic_fetch_add(&seen->blocked, sigismember(&mask, SIGINT) && sigismember(&mask, SIGHUP));
    atomic_fetch_add(&seen->faults_open, !sigismember(&mask, SIGSEGV));
}

/* No handler runs on a thread that computes: not on workers, ever, and on the calling thread when
 * it is back. */
static void test_signals_wait(void **state)
{
    for (int count = 1; count <= 4; count++) {
        struct dvit_threads *team = create(count);
        struct signalled seen = {0};
        sigset_t before, after;
        atomic_store(&handled, 0);
        signal(SIGUSR1, handle);
        signal(SIGTERM, handle);
        pthread_sigmask(SIG_BLOCK, NULL, &before);
        dvit_threads_run(team, be_signalled, &seen);
        pthread_sigmask(SIG_BLOCK, NULL, &after);
        assert_int_equal(atomic_load(&handled), 2); /* one of each: pending ones do not add up */
        assert_int_equal(atomic_load(&seen.handled_inside), 0);
        assert_int_equal(atomic_load(&seen.blocked), count);
        assert_int_equal(atomic_load(&seen.faults_open), count);
        assert_int_equal(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
        signal(SIGUSR1, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        dvit_threads_free(team);
    }
}

/* What a forked child does with its parent's team; exits 0 where all is right. */
static void use_in_child(struct dvit_threads *team, int count, bool runs)
{
    struct shared shared = {.team = team, .rounds = 5};
    struct dvit_error error;
    alarm(20); /* should it hang */
    for (int i = 0; runs && i < 2; i++)
        if (dvit_threads_resume(team, &error) != DVIT_OK)
            _exit(1);
    for (int i = 0; runs && i < 10; i++) {
        dvit_threads_run(team, count_call, &shared);
        dvit_threads_run(team, meet, &shared);
    }
    for (int member = 0; runs && member < count; member++)
        if (shared.calls[member] != 10)
            _exit(2);
    dvit_threads_free(team);
    _exit(atomic_load(&shared.errors) ? 3 : 0);
}

/* A child of fork() has none of the workers: a team gets new ones there, or is just freed. */
static void test_fork(void **state)
{
    for (int count = 1; count <= 3; count += 2)
        for (int runs = 0; runs < 2; runs++)
            for (int busy = 0; busy < 2; busy++) {
                struct shared shared = {.team = create(count)};
                dvit_threads_run(shared.team, count_call, &shared);
                if (!busy)
                    usleep(3000); /* workers sleep on the condition */
                pid_t child = fork();
                assert_true(child >= 0);
                if (child == 0)
                    use_in_child(shared.team, count, runs);
                int status = 0;
                assert_int_equal(waitpid(child, &status, 0), child);
                assert_int_equal(status, 0);
                dvit_threads_run(shared.team, count_call, &shared); /* the parent's is as it was */
                for (int member = 0; member < count; member++)
                    assert_int_equal(shared.calls[member], 2);
                dvit_threads_free(shared.team);
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

static volatile int flag; /* as a program has it */

static void *raise_flag(void *context)
{
    usleep(2000);
    flag = 1;
    return NULL;
}

/* Under ThreadSanitizer: a program's volatile write beside the library's read is no race. */
static void test_flag(void **state)
{
    pthread_t thread;
    assert_int_equal(dvit_flag_read(NULL), 0);
    assert_int_equal(dvit_thread_start(&thread, raise_flag, NULL), 0);
    while (!dvit_flag_read(&flag))
        sched_yield();
    assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_member_runs),
        cmocka_unit_test(test_sleeping_workers_wake),
        cmocka_unit_test(test_barrier),
        cmocka_unit_test(test_two_teams),
        cmocka_unit_test(test_setting),
        cmocka_unit_test(test_free_at_once),
        cmocka_unit_test(test_count_refused),
        cmocka_unit_test(test_default_count),
        cmocka_unit_test(test_signals_wait),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_flag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
