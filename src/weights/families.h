/* Kinds of models, told by the names of their tensors and by config.json: one sentence for each.
 * Consulted when a file does not become a model, before its tensors are listed. */
#ifndef DVIT_WEIGHTS_FAMILIES_H
#define DVIT_WEIGHTS_FAMILIES_H

#include "base/error.h"
#include "weights/tensor_view.h"

enum { DVIT_FAMILY_TENSORS = 2 };

/* What a config.json calls the model; empty where it does not. */
struct dvit_stated_kind {
    char model_type[64];   /* transformers' */
    char architecture[96]; /* timm's, else the first of transformers' "architectures" */
};

/* Reads them; of what is no JSON or has other types, nothing. */
void dvit_stated_kind_read(struct dvit_stated_kind *out, const void *text, size_t size_bytes);

struct dvit_family {
    const char *what; /* "a DINOv2 with register tokens" */
    /* All of these are there, as whole parts of a name: '#' is a number, '.' also a file's '/'. */
    const char *tensors[DVIT_FAMILY_TENSORS];
    const char *absent;     /* and nothing of this name; NULL: no matter */
    const char *model_type; /* config.json's, or the beginning of its architecture; NULL: none */
    const char *advice;     /* what to do instead; NULL: nothing */
    bool supported;
};

/* Row `index` of the table, NULL past the last. */
const struct dvit_family *dvit_family_get(size_t index);
/* The first row whose tensors are there; where there is none, the first of the model type. NULL:
 * nothing is known about it. `kind` may be zero. */
const struct dvit_family *dvit_family_find(const struct dvit_tensor_view *const *views,
                                           size_t count, const struct dvit_stated_kind *kind);

/* Where the table has an unsupported row for it: its sentence as the error, UNSUPPORTED. Else
 * `status` and the error as they are. */
enum dvit_status dvit_family_explain(const struct dvit_tensor_view *const *views, size_t count,
                                     const struct dvit_stated_kind *kind, enum dvit_status status,
                                     struct dvit_error *error);

#endif
