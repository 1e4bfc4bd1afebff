/* Template: keys, values and queries of one head as granules, and the sums of their products, where
 * a number is rounded at most: f32 and bfloat16. Scales that bytes need are not looked at. */
#ifndef DVIT_KERNELS_VECTOR_INFERENCE_FLOATS_H
#define DVIT_KERNELS_VECTOR_INFERENCE_FLOATS_H

#include "kernels/vector/inference_sizes.h"

typedef vec product_sum;

static inline product_sum sum_zero(void)
{
    return vec_set(0);
}

static inline product_sum sum_begin(const float *begin)
{
    (void)begin;
    return vec_set(0);
}

static inline vec sum_score(product_sum s, const float *scale)
{
    (void)scale;
    return s;
}

static inline vec sum_result(product_sum s, float inverse, const float *scale, const float *mean)
{
    (void)scale, (void)mean;
    return s * vec_set(inverse);
}

/* One vector of keys, first … first + VEC_WIDTH − 1, as columns of a panel; zeros behind the last.
 */
static void pack_key_vector(float *panel, size_t panel_stride, const struct number_rows *k,
                            size_t first, const struct inference_sizes *n)
{
    for (size_t d = 0; d < n->width_grains; d += VEC_WIDTH) {
        vec block[VEC_WIDTH];
        for (size_t i = 0; i < VEC_WIDTH; i++)
            block[i] = first + i < n->tokens
                           ? take_granules(number_row(k, first + i), d * GRAIN, n->width, k->number)
                           : vec_set(0);
        vec_transpose(block);
        for (size_t i = 0; i < VEC_WIDTH && d + i < n->width_grains; i++)
            vec_store(panel + (d + i) * panel_stride, block[i]);
    }
}

static void pack_keys(const struct inference_scratch *s, const struct number_rows *k,
                      const struct inference_sizes *n)
{
    for (size_t p = 0; p < ratio_up(n->key_vecs, PRODUCT_VECS); p++) {
        struct piece vecs = piece_of(n->key_vecs, PRODUCT_VECS, p);
        float *panel = s->keys + vecs.first * VEC_WIDTH * n->width_grains;
        for (size_t v = 0; v < vecs.count; v++)
            pack_key_vector(panel + v * VEC_WIDTH, vecs.count * VEC_WIDTH, k,
                            (vecs.first + v) * VEC_WIDTH, n);
    }
}

static void pack_values(const struct inference_scratch *s, const struct number_rows *v,
                        const struct inference_sizes *n)
{
    float *values = s->values;
    for (size_t j = 0; j < n->tokens; j += GRAIN)
        for (size_t d = 0; d < n->width; d += VEC_WIDTH, values += VEC_WIDTH)
            vec_store(values, take_row_granules(v, j, n->tokens, d, n->width));
}

/* Queries first … first + rows − 1. */
static void pack_queries(const struct inference_scratch *s, const struct number_rows *q,
                         size_t first, size_t rows, float factor, const struct inference_sizes *n)
{
    for (size_t i = 0; i < rows; i++) {
        s->factor[i] = factor;
        for (size_t d = 0; d < n->query_stride; d += VEC_WIDTH)
            vec_store(s->queries + i * n->query_stride + d,
                      take_granules(number_row(q, first + i), d * GRAIN, n->width, q->number));
    }
}

#endif
