/* Softmax attention with operands rounded to bfloat16, plain C with double accumulators: the
 * definition that the vector level is tested against (kernels.h says what is rounded). */
#include <float.h>
#include <math.h>

#include "kernels/kernel_names.h"
#include "kernels/ref/number.h"

/* To the range of float; NaN stays. */
static double saturate(double x)
{
    return x > FLT_MAX ? FLT_MAX : x < -FLT_MAX ? -FLT_MAX : x;
}

/* What is multiplied of number `index`. */
static double operand(const void *array, size_t index, enum dvit_number number)
{
    return bfloat16_round(number_at(array, index, number));
}

/* Query i of the head whose first channel is `at`; score: [T] of scratch. */
static void attend(const struct dvit_attention_job *job, const struct dvit_attention_shape *shape,
                   size_t i, size_t at, double *score)
{
    const float factor = shape->scale * 1.44269504088896341f; /* 2^x for e^x */
    size_t tokens = (size_t)shape->tokens, width = (size_t)shape->head_dim;
    double max = -FLT_MAX, total = 0;
    for (size_t j = 0; j < tokens; j++) {
        double sum = 0;
        for (size_t d = at; d < at + width; d++)
            sum += operand(job->q, i * job->q_stride + d, job->q_number) *
                   operand(job->k, j * job->kv_stride + d, job->kv_number);
        score[j] = saturate(sum);
        max = score[j] > max ? score[j] : max;
    }
    for (size_t j = 0; j < tokens; j++) {
        double weight = exp2((score[j] - max) * factor);
        total += weight;
        score[j] = bfloat16_round((float)weight);
    }
    for (size_t d = at; d < at + width; d++) {
        double sum = 0;
        for (size_t j = 0; j < tokens; j++)
            sum += score[j] * operand(job->v, j * job->kv_stride + d, job->kv_number);
        number_put(job->out, i * job->out_stride + d, (float)(sum / total), &job->out_format);
    }
}

void dvit_attention_bf16_ref(const struct dvit_attention_job *job,
                             const struct dvit_attention_shape *shape, float *scratch)
{
    for (size_t h = 0; h < (size_t)shape->heads; h++)
        for (size_t i = 0; i < job->queries; i++)
            attend(job, shape, i, h * (size_t)shape->head_dim, (double *)(void *)scratch);
}
