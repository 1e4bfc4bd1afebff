/* A model's tensors and description as entries of a file, and back from an open safetensors file:
 * what saving a model (save.c) and a training's state have in common. */
#include "weights/model_file.h"

#include <stdio.h>
#include <stdlib.h>

#include "weights/model_json.h"
#include "weights/text.h"

static const char *const keys[3] = {"dvit.config", "dvit.preprocess", "dvit.labels"};

void dvit_model_entries(const struct dvit_parameters *parameters, const float *weights,
                        const char *prefix, struct dvit_safetensors_entry *entries,
                        char (*names)[96])
{
    for (size_t i = 0; i < parameters->count; i++) {
        const struct dvit_parameter *item = &parameters->items[i];
        snprintf(names[i], sizeof names[i], "%s%s", prefix, item->name);
        entries[i] = (struct dvit_safetensors_entry){.name = names[i],
                                                     .dtype = DVIT_DTYPE_F32,
                                                     .rank = item->rank,
                                                     .data = weights + item->offset};
        for (int k = 0; k < item->rank; k++)
            entries[i].shape[k] = item->shape[k];
    }
}

static bool same_shape(const struct dvit_tensor_view *view, const struct dvit_parameter *item)
{
    if (view->rank != item->rank)
        return false;
    for (int k = 0; k < item->rank; k++)
        if (view->shape[k] != item->shape[k])
            return false;
    return true;
}

static enum dvit_status shape_error(const struct dvit_tensor_view *view,
                                    const struct dvit_parameter *item, struct dvit_error *error)
{
    char got[128], expected[128];
    uint64_t shape[4];
    for (int k = 0; k < item->rank; k++)
        shape[k] = item->shape[k];
    dvit_shape_format(view->shape, view->rank, got, sizeof got);
    dvit_shape_format(shape, item->rank, expected, sizeof expected);
    return dvit_error_set(error, DVIT_ERROR_MISMATCH, "tensor \"%s\" is %s, expected %s",
                          dvit_text_show(view->name).text, got, expected);
}

static enum dvit_status find_tensor(const struct dvit_safetensors *file,
                                    const struct dvit_parameter *item, const char *prefix,
                                    const struct dvit_tensor_view **out, struct dvit_error *error)
{
    char name[96];
    snprintf(name, sizeof name, "%s%s", prefix, item->name);
    *out = dvit_safetensors_find(file, name);
    if (!*out)
        return dvit_error_set(error, DVIT_ERROR_MISMATCH, "tensor \"%s\" is missing", name);
    return same_shape(*out, item) ? DVIT_OK : shape_error(*out, item, error);
}

enum dvit_status dvit_model_read(const struct dvit_safetensors *file,
                                 const struct dvit_parameters *parameters, const char *prefix,
                                 float *weights, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_tensor_view *view;
    for (size_t i = 0; i < parameters->count; i++) {
        DVIT_TRY(find_tensor(file, &parameters->items[i], prefix, &view, error));
        DVIT_TRY(dvit_tensor_to_f32(view, weights + parameters->items[i].offset, error));
    }
done:
    return status;
}

/* A file may claim any configuration: memory for it is asked for only once the file has been seen
 * to hold every tensor of it. */
static enum dvit_status check_tensors(const struct dvit_safetensors *file,
                                      const struct dvit_config *config, const char *prefix,
                                      struct dvit_error *error)
{
    struct dvit_parameters parameters;
    const struct dvit_tensor_view *view;
    enum dvit_status status = dvit_parameters_create(&parameters, config, error);
    for (size_t i = 0; status == DVIT_OK && i < parameters.count; i++)
        status = find_tensor(file, &parameters.items[i], prefix, &view, error);
    dvit_parameters_free(&parameters);
    return status;
}

enum dvit_status dvit_model_metadata_create(struct dvit_model_metadata *out,
                                            const struct dvit_model *model,
                                            struct dvit_error *error)
{
    *out = (struct dvit_model_metadata){
        .texts = {dvit_config_to_json(&model->config), dvit_preprocess_to_json(&model->preprocess),
                  dvit_labels_to_json(model->labels, model->config.classes)}};
    for (int i = 0; i < 3; i++) {
        if (!out->texts[i]) {
            dvit_model_metadata_free(out);
            return dvit_error_set(error, DVIT_ERROR_MEMORY,
                                  "model description: out of memory or not UTF-8");
        }
        out->pairs[i] = (struct dvit_safetensors_pair){keys[i], out->texts[i]};
    }
    return DVIT_OK;
}

void dvit_model_metadata_free(struct dvit_model_metadata *metadata)
{
    for (int i = 0; i < 3; i++)
        free(metadata->texts[i]);
    *metadata = (struct dvit_model_metadata){0};
}

enum dvit_status dvit_model_from_metadata(struct dvit_model **out,
                                          const struct dvit_safetensors *file, const char *prefix,
                                          struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_config config;
    struct dvit_preprocess preprocess;
    struct dvit_model *model = NULL;
    char **labels = NULL;
    const char *text[3];
    *out = NULL;
    for (int i = 0; i < 3; i++) {
        text[i] = dvit_safetensors_metadata(file, keys[i]);
        if (!text[i])
            DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                      "no \"%s\" in the metadata: this is not a model that dvit wrote", keys[i]);
    }
    DVIT_TRY(dvit_config_from_json(text[0], &config, error));
    DVIT_TRY(check_tensors(file, &config, prefix, error));
    DVIT_TRY(dvit_preprocess_from_json(text[1], &preprocess, error));
    DVIT_TRY(dvit_labels_from_json(text[2], config.classes, &labels, error));
    DVIT_TRY(dvit_model_allocate(&model, &config, error));
    DVIT_TRY(dvit_model_set_preprocess(model, &preprocess, error));
    DVIT_TRY(dvit_model_set_labels(model, (const char *const *)labels, config.classes, error));
    *out = model;
    model = NULL;
done:
    status = dvit_error_of_file(status, error);
    dvit_labels_free(labels, labels ? config.classes : 0);
    dvit_model_free(model);
    return status;
}
