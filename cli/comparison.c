/* Compares two files of tensors.
 *
 * Two models are compared as models: the library has found the weights in the file, given them one
 * spelling of names and one type. Anything else is compared tensor by tensor as it is stored. */
#include "comparison.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "workbench.h"

enum { MAX_REASON = 200 }; /* bytes: it may go on with the names of tensors */

/* ---- the sides ---- */

static int compare_names(const void *a, const void *b)
{
    const struct dvit_stored_tensor *const *first = a, *const *second = b;
    return strcmp((*first)->name, (*second)->name);
}

static const struct dvit_stored_tensor *find_tensor(const struct cli_side *side, const char *name)
{
    struct dvit_stored_tensor wanted = {.name = name};
    const struct dvit_stored_tensor *key = &wanted, **found = NULL;
    if (side->count)
        found = bsearch(&key, side->by_name, side->count, sizeof(*side->by_name), compare_names);
    return found ? *found : NULL;
}

static struct dvit_stored_tensor model_tensor(const struct dvit_model *model, size_t index)
{
    struct dvit_tensor_info info = dvit_model_tensor(model, index);
    struct dvit_stored_tensor tensor = {
        .name = info.name, .dtype = "F32", .rank = info.rank, .elements = 1};
    for (int k = 0; k < info.rank; k++) {
        tensor.shape[k] = info.shape[k];
        tensor.elements *= info.shape[k];
    }
    return tensor;
}

static int list_tensors(struct cli_side *side)
{
    side->count = side->model ? dvit_model_tensor_count(side->model)
                              : dvit_weight_file_tensor_count(side->file);
    side->tensors = calloc(side->count + 1, sizeof *side->tensors);
    side->by_name = calloc(side->count + 1, sizeof(*side->by_name));
    if (!side->tensors || !side->by_name) {
        cli_error("out of memory for %zu tensors", side->count);
        return CLI_EXIT_FAILURE;
    }
    for (size_t i = 0; i < side->count; i++) {
        side->tensors[i] =
            side->model ? model_tensor(side->model, i) : dvit_weight_file_tensor(side->file, i);
        side->by_name[i] = &side->tensors[i];
    }
    qsort(side->by_name, side->count, sizeof(*side->by_name), compare_names);
    return CLI_EXIT_OK;
}

static int open_file(struct cli_side *side, const char *path)
{
    struct dvit_error error = {0};
    side->path = path = cli_model_file(path);
    if (dvit_weight_file_open(&side->file, path, &error) != DVIT_OK)
        return cli_fail(&error);
    side->summary = cli_file_summarise(side->file, path);
    return CLI_EXIT_OK;
}

/* Makes models of both files where that is possible. */
static void open_models(struct cli_comparison *c, const struct cli_options *options)
{
    struct dvit_error error_a = {0}, error_b = {0};
    struct dvit_load_options load = cli_load_options(options, 0, NULL);
    load.problem = NULL;
    dvit_model_load(&c->a.model, c->a.path, &load, &error_a);
    dvit_model_load(&c->b.model, c->b.path, &load, &error_b);
    if (c->a.model && c->b.model)
        return;
    if (c->a.model || c->b.model) {
        const char *reason = c->a.model ? error_b.message : error_a.message;
        int shown = cli_shown_bytes(reason, MAX_REASON);
        cli_note("compared as files of tensors: %.*s%s", shown, reason, reason[shown] ? " …" : "");
    }
    dvit_model_free(c->a.model);
    dvit_model_free(c->b.model);
    c->a.model = c->b.model = NULL;
}

static void close_side(struct cli_side *side)
{
    free(side->by_name);
    free(side->tensors);
    dvit_model_free(side->model);
    dvit_weight_file_free(side->file);
}

/* ---- two tensors ---- */

static struct cli_distance measure(const float *a, const float *b, size_t count, double tolerance)
{
    struct cli_distance distance = {0};
    double magnitude = 0, squares = 0;
    for (size_t i = 0; i < count; i++) {
        double x = (double)a[i], y = (double)b[i];
        bool same = x == y || (isnan(x) && isnan(y));
        double delta = same ? 0 : fabs(x - y);
        delta = isnan(delta) ? INFINITY : delta;
        magnitude = isfinite(x) ? fmax(magnitude, fabs(x)) : magnitude;
        distance.max = fmax(distance.max, delta);
        distance.elements += delta > tolerance;
        squares += delta * delta;
    }
    distance.rms = count ? sqrt(squares / (double)count) : 0;
    distance.relative = distance.max > 0 ? distance.max / magnitude : 0;
    return distance;
}

/* The values of a tensor: the model's own, or read into *owned. NULL after an error. */
static const float *read_values(const struct cli_side *side,
                                const struct dvit_stored_tensor *tensor, float **owned)
{
    struct dvit_error error = {0};
    size_t index = (size_t)(tensor - side->tensors);
    if (side->model)
        return dvit_model_tensor(side->model, index).data;
    *owned = calloc(tensor->elements + 1, sizeof **owned);
    if (!*owned)
        cli_error("out of memory for %zu values", tensor->elements);
    else if (dvit_weight_file_read(side->file, index, *owned, &error) == DVIT_OK)
        return *owned;
    else
        cli_fail(&error);
    return NULL;
}

static int compare_values(const struct cli_comparison *c, struct cli_compared *row,
                          double tolerance)
{
    float *owned_a = NULL, *owned_b = NULL;
    const float *a = read_values(&c->a, row->a, &owned_a);
    const float *b = a ? read_values(&c->b, row->b, &owned_b) : NULL;
    if (b)
        row->distance = measure(a, b, row->a->elements, tolerance);
    free(owned_a);
    free(owned_b);
    return b ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
}

static bool same_shape(const struct dvit_stored_tensor *a, const struct dvit_stored_tensor *b)
{
    return a->rank == b->rank &&
           memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape) == 0;
}

static int compare_row(const struct cli_comparison *c, struct cli_compared *row, double tolerance)
{
    int code = CLI_EXIT_OK;
    if (!row->b)
        row->difference = CLI_ONLY_IN_A;
    else if (!row->a)
        row->difference = CLI_ONLY_IN_B;
    else if (!same_shape(row->a, row->b))
        row->difference = CLI_OTHER_SHAPE;
    else if ((code = compare_values(c, row, tolerance)) == CLI_EXIT_OK && row->distance.elements)
        row->difference = CLI_OTHER_VALUES;
    else if (strcmp(row->a->dtype, row->b->dtype) != 0)
        row->difference = CLI_OTHER_TYPE;
    return code;
}

static int compare(struct cli_comparison *c, double tolerance)
{
    int code = CLI_EXIT_OK;
    c->rows = calloc(c->a.count + c->b.count + 1, sizeof *c->rows);
    if (!c->rows) {
        cli_error("out of memory for %zu tensors", c->a.count + c->b.count);
        return CLI_EXIT_FAILURE;
    }
    for (size_t i = 0; i < c->a.count; i++)
        c->rows[c->count++] = (struct cli_compared){.a = &c->a.tensors[i],
                                                    .b = find_tensor(&c->b, c->a.tensors[i].name)};
    for (size_t i = 0; i < c->b.count; i++)
        if (!find_tensor(&c->a, c->b.tensors[i].name))
            c->rows[c->count++] = (struct cli_compared){.b = &c->b.tensors[i]};
    for (size_t i = 0; code == CLI_EXIT_OK && i < c->count; i++) {
        code = compare_row(c, &c->rows[i], tolerance);
        c->different += c->rows[i].difference != CLI_SAME;
    }
    return code;
}

int cli_comparison_run(struct cli_comparison *comparison, const struct cli_options *options)
{
    *comparison = (struct cli_comparison){0};
    int code = open_file(&comparison->a, options->operands[0]);
    if (code == CLI_EXIT_OK)
        code = open_file(&comparison->b, options->operands[1]);
    if (code == CLI_EXIT_OK && !options->raw)
        open_models(comparison, options);
    if (code == CLI_EXIT_OK)
        code = list_tensors(&comparison->a);
    if (code == CLI_EXIT_OK)
        code = list_tensors(&comparison->b);
    return code == CLI_EXIT_OK ? compare(comparison, options->tolerance) : code;
}

void cli_comparison_close(struct cli_comparison *comparison)
{
    close_side(&comparison->a);
    close_side(&comparison->b);
    free(comparison->rows);
}

const struct cli_compared *cli_comparison_largest(const struct cli_comparison *comparison)
{
    const struct cli_compared *found = NULL;
    for (size_t i = 0; i < comparison->count; i++)
        if (comparison->rows[i].distance.max > (found ? found->distance.max : 0))
            found = &comparison->rows[i];
    return found;
}
