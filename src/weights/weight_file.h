/* Files of tensors behind one face, for the rest of this room. The public half is dvit/weights.h.
 */
#ifndef DVIT_WEIGHTS_WEIGHT_FILE_H
#define DVIT_WEIGHTS_WEIGHT_FILE_H

#include "dvit/weights.h"
#include "weights/tensor_view.h"

/* The path of the file itself, also where its folder was named. Borrowed, valid until free. */
const char *dvit_weight_file_path(const struct dvit_weight_file *file);

/* Tensor `index` in the file's order; index < count. Borrowed, valid until free. Contiguous,
 * whatever strides the file had. */
const struct dvit_tensor_view *dvit_weight_file_view(const struct dvit_weight_file *file,
                                                     size_t index);
/* The tensor of this full name ("model/head.weight"), or NULL. */
const struct dvit_tensor_view *dvit_weight_file_find(const struct dvit_weight_file *file,
                                                     const char *name);
/* The value of this full name ("args/base_rate"; safetensors: the metadata's key), or NULL. */
const struct dvit_stored_value *dvit_weight_file_find_value(const struct dvit_weight_file *file,
                                                            const char *name);

#endif
