/* Bicubic interpolation of a grid of vectors. Coordinates and sums are in double; every output is a
 * weighted mean of sixteen neighbours. Nothing is allocated. */
#include "weights/position.h"

#include <math.h>
#include <stddef.h>

enum { TAPS = 4 };

struct taps {
    int index[TAPS];
    double weight[TAPS];
};

/* Keys' kernel at distance x, A = −0.75 as in PyTorch. */
static double kernel(double x)
{
    const double a = -0.75;
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
        taps.weight[k] = kernel(source - index);
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
