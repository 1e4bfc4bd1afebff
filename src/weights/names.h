/* Which tensors of a file are a model's weights, and what dvit calls them.
 *
 * Canonical names are those of the parameter table (models/parameters.h), which are those of the
 * published DeiT, DynamicViT, timm and LV-ViT files. Other naming schemes are one table each. */
#ifndef DVIT_WEIGHTS_NAMES_H
#define DVIT_WEIGHTS_NAMES_H

#include "weights/state_dict.h"

struct dvit_named_tensor {
    const struct dvit_tensor_view *view; /* borrowed; view->name is the full name in the file */
    char name[64];                       /* canonical; empty where there is none */
    int part, parts; /* which share of the parameter's rows: 0 of 1; q, k, v: 0, 1, 2 of 3 */
};

struct dvit_tensor_names {
    struct dvit_state_dict place;    /* where they lie, and by which scheme they are called */
    struct dvit_named_tensor *items; /* [count], by canonical name, then part */
    size_t count;
};

/* Sorts out `views` [count], which must outlive the names: those of the state dict that `choice`
 * means, by their canonical names. A head may stand beside the backbone, behind a shorter prefix.
 * What wrappers put into names ("_orig_mod.") is dropped. What a rule leaves out, and what lies
 * beside the state dict, becomes a note. Where no state dict is found, all tensors are listed.
 * Freed with dvit_tensor_names_free; empty on failure. */
enum dvit_status dvit_tensor_names_create(struct dvit_tensor_names *out,
                                          const struct dvit_tensor_view *const *views, size_t count,
                                          const struct dvit_state_choice *choice,
                                          struct dvit_notes *notes, struct dvit_error *error);
void dvit_tensor_names_free(struct dvit_tensor_names *names);

/* Index of the first tensor of this canonical name (parts of one follow each other), or count. */
size_t dvit_tensor_names_lookup(const struct dvit_tensor_names *names, const char *name);
/* The tensor that holds all of `name` or its first part, or NULL. */
const struct dvit_tensor_view *dvit_tensor_names_find(const struct dvit_tensor_names *names,
                                                      const char *name);
/* One more than the largest n of the names that begin with "<prefix>n."; 0 without any. */
int dvit_tensor_names_indices(const struct dvit_tensor_names *names, const char *prefix);

#endif
