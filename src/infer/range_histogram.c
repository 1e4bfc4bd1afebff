/* A histogram whose bins double in width as larger numbers come, and the search for the range of 8
 * bits with the least squared error. The error within the range is taken as that of even rounding,
 * step²/12, which needs no bins finer than the steps; that beyond it is summed over the bins. */
#include "infer/range_histogram.h"

#include <math.h>
#include <stdbool.h>

enum {
    SIDE = DVIT_HISTOGRAM_SIDE,
    CHOICES = 64, /* of either end of the range: shares of the largest number */
};

static const double finest_width = 1.0 / (1 << 30);

/* Bins twice as wide. */
static void coarsen(struct dvit_range_histogram *h)
{
    uint64_t *up = h->counts + SIDE, *down = h->counts + SIDE - 1;
    for (int i = 0; i < SIDE; i++) {
        bool filled = i < SIDE / 2;
        up[i] = filled ? up[2 * i] + up[2 * i + 1] : 0;
        down[-i] = filled ? down[-2 * i] + down[-2 * i - 1] : 0;
    }
    h->width *= 2;
}

static void reach(struct dvit_range_histogram *h, double magnitude)
{
    if (h->width == 0)
        h->width = finest_width;
    while (magnitude >= SIDE * h->width)
        coarsen(h);
}

void dvit_range_histogram_add(struct dvit_range_histogram *h, const float *x, size_t count)
{
    float lowest = h->lowest, highest = h->highest;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(x[i]))
            continue;
        lowest = x[i] < lowest ? x[i] : lowest;
        highest = x[i] > highest ? x[i] : highest;
    }
    h->lowest = lowest;
    h->highest = highest;
    reach(h, fmax(-(double)lowest, (double)highest));
    double bins = 1 / h->width; /* a power of two: the product is exact */
    for (size_t i = 0; i < count; i++) {
        if (isfinite(x[i]))
            h->counts[SIDE + (int)floor(x[i] * bins)]++;
        else
            h->not_finite++;
    }
}

void dvit_range_histogram_merge(struct dvit_range_histogram *to,
                                const struct dvit_range_histogram *from)
{
    struct dvit_range_histogram other = *from;
    if (other.width == 0)
        return;
    if (to->width == 0)
        to->width = finest_width;
    while (to->width < other.width)
        coarsen(to);
    while (other.width < to->width)
        coarsen(&other);
    for (int i = 0; i < 2 * SIDE; i++)
        to->counts[i] += other.counts[i];
    to->lowest = other.lowest < to->lowest ? other.lowest : to->lowest;
    to->highest = other.highest > to->highest ? other.highest : to->highest;
    to->not_finite += other.not_finite;
}

/* Σ of the squares of what numbers beyond `end` lose; side 1 or −1. */
static double clipping_error(const struct dvit_range_histogram *h, double end, int side)
{
    double error = 0;
    for (int i = 0; i < 2 * SIDE; i++) {
        double beyond = side * ((i - SIDE + 0.5) * h->width - end);
        if (h->counts[i] && beyond > 0)
            error += (double)h->counts[i] * beyond * beyond;
    }
    return error;
}

struct dvit_quantised dvit_range_histogram_choose(const struct dvit_range_histogram *h)
{
    double below[CHOICES + 1], above[CHOICES + 1], count = 0, least = INFINITY;
    float low = h->lowest, high = h->highest;
    for (int i = 0; i < 2 * SIDE; i++)
        count += (double)h->counts[i];
    for (int i = 0; i <= CHOICES; i++) {
        below[i] = clipping_error(h, (double)h->lowest * i / CHOICES, -1);
        above[i] = clipping_error(h, (double)h->highest * i / CHOICES, 1);
    }
    for (int i = 0; i <= CHOICES; i++)
        for (int k = 0; k <= CHOICES; k++) {
            double from = (double)h->lowest * i / CHOICES, to = (double)h->highest * k / CHOICES;
            double step = (to - from) / 255, error = below[i] + above[k] + count * step * step / 12;
            if (error < least) {
                least = error;
                low = (float)from;
                high = (float)to;
            }
        }
    return dvit_quantise_range(low, high);
}
