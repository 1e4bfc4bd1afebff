/* Models: creation, copying, initialisation, access. Files are weights/model_file.c. */
#define _GNU_SOURCE
#include "models/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/utf8.h"

static enum dvit_status number_labels(struct dvit_model *model, struct dvit_error *error)
{
    size_t classes = (size_t)model->config.classes;
    model->labels = calloc(classes + 1, sizeof *model->labels);
    for (size_t k = 0; model->labels && k < classes; k++)
        if (asprintf(&model->labels[k], "%zu", k) < 0) {
            model->labels[k] = NULL;
            return dvit_error_set(error, DVIT_ERROR_MEMORY, "labels: out of memory");
        }
    return model->labels ? DVIT_OK
                         : dvit_error_set(error, DVIT_ERROR_MEMORY, "labels: out of memory");
}

enum dvit_status dvit_model_allocate(struct dvit_model **out, const struct dvit_config *config,
                                     struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_model *model = NULL;
    *out = NULL;
    DVIT_TRY(dvit_config_check(config, error));
    model = calloc(1, sizeof *model);
    if (!model)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "model: out of memory");
    model->config = *config;
    DVIT_TRY(dvit_preprocess_preset("dynamicvit", config->image_width, config->image_height,
                                    &model->preprocess, error));
    DVIT_TRY(dvit_parameters_create(&model->parameters, config, error));
    DVIT_TRY(number_labels(model, error));
    dvit_arena_take(&model->arena, model->parameters.floats, sizeof *model->weights);
    dvit_arena_take(&model->arena, model->parameters.count, sizeof *model->inputs);
    DVIT_TRY(dvit_arena_commit(&model->arena, "weights", error));
    model->weights =
        dvit_arena_take(&model->arena, model->parameters.floats, sizeof *model->weights);
    model->inputs = dvit_arena_take(&model->arena, model->parameters.count, sizeof *model->inputs);
    *out = model;
    model = NULL;
done:
    dvit_model_free(model);
    return status;
}

void dvit_model_free(struct dvit_model *model)
{
    if (!model)
        return;
    for (int k = 0; model->labels && k < model->config.classes; k++)
        free(model->labels[k]);
    free(model->labels);
    dvit_notes_free(&model->notes);
    dvit_parameters_free(&model->parameters);
    dvit_arena_free(&model->arena);
    free(model);
}

size_t dvit_model_quantised_layers(const struct dvit_model *model)
{
    if (!model)
        return 0;
    size_t layers = 0;
    for (size_t i = 0; i < model->parameters.count; i++)
        layers += model->inputs[i].scale != 0.0f;
    return layers;
}

size_t dvit_model_calibration_images(const struct dvit_model *model)
{
    return dvit_model_quantised_layers(model) ? model->calibration_images : 0;
}

float *dvit_model_weights(const struct dvit_model *model, size_t index)
{
    return model->weights + model->parameters.items[index].offset;
}

void dvit_parameters_pointers(const struct dvit_parameters *parameters, float *weights,
                              float **pointers)
{
    for (size_t i = 0; i < parameters->count; i++)
        pointers[i] = weights + parameters->items[i].offset;
}

static float initial_value(enum dvit_initial initial, struct dvit_rng *rng)
{
    switch (initial) {
    case DVIT_INITIAL_ZERO:
        return 0.0f;
    case DVIT_INITIAL_ONE:
        return 1.0f;
    case DVIT_INITIAL_SMALL:
        return 1e-4f;
    case DVIT_INITIAL_TRUNCATED_NORMAL:
        break;
    }
    return (float)dvit_rng_truncated_normal(rng, 0.02);
}

void dvit_model_initialise(struct dvit_model *model, int group, uint64_t seed)
{
    for (size_t i = 0; i < model->parameters.count; i++) {
        const struct dvit_parameter *item = &model->parameters.items[i];
        float *weights = dvit_model_weights(model, i);
        if (group >= 0 && (int)item->group != group)
            continue;
        struct dvit_rng rng = dvit_rng_stream(seed, DVIT_RNG_INIT, 0, (uint32_t)i);
        for (size_t j = 0; j < item->count; j++)
            weights[j] = initial_value(item->initial, &rng);
    }
}

enum dvit_status dvit_model_create(struct dvit_model **out, const struct dvit_config *config,
                                   uint64_t seed, struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, config);
    enum dvit_status status = dvit_model_allocate(out, config, error);
    if (status == DVIT_OK)
        dvit_model_initialise(*out, -1, seed);
    return status;
}

/* Weights and calibration by name, preprocessing and labels; tensors that `from` lacks stay as they
 * are. */
static enum dvit_status copy_content(struct dvit_model *to, const struct dvit_model *from,
                                     struct dvit_error *error)
{
    for (size_t i = 0; i < to->parameters.count; i++) {
        int source = dvit_parameters_find(&from->parameters, to->parameters.items[i].name);
        if (source < 0)
            continue;
        memcpy(dvit_model_weights(to, i), dvit_model_weights(from, (size_t)source),
               to->parameters.items[i].count * sizeof(float));
        to->inputs[i] = from->inputs[source];
    }
    to->preprocess = from->preprocess;
    to->nonfinite = from->nonfinite;
    to->calibration_images = from->calibration_images;
    return dvit_model_set_labels(to, (const char *const *)from->labels, from->config.classes,
                                 error);
}

enum dvit_status dvit_model_copy(struct dvit_model **out, const struct dvit_model *model,
                                 struct dvit_error *error)
{
    enum dvit_status status = dvit_model_allocate(out, &model->config, error);
    if (status == DVIT_OK)
        status = copy_content(*out, model, error);
    if (status != DVIT_OK) {
        dvit_model_free(*out);
        *out = NULL;
    }
    return status;
}

enum dvit_status dvit_model_set_pruning(struct dvit_model *model, enum dvit_pruning pruning,
                                        struct dvit_error *error)
{
    DVIT_REQUIRE(error, model);
    if (model->config.stages && model->config.pruning != pruning)
        return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                              "pruning is %s, but the model \"%s\" has stages that prune by %s",
                              dvit_pruning_name(pruning), model->config.name,
                              dvit_pruning_name(model->config.pruning));
    model->config.pruning = pruning;
    return DVIT_OK;
}

enum dvit_status dvit_model_sparsify(struct dvit_model **out, const struct dvit_model *dense,
                                     int stages, const int *stage_block, double keep, uint64_t seed,
                                     struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, dense);
    enum dvit_status status = DVIT_OK;
    struct dvit_config config = dense->config;
    if (stages < 1 || stages > DVIT_MAX_STAGES)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "stages is %d, expected 1 to %d", stages,
                  DVIT_MAX_STAGES);
    if (config.stages && config.stages != stages)
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH, "the model has %d stages already, expected %d",
                  config.stages, stages);
    if (!config.stages)
        dvit_config_add_stages(&config, stages, keep);
    config.keep = keep;
    for (int s = 0; stage_block && s < stages; s++)
        config.stage_block[s] = stage_block[s];
    DVIT_TRY(dvit_model_allocate(out, &config, error));
    dvit_model_initialise(*out, DVIT_GROUP_PREDICTOR, seed);
    DVIT_TRY(copy_content(*out, dense, error));
done:
    if (status != DVIT_OK) {
        dvit_model_free(*out);
        *out = NULL;
    }
    return status;
}

const struct dvit_config *dvit_model_config(const struct dvit_model *model)
{
    if (!model)
        return NULL;
    return &model->config;
}

bool dvit_model_chooses(const struct dvit_model *model)
{
    if (!model)
        return false;
    return model->config.stages > 0 && model->config.pruning != DVIT_PRUNING_POOL;
}

const struct dvit_preprocess *dvit_model_preprocess(const struct dvit_model *model)
{
    if (!model)
        return NULL;
    return &model->preprocess;
}

const char *dvit_model_note(const struct dvit_model *model, size_t index)
{
    return model && index < model->notes.count ? model->notes.items[index] : NULL;
}

const char *dvit_model_label(const struct dvit_model *model, int class_index)
{
    bool known = model && class_index >= 0 && class_index < model->config.classes;
    return known ? model->labels[class_index] : "?";
}

enum dvit_status dvit_model_set_preprocess(struct dvit_model *model,
                                           const struct dvit_preprocess *preprocess,
                                           struct dvit_error *error)
{
    DVIT_REQUIRE(error, model, preprocess);
    const struct dvit_config *c = &model->config;
    if (preprocess->crop_width != c->image_width || preprocess->crop_height != c->image_height)
        return dvit_error_set(
            error, DVIT_ERROR_MISMATCH, "preprocessing crops to %d × %d, the model expects %d × %d",
            preprocess->crop_width, preprocess->crop_height, c->image_width, c->image_height);
    enum dvit_status status = dvit_preprocess_check(preprocess, error);
    if (status == DVIT_OK)
        model->preprocess = *preprocess;
    return status;
}

enum dvit_status dvit_model_set_labels(struct dvit_model *model, const char *const *labels,
                                       int count, struct dvit_error *error)
{
    DVIT_REQUIRE(error, model, labels);
    if (count != model->config.classes)
        return dvit_error_set(error, DVIT_ERROR_MISMATCH, "%d labels for a model of %d classes",
                              count, model->config.classes);
    for (int k = 0; k < count; k++) {
        if (!labels[k])
            return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "label %d of %d is NULL", k, count);
        if (!dvit_utf8_is_valid(labels[k]))
            return dvit_error_set(error, DVIT_ERROR_FORMAT,
                                  "the name of class %d is \"%s\", which is not UTF-8 (Latin-1 "
                                  "perhaps): rename its folder or label",
                                  k, labels[k]);
    }
    for (int k = 0; k < count; k++) {
        char *copy = strdup(labels[k]);
        if (!copy)
            return dvit_error_set(error, DVIT_ERROR_MEMORY, "labels: out of memory");
        free(model->labels[k]);
        model->labels[k] = copy;
    }
    return DVIT_OK;
}

size_t dvit_model_parameters(const struct dvit_model *model)
{
    if (!model)
        return 0;
    return model->parameters.total;
}

size_t dvit_model_tensor_count(const struct dvit_model *model)
{
    if (!model)
        return 0;
    return model->parameters.count;
}

struct dvit_tensor_info dvit_model_tensor(const struct dvit_model *model, size_t index)
{
    if (index >= dvit_model_tensor_count(model))
        return (struct dvit_tensor_info){0};
    const struct dvit_parameter *item = &model->parameters.items[index];
    struct dvit_tensor_info info = {
        .name = item->name, .rank = item->rank, .data = dvit_model_weights(model, index)};
    memcpy(info.shape, item->shape, sizeof info.shape);
    return info;
}
