/* dvit_model_save: one file that is the complete model – weights, configuration, preprocessing,
 * labels – as safetensors or as PyTorch's zip, in f32, rounded to a half, or with the weights of
 * calibrated layers rounded to bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/model_file.h"
#include "weights/quantised.h"
#include "weights/torch_write.h"

static bool ends_in(const char *path, const char *suffix)
{
    size_t length = strlen(path), tail = strlen(suffix);
    return length >= tail && strcmp(path + length - tail, suffix) == 0;
}

static enum dvit_file_format format_of(const char *path, enum dvit_file_format format)
{
    static const char *const torch[] = {".pth", ".pt", ".bin", ".pth.tar"};
    if (format != DVIT_FILE_BY_NAME)
        return format;
    for (size_t i = 0; i < sizeof torch / sizeof *torch; i++)
        if (ends_in(path, torch[i]))
            return DVIT_FILE_TORCH;
    return DVIT_FILE_SAFETENSORS;
}

static enum dvit_status parse_dtype(const char *name, enum dvit_dtype *out,
                                    struct dvit_error *error)
{
    static const struct {
        const char *name;
        enum dvit_dtype dtype;
    } types[] = {{"f32", DVIT_DTYPE_F32},
                 {"f16", DVIT_DTYPE_F16},
                 {"bf16", DVIT_DTYPE_BF16},
                 {"int8", DVIT_DTYPE_I8}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!name || strcmp(name, types[i].name) == 0) {
            *out = types[i].dtype;
            return DVIT_OK;
        }
    return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                          "dtype is \"%.40s\", expected \"f32\", \"f16\", \"bf16\" or \"int8\"",
                          name);
}

/* Rounds every entry to `dtype`, into one block that the entries then point to. */
static enum dvit_status round_entries(const struct dvit_parameters *parameters,
                                      enum dvit_dtype dtype, struct dvit_safetensors_entry *entries,
                                      void **block, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    size_t size = dvit_dtype_size(dtype), overflowed;
    unsigned char *at = *block = malloc(parameters->floats * size + 1);
    if (!at)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "%zu weights: out of memory", parameters->floats);
    for (size_t i = 0; i < parameters->count; i++) {
        const struct dvit_parameter *item = &parameters->items[i];
        DVIT_TRY(dvit_tensor_from_f32(at, dtype, entries[i].data, item->count, &overflowed, error));
        if (overflowed)
            DVIT_FAIL(error, DVIT_ERROR_LIMIT,
                      "tensor \"%s\": %zu of its %zu numbers are beyond the range of %s",
                      item->name, overflowed, item->count, dvit_dtype_name(dtype));
        entries[i].dtype = dtype;
        entries[i].data = at;
        at += item->count * size;
    }
done:
    return status;
}

enum dvit_status dvit_model_save(const struct dvit_model *model, const char *path,
                                 const struct dvit_save_options *options, struct dvit_error *error)
{
    DVIT_REQUIRE(error, model, path);
    enum dvit_status status = DVIT_OK;
    const struct dvit_save_options defaults = {0}, *o = options ? options : &defaults;
    struct dvit_model_metadata metadata = {0};
    size_t count = model->parameters.count;
    size_t room = count * (1 + DVIT_QUANTISED_SCALES);
    struct dvit_safetensors_entry *entries = calloc(room, sizeof *entries);
    char(*names)[96] = calloc(room, sizeof *names);
    void *block = NULL;
    enum dvit_dtype dtype = DVIT_DTYPE_F32;
    char calibration[24];
    struct dvit_safetensors_pair pairs[4];
    size_t pair_count = 3;
    if (!entries || !names)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    DVIT_TRY(parse_dtype(o->dtype, &dtype, error));
    DVIT_TRY(dvit_model_metadata_create(&metadata, model, error));
    memcpy(pairs, metadata.pairs, sizeof metadata.pairs);
    if (dtype == DVIT_DTYPE_I8 && dvit_model_calibration_images(model)) {
        snprintf(calibration, sizeof calibration, "%zu", dvit_model_calibration_images(model));
        pairs[pair_count++] = (struct dvit_safetensors_pair){DVIT_CALIBRATION_KEY, calibration};
    }
    dvit_model_entries(&model->parameters, model->weights, "", entries, names);
    if (dtype == DVIT_DTYPE_I8)
        DVIT_TRY(dvit_quantised_entries(model, entries, names, &count, &block, error));
    else if (dtype != DVIT_DTYPE_F32)
        DVIT_TRY(round_entries(&model->parameters, dtype, entries, &block, error));
    if (format_of(path, o->format) == DVIT_FILE_TORCH)
        DVIT_TRY(dvit_torch_write(path, entries, count, pairs, pair_count, error));
    else
        DVIT_TRY(dvit_safetensors_write(path, entries, count, pairs, pair_count, error));
done:
    dvit_model_metadata_free(&metadata);
    free(entries);
    free(names);
    free(block);
    return status;
}
