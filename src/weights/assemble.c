/* Checks that a file's tensors and a parameter table fit each other, both ways, and copies the ones
 * into the other: q, k and v one below the other, floats of any type converted, positions
 * interpolated, bytes with their scales. Which tensor is which was decided by names.c. */
#include "weights/assemble.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/position.h"
#include "weights/quantised.h"
#include "weights/text.h"

enum kind { MISSING, UNEXPECTED, DIFFERENT, KINDS };

struct report {
    const struct dvit_assembly *assembly;
    size_t counts[KINDS];
    char sentences[900]; /* the first ones, for the error */
    size_t used;
};

static void add(struct report *report, enum kind kind, const char *sentence)
{
    const struct dvit_assembly *assembly = report->assembly;
    report->counts[kind]++;
    if (assembly->problem)
        assembly->problem(assembly->context, sentence);
    if (report->used < sizeof report->sentences)
        report->used += (size_t)snprintf(report->sentences + report->used,
                                         sizeof report->sentences - report->used, "%s%s",
                                         report->used ? "; " : "", sentence);
}

static enum dvit_status conclude(const struct report *report, struct dvit_error *error)
{
    const size_t *counts = report->counts;
    size_t all = counts[MISSING] + counts[UNEXPECTED] + counts[DIFFERENT];
    if (all == 0)
        return DVIT_OK;
    if (all == 1)
        return dvit_error_set(error, DVIT_ERROR_MISMATCH, "%s", report->sentences);
    return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                          "of its tensors %zu are missing, %zu unexpected, %zu different: %s",
                          counts[MISSING], counts[UNEXPECTED], counts[DIFFERENT],
                          report->sentences);
}

static bool is_position(const struct dvit_parameter *item)
{
    return strcmp(item->name, "pos_embed") == 0;
}

/* What a tensor that holds one of `parts` of the parameter must look like. */
static void expected_shape(const struct dvit_assembly *assembly, const struct dvit_parameter *item,
                           int parts, uint64_t shape[4])
{
    for (int k = 0; k < item->rank; k++)
        shape[k] = item->shape[k];
    if (parts > 1)
        shape[0] /= (uint64_t)parts;
    if (is_position(item) && assembly->bare_positions)
        shape[1] -= (uint64_t)dvit_config_prefix(assembly->stored);
}

static bool same_shape(const struct dvit_tensor_view *view, const uint64_t *shape, int rank)
{
    bool same = view->rank == rank;
    for (int k = 0; same && k < rank; k++)
        same = view->shape[k] == shape[k];
    return same;
}

/* Old timm files hold the patch embedding as the matrix [C, 3p²]. */
static bool is_patch_matrix(const struct dvit_assembly *assembly,
                            const struct dvit_tensor_view *view, const struct dvit_parameter *item,
                            const uint64_t *shape)
{
    return assembly->foreign && strcmp(item->name, "patch_embed.proj.weight") == 0 &&
           view->rank == 2 && view->shape[0] == shape[0] &&
           view->shape[1] == shape[1] * shape[2] * shape[3];
}

static bool is_float(enum dvit_dtype dtype)
{
    return dtype == DVIT_DTYPE_F64 || dtype == DVIT_DTYPE_F32 || dtype == DVIT_DTYPE_F16 ||
           dtype == DVIT_DTYPE_BF16;
}

/* What belongs beside a weight of bytes. */
static void check_scales(struct report *report, const struct dvit_parameter *item, bool *used)
{
    const struct dvit_tensor_names *names = report->assembly->names;
    for (int which = 0; which < DVIT_QUANTISED_SCALES; which++) {
        struct dvit_quantised_part part = dvit_quantised_part(item, which);
        size_t index = dvit_tensor_names_lookup(names, part.name);
        char sentence[600], got[200], expected[128];
        if (index == names->count) {
            snprintf(sentence, sizeof sentence,
                     "tensor \"%s\" is missing, and tensor \"%s\" is of bytes", part.name,
                     item->name);
            add(report, MISSING, sentence);
            continue;
        }
        const struct dvit_tensor_view *view = names->items[index].view;
        used[index] = true;
        if (dvit_quantised_fits(view, &part))
            continue;
        dvit_shape_format(view->shape, view->rank, got, sizeof got);
        dvit_shape_format(&part.elements, 1, expected, sizeof expected);
        snprintf(sentence, sizeof sentence, "tensor \"%s\" is %s %s, expected %s %s", part.name,
                 dvit_dtype_name(view->dtype), got, dvit_dtype_name(part.dtype), expected);
        add(report, DIFFERENT, sentence);
    }
}

static void check_tensor(struct report *report, const struct dvit_named_tensor *tensor,
                         const struct dvit_parameter *item, bool may_be_bytes, bool *used)
{
    const struct dvit_tensor_view *view = tensor->view;
    struct dvit_shown_text name = dvit_text_show(view->name);
    uint64_t shape[4];
    char sentence[600], got[200], expected[128];
    expected_shape(report->assembly, item, tensor->parts, shape);
    if (!same_shape(view, shape, item->rank) &&
        !is_patch_matrix(report->assembly, view, item, shape)) {
        dvit_shape_format(view->shape, view->rank, got, sizeof got);
        dvit_shape_format(shape, item->rank, expected, sizeof expected);
        snprintf(sentence, sizeof sentence, "tensor \"%s\" is %s, expected %s", name.text, got,
                 expected);
        add(report, DIFFERENT, sentence);
    } else if (may_be_bytes && view->dtype == DVIT_DTYPE_I8) {
        check_scales(report, item, used);
    } else if (!is_float(view->dtype)) {
        snprintf(sentence, sizeof sentence, "tensor \"%s\" is %s, expected F64, F32, F16 or BF16",
                 name.text, dvit_dtype_name(view->dtype));
        add(report, DIFFERENT, sentence);
    }
}

/* The tensors of one parameter: all parts, each once. Those that take part are marked as used. */
static void check_parameter(struct report *report, const struct dvit_parameters *parameters,
                            size_t index, bool *used)
{
    const struct dvit_parameter *item = &parameters->items[index];
    const struct dvit_assembly *assembly = report->assembly;
    const struct dvit_tensor_names *names = assembly->names;
    bool skipped = assembly->new_heads && item->group == DVIT_GROUP_HEAD;
    size_t first = dvit_tensor_names_lookup(names, item->name), i = first;
    int parts = first < names->count ? names->items[first].parts : 1, next = 0;
    for (; i < names->count && strcmp(names->items[i].name, item->name) == 0; i++) {
        const struct dvit_named_tensor *tensor = &names->items[i];
        bool fits = tensor->parts == parts && tensor->part == next;
        used[i] = fits || skipped;
        if (skipped || !fits)
            continue;
        check_tensor(report, tensor, item,
                     parts == 1 && dvit_parameter_is_quantisable(parameters, index), used);
        next++;
    }
    if (skipped || next == parts)
        return;
    char sentence[200];
    snprintf(sentence, sizeof sentence, "tensor \"%s\" is missing%s", item->name,
             next == 0   ? ""
             : next == 1 ? " beyond its first part"
                         : " beyond its second part");
    add(report, MISSING, sentence);
}

enum dvit_status dvit_assembly_check(const struct dvit_assembly *assembly, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_tensor_names *names = assembly->names;
    struct report report = {.assembly = assembly};
    struct dvit_parameters parameters = {0};
    bool *used = calloc(names->count + 1, sizeof *used);
    if (!used)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "check of %zu tensors: out of memory", names->count);
    DVIT_TRY(dvit_parameters_create(&parameters, assembly->stored, error));
    for (size_t i = 0; i < parameters.count; i++)
        check_parameter(&report, &parameters, i, used);
    for (size_t i = 0; i < names->count; i++) {
        char sentence[300];
        snprintf(sentence, sizeof sentence, "unexpected tensor \"%s\"",
                 dvit_text_show(names->items[i].view->name).text);
        if (!used[i])
            add(&report, UNEXPECTED, sentence);
    }
    status = conclude(&report, error);
done:
    dvit_parameters_free(&parameters);
    free(used);
    return status;
}

static struct dvit_grid grid_of(const struct dvit_config *config)
{
    return (struct dvit_grid){config->image_height / config->patch,
                              config->image_width / config->patch};
}

/* Rows of the stored grid, interpolated to the model's; rows of prefix tokens as they are. */
static enum dvit_status read_on_grid(const struct dvit_assembly *assembly,
                                     const struct dvit_tensor_view *view, struct dvit_model *model,
                                     const struct dvit_parameter *item, float *out,
                                     struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_grid from = grid_of(assembly->stored), to = grid_of(&model->config);
    size_t dim = item->shape[item->rank - 1];
    size_t prefix = item->count - dim * (size_t)dvit_config_patches(&model->config);
    size_t skip = is_position(item) && assembly->bare_positions ? 0 : prefix;
    float *stored = NULL;
    if (from.rows == to.rows && from.columns == to.columns)
        return dvit_tensor_to_f32(view, out + prefix - skip, error);
    stored = malloc(dvit_tensor_elements(view) * sizeof *stored);
    if (!stored)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "tensor \"%s\": out of memory", item->name);
    DVIT_TRY(dvit_tensor_to_f32(view, stored, error));
    memcpy(out, stored, skip * sizeof *out);
    if (assembly->antialiased)
        dvit_position_resize_antialiased(out + prefix, to, stored + skip, from, (int)dim);
    else
        dvit_position_resize(out + prefix, to, stored + skip, from, (int)dim);
done:
    free(stored);
    return status;
}

enum dvit_status dvit_assembly_read(const struct dvit_assembly *assembly, struct dvit_model *model,
                                    struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_tensor_names *names = assembly->names;
    for (size_t i = 0; i < model->parameters.count; i++) {
        const struct dvit_parameter *item = &model->parameters.items[i];
        float *out = dvit_model_weights(model, i);
        if (assembly->new_heads && item->group == DVIT_GROUP_HEAD)
            continue;
        size_t first = dvit_tensor_names_lookup(names, item->name);
        size_t parts = (size_t)names->items[first].parts;
        if (item->on_grid)
            DVIT_TRY(read_on_grid(assembly, names->items[first].view, model, item, out, error));
        else if (names->items[first].view->dtype == DVIT_DTYPE_I8)
            DVIT_TRY(dvit_quantised_read(names, item, out, &model->inputs[i], error));
        else
            for (size_t part = 0; part < parts; part++)
                DVIT_TRY(dvit_tensor_to_f32(names->items[first + part].view,
                                            out + part * (item->count / parts), error));
    }
done:
    return status;
}
