/* Operands of attention's products, where they are floats: README.md has the meaning of the words.
 */
#ifndef DVIT_KERNELS_VECTOR_OPERANDS_F32_H
#define DVIT_KERNELS_VECTOR_OPERANDS_F32_H

#include "kernels/vector/exponential.h"

#define GRAIN 1

static inline vec load_granules(const float *p, size_t n, float scale)
{
    return vec_load_part(p, n) * vec_set(scale);
}

static inline vec load_row_granules(const float *p, size_t stride, size_t rows, size_t n)
{
    (void)stride, (void)rows;
    return vec_load_part(p, n);
}

static inline void store_weights(float *row, size_t v, vec e, vec f)
{
    vec_store(row + v * VEC_WIDTH, e);
    vec_store(row + (v + 1) * VEC_WIDTH, f);
}

static inline vec weight_exp2(vec t)
{
    return vec_exp2(t);
}

static inline vec multiply_add(vec a, vec b, vec c)
{
    return vec_fma(a, b, c);
}

#endif
