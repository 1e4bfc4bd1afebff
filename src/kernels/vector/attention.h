/* Template: masked softmax attention forward. Compiled once per level and type of operands.
 *
 * Scores are held transposed, a tile of [T][a block of queries]: keys are then broadcast straight
 * from their rows, the softmax runs down the columns without any horizontal step, and the policy of
 * a key is one scalar per row. Only a block's queries are transposed, and one head's values packed.
 * The exponentials are not normalised; the output is, once, per row.
 *
 * A product's operands are granules of 32 bits along the direction of the sum (README.md),
 * everything else is floats. What becomes an operand once it is complete becomes it in place. */
#ifndef DVIT_KERNELS_VECTOR_ATTENTION_H
#define DVIT_KERNELS_VECTOR_ATTENTION_H

#include <float.h>

#include "kernels/kernel_names.h"
#include "kernels/vector/attention_inference.h"
#include "kernels/vector/exponential.h"
#include "kernels/vector/product.h"

enum { QUERY_BLOCK = PRODUCT_VECS * VEC_WIDTH };

/* Scratch of one head and one query block; Q = QUERY_BLOCK, P = D padded to whole vectors. Operands
 * need at most the floats that are said. The second half is the backward pass's alone. */
struct attention_scratch {
    float *scores;              /* [T][Q] a, then e or A */
    float *queries_t, *grads_t; /* [D][Q] operands: scaled queries; dout */
    float *max, *sum;           /* [Q] m_i, S_i */
    float *key_rows;            /* [T][P] operands along the width, unless they are k itself */
    float *values;              /* [T][P] operands along the keys */
    float *value_sum;           /* [P] Σ_j v_j */
    float *result;              /* [Q][P] */
    float *grads;               /* [T][Q] dout·v, then da */
    float *grads_by_key;        /* [T][Q] operands along the keys, unless they are grads itself */
    float *mean, *inverse;      /* [Q] D_i; 1/(S_i + eps) */
    float *queries, *douts;     /* [Q][P] operands along the queries */
    float *keys;                /* [T][P] operands along the keys */
    float *value_rows;          /* as key_rows */
    float *dkeys, *dvalues;     /* [T][P] */
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
        {&s->key_rows, tokens * width},
        {&s->values, tokens * width},
        {&s->value_sum, width},
        {&s->result, block * width},
        {&s->grads, tokens * block},
        {&s->grads_by_key, tokens * block},
        {&s->mean, block},
        {&s->inverse, block},
        {&s->queries, block * width},
        {&s->douts, block * width},
        {&s->keys, tokens * width},
        {&s->value_rows, tokens * width},
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

static inline size_t granules_of(size_t numbers)
{
    return (numbers + GRAIN - 1) / GRAIN;
}

/* Rows of a strided array as a left operand, summed along the width: in room, or as they are. */
static struct product_left row_operand(float *room, const float *x, size_t stride, size_t rows,
                                       size_t width)
{
    if (GRAIN == 1)
        return (struct product_left){x, stride, 1};
    const size_t row = padded(granules_of(width));
    for (size_t r = 0; r < rows; r++)
        for (size_t d = 0; d < width; d += GRAIN * VEC_WIDTH)
            vec_store(room + r * row + d / GRAIN, load_granules(x + r * stride + d, width - d, 1));
    return (struct product_left){room, row, 1};
}

/* out[rows in granules][padded width]: rows of a strided array as a right operand, summed along the
 * rows; zeros behind them. */
static void pack_rows(float *out, const float *x, size_t stride, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r += GRAIN)
        for (size_t d = 0; d < width; d += VEC_WIDTH)
            vec_store(out + r / GRAIN * padded(width) + d,
                      load_row_granules(x + r * stride + d, stride, rows - r, width - d));
}

/* out[width in granules][QUERY_BLOCK] = scale · the transpose of block->count rows, zeros behind
 * them: a right operand, summed along the width. */
static void pack_transposed(float *out, const float *x, size_t stride,
                            const struct query_block *block, size_t width, float scale)
{
    const size_t depth = granules_of(width);
    for (size_t first = 0; first < block->columns; first += VEC_WIDTH) {
        for (size_t g = 0; g < depth; g += VEC_WIDTH) {
            vec rows[VEC_WIDTH];
            for (size_t i = 0; i < VEC_WIDTH; i++)
                rows[i] = first + i < block->count
                              ? load_granules(x + (first + i) * stride + g * GRAIN,
                                              width - g * GRAIN, scale)
                              : vec_set(0);
            vec_transpose(rows);
            for (size_t i = 0; i < VEC_WIDTH && g + i < depth; i++)
                vec_store(out + (g + i) * QUERY_BLOCK + first, rows[i]);
        }
    }
}

/* A tile [T][QUERY_BLOCK] as a left operand of its columns, summed along the keys: in room, which
 * may be the tile, or as it is. */
static struct product_left operand_by_key(float *room, const float *tile, size_t tokens,
                                          size_t columns)
{
    for (size_t j = 0; GRAIN > 1 && j < tokens; j += GRAIN)
        for (size_t c = 0; c < columns; c += VEC_WIDTH)
            vec_store(room + j / GRAIN * QUERY_BLOCK + c,
                      load_row_granules(tile + j * QUERY_BLOCK + c, QUERY_BLOCK, tokens - j,
                                        columns - c));
    return (struct product_left){GRAIN > 1 ? room : tile, 1, QUERY_BLOCK};
}

/* The same tile, in place, as a left operand of its rows, summed along the queries. */
static struct product_left operand_by_query(float *tile, size_t tokens, size_t columns)
{
    for (size_t j = 0; GRAIN > 1 && j < tokens; j++)
        for (size_t c = 0; c < columns; c += GRAIN * VEC_WIDTH)
            vec_store(tile + j * QUERY_BLOCK + c / GRAIN,
                      load_granules(tile + j * QUERY_BLOCK + c, columns - c, 1));
    return (struct product_left){tile, QUERY_BLOCK, 1};
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

/* out_i = (Σ_j e_ij v_j + eps/T·Σ_j v_j)/(S_i + eps) */
static void normalise(float *out, size_t stride, const struct attention_scratch *s,
                      const struct query_block *block, size_t width, size_t tokens)
{
    vec share = vec_set(DVIT_MASK_EPS / (float)tokens);
    for (size_t i = 0; i < block->count; i++) {
        vec inverse = vec_set(1.0f / (s->sum[i] + DVIT_MASK_EPS));
        for (size_t d = 0; d < width; d += VEC_WIDTH) {
            vec v = vec_load(s->result + i * padded(width) + d);
            v = vec_fma(share, vec_load(s->value_sum + d), v);
            vec_store_part(out + i * stride + d, v * inverse, width - d);
        }
    }
}

static void sum_values(float *sum, const float *v, size_t stride, size_t tokens, size_t width)
{
    for (size_t d = 0; d < width; d += VEC_WIDTH) {
        vec total = vec_set(0);
        for (size_t j = 0; j < tokens; j++)
            total = total + vec_load_part(v + j * stride + d, width - d);
        vec_store(sum + d, total);
    }
}

#if GRAIN == 1 /* the level's floats need the most */
size_t KERNEL(attention_scratch)(const struct dvit_attention_shape *shape)
{
    struct attention_scratch s;
    size_t masked = attention_layout(&s, NULL, shape), plain = inference_floats(shape);
    return masked > plain ? masked : plain;
}
#endif

void KERNEL(attention_masked)(float *out, const struct dvit_attention_rows *x, const float *policy,
                              const struct dvit_attention_shape *shape, float *scratch)
{
    const size_t tokens = (size_t)shape->tokens, width = (size_t)shape->head_dim;
    const size_t channels = (size_t)shape->heads * width;
    struct attention_scratch s;
    attention_layout(&s, scratch, shape);
    for (size_t h = 0; h < (size_t)shape->heads; h++) {
        const float *q = x->q + h * width, *k = x->k + h * width, *v = x->v + h * width;
        const struct product_left keys = row_operand(s.key_rows, k, x->kv_stride, tokens, width);
        pack_rows(s.values, v, x->kv_stride, tokens, width);
        sum_values(s.value_sum, v, x->kv_stride, tokens, width);
        for (size_t i = 0; i < x->queries;) {
            struct query_block block = next_block(i, x->queries, x->token);
            pack_transposed(s.queries_t, q + i * x->q_stride, x->q_stride, &block, width,
                            shape->scale);
            product(s.scores, QUERY_BLOCK, keys, s.queries_t, QUERY_BLOCK, tokens, block.columns,
                    granules_of(width), false);
            column_max(s.max, s.scores, policy, tokens, &block);
            column_exponentials(s.sum, s.scores, s.max, policy, tokens, &block, false);
            product(s.result, padded(width),
                    operand_by_key(s.scores, s.scores, tokens, block.columns), s.values,
                    padded(width), block.count, padded(width), granules_of(tokens), false);
            normalise(out + i * channels + h * width, channels, &s, &block, width, tokens);
            i += block.count;
        }
    }
}

#endif
