/* The loops over pixels for AVX-512 (F, BW, DQ, VL): four rows, or 64 bytes, at a time. */
#include "image/x86/split_pixels.h"

typedef __m512i lanes;
#define LANES 4

static inline __m128i load_part(const unsigned char *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}
static inline lanes lanes_gather(const unsigned char *const p[LANES], size_t offset)
{
    __m512i v = _mm512_castsi128_si512(load_part(p[0] + offset));
    v = _mm512_inserti32x4(v, load_part(p[1] + offset), 1);
    v = _mm512_inserti32x4(v, load_part(p[2] + offset), 2);
    return _mm512_inserti32x4(v, load_part(p[3] + offset), 3);
}
static inline void lanes_scatter(unsigned char *const q[LANES], size_t offset, lanes v)
{
    _mm_storeu_si128((__m128i *)(q[0] + offset), _mm512_castsi512_si128(v));
    _mm_storeu_si128((__m128i *)(q[1] + offset), _mm512_extracti32x4_epi32(v, 1));
    _mm_storeu_si128((__m128i *)(q[2] + offset), _mm512_extracti32x4_epi32(v, 2));
    _mm_storeu_si128((__m128i *)(q[3] + offset), _mm512_extracti32x4_epi32(v, 3));
}
static inline lanes lanes_load(const unsigned char *p)
{
    return _mm512_loadu_si512(p);
}
static inline void lanes_store(unsigned char *p, lanes v)
{
    _mm512_storeu_si512(p, v);
}
static inline lanes lanes_repeat(const signed char bytes[16])
{
    return _mm512_broadcast_i32x4(load_part((const unsigned char *)bytes));
}
static inline lanes lanes_set(int x)
{
    return _mm512_set1_epi32(x);
}
static inline lanes lanes_shuffle(lanes v, lanes indices)
{
    return _mm512_shuffle_epi8(v, indices);
}
static inline lanes lanes_dot(lanes a, lanes b)
{
    return _mm512_madd_epi16(a, b);
}
static inline lanes lanes_add(lanes a, lanes b)
{
    return _mm512_add_epi32(a, b);
}
#define lanes_up(v)   _mm512_slli_epi32(v, DVIT_WEIGHT_LOW_BITS)
#define lanes_down(v) _mm512_srai_epi32(v, DVIT_WEIGHT_BITS)
static inline lanes lanes_pack32(lanes a, lanes b)
{
    return _mm512_packs_epi32(a, b);
}
static inline lanes lanes_pack16(lanes a, lanes b)
{
    return _mm512_packus_epi16(a, b);
}
static inline lanes lanes_zip_low(lanes a, lanes b)
{
    return _mm512_unpacklo_epi8(a, b);
}
static inline lanes lanes_zip_high(lanes a, lanes b)
{
    return _mm512_unpackhi_epi8(a, b);
}

typedef __m512 reals;
#define REALS 16

static inline reals reals_of_bytes(const unsigned char *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load_part(p)));
}
static inline reals reals_set(float x)
{
    return _mm512_set1_ps(x);
}
static inline void reals_store(float *p, reals v)
{
    _mm512_storeu_ps(p, v);
}
static inline reals reals_subtract(reals a, reals b)
{
    return _mm512_sub_ps(a, b);
}
static inline reals reals_multiply(reals a, reals b)
{
    return _mm512_mul_ps(a, b);
}
static inline reals reals_fma(reals a, reals b, reals c)
{
    return _mm512_fmadd_ps(a, b, c);
}
static inline reals reals_fnma(reals a, reals b, reals c)
{
    return _mm512_fnmadd_ps(a, b, c);
}

#include "image/vector/pixel_loops_vector.h"

const struct dvit_pixel_loops dvit_pixel_loops_avx512 = {horizontal, vertical, normalise};
