/* The rate at which this machine moves memory, cache or main, as many bytes at a time as asked. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/threads.h"
#include "dvit/infer.h"

struct copies {
    size_t half;    /* bytes of one side */
    double seconds; /* to measure for */
    unsigned char *memory[DVIT_MAX_THREADS];
    double done[DVIT_MAX_THREADS]; /* bytes per second of each member */
    struct dvit_arena arena;
};

static void lay_out(struct copies *c, int threads)
{
    for (int m = 0; m < threads; m++)
        c->memory[m] = dvit_arena_take(&c->arena, c->half, 2);
}

static void measure_member(void *context, int member, int members)
{
    struct copies *c = context;
    unsigned char *from = c->memory[member], *to = from + c->half;
    (void)members;
    memset(from, member, 2 * c->half); /* its pages are there, and near this thread */
    double moved = 0, start = dvit_clock_seconds(), now = start;
    while (now - start < c->seconds) {
        memcpy(to, from, c->half);
        memcpy(from, to, c->half);
        moved += 4.0 * (double)c->half;
        now = dvit_clock_seconds();
    }
    c->done[member] = moved / (now - start);
}

enum dvit_status dvit_memory_rate(size_t bytes, int threads, double seconds, double *gbytes,
                                  struct dvit_error *error)
{
    DVIT_CLEAR(gbytes);
    DVIT_REQUIRE(error, gbytes);
    if (!(seconds >= 0 && seconds <= 3600))
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "memory measurement of %g s, expected 0 to 3600", seconds);
    enum dvit_status status = DVIT_OK;
    struct dvit_threads *team = NULL;
    struct copies *c = calloc(1, sizeof *c);
    if (!c)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "memory measurement: out of memory");
    c->half = bytes < 128 ? 64 : bytes / 2;
    c->seconds = seconds;
    threads = threads > 0 ? threads : dvit_threads_default();
    DVIT_TRY(dvit_threads_create(&team, threads, NULL, error));
    lay_out(c, threads);
    DVIT_TRY(dvit_arena_commit(&c->arena, "memory measurement", error));
    lay_out(c, threads);
    dvit_threads_run(team, measure_member, c);
    for (int m = 0; m < threads; m++)
        *gbytes += c->done[m] / 1e9;
done:
    dvit_threads_free(team);
    if (c)
        dvit_arena_free(&c->arena);
    free(c);
    return status;
}
