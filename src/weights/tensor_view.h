/* A tensor as a weight file holds it: a name, a type, a shape and borrowed little-endian bytes.
 * Every reader of weight files hands these out, whatever its format. */
#ifndef DVIT_WEIGHTS_TENSOR_VIEW_H
#define DVIT_WEIGHTS_TENSOR_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { DVIT_TENSOR_MAX_RANK = 8 };

enum dvit_dtype {
    DVIT_DTYPE_F64,
    DVIT_DTYPE_F32,
    DVIT_DTYPE_F16,
    DVIT_DTYPE_BF16,
    DVIT_DTYPE_I64,
    DVIT_DTYPE_I32,
    DVIT_DTYPE_I16,
    DVIT_DTYPE_I8,
    DVIT_DTYPE_U64,
    DVIT_DTYPE_U32,
    DVIT_DTYPE_U16,
    DVIT_DTYPE_U8,
    DVIT_DTYPE_BOOL, /* one byte, 0 or 1 */
    DVIT_DTYPE_COUNT
};

struct dvit_tensor_view {
    const char *name; /* UTF-8; from a file, so untrusted: print it through dvit_text_show */
    enum dvit_dtype dtype;
    int rank;                             /* 0 … DVIT_TENSOR_MAX_RANK; 0 is a scalar */
    uint64_t shape[DVIT_TENSOR_MAX_RANK]; /* row-major, slowest first */
    const void *data;                     /* [size_bytes], possibly unaligned */
    size_t size_bytes;
};

/* As safetensors spells it ("F32"); "?" for a value outside the enum. */
const char *dvit_dtype_name(enum dvit_dtype dtype);
/* Bytes of one element; 0 for a value outside the enum. */
size_t dvit_dtype_size(enum dvit_dtype dtype);
/* The type spelled `name`; false if there is none. */
bool dvit_dtype_parse(const char *name, enum dvit_dtype *out);

/* Product of shape[rank] (1 for rank 0); false when the extents other than 0,
 * times element_bytes, exceed PTRDIFF_MAX. */
bool dvit_shape_elements(const uint64_t *shape, int rank, size_t element_bytes, size_t *out);
/* "[1152,384]", at most capacity bytes, always terminated. */
void dvit_shape_format(const uint64_t *shape, int rank, char *text, size_t capacity);

/* Number of elements; a view from a reader is consistent, so this cannot fail. */
size_t dvit_tensor_elements(const struct dvit_tensor_view *view);

/* Converts F64, F32, F16 or BF16 to out [elements]; other types are DVIT_ERROR_UNSUPPORTED. F64
 * rounds to nearest; the others are exact. */
enum dvit_status dvit_tensor_to_f32(const struct dvit_tensor_view *view, float *out,
                                    struct dvit_error *error);
/* Converts any integer type or BOOL to out [elements]; other types are DVIT_ERROR_UNSUPPORTED, a
 * U64 above INT64_MAX is DVIT_ERROR_LIMIT. */
enum dvit_status dvit_tensor_to_i64(const struct dvit_tensor_view *view, int64_t *out,
                                    struct dvit_error *error);
/* Converts a tensor of any type to out [elements]: as dvit_tensor_to_f32 where it can, integers
 * rounded to nearest, booleans to 0 and 1. */
void dvit_tensor_round_f32(const struct dvit_tensor_view *view, float *out);

/* Converts in [count] to F32, F16 or BF16 at out, rounding to nearest, ties to even; other types
 * are DVIT_ERROR_UNSUPPORTED. *overflowed (may be NULL) counts finite numbers that became
 * infinite. NaN stays NaN. */
enum dvit_status dvit_tensor_from_f32(void *out /* [count · size] */, enum dvit_dtype dtype,
                                      const float *in, size_t count, size_t *overflowed,
                                      struct dvit_error *error);

#endif
