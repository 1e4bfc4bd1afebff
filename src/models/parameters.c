/* The parameter table of ViT/DeiT and of the prediction modules, in the order of published
 * checkpoints. */
#include "models/parameters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows of the tables below: a size is one of these letters of the configuration. */
enum size { NONE_, C, C3, M, K, C_2, C_4, TWO };

struct row {
    const char *name;
    enum size shape[2];
    enum dvit_initial initial;
};

static const struct row block_rows[] = {
    {"norm1.weight", {C}, DVIT_INITIAL_ONE},
    {"norm1.bias", {C}, DVIT_INITIAL_ZERO},
    {"attn.qkv.weight", {C3, C}, DVIT_INITIAL_TRUNCATED_NORMAL},
    {"attn.qkv.bias", {C3}, DVIT_INITIAL_ZERO},
    {"attn.proj.weight", {C, C}, DVIT_INITIAL_TRUNCATED_NORMAL},
    {"attn.proj.bias", {C}, DVIT_INITIAL_ZERO},
    {"norm2.weight", {C}, DVIT_INITIAL_ONE},
    {"norm2.bias", {C}, DVIT_INITIAL_ZERO},
    {"mlp.fc1.weight", {M, C}, DVIT_INITIAL_TRUNCATED_NORMAL},
    {"mlp.fc1.bias", {M}, DVIT_INITIAL_ZERO},
    {"mlp.fc2.weight", {C, M}, DVIT_INITIAL_TRUNCATED_NORMAL},
    {"mlp.fc2.bias", {C}, DVIT_INITIAL_ZERO},
};

static const struct row head_rows[] = {
    {"head.weight", {K, C}, DVIT_INITIAL_TRUNCATED_NORMAL},
    {"head.bias", {K}, DVIT_INITIAL_ZERO},
};

static const struct row norm_rows[] = {
    {"norm.weight", {C}, DVIT_INITIAL_ONE},
    {"norm.bias", {C}, DVIT_INITIAL_ZERO},
};

static const struct row predictor_rows[] = {
    {"in_conv.0.weight", {C}, DVIT_INITIAL_ONE},
    {"in_conv.0.bias", {C}, DVIT_INITIAL_ZERO},
    {"in_conv.1.weight", {C, C}, DVIT_INITIAL_TRUNCATED_NORMAL},
    {"in_conv.1.bias", {C}, DVIT_INITIAL_ZERO},
    {"out_conv.0.weight", {C_2, C}, DVIT_INITIAL_TRUNCATED_NORMAL},
    {"out_conv.0.bias", {C_2}, DVIT_INITIAL_ZERO},
    {"out_conv.2.weight", {C_4, C_2}, DVIT_INITIAL_TRUNCATED_NORMAL},
    {"out_conv.2.bias", {C_4}, DVIT_INITIAL_ZERO},
    {"out_conv.4.weight", {TWO, C_4}, DVIT_INITIAL_TRUNCATED_NORMAL},
    {"out_conv.4.bias", {TWO}, DVIT_INITIAL_ZERO},
};

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static size_t size_of(enum size size, const struct dvit_config *config)
{
    switch (size) {
    case C:
        return (size_t)config->dim;
    case C3:
        return 3 * (size_t)config->dim;
    case M:
        return (size_t)config->mlp;
    case K:
        return (size_t)config->classes;
    case C_2:
        return (size_t)config->dim / 2;
    case C_4:
        return (size_t)config->dim / 4;
    case TWO:
        return 2;
    case NONE_:
        break;
    }
    return 0;
}

static struct dvit_parameter *append(struct dvit_parameters *p, enum dvit_parameter_group group,
                                     enum dvit_initial initial, int rank, const size_t *shape)
{
    struct dvit_parameter *item = &p->items[p->count++];
    *item = (struct dvit_parameter){.rank = rank, .initial = initial, .group = group};
    item->count = 1;
    for (int i = 0; i < rank; i++) {
        item->shape[i] = shape[i];
        item->count *= shape[i];
    }
    item->decays = rank > 1 && group != DVIT_GROUP_EMBEDDING;
    item->offset = p->floats;
    p->total += item->count;
    p->floats += (item->count + 15) / 16 * 16;
    return item;
}

static void append_rows(struct dvit_parameters *p, const struct dvit_config *config,
                        enum dvit_parameter_group group, const struct row *rows, size_t count,
                        const char *prefix, int index)
{
    for (size_t i = 0; i < count; i++) {
        size_t shape[2] = {size_of(rows[i].shape[0], config), size_of(rows[i].shape[1], config)};
        int rank = rows[i].shape[1] == NONE_ ? 1 : 2;
        struct dvit_parameter *item = append(p, group, rows[i].initial, rank, shape);
        if (index >= 0)
            snprintf(item->name, sizeof item->name, "%s.%d.%s", prefix, index, rows[i].name);
        else
            snprintf(item->name, sizeof item->name, "%s", rows[i].name);
    }
}

static void append_embedding(struct dvit_parameters *p, const struct dvit_config *config)
{
    size_t dim = (size_t)config->dim, patch = (size_t)config->patch;
    size_t tokens = (size_t)dvit_config_patches(config) + 1;
    struct dvit_parameter *item;
    item = append(p, DVIT_GROUP_EMBEDDING, DVIT_INITIAL_TRUNCATED_NORMAL, 3, (size_t[]){1, 1, dim});
    snprintf(item->name, sizeof item->name, "cls_token");
    item = append(p, DVIT_GROUP_EMBEDDING, DVIT_INITIAL_TRUNCATED_NORMAL, 3,
                  (size_t[]){1, tokens, dim});
    snprintf(item->name, sizeof item->name, "pos_embed");
    item = append(p, DVIT_GROUP_BACKBONE, DVIT_INITIAL_TRUNCATED_NORMAL, 4,
                  (size_t[]){dim, 3, patch, patch});
    snprintf(item->name, sizeof item->name, "patch_embed.proj.weight");
    item = append(p, DVIT_GROUP_BACKBONE, DVIT_INITIAL_ZERO, 1, (size_t[]){dim});
    snprintf(item->name, sizeof item->name, "patch_embed.proj.bias");
}

enum dvit_status dvit_parameters_create(struct dvit_parameters *out,
                                        const struct dvit_config *config, struct dvit_error *error)
{
    size_t count = 4 + (size_t)config->depth * COUNT(block_rows) + COUNT(norm_rows) +
                   COUNT(head_rows) + (size_t)config->stages * COUNT(predictor_rows);
    *out = (struct dvit_parameters){.items = calloc(count, sizeof *out->items)};
    if (!out->items)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "parameter table: out of memory");
    append_embedding(out, config);
    for (int i = 0; i < config->depth; i++)
        append_rows(out, config, DVIT_GROUP_BACKBONE, block_rows, COUNT(block_rows), "blocks", i);
    append_rows(out, config, DVIT_GROUP_BACKBONE, norm_rows, COUNT(norm_rows), NULL, -1);
    append_rows(out, config, DVIT_GROUP_HEAD, head_rows, COUNT(head_rows), NULL, -1);
    for (int s = 0; s < config->stages; s++)
        append_rows(out, config, DVIT_GROUP_PREDICTOR, predictor_rows, COUNT(predictor_rows),
                    "score_predictor", s);
    return DVIT_OK;
}

void dvit_parameters_free(struct dvit_parameters *parameters)
{
    free(parameters->items);
    *parameters = (struct dvit_parameters){0};
}

int dvit_parameters_find(const struct dvit_parameters *parameters, const char *name)
{
    for (size_t i = 0; i < parameters->count; i++)
        if (strcmp(parameters->items[i].name, name) == 0)
            return (int)i;
    return -1;
}
