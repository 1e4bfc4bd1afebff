/* How a linear layer of 8 bits lies in a file: its weight as bytes, and beside it the tensors
 * <layer>.weight_scale, <layer>.input_scale and <layer>.input_zero_point (see dvit_model_save). */
#ifndef DVIT_WEIGHTS_QUANTISED_H
#define DVIT_WEIGHTS_QUANTISED_H

#include "models/model.h"
#include "weights/names.h"
#include "weights/safetensors.h"

enum { DVIT_QUANTISED_SCALES = 3 /* tensors beside a weight of bytes */ };

/* ---- reading ---- */

/* What belongs beside the weight `item`: its canonical name, type and shape. `which` is below
 * DVIT_QUANTISED_SCALES. */
struct dvit_quantised_part {
    char name[96];
    enum dvit_dtype dtype;
    uint64_t elements; /* of its one dimension */
};
struct dvit_quantised_part dvit_quantised_part(const struct dvit_parameter *item, int which);

/* Whether a view is what belongs there. */
bool dvit_quantised_fits(const struct dvit_tensor_view *view,
                         const struct dvit_quantised_part *part);

/* Weights [count] and the calibration from a weight of bytes and what belongs beside it, all of
 * which fit. Numbers that are no scales, and the byte −128, are errors that name the tensor. */
enum dvit_status dvit_quantised_read(const struct dvit_tensor_names *names,
                                     const struct dvit_parameter *item, float *weights,
                                     struct dvit_quantised *input, struct dvit_error *error);

/* ---- writing ---- */

/* Replaces the entries of calibrated layers [parameters] by bytes and appends what belongs beside
 * them; `entries` and `names` have room for 1 + DVIT_QUANTISED_SCALES per parameter. *count becomes
 * the number of entries, *block (malloc'ed) what they point to. */
enum dvit_status dvit_quantised_entries(const struct dvit_model *model,
                                        struct dvit_safetensors_entry *entries, char (*names)[96],
                                        size_t *count, void **block, struct dvit_error *error);

#endif
