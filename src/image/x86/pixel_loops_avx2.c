/* The loops over pixels for AVX2 + FMA: two rows, or 32 bytes, at a time. */
#include "image/x86/split_pixels.h"

typedef __m256i lanes;
#define LANES 2

static inline __m128i load_part(const unsigned char *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}
static inline lanes lanes_gather(const unsigned char *const p[LANES], size_t offset)
{
    __m256i low = _mm256_castsi128_si256(load_part(p[0] + offset));
    return _mm256_inserti128_si256(low, load_part(p[1] + offset), 1);
}
static inline void lanes_scatter(unsigned char *const q[LANES], size_t offset, lanes v)
{
    _mm_storeu_si128((__m128i *)(q[0] + offset), _mm256_castsi256_si128(v));
    _mm_storeu_si128((__m128i *)(q[1] + offset), _mm256_extracti128_si256(v, 1));
}
static inline lanes lanes_load(const unsigned char *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}
static inline void lanes_store(unsigned char *p, lanes v)
{
    _mm256_storeu_si256((__m256i *)p, v);
}
static inline lanes lanes_repeat(const signed char bytes[16])
{
    return _mm256_broadcastsi128_si256(load_part((const unsigned char *)bytes));
}
static inline lanes lanes_set(int x)
{
    return _mm256_set1_epi32(x);
}
static inline lanes lanes_shuffle(lanes v, lanes indices)
{
    return _mm256_shuffle_epi8(v, indices);
}
static inline lanes lanes_dot(lanes a, lanes b)
{
    return _mm256_madd_epi16(a, b);
}
static inline lanes lanes_add(lanes a, lanes b)
{
    return _mm256_add_epi32(a, b);
}
#define lanes_up(v)   _mm256_slli_epi32(v, DVIT_WEIGHT_LOW_BITS)
#define lanes_down(v) _mm256_srai_epi32(v, DVIT_WEIGHT_BITS)
static inline lanes lanes_pack32(lanes a, lanes b)
{
    return _mm256_packs_epi32(a, b);
}
static inline lanes lanes_pack16(lanes a, lanes b)
{
    return _mm256_packus_epi16(a, b);
}
static inline lanes lanes_zip_low(lanes a, lanes b)
{
    return _mm256_unpacklo_epi8(a, b);
}
static inline lanes lanes_zip_high(lanes a, lanes b)
{
    return _mm256_unpackhi_epi8(a, b);
}

typedef __m256 reals;
#define REALS 8

static inline reals reals_of_bytes(const unsigned char *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
static inline reals reals_set(float x)
{
    return _mm256_set1_ps(x);
}
static inline void reals_store(float *p, reals v)
{
    _mm256_storeu_ps(p, v);
}
static inline reals reals_subtract(reals a, reals b)
{
    return _mm256_sub_ps(a, b);
}
static inline reals reals_multiply(reals a, reals b)
{
    return _mm256_mul_ps(a, b);
}
static inline reals reals_fma(reals a, reals b, reals c)
{
    return _mm256_fmadd_ps(a, b, c);
}
static inline reals reals_fnma(reals a, reals b, reals c)
{
    return _mm256_fnmadd_ps(a, b, c);
}

#include "image/vector/pixel_loops_vector.h"

const struct dvit_pixel_loops dvit_pixel_loops_avx2 = {horizontal, vertical, normalise};
