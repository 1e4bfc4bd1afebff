/* The vector interface of vector/README.md in AVX-512 (F, BW, DQ, VL). Included by kernels_avx512.c
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

static inline float vec_sum(vec v)
{
    return _mm512_reduce_add_ps(v);
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
