/* The words of packed/tiles.h for types whose products are summed in floats, as they end in y. */
#ifndef DVIT_KERNELS_PACKED_FLOAT_SUMS_H
#define DVIT_KERNELS_PACKED_FLOAT_SUMS_H

#include "kernels/packed/packed.h"

typedef vec sum;

static inline sum sum_zero(void)
{
    return vec_set(0.0f);
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

struct column {
    vec bias;
};

static inline struct column column_of(const struct dvit_packed_job *job, size_t column, size_t n)
{
    return (struct column){job->bias ? vec_load_part(job->bias + column, n) : vec_set(0.0f)};
}

static inline vec sum_value(sum s, const struct column *column)
{
    return s + column->bias;
}

#endif
