/* Template: the softmax attention of inference. Compiled once per level, and again where products
 * of bfloat16 numbers exist; what an operand is, operands_f32.h or its counterpart says first.
 *
 * Per head, keys are packed as panels of [D][a few vectors of keys] and values as [T][D], once for
 * all queries. Queries are taken a block of rows at a time, so that their scores stay in the
 * first-level cache between the two products. Exponentials are powers of two – log2(e) is part of
 * the queries' scale – and are not normalised; the result is, on its way out of the registers. */
#ifndef DVIT_KERNELS_VECTOR_ATTENTION_INFERENCE_H
#define DVIT_KERNELS_VECTOR_ATTENTION_INFERENCE_H

#include <float.h>
#include <math.h>
#include <stdbool.h>

#include "kernels/kernel_names.h"
#include "kernels/vector/unroll.h"

enum { BLOCK_ROWS = 2 * PRODUCT_ROWS };

#define LOG2_E 1.44269504088896341f

/* What one head takes, in granules and vectors. */
struct inference_sizes {
    size_t tokens, width;              /* T, D */
    size_t token_grains, width_grains; /* that T and D numbers take */
    size_t key_vecs, width_vecs;       /* that T and D columns take */
    size_t query_stride;               /* D numbers in whole vectors of granules */
    size_t score_stride;               /* T scores in an even number of vectors */
};

struct inference_scratch {
    float *keys;    /* panels of [width_grains][at most PRODUCT_VECS vectors of keys] */
    float *values;  /* [token_grains][width_vecs] */
    float *queries; /* [BLOCK_ROWS][query_stride] */
    float *scores;  /* [BLOCK_ROWS][score_stride]; then, in place, granules of weights */
    float *inverse; /* [BLOCK_ROWS] the largest score, then 1/Σ weights */
};

static inline size_t ratio_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit;
}

static struct inference_sizes inference_sizes(const struct dvit_attention_shape *shape)
{
    size_t tokens = (size_t)shape->tokens, width = (size_t)shape->head_dim;
    return (struct inference_sizes){
        .tokens = tokens,
        .width = width,
        .token_grains = ratio_up(tokens, GRAIN),
        .width_grains = ratio_up(width, GRAIN),
        .key_vecs = ratio_up(tokens, VEC_WIDTH),
        .width_vecs = ratio_up(width, VEC_WIDTH),
        .query_stride = ratio_up(width, GRAIN * VEC_WIDTH) * VEC_WIDTH,
        .score_stride = ratio_up(tokens, 2 * VEC_WIDTH) * 2 * VEC_WIDTH,
    };
}

/* Lays scratch out and returns the floats it takes; base NULL only measures. */
static size_t inference_layout(struct inference_scratch *s, float *base,
                               const struct inference_sizes *n)
{
    const struct {
        float **array;
        size_t count;
    } parts[] = {
        {&s->keys, n->width_grains * n->key_vecs * VEC_WIDTH},
        {&s->values, n->token_grains * n->width_vecs * VEC_WIDTH},
        {&s->queries, BLOCK_ROWS * n->query_stride},
        {&s->scores, BLOCK_ROWS * n->score_stride},
        {&s->inverse, BLOCK_ROWS},
    };
    const size_t line = 64 / sizeof(float);
    size_t used = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i].array = base ? base + used : NULL;
        used += ratio_up(parts[i].count, line) * line;
    }
    return used;
}

struct piece {
    size_t first, count;
};

/* Part `index` of a whole that is cut into as few parts of at most `most` as will do, nearly equal
 * ones, so that none is a narrow rest. */
static inline struct piece piece_of(size_t whole, size_t most, size_t index)
{
    size_t parts = ratio_up(whole, most), base = whole / parts, extra = whole % parts;
    return (struct piece){index * base + (index < extra ? index : extra), base + (index < extra)};
}

/* --- packing ------------------------------------------------------------------------------------
 */

/* One vector of keys, first … first + VEC_WIDTH − 1, as columns of a panel; zeros behind the last.
 */
static void pack_key_vector(float *panel, size_t panel_stride, const float *k, size_t stride,
                            size_t first, const struct inference_sizes *n)
{
    for (size_t d = 0; d < n->width_grains; d += VEC_WIDTH) {
        vec block[VEC_WIDTH];
        for (size_t i = 0; i < VEC_WIDTH; i++)
            block[i] = first + i < n->tokens ? load_granules(k + (first + i) * stride + d * GRAIN,
                                                             n->width - d * GRAIN, 1.0f)
                                             : vec_set(0);
        vec_transpose(block);
        for (size_t i = 0; i < VEC_WIDTH && d + i < n->width_grains; i++)
            vec_store(panel + (d + i) * panel_stride, block[i]);
    }
}

static void pack_keys(float *keys, const float *k, size_t stride, const struct inference_sizes *n)
{
    for (size_t p = 0; p < ratio_up(n->key_vecs, PRODUCT_VECS); p++) {
        struct piece vecs = piece_of(n->key_vecs, PRODUCT_VECS, p);
        float *panel = keys + vecs.first * VEC_WIDTH * n->width_grains;
        for (size_t v = 0; v < vecs.count; v++)
            pack_key_vector(panel + v * VEC_WIDTH, vecs.count * VEC_WIDTH, k, stride,
                            (vecs.first + v) * VEC_WIDTH, n);
    }
}

static void pack_values(float *values, const float *v, size_t stride,
                        const struct inference_sizes *n)
{
    for (size_t j = 0; j < n->tokens; j += GRAIN) {
        for (size_t d = 0; d < n->width; d += VEC_WIDTH) {
            vec_store(values,
                      load_row_granules(v + j * stride + d, stride, n->tokens - j, n->width - d));
            values += VEC_WIDTH;
        }
    }
}

static void pack_queries(float *queries, const float *q, size_t stride, size_t rows, float scale,
                         const struct inference_sizes *n)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t d = 0; d < n->query_stride; d += VEC_WIDTH)
            vec_store(queries + i * n->query_stride + d,
                      load_granules(q + i * stride + d * GRAIN, n->width - d * GRAIN, scale));
}

/* --- the two products ---------------------------------------------------------------------------
 */

/* out[rows] = a[rows][depth]·b[depth], each with its stride between rows. */
struct inference_product {
    float *out;
    const float *a, *b;
    size_t out_stride, a_stride, b_stride, depth;
    const float *inverse; /* [rows], what the rows are multiplied by; NULL: 1 */
    size_t columns;       /* of out that exist, if there is an inverse; else whole vectors do */
};

/* rows and vecs are constants once inlined, so that acc stays in registers. */
ALWAYS_INLINE void inference_tile(const struct inference_product *p, const bool normalise,
                                  const int rows, const int vecs)
{
    vec acc[PRODUCT_ROWS][PRODUCT_VECS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vecs; v++)
            acc[r][v] = vec_set(0);
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
        float *to = p->out + (size_t)r * p->out_stride;
        UNROLL
        for (int v = 0; v < vecs; v++) {
            if (normalise)
                vec_store_part(to + v * VEC_WIDTH, acc[r][v] * vec_set(p->inverse[r]),
                               p->columns - (size_t)v * VEC_WIDTH);
            else
                vec_store(to + v * VEC_WIDTH, acc[r][v]);
        }
    }
}

ALWAYS_INLINE void inference_rows(const struct inference_product *p, const bool normalise,
                                  size_t rows, const int vecs)
{
    switch (rows) {
    case 6:
        inference_tile(p, normalise, 6, vecs);
        break;
    case 5:
        inference_tile(p, normalise, 5, vecs);
        break;
    case 4:
        inference_tile(p, normalise, 4, vecs);
        break;
    case 3:
        inference_tile(p, normalise, 3, vecs);
        break;
    case 2:
        inference_tile(p, normalise, 2, vecs);
        break;
    default:
        inference_tile(p, normalise, 1, vecs);
        break;
    }
}
_Static_assert(PRODUCT_ROWS == 6 && PRODUCT_VECS <= 4, "every size of tile has its case");

ALWAYS_INLINE void inference_multiply(const struct inference_product *p, const bool normalise,
                                      size_t rows, size_t vecs)
{
    if (vecs == 1)
        inference_rows(p, normalise, rows, 1);
    else if (vecs == 2)
        inference_rows(p, normalise, rows, 2);
#if PRODUCT_VECS > 2
    else if (vecs == 3)
        inference_rows(p, normalise, rows, 3);
    else
        inference_rows(p, normalise, rows, 4);
#endif
}

/* scores = queries·keysᵀ; each panel meets all rows of the block while it is in cache. */
static void score_block(const struct inference_scratch *s, const struct inference_sizes *n,
                        size_t rows)
{
    for (size_t p = 0; p < ratio_up(n->key_vecs, PRODUCT_VECS); p++) {
        struct piece vecs = piece_of(n->key_vecs, PRODUCT_VECS, p);
        for (size_t t = 0; t < ratio_up(rows, PRODUCT_ROWS); t++) {
            struct piece part = piece_of(rows, PRODUCT_ROWS, t);
            const struct inference_product product = {
                .out = s->scores + part.first * n->score_stride + vecs.first * VEC_WIDTH,
                .out_stride = n->score_stride,
                .a = s->queries + part.first * n->query_stride,
                .a_stride = n->query_stride,
                .b = s->keys + vecs.first * VEC_WIDTH * n->width_grains,
                .b_stride = vecs.count * VEC_WIDTH,
                .depth = n->width_grains};
            inference_multiply(&product, false, part.count, vecs.count);
        }
    }
}

/* out = weights·values, normalised. */
static void value_block(float *out, size_t out_stride, const struct inference_scratch *s,
                        const struct inference_sizes *n, size_t rows)
{
    for (size_t t = 0; t < ratio_up(rows, PRODUCT_ROWS); t++) {
        struct piece part = piece_of(rows, PRODUCT_ROWS, t);
        for (size_t p = 0; p < ratio_up(n->width_vecs, PRODUCT_VECS); p++) {
            struct piece vecs = piece_of(n->width_vecs, PRODUCT_VECS, p);
            size_t column = vecs.first * VEC_WIDTH;
            const struct inference_product product = {.out = out + part.first * out_stride + column,
                                                      .out_stride = out_stride,
                                                      .a = s->scores + part.first * n->score_stride,
                                                      .a_stride = n->score_stride,
                                                      .b = s->values + column,
                                                      .b_stride = n->width_vecs * VEC_WIDTH,
                                                      .depth = n->token_grains,
                                                      .inverse = s->inverse + part.first,
                                                      .columns = n->width - column};
            inference_multiply(&product, true, part.count, vecs.count);
        }
    }
}

/* --- the softmax --------------------------------------------------------------------------------
 */

/* To the range of float; NaN stays. Only for rows that hold infinite scores. */
static void saturate_row(float *score, size_t tokens)
{
    for (size_t j = 0; j < tokens; j++)
        score[j] = score[j] > FLT_MAX ? FLT_MAX : score[j] < -FLT_MAX ? -FLT_MAX : score[j];
}

/* The largest score of a row, NaN aside. What lies behind the row's last score becomes −∞. */
static float row_max(float *score, const struct inference_sizes *n)
{
    size_t last = (n->key_vecs - 1) * VEC_WIDTH, j = 0;
    vec tail = vec_keep_part(vec_load(score + last), n->tokens - last, -INFINITY);
    vec_store(score + last, tail);
    vec even = vec_max(tail, vec_set(-INFINITY)), odd = even;
    for (; j + VEC_WIDTH < last; j += 2 * VEC_WIDTH) {
        even = vec_max(vec_load(score + j), even);
        odd = vec_max(vec_load(score + j + VEC_WIDTH), odd);
    }
    if (j < last)
        even = vec_max(vec_load(score + j), even);
    float max = vec_max_lane(vec_max(even, odd));
    if (fabsf(max) <= FLT_MAX)
        return max;
    saturate_row(score, n->tokens);
    return max > 0 ? FLT_MAX : -FLT_MAX;
}

/* A row's scores → granules of weights, in place; returns their sum before rounding. */
static float row_weights(float *score, float max, const struct inference_sizes *n)
{
    vec m = vec_set(max), even = vec_set(0), odd = vec_set(0);
    for (size_t v = 0; v < n->key_vecs; v += 2) {
        vec e = weight_exp2(vec_load(score + v * VEC_WIDTH) - m), f = vec_set(0);
        if (v + 1 < n->key_vecs)
            f = weight_exp2(vec_load(score + (v + 1) * VEC_WIDTH) - m);
        store_weights(score, v, e, f);
        even = even + e;
        odd = odd + f;
    }
    return vec_sum(even + odd);
}

/* Row by row in each step, so that the steps of several rows overlap. */
static void weigh_block(const struct inference_scratch *s, const struct inference_sizes *n,
                        size_t rows)
{
    for (size_t i = 0; i < rows; i++)
        s->inverse[i] = row_max(s->scores + i * n->score_stride, n);
    for (size_t i = 0; i < rows; i++)
        s->inverse[i] = row_weights(s->scores + i * n->score_stride, s->inverse[i], n);
    for (size_t i = 0; i < rows; i++)
        s->inverse[i] = 1.0f / s->inverse[i];
}

static inline size_t inference_floats(const struct dvit_attention_shape *shape)
{
    const struct inference_sizes n = inference_sizes(shape);
    struct inference_scratch s;
    return inference_layout(&s, NULL, &n);
}

void KERNEL(attention)(float *out, size_t out_stride, const float *q, size_t q_stride,
                       const float *k, const float *v, size_t kv_stride, size_t queries,
                       const struct dvit_attention_shape *shape, float *scratch)
{
    const struct inference_sizes n = inference_sizes(shape);
    struct inference_scratch s;
    inference_layout(&s, scratch, &n);
    for (size_t h = 0; queries > 0 && h < (size_t)shape->heads; h++) {
        size_t at = h * n.width;
        pack_keys(s.keys, k + at, kv_stride, &n);
        pack_values(s.values, v + at, kv_stride, &n);
        for (size_t b = 0; b < ratio_up(queries, BLOCK_ROWS); b++) {
            struct piece rows = piece_of(queries, BLOCK_ROWS, b);
            pack_queries(s.queries, q + rows.first * q_stride + at, q_stride, rows.count,
                         shape->scale * LOG2_E, &n);
            score_block(&s, &n, rows.count);
            weigh_block(&s, &n, rows.count);
            value_block(out + rows.first * out_stride + at, out_stride, &s, &n, rows.count);
        }
    }
}

#endif
