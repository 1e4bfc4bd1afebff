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

/* x·Φ(x) with Φ as a line on each of 32 intervals, a quarter wide and centred at −4, −3.75 … 3.75
 * (the last to 3.87): within 1.2e-3, or 6e-5 of a larger x. Lines: minimax fits of the error of
 * x·Φ(x). The multipliers are busy with products, and this leaves them most: a polynomial that is
 * ten times as exact takes 8 % of such a product's time. */
static const float gelu_start[2 * VEC_WIDTH] = {
    7.2286266e-04f, 1.4559175e-03f, 3.3769517e-03f, 7.3362598e-03f, 1.4923134e-02f, 2.8415024e-02f,
    5.0629690e-02f, 8.4393509e-02f, 1.3157360e-01f, 1.9185132e-01f, 2.6170877e-01f, 3.3428308e-01f,
    4.0060398e-01f, 4.5218319e-01f, 4.8414904e-01f, 4.9752328e-01f, 5.0000000e-01f, 5.0247675e-01f,
    5.1585096e-01f, 5.4781681e-01f, 5.9939599e-01f, 6.6571689e-01f, 7.3829120e-01f, 8.0814868e-01f,
    8.6842638e-01f, 9.1560650e-01f, 9.4937032e-01f, 9.7158498e-01f, 9.8507684e-01f, 9.9266374e-01f,
    9.9662304e-01f, 9.9853313e-01f,
};
static const float gelu_slope[2 * VEC_WIDTH] = {
    1.7296080e-04f, 3.6327343e-04f, 8.9493545e-04f, 2.0717739e-03f, 4.5069866e-03f, 9.2134867e-03f,
    1.7699305e-02f, 3.1950917e-02f, 5.4200802e-02f, 8.6401962e-02f, 1.2943061e-01f, 1.8219870e-01f,
    2.4101637e-01f, 2.9959491e-01f, 3.4993026e-01f, 3.8381672e-01f, 3.9808324e-01f, 3.8381672e-01f,
    3.4993026e-01f, 2.9959491e-01f, 2.4101637e-01f, 1.8219870e-01f, 1.2943061e-01f, 8.6401962e-02f,
    5.4200802e-02f, 3.1950917e-02f, 1.7699305e-02f, 9.2134867e-03f, 4.5069866e-03f, 2.0717739e-03f,
    8.9493545e-04f, 3.6624799e-04f,
};

static inline vec look_up(const float *table, __m512i index)
{
    return _mm512_permutex2var_ps(vec_load(table), index, vec_load(table + VEC_WIDTH));
}

static inline vec value_gelu(vec x)
{
    const float first_plus_integers = 16 + 0x1.8p23f; /* so large that a sum's low bits count */
    vec low = vec_max(vec_set(-4.0f), x), within = vec_min(vec_set(3.87f), low);
    __m512i interval =
        _mm512_castps_si512(vec_fma(within, vec_set(4.0f), vec_set(first_plus_integers)));
    return low * vec_fma(within, look_up(gelu_slope, interval), look_up(gelu_start, interval));
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
