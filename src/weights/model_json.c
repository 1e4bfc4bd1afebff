/* Configuration, preprocessing and labels to and from JSON text, through jansson. */
#define _GNU_SOURCE
#include "weights/model_json.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/json_limits.h"
#include "weights/text.h"

/* Reals as written must read back to the same float or double. */
enum { REAL_DIGITS = 17, DUMP_FLAGS = JSON_COMPACT | JSON_REAL_PRECISION(REAL_DIGITS) };

static char *dump(json_t *value)
{
    char *text = value ? json_dumps(value, DUMP_FLAGS) : NULL;
    json_decref(value);
    return text;
}

char *dvit_config_to_json(const struct dvit_config *c)
{
    json_t *blocks = json_array();
    for (int s = 0; blocks && s < c->stages; s++)
        json_array_append_new(blocks, json_integer(c->stage_block[s]));
    json_t *root =
        json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:o, s:f,"
                  " s:i, s:f, s:b, s:b, s:b, s:b, s:b, s:s}",
                  "family", "vit", "name", c->name, "image_width", c->image_width, "image_height",
                  c->image_height, "patch", c->patch, "dim", c->dim, "depth", c->depth, "heads",
                  c->heads, "mlp", c->mlp, "classes", c->classes, "norm_eps", (double)c->norm_eps,
                  "stage_block", blocks, "keep", c->keep, "stem_width", c->stem_width, "skip_lam",
                  (double)c->skip_lam, "qkv_bias", c->qkv_bias, "distilled", c->distilled,
                  "layer_scale", c->layer_scale, "mean_pool", c->mean_pool, "aux_head", c->aux_head,
                  "pruning", dvit_pruning_name(c->pruning));
    if (root && c->one_head) /* few have it: other files stay readable for earlier versions */
        json_object_set_new(root, "one_head", json_true());
    return dump(root);
}

static const char *const fit_names[] = {
    [DVIT_FIT_CROP] = "crop", [DVIT_FIT_SQUASH] = "squash", [DVIT_FIT_NONE] = "none"};

/* The order of the two passes: struct dvit_preprocess.pillow13. */
static const char *const resize_names[] = {"pillow12", "pillow13"};

char *dvit_preprocess_to_json(const struct dvit_preprocess *p)
{
    return dump(json_pack("{s:s, s:s, s:i, s:i, s:i, s:[f,f,f], s:[f,f,f], s:b, s:s}", "name",
                          p->name, "fit", fit_names[p->fit], "resize_side", p->resize_side,
                          "crop_width", p->crop_width, "crop_height", p->crop_height, "mean",
                          (double)p->mean[0], (double)p->mean[1], (double)p->mean[2], "std",
                          (double)p->std[0], (double)p->std[1], (double)p->std[2], "bilinear",
                          p->bilinear, "resize", resize_names[p->pillow13]));
}

char *dvit_labels_to_json(char *const *labels, int count)
{
    json_t *array = json_array();
    for (int i = 0; array && i < count; i++)
        if (json_array_append_new(array, json_string(labels[i])) != 0) { /* not UTF-8 */
            json_decref(array);
            return NULL;
        }
    return dump(array);
}

static enum dvit_status load(const char *text, const char *what, json_t **out,
                             struct dvit_error *error)
{
    /* The labels are the longest: one array. */
    static const struct dvit_json_limits limits = {
        .nesting = 4, .commas = DVIT_MAX_CLASSES, .containers = 8};
    json_error_t problem;
    *out = NULL;
    enum dvit_status status =
        dvit_json_check((const unsigned char *)text, strlen(text), &limits, what, error);
    if (status != DVIT_OK)
        return status;
    *out = json_loads(text, JSON_REJECT_DUPLICATES, &problem);
    if (!*out)
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "%s is not JSON: %s", what,
                              dvit_text_show(problem.text).text);
    return DVIT_OK;
}

static enum dvit_status unpack_failed(json_t *root, const json_error_t *problem, const char *what,
                                      struct dvit_error *error)
{
    json_decref(root);
    return dvit_error_set(error, DVIT_ERROR_FORMAT, "%s: %s", what,
                          dvit_text_show(problem->text).text);
}

/* jansson's own conversion to int drops high bits: 2^32 + 24 would be read as 24. */
static enum dvit_status narrow(const char *what, const char *const *keys, const json_int_t *values,
                               int *const *out, size_t count, struct dvit_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (values[i] < 0 || values[i] > INT_MAX)
            return dvit_error_set(error, DVIT_ERROR_FORMAT, "%s: %s is %lld, expected 0 to %d",
                                  what, keys[i], (long long)values[i], INT_MAX);
        *out[i] = (int)values[i];
    }
    return DVIT_OK;
}

static enum dvit_status read_stage_blocks(json_t *blocks, struct dvit_config *c,
                                          struct dvit_error *error)
{
    size_t count = json_array_size(blocks);
    if (!json_is_array(blocks) || count > DVIT_MAX_STAGES)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "model configuration: stage_block has %zu entries, expected an "
                              "array of at most %d",
                              count, DVIT_MAX_STAGES);
    for (size_t s = 0; s < count; s++) {
        json_t *block = json_array_get(blocks, s);
        json_int_t value = json_is_integer(block) ? json_integer_value(block) : -1;
        if (value < 0 || value >= DVIT_MAX_DEPTH)
            return dvit_error_set(error, DVIT_ERROR_FORMAT,
                                  "model configuration: stage_block[%zu] is not a block", s);
        c->stage_block[s] = (int)value;
    }
    c->stages = (int)count;
    return DVIT_OK;
}

enum dvit_status dvit_config_from_json(const char *text, struct dvit_config *config,
                                       struct dvit_error *error)
{
    json_t *root, *blocks;
    json_error_t problem;
    const char *family, *name, *pruning = "learned";
    double eps, keep, skip_lam = 1;
    /* Files from before these traits existed are silent about them. */
    int qkv_bias = true, distilled = false, layer_scale = false, mean_pool = false,
        aux_head = false, one_head = false;
    struct dvit_config c = {0};
    static const char *const keys[] = {"image_width", "image_height", "patch",
                                       "dim",         "depth",        "heads",
                                       "mlp",         "classes",      "stem_width"};
    int *const fields[] = {&c.image_width, &c.image_height, &c.patch,   &c.dim,       &c.depth,
                           &c.heads,       &c.mlp,          &c.classes, &c.stem_width};
    json_int_t v[sizeof keys / sizeof *keys] = {0};
    enum dvit_status status = load(text, "model configuration", &root, error);
    if (status != DVIT_OK)
        return status;
    if (json_unpack_ex(root, &problem, JSON_STRICT,
                       "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:F, s:o, s:F,"
                       " s?:I, s?:F, s?:b, s?:b, s?:b, s?:b, s?:b, s?:b, s?:s}",
                       "family", &family, "name", &name, keys[0], &v[0], keys[1], &v[1], keys[2],
                       &v[2], keys[3], &v[3], keys[4], &v[4], keys[5], &v[5], keys[6], &v[6],
                       keys[7], &v[7], "norm_eps", &eps, "stage_block", &blocks, "keep", &keep,
                       keys[8], &v[8], "skip_lam", &skip_lam, "qkv_bias", &qkv_bias, "distilled",
                       &distilled, "layer_scale", &layer_scale, "mean_pool", &mean_pool, "aux_head",
                       &aux_head, "one_head", &one_head, "pruning", &pruning) != 0)
        return unpack_failed(root, &problem, "model configuration", error);
    DVIT_TRY(narrow("model configuration", keys, v, fields, sizeof keys / sizeof *keys, error));
    if (strcmp(family, "vit") != 0)
        DVIT_FAIL(error, DVIT_ERROR_UNSUPPORTED,
                  "model configuration: family \"%s\", expected \"vit\"",
                  dvit_text_show(family).text);
    snprintf(c.name, sizeof c.name, "%s", name);
    c.norm_eps = (float)eps;
    c.keep = keep;
    c.skip_lam = (float)skip_lam;
    c.qkv_bias = qkv_bias;
    c.distilled = distilled;
    c.layer_scale = layer_scale;
    c.mean_pool = mean_pool;
    c.aux_head = aux_head;
    c.one_head = one_head;
    if (dvit_pruning_parse(dvit_text_show(pruning).text, &c.pruning, error) != DVIT_OK)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "model configuration: unknown pruning \"%s\"",
                  dvit_text_show(pruning).text);
    DVIT_TRY(read_stage_blocks(blocks, &c, error));
    DVIT_TRY(dvit_config_check(&c, error));
    *config = c;
done:
    json_decref(root);
    return status;
}

static enum dvit_status check_preprocess(const struct dvit_preprocess *p, struct dvit_error *error)
{
    struct dvit_error cause;
    if (dvit_preprocess_check(p, &cause) == DVIT_OK)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_FORMAT, "%s", cause.message);
}

enum dvit_status dvit_preprocess_from_json(const char *text, struct dvit_preprocess *preprocess,
                                           struct dvit_error *error)
{
    json_t *root;
    json_error_t problem;
    const char *name, *fit, *resize = resize_names[0];
    double mean[3], std[3];
    int bilinear = false; /* files from before the choice existed are silent about it */
    struct dvit_preprocess p = {0};
    static const char *const keys[] = {"resize_side", "crop_width", "crop_height"};
    int *const fields[] = {&p.resize_side, &p.crop_width, &p.crop_height};
    json_int_t v[sizeof keys / sizeof *keys];
    enum dvit_status status = load(text, "preprocessing", &root, error);
    if (status != DVIT_OK)
        return status;
    if (json_unpack_ex(root, &problem, JSON_STRICT,
                       "{s:s, s:s, s:I, s:I, s:I, s:[FFF], s:[FFF], s?:b, s?:s}", "name", &name,
                       "fit", &fit, keys[0], &v[0], keys[1], &v[1], keys[2], &v[2], "mean",
                       &mean[0], &mean[1], &mean[2], "std", &std[0], &std[1], &std[2], "bilinear",
                       &bilinear, "resize", &resize) != 0)
        return unpack_failed(root, &problem, "preprocessing", error);
    DVIT_TRY(narrow("preprocessing", keys, v, fields, sizeof keys / sizeof *keys, error));
    int known = (int)(sizeof fit_names / sizeof *fit_names), found = 0;
    while (found < known && strcmp(fit, fit_names[found]) != 0)
        found++;
    if (found == known)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "preprocessing: unknown fit \"%s\"",
                  dvit_text_show(fit).text);
    p.fit = (enum dvit_fit)found;
    p.pillow13 = strcmp(resize, resize_names[1]) == 0;
    if (!p.pillow13 && strcmp(resize, resize_names[0]) != 0)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "preprocessing: unknown resize \"%s\", expected pillow12 or pillow13",
                  dvit_text_show(resize).text);
    snprintf(p.name, sizeof p.name, "%s", name);
    p.bilinear = bilinear;
    for (int i = 0; i < 3; i++) {
        p.mean[i] = (float)mean[i];
        p.std[i] = (float)std[i];
    }
    DVIT_TRY(check_preprocess(&p, error));
    *preprocess = p;
done:
    json_decref(root);
    return status;
}

void dvit_labels_free(char **labels, int count)
{
    for (int i = 0; labels && i < count; i++)
        free(labels[i]);
    free(labels);
}

enum dvit_status dvit_labels_from_json(const char *text, int count, char ***out,
                                       struct dvit_error *error)
{
    json_t *root;
    char **labels = NULL;
    *out = NULL;
    enum dvit_status status = load(text, "labels", &root, error);
    if (status != DVIT_OK)
        return status;
    if (!json_is_array(root) || json_array_size(root) != (size_t)count)
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH, "labels: %zu entries, the model has %d classes",
                  json_array_size(root), count);
    labels = calloc((size_t)count + 1, sizeof *labels);
    if (!labels)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "labels: out of memory");
    for (int i = 0; i < count; i++) {
        const char *label = json_string_value(json_array_get(root, (size_t)i));
        if (!label)
            DVIT_FAIL(error, DVIT_ERROR_FORMAT, "labels: entry %d is not a string", i);
        labels[i] = strdup(label);
        if (!labels[i])
            DVIT_FAIL(error, DVIT_ERROR_MEMORY, "labels: out of memory");
    }
    *out = labels;
    labels = NULL;
done:
    json_decref(root);
    dvit_labels_free(labels, count);
    return status;
}
