/* Means over kept patches. With k = Σ policy and k = 0 the mean is 0, and so are the gradients. */
#include "ops/kept_rows.h"

#include <string.h>

void dvit_kept_rows_mask(struct dvit_kept_rows *rows, const float *tokens, int prefix)
{
    rows->policy = tokens ? tokens + prefix : NULL;
    rows->kept = rows->policy ? 0 : (double)rows->count;
    for (size_t n = 0; rows->policy && n < rows->count; n++)
        rows->kept += rows->policy[n];
}

static float inverse_of(const struct dvit_kept_rows *rows)
{
    return rows->kept > 0 ? (float)(1.0 / rows->kept) : 0.0f;
}

void dvit_kept_rows_mean(const struct dvit_kept_rows *rows, const float *x, float *mean)
{
    memset(mean, 0, rows->width * sizeof *mean);
    for (size_t n = 0; n < rows->count; n++) {
        float weight = rows->policy ? rows->policy[n] : 1.0f;
        const float *row = x + rows->first + n * rows->stride;
        for (size_t c = 0; weight != 0.0f && c < rows->width; c++)
            mean[c] += weight * row[c];
    }
    float inverse = inverse_of(rows);
    for (size_t c = 0; c < rows->width; c++)
        mean[c] *= inverse;
}

void dvit_kept_rows_backward(const struct dvit_kept_rows *rows, const float *x, const float *mean,
                             const float *dmean, float *dx, bool accumulate, float *dpolicy)
{
    float inverse = inverse_of(rows);
    for (size_t n = 0; n < rows->count; n++) {
        size_t offset = rows->first + n * rows->stride;
        float weight = (rows->policy ? rows->policy[n] : 1.0f) * inverse, towards = 0.0f;
        for (size_t c = 0; dx && c < rows->width; c++)
            dx[offset + c] = weight * dmean[c] + (accumulate ? dx[offset + c] : 0.0f);
        for (size_t c = 0; dpolicy && c < rows->width; c++)
            towards += dmean[c] * (x[offset + c] - mean[c]);
        if (dpolicy)
            dpolicy[n] += towards * inverse;
    }
}
