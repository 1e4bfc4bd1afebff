/* Products of weights that are packed once, y = x·weightᵀ and what follows it in one pass: what
 * matmul_packed.c asks of a vector level.
 *
 * One layout for all types. A granule is 32 bits: one float, two bfloat16 or four bytes of
 * consecutive inputs. The weight is panels [outputs / 48][inputs / g][48] of granules of g inputs,
 * both counts rounded up, what is beyond the weight being 0. Rows of x are granules already, or
 * floats, of which a type that multiplies something smaller makes granules in scratch, a few rows
 * at a time. */
#ifndef DVIT_KERNELS_PACKED_PACKED_H
#define DVIT_KERNELS_PACKED_PACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/format.h"

enum {
    DVIT_PACKED_COLUMNS = 48, /* of a panel: three registers of AVX-512, six of AVX2 */
    DVIT_PACKED_ROWS = 256,   /* that scratch holds at a time */
    DVIT_PACKED_STEP_BYTES = 4 * DVIT_PACKED_COLUMNS, /* of a panel, one granule deep */
};

struct dvit_packed_job {
    size_t rows, outputs, inputs;
    const void *x;
    size_t x_stride; /* numbers */
    bool x_is_granules;
    struct dvit_quantised x_bytes; /* of 8 bits: what x's bytes are, or shall be */
    void *y;
    size_t y_stride;             /* numbers */
    struct dvit_format y_format; /* floats where there is a residual */
    const void *panels;          /* 64-byte aligned */
    const float *bias;           /* [outputs], or NULL */
    const float *residual;       /* [rows] of y_stride floats, or NULL */
    float factor;                /* of what is added to the residual */
    bool gelu, relu; /* at most one of these and a residual */
    /* of 8 bits */
    const float *scales; /* [outputs rounded up to 48]: weight = scale · byte */
    const int32_t *sums; /* [outputs rounded up to 48]: of the output's bytes */
    void *scratch;       /* dvit_packed_scratch_bytes, 64-byte aligned */
};

typedef void dvit_packed_product(const struct dvit_packed_job *job);

#if defined(DVIT_HAVE_X86)
dvit_packed_product dvit_packed_product_f32_avx2;
dvit_packed_product dvit_packed_product_f32_avx512;
dvit_packed_product dvit_packed_product_bf16_avx512;
dvit_packed_product dvit_packed_product_u8s8_avx512;
#endif

/* Granules of a panel's depth. */
static inline size_t dvit_packed_steps(size_t inputs, size_t granule)
{
    return (inputs + granule - 1) / granule;
}

/* Bytes of one row of granules in scratch: whole cache lines. */
static inline size_t dvit_packed_row_bytes(size_t inputs, size_t granule)
{
    return (4 * dvit_packed_steps(inputs, granule) + 63) / 64 * 64;
}

/* Of the rows as granules, where they have to be made. */
static inline size_t dvit_packed_scratch_bytes(size_t inputs, size_t granule)
{
    return granule == 1 ? 0 : DVIT_PACKED_ROWS * dvit_packed_row_bytes(inputs, granule);
}

#endif
