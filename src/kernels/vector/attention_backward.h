/* Template: backward of the masked softmax attention. Compiled once per level.
 *
 * The scores are computed again, block by block, as in the forward pass (attention.h); per block
 * one more product gives dA, then three give dq and add to dk and dv, which stay in scratch until
 * the head is done. */
#ifndef DVIT_KERNELS_VECTOR_ATTENTION_BACKWARD_H
#define DVIT_KERNELS_VECTOR_ATTENTION_BACKWARD_H

#include "kernels/vector/attention.h"

/* D_i = dout_i·out_i and 1/(S_i + eps); 0 for the block's padding. */
static void row_terms(const struct attention_scratch *s, const float *dout, const float *out,
                      size_t stride, const struct query_block *block, size_t width)
{
    for (size_t i = 0; i < block->columns; i++)
        s->mean[i] = s->inverse[i] = 0;
    for (size_t i = 0; i < block->count; i++) {
        vec sum = vec_set(0);
        for (size_t d = 0; d < width; d += VEC_WIDTH)
            sum = vec_fma(vec_load_part(dout + i * stride + d, width - d),
                          vec_load_part(out + i * stride + d, width - d), sum);
        s->mean[i] = vec_sum(sum);
        s->inverse[i] = 1.0f / (s->sum[i] + DVIT_MASK_EPS);
    }
}

/* A kept key's row: scores e → A, grads dout·v → da. Returns Σ_i da_ij. */
static float kept_row(const struct attention_scratch *s, float *scores, float *grads,
                      size_t columns, float share)
{
    vec total = vec_set(0);
    for (size_t c = 0; c < columns; c += VEC_WIDTH) {
        vec e = vec_load(scores + c), inverse = vec_load(s->inverse + c);
        vec da = (vec_load(grads + c) - vec_load(s->mean + c)) * inverse * e;
        vec_store(scores + c, (e + vec_set(share)) * inverse);
        vec_store(grads + c, da);
        total = total + da;
    }
    return vec_sum(total);
}

/* A dropped key's row: scores a → A, grads dout·v → 0. Returns Σ_i de_ij·exp(min(a_ij − m_i, …)).
 */
static float dropped_row(const struct attention_scratch *s, float *scores, float *grads,
                         size_t columns, float share, float lead_cap, bool want_total)
{
    vec total = vec_set(0);
    for (size_t c = 0; c < columns; c += VEC_WIDTH) {
        vec inverse = vec_load(s->inverse + c);
        if (want_total) {
            vec lead = saturate(vec_load(scores + c)) - vec_load(s->max + c);
            vec de = (vec_load(grads + c) - vec_load(s->mean + c)) * inverse;
            total = vec_fma(de, vec_exp(vec_min(vec_set(lead_cap), lead)), total);
        }
        vec_store(scores + c, vec_set(share) * inverse);
        vec_store(grads + c, vec_set(0));
    }
    return vec_sum(total);
}

/* The whole tile: scores → A, grads → da; dpolicy (may be NULL) += its share. The element i = j has
 * its own gate and no part in dpolicy: it is taken out of the row first and put back last. */
static void gradient_tile(const struct attention_scratch *s, float *dpolicy, const float *policy,
                          size_t tokens, const struct query_block *block, float share,
                          float lead_cap)
{
    for (size_t j = 0, next = 0; j < tokens; j++) {
        float *scores = s->scores + j * QUERY_BLOCK, *grads = s->grads + j * QUERY_BLOCK;
        bool kept = !policy || policy[j] > 0;
        bool own = next < block->count && token_of(block, next) == j;
        size_t i = own ? next++ : 0;
        float e = scores[i], de = (grads[i] - s->mean[i]) * s->inverse[i];
        if (own)
            scores[i] = kept ? 0 : -FLT_MAX;
        float total =
            kept ? kept_row(s, scores, grads, block->columns, share)
                 : dropped_row(s, scores, grads, block->columns, share, lead_cap, dpolicy != NULL);
        if (own) {
            scores[i] = (e + share) * s->inverse[i];
            grads[i] = de * e;
        }
        if (dpolicy)
            dpolicy[j] += kept && policy ? total / policy[j] : total;
    }
}

/* out[rows][width] of a strided array = scale·x[rows][padded width] */
static void unpack_rows(float *out, size_t stride, const float *x, size_t rows, size_t width,
                        float scale)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t d = 0; d < width; d += VEC_WIDTH)
            vec_store_part(out + r * stride + d,
                           vec_set(scale) * vec_load(x + r * padded(width) + d), width - d);
}

/* What one head reads and writes, at its first channel. */
struct head_arrays {
    const float *q;
    struct product_left k, v;
    const float *dout, *out; /* rows C apart */
    float *dq;               /* rows apart as q's */
    size_t q_stride, channels, tokens, width;
    float scale, lead_cap;
};

/* One block of queries: dq written, dk and dv (in scratch) added to, or begun by the first block.
 */
static void backward_block(const struct attention_scratch *s, const struct head_arrays *head,
                           float *dpolicy, const float *policy, const struct query_block *block)
{
    const size_t stride = head->q_stride, width = head->width, wide_width = padded(width);
    const size_t tokens = head->tokens, depth = granules_of(width);
    const size_t queries = granules_of(block->count);
    const float *q = head->q + block->first * stride;
    const float *dout = head->dout + block->first * head->channels;
    const bool add = block->first > 0;

    pack_transposed(s->queries_t, q, stride, block, width, head->scale);
    product(s->scores, QUERY_BLOCK, head->k, s->queries_t, QUERY_BLOCK, tokens, block->columns,
            depth, false);
    column_max(s->max, s->scores, policy, tokens, block);
    column_exponentials(s->sum, s->scores, s->max, policy, tokens, block, true);
    row_terms(s, dout, head->out + block->first * head->channels, head->channels, block, width);

    pack_transposed(s->grads_t, dout, head->channels, block, width, 1.0f);
    product(s->grads, QUERY_BLOCK, head->v, s->grads_t, QUERY_BLOCK, tokens, block->columns, depth,
            false);
    gradient_tile(s, dpolicy, policy, tokens, block, DVIT_MASK_EPS / (float)tokens, head->lead_cap);

    product(s->result, wide_width,
            operand_by_key(s->grads_by_key, s->grads, tokens, block->columns), s->keys, wide_width,
            block->count, wide_width, granules_of(tokens), false);
    unpack_rows(head->dq + block->first * stride, stride, s->result, block->count, width,
                head->scale);
    pack_rows(s->queries, q, stride, block->count, width);
    product(s->dkeys, wide_width, operand_by_query(s->grads, tokens, block->columns), s->queries,
            wide_width, tokens, wide_width, queries, add);
    pack_rows(s->douts, dout, head->channels, block->count, width);
    product(s->dvalues, wide_width, operand_by_query(s->scores, tokens, block->columns), s->douts,
            wide_width, tokens, wide_width, queries, add);
}

void KERNEL(attention_masked_backward)(float *dq, float *dk, float *dv, float *dpolicy,
                                       const float *dout, const float *out,
                                       const struct dvit_attention_rows *x, const float *policy,
                                       const struct dvit_attention_shape *shape, float *scratch)
{
    const size_t tokens = (size_t)shape->tokens, width = (size_t)shape->head_dim;
    struct attention_scratch s;
    attention_layout(&s, scratch, shape);
    for (size_t h = 0; h < (size_t)shape->heads; h++) {
        const size_t at = h * width, kv_stride = x->kv_stride;
        const float *k = x->k + at, *v = x->v + at;
        const struct head_arrays head = {
            .q = x->q + at,
            .k = row_operand(s.key_rows, k, kv_stride, tokens, width),
            .v = row_operand(s.value_rows, v, kv_stride, tokens, width),
            .dout = dout + at,
            .out = out + at,
            .dq = dq + at,
            .q_stride = x->q_stride,
            .channels = (size_t)shape->heads * width,
            .tokens = tokens,
            .width = width,
            .scale = shape->scale,
            .lead_cap = shape->lead_cap,
        };
        pack_rows(s.keys, k, kv_stride, tokens, width);
        for (size_t i = 0; i < x->queries;) {
            struct query_block block = next_block(i, x->queries, x->token);
            backward_block(&s, &head, dpolicy, policy, &block);
            i += block.count;
        }
        unpack_rows(dk + at, kv_stride, s.dkeys, tokens, width, shape->scale);
        unpack_rows(dv + at, kv_stride, s.dvalues, tokens, width, 1.0f);
    }
}

#endif
