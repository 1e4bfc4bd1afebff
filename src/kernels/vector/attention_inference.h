/* Template: the softmax attention of inference. Compiled once per level, and again where products
 * of bfloat16 numbers or bytes exist; what an operand is, operands_f32.h or its counterpart says
 * first.
 *
 * Per head, keys are packed as panels of [D][a few vectors of keys] and values as [T][D], once for
 * all queries. Queries are taken a block of rows at a time, so that their scores stay in the
 * first-level cache between the two products. Exponentials are powers of two – log2(e) and the
 * scale are a factor of the scores – and are not normalised; the result is, on its way out of the
 * registers. */
#ifndef DVIT_KERNELS_VECTOR_ATTENTION_INFERENCE_H
#define DVIT_KERNELS_VECTOR_ATTENTION_INFERENCE_H

#include <float.h>
#include <math.h>
#include <stdbool.h>

#include "kernels/kernel_names.h"
#include "kernels/vector/inference_sizes.h"
#include "kernels/vector/unroll.h"

#define LOG2_E 1.44269504088896341f

/* --- the two products ---------------------------------------------------------------------------
 */

/* a[rows][depth]·b[depth], each with its stride between rows. */
struct inference_product {
    const float *a, *b;
    size_t a_stride, b_stride, depth;
    size_t columns; /* from the first on, how many exist */
    /* As scores: */
    float *scores;
    size_t score_stride;
    float *max; /* [rows][VEC_WIDTH] the largest so far, lane by lane, NaN aside */
    const float *begin;
    /* As results, divided by what weights sum up to: */
    char *out;
    size_t out_stride, column; /* bytes; the first number of the row */
    const float *inverse;      /* [rows] */
    const float *mean;
    struct result_format format;
    const float *scale; /* of either */
};

/* What is not there becomes −∞. */
ALWAYS_INLINE void put_scores(const struct inference_product *p, int row, const product_sum *sums,
                              const int vecs)
{
    float *to = p->scores + (size_t)row * p->score_stride, *lanes = p->max + row * VEC_WIDTH;
    vec max = vec_load(lanes);
    UNROLL
    for (int v = 0; v < vecs; v++) {
        size_t at = (size_t)v * VEC_WIDTH;
        vec score = sum_score(sums[v], p->scale + at);
        if (at + VEC_WIDTH > p->columns)
            score = vec_keep_part(score, p->columns - at, -INFINITY);
        vec_store(to + at, score);
        max = vec_max(score, max);
    }
    vec_store(lanes, max);
}

ALWAYS_INLINE void put_results(const struct inference_product *p, int row, const product_sum *sums,
                               const int vecs)
{
    UNROLL
    for (int v = 0; v < vecs; v++) {
        size_t at = (size_t)v * VEC_WIDTH;
        vec result = sum_result(sums[v], p->inverse[row], p->scale + at, p->mean + at);
        store_result(p->out + (size_t)row * p->out_stride, p->column + at, result, p->columns - at,
                     &p->format);
    }
}

/* rows and vecs are constants once inlined, so that acc stays in registers. */
ALWAYS_INLINE void inference_tile(const struct inference_product *p, const bool results,
                                  const int rows, const int vecs)
{
    product_sum acc[PRODUCT_ROWS][PRODUCT_VECS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vecs; v++)
            acc[r][v] = results ? sum_zero() : sum_begin(p->begin + v * VEC_WIDTH);
    }
    const float *a = p->a, *b = p->b;
    const size_t a_stride = p->a_stride, b_stride = p->b_stride;
    for (const float *end = a + p->depth; a < end; a++, b += b_stride) {
        vec right[PRODUCT_VECS];
        UNROLL
        for (int v = 0; v < vecs; v++)
            right[v] = vec_load(b + v * VEC_WIDTH);
        UNROLL
        for (int r = 0; r < rows; r++) {
            vec left = vec_set(a[(size_t)r * a_stride]);
            UNROLL
            for (int v = 0; v < vecs; v++)
                acc[r][v] = multiply_add(left, right[v], acc[r][v]);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        if (results)
            put_results(p, r, acc[r], vecs);
        else
            put_scores(p, r, acc[r], vecs);
    }
}

ALWAYS_INLINE void inference_rows(const struct inference_product *p, const bool results,
                                  size_t rows, const int vecs)
{
    switch (rows) {
    case 6:
        inference_tile(p, results, 6, vecs);
        break;
    case 5:
        inference_tile(p, results, 5, vecs);
        break;
    case 4:
        inference_tile(p, results, 4, vecs);
        break;
    case 3:
        inference_tile(p, results, 3, vecs);
        break;
    case 2:
        inference_tile(p, results, 2, vecs);
        break;
    default:
        inference_tile(p, results, 1, vecs);
        break;
    }
}
_Static_assert(PRODUCT_ROWS == 6 && PRODUCT_VECS <= 4, "every size of tile has its case");

ALWAYS_INLINE void inference_multiply(const struct inference_product *p, const bool results,
                                      size_t rows, size_t vecs)
{
    if (vecs == 1)
        inference_rows(p, results, rows, 1);
    else if (vecs == 2)
        inference_rows(p, results, rows, 2);
#if PRODUCT_VECS > 2
    else if (vecs == 3)
        inference_rows(p, results, rows, 3);
    else
        inference_rows(p, results, rows, 4);
#endif
}

/* scores = queries·keysᵀ; each panel meets all rows of the block while it is in cache. */
static void score_block(const struct inference_scratch *s, const struct inference_sizes *n,
                        size_t rows)
{
    for (size_t i = 0; i < BLOCK_LANES; i++)
        vec_store(s->lanes + i * VEC_WIDTH, vec_set(-INFINITY));
    for (size_t p = 0; p < ratio_up(n->key_vecs, PRODUCT_VECS); p++) {
        struct piece vecs = piece_of(n->key_vecs, PRODUCT_VECS, p);
        size_t column = vecs.first * VEC_WIDTH;
        for (size_t t = 0; t < ratio_up(rows, PRODUCT_ROWS); t++) {
            struct piece part = piece_of(rows, PRODUCT_ROWS, t);
            const struct inference_product product = {
                .a = s->queries + part.first * n->query_stride,
                .a_stride = n->query_stride,
                .b = s->keys + column * n->width_grains,
                .b_stride = vecs.count * VEC_WIDTH,
                .depth = n->width_grains,
                .columns = n->tokens - column,
                .max = s->lanes + part.first * VEC_WIDTH,
                .scores = s->scores + part.first * n->score_stride + column,
                .score_stride = n->score_stride,
                .begin = s->key_begin + column,
                .scale = s->key_scale + column};
            inference_multiply(&product, false, part.count, vecs.count);
        }
    }
}

/* out = weights·values, divided by what the weights sum up to; its stride is in bytes. */
static void value_block(char *out, size_t out_stride, const struct result_format *format,
                        const struct inference_scratch *s, const struct inference_sizes *n,
                        size_t rows)
{
    for (size_t t = 0; t < ratio_up(rows, PRODUCT_ROWS); t++) {
        struct piece part = piece_of(rows, PRODUCT_ROWS, t);
        for (size_t p = 0; p < ratio_up(n->width_vecs, PRODUCT_VECS); p++) {
            struct piece vecs = piece_of(n->width_vecs, PRODUCT_VECS, p);
            size_t column = vecs.first * VEC_WIDTH;
            const struct inference_product product = {.a = s->scores + part.first * n->score_stride,
                                                      .a_stride = n->score_stride,
                                                      .b = s->values + column,
                                                      .b_stride = n->width_vecs * VEC_WIDTH,
                                                      .depth = n->token_grains,
                                                      .out = out + part.first * out_stride,
                                                      .out_stride = out_stride,
                                                      .column = column,
                                                      .columns = n->width - column,
                                                      .inverse = s->inverse + part.first,
                                                      .mean = s->value_mean + column,
                                                      .format = *format,
                                                      .scale = s->value_scale + column};
            inference_multiply(&product, true, part.count, vecs.count);
        }
    }
}

/* --- the softmax --------------------------------------------------------------------------------
 */

/* The row's scores relative to the largest, `max`; those beyond the range of float count as its
 * ends. NaN stays. */
static void shift_row(float *score, float max, size_t tokens)
{
    vec low = vec_set(-FLT_MAX), high = vec_set(FLT_MAX);
    vec top = vec_max(vec_min(vec_set(max), high), low);
    for (size_t j = 0; j < tokens; j += VEC_WIDTH) {
        vec v = vec_load(score + j);
        vec_store_part(score + j, vec_min(high, vec_max(low, v)) - top, tokens - j);
    }
}

/* A row's scores → granules of weights, in place; returns their sums before rounding, lane by lane.
 */
static inline vec row_weights(float *score, float max, float factor,
                              const struct inference_sizes *n)
{
    vec scale = vec_set(factor), offset = vec_set(-max * factor), sum[2] = {vec_set(0), vec_set(0)};
    for (size_t v = 0; v < n->key_vecs; v += WEIGHT_VECS) {
        vec e[WEIGHT_VECS];
        UNROLL
        for (size_t g = 0; g < WEIGHT_VECS; g++) {
            e[g] = vec_set(0);
            if (v + g < n->key_vecs)
                e[g] = weight_exp2(vec_fma(vec_load(score + (v + g) * VEC_WIDTH), scale, offset));
            sum[g % 2] = sum[g % 2] + e[g];
        }
        store_weights(score, v, e);
    }
    return sum[0] + sum[1];
}

/* The lanes of VEC_WIDTH rows as columns. */
static inline void load_lanes(vec *columns, const float *lanes)
{
    for (size_t i = 0; i < VEC_WIDTH; i++)
        columns[i] = vec_load(lanes + i * VEC_WIDTH);
    vec_transpose(columns);
}

/* Of each row, the largest lane and the sum of the lanes. */
static inline vec fold_max(const float *lanes)
{
    vec column[VEC_WIDTH];
    load_lanes(column, lanes);
    for (size_t i = 1; i < VEC_WIDTH; i++)
        column[0] = vec_max(column[0], column[i]);
    return column[0];
}

static inline vec fold_sum(const float *lanes)
{
    vec column[VEC_WIDTH];
    load_lanes(column, lanes);
    for (size_t i = 1; i < VEC_WIDTH; i++)
        column[0] = column[0] + column[i];
    return column[0];
}

/* Scores so large that rounding the product with the factor might lift an exponent far above 0 are
 * made relative to the largest first. */
static void shift_far_rows(const struct inference_scratch *s, const struct inference_sizes *n,
                           size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        if (fabsf(s->max[i] * s->factor[i]) <= 0x1p12f)
            continue;
        shift_row(s->scores + i * n->score_stride, s->max[i], n->tokens);
        s->max[i] = 0;
    }
}

/* The scores of a block → weights. */
static void weigh_block(const struct inference_scratch *s, const struct inference_sizes *n,
                        size_t rows)
{
    for (size_t i = 0; i < BLOCK_LANES; i += VEC_WIDTH)
        vec_store(s->max + i, fold_max(s->lanes + i * VEC_WIDTH));
    shift_far_rows(s, n, rows);
    for (size_t i = 0; i < rows; i++)
        vec_store(s->lanes + i * VEC_WIDTH,
                  row_weights(s->scores + i * n->score_stride, s->max[i], s->factor[i], n));
    for (size_t i = 0; i < BLOCK_LANES; i += VEC_WIDTH)
        vec_store(s->inverse + i, vec_set(1) / fold_sum(s->lanes + i * VEC_WIDTH));
}

/* --- one call -----------------------------------------------------------------------------------
 */

static inline size_t inference_floats(const struct dvit_attention_shape *shape)
{
    const struct inference_sizes n = inference_sizes(shape);
    struct inference_scratch s;
    return inference_layout(&s, NULL, &n);
}

/* All queries of the head whose first channel is `at`. */
static void inference_head(const struct dvit_attention_job *job, size_t at, float factor,
                           const struct inference_scratch *s, const struct inference_sizes *n)
{
    const struct number_rows q = number_rows(job->q, at, job->q_stride, job->q_number),
                             k = number_rows(job->k, at, job->kv_stride, job->kv_number),
                             v = number_rows(job->v, at, job->kv_stride, job->kv_number);
    const struct result_format format = result_format_of(&job->out_format);
    size_t bytes = dvit_number_bytes(job->out_format.number), out_stride = job->out_stride * bytes;
    char *out = (char *)job->out + at * bytes;
    pack_keys(s, &k, n);
    pack_values(s, &v, n);
    for (size_t b = 0; b < ratio_up(job->queries, BLOCK_ROWS); b++) {
        struct piece rows = piece_of(job->queries, BLOCK_ROWS, b);
        pack_queries(s, &q, rows.first, rows.count, factor, n);
        score_block(s, n, rows.count);
        weigh_block(s, n, rows.count);
        value_block(out + rows.first * out_stride, out_stride, &format, s, n, rows.count);
    }
}

void KERNEL(attention)(const struct dvit_attention_job *job,
                       const struct dvit_attention_shape *shape, float *scratch)
{
    const struct inference_sizes n = inference_sizes(shape);
    struct inference_scratch s;
    inference_layout(&s, scratch, &n);
    for (size_t h = 0; job->queries > 0 && h < (size_t)shape->heads; h++)
        inference_head(job, h * n.width, shape->scale * LOG2_E, &s, &n);
}

#endif
