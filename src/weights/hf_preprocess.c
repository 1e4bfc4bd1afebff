/* preprocessor_config.json: how transformers' image processors prepare an image, as one
 * struct dvit_preprocess. Resizing, cropping, scaling and normalising come in this order there too;
 * scaling by another factor than 1/255 goes into mean and standard deviation. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "weights/hf_config.h"
#include "weights/hf_json.h"

static const char *const file_name = "preprocessor_config.json";

/* Pillow's numbers of filters. */
enum { RESAMPLE_BILINEAR = 2, RESAMPLE_BICUBIC = 3 };

/* What a processor does where the file is silent. */
static const struct processor {
    int size, crop, resample; /* crop 0: none */
} vit_processor = {224, 0, RESAMPLE_BILINEAR}, deit_processor = {256, 224, RESAMPLE_BICUBIC};

struct sides {
    int width, height; /* pixels; 0 where only the shortest edge is given */
    int shortest;
};

/* A number (a square), {"height", "width"} or {"shortest_edge"}. */
static enum dvit_status read_sides(const json_t *root, const char *key, int missing,
                                   struct sides *out, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const json_t *value = json_object_get(root, key);
    *out = (struct sides){0};
    if (!json_is_object(value)) {
        DVIT_TRY(dvit_hf_whole(root, file_name, key, missing, &out->width, error));
        out->height = out->width;
        return DVIT_OK;
    }
    DVIT_TRY(dvit_hf_whole(value, file_name, "height", 0, &out->height, error));
    DVIT_TRY(dvit_hf_whole(value, file_name, "width", 0, &out->width, error));
    DVIT_TRY(dvit_hf_whole(value, file_name, "shortest_edge", 0, &out->shortest, error));
    bool both = out->height && out->width;
    if (both == (out->shortest != 0) || (!both && (out->height || out->width)) ||
        json_is_number(json_object_get(value, "longest_edge")))
        DVIT_FAIL(error, DVIT_ERROR_UNSUPPORTED,
                  "%s: %s has to be a number, height and width, or shortest_edge alone", file_name,
                  key);
done:
    return status;
}

/* The crop, where there is one, from what resizing made: `out` has the resized sides. */
static enum dvit_status apply_crop(struct dvit_preprocess *out, const struct sides *size,
                                   const struct sides *crop, struct dvit_error *error)
{
    out->crop_width = crop->width;
    out->crop_height = crop->height;
    if (size->shortest) {
        out->fit = DVIT_FIT_CROP;
        out->resize_side = size->shortest;
        return DVIT_OK;
    }
    out->fit = DVIT_FIT_SQUASH;
    if (size->width == crop->width && size->height == crop->height)
        return DVIT_OK;
    out->resize_side = size->width;
    if (size->width != size->height)
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                              "%s: resizing to %d × %d and cropping then is not supported, only "
                              "from a square",
                              file_name, size->width, size->height);
    return DVIT_OK;
}

static enum dvit_status read_geometry(struct dvit_preprocess *out, const json_t *root,
                                      const struct processor *defaults, int width, int height,
                                      struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    bool resizes, crops;
    struct sides size, crop;
    double resample; /* a whole number, from 0 */
    DVIT_TRY(dvit_hf_flag(root, file_name, "do_resize", true, &resizes, error));
    DVIT_TRY(dvit_hf_flag(root, file_name, "do_center_crop", defaults->crop > 0, &crops, error));
    DVIT_TRY(read_sides(root, "size", defaults->size, &size, error));
    DVIT_TRY(read_sides(root, "crop_size", defaults->crop, &crop, error));
    DVIT_TRY(dvit_hf_number(root, file_name, "resample", defaults->resample, &resample, error));
    if (resizes && resample != RESAMPLE_BILINEAR && resample != RESAMPLE_BICUBIC)
        DVIT_FAIL(error, DVIT_ERROR_UNSUPPORTED,
                  "%s: resample is %g, expected 2 (bilinear) or 3 (bicubic)", file_name, resample);
    out->bilinear = resizes && resample == RESAMPLE_BILINEAR;
    if (!resizes && crops)
        DVIT_FAIL(error, DVIT_ERROR_UNSUPPORTED, "%s: cropping without resizing is not supported",
                  file_name);
    if (!resizes) {
        out->fit = DVIT_FIT_NONE;
        out->crop_width = width;
        out->crop_height = height;
        return DVIT_OK;
    }
    if (crops ? !crop.width : !size.width)
        DVIT_FAIL(error, DVIT_ERROR_UNSUPPORTED, "%s: the size after %s is not fixed", file_name,
                  crops ? "cropping" : "resizing");
    DVIT_TRY(apply_crop(out, &size, crops ? &crop : &size, error));
done:
    return status;
}

/* (p·factor − mean)/std as (p/255 − mean')/std'. */
static enum dvit_status read_values(struct dvit_preprocess *out, const json_t *root,
                                    struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    bool rescales, normalises;
    double factor, mean[3] = {0, 0, 0}, std[3] = {1, 1, 1};
    DVIT_TRY(dvit_hf_flag(root, file_name, "do_rescale", true, &rescales, error));
    DVIT_TRY(dvit_hf_number(root, file_name, "rescale_factor", 1 / 255.0, &factor, error));
    DVIT_TRY(dvit_hf_flag(root, file_name, "do_normalize", true, &normalises, error));
    if (normalises) {
        DVIT_TRY(dvit_hf_channels(root, file_name, "image_mean", 0.5, mean, error));
        DVIT_TRY(dvit_hf_channels(root, file_name, "image_std", 0.5, std, error));
    }
    double scale = rescales ? 255 * factor : 255;
    if (fabs(scale - 1) < 1e-6)
        scale = 1; /* 1/255 as decimals */
    for (int i = 0; i < 3; i++) {
        out->mean[i] = (float)(mean[i] / scale);
        out->std[i] = (float)(std[i] / scale);
        if (!(fabsf(out->mean[i]) <= 10) || !(out->std[i] >= 0.001f && out->std[i] <= 10))
            DVIT_FAIL(
                error, DVIT_ERROR_FORMAT,
                "%s: image_mean %g, image_std %g, rescale_factor %g: expected finite numbers, "
                "the latter two positive, that make a mean of -10 to 10 and a std of 0.001 to 10 "
                "of "
                "RGB in 0 to 1",
                file_name, mean[i], std[i], factor);
    }
done:
    return status;
}

/* Which processor's defaults hold: the one that the file names, else the model's. */
static const struct processor *find_processor(const json_t *root, bool deit)
{
    const char *name = json_string_value(json_object_get(root, "image_processor_type"));
    if (!name)
        name = json_string_value(json_object_get(root, "feature_extractor_type"));
    if (name)
        deit = strncmp(name, "DeiT", 4) == 0;
    return deit ? &deit_processor : &vit_processor;
}

enum dvit_status dvit_hf_preprocess_parse(struct dvit_preprocess *out, const void *text,
                                          size_t size_bytes, bool deit, int width, int height,
                                          struct dvit_error *error)
{
    json_t *root;
    enum dvit_status status = DVIT_OK;
    struct dvit_preprocess p = {.name = "huggingface"};
    DVIT_TRY(dvit_hf_json(text, size_bytes, file_name, &root, error));
    DVIT_TRY(read_geometry(&p, root, find_processor(root, deit), width, height, error));
    DVIT_TRY(read_values(&p, root, error));
    if (p.crop_width > DVIT_MAX_IMAGE_SIDE || p.crop_height > DVIT_MAX_IMAGE_SIDE ||
        p.resize_side > 2 * DVIT_MAX_IMAGE_SIDE)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT, "%s: sizes %d, %d × %d, at most %d, %d × %d", file_name,
                  p.resize_side, p.crop_width, p.crop_height, 2 * DVIT_MAX_IMAGE_SIDE,
                  DVIT_MAX_IMAGE_SIDE, DVIT_MAX_IMAGE_SIDE);
    *out = p;
done:
    json_decref(root);
    return status;
}

struct dvit_preprocess dvit_hf_preprocess_default(int width, int height)
{
    return (struct dvit_preprocess){.name = "huggingface",
                                    .fit = DVIT_FIT_SQUASH,
                                    .crop_width = width,
                                    .crop_height = height,
                                    .mean = {0.5f, 0.5f, 0.5f},
                                    .std = {0.5f, 0.5f, 0.5f},
                                    .bilinear = true};
}
