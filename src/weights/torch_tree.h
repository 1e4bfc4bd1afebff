/* From a tree of inert values to lists of tensors and of other leaves, each under its path. */
#ifndef DVIT_WEIGHTS_TORCH_TREE_H
#define DVIT_WEIGHTS_TORCH_TREE_H

#include "weights/torch_file.h"
#include "weights/torch_tensor.h"

/* A tensor whose elements have yet to be brought together. */
struct dvit_torch_scattered {
    size_t index; /* among tensors */
    struct dvit_torch_tensor tensor;
};

struct dvit_torch_file {
    struct dvit_pool pool; /* owns all that follows */
    struct dvit_tensor_view *tensors;
    size_t tensor_count;
    struct dvit_stored_value *values;
    size_t value_count;
    struct dvit_torch_scattered *scattered;
    size_t scattered_count;
};

/* Fills the lists from `root`. Values may contain themselves or be shared a thousand times over:
 * depth, visits and memory are bounded. */
enum dvit_status dvit_torch_tree_list(struct dvit_torch_file *file, const struct dvit_value *root,
                                      const struct dvit_torch_source *source,
                                      struct dvit_error *error);

#endif
