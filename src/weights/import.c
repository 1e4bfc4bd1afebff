/* dvit_model_load: any file of tensors that names.c and recognise.c understand becomes a model.
 * What the file does not say – heads, keep ratio, preprocessing, labels – is chosen here, in one
 * place: what the caller asks for, what the file records, what is usual; each choice is noted.
 * Formats are weight_file.c's, tensors assemble.c's. */
#define _GNU_SOURCE
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "dvit/labels.h"
#include "weights/assemble.h"
#include "weights/hf_config.h"
#include "weights/model_json.h"
#include "weights/recognise.h"
#include "weights/text.h"
#include "weights/weight_file.h"

struct import {
    const char *path;
    struct dvit_load_options options;
    struct dvit_weight_file *file;
    const struct dvit_tensor_view **views;
    struct dvit_tensor_names names;
    struct dvit_notes notes;
    struct dvit_hf_config hf; /* zero where there is none */
    bool described;           /* there is one */
    bool own;                 /* dvit wrote the file: it describes itself */
    bool new_heads;
    struct dvit_config stored; /* what the file holds */
    struct dvit_config wanted; /* what the model is to be */
    struct dvit_preprocess preprocess;
};

static void import_free(struct import *import)
{
    dvit_hf_config_free(&import->hf);
    dvit_tensor_names_free(&import->names);
    dvit_notes_free(&import->notes);
    free(import->views);
    dvit_weight_file_free(import->file);
}

/* A text that dvit wrote into the file, or NULL. */
static const char *recorded(const struct import *import, const char *key)
{
    const struct dvit_stored_value *value = dvit_weight_file_find_value(import->file, key);
    return value ? value->text : NULL;
}

static enum dvit_status list_tensors(struct import *import, struct dvit_error *error)
{
    size_t count = dvit_weight_file_tensor_count(import->file);
    import->views = calloc(count + 1, sizeof *import->views);
    if (!import->views)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "%zu tensors: out of memory", count);
    for (size_t i = 0; i < count; i++)
        import->views[i] = dvit_weight_file_view(import->file, i);
    return dvit_tensor_names_create(&import->names, import->views, count, import->options.average,
                                    &import->notes, error);
}

/* --- Hugging Face's files beside the weights ------------------------------------------------ */

/* The file `name` in the folder of the weights; *text is NULL where there is none. */
static enum dvit_status read_beside(const struct import *import, const char *name,
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

static enum dvit_status read_hf_config(struct import *import, struct dvit_error *error)
{
    unsigned char *text;
    size_t size_bytes;
    enum dvit_status status = DVIT_OK;
    DVIT_TRY(read_beside(import, "config.json", &text, &size_bytes, error));
    import->described = text != NULL;
    if (text)
        DVIT_TRY(dvit_hf_config_parse(&import->hf, text, size_bytes, error));
    else
        DVIT_TRY(dvit_notes_add(&import->notes, error,
                                "no config.json beside the file: layer norms of eps 1e-12"));
    if (!text)
        import->hf.norm_eps = 1e-12f;
done:
    free(text);
    return status;
}

static enum dvit_status read_hf_preprocess(struct import *import, struct dvit_error *error)
{
    unsigned char *text;
    size_t size_bytes;
    enum dvit_status status = DVIT_OK;
    const struct dvit_config *c = &import->stored;
    import->preprocess = dvit_hf_preprocess_default(c->image_width, c->image_height);
    DVIT_TRY(read_beside(import, "preprocessor_config.json", &text, &size_bytes, error));
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

/* --- what the file holds -------------------------------------------------------------------- */

static enum dvit_status read_own_config(struct import *import, struct dvit_error *error)
{
    static const char *const keys[] = {"dvit.config", "dvit.preprocess", "dvit.labels"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!recorded(import, keys[i]))
            return dvit_error_set(error, DVIT_ERROR_FORMAT,
                                  "no \"%s\" in the metadata: this is not a model that dvit wrote",
                                  keys[i]);
    return dvit_config_from_json(recorded(import, "dvit.config"), &import->stored, error);
}

static enum dvit_status recognise(struct import *import, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_load_options *options = &import->options;
    bool hugging_face = import->names.naming == DVIT_NAMING_HUGGING_FACE;
    if (hugging_face)
        DVIT_TRY(read_hf_config(import, error));
    struct dvit_stated stated = {.heads = options->heads ? options->heads : import->hf.heads,
                                 .image_width = import->hf.image_width,
                                 .image_height = import->hf.image_height,
                                 .wanted_width = options->image_width,
                                 .wanted_height = options->image_height ? options->image_height
                                                                        : options->image_width,
                                 .norm_eps = import->hf.norm_eps};
    DVIT_TRY(dvit_recognise(&import->stored, &import->names, &stated, &import->notes, error));
    DVIT_TRY(dvit_hf_config_compare(&import->hf, &import->stored, error));
    if (import->described)
        import->stored.qkv_bias = !import->hf.no_qkv_bias;
done:
    return status;
}

/* --- what the caller wants ------------------------------------------------------------------ */

static enum dvit_status choose_keep(struct import *import, struct dvit_error *error)
{
    struct dvit_config *c = &import->wanted;
    const char *text = recorded(import, "args/base_rate");
    char *end = NULL;
    double rate = text ? strtod(text, &end) : 0;
    if (import->options.keep != 0)
        c->keep = import->options.keep;
    if (import->own || c->stages == 0)
        return DVIT_OK;
    if (import->options.keep != 0)
        return dvit_notes_add(&import->notes, error, "keep ratio %g, as asked for", c->keep);
    if (text && *text && *end == 0 && rate > 0 && rate <= 1) {
        c->keep = rate;
        return dvit_notes_add(&import->notes, error, "keep ratio %g: the file's args.base_rate",
                              rate);
    }
    return dvit_notes_add(&import->notes, error, "keep ratio %g: the file records %s%s%s", c->keep,
                          text ? "\"" : "none", text ? dvit_text_show(text).text : "",
                          text ? "\", which is none" : "");
}

static enum dvit_status choose_classes(struct import *import, struct dvit_error *error)
{
    int wanted = import->options.classes;
    bool headless = !import->own && !dvit_tensor_names_find(&import->names, "head.weight");
    if (wanted == 0 || (wanted == import->stored.classes && !headless))
        return DVIT_OK;
    import->new_heads = true;
    import->wanted.classes = wanted;
    if (headless)
        return dvit_notes_add(&import->notes, error,
                              "the head for %d classes is new: the file has none", wanted);
    return dvit_notes_add(&import->notes, error,
                          "the head for %d classes is new: the file's is for %d", wanted,
                          import->stored.classes);
}

static enum dvit_status choose_size(struct import *import, struct dvit_error *error)
{
    struct dvit_config *c = &import->wanted;
    const struct dvit_load_options *options = &import->options;
    if (options->image_width)
        c->image_width = c->image_height = options->image_width;
    if (options->image_height)
        c->image_height = options->image_height;
    if (c->image_width == import->stored.image_width &&
        c->image_height == import->stored.image_height)
        return DVIT_OK;
    return dvit_notes_add(
        &import->notes, error, "position embeddings interpolated from %d × %d to %d × %d patches",
        import->stored.image_width / c->patch, import->stored.image_height / c->patch,
        c->image_width / c->patch, c->image_height / c->patch);
}

static enum dvit_status apply_options(struct import *import, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_config *c = &import->wanted;
    *c = import->stored;
    if (import->options.heads)
        c->heads = import->options.heads;
    DVIT_TRY(choose_classes(import, error));
    DVIT_TRY(choose_size(import, error));
    DVIT_TRY(choose_keep(import, error));
    DVIT_TRY(dvit_config_check(c, error));
    bool same_shape = c->heads == import->stored.heads && c->classes == import->stored.classes &&
                      c->image_width == import->stored.image_width &&
                      c->image_height == import->stored.image_height;
    if (!import->own || !same_shape)
        dvit_recognise_preset(c);
done:
    return status;
}

/* --- preprocessing -------------------------------------------------------------------------- */

static int longer(int width, int height)
{
    return width > height ? width : height;
}

/* Preprocessing for another input size: a preset's own rule, else the same share is cropped. */
static enum dvit_status adjust_preprocess(struct import *import, struct dvit_error *error)
{
    struct dvit_preprocess *p = &import->preprocess, preset, before = *p;
    int width = import->wanted.image_width, height = import->wanted.image_height;
    if (p->crop_width == width && p->crop_height == height)
        return DVIT_OK;
    if (dvit_preprocess_preset(p->name, p->crop_width, p->crop_height, &preset, NULL) == DVIT_OK &&
        preset.fit == p->fit && preset.resize_side == p->resize_side)
        return dvit_preprocess_preset(p->name, width, height, p, error);
    p->crop_width = width;
    p->crop_height = height;
    p->resize_side = (int)lround((double)p->resize_side * longer(width, height) /
                                 longer(before.crop_width, before.crop_height));
    return dvit_notes_add(&import->notes, error,
                          "preprocessing \"%s\" is for %d × %d pixels: adjusted to %d × %d",
                          p->name, before.crop_width, before.crop_height, width, height);
}

static enum dvit_status choose_preprocess(struct import *import, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_config *c = &import->wanted;
    const char *name = import->options.preprocess;
    if (import->own)
        DVIT_TRY(dvit_preprocess_from_json(recorded(import, "dvit.preprocess"), &import->preprocess,
                                           error));
    if (name)
        return dvit_preprocess_preset(name, c->image_width, c->image_height, &import->preprocess,
                                      error);
    if (import->own) {
        if (import->preprocess.crop_width != import->stored.image_width ||
            import->preprocess.crop_height != import->stored.image_height)
            DVIT_FAIL(error, DVIT_ERROR_MISMATCH,
                      "preprocessing crops to %d × %d, the model expects %d × %d",
                      import->preprocess.crop_width, import->preprocess.crop_height,
                      import->stored.image_width, import->stored.image_height);
        return adjust_preprocess(import, error);
    }
    if (import->names.naming == DVIT_NAMING_HUGGING_FACE) {
        DVIT_TRY(read_hf_preprocess(import, error));
        return adjust_preprocess(import, error);
    }
    bool timm = c->layer_scale || c->mean_pool ||
                dvit_recognise_bare_positions(&import->stored, &import->names);
    name = timm ? "timm" : "dynamicvit";
    DVIT_TRY(
        dvit_preprocess_preset(name, c->image_width, c->image_height, &import->preprocess, error));
    DVIT_TRY(
        dvit_notes_add(&import->notes, error, "preprocessing \"%s\": the file states none", name));
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

/* Without any, classes are numbered. */
static enum dvit_status set_labels(const struct import *import, struct dvit_model *model,
                                   struct dvit_error *error)
{
    int classes = model->config.classes;
    if (import->new_heads)
        return DVIT_OK;
    if (import->own) {
        char **labels;
        enum dvit_status status =
            dvit_labels_from_json(recorded(import, "dvit.labels"), classes, &labels, error);
        if (status == DVIT_OK)
            status = dvit_model_set_labels(model, (const char *const *)labels, classes, error);
        dvit_labels_free(labels, classes);
        return status;
    }
    if (import->hf.label_count == classes)
        return dvit_model_set_labels(model, (const char *const *)import->hf.labels, classes, error);
    return classes == DVIT_IMAGENET_CLASSES ? set_imagenet_labels(model, error) : DVIT_OK;
}

/* --- the model ------------------------------------------------------------------------------ */

static enum dvit_status build(struct import *import, struct dvit_model **out,
                              struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_model *model = NULL;
    struct dvit_assembly assembly = {
        .names = &import->names,
        .stored = &import->stored,
        .new_heads = import->new_heads,
        .bare_positions =
            !import->own && dvit_recognise_bare_positions(&import->stored, &import->names),
        .foreign = !import->own,
        .problem = import->options.problem,
        .context = import->options.context};
    /* A file may claim anything: memory is asked for only once all tensors have been seen. */
    DVIT_TRY(dvit_assembly_check(&assembly, error));
    DVIT_TRY(choose_preprocess(import, error));
    DVIT_TRY(dvit_model_allocate(&model, &import->wanted, error));
    if (import->new_heads)
        dvit_model_initialise(model, DVIT_GROUP_HEAD, import->options.seed);
    DVIT_TRY(dvit_assembly_read(&assembly, model, error));
    DVIT_TRY(dvit_model_set_preprocess(model, &import->preprocess, error));
    DVIT_TRY(set_labels(import, model, error));
    model->notes = import->notes;
    import->notes = (struct dvit_notes){0};
    *out = model;
    model = NULL;
done:
    dvit_model_free(model);
    return status;
}

enum dvit_status dvit_model_load(struct dvit_model **out, const char *path,
                                 const struct dvit_load_options *options, struct dvit_error *error)
{
    struct import import = {.path = path};
    *out = NULL;
    if (options)
        import.options = *options;
    enum dvit_status status = dvit_weight_file_open(&import.file, path, error);
    if (status != DVIT_OK)
        return status; /* names the file itself */
    import.own = recorded(&import, "dvit.config") != NULL;
    DVIT_TRY(list_tensors(&import, error));
    DVIT_TRY(import.own ? read_own_config(&import, error) : recognise(&import, error));
    DVIT_TRY(apply_options(&import, error));
    DVIT_TRY(build(&import, out, error));
done:
    if (status != DVIT_OK)
        dvit_error_prefix(error, "\"%s\"", path);
    import_free(&import);
    return status;
}
