/* Packed products of bfloat16 for AVX-512 BF16: pairs of inputs, summed in float. As the
 * instructions have it, numbers too small to be normal count as 0. */
#include "kernels/x86/vector_avx512.h"

#include <string.h>

#include "kernels/packed/float_sums.h"
#include "kernels/vector/gelu.h"
#include "kernels/x86/formatted_output.h"

#define PACKED_PRODUCT dvit_packed_product_bf16_avx512
#define PACKED_GRANULE 2
/* As for floats. */
#define TILE_ROWS 8
#define TILE_VECS 3

typedef __m512i granules;

static inline granules granules_load(const char *p)
{
    return _mm512_load_si512(p);
}

static inline granules granules_spread(const char *p)
{
    return _mm512_set1_epi32(*(const int *)(const void *)p);
}

static inline sum sum_step(sum s, granules a, granules b)
{
    return _mm512_dpbf16_ps(s, (__m512bh)a, (__m512bh)b);
}

static inline vec value_gelu(vec v)
{
    return gelu_coarse(v);
}

static inline vec load_or_zero(const float *x, size_t first, size_t count)
{
    return first < count ? vec_load_part(x + first, count - first) : vec_set(0.0f);
}

static void take_rows(void *rows_of_granules, size_t stride, const struct dvit_packed_job *job,
                      size_t first, size_t rows)
{
    char *to = rows_of_granules;
    const float *x = (const float *)job->x + first * job->x_stride;
    for (size_t r = 0; r < rows; r++, to += stride, x += job->x_stride)
        for (size_t i = 0; i < job->inputs; i += 2 * VEC_WIDTH) {
            vec low = load_or_zero(x, i, job->inputs);
            vec high = load_or_zero(x, i + VEC_WIDTH, job->inputs);
            __m512bh both = _mm512_cvtne2ps_pbh(high, low);
            memcpy(to + 2 * i, &both, sizeof both);
        }
}

#include "kernels/packed/tiles.h"
