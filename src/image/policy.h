/* Augmentation policies as timm writes them: which operations an image gets, and how strong.
 *
 *   rand-m9-mstd0.5-inc1   RandAugment (Cubuk et al. 2020): n operations drawn from fifteen
 *       mN      magnitude, 0 … 100; default 10. 10 is the full range of an operation
 *       nN      operations drawn per image, 1 … 15; default 2
 *       pX      probability of each, 0 … 1; default .5
 *       mstdX   standard deviation of the magnitude, default 0; above 100: uniform in 0 … m
 *       mmaxN   bound of the magnitude drawn, 1 … 100; default 10
 *       inc1    operations that grow stronger with the magnitude; inc0 is the default
 *       tweights   geometric operations mostly, without replacement; always as with inc1
 *   original, originalr, v0, v0r   AutoAugment (Cubuk et al. 2019): one of 25 pairs per image;
 *       may have mstdX
 *
 * Drawing and running are apart, so that a test can force any draw. */
#ifndef DVIT_IMAGE_POLICY_H
#define DVIT_IMAGE_POLICY_H

#include <stdbool.h>

#include "base/error.h"
#include "base/rng.h"
#include "image/image_ops.h"

enum { DVIT_POLICY_LAYERS = DVIT_OP_COUNT }; /* most operations one image can get */

/* How a magnitude becomes an argument, where timm knows several ways. */
enum dvit_policy_scale {
    DVIT_SCALE_PLAIN,      /* posterize and solarize weaken, enhancers go from .1 to 1.9 */
    DVIT_SCALE_INCREASING, /* all grow stronger; enhancers go either way from 1 */
    DVIT_SCALE_ORIGINAL,   /* posterize keeps 4 to 8 bits */
};

/* One operation that an image may get. */
struct dvit_policy_step {
    enum dvit_image_op op;
    enum dvit_policy_scale scale;
    double probability, magnitude;
};

struct dvit_policy {
    int layers; /* operations drawn; 0: no policy */
    /* AutoAugment: [25][2], of which one pair is drawn; NULL: RandAugment. */
    const struct dvit_policy_step (*pairs)[2];
    double deviation; /* of the magnitude; INFINITY: uniform from 0 to it */
    double ceiling;   /* of the magnitude drawn */
    /* RandAugment only: */
    double probability, magnitude;
    bool increasing, weighted;
};

/* Reads a policy; NULL, "" and "none" are the one without operations. An error names the part of
 * the text that is not understood or out of range. */
enum dvit_status dvit_policy_parse(struct dvit_policy *out, const char *text,
                                   struct dvit_error *error);

/* What one image gets. */
struct dvit_policy_draw {
    int count;
    struct {
        enum dvit_image_op op;
        double argument; /* as dvit_image_op_run takes it */
    } ops[DVIT_POLICY_LAYERS];
};
struct dvit_policy_draw dvit_policy_draw(const struct dvit_policy *policy, struct dvit_rng *rng);

/* The argument of a magnitude ≥ 0; `negative` turns signed ones round. */
double dvit_policy_argument(enum dvit_image_op op, enum dvit_policy_scale scale, double magnitude,
                            bool negative);
/* Whether `negative` matters. */
bool dvit_policy_is_signed(enum dvit_image_op op, enum dvit_policy_scale scale);

/* Colour jitter as torchvision's, without hue: brightness, contrast and colour in random order,
 * each by a factor uniform in 1 − strength … 1 + strength. */
struct dvit_policy_draw dvit_jitter_draw(double strength, struct dvit_rng *rng);

/* The tables of AutoAugment, by timm's names; NULL for another name. */
const struct dvit_policy_step (*dvit_auto_augment_find(const char *name))[2];
enum { DVIT_AUTO_AUGMENT_PAIRS = 25 };

#endif
