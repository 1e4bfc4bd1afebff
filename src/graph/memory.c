/* Greedy-by-size placement (Pisarchyk & Lee 2020): near the lower bound for chains of layers. */
#include "graph/memory.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/arena.h"

static bool overlap_in_time(const struct dvit_buffer *a, const struct dvit_buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Lowest offset where `buffer` fits among the `count` already placed, sorted by offset. */
static size_t lowest_gap(const struct dvit_buffer *buffer, struct dvit_buffer *const *placed,
                         int count)
{
    size_t offset = 0;
    for (int i = 0; i < count; i++) {
        if (!overlap_in_time(buffer, placed[i]))
            continue;
        if (placed[i]->offset >= offset + buffer->size_bytes)
            break; /* the gap before it is wide enough */
        size_t end = placed[i]->offset + dvit_align_up(placed[i]->size_bytes);
        if (end > offset)
            offset = end;
    }
    return offset;
}

static int larger_first(const void *a, const void *b)
{
    const struct dvit_buffer *x = *(struct dvit_buffer *const *)a;
    const struct dvit_buffer *y = *(struct dvit_buffer *const *)b;
    if (x->size_bytes != y->size_bytes)
        return x->size_bytes < y->size_bytes ? 1 : -1;
    return (x > y) - (x < y); /* a total order, so that plans do not depend on qsort */
}

enum dvit_status dvit_memory_plan(struct dvit_buffer *buffers, int count, size_t *total_bytes,
                                  struct dvit_error *error)
{
    struct dvit_buffer **order = calloc((size_t)count + 1, sizeof *order);
    struct dvit_buffer **placed = calloc((size_t)count + 1, sizeof *placed);
    *total_bytes = 0;
    if (!order || !placed) {
        free(order);
        free(placed);
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "memory plan: out of memory");
    }
    for (int i = 0; i < count; i++)
        order[i] = &buffers[i];
    qsort(order, (size_t)count, sizeof *order, larger_first);
    int placed_count = 0;
    for (int i = 0; i < count; i++) {
        struct dvit_buffer *buffer = order[i];
        buffer->offset = 0;
        if (buffer->first > buffer->last)
            continue;
        buffer->offset = lowest_gap(buffer, placed, placed_count);
        int at = placed_count++;
        for (; at > 0 && placed[at - 1]->offset > buffer->offset; at--)
            placed[at] = placed[at - 1];
        placed[at] = buffer;
        size_t end = buffer->offset + dvit_align_up(buffer->size_bytes);
        if (end > *total_bytes)
            *total_bytes = end;
    }
    free(order);
    free(placed);
    return DVIT_OK;
}
