/* Files of torch.save, in the zip form and in the legacy form that went before it: tensors by the
 * path of keys that leads to them, and all other contents as inert values.
 *
 * Memory: what is made of a file never exceeds the file's size + DVIT_TORCH_SPARE, whatever it
 * says; the file itself is borrowed. */
#ifndef DVIT_WEIGHTS_TORCH_FILE_H
#define DVIT_WEIGHTS_TORCH_FILE_H

#include "dvit/weights.h"
#include "weights/tensor_view.h"

enum {
    DVIT_TORCH_SPARE = 48 << 20,     /* bytes */
    DVIT_TORCH_MAX_NESTING = 100,    /* levels */
    DVIT_TORCH_MAX_VISITS = 4 << 20, /* values looked at, shared ones each time */
    DVIT_TORCH_MAX_TENSORS = 100000,
    DVIT_TORCH_MAX_VALUES = 1 << 20,
    DVIT_TORCH_MAX_NAME = 1024,     /* bytes of a path */
    DVIT_TORCH_MAX_LIST_LEAVES = 16 /* a longer list is one value */
};

struct dvit_torch_file;

/* Whether data[size_bytes] begins as a legacy file does. */
bool dvit_torch_is_legacy(const unsigned char *data, size_t size_bytes);

/* Reads a zip (by its first bytes) or a legacy file. data[size_bytes] is borrowed and must outlive
 * *out. Free with dvit_torch_file_free; *out is NULL on failure. Errors do not name the file. */
enum dvit_status dvit_torch_file_parse(struct dvit_torch_file **out, const unsigned char *data,
                                       size_t size_bytes, struct dvit_error *error);
void dvit_torch_file_free(struct dvit_torch_file *file); /* NULL is legal */

/* Arrays of the counts' lengths, in the file's order; borrowed, valid until free. Names of tensors
 * are unique. */
const struct dvit_tensor_view *dvit_torch_file_tensors(const struct dvit_torch_file *file,
                                                       size_t *count);
const struct dvit_stored_value *dvit_torch_file_values(const struct dvit_torch_file *file,
                                                       size_t *count);

#endif
