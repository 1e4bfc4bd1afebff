/* Counts what the linked-in code allocates; single-threaded. */
#include "peak_memory.h"

#include <malloc.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *block);

static size_t now, peak, start;

static void *note(void *block)
{
    now += malloc_usable_size(block);
    if (now > peak)
        peak = now;
    return block;
}

void *__wrap_malloc(size_t size)
{
    return note(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return note(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    size_t before = malloc_usable_size(old);
    void *block = __real_realloc(old, size);
    if (block || size == 0)
        now -= before < now ? before : now;
    return note(block);
}

void __wrap_free(void *block)
{
    size_t size = malloc_usable_size(block);
    now -= size < now ? size : now; /* blocks of others may end here */
    __real_free(block);
}

void peak_memory_begin(void)
{
    start = now;
    peak = now;
}

size_t peak_memory_end(void)
{
    return peak - start;
}
