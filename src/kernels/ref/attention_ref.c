/* Softmax attention, plain and masked, plain C with double accumulators: the definition that the
 * vector levels are tested against (docs/MATH.md; formulas in kernels.h, which also says what is
 * rounded where operands are bfloat16). One query row at a time, so that no T×T array exists here
 * either. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/kernel_names.h"
#include "kernels/ref/bfloat16.h"

/* One head's rows; those of k and v are `stride` floats apart. */
struct head {
    const float *q, *k, *v;
    size_t q_stride, stride;
    const int *token; /* of each query, or NULL */
    int tokens, width;
    double scale, lead_cap;
    bool bf16; /* operands of products are */
};

static struct head head_view(const struct dvit_attention_rows *x,
                             const struct dvit_attention_shape *shape, int h, bool bf16)
{
    size_t at = (size_t)h * (size_t)shape->head_dim;
    return (struct head){.q = x->q + at,
                         .k = x->k + at,
                         .v = x->v + at,
                         .q_stride = x->q_stride,
                         .stride = x->kv_stride,
                         .token = x->token,
                         .tokens = shape->tokens,
                         .width = shape->head_dim,
                         .scale = shape->scale,
                         .lead_cap = shape->lead_cap,
                         .bf16 = bf16};
}

static int token_of(const struct head *head, int query)
{
    return head->token ? head->token[query] : query;
}

/* x as an operand of a product. */
static double operand(const struct head *head, double x)
{
    return head->bf16 ? bfloat16_round((float)x) : x;
}

/* Σ_d (scale·a_d)·b_d, of operands. */
static double product(const struct head *head, double scale, const float *a, const float *b)
{
    double sum = 0;
    for (int d = 0; d < head->width; d++)
        sum += operand(head, head->bf16 ? (float)scale * a[d] : scale * a[d]) * operand(head, b[d]);
    return sum;
}

/* To the range of float; NaN stays. */
static double saturate(double x)
{
    return x > FLT_MAX ? FLT_MAX : x < -FLT_MAX ? -FLT_MAX : x;
}

/* score[j] = a_ij of a query; returns m_i, the maximum over j with policy_j > 0, and i. */
static double scores(double *score, const struct head *head, const float *policy, int query)
{
    double max = -FLT_MAX;
    int i = token_of(head, query);
    for (int j = 0; j < head->tokens; j++) {
        score[j] = saturate(product(head, head->scale, head->q + (size_t)query * head->q_stride,
                                    head->k + (size_t)j * head->stride));
        if ((!policy || policy[j] > 0 || j == i) && score[j] > max)
            max = score[j];
    }
    return max;
}

/* score → e in place; returns S_i. */
static double exponentials(double *score, const float *policy, int tokens, int i, double max)
{
    double sum = 0;
    for (int j = 0; j < tokens; j++) {
        double gate = !policy || j == i ? 1 : policy[j];
        score[j] = gate > 0 ? exp(score[j] - max) * gate : 0;
        sum += score[j];
    }
    return sum;
}

/* out = (Σ_j e_j v_j + eps/T·Σ_j v_j)/(sum + eps); eps = 0 is the plain softmax. */
static void weighted_values(float *out, const double *e, double sum, double eps,
                            const struct head *head)
{
    for (int d = 0; d < head->width; d++) {
        double total = 0;
        for (int j = 0; j < head->tokens; j++) {
            float v = head->v[(size_t)j * head->stride + (size_t)d];
            total += operand(head, e[j]) * operand(head, v) + eps / head->tokens * v;
        }
        out[d] = (float)(total / (sum + eps));
    }
}

/* The query rows of one head; score: [T] of scratch. */
static void forward(float *out, size_t stride, const struct head *head, const float *policy,
                    double eps, int queries, double *score)
{
    for (int query = 0; query < queries; query++) {
        double max = scores(score, head, policy, query);
        double sum = exponentials(score, policy, head->tokens, token_of(head, query), max);
        weighted_values(out + (size_t)query * stride, score, sum, eps, head);
    }
}

size_t dvit_attention_scratch_f32_ref(const struct dvit_attention_shape *shape)
{
    size_t tokens = (size_t)shape->tokens, width = (size_t)shape->head_dim;
    size_t doubles = 2 * tokens + 2 * tokens * width; /* scores and exponentials; dk and dv */
    return doubles * (sizeof(double) / sizeof(float));
}

void dvit_attention_f32_ref(const struct dvit_attention_job *job,
                            const struct dvit_attention_shape *shape, float *scratch)
{
    const float *q = job->q, *k = job->k, *v = job->v;
    for (int h = 0; h < shape->heads; h++) {
        size_t at = (size_t)h * (size_t)shape->head_dim;
        const struct head head = {.q = q + at,
                                  .k = k + at,
                                  .v = v + at,
                                  .q_stride = job->q_stride,
                                  .stride = job->kv_stride,
                                  .tokens = shape->tokens,
                                  .width = shape->head_dim,
                                  .scale = shape->scale};
        forward((float *)job->out + at, job->out_stride, &head, NULL, 0, (int)job->queries,
                (double *)(void *)scratch);
    }
}

static void forward_masked(float *out, const struct dvit_attention_rows *x, const float *policy,
                           const struct dvit_attention_shape *shape, float *scratch, bool bf16)
{
    size_t channels = (size_t)shape->heads * (size_t)shape->head_dim;
    for (int h = 0; h < shape->heads; h++) {
        const struct head head = head_view(x, shape, h, bf16);
        forward(out + h * shape->head_dim, channels, &head, policy, DVIT_MASK_EPS, (int)x->queries,
                (double *)(void *)scratch);
    }
}

void dvit_attention_masked_f32_ref(float *out, const struct dvit_attention_rows *x,
                                   const float *policy, const struct dvit_attention_shape *shape,
                                   float *scratch)
{
    forward_masked(out, x, policy, shape, scratch, false);
}

void dvit_attention_masked_bf16_ref(float *out, const struct dvit_attention_rows *x,
                                    const float *policy, const struct dvit_attention_shape *shape,
                                    float *scratch)
{
    forward_masked(out, x, policy, shape, scratch, true);
}

/* One query row's share of the gradients: dq written, dk and dv [T][D] and dpolicy added to. */
static void backward_row(float *dq, double *dk, double *dv, float *dpolicy, const float *dout,
                         const float *out, const struct head *head, const float *policy, int query,
                         double *score, double *e)
{
    const double eps = DVIT_MASK_EPS;
    int tokens = head->tokens, width = head->width, i = token_of(head, query);
    double max = scores(score, head, policy, query);
    memcpy(e, score, (size_t)tokens * sizeof *e);
    double sum = exponentials(e, policy, tokens, i, max);
    double mean = 0; /* D_i */
    const float *q = head->q + (size_t)query * head->q_stride;
    for (int d = 0; d < width; d++)
        mean += (double)dout[d] * out[d];
    for (int j = 0; j < tokens; j++) {
        const float *v = head->v + (size_t)j * head->stride;
        double de = (product(head, 1, dout, v) - mean) / (sum + eps), da = de * e[j];
        double weight = (e[j] + eps / tokens) / (sum + eps);
        for (int d = 0; d < width; d++) {
            size_t at = (size_t)j * (size_t)width + (size_t)d;
            dv[at] += operand(head, weight) * operand(head, dout[d]);
            dk[at] += head->scale * operand(head, da) * operand(head, q[d]);
        }
        if (dpolicy && j != i)
            dpolicy[j] = (float)(dpolicy[j] + de * exp(fmin(score[j] - max, head->lead_cap)));
        score[j] = da;
    }
    for (int d = 0; d < width; d++) {
        double total = 0;
        for (int j = 0; j < tokens; j++)
            total += operand(head, score[j]) *
                     operand(head, head->k[(size_t)j * head->stride + (size_t)d]);
        dq[d] = (float)(head->scale * total);
    }
}

static void backward_masked(float *dq, float *dk, float *dv, float *dpolicy, const float *dout,
                            const float *out, const struct dvit_attention_rows *x,
                            const float *policy, const struct dvit_attention_shape *shape,
                            float *scratch, bool bf16)
{
    size_t tokens = (size_t)shape->tokens, width = (size_t)shape->head_dim;
    size_t channels = (size_t)shape->heads * width;
    double *score = (double *)(void *)scratch, *e = score + tokens;
    double *dkeys = e + tokens, *dvalues = dkeys + tokens * width;
    for (int h = 0; h < shape->heads; h++) {
        struct head head = head_view(x, shape, h, bf16);
        size_t first = (size_t)h * width;
        for (size_t n = 0; n < 2 * tokens * width; n++)
            dkeys[n] = 0;
        for (size_t i = 0; i < x->queries; i++) {
            size_t at = i * channels + first;
            backward_row(dq + i * x->q_stride + first, dkeys, dvalues, dpolicy, dout + at, out + at,
                         &head, policy, (int)i, score, e);
        }
        for (size_t j = 0; j < tokens; j++) {
            for (size_t d = 0; d < width; d++) {
                dk[j * x->kv_stride + first + d] = (float)dkeys[j * width + d];
                dv[j * x->kv_stride + first + d] = (float)dvalues[j * width + d];
            }
        }
    }
}

void dvit_attention_masked_backward_f32_ref(float *dq, float *dk, float *dv, float *dpolicy,
                                            const float *dout, const float *out,
                                            const struct dvit_attention_rows *x,
                                            const float *policy,
                                            const struct dvit_attention_shape *shape,
                                            float *scratch)
{
    backward_masked(dq, dk, dv, dpolicy, dout, out, x, policy, shape, scratch, false);
}

void dvit_attention_masked_backward_bf16_ref(float *dq, float *dk, float *dv, float *dpolicy,
                                             const float *dout, const float *out,
                                             const struct dvit_attention_rows *x,
                                             const float *policy,
                                             const struct dvit_attention_shape *shape,
                                             float *scratch)
{
    backward_masked(dq, dk, dv, dpolicy, dout, out, x, policy, shape, scratch, true);
}
