/* Template: the small matrix product inside attention, register-blocked. Not a general one: columns
 * are whole vectors of padded scratch, sizes are those of one head. Both operands are granules along
 * the depth (README.md), which is counted in them. */
#ifndef DVIT_KERNELS_VECTOR_PRODUCT_H
#define DVIT_KERNELS_VECTOR_PRODUCT_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/vector/unroll.h"

/* The depth of b that is used while it is in the first-level cache. */
enum { PRODUCT_DEPTH = 96 };

/* The left operand, of any two strides: [m][k] is at data[m·row + k·step]. */
struct product_left {
    const float *data;
    size_t row, step;
};

/* c[rows][vecs] (+)= a·b; rows and vecs are constants once inlined, so that acc stays in registers.
 */
ALWAYS_INLINE void product_tile(float *c, size_t c_stride, struct product_left a, const float *b,
                                size_t b_stride, size_t depth, bool accumulate, const int rows,
                                const int vecs)
{
    vec acc[PRODUCT_ROWS][PRODUCT_VECS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vecs; v++)
            acc[r][v] =
                accumulate ? vec_load(c + (size_t)r * c_stride + v * VEC_WIDTH) : vec_set(0);
    }
    for (size_t k = 0; k < depth; k++) {
        vec right[PRODUCT_VECS];
        UNROLL
        for (int v = 0; v < vecs; v++)
            right[v] = vec_load(b + v * VEC_WIDTH);
        UNROLL
        for (int r = 0; r < rows; r++) {
            vec left = vec_set(a.data[(size_t)r * a.row]);
            UNROLL
            for (int v = 0; v < vecs; v++)
                acc[r][v] = multiply_add(left, right[v], acc[r][v]);
        }
        a.data += a.step;
        b += b_stride;
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vecs; v++)
            vec_store(c + (size_t)r * c_stride + v * VEC_WIDTH, acc[r][v]);
    }
}

/* All rows of one column block. */
ALWAYS_INLINE void product_column(float *c, size_t c_stride, struct product_left a, const float *b,
                                  size_t b_stride, size_t rows, size_t depth, bool accumulate,
                                  const int vecs)
{
    size_t r = 0;
    for (; r + PRODUCT_ROWS <= rows; r += PRODUCT_ROWS) {
        product_tile(c, c_stride, a, b, b_stride, depth, accumulate, PRODUCT_ROWS, vecs);
        c += PRODUCT_ROWS * c_stride;
        a.data += PRODUCT_ROWS * a.row;
    }
    switch (rows - r) {
    case 5:
        product_tile(c, c_stride, a, b, b_stride, depth, accumulate, 5, vecs);
        break;
    case 4:
        product_tile(c, c_stride, a, b, b_stride, depth, accumulate, 4, vecs);
        break;
    case 3:
        product_tile(c, c_stride, a, b, b_stride, depth, accumulate, 3, vecs);
        break;
    case 2:
        product_tile(c, c_stride, a, b, b_stride, depth, accumulate, 2, vecs);
        break;
    case 1:
        product_tile(c, c_stride, a, b, b_stride, depth, accumulate, 1, vecs);
        break;
    default:
        break;
    }
}

static void product_block(float *c, size_t c_stride, struct product_left a, const float *b,
                          size_t b_stride, size_t rows, size_t vecs, size_t depth, bool accumulate)
{
    if (vecs == 1)
        product_column(c, c_stride, a, b, b_stride, rows, depth, accumulate, 1);
    else if (vecs == 2)
        product_column(c, c_stride, a, b, b_stride, rows, depth, accumulate, 2);
#if PRODUCT_VECS > 2
    else if (vecs == 3)
        product_column(c, c_stride, a, b, b_stride, rows, depth, accumulate, 3);
    else
        product_column(c, c_stride, a, b, b_stride, rows, depth, accumulate, 4);
#endif
}

/* c[rows][columns] (+)= a[rows][depth]·b[depth][columns]; columns: a multiple of VEC_WIDTH, and all
 * of them readable in b and writable in c. */
static void product(float *c, size_t c_stride, struct product_left a, const float *b,
                    size_t b_stride, size_t rows, size_t columns, size_t depth, bool accumulate)
{
    const size_t block = PRODUCT_VECS * VEC_WIDTH;
    for (size_t k = 0; k < depth; k += PRODUCT_DEPTH) {
        size_t part = depth - k < PRODUCT_DEPTH ? depth - k : PRODUCT_DEPTH;
        struct product_left from = {a.data + k * a.step, a.row, a.step};
        for (size_t n = 0; n < columns; n += block) {
            size_t vecs = (columns - n < block ? columns - n : block) / VEC_WIDTH;
            product_block(c + n, c_stride, from, b + k * b_stride + n, b_stride, rows, vecs, part,
                          accumulate || k > 0);
        }
    }
}

#endif
