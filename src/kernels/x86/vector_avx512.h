/* The vector interface of vector/README.md in AVX-512 (F, BW, DQ, VL). Included by this folder
 * alone. */
#ifndef DVIT_KERNELS_X86_VECTOR_AVX512_H
#define DVIT_KERNELS_X86_VECTOR_AVX512_H

#include <immintrin.h>
#include <stddef.h>

#define KERNEL(name) dvit_##name##_f32_avx512

typedef __m512 vec;
/* 24 accumulators, 4 columns and a broadcast fit the 32 registers. */
#define VEC_WIDTH    16
#define PRODUCT_ROWS 6
#define PRODUCT_VECS 4

static inline __mmask16 lanes(size_t n)
{
    return n >= VEC_WIDTH ? (__mmask16)0xffff : (__mmask16)((1u << n) - 1);
}

static inline vec vec_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void vec_store(float *p, vec v)
{
    _mm512_storeu_ps(p, v);
}

static inline vec vec_load_part(const float *p, size_t n)
{
    return n >= VEC_WIDTH ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(lanes(n), p);
}

static inline void vec_store_part(float *p, vec v, size_t n)
{
    if (n >= VEC_WIDTH)
        _mm512_storeu_ps(p, v);
    else
        _mm512_mask_storeu_ps(p, lanes(n), v);
}

static inline void vec_store_bytes(unsigned char *p, vec v, size_t n)
{
    __m128i bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v));
    if (n >= VEC_WIDTH)
        _mm_storeu_si128((__m128i *)(void *)p, bytes);
    else
        _mm_mask_storeu_epi8(p, lanes(n), bytes);
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

static inline vec vec_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}

static inline vec vec_sqrt(vec v)
{
    return _mm512_sqrt_ps(v);
}

static inline vec vec_round(vec v)
{
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vec vec_select_greater(vec a, vec b, vec x, vec y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y, x);
}

static inline vec vec_times_power(vec v, vec n)
{
    __mmask16 normal = _mm512_cmp_ps_mask(n, _mm512_set1_ps(-127.0f), _CMP_NEQ_UQ);
    return _mm512_maskz_scalef_ps(normal, v, n);
}

static inline vec vec_fraction(vec v)
{
    return _mm512_reduce_ps(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}

static inline vec vec_times_floor_power(vec v, vec n)
{
    __mmask16 normal = _mm512_cmp_ps_mask(n, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);
    return _mm512_maskz_scalef_ps(normal, v, n);
}

static inline vec vec_keep_part(vec v, size_t n, float fill)
{
    return _mm512_mask_blend_ps(lanes(n), _mm512_set1_ps(fill), v);
}

static inline float vec_max_lane(vec v)
{
    return _mm512_reduce_max_ps(v);
}

static inline float vec_sum(vec v)
{
    return _mm512_reduce_add_ps(v);
}

/* Each step swaps what is apart in the rows' number with what is apart in the lanes': 1, 2, and
 * then whole quarters. */
static inline void vec_transpose(vec *rows)
{
    vec t[VEC_WIDTH];
    for (int i = 0; i < VEC_WIDTH; i += 2) {
        t[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < VEC_WIDTH; i += 4) {
        for (int h = 0; h < 2; h++) {
            __m512d low = _mm512_castps_pd(t[i + h]), high = _mm512_castps_pd(t[i + h + 2]);
            rows[i + 2 * h] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            rows[i + 2 * h + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    }
    for (int c = 0; c < 4; c++) {
        vec even_low = _mm512_shuffle_f32x4(rows[c], rows[4 + c], 0x88);
        vec odd_low = _mm512_shuffle_f32x4(rows[c], rows[4 + c], 0xdd);
        vec even_high = _mm512_shuffle_f32x4(rows[8 + c], rows[12 + c], 0x88);
        vec odd_high = _mm512_shuffle_f32x4(rows[8 + c], rows[12 + c], 0xdd);
        t[c] = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
        t[4 + c] = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
        t[8 + c] = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
        t[12 + c] = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
    }
    for (int i = 0; i < VEC_WIDTH; i++)
        rows[i] = t[i];
}

typedef __m512d wide;

static inline wide wide_zero(void)
{
    return _mm512_setzero_pd();
}

static inline wide wide_add_squares(wide w, vec v)
{
    __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
    __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
    return _mm512_fmadd_pd(high, high, _mm512_fmadd_pd(low, low, w));
}

static inline double wide_sum(wide w)
{
    return _mm512_reduce_add_pd(w);
}

#endif
