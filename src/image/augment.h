/* Random crops and flips for training.
 *
 * Drawing the parameters and applying them are two functions, so that a test can force any draw and
 * an experiment can repeat one. */
#ifndef DVIT_IMAGE_AUGMENT_H
#define DVIT_IMAGE_AUGMENT_H

#include <stdbool.h>

#include "base/error.h"
#include "base/rng.h"
#include "dvit/image.h"

enum dvit_augment_crop {
    DVIT_AUGMENT_CROP_NONE,    /* the evaluation geometry */
    DVIT_AUGMENT_CROP_RESIZED, /* RandomResizedCrop */
    DVIT_AUGMENT_CROP_PADDED,  /* black border, then a random window; no resize unless the image has
                                  another size: then the evaluation geometry first */
};

struct dvit_augment {
    enum dvit_augment_crop crop;
    double scale_low, scale_high; /* share of the image's area, 0 < low ≤ high ≤ 1; .08, 1 */
    double ratio_low, ratio_high; /* width/height of the box, .01 ≤ low ≤ high ≤ 100; 3/4, 4/3 */
    int attempts;                 /* before the centred fallback, 1 … 1000; 10 */
    int padding;                  /* pixels of DVIT_AUGMENT_CROP_PADDED, 0 … 4096; 4 */
    enum dvit_filter filter;      /* bicubic */
    double flip_probability;      /* of left and right swapped, in [0, 1]; .5 */
};

/* The standard choice for a network input of that size: padded crop where both sides are ≤ 32,
 * RandomResizedCrop above; flips. */
struct dvit_augment dvit_augment_default(int width, int height);
/* DVIT_OK, or which field is out of range, with the bound. */
enum dvit_status dvit_augment_check(const struct dvit_augment *augment, struct dvit_error *error);

/* One draw. For DVIT_AUGMENT_CROP_RESIZED the box lies inside the image; for _PADDED it has the
 * crop's size and x, y in −padding … padding, in the image after the evaluation geometry; for _NONE
 * it is not used. */
struct dvit_augment_draw {
    struct dvit_box box;
    bool flip;
};
/* Draws for an image of width × height pixels. Order of draws: box, then flip. */
struct dvit_augment_draw dvit_augment_draw(const struct dvit_augment *augment,
                                           const struct dvit_preprocess *preprocess, int width,
                                           int height, struct dvit_rng *rng);
/* Cuts, resizes and flips as drawn; out is crop_width × crop_height, 8 bits. Caller frees. */
enum dvit_status dvit_augment_apply(const struct dvit_augment *augment,
                                    const struct dvit_preprocess *preprocess,
                                    const struct dvit_augment_draw *draw,
                                    const struct dvit_image *in, struct dvit_image *out,
                                    struct dvit_error *error);
/* Draw and apply. */
enum dvit_status dvit_augment_run(const struct dvit_augment *augment,
                                  const struct dvit_preprocess *preprocess,
                                  const struct dvit_image *in, struct dvit_rng *rng,
                                  struct dvit_image *out, struct dvit_error *error);

#endif
