/* A fixed team of threads that run one function together, and a spin barrier for them.
 *
 * Threads are created once, with the executor (session or trainer) that owns them. A team of N has
 * the calling thread as member 0 and N−1 workers, who spin briefly and then sleep between calls. */
#ifndef DVIT_BASE_THREADS_H
#define DVIT_BASE_THREADS_H

#include "base/error.h"

enum { DVIT_MAX_THREADS = 256 };

struct dvit_threads;

/* What each member runs: `member` in 0 … count−1. It must return. */
typedef void dvit_team_function(void *context, int member, int count);

/* count in 1 … DVIT_MAX_THREADS. `on_start` (may be NULL) runs once in every member, also in the
 * calling thread: per-thread settings of a library go there. */
enum dvit_status dvit_threads_create(struct dvit_threads **out, int count, void (*on_start)(void),
                                     struct dvit_error *error);
void dvit_threads_free(struct dvit_threads *threads);
int dvit_threads_count(const struct dvit_threads *threads);

/* Runs `function` in all members and returns when all are done. No allocation. */
void dvit_threads_run(struct dvit_threads *threads, dvit_team_function *function, void *context);

/* Inside a run: waits until every member has come here. Full memory barrier. */
void dvit_threads_barrier(struct dvit_threads *threads);

/* The default thread count: the affinity mask, lowered to the container's CPU quota (cgroup v2 and
 * v1, rounded up), at least 1. Not the host's core count. */
int dvit_threads_default(void);

#endif
