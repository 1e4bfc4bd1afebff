/* Softmax attention with operands rounded to bytes, plain C: the definition that the vector level
 * is tested against (kernels.h has it in formulas). Bytes and their sums are the same at every
 * level, since what they are made of is rounded alike; exponentials are double here. */
#include <float.h>
#include <math.h>

#include "kernels/kernel_names.h"
#include "kernels/ref/number.h"

struct byte_scale {
    float scale, inverse; /* number ≈ scale · byte, byte = number · inverse rounded */
};

/* Of the largest magnitude; what is not finite has none. Nothing but tiny numbers count as 0. */
static struct byte_scale byte_scale(float largest)
{
    if (!(largest <= FLT_MAX))
        return (struct byte_scale){NAN, 0};
    if (!(largest > 1e-36f))
        return (struct byte_scale){1, 0};
    return (struct byte_scale){largest * (1.0f / 127), 127 / largest};
}

static int byte_of(float x, float inverse)
{
    return isfinite(x) ? (int)lrintf(x * inverse) : 0;
}

/* The larger magnitude; NaN is larger than all. */
static float larger(float largest, float x)
{
    return isnan(x) || fabsf(x) > largest ? fabsf(x) : largest;
}

/* One head: `width` channels from `first` on. */
struct head {
    const struct dvit_attention_job *job;
    size_t first, width, tokens;
    float factor; /* log2(e) and the scale of scores */
};

static float query_at(const struct head *head, size_t i, size_t d)
{
    const struct dvit_attention_job *job = head->job;
    return bfloat16_round(number_at(job->q, i * job->q_stride + head->first + d, job->q_number));
}

/* Channel d of row j of the keys or values. */
static float row_at(const struct head *head, const void *rows, size_t j, size_t d)
{
    const struct dvit_attention_job *job = head->job;
    return bfloat16_round(number_at(rows, j * job->kv_stride + head->first + d, job->kv_number));
}

static float column_mean(const struct head *head, const void *rows, size_t d)
{
    float sum = 0;
    for (size_t j = 0; j < head->tokens; j++)
        sum += row_at(head, rows, j, d);
    return sum / (float)head->tokens;
}

/* Scores of query i, in units of its own scale, which is returned. mean: [D] of the keys. */
static float scores(double *score, const struct head *head, size_t i, const float *mean)
{
    const void *k = head->job->k;
    float largest = 0;
    for (size_t d = 0; d < head->width; d++)
        largest = larger(largest, query_at(head, i, d));
    struct byte_scale q = byte_scale(largest);
    for (size_t j = 0; j < head->tokens; j++) {
        float largest_key = 0, product;
        int64_t sum = 0;
        for (size_t d = 0; d < head->width; d++)
            largest_key = larger(largest_key, row_at(head, k, j, d) - mean[d]);
        struct byte_scale key = byte_scale(largest_key);
        for (size_t d = 0; d < head->width; d++)
            sum += byte_of(query_at(head, i, d), q.inverse) *
                   byte_of(row_at(head, k, j, d) - mean[d], key.inverse);
        product = (float)sum * key.scale;
        score[j] = product > FLT_MAX ? FLT_MAX : product < -FLT_MAX ? -FLT_MAX : product;
    }
    return q.scale;
}

/* Scores → weights in place; returns their sum before rounding. */
static double weights(double *score, size_t tokens, double factor)
{
    double max = -FLT_MAX, total = 0;
    for (size_t j = 0; j < tokens; j++)
        max = score[j] > max ? score[j] : max;
    for (size_t j = 0; j < tokens; j++) {
        double weight = 255 * exp2((score[j] - max) * factor);
        total += weight;
        score[j] = rint(weight);
    }
    return total;
}

/* Channel d of the result. */
static float result(const struct head *head, const double *weight, double total, size_t d)
{
    const void *v = head->job->v;
    float mean = column_mean(head, v, d), largest = 0;
    for (size_t j = 0; j < head->tokens; j++)
        largest = larger(largest, row_at(head, v, j, d) - mean);
    struct byte_scale scale = byte_scale(largest);
    double sum = 0;
    for (size_t j = 0; j < head->tokens; j++)
        sum += weight[j] * byte_of(row_at(head, v, j, d) - mean, scale.inverse);
    return (float)(mean + scale.scale * sum / total);
}

/* All queries of one head; score: [T], mean: [D] of scratch. */
static void attend(const struct head *head, double *score, float *mean)
{
    const struct dvit_attention_job *job = head->job;
    for (size_t d = 0; d < head->width; d++)
        mean[d] = column_mean(head, job->k, d);
    for (size_t i = 0; i < job->queries; i++) {
        double factor = (double)head->factor * scores(score, head, i, mean);
        double total = weights(score, head->tokens, factor);
        for (size_t d = 0; d < head->width; d++)
            number_put(job->out, i * job->out_stride + head->first + d,
                       result(head, score, total, d), &job->out_format);
    }
}

void dvit_attention_int8_ref(const struct dvit_attention_job *job,
                             const struct dvit_attention_shape *shape, float *scratch)
{
    size_t tokens = (size_t)shape->tokens, width = (size_t)shape->head_dim;
    double *score = (double *)(void *)scratch;
    for (size_t h = 0; h < (size_t)shape->heads; h++) {
        const struct head head = {.job = job,
                                  .first = h * width,
                                  .width = width,
                                  .tokens = tokens,
                                  .factor = shape->scale * 1.44269504088896341f};
        attend(&head, score, (float *)(score + tokens));
    }
}
