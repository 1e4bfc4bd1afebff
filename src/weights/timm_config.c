/* config.json as timm writes it beside its weights: which preprocessing the model was trained for.
 * Many of its ViTs want mean and standard deviation 1/2, which nothing in the weights tells. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "weights/hf_config.h"
#include "weights/hf_json.h"
#include "weights/text.h"

static const char *const file_name = "config.json";

/* Index of the text under `key` among `choices`; 0 where there is none. */
static enum dvit_status read_choice(const json_t *cfg, const char *key, const char *const *choices,
                                    int *which, struct dvit_error *error)
{
    const char *text = json_string_value(json_object_get(cfg, key));
    *which = 0;
    for (int i = 0; text && choices[i]; i++) {
        *which = i;
        if (strcmp(text, choices[i]) == 0)
            return DVIT_OK;
    }
    if (!text)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                          "%s: %s \"%s\" is not supported; --preprocess says what to do instead",
                          file_name, key, dvit_text_show(text).text);
}

/* input_size: [3, height, width]. */
static enum dvit_status read_size(struct dvit_preprocess *p, const json_t *cfg,
                                  struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const json_t *size = json_object_get(cfg, "input_size");
    if (json_array_size(size) != 3)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "%s: input_size has %zu entries, expected 3", file_name,
                  json_array_size(size));
    DVIT_TRY(dvit_hf_whole_value(json_array_get(size, 1), file_name, "input_size[1]",
                                 &p->crop_height, error));
    DVIT_TRY(dvit_hf_whole_value(json_array_get(size, 2), file_name, "input_size[2]",
                                 &p->crop_width, error));
    if (p->crop_width != p->crop_height || p->crop_width > DVIT_MAX_IMAGE_SIDE)
        DVIT_FAIL(error, DVIT_ERROR_UNSUPPORTED,
                  "%s: input_size %d × %d is not supported, only "
                  "squares of at most %d",
                  file_name, p->crop_width, p->crop_height, DVIT_MAX_IMAGE_SIDE);
done:
    return status;
}

static enum dvit_status read_cfg(struct dvit_preprocess *p, const json_t *cfg,
                                 struct dvit_error *error)
{
    static const char *const filters[] = {"bicubic", "bilinear", NULL};
    static const char *const modes[] = {"center", "squash", NULL};
    enum dvit_status status = DVIT_OK;
    int filter, mode;
    double share, mean[3], std[3];
    DVIT_TRY(read_size(p, cfg, error));
    DVIT_TRY(read_choice(cfg, "interpolation", filters, &filter, error));
    DVIT_TRY(read_choice(cfg, "crop_mode", modes, &mode, error));
    DVIT_TRY(dvit_hf_number(cfg, file_name, "crop_pct", 0.875, &share, error));
    DVIT_TRY(dvit_hf_channels(cfg, file_name, "mean", 0.5, mean, error));
    DVIT_TRY(dvit_hf_channels(cfg, file_name, "std", 0.5, std, error));
    if (!(share >= 0.5 && share <= 1))
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "%s: crop_pct is %g, expected 0.5 to 1", file_name,
                  share);
    p->fit = mode ? DVIT_FIT_SQUASH : DVIT_FIT_CROP;
    p->resize_side = (int)floor(p->crop_width / share);
    p->bilinear = filter == 1;
    for (int i = 0; i < 3; i++) {
        p->mean[i] = (float)mean[i];
        p->std[i] = (float)std[i];
    }
    DVIT_TRY(dvit_preprocess_check(p, error));
done:
    return status;
}

static bool same_values(const struct dvit_preprocess *a, const struct dvit_preprocess *b)
{
    return a->fit == b->fit && a->resize_side == b->resize_side && a->bilinear == b->bilinear &&
           memcmp(a->mean, b->mean, sizeof a->mean) == 0 &&
           memcmp(a->std, b->std, sizeof a->std) == 0;
}

enum dvit_status dvit_timm_preprocess_parse(struct dvit_preprocess *out, const void *text,
                                            size_t size_bytes, struct dvit_error *error)
{
    json_t *root;
    enum dvit_status status = DVIT_OK;
    struct dvit_preprocess p = {.name = "timm-config"}, preset;
    DVIT_TRY(dvit_hf_json(text, size_bytes, file_name, &root, error));
    const json_t *cfg = json_object_get(root, "pretrained_cfg");
    if (!cfg && json_object_get(root, "architecture"))
        cfg = root;
    if (!json_is_object(cfg))
        DVIT_FAIL(error, DVIT_ERROR_NOT_FOUND, "%s is not timm's", file_name);
    DVIT_TRY(read_cfg(&p, cfg, error));
    DVIT_TRY(dvit_preprocess_preset("timm", p.crop_width, p.crop_height, &preset, error));
    *out = same_values(&p, &preset) ? preset : p;
done:
    json_decref(root);
    return status;
}
