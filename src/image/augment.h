/* What training does to one image: a random crop, a flip, then a policy's operations or colour
 * jitter, all in 8 bits; and erasing, after normalisation.
 *
 * Drawing the parameters and applying them are two functions, so that a test can force any draw and
 * an experiment can repeat one. */
#ifndef DVIT_IMAGE_AUGMENT_H
#define DVIT_IMAGE_AUGMENT_H

#include <stdbool.h>

#include "base/error.h"
#include "base/rng.h"
#include "dvit/image.h"
#include "image/policy.h"
#include "image/room.h"

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
    struct dvit_policy policy;    /* none */
    double color_jitter;          /* strength in [0, 1], where there is no policy; 0 = off */
    double erasing;               /* probability of a box of noise, in [0, 1]; 0 */
};

/* The standard choice for a network input of that size: padded crop where both sides are ≤ 32,
 * RandomResizedCrop above; flips; nothing else. */
struct dvit_augment dvit_augment_default(int width, int height);
/* DVIT_OK, or which field is out of range, with the bound. */
enum dvit_status dvit_augment_check(const struct dvit_augment *augment, struct dvit_error *error);

/* One draw. For DVIT_AUGMENT_CROP_RESIZED the box lies inside the image; for _PADDED it has the
 * crop's size and x, y in −padding … padding, in the image after the evaluation geometry; for _NONE
 * it is not used. */
struct dvit_augment_draw {
    struct dvit_box box;
    bool flip;
    struct dvit_policy_draw policy; /* or the colour jitter */
};
/* Draws for an image of width × height pixels. Order of draws: box, flip, policy or jitter. */
struct dvit_augment_draw dvit_augment_draw(const struct dvit_augment *augment,
                                           const struct dvit_preprocess *preprocess, int width,
                                           int height, struct dvit_rng *rng);
/* Cuts, resizes and flips as drawn; out is crop_width × crop_height, 8 bits. Caller frees. */
enum dvit_status dvit_augment_apply(const struct dvit_augment *augment,
                                    const struct dvit_preprocess *preprocess,
                                    const struct dvit_augment_draw *draw,
                                    const struct dvit_image *in, struct dvit_image *out,
                                    struct dvit_error *error);
/* Runs the operations drawn, in place. `spare` is room that may be kept from image to image: empty
 * at first, made as large as `image` when it is needed; the caller frees it in the end. */
enum dvit_status dvit_augment_operate(const struct dvit_preprocess *preprocess,
                                      const struct dvit_augment_draw *draw,
                                      struct dvit_image *image, struct dvit_image *spare,
                                      struct dvit_error *error);
/* Draw, apply and operate: the result is room->cut, undefined on failure. */
enum dvit_status dvit_augment_run(const struct dvit_augment *augment,
                                  const struct dvit_preprocess *preprocess,
                                  const struct dvit_image *in, struct dvit_rng *rng,
                                  struct dvit_image_room *room, struct dvit_error *error);
/* What comes after normalisation: draws whether and where to erase, and does it. */
void dvit_augment_erase(const struct dvit_augment *augment,
                        const struct dvit_preprocess *preprocess, struct dvit_rng *rng,
                        float *pixels /* [3][crop_height][crop_width] */);

#endif
