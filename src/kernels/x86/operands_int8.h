/* Operands of attention's products as bytes (AVX-512 VNNI): unsigned queries and weights, signed
 * keys and values; vector/README.md has the meaning of the words, kernels.h the definition.
 * Included by kernels_avx512_vnni.c alone. */
#ifndef DVIT_KERNELS_X86_OPERANDS_INT8_H
#define DVIT_KERNELS_X86_OPERANDS_INT8_H

#include <math.h>

#include "kernels/vector/unroll.h"
#include "kernels/x86/exponential_coarse.h"
#include "kernels/x86/store_format.h"
#include "kernels/x86/vector_avx512.h"

#define GRAIN 4

#include "kernels/vector/inference_sizes.h"

/* --- sums ---------------------------------------------------------------------------------------
 */

typedef __m512i product_sum;

static inline product_sum sum_zero(void)
{
    return _mm512_setzero_si512();
}

static inline product_sum sum_begin(const float *begin)
{
    return _mm512_loadu_si512(begin);
}

/* The instruction itself: gcc 12 keeps the sums of its intrinsic in memory. */
static inline product_sum dot_bytes(__m512i a, __m512i b, product_sum c)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
    return c;
}

static inline product_sum multiply_add(vec a, vec b, product_sum c)
{
    return dot_bytes(_mm512_castps_si512(a), _mm512_castps_si512(b), c);
}

static inline vec sum_score(product_sum s, const float *scale)
{
    return _mm512_cvtepi32_ps(s) * vec_load(scale);
}

static inline vec sum_result(product_sum s, float inverse, const float *scale, const float *mean)
{
    return vec_fma(_mm512_cvtepi32_ps(s) * vec_set(inverse), vec_load(scale), vec_load(mean));
}

/* --- numbers and scales -------------------------------------------------------------------------
 */

/* To bfloat16, without the instruction, which not every processor has that multiplies bytes. */
static inline vec rounded(vec v)
{
    __m512i bits = _mm512_castps_si512(v);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    bits = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    bits = _mm512_and_si512(bits, _mm512_set1_epi32((int)0xffff0000));
    return _mm512_mask_mov_ps(_mm512_castsi512_ps(bits), _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), v);
}

/* The lanes of `mask` of a vector of numbers, rounded to bfloat16; 0 elsewhere. */
ALWAYS_INLINE vec take_floats(const void *row, size_t first, __mmask16 mask,
                              const enum dvit_number number)
{
    if (number != DVIT_NUMBER_BF16)
        return rounded(_mm512_maskz_loadu_ps(mask, (const float *)row + first));
    __m256i halves = _mm256_maskz_loadu_epi16(mask, (const unsigned short *)row + first);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

/* 4·16 columns, of which those of `mask` exist. */
struct chunk {
    size_t first;
    __mmask16 mask[GRAIN];
    vec mean[GRAIN]; /* what their numbers are taken less */
};

/* The columns from `first` on; mean: of all columns, or NULL: 0. */
ALWAYS_INLINE struct chunk chunk_at(size_t first, size_t width, const float *mean)
{
    struct chunk c = {.first = first};
    UNROLL
    for (size_t p = 0; p < GRAIN; p++) {
        size_t d = first + p * VEC_WIDTH;
        c.mask[p] = d < width ? lanes(width - d) : 0;
        c.mean[p] = mean && d < width ? vec_load(mean + d) : vec_set(0);
    }
    return c;
}

ALWAYS_INLINE vec take_part(const void *row, const struct chunk *c, const size_t part,
                            const enum dvit_number number)
{
    return take_floats(row, c->first + part * VEC_WIDTH, c->mask[part], number) - c->mean[part];
}

static inline __m512i magnitude_bits(vec v)
{
    return _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff));
}

/* number ≈ scale · byte, byte = number · inverse rounded. */
struct byte_scales {
    vec scale, inverse;
};

/* Of the largest magnitudes; what is not finite has none: NaN. */
static inline struct byte_scales byte_scales(vec largest)
{
    const vec least = vec_set(1e-36f), poison = largest * vec_set(0);
    return (struct byte_scales){
        vec_select_greater(largest, least, largest * vec_set(1.0f / 127), vec_set(1)) + poison,
        vec_select_greater(largest, least, vec_set(127) / largest, vec_set(0)) + poison,
    };
}

/* Of `count` ≤ VEC_WIDTH rows less the mean (NULL: 0), each its own; those that are not there have
 * 1. */
ALWAYS_INLINE struct byte_scales row_scales(const struct number_rows *rows, size_t first,
                                            size_t count, size_t width, const float *mean,
                                            const enum dvit_number number)
{
    vec largest[VEC_WIDTH];
    for (size_t i = 0; i < VEC_WIDTH; i++)
        largest[i] = vec_set(0);
    for (size_t d = 0; d < width; d += GRAIN * VEC_WIDTH) {
        const struct chunk c = chunk_at(d, width, mean);
        const char *row = number_row(rows, first);
        for (size_t i = 0; i < count; i++, row += rows->stride) {
            __m512i bits = _mm512_castps_si512(largest[i]);
            UNROLL
            for (size_t p = 0; p < GRAIN; p++)
                bits = _mm512_max_epi32(bits, magnitude_bits(take_part(row, &c, p, number)));
            largest[i] = _mm512_castsi512_ps(bits);
        }
    }
    vec_transpose(largest);
    __m512i bits = _mm512_castps_si512(largest[0]); /* as such, NaN is larger than all numbers */
    for (size_t i = 1; i < VEC_WIDTH; i++)
        bits = _mm512_max_epi32(bits, _mm512_castps_si512(largest[i]));
    return byte_scales(_mm512_castsi512_ps(bits));
}

/* 4·16 integers as one vector of bytes, signed or not, in their order. */
ALWAYS_INLINE __m512i bytes_in_order(const __m512i *part, const bool is_signed)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i low = _mm512_packs_epi32(part[0], part[1]);
    __m512i high = _mm512_packs_epi32(part[2], part[3]);
    return _mm512_permutexvar_epi32(order, is_signed ? _mm512_packs_epi16(low, high)
                                                     : _mm512_packus_epi16(low, high));
}

/* A chunk of a row as signed bytes. */
ALWAYS_INLINE __m512i row_bytes(const void *row, const struct chunk *c, vec inverse,
                                const enum dvit_number number)
{
    __m512i part[GRAIN];
    UNROLL
    for (size_t p = 0; p < GRAIN; p++)
        part[p] = _mm512_cvtps_epi32(take_part(row, c, p, number) * inverse);
    return bytes_in_order(part, true);
}

/* The mean of each column, and the largest distance from it (NULL: not wanted). Sums are in the
 * order of the rows, so that every level has the same mean. */
ALWAYS_INLINE void column_ranges(float *mean, float *const distance, const struct number_rows *rows,
                                 const struct inference_sizes *n, const enum dvit_number number)
{
    for (size_t first = 0; first < n->width; first += GRAIN * VEC_WIDTH) {
        const struct chunk c = chunk_at(first, n->width, NULL);
        vec sum[GRAIN], low[GRAIN], high[GRAIN];
        UNROLL
        for (size_t p = 0; p < GRAIN; p++) {
            sum[p] = vec_set(0);
            low[p] = vec_set(INFINITY);
            high[p] = vec_set(-INFINITY);
        }
        const char *row = rows->first;
        for (size_t j = 0; j < n->tokens; j++, row += rows->stride) {
            UNROLL
            for (size_t p = 0; p < GRAIN; p++) {
                vec v = take_floats(row, first + p * VEC_WIDTH, c.mask[p], number);
                sum[p] = sum[p] + v;
                low[p] = vec_min(v, low[p]);
                high[p] = vec_max(v, high[p]);
            }
        }
        for (size_t p = 0; p < GRAIN && first + p * VEC_WIDTH < n->width; p++) {
            vec m = sum[p] / vec_set((float)n->tokens);
            vec_store(mean + first + p * VEC_WIDTH, m);
            if (distance)
                vec_store(distance + first + p * VEC_WIDTH, vec_max(high[p] - m, m - low[p]));
        }
    }
}

/* --- packing ------------------------------------------------------------------------------------
 */

/* One vector of keys, first … first + VEC_WIDTH − 1, as columns of a panel; zeros behind the last.
 */
ALWAYS_INLINE void pack_key_vector(float *panel, size_t panel_stride,
                                   const struct inference_scratch *s, const struct number_rows *k,
                                   size_t first, const struct inference_sizes *n,
                                   const enum dvit_number number)
{
    size_t count = n->tokens - first < VEC_WIDTH ? n->tokens - first : VEC_WIDTH;
    const struct byte_scales scales = row_scales(k, first, count, n->width, s->key_mean, number);
    float inverse[VEC_WIDTH];
    product_sum sum = sum_zero();
    vec_store(s->key_scale + first, scales.scale);
    vec_store(inverse, scales.inverse);
    for (size_t d = 0; d < n->width_grains; d += VEC_WIDTH) {
        const struct chunk c = chunk_at(d * GRAIN, n->width, s->key_mean);
        vec block[VEC_WIDTH];
        for (size_t i = 0; i < VEC_WIDTH; i++)
            block[i] = vec_set(0);
        for (size_t i = 0; i < count; i++)
            block[i] = _mm512_castsi512_ps(
                row_bytes(number_row(k, first + i), &c, vec_set(inverse[i]), number));
        vec_transpose(block);
        for (size_t i = 0; i < VEC_WIDTH && d + i < n->width_grains; i++) {
            vec_store(panel + (d + i) * panel_stride, block[i]);
            sum = dot_bytes(_mm512_set1_epi8((char)128), _mm512_castps_si512(block[i]), sum);
        }
    }
    _mm512_storeu_si512(s->key_begin + first, _mm512_sub_epi32(sum_zero(), sum));
}

ALWAYS_INLINE void pack_keys_of(const struct inference_scratch *s, const struct number_rows *k,
                                const struct inference_sizes *n, const enum dvit_number number)
{
    column_ranges(s->key_mean, NULL, k, n, number);
    for (size_t p = 0; p < ratio_up(n->key_vecs, PRODUCT_VECS); p++) {
        struct piece vecs = piece_of(n->key_vecs, PRODUCT_VECS, p);
        float *panel = s->keys + vecs.first * VEC_WIDTH * n->width_grains;
        for (size_t v = 0; v < vecs.count; v++)
            pack_key_vector(panel + v * VEC_WIDTH, vecs.count * VEC_WIDTH, s, k,
                            (vecs.first + v) * VEC_WIDTH, n, number);
    }
}

/* 16 columns of up to 4 rows. */
ALWAYS_INLINE vec column_bytes(const char *row, size_t stride, const size_t count, size_t first,
                               __mmask16 mask, vec mean, vec inverse, const enum dvit_number number)
{
    const __m512i by_column =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    __m512i part[GRAIN];
    UNROLL
    for (size_t r = 0; r < GRAIN; r++, row += stride) {
        part[r] = _mm512_setzero_si512();
        if (r < count)
            part[r] = _mm512_cvtps_epi32((take_floats(row, first, mask, number) - mean) * inverse);
    }
    __m512i low = _mm512_packs_epi32(part[0], part[1]);
    __m512i high = _mm512_packs_epi32(part[2], part[3]);
    return _mm512_castsi512_ps(_mm512_shuffle_epi8(_mm512_packs_epi16(low, high), by_column));
}

ALWAYS_INLINE void pack_values_of(const struct inference_scratch *s, const struct number_rows *v,
                                  const struct inference_sizes *n, const enum dvit_number number)
{
    column_ranges(s->value_mean, s->value_scale, v, n, number);
    for (size_t d = 0; d < n->width; d += VEC_WIDTH) {
        const struct byte_scales scales = byte_scales(vec_load(s->value_scale + d));
        vec mean = vec_load(s->value_mean + d);
        __mmask16 mask = lanes(n->width - d);
        const char *row = v->first;
        float *to = s->values + d;
        vec_store(s->value_scale + d, scales.scale);
        for (size_t j = GRAIN; j <= n->tokens; j += GRAIN) {
            vec_store(to,
                      column_bytes(row, v->stride, GRAIN, d, mask, mean, scales.inverse, number));
            row += GRAIN * v->stride;
            to += n->width_vecs * VEC_WIDTH;
        }
        if (n->tokens % GRAIN != 0)
            vec_store(to, column_bytes(row, v->stride, n->tokens % GRAIN, d, mask, mean,
                                       scales.inverse, number));
    }
}

/* Queries first … first + rows − 1. */
ALWAYS_INLINE void pack_queries_of(const struct inference_scratch *s, const struct number_rows *q,
                                   size_t first, size_t rows, float factor,
                                   const struct inference_sizes *n, const enum dvit_number number)
{
    const __m512i zero = _mm512_set1_epi8((char)128);
    const struct byte_scales scales = row_scales(q, first, rows, n->width, NULL, number);
    float inverse[VEC_WIDTH];
    vec_store(inverse, scales.inverse);
    vec_store(s->factor, scales.scale * vec_set(factor));
    for (size_t d = 0; d < n->query_stride; d += VEC_WIDTH) {
        const struct chunk c = chunk_at(d * GRAIN, n->width, NULL);
        for (size_t i = 0; i < rows; i++) {
            __m512i bytes = row_bytes(number_row(q, first + i), &c, vec_set(inverse[i]), number);
            _mm512_storeu_si512(s->queries + i * n->query_stride + d,
                                _mm512_xor_si512(bytes, zero));
        }
    }
}
_Static_assert(BLOCK_ROWS <= VEC_WIDTH, "a block's scales are one vector");

/* The loops above are compiled for either kind of number. */
static void pack_keys(const struct inference_scratch *s, const struct number_rows *k,
                      const struct inference_sizes *n)
{
    if (k->number == DVIT_NUMBER_BF16)
        pack_keys_of(s, k, n, DVIT_NUMBER_BF16);
    else
        pack_keys_of(s, k, n, DVIT_NUMBER_F32);
}

static void pack_values(const struct inference_scratch *s, const struct number_rows *v,
                        const struct inference_sizes *n)
{
    if (v->number == DVIT_NUMBER_BF16)
        pack_values_of(s, v, n, DVIT_NUMBER_BF16);
    else
        pack_values_of(s, v, n, DVIT_NUMBER_F32);
}

static void pack_queries(const struct inference_scratch *s, const struct number_rows *q,
                         size_t first, size_t rows, float factor, const struct inference_sizes *n)
{
    if (q->number == DVIT_NUMBER_BF16)
        pack_queries_of(s, q, first, rows, factor, n, DVIT_NUMBER_BF16);
    else
        pack_queries_of(s, q, first, rows, factor, n, DVIT_NUMBER_F32);
}

/* --- weights and results ------------------------------------------------------------------------
 */

static inline vec weight_exp2(vec t)
{
    return vec_exp2_coarse(t, 255.0f);
}

static inline void store_weights(float *row, size_t v, const vec *e)
{
    __m512i part[GRAIN];
    UNROLL
    for (int g = 0; g < GRAIN; g++)
        part[g] = _mm512_cvtps_epi32(e[g]);
    _mm512_storeu_si512(row + v / GRAIN * VEC_WIDTH, bytes_in_order(part, false));
}

#define result_format    store_format
#define result_format_of store_format_of
#define store_result     store_part_as

#endif
