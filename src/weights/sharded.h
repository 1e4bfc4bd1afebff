/* The index of a sharded model: which file holds which tensor. */
#ifndef DVIT_WEIGHTS_SHARDED_H
#define DVIT_WEIGHTS_SHARDED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum {
    DVIT_SHARD_MAX_INDEX = 64 << 20, /* bytes of an index.json */
    DVIT_SHARD_MAX_TENSORS = 100000,
    DVIT_SHARD_MAX_FILES = 1000,
    DVIT_SHARD_MAX_NAME = 1024 /* bytes, of a tensor or a file */
};

struct dvit_shard_index;

struct dvit_shard_row {
    const char *tensor; /* UTF-8, unique */
    size_t file;        /* index among files */
};

/* Reads {"metadata": …, "weight_map": {tensor: file}}. File names with path separators are refused.
 * text[size_bytes] is borrowed for the call. Free with dvit_shard_index_free; *out is NULL on
 * failure. */
enum dvit_status dvit_shard_index_parse(struct dvit_shard_index **out, const void *text,
                                        size_t size_bytes, struct dvit_error *error);
void dvit_shard_index_free(struct dvit_shard_index *index); /* NULL is legal */

/* Whether text[size_bytes] begins as a JSON object does. */
bool dvit_shard_index_is(const unsigned char *text, size_t size_bytes);

/* Rows by tensor name, files by their name; borrowed, valid until free. */
size_t dvit_shard_index_count(const struct dvit_shard_index *index);
const struct dvit_shard_row *dvit_shard_index_row(const struct dvit_shard_index *index, size_t at);
size_t dvit_shard_index_file_count(const struct dvit_shard_index *index);
const char *dvit_shard_index_file(const struct dvit_shard_index *index, size_t at);

#endif
