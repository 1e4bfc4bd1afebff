/* Bicubic interpolation of a grid of vectors, plain and antialiased. Coordinates and sums are in
 * double. Nothing is allocated. */
#include "weights/position.h"

#include <math.h>
#include <stddef.h>

enum { TAPS = 4, CHANNELS = 64 /* summed at a time */ };

struct taps {
    int index[TAPS];
    double weight[TAPS];
};

/* Keys' kernel at distance x; in PyTorch A is −0.75, antialiased −0.5. */
static double kernel(double x, double a)
{
    x = fabs(x);
    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static struct taps taps_at(int i, int to, int from)
{
    struct taps taps;
    double source = (i + 0.5) * from / to - 0.5;
    int first = (int)floor(source) - 1;
    for (int k = 0; k < TAPS; k++) {
        int index = first + k;
        taps.weight[k] = kernel(source - index, -0.75);
        taps.index[k] = index < 0 ? 0 : index >= from ? from - 1 : index;
    }
    return taps;
}

void dvit_position_resize(float *out, struct dvit_grid to, const float *in, struct dvit_grid from,
                          int dim)
{
    size_t width = (size_t)dim;
    for (int row = 0; row < to.rows; row++) {
        struct taps y = taps_at(row, to.rows, from.rows);
        for (int column = 0; column < to.columns; column++, out += width) {
            struct taps x = taps_at(column, to.columns, from.columns);
            const float *source[TAPS][TAPS];
            for (int j = 0; j < TAPS; j++)
                for (int k = 0; k < TAPS; k++)
                    source[j][k] =
                        in +
                        ((size_t)y.index[j] * (size_t)from.columns + (size_t)x.index[k]) * width;
            for (size_t c = 0; c < width; c++) {
                double sum = 0;
                for (int j = 0; j < TAPS; j++)
                    for (int k = 0; k < TAPS; k++)
                        sum += y.weight[j] * x.weight[k] * (double)source[j][k][c];
                out[c] = (float)sum;
            }
        }
    }
}

/* What one output of an axis reads: inputs first … end − 1. */
struct span {
    int first, end;
    double centre, stretch, sum;
};

static double span_weight(const struct span *span, int index)
{
    return kernel((index - span->centre + 0.5) / span->stretch, -0.5);
}

static struct span span_at(int i, int to, int from)
{
    double scale = (double)from / to;
    struct span span = {.centre = scale * (i + 0.5), .stretch = scale > 1 ? scale : 1};
    double support = 2 * span.stretch;
    int first = (int)(span.centre - support + 0.5), end = (int)(span.centre + support + 0.5);
    span.first = first > 0 ? first : 0;
    span.end = end < from ? end : from;
    for (int k = span.first; k < span.end; k++)
        span.sum += span_weight(&span, k);
    return span;
}

/* `count` channels of one output, from the vectors' same channels at `in`. */
static void mix(float *out, const float *in, const struct span *y, const struct span *x,
                int columns, size_t width, size_t count)
{
    double sums[CHANNELS] = {0};
    for (int row = y->first; row < y->end; row++)
        for (int column = x->first; column < x->end; column++) {
            double weight = span_weight(y, row) / y->sum * span_weight(x, column) / x->sum;
            const float *from = in + ((size_t)row * (size_t)columns + (size_t)column) * width;
            for (size_t c = 0; c < count; c++)
                sums[c] += weight * (double)from[c];
        }
    for (size_t c = 0; c < count; c++)
        out[c] = (float)sums[c];
}

void dvit_position_resize_antialiased(float *out, struct dvit_grid to, const float *in,
                                      struct dvit_grid from, int dim)
{
    size_t width = (size_t)dim;
    for (int row = 0; row < to.rows; row++) {
        struct span y = span_at(row, to.rows, from.rows);
        for (int column = 0; column < to.columns; column++, out += width) {
            struct span x = span_at(column, to.columns, from.columns);
            for (size_t c = 0; c < width; c += CHANNELS)
                mix(out + c, in + c, &y, &x, from.columns, width,
                    width - c < CHANNELS ? width - c : CHANNELS);
        }
    }
}
