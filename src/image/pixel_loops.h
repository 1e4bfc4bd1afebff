/* The loops over 8-bit pixels that preparing an image spends its time in, at each vector level. All
 * levels give the same bits as plain C, which is the definition; none allocates. Inside src/image
 * only. */
#ifndef DVIT_IMAGE_PIXEL_LOOPS_H
#define DVIT_IMAGE_PIXEL_LOOPS_H

#include "base/cpu.h"
#include "image/resize_weights.h"

/* Bytes beyond 3·weights.count of a row that `horizontal` may write. */
enum { DVIT_ROW_SLACK = 16 };

/* What a byte becomes, by channel, and the numbers it was made of. */
struct dvit_pixel_scale {
    float mean[3], std[3];
    float table[3][256]; /* (p/255 − mean)/std, each step rounded to f32 */
};
void dvit_pixel_scale_fill(struct dvit_pixel_scale *scale, const float mean[3], const float std[3]);

struct dvit_pixel_loops {
    /* Rows of RGB narrowed or widened: output x of each is the weighted sum over its taps, rounded
     * and clipped to 8 bits. Reads weights.reach bytes of each row, the ones past its end with
     * weight 0; writes up to DVIT_ROW_SLACK bytes more than 3·weights.count. */
    void (*horizontal)(unsigned char *to, size_t to_stride, const unsigned char *from,
                       size_t from_stride, int rows, const struct dvit_resize_weights *weights);
    /* One output row of `bytes` bytes, the weighted sum of rows from, from + stride, … with row
     * `output` of the weights. Reads one row more where their number is odd, with weight 0, and
     * each row up to the next multiple of 64 bytes. */
    void (*vertical)(unsigned char *to, const unsigned char *from, size_t stride, size_t bytes,
                     const struct dvit_resize_weights *weights, int output);
    /* Planes [3][pixels] of scale->table's values, from RGB. */
    void (*normalise)(float *planes, const unsigned char *rgb, size_t pixels,
                      const struct dvit_pixel_scale *scale);
};

/* Levels that are not compiled in are passed over. */
struct dvit_pixel_loops dvit_pixel_loops_select(enum dvit_cpu cpu);

/* What each level's file offers to the selection. */
#if defined(DVIT_IMAGE_X86)
extern const struct dvit_pixel_loops dvit_pixel_loops_avx2, dvit_pixel_loops_avx512;
#endif

#endif
