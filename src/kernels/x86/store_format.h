/* Vectors of floats stored as what a format says (kernels/format.h). For any file of an AVX-512
 * level; where that is compiled for BF16, its own instruction rounds, which takes numbers too small
 * to be normal for 0. */
#ifndef DVIT_KERNELS_X86_STORE_FORMAT_H
#define DVIT_KERNELS_X86_STORE_FORMAT_H

#include "kernels/format.h"
#include "kernels/x86/vector_avx512.h"

/* A format as a store needs it. */
struct store_format {
    enum dvit_number number;
    float inverse, zero; /* U8: byte = number · inverse + zero, rounded */
};

static inline struct store_format store_format_of(const struct dvit_format *format)
{
    struct store_format as = {.number = format->number};
    if (as.number == DVIT_NUMBER_U8) {
        as.inverse = 1.0f / format->bytes.scale;
        as.zero = (float)format->bytes.zero;
    }
    return as;
}

/* To nearest, ties to even; NaN stays NaN. */
static inline __m256i vec_to_bf16(vec v)
{
#if defined(__AVX512BF16__)
    return (__m256i)_mm512_cvtneps_pbh(v);
#else
    __m512i bits = _mm512_castps_si512(v);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    rounded = _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), bits,
                                   _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
#endif
}

/* As dvit_quantise does, but for the rounding. */
static inline vec vec_to_byte_range(vec v, const struct store_format *as)
{
    vec scaled = vec_fma(v, vec_set(as->inverse), vec_set(as->zero));
    return vec_min(vec_max(scaled, vec_set(0.0f)), vec_set(255.0f)); /* NaN becomes 0 */
}

/* The first min(n, VEC_WIDTH) lanes of v, n ≥ 1, become the numbers `column` … of a row. */
static inline void store_part_as(void *row, size_t column, vec v, size_t n,
                                 const struct store_format *as)
{
    switch (as->number) {
    case DVIT_NUMBER_BF16:
        _mm256_mask_storeu_epi16((unsigned short *)row + column, lanes(n), vec_to_bf16(v));
        break;
    case DVIT_NUMBER_U8:
        vec_store_bytes((unsigned char *)row + column, vec_to_byte_range(v, as), n);
        break;
    default:
        vec_store_part((float *)row + column, v, n);
    }
}

#endif
