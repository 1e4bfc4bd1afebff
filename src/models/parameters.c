/* The parameter table, in the order and with the names of published checkpoints. What a model has
 * besides the common rows follows from its configuration's traits. */
#include "models/parameters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A dimension is one of these numbers or letters of the configuration. */
enum size {
    END,
    ONE,
    TWO,
    THREE,
    SEVEN,
    C,
    C3,
    C_2,
    C_4,
    M,
    K,
    TOKENS,
    PATCHES,
    PATCH,
    HALF_PATCH,
    STEM
};

/* Which models have a row. */
enum when {
    ALWAYS,
    PLAIN_STEM,
    CONVOLUTION_STEM,
    QKV_BIAS,
    LAYER_SCALE,
    DISTILLED,
    TWO_HEADS,
    CLASS_POOL,
    MEAN_POOL,
    AUX_HEAD,
    LEARNED,
    STATIC,
};

struct row {
    const char *name;
    enum size shape[4];
    enum dvit_initial initial;
    enum dvit_parameter_group group;
    enum when when;
};

#define NORMAL         DVIT_INITIAL_TRUNCATED_NORMAL
#define WEIGHT_OF_NORM DVIT_INITIAL_ONE
#define BACKBONE       DVIT_GROUP_BACKBONE

static const struct row first_rows[] = {
    {"cls_token", {ONE, ONE, C}, NORMAL, DVIT_GROUP_EMBEDDING, ALWAYS},
    {"dist_token", {ONE, ONE, C}, NORMAL, DVIT_GROUP_EMBEDDING, DISTILLED},
    {"pos_embed", {ONE, TOKENS, C}, NORMAL, DVIT_GROUP_EMBEDDING, ALWAYS},
    {"patch_embed.proj.weight", {C, THREE, PATCH, PATCH}, NORMAL, BACKBONE, PLAIN_STEM},
    {"patch_embed.conv1.weight", {STEM, THREE, SEVEN, SEVEN}, NORMAL, BACKBONE, CONVOLUTION_STEM},
    {"patch_embed.conv2.weight", {STEM, STEM, THREE, THREE}, NORMAL, BACKBONE, CONVOLUTION_STEM},
    {"patch_embed.conv3.weight", {STEM, STEM, THREE, THREE}, NORMAL, BACKBONE, CONVOLUTION_STEM},
    {"patch_embed.proj.weight",
     {C, STEM, HALF_PATCH, HALF_PATCH},
     NORMAL,
     BACKBONE,
     CONVOLUTION_STEM},
    {"patch_embed.proj.bias", {C}, DVIT_INITIAL_ZERO, BACKBONE, ALWAYS},
};

static const struct row batch_norm_rows[] = {
    {"weight", {STEM}, WEIGHT_OF_NORM, BACKBONE, CONVOLUTION_STEM},
    {"bias", {STEM}, DVIT_INITIAL_ZERO, BACKBONE, CONVOLUTION_STEM},
    {"running_mean", {STEM}, DVIT_INITIAL_ZERO, DVIT_GROUP_STATISTICS, CONVOLUTION_STEM},
    {"running_var", {STEM}, DVIT_INITIAL_ONE, DVIT_GROUP_STATISTICS, CONVOLUTION_STEM},
};

static const struct row block_rows[] = {
    {"norm1.weight", {C}, WEIGHT_OF_NORM, BACKBONE, ALWAYS},
    {"norm1.bias", {C}, DVIT_INITIAL_ZERO, BACKBONE, ALWAYS},
    {"attn.qkv.weight", {C3, C}, NORMAL, BACKBONE, ALWAYS},
    {"attn.qkv.bias", {C3}, DVIT_INITIAL_ZERO, BACKBONE, QKV_BIAS},
    {"attn.proj.weight", {C, C}, NORMAL, BACKBONE, ALWAYS},
    {"attn.proj.bias", {C}, DVIT_INITIAL_ZERO, BACKBONE, ALWAYS},
    {"ls1.gamma", {C}, DVIT_INITIAL_SMALL, BACKBONE, LAYER_SCALE},
    {"norm2.weight", {C}, WEIGHT_OF_NORM, BACKBONE, ALWAYS},
    {"norm2.bias", {C}, DVIT_INITIAL_ZERO, BACKBONE, ALWAYS},
    {"mlp.fc1.weight", {M, C}, NORMAL, BACKBONE, ALWAYS},
    {"mlp.fc1.bias", {M}, DVIT_INITIAL_ZERO, BACKBONE, ALWAYS},
    {"mlp.fc2.weight", {C, M}, NORMAL, BACKBONE, ALWAYS},
    {"mlp.fc2.bias", {C}, DVIT_INITIAL_ZERO, BACKBONE, ALWAYS},
    {"ls2.gamma", {C}, DVIT_INITIAL_SMALL, BACKBONE, LAYER_SCALE},
};

static const struct row last_rows[] = {
    {"norm.weight", {C}, WEIGHT_OF_NORM, BACKBONE, CLASS_POOL},
    {"norm.bias", {C}, DVIT_INITIAL_ZERO, BACKBONE, CLASS_POOL},
    {"fc_norm.weight", {C}, WEIGHT_OF_NORM, BACKBONE, MEAN_POOL},
    {"fc_norm.bias", {C}, DVIT_INITIAL_ZERO, BACKBONE, MEAN_POOL},
    {"head.weight", {K, C}, NORMAL, DVIT_GROUP_HEAD, ALWAYS},
    {"head.bias", {K}, DVIT_INITIAL_ZERO, DVIT_GROUP_HEAD, ALWAYS},
    {"head_dist.weight", {K, C}, NORMAL, DVIT_GROUP_HEAD, TWO_HEADS},
    {"head_dist.bias", {K}, DVIT_INITIAL_ZERO, DVIT_GROUP_HEAD, TWO_HEADS},
    {"aux_head.weight", {K, C}, NORMAL, DVIT_GROUP_HEAD, AUX_HEAD},
    {"aux_head.bias", {K}, DVIT_INITIAL_ZERO, DVIT_GROUP_HEAD, AUX_HEAD},
};

static const struct row predictor_rows[] = {
    {"in_conv.0.weight", {C}, WEIGHT_OF_NORM, DVIT_GROUP_PREDICTOR, LEARNED},
    {"in_conv.0.bias", {C}, DVIT_INITIAL_ZERO, DVIT_GROUP_PREDICTOR, LEARNED},
    {"in_conv.1.weight", {C, C}, NORMAL, DVIT_GROUP_PREDICTOR, LEARNED},
    {"in_conv.1.bias", {C}, DVIT_INITIAL_ZERO, DVIT_GROUP_PREDICTOR, LEARNED},
    {"out_conv.0.weight", {C_2, C}, NORMAL, DVIT_GROUP_PREDICTOR, LEARNED},
    {"out_conv.0.bias", {C_2}, DVIT_INITIAL_ZERO, DVIT_GROUP_PREDICTOR, LEARNED},
    {"out_conv.2.weight", {C_4, C_2}, NORMAL, DVIT_GROUP_PREDICTOR, LEARNED},
    {"out_conv.2.bias", {C_4}, DVIT_INITIAL_ZERO, DVIT_GROUP_PREDICTOR, LEARNED},
    {"out_conv.4.weight", {TWO, C_4}, NORMAL, DVIT_GROUP_PREDICTOR, LEARNED},
    {"out_conv.4.bias", {TWO}, DVIT_INITIAL_ZERO, DVIT_GROUP_PREDICTOR, LEARNED},
    {"places", {PATCHES, TWO}, NORMAL, DVIT_GROUP_PREDICTOR, STATIC},
};

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static bool has(const struct dvit_config *c, enum when when)
{
    switch (when) {
    case PLAIN_STEM:
        return c->stem_width == 0;
    case CONVOLUTION_STEM:
        return c->stem_width > 0;
    case QKV_BIAS:
        return c->qkv_bias;
    case LAYER_SCALE:
        return c->layer_scale;
    case DISTILLED:
        return c->distilled;
    case TWO_HEADS:
        return c->distilled && !c->one_head;
    case CLASS_POOL:
        return !c->mean_pool;
    case MEAN_POOL:
        return c->mean_pool;
    case AUX_HEAD:
        return c->aux_head;
    case LEARNED:
        return c->pruning == DVIT_PRUNING_LEARNED;
    case STATIC:
        return c->pruning == DVIT_PRUNING_STATIC;
    case ALWAYS:
        break;
    }
    return true;
}

static size_t size_of(const struct dvit_config *c, enum size size)
{
    const int sizes[] = {
        [END] = 0,
        [ONE] = 1,
        [TWO] = 2,
        [THREE] = 3,
        [SEVEN] = 7,
        [C] = c->dim,
        [C3] = 3 * c->dim,
        [C_2] = c->dim / 2,
        [C_4] = c->dim / 4,
        [M] = c->mlp,
        [K] = c->classes,
        [TOKENS] = dvit_config_patches(c) + dvit_config_prefix(c),
        [PATCHES] = dvit_config_patches(c),
        [PATCH] = c->patch,
        [HALF_PATCH] = c->patch / 2,
        [STEM] = c->stem_width,
    };
    return (size_t)sizes[size];
}

/* The table being filled: first only counted, then written. */
struct filling {
    const struct dvit_config *config;
    struct dvit_parameters *table;
    bool counting;
    int layer; /* of the rows being appended */
};

static void append(struct filling *f, const struct row *row, const char *prefix, int index)
{
    struct dvit_parameters *table = f->table;
    size_t position = table->count++;
    if (f->counting)
        return;
    struct dvit_parameter *item = &table->items[position];
    *item = (struct dvit_parameter){
        .initial = row->initial,
        .group = row->group,
        .layer = f->layer,
        .count = 1,
        .offset = table->floats,
    };
    for (; item->rank < 4 && row->shape[item->rank] != END; item->rank++) {
        enum size size = row->shape[item->rank];
        item->shape[item->rank] = size_of(f->config, size);
        item->on_grid = item->on_grid || size == TOKENS || size == PATCHES;
        item->count *= item->shape[item->rank];
    }
    if (index >= 0)
        snprintf(item->name, sizeof item->name, "%s%d.%s", prefix, index, row->name);
    else
        snprintf(item->name, sizeof item->name, "%s", row->name);
    item->decays = item->rank > 1 && item->group != DVIT_GROUP_EMBEDDING;
    table->floats += (item->count + 15) / 16 * 16;
    if (item->group != DVIT_GROUP_STATISTICS)
        table->total += item->count;
}

/* Rows that the model has, named "<prefix><index>.<name>", or "<name>" where index is negative. */
static void append_rows(struct filling *f, const struct row *rows, size_t count, const char *prefix,
                        int index)
{
    for (size_t i = 0; i < count; i++)
        if (has(f->config, rows[i].when))
            append(f, &rows[i], prefix, index);
}

static void fill(struct filling *f)
{
    f->table->count = 0;
    f->layer = 0;
    append_rows(f, first_rows, COUNT(first_rows), NULL, -1);
    for (int i = 1; i <= 3; i++)
        append_rows(f, batch_norm_rows, COUNT(batch_norm_rows), "patch_embed.bn", i);
    for (int i = 0; i < f->config->depth; i++) {
        f->layer = i + 1;
        append_rows(f, block_rows, COUNT(block_rows), "blocks.", i);
    }
    f->layer = f->config->depth + 1;
    append_rows(f, last_rows, COUNT(last_rows), NULL, -1);
    for (int s = 0; s < f->config->stages; s++)
        append_rows(f, predictor_rows, COUNT(predictor_rows), "score_predictor.", s);
}

enum dvit_status dvit_parameters_create(struct dvit_parameters *out,
                                        const struct dvit_config *config, struct dvit_error *error)
{
    struct filling filling = {config, out, .counting = true};
    *out = (struct dvit_parameters){0};
    fill(&filling);
    out->items = calloc(out->count, sizeof *out->items);
    if (!out->items)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "parameter table: out of memory");
    filling.counting = false;
    fill(&filling);
    return DVIT_OK;
}

void dvit_parameters_free(struct dvit_parameters *parameters)
{
    free(parameters->items);
    *parameters = (struct dvit_parameters){0};
}

bool dvit_parameter_is_quantisable(const struct dvit_parameters *parameters, size_t index)
{
    const struct dvit_parameter *item = &parameters->items[index];
    int after = parameters->items[parameters->count - 1].layer;
    bool of_block = item->rank == 2 && item->layer > 0 && item->layer < after;
    bool of_stem = strncmp(item->name, "patch_embed.", 12) == 0 && item->rank == 4;
    bool of_predictor = strstr(item->name, ".in_conv.1.weight") != NULL;
    return of_block || of_stem || of_predictor;
}

int dvit_parameters_find(const struct dvit_parameters *parameters, const char *name)
{
    for (size_t i = 0; i < parameters->count; i++)
        if (strcmp(parameters->items[i].name, name) == 0)
            return (int)i;
    return -1;
}
