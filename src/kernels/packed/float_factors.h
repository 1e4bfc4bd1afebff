/* The words of packed/tiles.h for rows that are multiplied as they are: floats. */
#ifndef DVIT_KERNELS_PACKED_FLOAT_FACTORS_H
#define DVIT_KERNELS_PACKED_FLOAT_FACTORS_H

#include "kernels/packed/packed.h"

#define PACKED_GRANULE 1

typedef vec granules;
typedef vec sum;

struct factors {
    const void *data;
    size_t stride; /* bytes */
};

static inline granules granules_load(const char *p)
{
    return vec_load((const float *)(const void *)p);
}

static inline granules granules_spread(const char *p)
{
    return vec_set(*(const float *)(const void *)p);
}

static inline sum sum_zero(void)
{
    return vec_set(0.0f);
}

static inline sum sum_step(sum s, granules a, granules b)
{
    return vec_fma(a, b, s);
}

static inline sum sum_add(sum s, sum t)
{
    return s + t;
}

static inline sum sum_load_part(const float *p, size_t n)
{
    return vec_load_part(p, n);
}

static inline void sum_store_part(float *p, sum s, size_t n)
{
    vec_store_part(p, s, n);
}

static inline vec sum_value(sum s, const struct factors *factors, size_t row,
                            const struct dvit_packed_job *job, size_t column)
{
    (void)factors, (void)row, (void)job, (void)column;
    return s;
}

static void take_rows(struct factors *factors, const struct dvit_packed_job *job, size_t first,
                      size_t rows)
{
    (void)rows;
    *factors = (struct factors){job->x + first * job->x_stride, job->x_stride * sizeof(float)};
}

#endif
