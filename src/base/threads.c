/* The team: workers wait for a generation number to move, run, and count themselves done.
 *
 * Waiting spins for a bounded number of rounds, then sleeps on a condition variable: between the
 * batches of a busy session no one sleeps, and an idle session burns no processor. */
#define _GNU_SOURCE
#include "base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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
    int started; /* workers to join */
    void (*on_start)(void);
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
    if (team->on_start)
        team->on_start();
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

enum dvit_status dvit_threads_create(struct dvit_threads **out, int count, void (*on_start)(void),
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
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->wake, NULL);
    team->count = count;
    team->on_start = on_start;
    team->workers = calloc((size_t)count, sizeof *team->workers);
    if (!team->workers)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "thread team: out of memory");
    if (on_start)
        on_start();
    for (int i = 0; i < count - 1; i++) {
        team->workers[i] = (struct worker){.team = team, .member = i + 1};
        if (pthread_create(&team->workers[i].thread, NULL, worker_main, &team->workers[i]) != 0)
            DVIT_FAIL(error, DVIT_ERROR_MEMORY, "thread team: cannot start thread %d of %d", i + 2,
                      count);
        team->started++;
    }
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
    atomic_store(&team->stop, true);
    advance(team);
    for (int i = 0; i < team->started; i++)
        pthread_join(team->workers[i].thread, NULL);
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->mutex);
    free(team->workers);
    free(team);
}

int dvit_threads_count(const struct dvit_threads *team)
{
    return team->count;
}

void dvit_threads_run(struct dvit_threads *team, dvit_team_function *function, void *context)
{
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

/* Reads "quota period" style limits; returns whole processors rounded up, or 0 for no limit. */
static int quota_processors(const char *quota_path, const char *period_path)
{
    long long quota = 0, period = 100000;
    FILE *file = fopen(quota_path, "r");
    if (!file)
        return 0;
    int read =
        period_path ? fscanf(file, "%lld", &quota) : fscanf(file, "%lld %lld", &quota, &period);
    fclose(file);
    if (read < 1 || quota <= 0)
        return 0; /* "max" or −1: unlimited */
    if (period_path && (file = fopen(period_path, "r"))) {
        if (fscanf(file, "%lld", &period) != 1)
            period = 0;
        fclose(file);
    }
    return period > 0 ? (int)((quota + period - 1) / period) : 0;
}

int dvit_threads_default(void)
{
    cpu_set_t mask;
    int count = 0;
    if (sched_getaffinity(0, sizeof mask, &mask) == 0)
        count = CPU_COUNT(&mask);
    if (count < 1)
        count = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int quota = quota_processors("/sys/fs/cgroup/cpu.max", NULL);
    if (!quota)
        quota = quota_processors("/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
                                 "/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (quota && quota < count)
        count = quota;
    if (count < 1)
        count = 1;
    return count > DVIT_MAX_THREADS ? DVIT_MAX_THREADS : count;
}
