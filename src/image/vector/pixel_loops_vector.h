/* The loops over pixels as vector algorithms, written once and compiled once per level by
 * x86/pixel_loops_<isa>.c, whose words they stand on. A register is LANES parts of 16 bytes, and no
 * operation crosses from one part to another:
 *
 *     lanes, LANES               a register of integers, and its parts
 *     lanes_gather(p, o)         16 bytes from p[i] + o to part i
 *     lanes_scatter(q, o, v)     and back
 *     lanes_load, lanes_store    unaligned
 *     lanes_repeat(m)            16 bytes in every part
 *     lanes_set(x)               a 32-bit number everywhere
 *     lanes_shuffle(v, m)        bytes of a part by index; a negative index gives 0
 *     lanes_dot(a, b)            products of 16-bit numbers, summed by two to 32 bits
 *     lanes_add, lanes_up(v), lanes_down(v)   of 32-bit numbers: sum, · 2¹⁵, ⌊/ 2²²⌋
 *     lanes_pack32, lanes_pack16 two registers narrowed with saturation, part by part
 *     lanes_zip_low, lanes_zip_high           bytes of two registers by turns, part by part
 *     reals, REALS, …            floats, below
 *
 * A weight has 23 bits and is multiplied in two halves (resize_weights.h): Σ upper·p · 2¹⁵ +
 * Σ lower·p is Σ w·p, exact modulo 2³², and the whole fits in 32 bits. */
#ifndef DVIT_IMAGE_PIXEL_LOOPS_VECTOR_H
#define DVIT_IMAGE_PIXEL_LOOPS_VECTOR_H

#include <string.h>

#include "image/pixel_loops.h"

#define BLOCK_BYTES (16 * LANES)

/* The 8-bit numbers that 22 more bits of fraction round to, still as 32-bit ones. */
static inline lanes rounded(lanes low, lanes high)
{
    const lanes half = lanes_set(1 << (DVIT_WEIGHT_BITS - 1));
    return lanes_down(lanes_add(lanes_add(lanes_up(high), low), half));
}

static inline lanes narrowed(lanes a, lanes b, lanes c, lanes d)
{
    return lanes_pack16(lanes_pack32(a, b), lanes_pack32(c, d));
}

/* ---- horizontal: a part of a register is a pixel of one of LANES rows ---- */

/* Two neighbouring RGB pixels as three pairs of 16-bit numbers and a pair of zeros. */
static const signed char first_pair[16] = {0, -1, 3, -1, 1,  -1, 4,  -1,
                                           2, -1, 5, -1, -1, -1, -1, -1};
static const signed char second_pair[16] = {6, -1, 9,  -1, 7,  -1, 10, -1,
                                            8, -1, 11, -1, -1, -1, -1, -1};
/* Four pixels of four bytes as twelve bytes. */
static const signed char four_to_three[16] = {0,  1,  2,  4,  5,  6,  8,  9,
                                              10, 12, 13, 14, -1, -1, -1, -1};

/* Output pixel x of LANES rows, as 32-bit R, G, B and 0. */
static inline lanes output_pixel(const unsigned char *const from[LANES],
                                 const struct dvit_resize_weights *weights, int x)
{
    const lanes first = lanes_repeat(first_pair), second = lanes_repeat(second_pair);
    const uint32_t *halves = weights->halves + (size_t)x * (size_t)weights->taps;
    size_t at = 3 * (size_t)weights->start[x];
    lanes low = lanes_set(0), high = lanes_set(0);
    for (int k = 0; k < weights->taps; k += 4, at += 12, halves += 4) {
        lanes pixels = lanes_gather(from, at);
        lanes a = lanes_shuffle(pixels, first), b = lanes_shuffle(pixels, second);
        low = lanes_add(low, lanes_dot(a, lanes_set((int)halves[0])));
        high = lanes_add(high, lanes_dot(a, lanes_set((int)halves[1])));
        low = lanes_add(low, lanes_dot(b, lanes_set((int)halves[2])));
        high = lanes_add(high, lanes_dot(b, lanes_set((int)halves[3])));
    }
    return rounded(low, high);
}

static void horizontal(unsigned char *to, size_t to_stride, const unsigned char *from,
                       size_t from_stride, int rows, const struct dvit_resize_weights *weights)
{
    const lanes compact = lanes_repeat(four_to_three);
    for (int y = 0; y < rows; y += LANES) {
        const unsigned char *reads[LANES];
        unsigned char *writes[LANES];
        for (int i = 0; i < LANES; i++) { /* beyond the last row: that one again */
            size_t row = (size_t)(y + i < rows ? y + i : rows - 1);
            reads[i] = from + row * from_stride;
            writes[i] = to + row * to_stride;
        }
        for (int x = 0; x < weights->count; x += 4) {
            lanes four =
                narrowed(output_pixel(reads, weights, x), output_pixel(reads, weights, x + 1),
                         output_pixel(reads, weights, x + 2), output_pixel(reads, weights, x + 3));
            lanes_scatter(writes, 3 * (size_t)x, lanes_shuffle(four, compact));
        }
    }
}

/* ---- vertical: a register is BLOCK_BYTES neighbouring bytes of a row ---- */

/* The sums of a block: four registers hold its bytes in the order that zips give, which packs undo.
 */
struct block_sums {
    lanes low[4], high[4];
};

/* Adds two rows with their weights' halves. */
static inline void add_rows(struct block_sums *sums, lanes a, lanes b, const uint32_t halves[2])
{
    const lanes zero = lanes_set(0);
    lanes left = lanes_zip_low(a, b), right = lanes_zip_high(a, b);
    lanes pairs[4] = {lanes_zip_low(left, zero), lanes_zip_high(left, zero),
                      lanes_zip_low(right, zero), lanes_zip_high(right, zero)};
    lanes w_low = lanes_set((int)halves[0]), w_high = lanes_set((int)halves[1]);
    for (int i = 0; i < 4; i++) {
        sums->low[i] = lanes_add(sums->low[i], lanes_dot(pairs[i], w_low));
        sums->high[i] = lanes_add(sums->high[i], lanes_dot(pairs[i], w_high));
    }
}

static void vertical(unsigned char *to, const unsigned char *from, size_t stride, size_t bytes,
                     const struct dvit_resize_weights *weights, int output)
{
    const uint32_t *halves = weights->halves + (size_t)output * (size_t)weights->taps;
    int length = weights->length[output];
    for (size_t at = 0; at < bytes; at += BLOCK_BYTES) {
        struct block_sums sums;
        for (int i = 0; i < 4; i++)
            sums.low[i] = sums.high[i] = lanes_set(0);
        const unsigned char *row = from + at;
        for (int k = 0; k < length; k += 2, row += 2 * stride)
            add_rows(&sums, lanes_load(row), lanes_load(row + stride), halves + k);
        lanes block =
            narrowed(rounded(sums.low[0], sums.high[0]), rounded(sums.low[1], sums.high[1]),
                     rounded(sums.low[2], sums.high[2]), rounded(sums.low[3], sums.high[3]));
        if (bytes - at >= BLOCK_BYTES) {
            lanes_store(to + at, block);
        } else {
            unsigned char last[BLOCK_BYTES];
            lanes_store(last, block);
            memcpy(to + at, last, bytes - at);
        }
    }
}

/* ---- normalise ----
 *
 *     reals, REALS               a register of floats, and how many
 *     reals_of_bytes(p)          REALS bytes as floats
 *     reals_set, reals_store, reals_subtract, reals_multiply
 *     reals_fma(a, b, c)         a·b + c
 *     reals_fnma(a, b, c)        c − a·b
 *     split_pixels(rgb, planes)  16 pixels to 16 bytes of each channel
 */

/* x / by, by a product and one correction of its error: faster than dividing. */
static inline reals quotient(reals x, reals by, reals inverse)
{
    reals near = reals_multiply(x, inverse);
    return reals_fma(reals_fnma(near, by, x), inverse, near);
}

/* `count` bytes, a multiple of 16, of channel c. */
static inline void scale_bytes(float *to, const unsigned char *bytes, size_t count, int c,
                               const struct dvit_pixel_scale *scale)
{
    const reals most = reals_set(255.0f), mean = reals_set(scale->mean[c]);
    const reals std = reals_set(scale->std[c]);
    const reals share = reals_set(1.0f / 255.0f), inverse = reals_set(1.0f / scale->std[c]);
    for (size_t i = 0; i < count; i += REALS) {
        reals centred = reals_subtract(quotient(reals_of_bytes(bytes + i), most, share), mean);
        reals_store(to + i, quotient(centred, std, inverse));
    }
}

/* Whether that gives the table's values for every byte. It does unless the deviations are out of
 * the ordinary; a byte has few values, so asking costs next to nothing. */
static bool scales_exactly(const struct dvit_pixel_scale *scale)
{
    unsigned char bytes[256];
    float values[256];
    for (int p = 0; p < 256; p++)
        bytes[p] = (unsigned char)p;
    for (int c = 0; c < 3; c++) {
        scale_bytes(values, bytes, sizeof bytes, c, scale);
        if (memcmp(values, scale->table[c], sizeof values) != 0)
            return false;
    }
    return true;
}

static void normalise(float *planes, const unsigned char *rgb, size_t pixels,
                      const struct dvit_pixel_scale *scale)
{
    size_t i = 0;
    unsigned char split[3][16];
    for (size_t whole = scales_exactly(scale) ? pixels / 16 * 16 : 0; i < whole; i += 16) {
        split_pixels(rgb + 3 * i, split);
        for (int c = 0; c < 3; c++)
            scale_bytes(planes + (size_t)c * pixels + i, split[c], 16, c, scale);
    }
    for (; i < pixels; i++)
        for (size_t c = 0; c < 3; c++)
            planes[c * pixels + i] = scale->table[c][rgb[3 * i + c]];
}

#endif
