/* The words of packed/tiles.h for rows that are multiplied as they are: floats. */
#ifndef DVIT_KERNELS_PACKED_FLOAT_FACTORS_H
#define DVIT_KERNELS_PACKED_FLOAT_FACTORS_H

#include "kernels/packed/float_sums.h"
#include "kernels/vector/gelu.h"

static inline vec value_gelu(vec v)
{
    return gelu(v);
}

struct output {
    float *y;
};

static inline struct output output_of(const struct dvit_packed_job *job)
{
    return (struct output){job->y};
}

static inline void output_store(const struct output *output, size_t at, vec v, size_t n)
{
    vec_store_part(output->y + at, v, n);
}

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

/* They are granules. */
static void take_rows(void *to, size_t stride, const struct dvit_packed_job *job, size_t first,
                      size_t rows)
{
    (void)to, (void)stride, (void)job, (void)first, (void)rows;
}

#endif
