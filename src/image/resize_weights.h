/* Which input pixels weigh how much in each output pixel of one axis of a resize. */
#ifndef DVIT_IMAGE_RESIZE_WEIGHTS_H
#define DVIT_IMAGE_RESIZE_WEIGHTS_H

#include <stdint.h>

#include "base/arena.h"
#include "dvit/image.h"

enum {
    DVIT_WEIGHT_BITS = 22,     /* fraction bits of a weight */
    DVIT_WEIGHT_LOW_BITS = 15, /* of them in its lower half */
    DVIT_WEIGHT_GROUP = 4,     /* outputs and taps come in so many, the last ones weighing 0 */
};

/* From `in` pixels to outputs first … first + count − 1 of `out`. */
struct dvit_resize_axis {
    int in, out, first, count;
    bool mirrored; /* the outputs in descending order */
    enum dvit_filter filter;
};
/* Inputs that any of the outputs reads: *begin … *end − 1. */
void dvit_resize_axis_reads(const struct dvit_resize_axis *axis, int *begin, int *end);

struct dvit_resize_weights {
    int count;       /* outputs, a multiple of DVIT_WEIGHT_GROUP; the surplus repeats the last */
    int taps;        /* room for each output's weights, a multiple of DVIT_WEIGHT_GROUP */
    int *start;      /* [count] first input */
    int *length;     /* [count] inputs, 1 … taps */
    int32_t *values; /* [count][taps], 0 from `length` on */
    uint32_t *halves; /* [count][taps / 2][2]: of two weights w the lower halves w mod 2¹⁵, then the
                       * upper ones ⌊w / 2¹⁵⌋, as two 16-bit numbers, the first weight's below */
    size_t reach;     /* bytes of an RGB row, from its first, that are read where every output reads
                       * all its taps, 16 bytes for each four */
    double *scratch; /* [taps] */
};

/* Takes the memory for an axis; with an arena that measures, only that. */
void dvit_resize_weights_layout(struct dvit_resize_weights *weights,
                                const struct dvit_resize_axis *axis, struct dvit_arena *arena);
void dvit_resize_weights_fill(struct dvit_resize_weights *weights,
                              const struct dvit_resize_axis *axis);

#endif
