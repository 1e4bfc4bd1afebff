/* Softmax attention with operands rounded to bfloat16, plain C with double accumulators: the
 * definition that the vector level is tested against (kernels.h says what is rounded). */
#include <float.h>
#include <math.h>

#include "kernels/kernel_names.h"
#include "kernels/ref/bfloat16.h"

/* To the range of float; NaN stays. */
static double saturate(double x)
{
    return x > FLT_MAX ? FLT_MAX : x < -FLT_MAX ? -FLT_MAX : x;
}

/* One query of one head; score: [T] of scratch. */
static void attend(float *out, const float *q, const float *k, const float *v, size_t stride,
                   int tokens, int width, float factor, double *score)
{
    double max = -FLT_MAX, total = 0;
    for (int j = 0; j < tokens; j++) {
        double sum = 0;
        for (int d = 0; d < width; d++)
            sum += (double)bfloat16_round(q[d] * factor) *
                   bfloat16_round(k[(size_t)j * stride + (size_t)d]);
        score[j] = saturate(sum);
        max = score[j] > max ? score[j] : max;
    }
    for (int j = 0; j < tokens; j++) {
        double weight = exp2(score[j] - max);
        total += weight;
        score[j] = bfloat16_round((float)weight);
    }
    for (int d = 0; d < width; d++) {
        double sum = 0;
        for (int j = 0; j < tokens; j++)
            sum += score[j] * bfloat16_round(v[(size_t)j * stride + (size_t)d]);
        out[d] = (float)(sum / total);
    }
}

void dvit_attention_bf16_ref(float *out, size_t out_stride, const float *q, size_t q_stride,
                             const float *k, const float *v, size_t kv_stride, size_t queries,
                             const struct dvit_attention_shape *shape, float *scratch)
{
    const float factor = shape->scale * 1.44269504088896341f; /* 2^x for e^x */
    for (int h = 0; h < shape->heads; h++) {
        size_t at = (size_t)h * (size_t)shape->head_dim;
        for (size_t i = 0; i < queries; i++)
            attend(out + i * out_stride + at, q + i * q_stride + at, k + at, v + at, kv_stride,
                   shape->tokens, shape->head_dim, factor, (double *)(void *)scratch);
    }
}
