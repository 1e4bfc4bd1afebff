/* Linear layers of 8 bits from a file and into one. Weights are rounded here exactly as when they
 * are packed for a product (kernels/packed/quantise.h), so that what was written, read and packed
 * has the bytes and scales of what was packed without a file. */
#include "weights/quantised.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/text.h"

enum { WEIGHT_SCALE, INPUT_SCALE, INPUT_ZERO };

static const char *const part_names[DVIT_QUANTISED_SCALES] = {
    [WEIGHT_SCALE] = "weight_scale",
    [INPUT_SCALE] = "input_scale",
    [INPUT_ZERO] = "input_zero_point",
};

struct dvit_quantised_part dvit_quantised_part(const struct dvit_parameter *item, int which)
{
    struct dvit_quantised_part part = {.dtype =
                                           which == INPUT_ZERO ? DVIT_DTYPE_U8 : DVIT_DTYPE_F32,
                                       .elements = which == WEIGHT_SCALE ? item->shape[0] : 1};
    int layer = (int)strlen(item->name) - (int)strlen("weight"); /* with its point */
    snprintf(part.name, sizeof part.name, "%.*s%s", layer, item->name, part_names[which]);
    return part;
}

bool dvit_quantised_fits(const struct dvit_tensor_view *view,
                         const struct dvit_quantised_part *part)
{
    return view->dtype == part->dtype && view->rank == 1 && view->shape[0] == part->elements;
}

/* --- reading --------------------------------------------------------------------------------- */

static float float_at(const struct dvit_tensor_view *view, size_t index)
{
    float x; /* may lie unaligned in the file */
    memcpy(&x, (const char *)view->data + index * sizeof x, sizeof x);
    return x;
}

static enum dvit_status check_scale(const struct dvit_tensor_view *view, size_t index, float *scale,
                                    struct dvit_error *error)
{
    *scale = float_at(view, index);
    if (dvit_quantise_is_usable(*scale))
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_FORMAT,
                          "tensor \"%s\": number %zu is %g, expected a scale of 1e-30 to 1e6",
                          dvit_text_show(view->name).text, index, (double)*scale);
}

static const struct dvit_tensor_view *find_part(const struct dvit_tensor_names *names,
                                                const struct dvit_parameter *item, int which)
{
    struct dvit_quantised_part part = dvit_quantised_part(item, which);
    return dvit_tensor_names_find(names, part.name);
}

enum dvit_status dvit_quantised_read(const struct dvit_tensor_names *names,
                                     const struct dvit_parameter *item, float *weights,
                                     struct dvit_quantised *input, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_tensor_view *view = dvit_tensor_names_find(names, item->name);
    const struct dvit_tensor_view *scales = find_part(names, item, WEIGHT_SCALE);
    const int8_t *bytes = view->data;
    size_t inputs = item->count / item->shape[0];
    for (size_t o = 0; o < item->shape[0]; o++, bytes += inputs, weights += inputs) {
        float scale;
        DVIT_TRY(check_scale(scales, o, &scale, error));
        for (size_t i = 0; i < inputs; i++) {
            if (bytes[i] == INT8_MIN)
                DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                          "tensor \"%s\": number %zu is -128, expected -127 to 127",
                          dvit_text_show(view->name).text, o * inputs + i);
            weights[i] = scale * (float)bytes[i];
        }
    }
    DVIT_TRY(check_scale(find_part(names, item, INPUT_SCALE), 0, &input->scale, error));
    input->zero = *(const uint8_t *)find_part(names, item, INPUT_ZERO)->data;
done:
    return status;
}

/* --- writing --------------------------------------------------------------------------------- */

/* Where the parts of one layer lie in the block. */
struct place {
    int8_t *bytes;
    float *scales; /* those of the weight, then the input's */
    uint8_t *zero;
};

static enum dvit_status round_weight(const struct dvit_parameter *item, const float *weights,
                                     struct place place, struct dvit_error *error)
{
    size_t inputs = item->count / item->shape[0];
    for (size_t o = 0; o < item->shape[0]; o++, weights += inputs) {
        for (size_t i = 0; i < inputs; i++)
            if (!isfinite(weights[i]))
                return dvit_error_set(error, DVIT_ERROR_LIMIT,
                                      "tensor \"%s\": number %zu is not finite and no byte stands "
                                      "for it",
                                      item->name, o * inputs + i);
        place.scales[o] = dvit_quantise_weight_scale(weights, inputs);
        if (!dvit_quantise_is_usable(place.scales[o]))
            return dvit_error_set(
                error, DVIT_ERROR_LIMIT,
                "tensor \"%s\": output %zu has the scale %g, expected 1e-30 to 1e6", item->name, o,
                (double)place.scales[o]);
        for (size_t i = 0; i < inputs; i++)
            place.bytes[o * inputs + i] = dvit_quantise_weight(weights[i], place.scales[o]);
    }
    return DVIT_OK;
}

/* Floats of all layers first, then bytes: everything is aligned. */
static void *take_block(const struct dvit_model *model, struct place *first)
{
    size_t floats = 0, bytes = 0;
    for (size_t i = 0; i < model->parameters.count; i++) {
        const struct dvit_parameter *item = &model->parameters.items[i];
        if (model->inputs[i].scale == 0.0f)
            continue;
        floats += item->shape[0] + 1;
        bytes += item->count + 1;
    }
    float *block = malloc(floats * sizeof(float) + bytes + 1);
    *first = (struct place){.scales = block};
    if (block)
        first->bytes = (int8_t *)(block + floats);
    return block;
}

static void append_parts(const struct dvit_parameter *item, struct place place,
                         struct dvit_safetensors_entry *entries, char (*names)[96], size_t *count)
{
    const void *const data[] = {
        [WEIGHT_SCALE] = place.scales,
        [INPUT_SCALE] = place.scales + item->shape[0],
        [INPUT_ZERO] = place.zero,
    };
    for (int which = 0; which < DVIT_QUANTISED_SCALES; which++) {
        struct dvit_quantised_part part = dvit_quantised_part(item, which);
        size_t at = (*count)++;
        memcpy(names[at], part.name, sizeof names[at]);
        entries[at] = (struct dvit_safetensors_entry){.name = names[at],
                                                      .dtype = part.dtype,
                                                      .rank = 1,
                                                      .shape = {part.elements},
                                                      .data = data[which]};
    }
}

enum dvit_status dvit_quantised_entries(const struct dvit_model *model,
                                        struct dvit_safetensors_entry *entries, char (*names)[96],
                                        size_t *count, void **block, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_parameters *parameters = &model->parameters;
    struct place place;
    *block = NULL;
    *count = parameters->count;
    if (dvit_model_quantised_layers(model) == 0)
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH,
                  "dtype int8 needs a calibrated model and this one is not; `dvit quantize` makes "
                  "one (dvit_model_calibrate)");
    *block = take_block(model, &place);
    if (!*block)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "weights of 8 bits: out of memory");
    for (size_t i = 0; i < parameters->count; i++) {
        const struct dvit_parameter *item = &parameters->items[i];
        if (model->inputs[i].scale == 0.0f)
            continue;
        place.zero = (uint8_t *)place.bytes + item->count;
        DVIT_TRY(round_weight(item, dvit_model_weights(model, i), place, error));
        place.scales[item->shape[0]] = model->inputs[i].scale;
        *place.zero = (uint8_t)model->inputs[i].zero;
        entries[i].dtype = DVIT_DTYPE_I8;
        entries[i].data = place.bytes;
        append_parts(item, place, entries, names, count);
        place.scales += item->shape[0] + 1;
        place.bytes += item->count + 1;
    }
done:
    return status;
}
