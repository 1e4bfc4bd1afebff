/* Antialiased resize, bit-exact with Pillow 12: weights in double, rounded to 22 fraction bits,
 * 32-bit sums, 8 bits between the passes, horizontal pass first. The formulas' order of operations
 * is Pillow's and must not be simplified; this file relies on products and sums being rounded apart
 * (no contraction). */
#include "image/resize.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FRACTION_BITS = 22 };

/* For outputs first … first + count − 1 of one axis: which inputs weigh how much. */
struct weights {
    int count;
    int taps;        /* longest row of values */
    int *start;      /* [count] first input */
    int *length;     /* [count] inputs */
    int32_t *values; /* [count][taps] */
};

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

static void weights_free(struct weights *weights)
{
    free(weights->start);
    free(weights->length);
    free(weights->values);
    *weights = (struct weights){0};
}

/* Row i of the weights, the axis going from `in` to `out` pixels; scratch [taps]. */
static void weights_row(struct weights *weights, int row, int output, int in, int out,
                        enum dvit_filter filter, double *scratch)
{
    double scale = (double)in / out;
    double stretch = scale < 1.0 ? 1.0 : scale;
    double support = filter_support(filter) * stretch, inverse = 1.0 / stretch;
    double centre = (output + 0.5) * scale, sum = 0.0;
    int low = (int)(centre - support + 0.5), high = (int)(centre + support + 0.5);
    if (low < 0)
        low = 0;
    if (high > in)
        high = in;
    for (int x = low; x < high; x++) {
        scratch[x - low] = filter_value(filter, (x - centre + 0.5) * inverse);
        sum += scratch[x - low];
    }
    int32_t *values = weights->values + (size_t)row * (size_t)weights->taps;
    for (int k = 0; k < high - low; k++) {
        double w = sum != 0.0 ? scratch[k] / sum : scratch[k];
        double scaled = w * (1 << FRACTION_BITS);
        values[k] = (int32_t)(w < 0 ? -0.5 + scaled : 0.5 + scaled);
    }
    weights->start[row] = low;
    weights->length[row] = high - low;
}

static enum dvit_status weights_create(struct weights *weights, int in, int out, int first,
                                       int count, enum dvit_filter filter, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    double stretch = in > out ? (double)in / out : 1.0;
    int taps = (int)ceil(filter_support(filter) * stretch) * 2 + 1;
    size_t rows = (size_t)count;
    double *scratch = malloc((size_t)taps * sizeof *scratch);
    *weights = (struct weights){.count = count, .taps = taps};
    weights->start = malloc(rows * sizeof *weights->start);
    weights->length = malloc(rows * sizeof *weights->length);
    weights->values = calloc(rows, (size_t)taps * sizeof *weights->values);
    if (!scratch || !weights->start || !weights->length || !weights->values)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "out of memory for the weights of a resize to %d", out);
    for (int row = 0; row < count; row++)
        weights_row(weights, row, first + row, in, out, filter, scratch);
done:
    free(scratch);
    if (status != DVIT_OK)
        weights_free(weights);
    return status;
}

static unsigned char clip(int32_t sum)
{
    int32_t value = sum >> FRACTION_BITS;
    return (unsigned char)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* One row: to [count][3], from [inputs][3]. */
static void horizontal_row(unsigned char *to, const unsigned char *from,
                           const struct weights *weights)
{
    const int32_t half = 1 << (FRACTION_BITS - 1);
    for (int x = 0; x < weights->count; x++, to += 3) {
        const int32_t *w = weights->values + (size_t)x * (size_t)weights->taps;
        const unsigned char *p = from + 3 * (size_t)weights->start[x];
        int32_t r = half, g = half, b = half;
        for (int k = 0; k < weights->length[x]; k++, p += 3) {
            r += w[k] * p[0];
            g += w[k] * p[1];
            b += w[k] * p[2];
        }
        to[0] = clip(r);
        to[1] = clip(g);
        to[2] = clip(b);
    }
}

/* One row of `bytes` bytes from rows at `stride`; the inner loops run along the row, in pieces that
 * stay in the first cache level. */
static void vertical_row(unsigned char *to, const unsigned char *from, size_t stride, size_t bytes,
                         const int32_t *w, int length)
{
    enum { PIECE = 1024 };
    int32_t sums[PIECE];
    for (size_t at = 0; at < bytes; at += PIECE) {
        size_t count = bytes - at < PIECE ? bytes - at : PIECE;
        for (size_t i = 0; i < count; i++)
            sums[i] = 1 << (FRACTION_BITS - 1);
        for (int k = 0; k < length; k++) {
            const unsigned char *p = from + (size_t)k * stride + at;
            int32_t weight = w[k];
            for (size_t i = 0; i < count; i++)
                sums[i] += weight * p[i];
        }
        for (size_t i = 0; i < count; i++)
            to[at + i] = clip(sums[i]);
    }
}

/* The box narrowed or widened to window.width columns; all its rows. */
static enum dvit_status horizontal_pass(struct dvit_image *out, const struct dvit_image *in,
                                        struct dvit_box box, int width, struct dvit_box window,
                                        enum dvit_filter filter, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct weights weights = {0};
    struct dvit_image result = {0};
    DVIT_TRY(dvit_image_create(&result, window.width, box.height, error));
    if (width != box.width)
        DVIT_TRY(weights_create(&weights, box.width, width, window.x, window.width, filter, error));
    for (int y = 0; y < box.height; y++) {
        const unsigned char *from =
            in->pixels + 3 * ((size_t)(box.y + y) * (size_t)in->width + (size_t)box.x);
        unsigned char *to = result.pixels + 3 * (size_t)y * (size_t)window.width;
        if (width == box.width)
            memcpy(to, from + 3 * (size_t)window.x, 3 * (size_t)window.width);
        else
            horizontal_row(to, from, &weights);
    }
    *out = result;
    result = (struct dvit_image){0};
done:
    weights_free(&weights);
    dvit_image_free(&result);
    return status;
}

static enum dvit_status vertical_pass(struct dvit_image *out, const struct dvit_image *in,
                                      int height, struct dvit_box window, enum dvit_filter filter,
                                      struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct weights weights = {0};
    struct dvit_image result = {0};
    size_t row_bytes = 3 * (size_t)in->width;
    DVIT_TRY(dvit_image_create(&result, in->width, window.height, error));
    DVIT_TRY(weights_create(&weights, in->height, height, window.y, window.height, filter, error));
    for (int y = 0; y < window.height; y++)
        vertical_row(result.pixels + (size_t)y * row_bytes,
                     in->pixels + (size_t)weights.start[y] * row_bytes, row_bytes, row_bytes,
                     weights.values + (size_t)y * (size_t)weights.taps, weights.length[y]);
    *out = result;
    result = (struct dvit_image){0};
done:
    weights_free(&weights);
    dvit_image_free(&result);
    return status;
}

static bool box_inside(struct dvit_box box, int width, int height)
{
    return box.x >= 0 && box.y >= 0 && box.width >= 1 && box.height >= 1 && box.width <= width &&
           box.height <= height && box.x <= width - box.width && box.y <= height - box.height;
}

enum dvit_status dvit_image_resize_window(struct dvit_image *out, const struct dvit_image *in,
                                          struct dvit_box box, int width, int height,
                                          struct dvit_box window, enum dvit_filter filter,
                                          struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_image narrowed = {0};
    *out = narrowed;
    if (width < 1 || height < 1) /* only the window has to fit in memory */
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "resize to %dx%d pixels, sides must be at least 1",
                  width, height);
    if (!box_inside(box, in->width, in->height))
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "resize of a box of %dx%d pixels at (%d, %d), the image has %dx%d", box.width,
                  box.height, box.x, box.y, in->width, in->height);
    if (!box_inside(window, width, height))
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "crop of %dx%d pixels at (%d, %d), the resized image has %dx%d", window.width,
                  window.height, window.x, window.y, width, height);
    if (height == box.height) { /* no vertical pass: only the rows of the window */
        box.y += window.y;
        box.height = window.height;
        return horizontal_pass(out, in, box, width, window, filter, error);
    }
    DVIT_TRY(horizontal_pass(&narrowed, in, box, width, window, filter, error));
    DVIT_TRY(vertical_pass(out, &narrowed, height, window, filter, error));
done:
    dvit_image_free(&narrowed);
    return status;
}

enum dvit_status dvit_image_resize_box(struct dvit_image *out, const struct dvit_image *in,
                                       struct dvit_box box, int width, int height,
                                       enum dvit_filter filter, struct dvit_error *error)
{
    struct dvit_box all = {0, 0, width, height};
    return dvit_image_resize_window(out, in, box, width, height, all, filter, error);
}

enum dvit_status dvit_image_resize(struct dvit_image *out, const struct dvit_image *in, int width,
                                   int height, enum dvit_filter filter, struct dvit_error *error)
{
    struct dvit_box all = {0, 0, in->width, in->height};
    return dvit_image_resize_box(out, in, all, width, height, filter, error);
}
