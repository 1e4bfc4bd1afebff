/* What a model carries beside its weights: preprocessing and labels, as the caller asks, else as
 * the file or a file beside it says, else as is usual for its family. */
#define _GNU_SOURCE
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "dvit/labels.h"
#include "weights/import.h"
#include "weights/model_json.h"
#include "weights/recognise.h"

const char *dvit_import_recorded(const struct dvit_import *import, const char *key)
{
    const struct dvit_stored_value *value = dvit_weight_file_find_value(import->file, key);
    return value ? value->text : NULL;
}

enum dvit_status dvit_import_beside(const struct dvit_import *import, const char *name,
                                    unsigned char **text, size_t *size_bytes,
                                    struct dvit_error *error)
{
    const char *slash = strrchr(import->path, '/');
    enum dvit_status status = DVIT_OK;
    char *folder = slash ? strndup(import->path, (size_t)(slash - import->path) + 1) : strdup(".");
    char *path = folder ? dvit_path_join(folder, name) : NULL;
    *text = NULL;
    if (!path)
        status = dvit_error_set(error, DVIT_ERROR_MEMORY, "%s: out of memory", name);
    else if (dvit_file_exists(path))
        status = dvit_file_read(path, DVIT_HF_MAX_BYTES, text, size_bytes, error);
    free(path);
    free(folder);
    return status;
}

/* --- preprocessing -------------------------------------------------------------------------- */

static enum dvit_status read_hf_preprocess(struct dvit_import *import, struct dvit_error *error)
{
    unsigned char *text;
    size_t size_bytes;
    enum dvit_status status = DVIT_OK;
    const struct dvit_config *c = &import->stored;
    import->preprocess = dvit_hf_preprocess_default(c->image_width, c->image_height);
    DVIT_TRY(dvit_import_beside(import, "preprocessor_config.json", &text, &size_bytes, error));
    if (text)
        DVIT_TRY(dvit_hf_preprocess_parse(&import->preprocess, text, size_bytes,
                                          import->hf.deit || c->distilled, c->image_width,
                                          c->image_height, error));
    else
        DVIT_TRY(dvit_notes_add(&import->notes, error,
                                "no preprocessor_config.json beside the file: images squashed to "
                                "%d × %d, mean and std 0.5",
                                c->image_width, c->image_height));
done:
    free(text);
    return status;
}

bool dvit_import_is_timm(const struct dvit_import *import)
{
    const struct dvit_config *c = &import->stored;
    if (import->own || import->names.place.naming == DVIT_NAMING_HUGGING_FACE)
        return false;
    return import->timm.found || c->layer_scale || c->mean_pool ||
           dvit_recognise_bare_positions(c, &import->names);
}

/* As timm's config.json says, if there is one. Another one, or one that is broken, may stand there
 * for reasons of its own, so it is only noted. What timm's says must be possible: other values in
 * its place would be wrong. */
static enum dvit_status read_timm_preprocess(struct dvit_import *import, bool *found,
                                             struct dvit_error *error)
{
    unsigned char *text;
    size_t size_bytes;
    struct dvit_error reason;
    *found = false;
    enum dvit_status status =
        dvit_import_beside(import, "config.json", &text, &size_bytes, &reason);
    if (status == DVIT_OK && !text)
        return DVIT_OK;
    if (status == DVIT_OK)
        status = dvit_timm_preprocess_parse(&import->preprocess, text, size_bytes, &reason);
    free(text);
    if (status == DVIT_ERROR_MEMORY || (status != DVIT_OK && import->timm.found))
        return dvit_error_set(error, status, "%s", reason.message);
    *found = status == DVIT_OK;
    if (*found)
        return dvit_notes_add(&import->notes, error,
                              "preprocessing as timm's config.json beside the file says");
    return dvit_notes_add(&import->notes, error, "not used: %s", reason.message);
}

static int longer(int width, int height)
{
    return width > height ? width : height;
}

/* Preprocessing for another input size: a preset's own rule, else the same share is cropped. */
static enum dvit_status adjust_preprocess(struct dvit_import *import, struct dvit_error *error)
{
    struct dvit_preprocess *p = &import->preprocess, preset, before = *p;
    int width = import->wanted.image_width, height = import->wanted.image_height;
    if (p->crop_width == width && p->crop_height == height)
        return DVIT_OK;
    if (dvit_preprocess_preset(p->name, p->crop_width, p->crop_height, &preset, NULL) == DVIT_OK &&
        preset.fit == p->fit && preset.resize_side == p->resize_side &&
        dvit_preprocess_preset(p->name, width, height, &preset, NULL) == DVIT_OK) {
        p->fit = preset.fit;
        p->resize_side = preset.resize_side;
        p->crop_width = width;
        p->crop_height = height;
        return DVIT_OK;
    }
    p->crop_width = width;
    p->crop_height = height;
    p->resize_side = (int)lround((double)p->resize_side * longer(width, height) /
                                 longer(before.crop_width, before.crop_height));
    return dvit_notes_add(&import->notes, error,
                          "preprocessing \"%s\" is for %d × %d pixels: adjusted to %d × %d",
                          p->name, before.crop_width, before.crop_height, width, height);
}

/* As dvit wrote it; it must be for the model beside which it stands. */
static enum dvit_status read_own_preprocess(struct dvit_import *import, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_config *c = &import->stored;
    struct dvit_preprocess *p = &import->preprocess;
    DVIT_TRY(dvit_preprocess_from_json(dvit_import_recorded(import, "dvit.preprocess"), p, error));
    if (p->crop_width != c->image_width || p->crop_height != c->image_height)
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH,
                  "preprocessing crops to %d × %d, the model expects %d × %d", p->crop_width,
                  p->crop_height, c->image_width, c->image_height);
done:
    return status;
}

/* Files with DeiT's names: timm's own description, else what is usual. DeiT and plain timm models
 * cannot be told apart; some traits only timm's have. */
static enum dvit_status choose_usual(struct dvit_import *import, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_config *c = &import->stored;
    bool found, timm = dvit_import_is_timm(import);
    const char *name = timm ? "timm" : "dynamicvit", *asked = import->options.preprocess;
    DVIT_TRY(read_timm_preprocess(import, &found, error));
    if (found)
        return DVIT_OK;
    DVIT_TRY(
        dvit_preprocess_preset(name, c->image_width, c->image_height, &import->preprocess, error));
    if ((asked && strstr(asked, "mean=")) || c->distilled || c->stem_width || c->stages)
        return dvit_notes_add(&import->notes, error, /* these were never trained with others */
                              "preprocessing \"%s\": the file states none", name);
    DVIT_TRY(dvit_notes_add(
        &import->notes, error,
        "warning: preprocessing \"%s\": the file states none; if the model was trained "
        "with mean and std 0.5, as most ViTs of Google and timm, its answers are "
        "wrong: --preprocess augreg, or --mean, --std, --crop, --interpolation",
        name));
done:
    return status;
}

enum dvit_status dvit_import_preprocess(struct dvit_import *import, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_config *c = &import->wanted;
    const char *asked = import->options.preprocess;
    if (import->own)
        DVIT_TRY(read_own_preprocess(import, error));
    if (asked && *asked && *asked != ':') {
        import->preprocess.crop_width = c->image_width;
        import->preprocess.crop_height = c->image_height;
        return dvit_preprocess_change(&import->preprocess, asked, error);
    }
    if (!import->own)
        DVIT_TRY(import->names.place.naming == DVIT_NAMING_HUGGING_FACE
                     ? read_hf_preprocess(import, error)
                     : choose_usual(import, error));
    DVIT_TRY(adjust_preprocess(import, error));
    if (asked)
        DVIT_TRY(dvit_preprocess_change(&import->preprocess, asked, error));
done:
    return status;
}

/* --- labels --------------------------------------------------------------------------------- */

static enum dvit_status set_imagenet_labels(struct dvit_model *model, struct dvit_error *error)
{
    const char *labels[DVIT_IMAGENET_CLASSES];
    for (int i = 0; i < DVIT_IMAGENET_CLASSES; i++)
        labels[i] = dvit_imagenet_label(i);
    return dvit_model_set_labels(model, labels, DVIT_IMAGENET_CLASSES, error);
}

enum dvit_status dvit_import_labels(struct dvit_import *import, struct dvit_model *model,
                                    struct dvit_error *error)
{
    int classes = model->config.classes;
    if (import->new_heads)
        return DVIT_OK;
    if (import->own) {
        char **labels;
        enum dvit_status status = dvit_labels_from_json(dvit_import_recorded(import, "dvit.labels"),
                                                        classes, &labels, error);
        if (status == DVIT_OK)
            status = dvit_model_set_labels(model, (const char *const *)labels, classes, error);
        dvit_labels_free(labels, classes);
        return status;
    }
    if (import->hf.labels.stated || import->timm.labels.stated)
        return dvit_label_table_apply(import->hf.labels.stated ? &import->hf.labels
                                                               : &import->timm.labels,
                                      model, &import->notes, error);
    return classes == DVIT_IMAGENET_CLASSES ? set_imagenet_labels(model, error) : DVIT_OK;
}
