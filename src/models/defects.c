/* Checks of a model's weights: values that are not finite, and heads that give every class the same
 * logit. Knows neither files nor images. */
#include "models/defects.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Values with all exponent bits set: NaN and infinity. */
static size_t count_nonfinite(const float *x, size_t count)
{
    size_t found = 0;
    for (size_t begin = 0; begin < count; begin += 4096) {
        size_t end = count - begin < 4096 ? count : begin + 4096;
        uint32_t in_block = 0; /* so narrow that the loop becomes vectors */
        for (size_t i = begin; i < end; i++) {
            uint32_t bits;
            memcpy(&bits, &x[i], sizeof bits);
            in_block += (bits & 0x7f800000u) == 0x7f800000u;
        }
        found += in_block;
    }
    return found;
}

/* The tensors with such values. */
struct nonfinite {
    size_t tensors, first; /* how many; index of the first */
    size_t values;         /* in the first */
};

static struct nonfinite find_nonfinite(const struct dvit_model *model)
{
    struct nonfinite found = {0};
    for (size_t i = 0; i < model->parameters.count; i++) {
        size_t values =
            count_nonfinite(dvit_model_weights(model, i), model->parameters.items[i].count);
        if (values > 0 && found.tensors++ == 0) {
            found.first = i;
            found.values = values;
        }
    }
    return found;
}

/* "tensor "x" has 3 of 64 values that are not finite (nan at index 5)", and how many more tensors
 * have some. */
static void describe_nonfinite(const struct dvit_model *model, struct nonfinite found,
                               char text[400])
{
    const struct dvit_parameter *item = &model->parameters.items[found.first];
    const float *x = dvit_model_weights(model, found.first);
    size_t at = 0;
    while (at < item->count && isfinite(x[at]))
        at++;
    int used =
        snprintf(text, 400, "tensor \"%s\" has %zu of %zu values that are not finite (%s at %zu)",
                 item->name, found.values, item->count,
                 isnan(x[at]) ? "NaN"
                 : x[at] > 0  ? "+infinity"
                              : "-infinity",
                 at);
    if (found.tensors > 1 && used > 0 && used < 400)
        snprintf(text + used, 400 - (size_t)used, ", and so have %zu more tensors",
                 found.tensors - 1);
}

enum dvit_status dvit_model_check_finite(const struct dvit_model *model, struct dvit_error *error)
{
    DVIT_REQUIRE(error, model);
    char text[400];
    struct nonfinite found = find_nonfinite(model);
    if (found.tensors == 0)
        return DVIT_OK;
    describe_nonfinite(model, found, text);
    return dvit_error_set(error, DVIT_ERROR_NUMERIC, "%s", text);
}

/* All rows of a matrix [rows][columns] are the same numbers. */
static bool rows_are_equal(const float *x, size_t rows, size_t columns)
{
    for (size_t i = columns; i < rows * columns; i++)
        if (x[i] != x[i - columns])
            return false;
    return true;
}

/* Whether the layer with this weight [classes][width] and the bias behind it, if it has one, gives
 * every class the same logit. */
static bool is_constant_head(const struct dvit_model *model, size_t index)
{
    const struct dvit_parameters *parameters = &model->parameters;
    const struct dvit_parameter *item = &parameters->items[index];
    size_t classes = (size_t)model->config.classes;
    if (item->group != DVIT_GROUP_HEAD || item->rank != 2 || item->shape[0] != classes ||
        classes < 2 || !rows_are_equal(dvit_model_weights(model, index), classes, item->shape[1]))
        return false;
    const struct dvit_parameter *next = item + 1;
    bool has_bias = index + 1 < parameters->count && next->group == DVIT_GROUP_HEAD &&
                    next->rank == 1 && next->count == classes;
    return !has_bias || rows_are_equal(dvit_model_weights(model, index + 1), classes, 1);
}

enum dvit_status dvit_model_note_defects(struct dvit_model *model, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct nonfinite found = find_nonfinite(model);
    char text[400];
    model->nonfinite = found.tensors;
    if (found.tensors > 0) {
        describe_nonfinite(model, found, text);
        DVIT_TRY(dvit_notes_add(&model->notes, error, "warning: %s", text));
    }
    for (size_t i = 0; i < model->parameters.count; i++)
        if (is_constant_head(model, i))
            DVIT_TRY(dvit_notes_add(
                &model->notes, error,
                "warning: all %d rows of the head \"%s\" are equal: every class gets the same "
                "logit; the head was never trained",
                model->config.classes, model->parameters.items[i].name));
done:
    return status;
}
