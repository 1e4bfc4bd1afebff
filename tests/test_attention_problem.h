/* Inputs and outputs of one case of attention, between guard pages; and its functions, run on it.
 */
#ifndef DVIT_TEST_ATTENTION_PROBLEM_H
#define DVIT_TEST_ATTENTION_PROBLEM_H

#include "base/rng.h"
#include "kernels/kernels.h"
#include "test_kernels_guard.h"

enum policy_kind { POLICY_NONE, POLICY_ONES, POLICY_ZEROS, POLICY_RANDOM, POLICY_KINDS };

struct size_case {
    int tokens, head_dim, heads;
};

/* Inputs and outputs of one case. gap: the spread of the scores, roughly. */
struct problem {
    struct dvit_attention_shape shape;
    size_t tokens, width, channels;
    const float *policy_or_null;
    bool bf16; /* masked attention's operands */
    struct guarded qkv, policy, dout, out, dqkv, dpolicy, scratch;
};

static struct problem problem_new(struct size_case size, enum policy_kind kind, double gap,
                                  const struct dvit_kernels *kernels, enum guard_side side)
{
    struct problem p = {
        .shape = {size.tokens, size.heads, size.head_dim, 1 / sqrtf((float)size.head_dim),
                  DVIT_LEAD_CAP_TANGENT},
        .tokens = (size_t)size.tokens,
        .width = (size_t)size.head_dim,
        .channels = (size_t)(size.heads * size.head_dim),
    };
    struct dvit_rng rng =
        dvit_rng_stream(13, DVIT_RNG_TEST, p.tokens, (uint32_t)(p.channels + kind * 1000));
    p.qkv = guard_new(p.tokens * 3 * p.channels, side);
    p.policy = guard_new(p.tokens, side);
    p.dout = guard_new(p.tokens * p.channels, side);
    p.out = guard_new(p.tokens * p.channels, side);
    p.dqkv = guard_new(p.tokens * 3 * p.channels, side);
    p.dpolicy = guard_new(p.tokens, side);
    p.scratch = guard_new(kernels->attention_scratch(&p.shape), GUARD_AFTER);
    for (size_t n = 0; n < p.tokens * 3 * p.channels; n++) {
        bool query = n / p.channels % 3 == 0;
        p.qkv.data[n] = (float)(dvit_rng_normal(&rng) * (query ? gap / 6 : 1));
    }
    for (size_t n = 0; n < p.tokens * p.channels; n++)
        p.dout.data[n] = (float)dvit_rng_normal(&rng);
    for (size_t j = 0; j < p.tokens; j++) {
        p.policy.data[j] = kind == POLICY_ZEROS    ? 0
                           : kind == POLICY_RANDOM ? (float)dvit_rng_below(&rng, 2)
                                                   : 1;
        p.dpolicy.data[j] = 0.25f; /* added to */
    }
    p.policy_or_null = kind == POLICY_NONE ? NULL : p.policy.data;
    return p;
}

static void problem_free(struct problem *p)
{
    struct guarded *all[] = {&p->qkv,  &p->policy,  &p->dout,   &p->out,
                             &p->dqkv, &p->dpolicy, &p->scratch};
    for (size_t n = 0; n < sizeof all / sizeof *all; n++)
        guard_free(all[n]);
}

/* Plain attention of query rows first ≤ i < last of the problem's qkv. */
static void attention_rows(const struct dvit_kernels *kernels, struct problem *p, float *out,
                           int first, int last)
{
    size_t stride = 3 * p->channels, row = (size_t)first;
    const struct dvit_attention_job job = {.out = out + row * p->channels,
                                           .out_stride = p->channels,
                                           .q = p->qkv.data + row * stride,
                                           .k = p->qkv.data + p->channels,
                                           .v = p->qkv.data + 2 * p->channels,
                                           .q_stride = stride,
                                           .kv_stride = stride,
                                           .queries = (size_t)(last - first)};
    kernels->attention(&job, &p->shape, p->scratch.data);
}

/* The problem's packed rows, all queries. */
static struct dvit_attention_rows all_rows(const struct problem *p)
{
    return (struct dvit_attention_rows){.q = p->qkv.data,
                                        .k = p->qkv.data + p->channels,
                                        .v = p->qkv.data + 2 * p->channels,
                                        .q_stride = 3 * p->channels,
                                        .kv_stride = 3 * p->channels,
                                        .queries = p->tokens};
}

static void attend_masked(const struct dvit_kernels *kernels, struct problem *p, float *out,
                          const float *policy)
{
    struct dvit_attention_rows x = all_rows(p);
    (p->bf16 ? kernels->attention_masked_bf16
             : kernels->attention_masked)(out, &x, policy, &p->shape, p->scratch.data);
}

/* out: of the forward pass. */
static void attend_masked_backward(const struct dvit_kernels *kernels, struct problem *p,
                                   const float *out, const float *policy)
{
    struct dvit_attention_rows x = all_rows(p);
    float *dk = p->dqkv.data + p->channels;
    (p->bf16 ? kernels->attention_masked_backward_bf16 : kernels->attention_masked_backward)(
        p->dqkv.data, dk, dk + p->channels, p->dpolicy.data, p->dout.data, out, &x, policy,
        &p->shape, p->scratch.data);
}

#endif
