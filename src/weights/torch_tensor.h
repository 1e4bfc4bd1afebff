/* From inert values to tensors: what torch.save makes of a tensor and of a storage. */
#ifndef DVIT_WEIGHTS_TORCH_TENSOR_H
#define DVIT_WEIGHTS_TORCH_TENSOR_H

#include "weights/pickle.h"
#include "weights/tensor_view.h"

/* The persistent id ('storage', class, key, location, elements[, view]). */
struct dvit_torch_storage {
    const char *class_name; /* "FloatStorage" */
    bool has_dtype;         /* one of ours; otherwise only its element size is known */
    enum dvit_dtype dtype;
    size_t element_bytes;
    const unsigned char *key; /* [key_bytes] */
    size_t key_bytes;
    size_t elements;                  /* × element_bytes ≤ PTRDIFF_MAX */
    bool has_view;                    /* legacy: a part of the storage stands for it */
    size_t view_begin, view_elements; /* inside elements */
};

/* Reads the id of a persistent value. DVIT_ERROR_UNSUPPORTED for what is not a storage, or of a
 * class whose element size is unknown. */
enum dvit_status dvit_torch_storage_parse(struct dvit_torch_storage *out,
                                          const struct dvit_value *persistent,
                                          struct dvit_error *error);

/* Where storages lie: one such function per form of file. */
struct dvit_torch_source {
    void *context;
    /* Bytes [elements · element_bytes] of the storage, without regard to its view. */
    enum dvit_status (*find)(void *context, const struct dvit_torch_storage *storage,
                             const unsigned char **out, struct dvit_error *error);
};

struct dvit_torch_tensor {
    enum dvit_dtype dtype;
    int rank;
    uint64_t shape[DVIT_TENSOR_MAX_RANK];
    uint64_t stride[DVIT_TENSOR_MAX_RANK]; /* elements */
    const unsigned char *data;             /* the first element */
    size_t elements;
    bool is_contiguous; /* row-major without gaps: data [elements] is the tensor */
};

/* What an object is. Tensors of types that dvit does not have are seen as such. */
enum dvit_torch_kind { DVIT_TORCH_NOT_TENSOR, DVIT_TORCH_TENSOR, DVIT_TORCH_FOREIGN_TENSOR };
/* Fills *out for DVIT_TORCH_TENSOR: every element lies inside the storage, no two share a place.
 * A tensor that lies about its storage is an error. */
enum dvit_status dvit_torch_tensor_parse(enum dvit_torch_kind *kind, struct dvit_torch_tensor *out,
                                         const struct dvit_value *object,
                                         const struct dvit_torch_source *source,
                                         struct dvit_error *error);

/* Row-major elements of a tensor whose strides say otherwise, to out [elements · size]. */
void dvit_torch_tensor_copy(const struct dvit_torch_tensor *tensor, unsigned char *out);

#endif
