/* Template: masked softmax attention forward. Compiled once per level.
 *
 * Scores are held transposed, a tile of [T][a block of queries]: keys are then broadcast straight
 * from qkv, the softmax runs down the columns without any horizontal step, and the policy of a key
 * is one scalar per row. Only a block's queries are transposed, and one head's values packed. The
 * exponentials are not normalised; the output is, once, per row. */
#ifndef DVIT_KERNELS_VECTOR_ATTENTION_H
#define DVIT_KERNELS_VECTOR_ATTENTION_H

#include <float.h>

#include "kernels/kernel_names.h"
#include "kernels/vector/attention_inference.h"
#include "kernels/vector/exponential.h"
#include "kernels/vector/product.h"

enum { QUERY_BLOCK = PRODUCT_VECS * VEC_WIDTH };

/* Scratch of one head and one query block; Q = QUERY_BLOCK, P = D padded to whole vectors. The
 * second half is the backward pass's alone. */
struct attention_scratch {
    float *scores;                 /* [T][Q] a, then e */
    float *queries_t, *grads_t;    /* [D][Q] scaled queries; dout */
    float *max, *sum;              /* [Q] m_i, S_i */
    float *values;                 /* [T][P] */
    float *value_sum;              /* [P] Σ_j v_j */
    float *result;                 /* [Q][P] */
    float *grads;                  /* [T][Q] dout·v, then da */
    float *mean, *inverse;         /* [Q] D_i; 1/(S_i + eps) */
    float *queries, *douts;        /* [Q][P] */
    float *keys, *dkeys, *dvalues; /* [T][P] */
};

static inline size_t padded(size_t n)
{
    return (n + VEC_WIDTH - 1) / VEC_WIDTH * VEC_WIDTH;
}

/* Lays scratch out and returns the floats it takes; base NULL only measures. */
static size_t attention_layout(struct attention_scratch *s, float *base,
                               const struct dvit_attention_shape *shape)
{
    const size_t tokens = (size_t)shape->tokens, depth = (size_t)shape->head_dim;
    const size_t width = padded(depth), block = QUERY_BLOCK;
    const struct {
        float **array;
        size_t count;
    } parts[] = {
        {&s->scores, tokens * block},
        {&s->queries_t, depth * block},
        {&s->grads_t, depth * block},
        {&s->max, block},
        {&s->sum, block},
        {&s->values, tokens * width},
        {&s->value_sum, width},
        {&s->result, block * width},
        {&s->grads, tokens * block},
        {&s->mean, block},
        {&s->inverse, block},
        {&s->queries, block * width},
        {&s->douts, block * width},
        {&s->keys, tokens * width},
        {&s->dkeys, tokens * width},
        {&s->dvalues, tokens * width},
    };
    const size_t line = 64 / sizeof(float);
    size_t used = 0;
    for (size_t n = 0; n < sizeof parts / sizeof *parts; n++) {
        *parts[n].array = base ? base + used : NULL;
        used += (parts[n].count + line - 1) / line * line;
    }
    return used;
}

/* One block of queries of one head. */
struct query_block {
    size_t first, count; /* queries first … first + count − 1 */
    size_t columns;      /* count in whole vectors */
    const int *token;    /* [count]: which tokens they are; NULL: first … */
};

static inline size_t token_of(const struct query_block *block, size_t query)
{
    return block->token ? (size_t)block->token[query] : block->first + query;
}

/* Splits what is left evenly over the blocks it needs, so that none is a narrow rest. */
static struct query_block next_block(size_t first, size_t last, const int *token)
{
    size_t left = last - first, vecs = padded(left) / VEC_WIDTH;
    size_t blocks = (vecs + PRODUCT_VECS - 1) / PRODUCT_VECS;
    size_t columns = (vecs + blocks - 1) / blocks * VEC_WIDTH;
    return (struct query_block){first, left < columns ? left : columns, columns,
                                token ? token + first : NULL};
}

/* out[rows][padded width] = rows of a strided array, zeros behind them. */
static void pack_rows(float *out, const float *x, size_t stride, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t d = 0; d < width; d += VEC_WIDTH)
            vec_store(out + r * padded(width) + d, vec_load_part(x + r * stride + d, width - d));
}

/* out[width][QUERY_BLOCK] = scale · the transpose of block->count rows, zeros behind them. */
static void pack_transposed(float *out, const float *x, size_t stride,
                            const struct query_block *block, size_t width, float scale)
{
    for (size_t d = 0; d < width; d++) {
        float *row = out + d * QUERY_BLOCK;
        for (size_t i = 0; i < block->count; i++)
            row[i] = x[i * stride + d] * scale;
        for (size_t i = block->count; i < block->columns; i++)
            row[i] = 0;
    }
}

/* To the range of float; NaN stays. */
static inline vec saturate(vec x)
{
    return vec_min(vec_set(FLT_MAX), vec_max(vec_set(-FLT_MAX), x));
}

static inline float saturate_one(float x)
{
    return x > FLT_MAX ? FLT_MAX : x < -FLT_MAX ? -FLT_MAX : x;
}

/* m_i over the keys with policy_j > 0 (NULL: all), and i itself. */
static void column_max(float *max, const float *scores, const float *policy, size_t tokens,
                       const struct query_block *block)
{
    for (size_t c = 0; c < block->columns; c += VEC_WIDTH) {
        vec m = vec_set(-FLT_MAX);
        for (size_t j = 0; j < tokens; j++)
            if (!policy || policy[j] > 0)
                m = vec_max(saturate(vec_load(scores + j * QUERY_BLOCK + c)), m);
        vec_store(max + c, m);
    }
    for (size_t i = 0; policy && i < block->count; i++) {
        float own = saturate_one(scores[token_of(block, i) * QUERY_BLOCK + i]);
        max[i] = own > max[i] ? own : max[i];
    }
}

/* Scores → e in place; sum = S_i. Where i = j, e is that of a kept key. The rows of dropped keys
 * become 0 elsewhere, unless keep_dropped: then they stay scores, for the policy's gradient. */
static void column_exponentials(float *sum, float *scores, const float *max, const float *policy,
                                size_t tokens, const struct query_block *block, bool keep_dropped)
{
    float own[QUERY_BLOCK]; /* e_ii */
    for (size_t i = 0; policy && i < block->columns; i++)
        own[i] = i < block->count
                     ? saturate_one(scores[token_of(block, i) * QUERY_BLOCK + i]) - max[i]
                     : 0;
    for (size_t c = 0; c < block->columns; c += VEC_WIDTH) {
        vec m = vec_load(max + c), s = vec_set(0);
        for (size_t j = 0; j < tokens; j++) {
            float *at = scores + j * QUERY_BLOCK + c;
            if (!policy || policy[j] > 0) {
                vec e = vec_exp(saturate(vec_load(at)) - m);
                if (policy)
                    e = e * vec_set(policy[j]);
                vec_store(at, e);
                s = s + e;
            } else if (!keep_dropped) {
                vec_store(at, vec_set(0));
            }
        }
        vec_store(sum + c, s);
        if (policy)
            vec_store(own + c, vec_exp(vec_load(own + c)));
    }
    for (size_t i = 0; policy && i < block->count; i++) {
        size_t j = token_of(block, i);
        float *at = scores + j * QUERY_BLOCK + i;
        sum[i] += policy[j] > 0 ? own[i] - *at : own[i];
        *at = own[i];
    }
}

/* out_i = (Σ_j e_ij v_j + eps/T·Σ_j v_j)/(S_i + eps); eps = 0 is the plain softmax. */
static void normalise(float *out, size_t stride, const struct attention_scratch *s,
                      const struct query_block *block, size_t width, float eps, size_t tokens)
{
    vec share = vec_set(eps / (float)tokens);
    for (size_t i = 0; i < block->count; i++) {
        vec inverse = vec_set(1.0f / (s->sum[i] + eps));
        for (size_t d = 0; d < width; d += VEC_WIDTH) {
            vec v = vec_load(s->result + i * padded(width) + d);
            if (eps > 0)
                v = vec_fma(share, vec_load(s->value_sum + d), v);
            vec_store_part(out + i * stride + d, v * inverse, width - d);
        }
    }
}

static void sum_values(struct attention_scratch *s, size_t tokens, size_t width)
{
    for (size_t d = 0; d < width; d += VEC_WIDTH) {
        vec sum = vec_set(0);
        for (size_t j = 0; j < tokens; j++)
            sum = sum + vec_load(s->values + j * padded(width) + d);
        vec_store(s->value_sum + d, sum);
    }
}

static void attend(float *out, size_t out_stride, const struct dvit_attention_rows *x,
                   const float *policy, float eps, const struct dvit_attention_shape *shape,
                   float *scratch)
{
    const size_t tokens = (size_t)shape->tokens, width = (size_t)shape->head_dim;
    struct attention_scratch s;
    attention_layout(&s, scratch, shape);
    for (size_t h = 0; h < (size_t)shape->heads; h++) {
        const float *q = x->q + h * width, *k = x->k + h * width, *v = x->v + h * width;
        pack_rows(s.values, v, x->kv_stride, tokens, width);
        if (eps > 0)
            sum_values(&s, tokens, width);
        for (size_t i = 0; i < x->queries;) {
            struct query_block block = next_block(i, x->queries, x->token);
            pack_transposed(s.queries_t, q + i * x->q_stride, x->q_stride, &block, width,
                            shape->scale);
            product(s.scores, QUERY_BLOCK, (struct product_left){k, x->kv_stride, 1}, s.queries_t,
                    QUERY_BLOCK, tokens, block.columns, width, false);
            column_max(s.max, s.scores, policy, tokens, &block);
            column_exponentials(s.sum, s.scores, s.max, policy, tokens, &block, false);
            product(s.result, padded(width), (struct product_left){s.scores, 1, QUERY_BLOCK},
                    s.values, padded(width), block.count, padded(width), tokens, false);
            normalise(out + i * out_stride + h * width, out_stride, &s, &block, width, eps, tokens);
            i += block.count;
        }
    }
}

size_t KERNEL(attention_scratch)(const struct dvit_attention_shape *shape)
{
    struct attention_scratch s;
    size_t masked = attention_layout(&s, NULL, shape), plain = inference_floats(shape);
    return masked > plain ? masked : plain;
}

void KERNEL(attention_masked)(float *out, const struct dvit_attention_rows *x, const float *policy,
                              const struct dvit_attention_shape *shape, float *scratch)
{
    size_t channels = (size_t)shape->heads * (size_t)shape->head_dim;
    attend(out, channels, x, policy, DVIT_MASK_EPS, shape, scratch);
}

#endif
