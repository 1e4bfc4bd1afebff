/* `dvit diff`: which tensors differ between two files, and by how much; of two models also which of
 * their settings. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "comparison.h"
#include "print.h"
#include "workbench.h"

static const char *const difference_names[] = {
    [CLI_SAME] = "none",         [CLI_ONLY_IN_A] = "only in A", [CLI_ONLY_IN_B] = "only in B",
    [CLI_OTHER_SHAPE] = "shape", [CLI_OTHER_TYPE] = "type",     [CLI_OTHER_VALUES] = "values",
};

enum { MAX_SETTINGS = 16, MAX_SETTING = 192 };

/* What two models of one shape may differ in beside their weights. */
struct setting {
    const char *name;
    char a[MAX_SETTING], b[MAX_SETTING];
};

struct settings {
    int count; /* of those that differ */
    struct setting items[MAX_SETTINGS];
};

/* ---- settings ---- */

static void describe_size(const struct dvit_model *model, char *text)
{
    const struct dvit_config *config = dvit_model_config(model);
    snprintf(text, MAX_SETTING, "%dx%d", config->image_width, config->image_height);
}

static void describe_heads(const struct dvit_model *model, char *text)
{
    snprintf(text, MAX_SETTING, "%d", dvit_model_config(model)->heads);
}

static void describe_epsilon(const struct dvit_model *model, char *text)
{
    snprintf(text, MAX_SETTING, "%g", (double)dvit_model_config(model)->norm_eps);
}

static void describe_stages(const struct dvit_model *model, char *text)
{
    char blocks[256];
    const struct dvit_config *config = dvit_model_config(model);
    snprintf(text, MAX_SETTING, "%.90s",
             config->stages ? cli_join_ints(config->stage_block, config->stages, blocks) : "none");
}

static void describe_pruning(const struct dvit_model *model, char *text)
{
    const struct dvit_config *config = dvit_model_config(model);
    snprintf(text, MAX_SETTING, "%s", config->stages ? dvit_pruning_name(config->pruning) : "none");
}

static void describe_keep(const struct dvit_model *model, char *text)
{
    const struct dvit_config *config = dvit_model_config(model);
    snprintf(text, MAX_SETTING, "%g", config->stages ? config->keep : 1);
}

static void describe_preprocess(const struct dvit_model *model, char *text)
{
    static const char *const fits[] = {
        [DVIT_FIT_CROP] = "crop", [DVIT_FIT_SQUASH] = "squash", [DVIT_FIT_NONE] = "none"};
    const struct dvit_preprocess *p = dvit_model_preprocess(model);
    snprintf(text, MAX_SETTING, "%s: %s %s, %s, side %d, mean %g %g %g, std %g %g %g", p->name,
             p->bilinear ? "bilinear" : "bicubic", fits[p->fit],
             p->pillow13 ? "pillow13" : "pillow12", p->resize_side, (double)p->mean[0],
             (double)p->mean[1], (double)p->mean[2], (double)p->std[0], (double)p->std[1],
             (double)p->std[2]);
}

static const struct {
    const char *name;
    void (*describe)(const struct dvit_model *model, char *text);
} kinds[] = {
    {"image size", describe_size},          {"heads", describe_heads},
    {"norm epsilon", describe_epsilon},     {"stages before blocks", describe_stages},
    {"pruning", describe_pruning},          {"keep ratio", describe_keep},
    {"preprocessing", describe_preprocess},
};
enum { KIND_COUNT = sizeof kinds / sizeof *kinds };

/* The first label that differs; of other class counts the tensors tell. */
static bool compare_labels(struct setting *out, const struct dvit_model *a,
                           const struct dvit_model *b)
{
    int classes = dvit_model_config(a)->classes;
    if (classes != dvit_model_config(b)->classes)
        return false;
    for (int k = 0; k < classes; k++) {
        const char *first = dvit_model_label(a, k), *second = dvit_model_label(b, k);
        if (strcmp(first, second) == 0)
            continue;
        *out = (struct setting){.name = "labels"};
        snprintf(out->a, MAX_SETTING, "class %d: %.60s", k, first);
        snprintf(out->b, MAX_SETTING, "class %d: %.60s", k, second);
        return true;
    }
    return false;
}

static struct settings compare_settings(const struct dvit_model *a, const struct dvit_model *b)
{
    struct settings settings = {0};
    for (int i = 0; i < KIND_COUNT; i++) {
        struct setting *setting = &settings.items[settings.count];
        setting->name = kinds[i].name;
        kinds[i].describe(a, setting->a);
        kinds[i].describe(b, setting->b);
        settings.count += strcmp(setting->a, setting->b) != 0;
    }
    settings.count += compare_labels(&settings.items[settings.count], a, b);
    return settings;
}

/* ---- text ---- */

static void print_side(const char *name, const struct cli_side *side)
{
    char text[256];
    cli_print("%s  ", name);
    cli_print_plain(side->path);
    cli_print(": %s\n", cli_file_describe(&side->summary, text));
}

static void add_shapes(struct dvit_table *table, const struct cli_compared *row)
{
    const struct dvit_stored_tensor *a = row->a ? row->a : row->b, *b = row->b ? row->b : row->a;
    char shape[200], other[200];
    cli_shape_text(a, shape);
    if (row->difference == CLI_OTHER_SHAPE)
        dvit_table_cell(table, "%s / %s", shape, cli_shape_text(b, other));
    else if (strcmp(a->dtype, b->dtype) != 0)
        dvit_table_cell(table, "%s %s / %s", shape, a->dtype, b->dtype);
    else
        dvit_table_cell(table, "%s", shape);
}

static void add_number(struct dvit_table *table, bool known, double value)
{
    if (known)
        dvit_table_cell(table, "%.3g", value);
    else
        dvit_table_cell(table, "%s", "");
}

static void add_row(struct dvit_table *table, const struct cli_compared *row)
{
    const struct cli_distance *distance = &row->distance;
    bool measured = row->difference == CLI_OTHER_VALUES;
    dvit_table_cell(table, "%s", row->a ? row->a->name : row->b->name);
    dvit_table_cell(table, "%s", difference_names[row->difference]);
    add_shapes(table, row);
    add_number(table, measured,
               row->a ? 100 * (double)distance->elements /
                            (double)(row->a->elements ? row->a->elements : 1)
                      : 0);
    add_number(table, measured, distance->max);
    add_number(table, measured && isfinite(distance->relative), distance->relative);
    add_number(table, measured, distance->rms);
}

static int print_rows(const struct cli_comparison *comparison)
{
    static const char *const headers[] = {"tensor", "difference", "shape", "values %",
                                          "max",    "relative",   "RMS"};
    struct dvit_table *table = cli_table_create(headers, 7, 3);
    if (!table)
        return CLI_EXIT_FAILURE;
    for (size_t i = 0; i < comparison->count; i++)
        if (comparison->rows[i].difference != CLI_SAME)
            add_row(table, &comparison->rows[i]);
    putchar('\n');
    return cli_table_print(table);
}

static int print_settings(const struct settings *settings)
{
    static const char *const headers[] = {"setting", "A", "B"};
    struct dvit_table *table = cli_table_create(headers, 3, 3);
    if (!table)
        return CLI_EXIT_FAILURE;
    for (int i = 0; i < settings->count; i++) {
        const struct setting *setting = &settings->items[i];
        dvit_table_row(table, (const char *const[]){setting->name, setting->a, setting->b});
    }
    putchar('\n');
    return cli_table_print(table);
}

static void print_verdict(const struct cli_comparison *comparison, const struct settings *settings,
                          double tolerance)
{
    const struct cli_compared *most = cli_comparison_largest(comparison);
    if (comparison->different)
        printf("\n%zu of %zu tensors differ", comparison->different, comparison->count);
    else if (most)
        printf("\nno difference above %g in %zu tensors", tolerance, comparison->count);
    else
        printf("\nidentical: %zu tensors", comparison->count);
    if (most) {
        printf("; the largest difference is %.3g in ", most->distance.max);
        cli_print_plain(most->a->name);
    }
    if (settings->count)
        cli_print("; %d setting%s", settings->count, settings->count > 1 ? "s differ" : " differs");
    putchar('\n');
}

static int print_text(const struct cli_comparison *comparison, const struct settings *settings,
                      double tolerance)
{
    int code = CLI_EXIT_OK;
    print_side("A", &comparison->a);
    print_side("B", &comparison->b);
    if (comparison->different)
        code = print_rows(comparison);
    if (code == CLI_EXIT_OK && settings->count)
        code = print_settings(settings);
    if (code == CLI_EXIT_OK)
        print_verdict(comparison, settings, tolerance);
    return code;
}

/* ---- JSON ---- */

static void json_side(struct cli_json *json, const char *name, const struct cli_side *side)
{
    cli_json_open(json, name, '{');
    cli_json_string(json, "path", side->path);
    cli_file_json_summary(json, &side->summary);
    cli_json_close(json, '}');
}

static void json_row(struct cli_json *json, const struct cli_compared *row)
{
    cli_json_open(json, NULL, '{');
    cli_json_string(json, "name", row->a ? row->a->name : row->b->name);
    cli_json_string(json, "difference", difference_names[row->difference]);
    for (int side = 0; side < 2; side++) {
        const struct dvit_stored_tensor *tensor = side ? row->b : row->a;
        if (!tensor)
            continue;
        cli_json_string(json, side ? "dtype_b" : "dtype_a", tensor->dtype);
        cli_file_json_shape(json, side ? "shape_b" : "shape_a", tensor);
    }
    if (row->difference == CLI_OTHER_VALUES) {
        cli_json_integer(json, "elements", (long long)row->distance.elements);
        cli_json_real(json, "max", row->distance.max);
        cli_json_real(json, "relative", row->distance.relative);
        cli_json_real(json, "rms", row->distance.rms);
    }
    cli_json_close(json, '}');
}

static void print_json(const struct cli_comparison *comparison, const struct settings *settings)
{
    const struct cli_compared *most = cli_comparison_largest(comparison);
    struct cli_json json = cli_json_begin(stdout);
    json_side(&json, "a", &comparison->a);
    json_side(&json, "b", &comparison->b);
    cli_json_string(&json, "compared", comparison->a.model ? "models" : "files");
    cli_json_bool(&json, "same", !comparison->different && !settings->count);
    cli_json_integer(&json, "tensors", (long long)comparison->count);
    cli_json_integer(&json, "different", (long long)comparison->different);
    cli_json_real(&json, "max", most ? most->distance.max : 0);
    cli_json_open(&json, "differences", '[');
    for (size_t i = 0; i < comparison->count; i++)
        if (comparison->rows[i].difference != CLI_SAME)
            json_row(&json, &comparison->rows[i]);
    cli_json_close(&json, ']');
    cli_json_open(&json, "settings", '[');
    for (int i = 0; i < settings->count; i++) {
        cli_json_open(&json, NULL, '{');
        cli_json_string(&json, "name", settings->items[i].name);
        cli_json_string(&json, "a", settings->items[i].a);
        cli_json_string(&json, "b", settings->items[i].b);
        cli_json_close(&json, '}');
    }
    cli_json_close(&json, ']');
    cli_json_end(&json);
}

int cli_cmd_diff(const struct cli_options *options)
{
    struct cli_comparison comparison;
    struct settings settings = {0};
    int code = cli_comparison_run(&comparison, options);
    if (code == CLI_EXIT_OK && comparison.a.model)
        settings = compare_settings(comparison.a.model, comparison.b.model);
    if (code == CLI_EXIT_OK && options->json)
        print_json(&comparison, &settings);
    else if (code == CLI_EXIT_OK)
        code = print_text(&comparison, &settings, options->tolerance);
    if (code == CLI_EXIT_OK && (comparison.different || settings.count))
        code = CLI_EXIT_DIFFERENT;
    cli_comparison_close(&comparison);
    return code;
}
