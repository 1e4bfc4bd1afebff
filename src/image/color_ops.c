/* Operations on values: tables of 256 entries per channel, and blends of an image with a version of
 * itself. The arithmetic is Pillow's (ImageOps, ImageEnhance), to the bit: blends are in f32 with
 * product and sum rounded apart, tables in double. Geometry is in geometry_ops.c.
 */
#include <stdint.h>
#include <string.h>

#include "image/image_ops.h"

typedef unsigned char value_table[3][256];

static size_t pixel_count(const struct dvit_image *image)
{
    return (size_t)image->width * (size_t)image->height;
}

static void apply_table(struct dvit_image *image, value_table table)
{
    unsigned char *p = image->pixels, *end = p + 3 * pixel_count(image);
    for (; p < end; p += 3) {
        p[0] = table[0][p[0]];
        p[1] = table[1][p[1]];
        p[2] = table[2][p[2]];
    }
}

/* The same 256 entries for all channels. */
static void apply_to_all(struct dvit_image *image, const unsigned char entries[256])
{
    unsigned char *p = image->pixels, *end = p + 3 * pixel_count(image);
    for (; p < end; p++)
        *p = entries[*p];
}

static void fill_histogram(const struct dvit_image *image, uint32_t histogram[3][256])
{
    const unsigned char *p = image->pixels, *end = p + 3 * pixel_count(image);
    memset(histogram, 0, 3 * sizeof *histogram);
    for (; p < end; p += 3) {
        histogram[0][p[0]]++;
        histogram[1][p[1]]++;
        histogram[2][p[2]]++;
    }
}

/* Without a branch, which noise would mispredict: below 0 the sign's shift is all ones. */
static unsigned char clip_int(int value)
{
    int low = value < 255 ? value : 255;
    return (unsigned char)(low & ~(low >> 31));
}

/* ---- contrast of the present values ---- */

/* The lowest value present becomes 0, the highest 255. */
static void stretch_channel(unsigned char entries[256], const uint32_t histogram[256])
{
    int low = 0, high = 255;
    while (low < 255 && !histogram[low])
        low++;
    while (high > 0 && !histogram[high])
        high--;
    double scale = high > low ? 255.0 / (high - low) : 1.0;
    double offset = high > low ? -low * scale : 0.0;
    for (int i = 0; i < 256; i++)
        entries[i] = clip_int((int)(i * scale + offset));
}

void dvit_image_auto_contrast(struct dvit_image *image)
{
    uint32_t histogram[3][256];
    value_table table;
    fill_histogram(image, histogram);
    for (int c = 0; c < 3; c++)
        stretch_channel(table[c], histogram[c]);
    apply_table(image, table);
}

/* As many pixels at every value, as far as a table can do it. */
static void equalize_channel(unsigned char entries[256], const uint32_t histogram[256])
{
    uint64_t total = 0, highest = 0;
    for (int i = 0; i < 256; i++) {
        total += histogram[i];
        highest = histogram[i] ? histogram[i] : highest;
    }
    uint64_t step = (total - highest) / 255, n = step / 2;
    for (int i = 0; i < 256; i++) {
        uint64_t value = step ? n / step : (uint64_t)i;
        entries[i] = (unsigned char)(value < 255 ? value : 255);
        n += histogram[i];
    }
}

void dvit_image_equalize(struct dvit_image *image)
{
    uint32_t histogram[3][256];
    value_table table;
    fill_histogram(image, histogram);
    for (int c = 0; c < 3; c++)
        equalize_channel(table[c], histogram[c]);
    apply_table(image, table);
}

/* ---- fixed tables ---- */

void dvit_image_invert(struct dvit_image *image)
{
    size_t bytes = 3 * pixel_count(image);
    for (size_t i = 0; i < bytes; i++)
        image->pixels[i] = (unsigned char)~image->pixels[i];
}

void dvit_image_posterize(struct dvit_image *image, int bits)
{
    size_t bytes = 3 * pixel_count(image);
    int dropped = bits <= 0 ? 8 : bits >= 8 ? 0 : 8 - bits;
    unsigned char mask = (unsigned char)(0xff << dropped);
    for (size_t i = 0; i < bytes; i++)
        image->pixels[i] &= mask;
}

void dvit_image_solarize(struct dvit_image *image, int threshold)
{
    unsigned char entries[256];
    for (int i = 0; i < 256; i++)
        entries[i] = (unsigned char)(i < threshold ? i : 255 - i);
    apply_to_all(image, entries);
}

void dvit_image_solarize_add(struct dvit_image *image, int add)
{
    enum { BELOW = 128 };
    unsigned char entries[256];
    for (int i = 0; i < 256; i++)
        entries[i] = i < BELOW ? clip_int(i + add) : (unsigned char)i;
    apply_to_all(image, entries);
}

/* ---- blends ---- */

/* From `base` (factor 0) over `value` (factor 1) and beyond. */
static unsigned char blend(int base, int value, float factor)
{
    float scaled = factor * (float)(value - base);
    return clip_int((int)((float)base + scaled));
}

static int luma(const unsigned char *rgb)
{
    return (19595 * rgb[0] + 38470 * rgb[1] + 7471 * rgb[2] + 32768) >> 16;
}

static void blend_with_constant(struct dvit_image *image, int base, float factor)
{
    unsigned char entries[256];
    for (int i = 0; i < 256; i++)
        entries[i] = blend(base, i, factor);
    apply_to_all(image, entries);
}

void dvit_image_color(struct dvit_image *image, float factor)
{
    unsigned char *p = image->pixels, *end = p + 3 * pixel_count(image);
    for (; p < end; p += 3) {
        int grey = luma(p);
        p[0] = blend(grey, p[0], factor);
        p[1] = blend(grey, p[1], factor);
        p[2] = blend(grey, p[2], factor);
    }
}

void dvit_image_contrast(struct dvit_image *image, float factor)
{
    size_t pixels = pixel_count(image);
    uint64_t sum = 0;
    for (size_t i = 0; i < pixels; i++)
        sum += (uint64_t)luma(image->pixels + 3 * i);
    blend_with_constant(image, (int)((double)sum / (double)pixels + 0.5), factor);
}

void dvit_image_brightness(struct dvit_image *image, float factor)
{
    blend_with_constant(image, 0, factor);
}

/* One row of the smoothed image: weights 1, in the centre 5, of 13; its ends as they were. */
static void smooth_row(unsigned char *to, const unsigned char *from, size_t bytes)
{
    const unsigned char *above = from - bytes, *below = from + bytes;
    memcpy(to, from, 3);
    for (size_t i = 3; i < bytes - 3; i++) {
        int sum = above[i - 3] + above[i] + above[i + 3] + from[i - 3] + 5 * from[i] + from[i + 3] +
                  below[i - 3] + below[i] + below[i + 3];
        to[i] = (unsigned char)((2 * sum + 13) / 26);
    }
    memcpy(to + bytes - 3, from + bytes - 3, 3);
}

void dvit_image_sharpness(struct dvit_image *image, struct dvit_image *spare, float factor)
{
    size_t row = 3 * (size_t)image->width, rows = (size_t)image->height;
    if (image->width < 3 || image->height < 3) /* nothing has all its neighbours */
        return;
    for (size_t y = 1; y + 1 < rows; y++)
        smooth_row(spare->pixels + y * row, image->pixels + y * row, row);
    for (size_t i = row; i < (rows - 1) * row; i++) /* a border blends with itself */
        image->pixels[i] = blend(spare->pixels[i], image->pixels[i], factor);
}
