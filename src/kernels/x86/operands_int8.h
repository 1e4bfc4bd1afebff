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

/* Numbers `first` … of a row, at most to `width` − 1, rounded to bfloat16; the rest is 0. */
static inline vec take_floats(const void *row, size_t first, size_t width, enum dvit_number number)
{
    size_t n = width - first;
    if (number != DVIT_NUMBER_BF16)
        return rounded(vec_load_part((const float *)row + first, n));
    const unsigned short *p = (const unsigned short *)row + first;
    __m256i halves = n >= VEC_WIDTH ? _mm256_loadu_si256((const __m256i *)(const void *)p)
                                    : _mm256_maskz_loadu_epi16(lanes(n), p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
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

/* The same less the mean (NULL: 0). */
ALWAYS_INLINE vec take_centred(const void *row, size_t first, size_t width, enum dvit_number number,
                               const float *mean)
{
    vec v = take_floats(row, first, width, number);
    if (mean)
        v = v - vec_load(mean + first);
    return v;
}

/* Of `count` ≤ VEC_WIDTH rows less the mean (NULL: 0), each its own; those that are not there have
 * 1. */
ALWAYS_INLINE struct byte_scales row_scales(const struct number_rows *rows, size_t first,
                                            size_t count, size_t width, const float *mean)
{
    vec largest[VEC_WIDTH];
    for (size_t i = 0; i < VEC_WIDTH; i++) {
        __m512i bits = _mm512_setzero_si512();
        for (size_t d = 0; i < count && d < width; d += VEC_WIDTH) {
            vec v = take_centred(number_row(rows, first + i), d, width, rows->number, mean);
            bits = _mm512_max_epi32(bits, magnitude_bits(v));
        }
        largest[i] = _mm512_castsi512_ps(bits);
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

/* 4·16 numbers of row − mean, from `first` on, as signed bytes. */
ALWAYS_INLINE __m512i row_bytes(const void *row, size_t first, size_t width,
                                enum dvit_number number, const float *mean, vec inverse)
{
    __m512i part[GRAIN];
    UNROLL
    for (int p = 0; p < GRAIN; p++) {
        size_t d = first + (size_t)p * VEC_WIDTH;
        part[p] = _mm512_setzero_si512();
        if (d < width)
            part[p] = _mm512_cvtps_epi32(take_centred(row, d, width, number, mean) * inverse);
    }
    return bytes_in_order(part, true);
}

/* What is said of columns, 4·16 of them at a time. */
struct column_range {
    vec sum[GRAIN], low[GRAIN], high[GRAIN];
};

/* Sums in the order of the rows, so that every level has the same mean. */
ALWAYS_INLINE void add_row(struct column_range *range, const void *row, size_t first, size_t width,
                           enum dvit_number number, const bool ends)
{
    UNROLL
    for (int p = 0; p < GRAIN; p++) {
        size_t d = first + (size_t)p * VEC_WIDTH;
        if (d >= width)
            break;
        vec v = take_floats(row, d, width, number);
        range->sum[p] = range->sum[p] + v;
        if (ends) {
            range->low[p] = vec_min(v, range->low[p]);
            range->high[p] = vec_max(v, range->high[p]);
        }
    }
}

/* The mean of each column, and the largest distance from it (NULL: not wanted). */
ALWAYS_INLINE void column_ranges(float *mean, float *const distance, const struct number_rows *rows,
                                 const struct inference_sizes *n)
{
    for (size_t first = 0; first < n->width; first += GRAIN * VEC_WIDTH) {
        struct column_range range;
        UNROLL
        for (int p = 0; p < GRAIN; p++) {
            range.sum[p] = vec_set(0);
            range.low[p] = vec_set(INFINITY);
            range.high[p] = vec_set(-INFINITY);
        }
        for (size_t j = 0; j < n->tokens; j++)
            add_row(&range, number_row(rows, j), first, n->width, rows->number, distance != NULL);
        for (size_t p = 0; p < GRAIN && first + p * VEC_WIDTH < n->width; p++) {
            size_t d = first + p * VEC_WIDTH;
            vec m = range.sum[p] / vec_set((float)n->tokens);
            vec_store(mean + d, m);
            if (distance)
                vec_store(distance + d, vec_max(range.high[p] - m, m - range.low[p]));
        }
    }
}

/* --- packing ------------------------------------------------------------------------------------
 */

/* One vector of keys, first … first + VEC_WIDTH − 1, as columns of a panel; zeros behind the last.
 */
static void pack_key_vector(float *panel, size_t panel_stride, const struct inference_scratch *s,
                            const struct number_rows *k, size_t first,
                            const struct inference_sizes *n)
{
    size_t count = n->tokens - first < VEC_WIDTH ? n->tokens - first : VEC_WIDTH;
    float inverse[VEC_WIDTH];
    product_sum sum = sum_zero();
    struct byte_scales scales = row_scales(k, first, count, n->width, s->key_mean);
    vec_store(s->key_scale + first, scales.scale);
    vec_store(inverse, scales.inverse);
    for (size_t d = 0; d < n->width_grains; d += VEC_WIDTH) {
        vec block[VEC_WIDTH];
        for (size_t i = 0; i < VEC_WIDTH; i++)
            block[i] =
                i < count
                    ? _mm512_castsi512_ps(row_bytes(number_row(k, first + i), d * GRAIN, n->width,
                                                    k->number, s->key_mean, vec_set(inverse[i])))
                    : vec_set(0);
        vec_transpose(block);
        for (size_t i = 0; i < VEC_WIDTH && d + i < n->width_grains; i++) {
            vec_store(panel + (d + i) * panel_stride, block[i]);
            sum = dot_bytes(_mm512_set1_epi8((char)128), _mm512_castps_si512(block[i]), sum);
        }
    }
    _mm512_storeu_si512(s->key_begin + first, _mm512_sub_epi32(sum_zero(), sum));
}

static void pack_keys(const struct inference_scratch *s, const struct number_rows *k,
                      const struct inference_sizes *n)
{
    column_ranges(s->key_mean, NULL, k, n);
    for (size_t p = 0; p < ratio_up(n->key_vecs, PRODUCT_VECS); p++) {
        struct piece vecs = piece_of(n->key_vecs, PRODUCT_VECS, p);
        float *panel = s->keys + vecs.first * VEC_WIDTH * n->width_grains;
        for (size_t v = 0; v < vecs.count; v++)
            pack_key_vector(panel + v * VEC_WIDTH, vecs.count * VEC_WIDTH, s, k,
                            (vecs.first + v) * VEC_WIDTH, n);
    }
}

/* 16 columns of 4 rows from `row` on, of which those below `last` exist. */
static inline __m512i column_bytes(const struct number_rows *rows, size_t row, size_t last,
                                   size_t first, size_t width, vec mean, vec inverse)
{
    const __m512i by_column =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    __m512i part[GRAIN];
    UNROLL
    for (int r = 0; r < GRAIN; r++) {
        part[r] = _mm512_setzero_si512();
        if (row + (size_t)r < last) {
            vec v = take_floats(number_row(rows, row + (size_t)r), first, width, rows->number);
            part[r] = _mm512_cvtps_epi32((v - mean) * inverse);
        }
    }
    __m512i low = _mm512_packs_epi32(part[0], part[1]);
    __m512i high = _mm512_packs_epi32(part[2], part[3]);
    return _mm512_shuffle_epi8(_mm512_packs_epi16(low, high), by_column);
}

static void pack_values(const struct inference_scratch *s, const struct number_rows *v,
                        const struct inference_sizes *n)
{
    column_ranges(s->value_mean, s->value_scale, v, n);
    for (size_t d = 0; d < n->width; d += VEC_WIDTH) {
        struct byte_scales scales = byte_scales(vec_load(s->value_scale + d));
        vec mean = vec_load(s->value_mean + d);
        vec_store(s->value_scale + d, scales.scale);
        for (size_t j = 0; j < n->token_grains; j++)
            vec_store(s->values + j * n->width_vecs * VEC_WIDTH + d,
                      _mm512_castsi512_ps(column_bytes(v, j * GRAIN, n->tokens, d, n->width, mean,
                                                       scales.inverse)));
    }
}

/* Queries first … first + rows − 1. */
static void pack_queries(const struct inference_scratch *s, const struct number_rows *q,
                         size_t first, size_t rows, float factor, const struct inference_sizes *n)
{
    const __m512i zero = _mm512_set1_epi8((char)128);
    const struct byte_scales scales = row_scales(q, first, rows, n->width, NULL);
    float inverse[VEC_WIDTH];
    vec_store(inverse, scales.inverse);
    vec_store(s->factor, scales.scale * vec_set(factor));
    for (size_t i = 0; i < rows; i++) {
        for (size_t d = 0; d < n->query_stride; d += VEC_WIDTH) {
            __m512i bytes = row_bytes(number_row(q, first + i), d * GRAIN, n->width, q->number,
                                      NULL, vec_set(inverse[i]));
            _mm512_storeu_si512(s->queries + i * n->query_stride + d,
                                _mm512_xor_si512(bytes, zero));
        }
    }
}
_Static_assert(BLOCK_ROWS <= VEC_WIDTH, "a block's scales are one vector");

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
