/* How often numbers of each size occur, and from that the range that 8 bits stand for best. */
#ifndef DVIT_INFER_RANGE_HISTOGRAM_H
#define DVIT_INFER_RANGE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/packed/quantise.h"

enum { DVIT_HISTOGRAM_SIDE = 2048 /* bins for numbers below 0, and as many from 0 on */ };

/* Zero-initialise. Bins are as wide as a power of two, and so are those of every other histogram:
 * any two can be added exactly. */
struct dvit_range_histogram {
    uint64_t counts[2 * DVIT_HISTOGRAM_SIDE]; /* bin i: from (i − SIDE)·width on */
    double width;                             /* 0: nothing was added yet */
    float lowest, highest;                    /* of what was added, and 0 */
    uint64_t not_finite;                      /* numbers that were left out */
};

void dvit_range_histogram_add(struct dvit_range_histogram *histogram, const float *x, size_t count);
void dvit_range_histogram_merge(struct dvit_range_histogram *to,
                                const struct dvit_range_histogram *from);
/* The range with the least squared error: beyond it numbers are clipped, within it they are off by
 * up to half a step. */
struct dvit_quantised dvit_range_histogram_choose(const struct dvit_range_histogram *histogram);

#endif
