/* The team: workers wait for a generation number to move, run, and count themselves done.
 *
 * Waiting spins for a bounded number of rounds, then sleeps on a condition variable: between the
 * batches of a busy session no one sleeps, and an idle session burns no processor. */
#define _GNU_SOURCE
#include "base/threads.h"
#include "base/thread_start.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cgroup.h"

enum {
    SPIN_ROUNDS_IDLE = 20000,   /* before a worker sleeps: some tens of microseconds */
    SPIN_ROUNDS_BARRIER = 2000, /* before a barrier yields the processor */
};

struct worker {
    struct dvit_threads *team;
    pthread_t thread;
    int member;
};

struct dvit_threads {
    int count;
    int started;   /* workers to join */
    pid_t process; /* that they run in */
    struct dvit_thread_setting setting;
    struct worker *workers; /* [count − 1] */

    pthread_mutex_t mutex;
    pthread_cond_t wake;
    atomic_uint generation; /* moves once per run */
    atomic_int running;     /* workers that have not finished the run */
    atomic_bool stop;
    dvit_team_function *function;
    void *context;

    atomic_int barrier_arrived;
    atomic_uint barrier_phase;
};

/* Blocks all signals but those that a fault raises, for which there is no later. */
static void block_signals(sigset_t *before)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_BLOCK, &blocked, before);
}

int dvit_thread_start(pthread_t *thread, void *(*function)(void *), void *context)
{
    sigset_t before;
    block_signals(&before); /* a thread begins with its creator's mask */
    int code = pthread_create(thread, NULL, function, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static unsigned wait_for_generation(struct dvit_threads *team, unsigned seen)
{
    for (int i = 0; i < SPIN_ROUNDS_IDLE; i++) {
        unsigned now = atomic_load_explicit(&team->generation, memory_order_acquire);
        if (now != seen)
            return now;
        relax();
    }
    pthread_mutex_lock(&team->mutex);
    while (atomic_load(&team->generation) == seen)
        pthread_cond_wait(&team->wake, &team->mutex);
    unsigned now = atomic_load(&team->generation);
    pthread_mutex_unlock(&team->mutex);
    return now;
}

static void *worker_main(void *argument)
{
    struct worker *self = argument;
    struct dvit_threads *team = self->team;
    if (team->setting.enter)
        team->setting.enter();
    unsigned seen = 0;
    for (;;) {
        seen = wait_for_generation(team, seen);
        if (atomic_load(&team->stop))
            return NULL;
        team->function(team->context, self->member, team->count);
        atomic_fetch_sub_explicit(&team->running, 1, memory_order_release);
    }
}

static void advance(struct dvit_threads *team)
{
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add(&team->generation, 1);
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->mutex);
}

/* Sets up what workers share, as it is before the first run, and starts them. */
static enum dvit_status start_workers(struct dvit_threads *team, struct dvit_error *error)
{
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->wake, NULL);
    atomic_store(&team->generation, 0);
    atomic_store(&team->running, 0);
    atomic_store(&team->stop, false);
    atomic_store(&team->barrier_arrived, 0);
    team->started = 0;
    team->process = getpid();
    for (int i = 0; i < team->count - 1; i++) {
        team->workers[i] = (struct worker){.team = team, .member = i + 1};
        if (dvit_thread_start(&team->workers[i].thread, worker_main, &team->workers[i]) != 0)
            return dvit_error_set(error, DVIT_ERROR_MEMORY,
                                  "thread team: cannot start thread %d of %d", i + 2, team->count);
        team->started++;
    }
    return DVIT_OK;
}

static void stop_workers(struct dvit_threads *team)
{
    atomic_store(&team->stop, true);
    advance(team);
    for (int i = 0; i < team->started; i++)
        pthread_join(team->workers[i].thread, NULL);
    team->started = 0;
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->mutex);
}

enum dvit_status dvit_threads_create(struct dvit_threads **out, int count,
                                     const struct dvit_thread_setting *setting,
                                     struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_threads *team = NULL;
    *out = NULL;
    if (count < 1 || count > DVIT_MAX_THREADS)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "threads is %d, expected 1 to %d", count,
                  DVIT_MAX_THREADS);
    team = calloc(1, sizeof *team);
    if (!team)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "thread team: out of memory");
    team->count = count;
    if (setting)
        team->setting = *setting;
    team->workers = calloc((size_t)count, sizeof *team->workers);
    if (!team->workers)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "thread team: out of memory");
    DVIT_TRY(start_workers(team, error));
    *out = team;
done:
    if (status != DVIT_OK)
        dvit_threads_free(team);
    return status;
}

void dvit_threads_free(struct dvit_threads *team)
{
    if (!team)
        return;
    /* After a fork the workers are the parent's, and destroying a condition that they wait on would
     * wait for them. */
    if (team->process == getpid())
        stop_workers(team);
    free(team->workers);
    free(team);
}

int dvit_threads_count(const struct dvit_threads *team)
{
    return team->count;
}

enum dvit_status dvit_threads_resume(struct dvit_threads *team, struct dvit_error *error)
{
    if (team->process == getpid())
        return DVIT_OK;
    enum dvit_status status = start_workers(team, error);
    if (status != DVIT_OK) {
        stop_workers(team);
        team->process = 0; /* to be tried again */
    }
    return status;
}

void dvit_threads_run(struct dvit_threads *team, dvit_team_function *function, void *context)
{
    sigset_t signals;
    block_signals(&signals);
    int before = team->setting.enter ? team->setting.enter() : 0;
    if (team->count > 1) {
        team->function = function;
        team->context = context;
        atomic_store(&team->running, team->count - 1);
        advance(team);
    }
    function(context, 0, team->count);
    for (int i = 0; atomic_load_explicit(&team->running, memory_order_acquire) > 0; i++) {
        if (i < SPIN_ROUNDS_BARRIER)
            relax();
        else
            sched_yield();
    }
    if (team->setting.leave)
        team->setting.leave(before);
    pthread_sigmask(SIG_SETMASK, &signals, NULL);
}

void dvit_threads_barrier(struct dvit_threads *team)
{
    if (team->count == 1)
        return;
    unsigned phase = atomic_load_explicit(&team->barrier_phase, memory_order_acquire);
    if (atomic_fetch_add(&team->barrier_arrived, 1) == team->count - 1) {
        atomic_store(&team->barrier_arrived, 0);
        atomic_fetch_add_explicit(&team->barrier_phase, 1, memory_order_release);
        return;
    }
    for (int i = 0; atomic_load_explicit(&team->barrier_phase, memory_order_acquire) == phase;
         i++) {
        if (i < SPIN_ROUNDS_BARRIER)
            relax();
        else
            sched_yield();
    }
}

int dvit_threads_default(void)
{
    cpu_set_t mask;
    int count = 0;
    if (sched_getaffinity(0, sizeof mask, &mask) == 0)
        count = CPU_COUNT(&mask);
    if (count < 1)
        count = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int quota = dvit_cgroup_processors("");
    if (quota && quota < count)
        count = quota;
    if (count < 1)
        count = 1;
    return count > DVIT_MAX_THREADS ? DVIT_MAX_THREADS : count;
}
