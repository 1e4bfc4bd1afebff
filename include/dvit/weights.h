/* Files of tensors, whatever their format: what is inside, without making a model of it.
 *
 * Recognised by content, never by name: safetensors; a sharded model's index.json; PyTorch's zip
 * and legacy files. Pickles are read into inert data: nothing in a file is ever called. A file that
 * opens has been checked whole. */
#ifndef DVIT_WEIGHTS_H
#define DVIT_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "dvit/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dvit_weight_file;

/* `path` may be a folder that holds model.safetensors, pytorch_model.bin or the index.json of
 * either, or a run folder, which stands for its best.safetensors. Caller frees. *out is NULL on
 * failure. */
DVIT_API enum dvit_status dvit_weight_file_open(struct dvit_weight_file **out, const char *path,
                                                struct dvit_error *error);
DVIT_API void dvit_weight_file_free(struct dvit_weight_file *file); /* NULL is legal */

/* "safetensors", "PyTorch zip", "PyTorch legacy", "sharded safetensors" or "sharded PyTorch". */
DVIT_API const char *dvit_weight_file_format(const struct dvit_weight_file *file);

/* A tensor. Where a file nests dictionaries, the name is the path of keys with '/' between them:
 * "model/blocks.0.attn.qkv.weight", "optimizer/state/0/exp_avg". Names come from the file:
 * untrusted UTF-8. */
struct dvit_stored_tensor {
    const char *name;
    const char *dtype; /* as safetensors spells it: "F32", "BF16", "I64", … */
    int rank;          /* 0 … 8 */
    uint64_t shape[8]; /* row-major, slowest first */
    size_t elements;
    size_t size_bytes;
};
DVIT_API size_t dvit_weight_file_tensor_count(const struct dvit_weight_file *file);
/* index < count. Borrowed, valid until free. */
DVIT_API struct dvit_stored_tensor dvit_weight_file_tensor(const struct dvit_weight_file *file,
                                                           size_t index);
/* Converts tensor `index` to out [elements]. Integers and booleans too; 64-bit ones beyond float's
 * precision round. */
DVIT_API enum dvit_status dvit_weight_file_read(const struct dvit_weight_file *file, size_t index,
                                                float *out, struct dvit_error *error);

/* Whatever else the file holds, one line per leaf: numbers, texts, None, objects of foreign
 * classes (inert), tensors of types that dvit does not have; a safetensors file's metadata. Lists
 * of more than 16 leaves are one line, tensors in them apart. What an object holds follows its
 * line, under its name. Of a sharded model there are no values. */
struct dvit_stored_value {
    const char *name; /* "args/base_rate", "epoch", "optimizer/param_groups/0/lr" */
    const char *kind; /* "float", "int", "bool", "text", "none", "list", "object" */
    /* Untrusted UTF-8: "0.7"; bool "true" or "false"; none "None"; of a list its length ("[]", "{}"
     * when empty); of an object its class's name. */
    const char *text;
};
DVIT_API size_t dvit_weight_file_value_count(const struct dvit_weight_file *file);
DVIT_API struct dvit_stored_value dvit_weight_file_value(const struct dvit_weight_file *file,
                                                         size_t index);

#ifdef __cplusplus
}
#endif
#endif
