/* timm's config.json: what the model computes. Each field of it is used, held against the tensors,
 * or refused by name where it changes the answer. Preprocessing is timm_config.c's. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "weights/hf_config.h"
#include "weights/hf_json.h"
#include "weights/text.h"
#include "weights/timm_config.h"

static const char *const file_name = "config.json";

static enum dvit_status refuse(const char *key, const char *got, const char *expected,
                               struct dvit_error *error)
{
    return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                          "%s: %s is %s, which dvit does not compute%s%s", file_name, key, got,
                          expected[0] ? ": expected " : "", expected);
}

/* What a value is in a message. */
static const char *show(const json_t *value, char room[256])
{
    if (json_is_boolean(value))
        return json_is_true(value) ? "true" : "false";
    if (json_is_integer(value))
        snprintf(room, 256, "%lld", (long long)json_integer_value(value));
    else
        snprintf(room, 256, "\"%s\"",
                 json_is_string(value) ? dvit_text_show(json_string_value(value)).text : "…");
    return room;
}

/* ---- model_args: arguments of timm's VisionTransformer ---- */

enum kind {
    IGNORED, /* changes no answer: training, or stated elsewhere */
    WHOLE,   /* int at `offset` */
    FLAG,    /* int at `offset`: 0 or 1 */
    PRESENT, /* any number: int at `offset` is 1 */
    ONLY,    /* the text `expected`, or false where that is "false", true where "true" */
    POOL,    /* global_pool */
    EPSILON, /* of the layer norms */
    RATIO,   /* of the hidden width */
    IMAGE,   /* a number or two */
};

#define FIELD(member) offsetof(struct dvit_timm_config, member)

static const struct argument {
    const char *key;
    enum kind kind;
    size_t offset;
    const char *expected;
} arguments[] = {
    {"num_heads", WHOLE, FIELD(heads), NULL},
    {"embed_dim", WHOLE, FIELD(dim), NULL},
    {"depth", WHOLE, FIELD(depth), NULL},
    {"patch_size", WHOLE, FIELD(patch), NULL},
    {"num_classes", WHOLE, FIELD(classes), NULL},
    {"img_size", IMAGE, 0, NULL},
    {"mlp_ratio", RATIO, 0, NULL},
    {"qkv_bias", FLAG, FIELD(qkv_bias), NULL},
    {"init_values", PRESENT, FIELD(layer_scale), NULL},
    {"fc_norm", FLAG, FIELD(fc_norm), NULL},
    {"global_pool", POOL, 0, NULL},
    {"norm_eps", EPSILON, 0, NULL},
    {"layer_norm_eps", EPSILON, 0, NULL},
    {"act_layer", ONLY, 0, "gelu"},
    {"norm_layer", ONLY, 0, "layernorm"},
    {"embed_norm_layer", ONLY, 0, "layernorm"},
    {"mlp_layer", ONLY, 0, "mlp"},
    {"pos_embed", ONLY, 0, "learn"},
    {"in_chans", ONLY, 0, "3"},
    {"reg_tokens", ONLY, 0, "0"},
    {"class_token", ONLY, 0, "true"},
    {"proj_bias", ONLY, 0, "true"},
    {"final_norm", ONLY, 0, "true"},
    {"pre_norm", ONLY, 0, "false"},
    {"qk_norm", ONLY, 0, "false"},
    {"scale_attn_norm", ONLY, 0, "false"},
    {"scale_mlp_norm", ONLY, 0, "false"},
    {"attn_pool", ONLY, 0, "false"},
    {"pool_include_prefix", ONLY, 0, "false"},
    {"no_embed_class", IGNORED, 0, NULL}, /* the positions' rows tell */
    {"dynamic_img_size", IGNORED, 0, NULL},
    {"strict_img_size", IGNORED, 0, NULL},
    {"dynamic_img_pad", ONLY, 0, "false"},
    {"drop_rate", IGNORED, 0, NULL},
    {"pos_drop_rate", IGNORED, 0, NULL},
    {"patch_drop_rate", IGNORED, 0, NULL},
    {"proj_drop_rate", IGNORED, 0, NULL},
    {"attn_drop_rate", IGNORED, 0, NULL},
    {"drop_path_rate", IGNORED, 0, NULL},
    {"weight_init", IGNORED, 0, NULL},
    {"fix_init", IGNORED, 0, NULL},
    {"pretrained", IGNORED, 0, NULL},
    {"features_only", ONLY, 0, "false"},
};

static enum dvit_status read_only(const json_t *value, const char *shown, const char *key,
                                  const char *expected, struct dvit_error *error)
{
    char room[256];
    const char *text = json_string_value(value);
    bool as_expected =
        text ? strcasecmp(text, expected) == 0 : strcmp(show(value, room), expected) == 0;
    return as_expected ? DVIT_OK : refuse(key, shown, expected, error);
}

static enum dvit_status read_pool(struct dvit_timm_config *c, const json_t *value, const char *key,
                                  struct dvit_error *error)
{
    char room[256];
    const char *text = json_string_value(value);
    if (!text || (strcmp(text, "token") != 0 && strcmp(text, "avg") != 0))
        return refuse(key, show(value, room), "\"token\" or \"avg\"", error);
    snprintf(c->pool, sizeof c->pool, "%s", text);
    return DVIT_OK;
}

static enum dvit_status read_image(struct dvit_timm_config *c, const json_t *value, const char *key,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    bool two = json_array_size(value) == 2;
    DVIT_TRY(dvit_hf_whole_value(two ? json_array_get(value, 0) : value, file_name, key,
                                 &c->image_height, error));
    DVIT_TRY(dvit_hf_whole_value(two ? json_array_get(value, 1) : value, file_name, key,
                                 &c->image_width, error));
done:
    return status;
}

/* A number above `low` and below `high`. */
static enum dvit_status read_between(const json_t *value, const char *key, double low, double high,
                                     double *out, struct dvit_error *error)
{
    *out = json_number_value(value);
    if (json_is_number(value) && *out > low && *out < high)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_FORMAT, "%s: %s is not a number above %g and below %g",
                          file_name, key, low, high);
}

static enum dvit_status read_argument(struct dvit_timm_config *c, const struct argument *argument,
                                      const json_t *value, const char *key,
                                      struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    char room[256];
    double number = 0;
    int *field = (int *)(void *)((char *)c + argument->offset);
    switch (argument->kind) {
    case IGNORED:
        break;
    case WHOLE:
        if (strcmp(argument->key, "num_classes") == 0 && json_is_integer(value) &&
            json_integer_value(value) == 0)
            return DVIT_OK; /* no head */
        return dvit_hf_whole_value(value, file_name, key, field, error);
    case FLAG:
        if (!json_is_boolean(value))
            DVIT_FAIL(error, DVIT_ERROR_FORMAT, "%s: %s is not true or false", file_name, key);
        *field = json_is_true(value);
        break;
    case PRESENT:
        *field = json_is_number(value) && json_number_value(value) != 0;
        break;
    case ONLY:
        return read_only(value, show(value, room), key, argument->expected, error);
    case POOL:
        return read_pool(c, value, key, error);
    case EPSILON:
        DVIT_TRY(read_between(value, key, 1e-30, 1, &number, error));
        c->norm_eps = (float)number;
        break;
    case RATIO:
        return read_between(value, key, 0, 1000, &c->mlp_ratio, error);
    case IMAGE:
        return read_image(c, value, key, error);
    }
done:
    return status;
}

static enum dvit_status read_arguments(struct dvit_timm_config *c, const json_t *root,
                                       struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    json_t *args = json_object_get(root, "model_args"), *value;
    const char *key;
    json_object_foreach(args, key, value)
    {
        char shown[80];
        size_t i = 0, count = sizeof arguments / sizeof *arguments;
        snprintf(shown, sizeof shown, "model_args.%.60s", dvit_text_show(key).text);
        while (i < count && strcmp(arguments[i].key, key) != 0)
            i++;
        if (json_is_null(value))
            continue;
        if (i == count)
            DVIT_FAIL(error, DVIT_ERROR_UNSUPPORTED,
                      "%s: dvit does not know %s, which may change the answer", file_name, shown);
        DVIT_TRY(read_argument(c, &arguments[i], value, shown, error));
    }
done:
    return status;
}

/* ---- what the architecture's name alone says ---- */

static enum dvit_status read_architecture(struct dvit_timm_config *c, const json_t *root,
                                          struct dvit_error *error)
{
    /* in timm's table of models: another activation */
    static const char *const tanh[] = {"vit_base_patch32_siglip", "vit_large_patch16_siglip",
                                       "vit_so400m_patch16_siglip", "vit_giantopt_patch16_siglip"};
    const char *name = json_string_value(json_object_get(root, "architecture"));
    if (!name)
        return DVIT_OK;
    bool other = strstr(name, "quickgelu") != NULL;
    for (size_t i = 0; i < sizeof tanh / sizeof *tanh; i++)
        other = other || strncmp(name, tanh[i], strlen(tanh[i])) == 0;
    if (other)
        return refuse("architecture", dvit_text_show(name).text, "one with exact GELU", error);
    if (strstr(name, "_clip_"))
        c->norm_eps = 1e-5f;
    if (strncmp(name, "vit_base_patch16_gap_224", 24) == 0)
        c->heads = 16;
    return DVIT_OK;
}

/* ---- labels ---- */

static bool is_synset(const char *name)
{
    return name[0] == 'n' && strlen(name) == 9 && strspn(name + 1, "0123456789") == 8;
}

/* Names, and instead of WordNet's numbers what describes them. */
static enum dvit_status read_labels(struct dvit_timm_config *c, const json_t *object,
                                    struct dvit_error *error)
{
    const json_t *descriptions = json_object_get(object, "label_descriptions");
    enum dvit_status status =
        dvit_label_table_read(&c->labels, json_object_get(object, "label_names"), error);
    for (int i = 0; status == DVIT_OK && i < c->labels.count; i++) {
        const char *name = c->labels.items[i], *text = NULL;
        if (name && is_synset(name))
            text = json_string_value(json_is_array(descriptions)
                                         ? json_array_get(descriptions, (size_t)i)
                                         : json_object_get(descriptions, name));
        char *copy = text ? strdup(text) : NULL;
        if (text && !copy)
            return dvit_error_set(error, DVIT_ERROR_MEMORY, "labels: out of memory");
        if (copy) {
            free(c->labels.items[i]);
            c->labels.items[i] = copy;
        }
    }
    if (status == DVIT_OK && !c->labels.stated)
        status = dvit_label_table_read(&c->labels, json_object_get(object, "id2label"), error);
    return status;
}

/* ---- the file ---- */

static enum dvit_status read_file(struct dvit_timm_config *c, const json_t *root,
                                  struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const json_t *pool = json_object_get(root, "global_pool"),
                 *cfg = json_object_get(root, "pretrained_cfg"),
                 *classes = json_object_get(root, "num_classes");
    if (!json_object_get(root, "architecture") && !json_is_object(cfg))
        DVIT_FAIL(error, DVIT_ERROR_NOT_FOUND, "%s is not timm's", file_name);
    c->found = true;
    DVIT_TRY(read_architecture(c, root, error));
    if (pool && !json_is_null(pool))
        DVIT_TRY(read_pool(c, pool, "global_pool", error));
    if (json_integer_value(classes) != 0)
        DVIT_TRY(dvit_hf_whole_value(classes, file_name, "num_classes", &c->classes, error));
    DVIT_TRY(dvit_hf_whole(root, file_name, "num_features", 0, &c->dim, error));
    DVIT_TRY(read_arguments(c, root, error));
    DVIT_TRY(read_labels(c, root, error));
    DVIT_TRY(read_labels(c, cfg, error));
done:
    return status;
}

enum dvit_status dvit_timm_config_parse(struct dvit_timm_config *out, const void *text,
                                        size_t size_bytes, struct dvit_error *error)
{
    json_t *root;
    *out = (struct dvit_timm_config){.qkv_bias = -1, .layer_scale = -1, .fc_norm = -1};
    enum dvit_status status = dvit_hf_json(text, size_bytes, file_name, &root, error);
    if (status == DVIT_OK)
        status = read_file(out, root, error);
    json_decref(root);
    bool found = out->found;
    if (status != DVIT_OK)
        dvit_timm_config_free(out);
    out->found = found;
    return status;
}

void dvit_timm_config_free(struct dvit_timm_config *config)
{
    dvit_label_table_free(&config->labels);
    *config = (struct dvit_timm_config){0};
}

enum dvit_status dvit_timm_config_compare(const struct dvit_timm_config *stated,
                                          const struct dvit_config *config, bool has_head,
                                          struct dvit_error *error)
{
    const struct {
        const char *key;
        int stated, got; /* stated −1: silent */
    } fields[] = {
        {"embed_dim or num_features", stated->dim ? stated->dim : -1, config->dim},
        {"depth", stated->depth ? stated->depth : -1, config->depth},
        {"patch_size", stated->patch ? stated->patch : -1, config->patch},
        {"img_size", stated->image_width ? stated->image_width : -1, config->image_width},
        {"img_size", stated->image_height ? stated->image_height : -1, config->image_height},
        {"num_classes", stated->classes && has_head ? stated->classes : -1, config->classes},
        {"mlp_ratio times the width",
         stated->mlp_ratio > 0 ? (int)(config->dim * stated->mlp_ratio) : -1, config->mlp},
        {"qkv_bias", stated->qkv_bias, config->qkv_bias},
        {"init_values (layer scale)", stated->layer_scale, config->layer_scale}};
    if (!stated->found)
        return DVIT_OK;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (fields[i].stated >= 0 && fields[i].stated != fields[i].got)
            return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                                  "%s: %s is %d, but the tensors are of a model with %d", file_name,
                                  fields[i].key, fields[i].stated, fields[i].got);
    if (strcmp(stated->pool, "avg") == 0 && !config->mean_pool)
        return dvit_error_set(
            error, DVIT_ERROR_UNSUPPORTED,
            "%s: global_pool is \"avg\", and the tensors have \"norm.weight\": the "
            "mean of normed patches is not computed, only the norm of their mean "
            "(\"fc_norm.weight\")",
            file_name);
    if (strcmp(stated->pool, "token") == 0 && config->mean_pool)
        return dvit_error_set(
            error, DVIT_ERROR_UNSUPPORTED,
            "%s: global_pool is \"token\", but the tensors have "
            "\"fc_norm.weight\", which dvit reads as the norm of a mean of patches",
            file_name);
    return DVIT_OK;
}
