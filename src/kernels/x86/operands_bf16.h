/* Operands of attention's products as pairs of bfloat16 numbers (AVX-512 BF16): vector/README.md
 * has the meaning of the words. Included by kernels_avx512_bf16.c alone. */
#ifndef DVIT_KERNELS_X86_OPERANDS_BF16_H
#define DVIT_KERNELS_X86_OPERANDS_BF16_H

#include "kernels/vector/exponential.h"
#include "kernels/x86/vector_avx512.h"

#define GRAIN 2

static inline vec load_granules(const float *p, size_t n, float scale)
{
    vec low = vec_load_part(p, n) * vec_set(scale), high = vec_set(0);
    if (n > VEC_WIDTH)
        high = vec_load_part(p + VEC_WIDTH, n - VEC_WIDTH) * vec_set(scale);
    return (vec)_mm512_cvtne2ps_pbh(high, low);
}

/* As the low halves of 32 bits. */
static inline __m512i rounded(vec v)
{
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(v));
}

static inline vec load_row_granules(const float *p, size_t stride, size_t rows, size_t n)
{
    __m512i pairs = rounded(vec_load_part(p, n));
    if (rows > 1) {
        __m512i next = rounded(vec_load_part(p + stride, n));
        pairs = _mm512_or_si512(pairs, _mm512_slli_epi32(next, 16));
    }
    return _mm512_castsi512_ps(pairs);
}

static inline void store_weights(float *row, size_t v, vec e, vec f)
{
    vec_store(row + v / 2 * VEC_WIDTH, (vec)_mm512_cvtne2ps_pbh(f, e));
}

static inline vec weight_exp2(vec t)
{
    return vec_exp2_coarse(t);
}

static inline vec multiply_add(vec a, vec b, vec c)
{
    return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
}

#endif
