/* Plain C: the definition of the loops over pixels, and the choice of a level. */
#include "image/pixel_loops.h"

#include <string.h>

void dvit_pixel_scale_fill(struct dvit_pixel_scale *scale, const float mean[3], const float std[3])
{
    memcpy(scale->mean, mean, sizeof scale->mean);
    memcpy(scale->std, std, sizeof scale->std);
    for (int c = 0; c < 3; c++)
        for (int p = 0; p < 256; p++) {
            float share = (float)p / 255.0f; /* each step rounded, as PyTorch's transforms do */
            float centred = share - mean[c];
            scale->table[c][p] = centred / std[c];
        }
}

static const int32_t half = 1 << (DVIT_WEIGHT_BITS - 1);

static unsigned char clip(int32_t sum)
{
    int32_t value = sum >> DVIT_WEIGHT_BITS;
    return (unsigned char)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void horizontal_row(unsigned char *to, const unsigned char *from,
                           const struct dvit_resize_weights *weights)
{
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

static void horizontal(unsigned char *to, size_t to_stride, const unsigned char *from,
                       size_t from_stride, int rows, const struct dvit_resize_weights *weights)
{
    for (int y = 0; y < rows; y++)
        horizontal_row(to + (size_t)y * to_stride, from + (size_t)y * from_stride, weights);
}

/* The inner loops run along the row, in pieces that stay in the first cache level. */
static void vertical(unsigned char *to, const unsigned char *from, size_t stride, size_t bytes,
                     const struct dvit_resize_weights *weights, int output)
{
    enum { PIECE = 1024 };
    int32_t sums[PIECE];
    const int32_t *w = weights->values + (size_t)output * (size_t)weights->taps;
    for (size_t at = 0; at < bytes; at += PIECE) {
        size_t count = bytes - at < PIECE ? bytes - at : PIECE;
        for (size_t i = 0; i < count; i++)
            sums[i] = half;
        for (int k = 0; k < weights->length[output]; k++) {
            const unsigned char *p = from + (size_t)k * stride + at;
            for (size_t i = 0; i < count; i++)
                sums[i] += w[k] * p[i];
        }
        for (size_t i = 0; i < count; i++)
            to[at + i] = clip(sums[i]);
    }
}

static void normalise(float *planes, const unsigned char *rgb, size_t pixels,
                      const struct dvit_pixel_scale *scale)
{
    for (size_t i = 0; i < pixels; i++, rgb += 3)
        for (size_t c = 0; c < 3; c++)
            planes[c * pixels + i] = scale->table[c][rgb[c]];
}

struct dvit_pixel_loops dvit_pixel_loops_select(enum dvit_cpu cpu)
{
#if defined(DVIT_IMAGE_X86)
    if (cpu >= DVIT_CPU_AVX512)
        return dvit_pixel_loops_avx512;
    if (cpu >= DVIT_CPU_AVX2)
        return dvit_pixel_loops_avx2;
#endif
    return (struct dvit_pixel_loops){horizontal, vertical, normalise};
}
