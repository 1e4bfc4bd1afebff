/* Packed products of bytes for AVX-512 VNNI: four inputs at a time, unsigned rows with signed
 * weights, summed exactly in 32 bits. */
#include "kernels/x86/vector_avx512.h"

#include <string.h>

#include "kernels/packed/packed.h"
#include "kernels/packed/quantise.h"

#define PACKED_PRODUCT dvit_packed_product_u8s8_avx512
#define PACKED_GRANULE 4
/* As for floats. */
#define TILE_ROWS 8
#define TILE_VECS 3

typedef __m512i granules;
typedef __m512i sum;

struct factors {
    const void *data;
    size_t stride; /* bytes */
    const float *scales;
    const int32_t *zeros;
};

static inline granules granules_load(const char *p)
{
    return _mm512_load_si512(p);
}

static inline granules granules_spread(const char *p)
{
    return _mm512_set1_epi32(*(const int *)(const void *)p);
}

static inline sum sum_zero(void)
{
    return _mm512_setzero_si512();
}

/* The instruction itself: gcc 12 keeps the sums of its intrinsic in memory. */
static inline sum sum_step(sum s, granules a, granules b)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(s) : "v"(a), "v"(b));
    return s;
}

static inline sum sum_add(sum s, sum t)
{
    return _mm512_add_epi32(s, t);
}

static inline sum sum_load_part(const float *p, size_t n)
{
    return _mm512_maskz_loadu_epi32(lanes(n), p);
}

static inline void sum_store_part(float *p, sum s, size_t n)
{
    _mm512_mask_storeu_epi32(p, lanes(n), s);
}

static inline vec sum_value(sum s, const struct factors *factors, size_t row,
                            const struct dvit_packed_job *job, size_t column)
{
    __m512i bytes = _mm512_loadu_si512(job->sums + column);
    __m512i zero = _mm512_mullo_epi32(_mm512_set1_epi32(factors->zeros[row]), bytes);
    vec scale = vec_set(factors->scales[row]) * vec_load(job->scales + column);
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(s, zero)) * scale;
}

/* What dvit_quantise_range makes of a row; a number that is not finite leaves no scale. */
static struct dvit_quantised range_of(const float *x, size_t count)
{
    vec low = vec_set(0.0f), high = low, poison = low;
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        vec v = vec_load_part(x + i, count - i);
        low = vec_min(v, low);
        high = vec_max(v, high);
        poison = vec_fma(v, vec_set(0.0f), poison);
    }
    struct dvit_quantised q =
        dvit_quantise_range(_mm512_reduce_min_ps(low), _mm512_reduce_max_ps(high));
    q.scale += vec_sum(poison);
    return q;
}

static void quantise_row(unsigned char *to, const float *x, size_t count, struct dvit_quantised q)
{
    vec lowest = vec_set((float)-q.zero), highest = vec_set((float)(255 - q.zero));
    vec inverse = vec_set(1.0f / q.scale);
    __m512i zero = _mm512_set1_epi32(q.zero);
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        vec scaled = vec_load_part(x + i, count - i) * inverse;
        scaled = vec_min(vec_max(scaled, lowest), highest);
        __m512i byte = _mm512_add_epi32(_mm512_cvtps_epi32(scaled), zero);
        _mm512_mask_cvtepi32_storeu_epi8(to + i, lanes(count - i), byte);
    }
}

/* Quantises the rows to scratch. */
static void take_rows(struct factors *factors, const struct dvit_packed_job *job, size_t first,
                      size_t rows)
{
    size_t stride = dvit_packed_row_bytes(job->inputs, PACKED_GRANULE);
    unsigned char *to = job->scratch;
    float *scales = (float *)(void *)(to + DVIT_PACKED_ROWS * stride);
    int32_t *zeros = (int32_t *)(void *)(scales + DVIT_PACKED_ROWS);
    *factors = (struct factors){to, stride, scales, zeros};
    for (size_t r = 0; r < rows; r++, to += stride) {
        const float *x = job->x + (first + r) * job->x_stride;
        struct dvit_quantised q = {job->x_scale, job->x_zero};
        if (q.scale == 0.0f)
            q = range_of(x, job->inputs);
        quantise_row(to, x, job->inputs, q);
        memset(to + job->inputs, 0, stride - job->inputs);
        scales[r] = q.scale;
        zeros[r] = q.zero;
    }
}

#include "kernels/packed/tiles.h"
