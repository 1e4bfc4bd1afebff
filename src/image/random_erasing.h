/* Random erasing (Zhong et al. 2020) as timm's "pixel" mode: a box of a normalised image becomes
 * noise. */
#ifndef DVIT_IMAGE_RANDOM_ERASING_H
#define DVIT_IMAGE_RANDOM_ERASING_H

#include "base/rng.h"
#include "dvit/image.h"

/* The box of one image, smaller than it on both sides; without area where there is none. */
struct dvit_box dvit_erasing_draw(double probability, int width, int height, struct dvit_rng *rng);
/* Fills the box with N(0, 1), a draw per value. */
void dvit_erasing_run(float *pixels /* [3][height][width] */, int width, int height,
                      struct dvit_box box, struct dvit_rng *rng);

#endif
