/* The two forms of PyTorch files: how each finds its pickle and its storages. */
#ifndef DVIT_WEIGHTS_TORCH_FORM_H
#define DVIT_WEIGHTS_TORCH_FORM_H

#include "weights/torch_tensor.h"

/* An opened form: the object's pickle has been run, storages can be found. Values live in the
 * caller's pool, data is borrowed. */
struct dvit_torch_form {
    const struct dvit_value *root;
    struct dvit_torch_source source;
    void (*free_context)(void *context);
};

enum dvit_status dvit_torch_zip_open(struct dvit_torch_form *out, const unsigned char *data,
                                     size_t size_bytes, struct dvit_pool *pool,
                                     struct dvit_error *error);
enum dvit_status dvit_torch_legacy_open(struct dvit_torch_form *out, const unsigned char *data,
                                        size_t size_bytes, struct dvit_pool *pool,
                                        struct dvit_error *error);

#endif
