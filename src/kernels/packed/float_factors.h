/* The words of packed/tiles.h for rows that are multiplied as they are: floats. */
#ifndef DVIT_KERNELS_PACKED_FLOAT_FACTORS_H
#define DVIT_KERNELS_PACKED_FLOAT_FACTORS_H

#include "kernels/packed/float_sums.h"

#define PACKED_GRANULE 1

typedef vec granules;

static inline granules granules_load(const char *p)
{
    return vec_load((const float *)(const void *)p);
}

static inline granules granules_spread(const char *p)
{
    return vec_set(*(const float *)(const void *)p);
}

static inline sum sum_step(sum s, granules a, granules b)
{
    return vec_fma(a, b, s);
}

static void take_rows(struct factors *factors, const struct dvit_packed_job *job, size_t first,
                      size_t rows)
{
    (void)rows;
    *factors = (struct factors){job->x + first * job->x_stride, job->x_stride * sizeof(float)};
}

#endif
