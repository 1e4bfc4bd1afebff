/* Model configurations: presets, "vit:key=value" texts, bounds, and the arithmetic of keep ratios.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "dvit/config.h"
#include "models/presets.h"
#include "models/traits.h"

void dvit_config_make_lvvit(struct dvit_config *config, int stem_width)
{
    config->stem_width = stem_width;
    config->norm_eps = 1e-5f;
    config->qkv_bias = false;
    config->aux_head = true;
}

static struct dvit_config from_preset(const struct dvit_preset *preset)
{
    struct dvit_config config = {
        .image_width = preset->image,
        .image_height = preset->image,
        .patch = preset->patch,
        .dim = preset->dim,
        .depth = preset->depth,
        .heads = preset->heads,
        .mlp = preset->mlp,
        .classes = preset->classes,
        .norm_eps = 1e-6f,
        .skip_lam = preset->skip_lam,
        .qkv_bias = true,
        .distilled = preset->distilled,
        .keep = 1.0,
    };
    if (preset->stem_width)
        dvit_config_make_lvvit(&config, preset->stem_width);
    snprintf(config.name, sizeof config.name, "%s", preset->name);
    return config;
}

static const struct dvit_preset *find_preset(const char *name)
{
    size_t i = 0;
    while (dvit_preset_get(i) && strcmp(name, dvit_preset_get(i)->name) != 0)
        i++;
    return dvit_preset_get(i);
}

const char *dvit_config_preset_name(size_t index)
{
    const struct dvit_preset *preset = dvit_preset_get(index);
    return preset ? preset->name : NULL;
}

/* Edit distance of two short names (two rows of the table). */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[65], length = strlen(b);
    if (length > 64 || strlen(a) > 64)
        return 64;
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t replace = diagonal + (a[i - 1] != b[j - 1]);
            size_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replace < other ? replace : other;
        }
    }
    return row[length];
}

static const char *nearest_preset(const char *text)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    for (size_t i = 0; dvit_config_preset_name(i); i++) {
        size_t distance = edit_distance(text, dvit_config_preset_name(i));
        if (distance < best_distance) {
            best_distance = distance;
            best = dvit_config_preset_name(i);
        }
    }
    return best;
}

/* The whole numbers that a "vit:" text may set. */
static const struct field {
    const char *key;
    size_t offset;
} fields[] = {
    {"dim", offsetof(struct dvit_config, dim)},
    {"depth", offsetof(struct dvit_config, depth)},
    {"heads", offsetof(struct dvit_config, heads)},
    {"mlp", offsetof(struct dvit_config, mlp)},
    {"patch", offsetof(struct dvit_config, patch)},
    {"classes", offsetof(struct dvit_config, classes)},
    {"width", offsetof(struct dvit_config, image_width)},
    {"height", offsetof(struct dvit_config, image_height)},
    {"stem_width", offsetof(struct dvit_config, stem_width)},
};

/* The traits that it may set to 0 or 1. */
static const struct field traits[] = {
    {"distilled", offsetof(struct dvit_config, distilled)},
    {"one_head", offsetof(struct dvit_config, one_head)},
    {"layer_scale", offsetof(struct dvit_config, layer_scale)},
    {"mean_pool", offsetof(struct dvit_config, mean_pool)},
};

static enum dvit_status set_trait(struct dvit_config *config, const struct field *trait,
                                  const char *value, struct dvit_error *error)
{
    if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "model text: %s is \"%s\", expected 0 or 1", trait->key, value);
    *(bool *)((char *)config + trait->offset) = *value == '1';
    return DVIT_OK;
}

static const char *const pruning_names[] = {
    [DVIT_PRUNING_LEARNED] = "learned", [DVIT_PRUNING_STATIC] = "static",
    [DVIT_PRUNING_RANDOM] = "random",   [DVIT_PRUNING_ATTENTION] = "attention",
    [DVIT_PRUNING_POOL] = "pool",
};

const char *dvit_pruning_name(enum dvit_pruning pruning)
{
    bool known = (unsigned)pruning < sizeof pruning_names / sizeof *pruning_names;
    return known ? pruning_names[pruning] : "unknown";
}

enum dvit_status dvit_pruning_parse(const char *name, enum dvit_pruning *out,
                                    struct dvit_error *error)
{
    DVIT_REQUIRE(error, name, out);
    for (size_t i = 0; i < sizeof pruning_names / sizeof *pruning_names; i++)
        if (strcmp(name, pruning_names[i]) == 0) {
            *out = (enum dvit_pruning)i;
            return DVIT_OK;
        }
    return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                          "pruning is \"%.40s\", expected learned, static, random, attention or "
                          "pool",
                          name);
}

static enum dvit_status set_field(struct dvit_config *config, char *key, struct dvit_error *error)
{
    char *value = strchr(key, '=');
    if (!value)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "model text: \"%s\" has no value, expected key=number", key);
    *value++ = 0;
    char *end;
    long number = strtol(value, &end, 10);
    for (size_t i = 0; i < sizeof traits / sizeof *traits; i++)
        if (strcmp(key, traits[i].key) == 0)
            return set_trait(config, &traits[i], value, error);
    if (strcmp(key, "pruning") == 0)
        return dvit_pruning_parse(value, &config->pruning, error);
    if (end == value || *end || number < 1 || number > INT_MAX / 4)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "model text: %s is \"%s\", expected a positive whole number", key,
                              value);
    if (strcmp(key, "image") == 0) {
        config->image_width = config->image_height = (int)number;
        return DVIT_OK;
    }
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(key, fields[i].key) == 0) {
            *(int *)(void *)((char *)config + fields[i].offset) = (int)number;
            return DVIT_OK;
        }
    return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                          "model text: unknown key \"%s\", expected dim, depth, heads, mlp, patch, "
                          "image, width, height, classes, stem_width, distilled, one_head, "
                          "layer_scale, mean_pool or pruning",
                          key);
}

enum { MAX_KEYS = 32 }; /* more than there are */

/* image is width and height at once. */
static bool say_the_same(const char *a, const char *b)
{
    bool a_side = strcmp(a, "width") == 0 || strcmp(a, "height") == 0;
    bool b_side = strcmp(b, "width") == 0 || strcmp(b, "height") == 0;
    return strcmp(a, b) == 0 || (strcmp(a, "image") == 0 && b_side) ||
           (strcmp(b, "image") == 0 && a_side);
}

static enum dvit_status check_new(const char *key, const char *const *seen, int count,
                                  struct dvit_error *error)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(seen[i], key) == 0)
            return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "model text: %s is given twice", key);
        if (say_the_same(seen[i], key))
            return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                                  "model text: %s and %s are given, expected one of them", seen[i],
                                  key);
    }
    return DVIT_OK;
}

/* "vit:" starts from deit-t's values where the text is silent, "lvvit:" from lvvit-s's. */
static enum dvit_status parse_fields(const char *family, int mlp_ratio, const char *text,
                                     struct dvit_config *config, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    char *copy = strdup(text);
    if (!copy)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "model text: out of memory");
    *config = from_preset(find_preset(strcmp(family, "vit") == 0 ? "deit-t" : "lvvit-s"));
    snprintf(config->name, sizeof config->name, "%s", family);
    config->mlp = 0;
    char *rest = NULL;
    const char *seen[MAX_KEYS];
    int count = 0;
    for (char *key = strtok_r(copy, ",", &rest); key; key = strtok_r(NULL, ",", &rest)) {
        DVIT_TRY(set_field(config, key, error)); /* ends the key where its value begins */
        DVIT_TRY(check_new(key, seen, count, error));
        if (count < MAX_KEYS)
            seen[count++] = key;
    }
    if (!config->mlp)
        config->mlp = mlp_ratio * config->dim;
done:
    free(copy);
    return status;
}

enum dvit_status dvit_config_parse(const char *text, struct dvit_config *config,
                                   struct dvit_error *error)
{
    DVIT_REQUIRE(error, text, config);
    bool vit = strncmp(text, "vit:", 4) == 0, lvvit = strncmp(text, "lvvit:", 6) == 0;
    if (vit || lvvit) {
        enum dvit_status status = vit ? parse_fields("vit", 4, text + 4, config, error)
                                      : parse_fields("lvvit", 3, text + 6, config, error);
        return status == DVIT_OK ? dvit_config_check(config, error) : status;
    }
    const struct dvit_preset *preset = find_preset(text);
    if (preset) {
        *config = from_preset(preset);
        return DVIT_OK;
    }
    if (dvit_preset_alias(text))
        return dvit_error_set(
            error, DVIT_ERROR_NOT_FOUND,
            "\"%.100s\" is another library's name; its shape is \"%s\" here, with "
            "random weights; trained ones are named by their file",
            text, dvit_preset_alias(text));
    return dvit_error_set(error, DVIT_ERROR_NOT_FOUND,
                          "unknown model \"%.100s\"; the nearest preset is \"%s\"; other shapes: "
                          "vit:dim=192,depth=6,heads=3,patch=4,image=32,classes=10",
                          text, nearest_preset(text));
}

void dvit_config_add_stages(struct dvit_config *config, int stages, double keep)
{
    if (!config)
        return;
    config->stages = stages;
    config->keep = keep;
    for (int s = 1; s <= stages && s <= DVIT_MAX_STAGES; s++)
        config->stage_block[s - 1] = (int)((long long)config->depth * s / (stages + 1LL));
}

static enum dvit_status check_range(const char *field, long value, long low, long high,
                                    struct dvit_error *error)
{
    if (value >= low && value <= high)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "model: %s is %ld, expected %ld to %ld",
                          field, value, low, high);
}

/* Pooling again and again halves both sides of the grid. */
static enum dvit_status check_pooling(const struct dvit_config *c, struct dvit_error *error)
{
    int wide = c->image_width / c->patch, high = c->image_height / c->patch;
    int side = 1 << c->stages;
    if (wide % side || high % side)
        return dvit_error_set(
            error, DVIT_ERROR_ARGUMENT,
            "model: %d × %d patches cannot be pooled %d times, expected multiples "
            "of %d",
            wide, high, c->stages, side);
    return DVIT_OK;
}

/* What the kinds of pruning ask of the rest of the model. */
static enum dvit_status check_pruning(const struct dvit_config *c, struct dvit_error *error)
{
    if (c->pruning == DVIT_PRUNING_ATTENTION && c->mean_pool)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "model: pruning by the class token's attention, but nothing reads "
                              "that token: the head reads the mean of the patches");
    if (c->pruning == DVIT_PRUNING_ATTENTION && c->stages && c->stage_block[0] == 0)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "model: stage 1 prunes before block 0, but there is no attention "
                              "before it to prune by");
    return c->pruning == DVIT_PRUNING_POOL ? check_pooling(c, error) : DVIT_OK;
}

enum dvit_status dvit_config_check_keep(const struct dvit_config *c, double keep,
                                        struct dvit_error *error)
{
    DVIT_REQUIRE_AS(error, "config", c);
    if (!(keep > 0 && keep <= 1))
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "keep is %g, expected above 0 up to 1",
                              keep);
    if (c->stages && c->pruning == DVIT_PRUNING_POOL && keep < 1 && keep != DVIT_POOL_KEEP)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "keep is %g, but the model \"%s\" pools its patches: expected %g, "
                              "or 1 for the dense path",
                              keep, c->name, DVIT_POOL_KEEP);
    return DVIT_OK;
}

static enum dvit_status check_stages(const struct dvit_config *c, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    DVIT_TRY(check_range("stages", c->stages, 0, DVIT_MAX_STAGES, error));
    for (int s = 0; s < c->stages; s++) {
        int after = s ? c->stage_block[s - 1] + 1 : 0;
        if (c->stage_block[s] < after || c->stage_block[s] >= c->depth)
            DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                      "model: stage %d prunes before block %d, expected %d to %d", s + 1,
                      c->stage_block[s], after, c->depth - 1);
    }
    if (c->stages && c->dim % 4 != 0)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "model: dim is %d, pruning stages need a multiple of 4", c->dim);
    if (!(c->keep > 0 && c->keep <= 1))
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "model: keep is %g, expected above 0 up to 1",
                  c->keep);
    DVIT_TRY(dvit_config_check_keep(c, c->keep, error));
    DVIT_TRY(check_pruning(c, error));
done:
    return status;
}

/* The stem halves the image before it cuts patches of half the side. */
static enum dvit_status check_stem(const struct dvit_config *c, struct dvit_error *error)
{
    if (c->stem_width && c->patch % 2 != 0)
        return dvit_error_set(
            error, DVIT_ERROR_ARGUMENT,
            "model: patch is %d pixels, a convolutional stem needs an even number", c->patch);
    return check_range("stem_width", c->stem_width, 0, DVIT_MAX_STEM_WIDTH, error);
}

/* One rule of how logits are made at a time. */
static enum dvit_status check_head(const struct dvit_config *c, struct dvit_error *error)
{
    if (c->distilled + c->mean_pool + c->aux_head > 1)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "model: a distillation head, a head on the mean of the patches and "
                              "an auxiliary head exclude each other");
    if (c->one_head && !c->distilled)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "model: one_head is of distilled models, which have two otherwise");
    return DVIT_OK;
}

enum dvit_status dvit_config_check(const struct dvit_config *c, struct dvit_error *error)
{
    DVIT_REQUIRE_AS(error, "config", c);
    enum dvit_status status = DVIT_OK;
    if (!memchr(c->name, 0, sizeof c->name))
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "model: the name has no end within %zu bytes",
                  sizeof c->name);
    if ((unsigned)c->pruning >= sizeof pruning_names / sizeof *pruning_names)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "model: pruning is %d, expected 0 to %zu",
                  (int)c->pruning, sizeof pruning_names / sizeof *pruning_names - 1);
    DVIT_TRY(check_range("image width", c->image_width, 1, DVIT_MAX_IMAGE_SIDE, error));
    DVIT_TRY(check_range("image height", c->image_height, 1, DVIT_MAX_IMAGE_SIDE, error));
    DVIT_TRY(check_range("patch", c->patch, 1, DVIT_MAX_IMAGE_SIDE, error));
    DVIT_TRY(check_range("dim", c->dim, 1, DVIT_MAX_DIM, error));
    DVIT_TRY(check_range("depth", c->depth, 1, DVIT_MAX_DEPTH, error));
    DVIT_TRY(check_range("heads", c->heads, 1, c->dim, error));
    DVIT_TRY(check_range("mlp", c->mlp, 1, 8 * DVIT_MAX_DIM, error));
    DVIT_TRY(check_range("classes", c->classes, 1, DVIT_MAX_CLASSES, error));
    if (c->dim % c->heads != 0)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "model: dim %d is not a multiple of heads %d", c->dim,
                  c->heads);
    if (c->image_width % c->patch != 0 || c->image_height % c->patch != 0)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "model: image %d × %d is not a multiple of the patch, %d pixels", c->image_width,
                  c->image_height, c->patch);
    DVIT_TRY(check_range("patches", dvit_config_patches(c), 1, DVIT_MAX_PATCHES, error));
    if (!(c->norm_eps > 0 && c->norm_eps < 1))
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "model: norm_eps is %g, expected between 0 and 1",
                  (double)c->norm_eps);
    if (!(c->skip_lam > 0 && c->skip_lam <= 1000))
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "model: skip_lam is %g, expected above 0 up to 1000",
                  (double)c->skip_lam);
    DVIT_TRY(check_stem(c, error));
    DVIT_TRY(check_head(c, error));
    DVIT_TRY(check_stages(c, error));
done:
    return status;
}

int dvit_config_prefix(const struct dvit_config *config)
{
    if (!config)
        return 0;
    return config->distilled ? 2 : 1;
}

int dvit_config_patches(const struct dvit_config *config)
{
    if (!config || config->patch < 1 || config->image_width < 0 || config->image_height < 0)
        return 0;
    long long patches =
        (long long)(config->image_width / config->patch) * (config->image_height / config->patch);
    return patches > INT_MAX ? INT_MAX : (int)patches;
}

/* pow and truncation in double, as the reference computes them: exact floor arithmetic and repeated
 * products give other counts at some grids. */
int dvit_config_kept(const struct dvit_config *config, double keep, int stage)
{
    int patches = dvit_config_patches(config);
    double kept = patches * pow(keep, stage + 1.0);
    if (!(kept > 1)) /* NaN too */
        return patches > 0;
    return kept < patches ? (int)kept : patches;
}
