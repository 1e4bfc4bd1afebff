/* A bounded pool: blocks carved from the front. Small requests share blocks; one that is larger
 * than a block gets its own. Nothing is given back singly. */
#include "weights/pool.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 64 << 10, ALIGNMENT = 8, FIRST_CAPACITY = 4 };

struct dvit_pool_block {
    struct dvit_pool_block *next;
    size_t size_bytes, used_bytes; /* of data */
    alignas(16) unsigned char data[];
};

static struct dvit_pool_block *add_block(struct dvit_pool *pool, size_t size_bytes)
{
    size_t room = pool->limit_bytes - pool->used_bytes, header = sizeof(struct dvit_pool_block);
    pool->exhausted = room < header || size_bytes > room - header;
    if (pool->exhausted)
        return NULL;
    size_t wanted = size_bytes < BLOCK_BYTES ? BLOCK_BYTES : size_bytes;
    if (wanted > room - header)
        wanted = room - header;
    struct dvit_pool_block *block = calloc(1, header + wanted);
    if (!block)
        return NULL;
    block->size_bytes = wanted;
    pool->used_bytes += header + wanted;
    /* A block of one large piece is full from the start: the open one stays in front. */
    if (size_bytes >= BLOCK_BYTES && pool->blocks) {
        block->next = pool->blocks->next;
        pool->blocks->next = block;
    } else {
        block->next = pool->blocks;
        pool->blocks = block;
    }
    return block;
}

void *dvit_pool_take(struct dvit_pool *pool, size_t count, size_t element_bytes)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, element_bytes, &bytes) || bytes > SIZE_MAX - ALIGNMENT)
        return NULL;
    bytes = bytes ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
    struct dvit_pool_block *block = pool->blocks;
    if (!block || bytes > block->size_bytes - block->used_bytes)
        block = add_block(pool, bytes);
    if (!block)
        return NULL;
    void *piece = block->data + block->used_bytes;
    block->used_bytes += bytes;
    return piece;
}

void *dvit_pool_grow(struct dvit_pool *pool, void *items, size_t count, size_t element_bytes)
{
    if (count == 0)
        return dvit_pool_take(pool, FIRST_CAPACITY, element_bytes);
    if (count < FIRST_CAPACITY || (count & (count - 1)) != 0)
        return items;
    void *larger = count > SIZE_MAX / 2 ? NULL : dvit_pool_take(pool, 2 * count, element_bytes);
    if (larger)
        memcpy(larger, items, count * element_bytes);
    return larger;
}

char *dvit_pool_text(struct dvit_pool *pool, const void *text, size_t length)
{
    char *copy = length == SIZE_MAX ? NULL : dvit_pool_take(pool, length + 1, 1);
    if (copy && length)
        memcpy(copy, text, length);
    return copy;
}

enum dvit_status dvit_pool_failed(const struct dvit_pool *pool, struct dvit_error *error)
{
    if (!pool->exhausted)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "out of memory");
    return dvit_error_set(
        error, DVIT_ERROR_LIMIT,
        "describes more than a file of its size may: it takes more than %zu bytes "
        "of memory",
        pool->limit_bytes);
}

void dvit_pool_free(struct dvit_pool *pool)
{
    while (pool->blocks) {
        struct dvit_pool_block *next = pool->blocks->next;
        free(pool->blocks);
        pool->blocks = next;
    }
    pool->used_bytes = 0;
}
