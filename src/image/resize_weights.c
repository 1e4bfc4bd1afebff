/* Pillow 12's resize weights: computed in double, normalised, rounded to 22 fraction bits. The
 * formulas' order of operations is Pillow's: another order gives other pixels. This file relies on
 * products and sums being rounded apart (no contraction). What is done with them is in
 * pixel_loops.h. */
#include "image/resize_weights.h"

#include <math.h>
#include <string.h>

static double filter_support(enum dvit_filter filter)
{
    return filter == DVIT_FILTER_BICUBIC ? 2.0 : 1.0;
}

static double filter_value(enum dvit_filter filter, double t)
{
    const double a = -0.5;
    if (t < 0.0)
        t = -t;
    if (filter == DVIT_FILTER_BILINEAR)
        return t < 1.0 ? 1.0 - t : 0.0;
    if (t < 1.0)
        return ((a + 2.0) * t - (a + 3.0)) * t * t + 1;
    if (t < 2.0)
        return (((t - 5) * t + 8) * t - 4) * a;
    return 0.0;
}

static int round_up(int value)
{
    return (value + DVIT_WEIGHT_GROUP - 1) / DVIT_WEIGHT_GROUP * DVIT_WEIGHT_GROUP;
}

/* What output pixel `output` reads. */
struct reads {
    int low, high; /* inputs low … high − 1 */
    double centre, stretch;
};

static struct reads reads_of(const struct dvit_resize_axis *axis, int output)
{
    double scale = (double)axis->in / axis->out;
    struct reads reads = {.centre = (output + 0.5) * scale, .stretch = scale < 1.0 ? 1.0 : scale};
    double support = filter_support(axis->filter) * reads.stretch;
    reads.low = (int)(reads.centre - support + 0.5);
    reads.high = (int)(reads.centre + support + 0.5);
    if (reads.low < 0)
        reads.low = 0;
    if (reads.high > axis->in)
        reads.high = axis->in;
    return reads;
}

void dvit_resize_axis_reads(const struct dvit_resize_axis *axis, int *begin, int *end)
{
    *begin = reads_of(axis, axis->first).low;
    *end = reads_of(axis, axis->first + axis->count - 1).high;
}

void dvit_resize_weights_layout(struct dvit_resize_weights *weights,
                                const struct dvit_resize_axis *axis, struct dvit_arena *arena)
{
    double stretch = axis->in > axis->out ? (double)axis->in / axis->out : 1.0;
    double longest = ceil(filter_support(axis->filter) * stretch) * 2 + 1;
    weights->taps = round_up(longest < axis->in ? (int)longest : axis->in);
    weights->count = round_up(axis->count);
    int furthest = reads_of(axis, axis->first + axis->count - 1).low;
    weights->reach = 3 * ((size_t)furthest + (size_t)weights->taps - DVIT_WEIGHT_GROUP) + 16;
    size_t count = (size_t)weights->count, taps = (size_t)weights->taps;
    weights->start = dvit_arena_take(arena, count, sizeof *weights->start);
    weights->length = dvit_arena_take(arena, count, sizeof *weights->length);
    weights->values = dvit_arena_take(arena, count * taps, sizeof *weights->values);
    weights->halves = dvit_arena_take(arena, count * taps, sizeof *weights->halves);
    weights->scratch = dvit_arena_take(arena, taps, sizeof *weights->scratch);
}

/* Row `row`, of output pixel `output`. */
static void fill_values(struct dvit_resize_weights *weights, int row, int output,
                        const struct dvit_resize_axis *axis)
{
    struct reads reads = reads_of(axis, output);
    double inverse = 1.0 / reads.stretch, sum = 0.0, *scratch = weights->scratch;
    int low = reads.low, length = reads.high - reads.low;
    for (int k = 0; k < length; k++) {
        scratch[k] = filter_value(axis->filter, (low + k - reads.centre + 0.5) * inverse);
        sum += scratch[k];
    }
    int32_t *values = weights->values + (size_t)row * (size_t)weights->taps;
    memset(values, 0, (size_t)weights->taps * sizeof *values);
    for (int k = 0; k < length; k++) {
        double w = sum != 0.0 ? scratch[k] / sum : scratch[k];
        double scaled = w * (1 << DVIT_WEIGHT_BITS);
        values[k] = (int32_t)(w < 0 ? -0.5 + scaled : 0.5 + scaled);
    }
    weights->start[row] = low;
    weights->length[row] = length;
}

static uint32_t pair(int32_t first, int32_t second)
{
    return ((uint32_t)first & 0xffff) | (uint32_t)second << 16;
}

static void fill_halves(struct dvit_resize_weights *weights, int row)
{
    const int32_t lower = (1 << DVIT_WEIGHT_LOW_BITS) - 1;
    size_t at = (size_t)row * (size_t)weights->taps;
    const int32_t *w = weights->values + at;
    uint32_t *halves = weights->halves + at;
    for (int k = 0; k < weights->taps; k += 2) {
        halves[k] = pair(w[k] & lower, w[k + 1] & lower);
        halves[k + 1] = pair(w[k] >> DVIT_WEIGHT_LOW_BITS, w[k + 1] >> DVIT_WEIGHT_LOW_BITS);
    }
}

void dvit_resize_weights_fill(struct dvit_resize_weights *weights,
                              const struct dvit_resize_axis *axis)
{
    for (int row = 0; row < weights->count; row++) {
        int output = row < axis->count ? row : axis->count - 1;
        if (axis->mirrored)
            output = axis->count - 1 - output;
        fill_values(weights, row, axis->first + output, axis);
        fill_halves(weights, row);
    }
}
