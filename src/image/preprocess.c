/* From a decoded image to the network's input: the named presets, geometry, normalisation.
 * Training's random crops are in augment.c. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "dvit/config.h"
#include "image/room.h"

static const float imagenet_mean[3] = {0.485f, 0.456f, 0.406f};
static const float imagenet_std[3] = {0.229f, 0.224f, 0.225f};

enum { SMALL_SIDE = 32, LARGE_SIDE = 384 }; /* pixels, where the presets change their ways */

/* As the DynamicViT code evaluates. Up to 32 pixels the side is the crop's own, so that images of
 * that size pass unchanged and larger ones still fit. */
static void preset_dynamicvit(int side, struct dvit_preprocess *out)
{
    out->fit = side >= LARGE_SIDE ? DVIT_FIT_SQUASH : DVIT_FIT_CROP;
    out->resize_side = side <= SMALL_SIDE ? side : (int)(side / 0.875);
    if (out->fit == DVIT_FIT_SQUASH)
        out->resize_side = 0;
}

/* As timm evaluates its models. */
static void preset_timm(int side, struct dvit_preprocess *out)
{
    out->fit = DVIT_FIT_CROP;
    out->resize_side = side >= LARGE_SIDE ? side : (int)floor(side / 0.9);
}

/* Images made for the network's size pass unchanged; others still fit, with no margin cut off. */
static void preset_native(int side, struct dvit_preprocess *out)
{
    out->fit = DVIT_FIT_CROP;
    out->resize_side = side;
}

/* As the ViTs of Google and timm with a mean and standard deviation of 1/2 are evaluated. */
static void preset_augreg(int side, struct dvit_preprocess *out)
{
    preset_timm(side, out);
    if (side <= SMALL_SIDE)
        out->resize_side = side;
    for (int i = 0; i < 3; i++)
        out->mean[i] = out->std[i] = 0.5f;
}

static void preset_none(int side, struct dvit_preprocess *out)
{
    out->fit = DVIT_FIT_NONE;
    out->resize_side = 0;
}

static const struct preset {
    const char *name;
    void (*fill)(int side, struct dvit_preprocess *out); /* side: the longer of the input's */
} presets[] = {
    {"dynamicvit", preset_dynamicvit}, {"timm", preset_timm}, {"augreg", preset_augreg},
    {"native", preset_native},         {"none", preset_none},
};

enum dvit_status dvit_preprocess_preset(const char *name, int width, int height,
                                        struct dvit_preprocess *out, struct dvit_error *error)
{
    DVIT_REQUIRE(error, name, out);
    enum dvit_status status = DVIT_OK;
    if (width < 1 || height < 1 || width > DVIT_MAX_IMAGE_SIDE || height > DVIT_MAX_IMAGE_SIDE)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "preprocessing to %dx%d pixels, sides must be in 1 to %d", width, height,
                  DVIT_MAX_IMAGE_SIDE);
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        if (strcmp(presets[i].name, name) != 0)
            continue;
        *out = (struct dvit_preprocess){.crop_width = width, .crop_height = height};
        snprintf(out->name, sizeof out->name, "%s", name);
        memcpy(out->mean, imagenet_mean, sizeof out->mean);
        memcpy(out->std, imagenet_std, sizeof out->std);
        presets[i].fill(width > height ? width : height, out);
        return DVIT_OK;
    }
    DVIT_FAIL(error, DVIT_ERROR_NOT_FOUND,
              "unknown preprocessing \"%s\", expected \"dynamicvit\", \"timm\", \"augreg\", "
              "\"native\" or "
              "\"none\"",
              name);
done:
    return status;
}

static enum dvit_filter filter_of(const struct dvit_preprocess *preprocess)
{
    return preprocess->bilinear ? DVIT_FILTER_BILINEAR : DVIT_FILTER_BICUBIC;
}

/* Resize to width × height and centre crop; only what the crop shows is computed. */
static enum dvit_status fit_crop(const struct dvit_preprocess *preprocess, int width, int height,
                                 const struct dvit_image *in, struct dvit_resizer *resizer,
                                 struct dvit_image *out, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_image resized = {0};
    struct dvit_resize resize = {
        .box = {0, 0, in->width, in->height},
        .width = width,
        .height = height,
        .filter = filter_of(preprocess),
        .pillow13 = preprocess->pillow13,
    };
    resize.window =
        dvit_image_centre_box(width, height, preprocess->crop_width, preprocess->crop_height);
    if (resize.window.x >= 0 && resize.window.y >= 0)
        return dvit_resizer_run(resizer, out, in, &resize, error);
    struct dvit_box crop = resize.window;
    resize.window = (struct dvit_box){0, 0, width, height};
    DVIT_TRY(dvit_resizer_run(resizer, &resized, in, &resize, error));
    DVIT_TRY(dvit_image_cut(out, &resized, crop, error));
done:
    dvit_image_free(&resized);
    if (status != DVIT_OK)
        dvit_image_free(out);
    return status;
}

/* The size that an image is resized to before it is cropped. */
static enum dvit_status resized_size(const struct dvit_preprocess *preprocess, int in_width,
                                     int in_height, int *width, int *height,
                                     struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    int side = preprocess->resize_side;
    *width = preprocess->crop_width;
    *height = preprocess->crop_height;
    if (preprocess->fit == DVIT_FIT_CROP) {
        dvit_image_short_side(in_width, in_height, side, width, height);
    } else if (preprocess->fit == DVIT_FIT_SQUASH) {
        *width = side ? side : *width;
        *height = side ? side : *height;
    } else if (in_width != *width || in_height != *height) {
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH,
                  "image has %dx%d pixels, preprocessing \"%s\" expects exactly %dx%d", in_width,
                  in_height, preprocess->name, *width, *height);
    }
done:
    return status;
}

static enum dvit_status copy_fitting(const struct dvit_image *in, struct dvit_image *out,
                                     struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    int width = in->width, height = in->height;
    DVIT_TRY(dvit_image_fit(out, width, height, error));
    memcpy(out->pixels, in->pixels, 3 * (size_t)width * (size_t)height);
done:
    if (status != DVIT_OK)
        dvit_image_free(out);
    return status;
}

static enum dvit_status check_range(const char *name, int value, int low, int high,
                                    struct dvit_error *error)
{
    if (value >= low && value <= high)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "preprocess.%s is %d, expected %d … %d", name,
                          value, low, high);
}

static enum dvit_status check_geometry(const struct dvit_preprocess *p, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    DVIT_TRY(check_range("fit", (int)p->fit, DVIT_FIT_CROP, DVIT_FIT_NONE, error));
    DVIT_TRY(check_range("crop_width", p->crop_width, 1, DVIT_MAX_IMAGE_SIDE, error));
    DVIT_TRY(check_range("crop_height", p->crop_height, 1, DVIT_MAX_IMAGE_SIDE, error));
    if (p->fit != DVIT_FIT_NONE)
        DVIT_TRY(check_range("resize_side", p->resize_side, p->fit == DVIT_FIT_CROP,
                             2 * DVIT_MAX_IMAGE_SIDE, error));
done:
    return status;
}

enum dvit_status dvit_preprocess_check(const struct dvit_preprocess *p, struct dvit_error *error)
{
    const double lowest_std = 0.001, largest = 10;
    DVIT_REQUIRE(error, p);
    enum dvit_status status = check_geometry(p, error);
    for (int i = 0; i < 3 && status == DVIT_OK; i++) {
        double mean = (double)p->mean[i], std = (double)p->std[i];
        if (!(fabs(mean) <= largest) || !(std >= lowest_std && std <= largest))
            status = dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                                    "preprocessing: mean %g, std %g of channel %d, expected finite "
                                    "numbers: a mean of -%g to %g, a positive std of %g to %g (of "
                                    "RGB in 0 to 1)",
                                    mean, std, i, largest, largest, lowest_std, largest);
    }
    return status;
}

enum dvit_status dvit_preprocess_cut(const struct dvit_preprocess *preprocess,
                                     const struct dvit_image *in, struct dvit_resizer *resizer,
                                     struct dvit_image *out, struct dvit_error *error)
{
    int width, height;
    enum dvit_status status = dvit_image_check(in, error);
    if (status == DVIT_OK)
        status = check_geometry(preprocess, error);
    if (status == DVIT_OK)
        status = resized_size(preprocess, in->width, in->height, &width, &height, error);
    if (status != DVIT_OK)
        dvit_image_free(out);
    else if (preprocess->fit == DVIT_FIT_NONE)
        status = copy_fitting(in, out, error);
    else
        status = fit_crop(preprocess, width, height, in, resizer, out, error);
    return status;
}

enum dvit_status dvit_preprocess_region(const struct dvit_preprocess *preprocess, int width,
                                        int height, struct dvit_region *out,
                                        struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, preprocess, out);
    enum dvit_status status = DVIT_OK;
    int resized_width, resized_height;
    if (width < 1 || height < 1)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "region of an image of %dx%d pixels", width, height);
    DVIT_TRY(check_geometry(preprocess, error));
    DVIT_TRY(resized_size(preprocess, width, height, &resized_width, &resized_height, error));
    struct dvit_box box = dvit_image_centre_box(resized_width, resized_height,
                                                preprocess->crop_width, preprocess->crop_height);
    double x_scale = (double)width / resized_width, y_scale = (double)height / resized_height;
    *out = (struct dvit_region){box.x * x_scale, box.y * y_scale, box.width * x_scale,
                                box.height * y_scale};
done:
    return status;
}

enum dvit_status dvit_preprocess_geometry(const struct dvit_preprocess *preprocess,
                                          const struct dvit_image *in, struct dvit_image *out,
                                          struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, preprocess, in, out);
    struct dvit_resizer resizer = dvit_resizer_begin(dvit_cpu_best());
    enum dvit_status status = dvit_preprocess_cut(preprocess, in, &resizer, out, error);
    dvit_resizer_free(&resizer);
    return status;
}

void dvit_preprocess_normalise(const struct dvit_preprocess *preprocess,
                               const struct dvit_image *in, float *out)
{
    struct dvit_pixel_loops loops = dvit_pixel_loops_select(dvit_cpu_best());
    struct dvit_pixel_scale scale;
    if (!preprocess || !in || !in->pixels || !out || in->width < 1 || in->height < 1)
        return;
    dvit_pixel_scale_fill(&scale, preprocess->mean, preprocess->std);
    loops.normalise(out, in->pixels, (size_t)in->width * (size_t)in->height, &scale);
}

enum dvit_status dvit_preprocess_run(const struct dvit_preprocess *preprocess,
                                     const struct dvit_image *in, float *out,
                                     struct dvit_error *error)
{
    DVIT_REQUIRE(error, preprocess, in, out);
    enum dvit_status status = DVIT_OK;
    struct dvit_image fitted = {0};
    DVIT_TRY(dvit_preprocess_check(preprocess, error));
    DVIT_TRY(dvit_preprocess_geometry(preprocess, in, &fitted, error));
    dvit_preprocess_normalise(preprocess, &fitted, out);
done:
    dvit_image_free(&fitted);
    return status;
}
