/* Packed products of bytes for AVX-512 VNNI: four inputs at a time, unsigned rows with signed
 * weights, summed exactly in 32 bits. Compiled for BF16 too, so that outputs may be bfloat16 where
 * the processor has that: nothing else uses it. */
#include "kernels/x86/vector_avx512.h"

#include <string.h>

#include "kernels/packed/packed.h"
#include "kernels/x86/formatted_output.h"

#define PACKED_PRODUCT dvit_packed_product_u8s8_avx512
#define PACKED_GRANULE 4
/* As for floats. */
#define TILE_ROWS 8
#define TILE_VECS 3

typedef __m512i granules;
typedef __m512i sum;

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

/* value = scale · sum + shift: bias, and the zero's share in the sums. */
struct column {
    vec scale, shift;
};

static inline struct column column_of(const struct dvit_packed_job *job, size_t column, size_t n)
{
    struct column of = {.scale = vec_set(job->x_bytes.scale) * vec_load(job->scales + column)};
    vec bias = job->bias ? vec_load_part(job->bias + column, n) : vec_set(0.0f);
    __m512i zero = _mm512_set1_epi32(job->x_bytes.zero);
    zero = _mm512_mullo_epi32(zero, _mm512_loadu_si512(job->sums + column));
    of.shift = bias - _mm512_cvtepi32_ps(zero) * of.scale;
    return of;
}

static inline vec sum_value(sum s, const struct column *column)
{
    return vec_fma(_mm512_cvtepi32_ps(s), column->scale, column->shift);
}

static void take_rows(void *rows_of_granules, size_t stride, const struct dvit_packed_job *job,
                      size_t first, size_t rows)
{
    unsigned char *to = rows_of_granules;
    const struct dvit_format bytes = {.number = DVIT_NUMBER_U8, .bytes = job->x_bytes};
    const struct store_format as = store_format_of(&bytes);
    const float *x = (const float *)job->x + first * job->x_stride;
    for (size_t r = 0; r < rows; r++, to += stride, x += job->x_stride) {
        for (size_t i = 0; i < job->inputs; i += VEC_WIDTH)
            vec_store_bytes(to + i, vec_to_byte_range(vec_load_part(x + i, job->inputs - i), &as),
                            job->inputs - i);
        memset(to + job->inputs, 0, stride - job->inputs);
    }
}

#include "kernels/packed/tiles.h"
