/* Memory for what an untrusted file describes: taken piece by piece, given back at once, and never
 * more than a limit fixed beforehand. */
#ifndef DVIT_WEIGHTS_POOL_H
#define DVIT_WEIGHTS_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct dvit_pool_block;

struct dvit_pool {
    struct dvit_pool_block *blocks; /* newest first */
    size_t limit_bytes;             /* of all blocks together, their headers included */
    size_t used_bytes;              /* ≤ limit_bytes */
    bool exhausted;                 /* the last block asked for did not fit */
};

/* A pool owns nothing until the first take: struct dvit_pool pool = {.limit_bytes = …}. */

/* `count` elements of `element_bytes`, zeroed, aligned for any scalar. NULL when the limit is
 * reached or memory is out: dvit_pool_failed says which. */
void *dvit_pool_take(struct dvit_pool *pool, size_t count, size_t element_bytes);

/* An array of `count` elements that has to hold one more. Capacities are 0, 4, 8, 16, …, so the
 * count tells when to grow, as long as it never falls; what is outgrown stays in the pool. NULL as
 * dvit_pool_take. */
void *dvit_pool_grow(struct dvit_pool *pool, void *items, size_t count, size_t element_bytes);

/* A terminated copy of text[length]; NULL as dvit_pool_take. */
char *dvit_pool_text(struct dvit_pool *pool, const void *text, size_t length);

/* Sets the error after a NULL: DVIT_ERROR_LIMIT or DVIT_ERROR_MEMORY. */
enum dvit_status dvit_pool_failed(const struct dvit_pool *pool, struct dvit_error *error);

void dvit_pool_free(struct dvit_pool *pool);

#endif
