/* Operations on one 8-bit image that training draws from: contrast, colour, sharpness, affine maps.
 * Each gives the pixels of Pillow 12, for any argument.
 *
 * They work in place, without allocating: `spare` is an image of the same size as `image`, whose
 * pixels are overwritten; the two may exchange their blocks of pixels. */
#ifndef DVIT_IMAGE_IMAGE_OPS_H
#define DVIT_IMAGE_IMAGE_OPS_H

#include "dvit/image.h"

/* In the order in which RandAugment numbers them. */
enum dvit_image_op {
    DVIT_OP_AUTO_CONTRAST, /* no argument */
    DVIT_OP_EQUALIZE,      /* no argument */
    DVIT_OP_INVERT,        /* no argument */
    DVIT_OP_ROTATE,        /* degrees, counter-clockwise */
    DVIT_OP_POSTERIZE,     /* bits kept; ≤ 0 makes black, ≥ 8 changes nothing */
    DVIT_OP_SOLARIZE,      /* threshold: from it on, values are inverted */
    DVIT_OP_SOLARIZE_ADD,  /* what is added to values below 128 */
    /* Factors up to 1e6; 1 changes nothing, above it there is more of what 0 takes away: */
    DVIT_OP_COLOR,      /* 0 is grey */
    DVIT_OP_CONTRAST,   /* 0 is the mean */
    DVIT_OP_BRIGHTNESS, /* 0 is black */
    DVIT_OP_SHARPNESS,  /* 0 is smoothed */
    /* Signed: */
    DVIT_OP_SHEAR_X,     /* columns per row */
    DVIT_OP_SHEAR_Y,     /* rows per column */
    DVIT_OP_TRANSLATE_X, /* to the left, in widths of the image */
    DVIT_OP_TRANSLATE_Y, /* upwards, in heights of the image */
    DVIT_OP_COUNT
};

/* "AutoContrast", … as timm spells them. */
const char *dvit_image_op_name(enum dvit_image_op op);

/* `fill`: the colour of what an affine map brings in from outside. */
void dvit_image_op_run(enum dvit_image_op op, double argument, const unsigned char fill[3],
                       struct dvit_image *image, struct dvit_image *spare);

/* The operations themselves; see dvit_image_op_run. */
void dvit_image_auto_contrast(struct dvit_image *image);
void dvit_image_equalize(struct dvit_image *image);
void dvit_image_invert(struct dvit_image *image);
void dvit_image_posterize(struct dvit_image *image, int bits);
void dvit_image_solarize(struct dvit_image *image, int threshold);
void dvit_image_solarize_add(struct dvit_image *image, int add);
void dvit_image_color(struct dvit_image *image, float factor);
void dvit_image_contrast(struct dvit_image *image, float factor);
void dvit_image_brightness(struct dvit_image *image, float factor);
void dvit_image_sharpness(struct dvit_image *image, struct dvit_image *spare, float factor);
void dvit_image_rotate(struct dvit_image *image, struct dvit_image *spare, double degrees,
                       const unsigned char fill[3]);

/* Where an output pixel's centre (x, y) comes from: (a·x + b·y + c, d·x + e·y + f), in pixels. */
struct dvit_affine {
    double a, b, c, d, e, f;
};
/* Bicubic (a = −1, unlike resize); pixels that come from outside the image become `fill`. */
void dvit_image_affine(struct dvit_image *image, struct dvit_image *spare,
                       const struct dvit_affine *map, const unsigned char fill[3]);

#endif
