/* The vector interface of vector/README.md in AVX2 with FMA. Included by this folder alone. */
#ifndef DVIT_KERNELS_X86_VECTOR_AVX2_H
#define DVIT_KERNELS_X86_VECTOR_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <string.h>

#define KERNEL(name) dvit_##name##_f32_avx2

typedef __m256 vec;
/* 12 accumulators, 2 columns and a broadcast fit the 16 registers. */
#define VEC_WIDTH    8
#define PRODUCT_ROWS 6
#define PRODUCT_VECS 2

static inline __m256i lanes(size_t n)
{
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), index);
}

static inline vec vec_set(float x)
{
    return _mm256_set1_ps(x);
}

static inline vec vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline void vec_store(float *p, vec v)
{
    _mm256_storeu_ps(p, v);
}

static inline vec vec_load_part(const float *p, size_t n)
{
    return n >= VEC_WIDTH ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, lanes(n));
}

static inline void vec_store_part(float *p, vec v, size_t n)
{
    if (n >= VEC_WIDTH)
        _mm256_storeu_ps(p, v);
    else
        _mm256_maskstore_ps(p, lanes(n), v);
}

static inline void vec_store_bytes(unsigned char *p, vec v, size_t n)
{
    __m256i words = _mm256_cvtps_epi32(v);
    __m128i halves =
        _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    __m128i bytes = _mm_packus_epi16(halves, halves);
    memcpy(p, &bytes, n < VEC_WIDTH ? n : VEC_WIDTH);
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

static inline vec vec_min(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}

static inline vec vec_sqrt(vec v)
{
    return _mm256_sqrt_ps(v);
}

static inline vec vec_round(vec v)
{
    return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vec vec_select_greater(vec a, vec b, vec x, vec y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}

static inline vec vec_times_power(vec v, vec n)
{
    __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(v, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}

/* Both words clamp: below, the power would wrap around, and −∞ − ⌊−∞⌋ is NaN. */
static inline vec vec_fraction(vec v)
{
    v = vec_max(vec_set(-127.0f), v);
    return v - _mm256_floor_ps(v);
}

static inline vec vec_times_floor_power(vec v, vec n)
{
    return vec_times_power(v, _mm256_floor_ps(vec_max(vec_set(-127.0f), n)));
}

static inline vec vec_keep_part(vec v, size_t n, float fill)
{
    if (n >= VEC_WIDTH)
        return v;
    return _mm256_blendv_ps(_mm256_set1_ps(fill), v, _mm256_castsi256_ps(lanes(n)));
}

static inline float vec_max_lane(vec v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

static inline float vec_sum(vec v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* Each step swaps what is apart in the rows' number with what is apart in the lanes': 1, 2, 4. */
static inline void vec_transpose(vec *rows)
{
    vec t[VEC_WIDTH];
    for (int i = 0; i < VEC_WIDTH; i += 2) {
        t[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < VEC_WIDTH; i += 4) {
        for (int h = 0; h < 2; h++) {
            __m256d low = _mm256_castps_pd(t[i + h]), high = _mm256_castps_pd(t[i + h + 2]);
            rows[i + 2 * h] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, high));
            rows[i + 2 * h + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, high));
        }
    }
    for (int c = 0; c < 4; c++) {
        t[c] = _mm256_permute2f128_ps(rows[c], rows[4 + c], 0x20);
        t[4 + c] = _mm256_permute2f128_ps(rows[c], rows[4 + c], 0x31);
    }
    for (int i = 0; i < VEC_WIDTH; i++)
        rows[i] = t[i];
}

typedef __m256d wide;

static inline wide wide_zero(void)
{
    return _mm256_setzero_pd();
}

static inline wide wide_add_squares(wide w, vec v)
{
    __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
    __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
    return _mm256_fmadd_pd(high, high, _mm256_fmadd_pd(low, low, w));
}

static inline double wide_sum(wide w)
{
    __m128d s = _mm_add_pd(_mm256_castpd256_pd128(w), _mm256_extractf128_pd(w, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

#endif
