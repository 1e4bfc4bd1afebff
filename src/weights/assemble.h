/* From the named tensors of a file to the weights of a model. */
#ifndef DVIT_WEIGHTS_ASSEMBLE_H
#define DVIT_WEIGHTS_ASSEMBLE_H

#include "models/model.h"
#include "weights/names.h"

struct dvit_assembly {
    const struct dvit_tensor_names *names;
    const struct dvit_config *stored; /* what the file holds */
    bool new_heads;                   /* heads are not read: they may be missing or of any shape */
    bool bare_positions;              /* positions lack the prefix tokens' rows, which then are 0 */
    bool antialiased;                 /* positions are interpolated as timm does */
    bool foreign;                     /* the patch embedding may be a matrix */
    void (*problem)(void *context, const char *sentence); /* may be NULL */
    void *context;
};

/* Whether the tensors are exactly those of `stored`: `problem` hears of each that is missing,
 * unexpected, of another shape or no float; the error (MISMATCH) counts them and names as many as
 * fit. Allocates nothing in proportion to what the file claims. */
enum dvit_status dvit_assembly_check(const struct dvit_assembly *assembly,
                                     struct dvit_error *error);

/* Reads what was checked into `model`, which is `stored` but for image size, and for classes where
 * heads are new; positions are interpolated. */
enum dvit_status dvit_assembly_read(const struct dvit_assembly *assembly, struct dvit_model *model,
                                    struct dvit_error *error);

#endif
