/* The memory planner: gives each buffer an offset such that buffers alive at the same time do not
 * overlap, and the total is small. Computed before anything runs. */
#ifndef DVIT_GRAPH_MEMORY_H
#define DVIT_GRAPH_MEMORY_H

#include <stddef.h>

#include "base/error.h"

struct dvit_buffer {
    size_t size_bytes;
    int first, last; /* steps at which it is alive, inclusive; first > last: never */
    size_t offset;   /* result, 64-byte aligned */
};

/* Fills the offsets; *total_bytes is the arena's size. Largest buffers are placed first, each at
 * the lowest offset free for its whole life. */
enum dvit_status dvit_memory_plan(struct dvit_buffer *buffers, int count, size_t *total_bytes,
                                  struct dvit_error *error);

#endif
