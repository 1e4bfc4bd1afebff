/* What the instructions of a pickle work on. */
#ifndef DVIT_WEIGHTS_PICKLE_MACHINE_H
#define DVIT_WEIGHTS_PICKLE_MACHINE_H

#include "weights/pickle.h"

struct dvit_machine {
    const unsigned char *data; /* [size_bytes] */
    size_t size_bytes, at;
    struct dvit_pool *pool;
    struct dvit_value **stack; /* [height] */
    size_t height, stack_capacity;
    uint32_t *marks; /* [mark_count] heights at which marks were set */
    size_t mark_count, mark_capacity;
    struct dvit_value ***memo; /* pages of entries */
    struct dvit_value *none, *truths[2], *empty_tuple;
    struct dvit_value *persistent; /* the last one made */
    struct dvit_error *error;
};

/* The error after a value could not be made. */
enum dvit_status dvit_machine_no_memory(struct dvit_machine *m);

/* A new value, with room for `count` items; NULL when the pool has no more. */
struct dvit_value *dvit_machine_make(struct dvit_machine *m, enum dvit_value_kind kind);
struct dvit_value *dvit_machine_make_items(struct dvit_machine *m, enum dvit_value_kind kind,
                                           size_t count);

/* Onto the stack; NULL is the error of a value that could not be made. */
enum dvit_status dvit_machine_push(struct dvit_machine *m, struct dvit_value *value);
/* Whether `count` values stand above the last mark; an error if not. */
enum dvit_status dvit_machine_need(struct dvit_machine *m, size_t count);
/* Only after dvit_machine_need. */
struct dvit_value *dvit_machine_pop(struct dvit_machine *m);
enum dvit_status dvit_machine_mark(struct dvit_machine *m);
/* Removes the last mark and the values above it, which stay readable until the next push. */
enum dvit_status dvit_machine_pop_mark(struct dvit_machine *m, struct dvit_value ***items,
                                       size_t *count);

/* The memo: keeps the top of the stack, which is there; pushes what was kept. */
enum dvit_status dvit_machine_put(struct dvit_machine *m, uint64_t index);
enum dvit_status dvit_machine_get(struct dvit_machine *m, uint64_t index);

/* Operands: bytes, a little-endian number, a name on a line of its own. */
enum dvit_status dvit_machine_take(struct dvit_machine *m, size_t count, const unsigned char **out);
enum dvit_status dvit_machine_take_number(struct dvit_machine *m, int width, uint64_t *out);
enum dvit_status dvit_machine_take_line(struct dvit_machine *m, size_t *length);

#endif
