/* Operands of attention's products as pairs of bfloat16 numbers (AVX-512 BF16): vector/README.md
 * has the meaning of the words. Included by kernels_avx512_bf16.c alone. */
#ifndef DVIT_KERNELS_X86_OPERANDS_BF16_H
#define DVIT_KERNELS_X86_OPERANDS_BF16_H

#include "kernels/x86/exponential_coarse.h"
#include "kernels/x86/store_format.h"
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

/* Numbers first … of a row of bfloat16, likewise. */
static inline __m512i load_halves(const void *row, size_t first, size_t n)
{
    const unsigned short *p = (const unsigned short *)row + first;
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes(n), p));
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

static inline vec multiply_add(vec a, vec b, vec c)
{
    return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
}

/* --- of inference -------------------------------------------------------------------------------
 */

#include "kernels/vector/inference_sizes.h"

/* What is bfloat16 already is only copied. */
static inline vec take_granules(const void *row, size_t first, size_t width,
                                enum dvit_number number)
{
    size_t n = width - first;
    if (number != DVIT_NUMBER_BF16)
        return load_granules((const float *)row + first, n, 1.0f);
    __mmask32 mask = n >= 32 ? ~(__mmask32)0 : ((__mmask32)1 << n) - 1;
    return (vec)_mm512_maskz_loadu_epi16(mask, (const unsigned short *)row + first);
}

static inline vec take_row_granules(const struct number_rows *rows, size_t row, size_t last,
                                    size_t first, size_t width)
{
    const char *even = number_row(rows, row);
    size_t n = width - first;
    if (rows->number != DVIT_NUMBER_BF16)
        return load_row_granules((const float *)(const void *)even + first,
                                 rows->stride / sizeof(float), last - row, n);
    const char *odd = even + rows->stride;
    __m512i pairs = load_halves(even, first, n);
    if (row + 1 < last)
        pairs = _mm512_or_si512(pairs, _mm512_slli_epi32(load_halves(odd, first, n), 16));
    return _mm512_castsi512_ps(pairs);
}

#include "kernels/vector/inference_floats.h"

static inline void store_weights(float *row, size_t v, const vec *e)
{
    vec_store(row + v / 2 * VEC_WIDTH, (vec)_mm512_cvtne2ps_pbh(e[1], e[0]));
}

static inline vec weight_exp2(vec t)
{
    return vec_exp2_coarse(t, 1.0f);
}

#define result_format    store_format
#define result_format_of store_format_of
#define store_result     store_part_as

#endif
