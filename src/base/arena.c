/* Arena: measure, allocate once, hand out. No freeing of parts, no growth. */
#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/free_memory.h"

enum { GIGABYTE = 1000000000 };

size_t dvit_align_up(size_t bytes)
{
    return (bytes + DVIT_ALIGNMENT - 1) & ~(size_t)(DVIT_ALIGNMENT - 1);
}

void *dvit_arena_take(struct dvit_arena *arena, size_t count, size_t element_bytes)
{
    size_t limit = SIZE_MAX - DVIT_ALIGNMENT - arena->used_bytes;
    if (element_bytes && count > limit / element_bytes) {
        arena->overflow = true;
        return NULL;
    }
    size_t offset = arena->used_bytes;
    arena->used_bytes = offset + dvit_align_up(count * element_bytes);
    if (!arena->base || arena->used_bytes > arena->size_bytes)
        return NULL;
    return arena->base + offset;
}

enum dvit_status dvit_arena_commit(struct dvit_arena *arena, const char *what,
                                   struct dvit_error *error)
{
    if (arena->overflow)
        return dvit_error_set(error, DVIT_ERROR_LIMIT, "%s: size exceeds the address space", what);
    size_t size = arena->used_bytes ? arena->used_bytes : DVIT_ALIGNMENT;
    if (dvit_memory_check(size, what, error) != DVIT_OK)
        return DVIT_ERROR_MEMORY;
    arena->block = size > SIZE_MAX - DVIT_ALIGNMENT ? NULL : calloc(1, size + DVIT_ALIGNMENT);
    if (!arena->block)
        return size < GIGABYTE / 10
                   ? dvit_error_set(error, DVIT_ERROR_MEMORY, "%s: out of memory for %zu bytes",
                                    what, size)
                   : dvit_error_set(error, DVIT_ERROR_MEMORY, "%s: out of memory for %.2f GB", what,
                                    (double)size / GIGABYTE);
    arena->base = (unsigned char *)dvit_align_up((uintptr_t)arena->block);
    arena->size_bytes = size;
    arena->used_bytes = 0;
    return DVIT_OK;
}

void dvit_arena_free(struct dvit_arena *arena)
{
    free(arena->block);
    *arena = (struct dvit_arena){0};
}
