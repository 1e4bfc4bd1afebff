/* Preprocessing as a text: a preset's name and settings that differ from it. The presets, and which
 * values make sense, are in preprocess.c. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "base/error.h"
#include "dvit/config.h"

static const double lowest_crop = 0.1;

enum { MAX_SETTINGS = 400 }; /* bytes of a text */

/* ---- settings ---- */

static enum dvit_status refuse(const char *key, const char *value, const char *expected,
                               struct dvit_error *error)
{
    return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "preprocessing: %s is \"%.80s\", expected %s",
                          key, value, expected);
}

/* One number for all channels, or three with slashes. */
static enum dvit_status set_channels(float out[3], const char *key, const char *value,
                                     struct dvit_error *error)
{
    float read[3];
    const char *at = value;
    int count = 0;
    while (count < 3) {
        char *end;
        read[count++] = (float)dvit_decimal_parse(at, &end);
        if (end == at || (*end && *end != '/'))
            return refuse(key, value, "one number or three as in 0.48/0.46/0.41", error);
        at = end;
        if (!*at++)
            break;
    }
    if (count == 2 || at[-1])
        return refuse(key, value, "one number or three as in 0.48/0.46/0.41", error);
    for (int i = 0; i < 3; i++)
        out[i] = read[count == 3 ? i : 0];
    return DVIT_OK;
}

static enum dvit_status set_mean(struct dvit_preprocess *p, const char *value,
                                 struct dvit_error *error)
{
    return set_channels(p->mean, "mean", value, error);
}

static enum dvit_status set_std(struct dvit_preprocess *p, const char *value,
                                struct dvit_error *error)
{
    return set_channels(p->std, "std", value, error);
}

static enum dvit_status set_crop(struct dvit_preprocess *p, const char *value,
                                 struct dvit_error *error)
{
    char *end;
    double share = dvit_decimal_parse(value, &end);
    int side = p->crop_width > p->crop_height ? p->crop_width : p->crop_height;
    if (end == value || *end || !(share >= lowest_crop && share <= 1))
        return refuse("crop", value, "a share of 0.1 to 1", error);
    if (p->fit == DVIT_FIT_NONE)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "preprocessing: crop is %s, but \"%s\" resizes and crops nothing",
                              value, p->name);
    p->resize_side = (int)floor(side / share);
    if (p->fit == DVIT_FIT_SQUASH && share == 1)
        p->resize_side = 0; /* also where the crop is no square */
    return DVIT_OK;
}

static enum dvit_status set_interpolation(struct dvit_preprocess *p, const char *value,
                                          struct dvit_error *error)
{
    p->bilinear = strcmp(value, "bilinear") == 0;
    if (p->bilinear || strcmp(value, "bicubic") == 0)
        return DVIT_OK;
    return refuse("interpolation", value, "bilinear or bicubic", error);
}

static enum dvit_status set_resize(struct dvit_preprocess *p, const char *value,
                                   struct dvit_error *error)
{
    p->pillow13 = strcmp(value, "pillow13") == 0;
    if (p->pillow13 || strcmp(value, "pillow12") == 0)
        return DVIT_OK;
    return refuse("resize", value, "pillow12 or pillow13", error);
}

static const struct {
    const char *key;
    enum dvit_status (*set)(struct dvit_preprocess *p, const char *value, struct dvit_error *error);
} settings[] = {{"mean", set_mean},
                {"std", set_std},
                {"crop", set_crop},
                {"interpolation", set_interpolation},
                {"resize", set_resize}};

static enum dvit_status apply(struct dvit_preprocess *p, char *setting, struct dvit_error *error)
{
    char *value = strchr(setting, '=');
    if (value)
        *value++ = 0;
    for (size_t i = 0; value && i < sizeof settings / sizeof *settings; i++)
        if (strcmp(setting, settings[i].key) == 0)
            return settings[i].set(p, value, error);
    return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                          "preprocessing: unknown setting \"%.80s\", expected mean=, std=, crop=, "
                          "interpolation= or resize=",
                          setting);
}

static bool same(const struct dvit_preprocess *a, const struct dvit_preprocess *b)
{
    return a->fit == b->fit && a->resize_side == b->resize_side && a->bilinear == b->bilinear &&
           a->pillow13 == b->pillow13 && memcmp(a->mean, b->mean, sizeof a->mean) == 0 &&
           memcmp(a->std, b->std, sizeof a->std) == 0;
}

enum dvit_status dvit_preprocess_change(struct dvit_preprocess *preprocess, const char *text,
                                        struct dvit_error *error)
{
    DVIT_REQUIRE(error, preprocess, text);
    enum dvit_status status = DVIT_OK;
    struct dvit_preprocess changed = *preprocess, before;
    char copy[MAX_SETTINGS], *rest = NULL;
    size_t length = strlen(text), name = strcspn(text, ":");
    if (length >= sizeof copy)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "preprocessing: a text of %zu bytes, at most %d",
                  length, MAX_SETTINGS - 1);
    memcpy(copy, text, length + 1);
    copy[name] = 0;
    if (name > 0)
        DVIT_TRY(
            dvit_preprocess_preset(copy, changed.crop_width, changed.crop_height, &changed, error));
    before = changed;
    for (char *setting = name < length ? strtok_r(copy + name + 1, ",", &rest) : NULL; setting;
         setting = strtok_r(NULL, ",", &rest))
        DVIT_TRY(apply(&changed, setting, error));
    if (!same(&changed, &before))
        snprintf(changed.name, sizeof changed.name, "custom");
    DVIT_TRY(dvit_preprocess_check(&changed, error));
    *preprocess = changed;
done:
    return status;
}
