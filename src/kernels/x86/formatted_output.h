/* The words of packed/tiles.h for outputs in any format. */
#ifndef DVIT_KERNELS_X86_FORMATTED_OUTPUT_H
#define DVIT_KERNELS_X86_FORMATTED_OUTPUT_H

#include "kernels/packed/packed.h"
#include "kernels/x86/store_format.h"

struct output {
    void *y;
    struct store_format as;
};

static inline struct output output_of(const struct dvit_packed_job *job)
{
    return (struct output){job->y, store_format_of(&job->y_format)};
}

static inline void output_store(const struct output *output, size_t at, vec v, size_t n)
{
    store_part_as(output->y, at, v, n, &output->as);
}

#endif
