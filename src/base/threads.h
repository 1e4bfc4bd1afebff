/* A fixed team of threads that run one function together, and a spin barrier for them.
 *
 * A team's threads are created once, with the executor (session or trainer) that owns them. A team
 * of N has the calling thread as member 0 and N−1 workers, who spin briefly and then sleep between
 * calls.
 *
 * Signals belong to the program's own threads: workers have them blocked for life, and so has the
 * calling thread while it is a member. A handler must not run on a thread that computes: oneDNN
 * 2.6's AVX2 products point the stack pointer into a heap block, which the handler's frame would
 * overwrite. Signals that a fault raises (SIGSEGV, SIGBUS, SIGFPE, …) are never blocked.
 *
 * After fork() the child has a copy of the team but none of its workers; see dvit_threads_resume.
 */
#ifndef DVIT_BASE_THREADS_H
#define DVIT_BASE_THREADS_H

#include "base/error.h"

enum { DVIT_MAX_THREADS = 256 };

struct dvit_threads;

/* What each member runs: `member` in 0 … count−1. It must return. */
typedef void dvit_team_function(void *context, int member, int count);

/* A per-thread setting of a library that the members need. Each worker enters once; the calling
 * thread enters at each run and leaves at its end, so that the program finds its own setting again.
 */
struct dvit_thread_setting {
    int (*enter)(void);        /* makes the setting, returns the one before */
    void (*leave)(int before); /* restores it */
};

/* count in 1 … DVIT_MAX_THREADS. `setting` may be NULL. */
enum dvit_status dvit_threads_create(struct dvit_threads **out, int count,
                                     const struct dvit_thread_setting *setting,
                                     struct dvit_error *error);
/* Also right in a process that was forked from the one that made the team. NULL is legal. */
void dvit_threads_free(struct dvit_threads *threads);
int dvit_threads_count(const struct dvit_threads *threads);

/* Makes the team usable in this process: where it was made before a fork(), new workers are started
 * for those that stayed in the parent. An error where they cannot be. To be called before a run
 * wherever the program may have forked since the last. */
enum dvit_status dvit_threads_resume(struct dvit_threads *threads, struct dvit_error *error);

/* Runs `function` in all members and returns when all are done. No allocation. */
void dvit_threads_run(struct dvit_threads *threads, dvit_team_function *function, void *context);

/* Inside a run: waits until every member has come here. Full memory barrier. */
void dvit_threads_barrier(struct dvit_threads *threads);

/* The default thread count: the affinity mask, lowered to the container's CPU quota (cgroup v2 and
 * v1, rounded up), at least 1. Not the host's core count. */
int dvit_threads_default(void);

#endif
