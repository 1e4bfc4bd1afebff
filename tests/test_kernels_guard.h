/* Float arrays that touch an unmapped page, so that a read or write of one element too many is a
 * crash and not an accident that passes. Filled with NaN: what a kernel should have written and did
 * not shows in every comparison. Include after #define _DEFAULT_SOURCE. */
#ifndef DVIT_TEST_KERNELS_GUARD_H
#define DVIT_TEST_KERNELS_GUARD_H

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum guard_side {
    GUARD_AFTER,  /* the array ends where the unmapped page begins: any alignment of a float */
    GUARD_BEFORE, /* the array begins right after an unmapped page */
    GUARD_SIDES
};

struct guarded {
    float *data;
    unsigned char *map;
    size_t map_bytes;
};

static inline struct guarded guard_new(size_t count, enum guard_side side)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = count * sizeof(float);
    size_t body = (bytes + page - 1) / page * page;
    struct guarded g = {.map_bytes = body + 2 * page};
    void *map = mmap(NULL, g.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        abort();
    g.map = map;
    if (mprotect(g.map, page, PROT_NONE) || mprotect(g.map + page + body, page, PROT_NONE))
        abort();
    g.data = (float *)(void *)(side == GUARD_AFTER ? g.map + page + body - bytes : g.map + page);
    for (size_t n = 0; n < count; n++)
        g.data[n] = NAN;
    return g;
}

static inline void guard_free(struct guarded *g)
{
    munmap(g->map, g->map_bytes);
    *g = (struct guarded){0};
}

#endif
