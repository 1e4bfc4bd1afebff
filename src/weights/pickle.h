/* Pickles as data: a machine that can build values, and nothing else.
 *
 * A pickle is a program. This machine knows the instructions that files of torch.save use (protocol
 * 2) and gives them no effect but a tree of inert values: naming a class or a function makes a
 * value that holds its name, calling one makes a value that holds what was called with what.
 * Nothing is ever imported, looked up or run. */
#ifndef DVIT_WEIGHTS_PICKLE_H
#define DVIT_WEIGHTS_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "weights/pool.h"

enum {
    DVIT_PICKLE_MAX_BYTES = 64 << 20,
    DVIT_PICKLE_MAX_MEMO = 4 << 20,  /* entries */
    DVIT_PICKLE_MAX_STACK = 1 << 20, /* values, and marks */
    DVIT_PICKLE_MAX_TEXT = 16 << 20, /* bytes */
    DVIT_PICKLE_MAX_GLOBAL = 512     /* bytes of a module's or a class's name */
};

enum dvit_value_kind {
    DVIT_VALUE_NONE,
    DVIT_VALUE_BOOL,       /* integer: 0 or 1 */
    DVIT_VALUE_INT,        /* integer */
    DVIT_VALUE_BIG,        /* bytes [count]: two's complement, little-endian, beyond 64 bits */
    DVIT_VALUE_FLOAT,      /* real */
    DVIT_VALUE_TEXT,       /* bytes [count]: UTF-8, may hold zeros, not terminated */
    DVIT_VALUE_BYTES,      /* bytes [count]: a text that is not UTF-8 */
    DVIT_VALUE_LIST,       /* items [count] */
    DVIT_VALUE_TUPLE,      /* items [count] */
    DVIT_VALUE_SET,        /* always empty: nothing that adds to one is understood */
    DVIT_VALUE_DICT,       /* items [2 · count]: key, value, … in the order they were set */
    DVIT_VALUE_GLOBAL,     /* bytes [count]: module, newline, name */
    DVIT_VALUE_OBJECT,     /* items [DVIT_OBJECT_PARTS] */
    DVIT_VALUE_PERSISTENT, /* items [2]: its id; the persistent value before it, or NULL */
};

/* What an object is made of. OrderedDict is a dict here, not an object. */
enum dvit_object_part {
    DVIT_OBJECT_CLASS,   /* a global, or another object */
    DVIT_OBJECT_ARGS,    /* a tuple */
    DVIT_OBJECT_STATE,   /* what BUILD gave it, or NULL */
    DVIT_OBJECT_CONTENT, /* a list or dict of what was added to it, or NULL */
    DVIT_OBJECT_PARTS
};

/* Values may be shared, and may contain themselves. */
struct dvit_value {
    uint32_t kind; /* enum dvit_value_kind */
    uint32_t count;
    union {
        int64_t integer;
        double real;
        const unsigned char *bytes; /* in the pickle */
        struct dvit_value **items;
    };
};

struct dvit_pickle {
    const struct dvit_value *root;
    const struct dvit_value *persistent; /* the last persistent value, or NULL */
    size_t size_bytes;                   /* of the pickle: what follows STOP is not looked at */
};

/* Runs data[size_bytes], which is borrowed and must outlive the values. They live in `pool`, which
 * also bounds the memory of the machine; on failure the pool's content is of no use. */
enum dvit_status dvit_pickle_read(struct dvit_pickle *out, const unsigned char *data,
                                  size_t size_bytes, struct dvit_pool *pool,
                                  struct dvit_error *error);

/* The name of an instruction that the machine refuses and the protocol it came with, or NULL. */
const char *dvit_pickle_opcode_name(unsigned char opcode, int *protocol);

/* Whether `value` is the class or function `name` of `module`. */
bool dvit_value_is_global(const struct dvit_value *value, const char *module, const char *name);
/* Whether `value` is the text `text`. */
bool dvit_value_is_text(const struct dvit_value *value, const char *text);

/* "module.name" of a global, or of the class of an object, escaped for display. */
struct dvit_value_class {
    char text[128];
};
struct dvit_value_class dvit_value_class_show(const struct dvit_value *value);

#endif
