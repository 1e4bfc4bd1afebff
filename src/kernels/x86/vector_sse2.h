/* The vector interface of vector/README.md in SSE2, which every x86-64 processor has: the baseline.
 * There are no fused products and no masked loads; parts are copied. Included by this folder alone.
 */
#ifndef DVIT_KERNELS_X86_VECTOR_SSE2_H
#define DVIT_KERNELS_X86_VECTOR_SSE2_H

#include <emmintrin.h>
#include <stddef.h>
#include <string.h>

#define KERNEL(name) dvit_##name##_f32_sse2

typedef __m128 vec;
/* 12 accumulators, 2 columns, a broadcast and a product fit the 16 registers. */
#define VEC_WIDTH    4
#define PRODUCT_ROWS 6
#define PRODUCT_VECS 2

static inline __m128 lanes(size_t n)
{
    const __m128i index = _mm_setr_epi32(0, 1, 2, 3);
    return _mm_castsi128_ps(_mm_cmpgt_epi32(_mm_set1_epi32((int)n), index));
}

/* x where the mask is set, else y. */
static inline vec choose(__m128 mask, vec x, vec y)
{
    return _mm_or_ps(_mm_and_ps(mask, x), _mm_andnot_ps(mask, y));
}

static inline vec vec_set(float x)
{
    return _mm_set1_ps(x);
}

static inline vec vec_load(const float *p)
{
    return _mm_loadu_ps(p);
}

static inline void vec_store(float *p, vec v)
{
    _mm_storeu_ps(p, v);
}

static inline vec vec_load_part(const float *p, size_t n)
{
    if (n >= VEC_WIDTH)
        return _mm_loadu_ps(p);
    float part[VEC_WIDTH] = {0};
    for (size_t i = 0; i < n; i++)
        part[i] = p[i];
    return _mm_loadu_ps(part);
}

static inline void vec_store_part(float *p, vec v, size_t n)
{
    if (n >= VEC_WIDTH) {
        _mm_storeu_ps(p, v);
        return;
    }
    float part[VEC_WIDTH];
    _mm_storeu_ps(part, v);
    for (size_t i = 0; i < n; i++)
        p[i] = part[i];
}

static inline void vec_store_bytes(unsigned char *p, vec v, size_t n)
{
    __m128i words = _mm_cvtps_epi32(v), halves = _mm_packs_epi32(words, words);
    int bytes = _mm_cvtsi128_si32(_mm_packus_epi16(halves, halves));
    memcpy(p, &bytes, n < VEC_WIDTH ? n : VEC_WIDTH);
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return _mm_add_ps(_mm_mul_ps(a, b), c);
}

static inline vec vec_max(vec a, vec b)
{
    return _mm_max_ps(a, b);
}

static inline vec vec_min(vec a, vec b)
{
    return _mm_min_ps(a, b);
}

static inline vec vec_sqrt(vec v)
{
    return _mm_sqrt_ps(v);
}

/* Beyond 2^23 there is nothing to round, and 32-bit integers would not do. */
static inline vec vec_round(vec v)
{
    const __m128 sign = _mm_set1_ps(-0.0f);
    __m128 small = _mm_cmplt_ps(_mm_andnot_ps(sign, v), _mm_set1_ps(8388608.0f));
    return choose(small, _mm_cvtepi32_ps(_mm_cvtps_epi32(v)), v);
}

static inline vec vec_select_greater(vec a, vec b, vec x, vec y)
{
    return choose(_mm_cmpgt_ps(a, b), x, y);
}

static inline vec vec_times_power(vec v, vec n)
{
    __m128i exponent = _mm_add_epi32(_mm_cvtps_epi32(n), _mm_set1_epi32(127));
    return _mm_mul_ps(v, _mm_castsi128_ps(_mm_slli_epi32(exponent, 23)));
}

/* Of numbers that 32-bit integers hold. */
static inline vec floor_small(vec v)
{
    __m128 rounded = _mm_cvtepi32_ps(_mm_cvttps_epi32(v));
    return _mm_sub_ps(rounded, _mm_and_ps(_mm_cmpgt_ps(rounded, v), _mm_set1_ps(1.0f)));
}

/* Both words clamp: below, the power would wrap around, and −∞ − ⌊−∞⌋ is NaN. */
static inline vec vec_fraction(vec v)
{
    v = vec_max(vec_set(-127.0f), v);
    return _mm_sub_ps(v, floor_small(v));
}

static inline vec vec_times_floor_power(vec v, vec n)
{
    return vec_times_power(v, floor_small(vec_max(vec_set(-127.0f), n)));
}

static inline vec vec_keep_part(vec v, size_t n, float fill)
{
    return n >= VEC_WIDTH ? v : choose(lanes(n), v, _mm_set1_ps(fill));
}

static inline float vec_max_lane(vec v)
{
    __m128 m = _mm_max_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
}

static inline float vec_sum(vec v)
{
    __m128 s = _mm_add_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

static inline void vec_transpose(vec *rows)
{
    _MM_TRANSPOSE4_PS(rows[0], rows[1], rows[2], rows[3]);
}

typedef __m128d wide;

static inline wide wide_zero(void)
{
    return _mm_setzero_pd();
}

static inline wide wide_add_squares(wide w, vec v)
{
    __m128d low = _mm_cvtps_pd(v), high = _mm_cvtps_pd(_mm_movehl_ps(v, v));
    return _mm_add_pd(w, _mm_add_pd(_mm_mul_pd(low, low), _mm_mul_pd(high, high)));
}

static inline double wide_sum(wide w)
{
    return _mm_cvtsd_f64(_mm_add_sd(w, _mm_unpackhi_pd(w, w)));
}

#endif
