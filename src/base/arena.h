/* One block of memory, carved by a layout function that runs twice: first to measure, then to hand
 * out. Writing the layout once makes "how much" and "where" the same fact.
 *
 *     static void layout(struct thing *t, struct dvit_arena *a) {
 *         t->x = dvit_arena_take(a, rows * width, sizeof *t->x);
 *     }
 *     struct dvit_arena a = {0};            // measuring: base is NULL, take() returns NULL
 *     layout(&t, &a);
 *     DVIT_TRY(dvit_arena_commit(&a, "thing", error));   // allocates what was measured
 *     layout(&t, &a);                       // handing out
 */
#ifndef DVIT_BASE_ARENA_H
#define DVIT_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum { DVIT_ALIGNMENT = 64 }; /* bytes: a cache line, and the widest vector */

struct dvit_arena {
    void *block;         /* owned */
    unsigned char *base; /* its first aligned byte; NULL while measuring */
    size_t size_bytes;   /* from base on */
    size_t used_bytes;
    bool overflow; /* a size did not fit in size_t; commit will refuse */
};

/* `count` elements of `element_bytes`, 64-byte aligned; NULL while measuring. Zero counts are legal
 * and take no space. */
void *dvit_arena_take(struct dvit_arena *arena, size_t count, size_t element_bytes);

/* Allocates (zero-filled) what was measured and rewinds. `what` names the owner in the error. Parts
 * that are never touched cost no memory: they are pages that the system has not handed out yet. */
enum dvit_status dvit_arena_commit(struct dvit_arena *arena, const char *what,
                                   struct dvit_error *error);

void dvit_arena_free(struct dvit_arena *arena);

/* Rounds up to DVIT_ALIGNMENT. */
size_t dvit_align_up(size_t bytes);

#endif
