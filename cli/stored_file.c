/* Tells what is inside a file of tensors: totals, what else is stored there, and lists of both.
 * Names and texts come from the file: they are printed without control characters. */
#define _POSIX_C_SOURCE 200809L
#include "stored_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "print.h"
#include "workbench.h"

enum {
    MAX_GROUPS = 16,       /* told in one line */
    MAX_SHORT_VALUE = 24,  /* bytes of a value told in one line */
    MAX_LISTED_VALUE = 96, /* bytes of a value in the table */
};

/* ---- totals ---- */

static void add_dtype(struct cli_file_summary *summary, const struct dvit_stored_tensor *tensor)
{
    int room = (int)(sizeof summary->dtypes / sizeof *summary->dtypes), at = 0;
    while (at < summary->dtype_count && strcmp(summary->dtypes[at].name, tensor->dtype) != 0)
        at++;
    at = at < room ? at : room - 1;
    struct cli_dtype_total *total = &summary->dtypes[at];
    if (at == summary->dtype_count) {
        snprintf(total->name, sizeof total->name, "%s", tensor->dtype);
        summary->dtype_count++;
    }
    total->tensors++;
    total->bytes += tensor->size_bytes;
}

struct cli_file_summary cli_file_summarise(const struct dvit_weight_file *file, const char *path)
{
    struct stat info;
    struct cli_file_summary summary = {.tensors = dvit_weight_file_tensor_count(file)};
    snprintf(summary.format, sizeof summary.format, "%s", dvit_weight_file_format(file));
    for (size_t i = 0; i < summary.tensors; i++) {
        struct dvit_stored_tensor tensor = dvit_weight_file_tensor(file, i);
        summary.tensor_bytes += tensor.size_bytes;
        add_dtype(&summary, &tensor);
    }
    bool sharded = strstr(summary.format, "sharded") != NULL; /* the path is only its index */
    summary.size_bytes = summary.tensor_bytes;
    if (!sharded && stat(path, &info) == 0 && S_ISREG(info.st_mode))
        summary.size_bytes = (uint64_t)info.st_size;
    return summary;
}

const char *cli_file_describe(const struct cli_file_summary *summary, char text[256])
{
    size_t used = (size_t)snprintf(text, 256, "%s, %.2f MiB, %zu tensors (", summary->format,
                                   (double)summary->size_bytes / 1048576, summary->tensors);
    for (int i = 0; i < summary->dtype_count && used < 220; i++) {
        const struct cli_dtype_total *total = &summary->dtypes[i];
        used += (size_t)snprintf(text + used, 256 - used, "%s", i ? ", " : "");
        if (summary->dtype_count > 1)
            used += (size_t)snprintf(text + used, 256 - used, "%zu ", total->tensors);
        used += (size_t)snprintf(text + used, 256 - used, "%s", total->name);
    }
    if (summary->dtype_count == 0)
        used -= 2; /* no " (" */
    snprintf(text + used, 256 - used, "%s", summary->dtype_count ? ")" : "");
    return text;
}

void cli_file_json_summary(struct cli_json *json, const struct cli_file_summary *summary)
{
    cli_json_string(json, "format", summary->format);
    cli_json_integer(json, "bytes", (long long)summary->size_bytes);
    cli_json_integer(json, "tensor_count", (long long)summary->tensors);
    cli_json_integer(json, "tensor_bytes", (long long)summary->tensor_bytes);
    cli_json_open(json, "dtypes", '{');
    for (int i = 0; i < summary->dtype_count; i++)
        cli_json_integer(json, summary->dtypes[i].name, (long long)summary->dtypes[i].tensors);
    cli_json_close(json, '}');
}

const char *cli_shape_text(const struct dvit_stored_tensor *tensor, char text[200])
{
    size_t used = (size_t)snprintf(text, 200, "[");
    for (int k = 0; k < tensor->rank; k++)
        used += (size_t)snprintf(text + used, 200 - used, "%s%llu", k ? "," : "",
                                 (unsigned long long)tensor->shape[k]);
    snprintf(text + used, 200 - used, "]");
    return text;
}

void cli_file_json_shape(struct cli_json *json, const char *name,
                         const struct dvit_stored_tensor *tensor)
{
    cli_json_open(json, name, '[');
    for (int k = 0; k < tensor->rank; k++)
        cli_json_integer(json, NULL, (long long)tensor->shape[k]);
    cli_json_close(json, ']');
}

/* ---- the top of the file ---- */

/* What stands under one key of the outermost dictionary. */
struct group {
    const char *name;
    size_t length;
    size_t tensors, values;
    struct dvit_stored_value only; /* where the key itself is a value */
};

struct groups {
    int count;
    size_t left_out; /* tensors and values of groups beyond the array */
    struct group items[MAX_GROUPS];
};

/* NULL where there is no room for another group. */
static struct group *find_group(struct groups *groups, const char *name, size_t length)
{
    for (int i = 0; i < groups->count; i++) {
        struct group *group = &groups->items[i];
        if (group->length == length && memcmp(group->name, name, length) == 0)
            return group;
    }
    if (groups->count == MAX_GROUPS) {
        groups->left_out++;
        return NULL;
    }
    struct group *group = &groups->items[groups->count++];
    *group = (struct group){.name = name, .length = length};
    return group;
}

static void find_groups(struct groups *groups, const struct dvit_weight_file *file)
{
    *groups = (struct groups){0};
    for (size_t i = 0; i < dvit_weight_file_tensor_count(file); i++) {
        const char *name = dvit_weight_file_tensor(file, i).name;
        size_t length = strcspn(name, "/");
        struct group *group = name[length] ? find_group(groups, name, length) : NULL;
        if (group)
            group->tensors++;
    }
    for (size_t i = 0; i < dvit_weight_file_value_count(file); i++) {
        struct dvit_stored_value value = dvit_weight_file_value(file, i);
        size_t length = strcspn(value.name, "/");
        struct group *group = find_group(groups, value.name, length);
        if (group && !value.name[length])
            group->only = value;
        if (group)
            group->values++;
    }
}

static void print_group(const struct group *group)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(group->length < 60 ? group->length : 60),
             group->name);
    cli_print_plain(name);
    const char *text = group->values == 1 && !group->tensors ? group->only.text : NULL;
    if (text && strlen(text) <= MAX_SHORT_VALUE) {
        putchar(' ');
        cli_print_plain(text);
    } else if (text) {
        cli_print(" (%s of %zu bytes)", group->only.kind, strlen(text));
    } else if (group->tensors && group->values) {
        printf(" (%zu tensors, %zu values)", group->tensors, group->values);
    } else {
        cli_print(" (%zu %s)", group->tensors + group->values,
                  group->tensors ? "tensors" : "values");
    }
}

void cli_file_print_contents(const struct dvit_weight_file *file)
{
    struct groups groups;
    find_groups(&groups, file);
    for (int i = 0; i < groups.count; i++) {
        fputs(i ? ", " : "contents     ", stdout);
        print_group(&groups.items[i]);
    }
    if (groups.left_out)
        printf(" and %zu more", groups.left_out);
    if (groups.count)
        putchar('\n');
}

/* ---- lists ---- */

/* The range of a tensor's finite values. */
struct range {
    double min, max, mean, deviation;
    size_t finite, not_finite;
};

static struct range measure(const float *values, size_t count)
{
    struct range range = {.min = INFINITY, .max = -INFINITY};
    double squares = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i]))
            continue;
        range.min = fmin(range.min, (double)values[i]);
        range.max = fmax(range.max, (double)values[i]);
        range.mean += (double)values[i];
        range.finite++;
    }
    range.not_finite = count - range.finite;
    range.mean = range.finite ? range.mean / (double)range.finite : NAN;
    for (size_t i = 0; i < count; i++) {
        double delta = (double)values[i] - range.mean;
        squares += isfinite(values[i]) ? delta * delta : 0;
    }
    range.deviation = range.finite ? sqrt(squares / (double)range.finite) : NAN;
    return range;
}

static int measure_tensor(const struct dvit_weight_file *file, size_t index, struct range *range)
{
    struct dvit_error error = {0};
    size_t count = dvit_weight_file_tensor(file, index).elements;
    float *values = calloc(count ? count : 1, sizeof *values);
    int code = CLI_EXIT_FAILURE;
    if (!values) {
        cli_error("out of memory for %zu values", count);
    } else if (dvit_weight_file_read(file, index, values, &error) != DVIT_OK) {
        code = cli_fail(&error);
    } else {
        *range = measure(values, count);
        code = CLI_EXIT_OK;
    }
    free(values);
    return code;
}

static void add_range(struct dvit_table *table, const struct range *range)
{
    const double shown[] = {range->min, range->max, range->mean, range->deviation};
    for (int k = 0; k < 4; k++)
        if (range->finite)
            dvit_table_cell(table, "%.4g", shown[k]);
        else
            dvit_table_cell(table, "%s", "");
    if (range->not_finite)
        dvit_table_cell(table, "%zu", range->not_finite);
    else
        dvit_table_cell(table, "%s", "");
}

int cli_file_print_tensors(const struct dvit_weight_file *file, bool ranges)
{
    static const char *const headers[] = {"tensor", "dtype", "shape", "min",
                                          "max",    "mean",  "std",   "not finite"};
    struct dvit_table *table = cli_table_create(headers, ranges ? 8 : 3, 3);
    int code = table ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
    for (size_t i = 0; code == CLI_EXIT_OK && i < dvit_weight_file_tensor_count(file); i++) {
        struct dvit_stored_tensor tensor = dvit_weight_file_tensor(file, i);
        struct range range;
        char shape[200];
        dvit_table_cell(table, "%s", tensor.name);
        dvit_table_cell(table, "%s", tensor.dtype);
        dvit_table_cell(table, "%s", cli_shape_text(&tensor, shape));
        if (ranges)
            code = measure_tensor(file, i, &range);
        if (ranges && code == CLI_EXIT_OK)
            add_range(table, &range);
    }
    if (code == CLI_EXIT_OK)
        return cli_table_print(table);
    dvit_table_free(table);
    return code;
}

int cli_file_print_values(const struct dvit_weight_file *file)
{
    static const char *const headers[] = {"name", "kind", "value"};
    struct dvit_table *table = cli_table_create(headers, 3, 3);
    if (!table)
        return CLI_EXIT_FAILURE;
    for (size_t i = 0; i < dvit_weight_file_value_count(file); i++) {
        struct dvit_stored_value value = dvit_weight_file_value(file, i);
        int shown = cli_shown_bytes(value.text, MAX_LISTED_VALUE);
        dvit_table_cell(table, "%s", value.name);
        dvit_table_cell(table, "%s", value.kind);
        dvit_table_cell(table, "%.*s%s", shown, value.text, value.text[shown] ? " …" : "");
    }
    return cli_table_print(table);
}

int cli_file_json_tensors(struct cli_json *json, const struct dvit_weight_file *file, bool ranges)
{
    int code = CLI_EXIT_OK;
    cli_json_open(json, "tensors", '[');
    for (size_t i = 0; code == CLI_EXIT_OK && i < dvit_weight_file_tensor_count(file); i++) {
        struct dvit_stored_tensor tensor = dvit_weight_file_tensor(file, i);
        struct range range;
        cli_json_open(json, NULL, '{');
        cli_json_string(json, "name", tensor.name);
        cli_json_string(json, "dtype", tensor.dtype);
        cli_file_json_shape(json, "shape", &tensor);
        if (ranges && (code = measure_tensor(file, i, &range)) == CLI_EXIT_OK) {
            cli_json_real(json, "min", range.min);
            cli_json_real(json, "max", range.max);
            cli_json_real(json, "mean", range.mean);
            cli_json_real(json, "std", range.deviation);
            cli_json_integer(json, "not_finite", (long long)range.not_finite);
        }
        cli_json_close(json, '}');
    }
    cli_json_close(json, ']');
    return code;
}

void cli_file_json_values(struct cli_json *json, const struct dvit_weight_file *file)
{
    cli_json_open(json, "contents", '[');
    for (size_t i = 0; i < dvit_weight_file_value_count(file); i++) {
        struct dvit_stored_value value = dvit_weight_file_value(file, i);
        cli_json_open(json, NULL, '{');
        cli_json_string(json, "name", value.name);
        cli_json_string(json, "kind", value.kind);
        cli_json_string(json, "value", value.text);
        cli_json_close(json, '}');
    }
    cli_json_close(json, ']');
}
