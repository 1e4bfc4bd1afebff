/* The published policies of AutoAugment for ImageNet: pairs of operations with their probabilities
 * and magnitudes, as timm 1.0.31 lists them. "original" is the paper's, "v0" that of the TPU's
 * EfficientNet code; in those with an r, posterize grows stronger with its magnitude. */
#include <assert.h>
#include <string.h>

#include "image/policy.h"

#define STEP(name, kind, share, strength)                                                          \
    {                                                                                              \
        DVIT_OP_##name, DVIT_SCALE_##kind, share, strength                                         \
    }

static const struct dvit_policy_step original[][2] = {
    {STEP(POSTERIZE, ORIGINAL, .4, 8), STEP(ROTATE, PLAIN, .6, 9)},
    {STEP(SOLARIZE, PLAIN, .6, 5), STEP(AUTO_CONTRAST, PLAIN, .6, 5)},
    {STEP(EQUALIZE, PLAIN, .8, 8), STEP(EQUALIZE, PLAIN, .6, 3)},
    {STEP(POSTERIZE, ORIGINAL, .6, 7), STEP(POSTERIZE, ORIGINAL, .6, 6)},
    {STEP(EQUALIZE, PLAIN, .4, 7), STEP(SOLARIZE, PLAIN, .2, 4)},
    {STEP(EQUALIZE, PLAIN, .4, 4), STEP(ROTATE, PLAIN, .8, 8)},
    {STEP(SOLARIZE, PLAIN, .6, 3), STEP(EQUALIZE, PLAIN, .6, 7)},
    {STEP(POSTERIZE, ORIGINAL, .8, 5), STEP(EQUALIZE, PLAIN, 1, 2)},
    {STEP(ROTATE, PLAIN, .2, 3), STEP(SOLARIZE, PLAIN, .6, 8)},
    {STEP(EQUALIZE, PLAIN, .6, 8), STEP(POSTERIZE, ORIGINAL, .4, 6)},
    {STEP(ROTATE, PLAIN, .8, 8), STEP(COLOR, PLAIN, .4, 0)},
    {STEP(ROTATE, PLAIN, .4, 9), STEP(EQUALIZE, PLAIN, .6, 2)},
    {STEP(EQUALIZE, PLAIN, 0, 7), STEP(EQUALIZE, PLAIN, .8, 8)},
    {STEP(INVERT, PLAIN, .6, 4), STEP(EQUALIZE, PLAIN, 1, 8)},
    {STEP(COLOR, PLAIN, .6, 4), STEP(CONTRAST, PLAIN, 1, 8)},
    {STEP(ROTATE, PLAIN, .8, 8), STEP(COLOR, PLAIN, 1, 2)},
    {STEP(COLOR, PLAIN, .8, 8), STEP(SOLARIZE, PLAIN, .8, 7)},
    {STEP(SHARPNESS, PLAIN, .4, 7), STEP(INVERT, PLAIN, .6, 8)},
    {STEP(SHEAR_X, PLAIN, .6, 5), STEP(EQUALIZE, PLAIN, 1, 9)},
    {STEP(COLOR, PLAIN, .4, 0), STEP(EQUALIZE, PLAIN, .6, 3)},
    {STEP(EQUALIZE, PLAIN, .4, 7), STEP(SOLARIZE, PLAIN, .2, 4)},
    {STEP(SOLARIZE, PLAIN, .6, 5), STEP(AUTO_CONTRAST, PLAIN, .6, 5)},
    {STEP(INVERT, PLAIN, .6, 4), STEP(EQUALIZE, PLAIN, 1, 8)},
    {STEP(COLOR, PLAIN, .6, 4), STEP(CONTRAST, PLAIN, 1, 8)},
    {STEP(EQUALIZE, PLAIN, .8, 8), STEP(EQUALIZE, PLAIN, .6, 3)},
};

static const struct dvit_policy_step originalr[][2] = {
    {STEP(POSTERIZE, INCREASING, .4, 8), STEP(ROTATE, PLAIN, .6, 9)},
    {STEP(SOLARIZE, PLAIN, .6, 5), STEP(AUTO_CONTRAST, PLAIN, .6, 5)},
    {STEP(EQUALIZE, PLAIN, .8, 8), STEP(EQUALIZE, PLAIN, .6, 3)},
    {STEP(POSTERIZE, INCREASING, .6, 7), STEP(POSTERIZE, INCREASING, .6, 6)},
    {STEP(EQUALIZE, PLAIN, .4, 7), STEP(SOLARIZE, PLAIN, .2, 4)},
    {STEP(EQUALIZE, PLAIN, .4, 4), STEP(ROTATE, PLAIN, .8, 8)},
    {STEP(SOLARIZE, PLAIN, .6, 3), STEP(EQUALIZE, PLAIN, .6, 7)},
    {STEP(POSTERIZE, INCREASING, .8, 5), STEP(EQUALIZE, PLAIN, 1, 2)},
    {STEP(ROTATE, PLAIN, .2, 3), STEP(SOLARIZE, PLAIN, .6, 8)},
    {STEP(EQUALIZE, PLAIN, .6, 8), STEP(POSTERIZE, INCREASING, .4, 6)},
    {STEP(ROTATE, PLAIN, .8, 8), STEP(COLOR, PLAIN, .4, 0)},
    {STEP(ROTATE, PLAIN, .4, 9), STEP(EQUALIZE, PLAIN, .6, 2)},
    {STEP(EQUALIZE, PLAIN, 0, 7), STEP(EQUALIZE, PLAIN, .8, 8)},
    {STEP(INVERT, PLAIN, .6, 4), STEP(EQUALIZE, PLAIN, 1, 8)},
    {STEP(COLOR, PLAIN, .6, 4), STEP(CONTRAST, PLAIN, 1, 8)},
    {STEP(ROTATE, PLAIN, .8, 8), STEP(COLOR, PLAIN, 1, 2)},
    {STEP(COLOR, PLAIN, .8, 8), STEP(SOLARIZE, PLAIN, .8, 7)},
    {STEP(SHARPNESS, PLAIN, .4, 7), STEP(INVERT, PLAIN, .6, 8)},
    {STEP(SHEAR_X, PLAIN, .6, 5), STEP(EQUALIZE, PLAIN, 1, 9)},
    {STEP(COLOR, PLAIN, .4, 0), STEP(EQUALIZE, PLAIN, .6, 3)},
    {STEP(EQUALIZE, PLAIN, .4, 7), STEP(SOLARIZE, PLAIN, .2, 4)},
    {STEP(SOLARIZE, PLAIN, .6, 5), STEP(AUTO_CONTRAST, PLAIN, .6, 5)},
    {STEP(INVERT, PLAIN, .6, 4), STEP(EQUALIZE, PLAIN, 1, 8)},
    {STEP(COLOR, PLAIN, .6, 4), STEP(CONTRAST, PLAIN, 1, 8)},
    {STEP(EQUALIZE, PLAIN, .8, 8), STEP(EQUALIZE, PLAIN, .6, 3)},
};

static const struct dvit_policy_step v0[][2] = {
    {STEP(EQUALIZE, PLAIN, .8, 1), STEP(SHEAR_Y, PLAIN, .8, 4)},
    {STEP(COLOR, PLAIN, .4, 9), STEP(EQUALIZE, PLAIN, .6, 3)},
    {STEP(COLOR, PLAIN, .4, 1), STEP(ROTATE, PLAIN, .6, 8)},
    {STEP(SOLARIZE, PLAIN, .8, 3), STEP(EQUALIZE, PLAIN, .4, 7)},
    {STEP(SOLARIZE, PLAIN, .4, 2), STEP(SOLARIZE, PLAIN, .6, 2)},
    {STEP(COLOR, PLAIN, .2, 0), STEP(EQUALIZE, PLAIN, .8, 8)},
    {STEP(EQUALIZE, PLAIN, .4, 8), STEP(SOLARIZE_ADD, PLAIN, .8, 3)},
    {STEP(SHEAR_X, PLAIN, .2, 9), STEP(ROTATE, PLAIN, .6, 8)},
    {STEP(COLOR, PLAIN, .6, 1), STEP(EQUALIZE, PLAIN, 1, 2)},
    {STEP(INVERT, PLAIN, .4, 9), STEP(ROTATE, PLAIN, .6, 0)},
    {STEP(EQUALIZE, PLAIN, 1, 9), STEP(SHEAR_Y, PLAIN, .6, 3)},
    {STEP(COLOR, PLAIN, .4, 7), STEP(EQUALIZE, PLAIN, .6, 0)},
    {STEP(POSTERIZE, PLAIN, .4, 6), STEP(AUTO_CONTRAST, PLAIN, .4, 7)},
    {STEP(SOLARIZE, PLAIN, .6, 8), STEP(COLOR, PLAIN, .6, 9)},
    {STEP(SOLARIZE, PLAIN, .2, 4), STEP(ROTATE, PLAIN, .8, 9)},
    {STEP(ROTATE, PLAIN, 1, 7), STEP(TRANSLATE_Y, PLAIN, .8, 9)},
    {STEP(SHEAR_X, PLAIN, 0, 0), STEP(SOLARIZE, PLAIN, .8, 4)},
    {STEP(SHEAR_Y, PLAIN, .8, 0), STEP(COLOR, PLAIN, .6, 4)},
    {STEP(COLOR, PLAIN, 1, 0), STEP(ROTATE, PLAIN, .6, 2)},
    {STEP(EQUALIZE, PLAIN, .8, 4), STEP(EQUALIZE, PLAIN, 0, 8)},
    {STEP(EQUALIZE, PLAIN, 1, 4), STEP(AUTO_CONTRAST, PLAIN, .6, 2)},
    {STEP(SHEAR_Y, PLAIN, .4, 7), STEP(SOLARIZE_ADD, PLAIN, .6, 7)},
    {STEP(POSTERIZE, PLAIN, .8, 2), STEP(SOLARIZE, PLAIN, .6, 10)},
    {STEP(SOLARIZE, PLAIN, .6, 8), STEP(EQUALIZE, PLAIN, .6, 1)},
    {STEP(COLOR, PLAIN, .8, 6), STEP(ROTATE, PLAIN, .4, 5)},
};

static const struct dvit_policy_step v0r[][2] = {
    {STEP(EQUALIZE, PLAIN, .8, 1), STEP(SHEAR_Y, PLAIN, .8, 4)},
    {STEP(COLOR, PLAIN, .4, 9), STEP(EQUALIZE, PLAIN, .6, 3)},
    {STEP(COLOR, PLAIN, .4, 1), STEP(ROTATE, PLAIN, .6, 8)},
    {STEP(SOLARIZE, PLAIN, .8, 3), STEP(EQUALIZE, PLAIN, .4, 7)},
    {STEP(SOLARIZE, PLAIN, .4, 2), STEP(SOLARIZE, PLAIN, .6, 2)},
    {STEP(COLOR, PLAIN, .2, 0), STEP(EQUALIZE, PLAIN, .8, 8)},
    {STEP(EQUALIZE, PLAIN, .4, 8), STEP(SOLARIZE_ADD, PLAIN, .8, 3)},
    {STEP(SHEAR_X, PLAIN, .2, 9), STEP(ROTATE, PLAIN, .6, 8)},
    {STEP(COLOR, PLAIN, .6, 1), STEP(EQUALIZE, PLAIN, 1, 2)},
    {STEP(INVERT, PLAIN, .4, 9), STEP(ROTATE, PLAIN, .6, 0)},
    {STEP(EQUALIZE, PLAIN, 1, 9), STEP(SHEAR_Y, PLAIN, .6, 3)},
    {STEP(COLOR, PLAIN, .4, 7), STEP(EQUALIZE, PLAIN, .6, 0)},
    {STEP(POSTERIZE, INCREASING, .4, 6), STEP(AUTO_CONTRAST, PLAIN, .4, 7)},
    {STEP(SOLARIZE, PLAIN, .6, 8), STEP(COLOR, PLAIN, .6, 9)},
    {STEP(SOLARIZE, PLAIN, .2, 4), STEP(ROTATE, PLAIN, .8, 9)},
    {STEP(ROTATE, PLAIN, 1, 7), STEP(TRANSLATE_Y, PLAIN, .8, 9)},
    {STEP(SHEAR_X, PLAIN, 0, 0), STEP(SOLARIZE, PLAIN, .8, 4)},
    {STEP(SHEAR_Y, PLAIN, .8, 0), STEP(COLOR, PLAIN, .6, 4)},
    {STEP(COLOR, PLAIN, 1, 0), STEP(ROTATE, PLAIN, .6, 2)},
    {STEP(EQUALIZE, PLAIN, .8, 4), STEP(EQUALIZE, PLAIN, 0, 8)},
    {STEP(EQUALIZE, PLAIN, 1, 4), STEP(AUTO_CONTRAST, PLAIN, .6, 2)},
    {STEP(SHEAR_Y, PLAIN, .4, 7), STEP(SOLARIZE_ADD, PLAIN, .6, 7)},
    {STEP(POSTERIZE, INCREASING, .8, 2), STEP(SOLARIZE, PLAIN, .6, 10)},
    {STEP(SOLARIZE, PLAIN, .6, 8), STEP(EQUALIZE, PLAIN, .6, 1)},
    {STEP(COLOR, PLAIN, .8, 6), STEP(ROTATE, PLAIN, .4, 5)},
};

static const struct {
    const char *name;
    const struct dvit_policy_step (*pairs)[2];
} tables[] = {{"original", original}, {"originalr", originalr}, {"v0", v0}, {"v0r", v0r}};

static_assert(sizeof original / sizeof *original == DVIT_AUTO_AUGMENT_PAIRS &&
                  sizeof originalr == sizeof original && sizeof v0 == sizeof original &&
                  sizeof v0r == sizeof original,
              "all tables have the same number of pairs");

const struct dvit_policy_step (*dvit_auto_augment_find(const char *name))[2]
{
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (strcmp(tables[i].name, name) == 0)
            return tables[i].pairs;
    return NULL;
}
