/* Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) of a batch with itself reversed, one draw
 * per batch, as timm's "batch" mode. Drawing and mixing are apart, so that a test can force any
 * draw. */
#ifndef DVIT_DATA_MIXUP_H
#define DVIT_DATA_MIXUP_H

#include "base/error.h"
#include "base/rng.h"
#include "dvit/data.h"

struct dvit_mix_draw {
    double share;        /* of the image's own pixels and label; the rest is its partner's */
    bool is_cut;         /* cutmix: the box is the partner's; else all pixels are blended */
    struct dvit_box box; /* inside the image; it may be empty */
};

/* DVIT_OK, or which field is out of range, with the bound. */
enum dvit_status dvit_mixing_check(const struct dvit_mixing *mixing, struct dvit_error *error);
/* Whether it mixes at all. */
bool dvit_mixing_is_on(const struct dvit_mixing *mixing);

/* Where both kinds are on, each has half of the batches. */
struct dvit_mix_draw dvit_mix_draw(const struct dvit_mixing *mixing, int width, int height,
                                   struct dvit_rng *rng);
/* Cutmix's box for that share, around pixel (x, y), cut at the border. */
struct dvit_mix_draw dvit_mix_cut(double share, int x, int y, int width, int height);
/* In place; the partner of image i is image count − 1 − i, as it was before. */
void dvit_mix_pixels(const struct dvit_mix_draw *draw,
                     float *pixels /* [count][3][height][width] */, int count, int width,
                     int height);
/* Smoothed one-hot rows, mixed. */
void dvit_mix_targets(const struct dvit_mix_draw *draw, float *targets /* [count][classes] */,
                      const int *labels /* [count] */, int count, int classes,
                      double label_smoothing);

#endif
