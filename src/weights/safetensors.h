/* safetensors files: a strict reader and an atomic writer.
 *
 * The reader accepts what the format's reference accepts, less: duplicate keys, unknown keys in a
 * tensor's entry, types without a dvit_dtype, and anything beyond the caps below are refused with
 * the file's and the tensor's name. A file that loads has been checked whole: every view lies
 * inside the file, no byte of data is uncovered or covered twice. */
#ifndef DVIT_WEIGHTS_SAFETENSORS_H
#define DVIT_WEIGHTS_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "weights/tensor_view.h"

enum {
    DVIT_SAFETENSORS_MAX_HEADER = 100000000, /* bytes, as the reference */
    DVIT_SAFETENSORS_MAX_TENSORS = 100000,
    DVIT_SAFETENSORS_MAX_NAME = 1024,      /* bytes */
    DVIT_SAFETENSORS_MAX_METADATA = 100000 /* entries */
};

struct dvit_safetensors;

/* Opens and checks a file; its bytes are kept as weights/file_bytes.h says. Free with
 * dvit_safetensors_free; *out is NULL on failure. */
enum dvit_status dvit_safetensors_load(struct dvit_safetensors **out, const char *path,
                                       struct dvit_error *error);

/* The same checks on size_bytes of memory, which is borrowed and must outlive *out. `name` stands
 * for the file's name in errors. */
enum dvit_status dvit_safetensors_parse(struct dvit_safetensors **out, const void *data,
                                        size_t size_bytes, const char *name,
                                        struct dvit_error *error);

void dvit_safetensors_free(struct dvit_safetensors *file);

size_t dvit_safetensors_count(const struct dvit_safetensors *file);
/* Tensor `index` in the order of the data; index < count. Borrowed, valid until free. */
const struct dvit_tensor_view *dvit_safetensors_view(const struct dvit_safetensors *file,
                                                     size_t index);
/* The tensor called `name`, or NULL. Borrowed, valid until free. */
const struct dvit_tensor_view *dvit_safetensors_find(const struct dvit_safetensors *file,
                                                     const char *name);

/* The string under `key` in __metadata__, or NULL. Borrowed, valid until free. */
const char *dvit_safetensors_metadata(const struct dvit_safetensors *file, const char *key);

/* What the writer takes. Everything is borrowed for the call. */
struct dvit_safetensors_entry {
    const char *name; /* UTF-8, unique, at most DVIT_SAFETENSORS_MAX_NAME bytes */
    enum dvit_dtype dtype;
    int rank;
    uint64_t shape[DVIT_TENSOR_MAX_RANK];
    const void *data; /* row-major elements; may be NULL where there are none */
};
struct dvit_safetensors_pair {
    const char *key; /* UTF-8, unique */
    const char *value;
};

/* Number of entries in __metadata__; all of them, borrowed, to out [that number]. */
size_t dvit_safetensors_metadata_count(const struct dvit_safetensors *file);
void dvit_safetensors_metadata_list(const struct dvit_safetensors *file,
                                    struct dvit_safetensors_pair *out);

/* Writes `path` completely or not at all. The bytes depend only on the content, not on the order of
 * the arguments: tensors by element width (widest first, so that all are aligned), then name;
 * metadata by key, with "format":"pt" added unless given. */
enum dvit_status dvit_safetensors_write(const char *path,
                                        const struct dvit_safetensors_entry *entries, size_t count,
                                        const struct dvit_safetensors_pair *metadata,
                                        size_t metadata_count, struct dvit_error *error);

#endif
