/* Means over the kept patches of one image, and their gradients: shared by the operators that mix
 * patches (kept_mean.c, mean_pool.c). */
#ifndef DVIT_OPS_KEPT_ROWS_H
#define DVIT_OPS_KEPT_ROWS_H

#include "ops/op.h"

/* Columns of one image's patch rows, and which patches count. */
struct dvit_kept_rows {
    size_t first;        /* floats from a value's start to the first patch's first column */
    size_t count;        /* patches */
    size_t stride;       /* floats from patch to patch */
    size_t width;        /* columns */
    const float *policy; /* [count], 1 kept … 0 dropped; NULL: all kept */
    double kept;         /* Σ policy */
};

/* Sets `policy` to the patches of the image whose tokens' policy starts at `tokens` (NULL: all
 * kept), and counts what is kept. */
void dvit_kept_rows_mask(struct dvit_kept_rows *rows, const float *tokens, int prefix);

/* mean[width] of x over the kept patches; over none, 0. */
void dvit_kept_rows_mean(const struct dvit_kept_rows *rows, const float *x, float *mean);

/* Given the gradient of the mean: dx_n (+)= policy_n·dmean/k (dx may be NULL),
 * dpolicy_n += dmean·(x_n − mean)/k (dpolicy [count] or NULL). */
void dvit_kept_rows_backward(const struct dvit_kept_rows *rows, const float *x, const float *mean,
                             const float *dmean, float *dx, bool accumulate, float *dpolicy);

#endif
