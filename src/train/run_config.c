/* config.json: what a run was asked for, with what data, by which dvit, on which machine. */
#define _POSIX_C_SOURCE 200809L
#include "train/run_log.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/file.h"
#include "base/threads.h"
#include "kernels/matmul.h"
#include "train/options.h"
#include "train/revision.h"
#include "weights/text.h"

static json_t *model_json(const struct dvit_model *model)
{
    const struct dvit_config *c = &model->config;
    json_t *blocks = json_array();
    for (int s = 0; s < c->stages; s++)
        json_array_append_new(blocks, json_integer(c->stage_block[s]));
    json_t *kept = json_array();
    for (int s = 0; s < c->stages; s++)
        json_array_append_new(kept, json_integer(dvit_config_kept(c, c->keep, s)));
    return json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:s, s:i, s:o, s:I}",
                     "name", c->name, "image_width", c->image_width, "image_height",
                     c->image_height, "patch", c->patch, "dim", c->dim, "depth", c->depth, "heads",
                     c->heads, "mlp", c->mlp, "classes", c->classes, "stage_blocks", blocks,
                     "pruning", c->stages ? dvit_pruning_name(c->pruning) : "none", "patches",
                     dvit_config_patches(c), "kept", kept, "parameters",
                     (json_int_t)model->parameters.total);
}

static json_t *data_json(const struct dvit_dataset *data)
{
    return json_pack("{s:s, s:I, s:i}", "fingerprint", dvit_dataset_fingerprint(data), "images",
                     (json_int_t)dvit_dataset_size(data), "classes", dvit_dataset_classes(data));
}

static json_t *build_json(void)
{
#ifdef __clang__
    return json_pack("{s:s, s:s}", "revision", DVIT_REVISION, "compiler", __VERSION__);
#else
    return json_pack("{s:s, s:s}", "revision", DVIT_REVISION, "compiler", "GCC " __VERSION__);
#endif
}

static json_t *machine_json(const struct dvit_trainer *t)
{
    char processor[128], text[300] = "unknown";
    struct utsname system;
    dvit_cpu_describe(processor, sizeof processor);
    if (uname(&system) == 0)
        snprintf(text, sizeof text, "%s %s %s", system.sysname, system.release, system.machine);
    return json_pack("{s:s, s:s, s:s, s:s, s:i}", "processor", processor, "system", text, "kernels",
                     dvit_cpu_name(t->kernels.cpu), "matrix_products", dvit_matmul_backend(),
                     "threads", dvit_threads_count(t->threads));
}

static json_t *config_json(const struct dvit_trainer *t, const struct dvit_dataset *data,
                           const struct dvit_dataset *validation)
{
    return json_pack("{s:o, s:s, s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "command",
                     dvit_train_text_json(t->options.command ? t->options.command : ""), "version",
                     dvit_version(), "build", build_json(), "seed", (json_int_t)t->options.seed,
                     "data", data_json(data), "validation",
                     validation ? data_json(validation) : json_null(), "model",
                     model_json(t->model), "options", dvit_train_options_json(&t->options, false),
                     "machine", machine_json(t));
}

enum dvit_status dvit_run_config_write(const char *path, const struct dvit_trainer *t,
                                       const struct dvit_dataset *data,
                                       const struct dvit_dataset *validation,
                                       struct dvit_error *error)
{
    json_t *root = config_json(t, data, validation);
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    if (!text)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory or not UTF-8", path);
    enum dvit_status status = dvit_file_replace(path, text, strlen(text), error);
    free(text);
    return status;
}

/* ---- what is not as it was ---- */

/* What may be otherwise when a run goes on, and changes its bits. */
static const struct {
    const char *group, *key; /* group NULL: at the top */
    const char *name;
} circumstances[] = {
    {"machine", "threads", "threads"},
    {"machine", "kernels", "kernels"},
    {"machine", "matrix_products", "matrix products"},
    {"machine", "processor", "processor"},
    {NULL, "version", "version"},
    {"build", "revision", "revision"},
    {"build", "compiler", "compiler"},
};

static const json_t *find(const json_t *root, const char *group, const char *key)
{
    return json_object_get(group ? json_object_get(root, group) : root, key);
}

static struct dvit_shown_text show(const json_t *value)
{
    if (json_is_string(value))
        return dvit_text_show(json_string_value(value));
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    struct dvit_shown_text shown = dvit_text_show(text ? text : "unknown");
    free(text);
    return shown;
}

/* False where nothing differs. */
static bool describe_circumstances(const json_t *before, const json_t *now, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "not as before:"), none = used;
    for (size_t i = 0; i < sizeof circumstances / sizeof *circumstances; i++) {
        const json_t *had = find(before, circumstances[i].group, circumstances[i].key);
        const json_t *has = find(now, circumstances[i].group, circumstances[i].key);
        if (json_equal(had, has) || used >= size)
            continue;
        used += (size_t)snprintf(text + used, size - used, "%s %s (%s, now %s)",
                                 used == none ? "" : ",", circumstances[i].name, show(had).text,
                                 show(has).text);
    }
    if (used == none)
        return false;
    if (used < size)
        snprintf(text + used, size - used,
                 ": the bits will not be those of a run that was never stopped");
    return true;
}

static void describe_images(const json_t *set, char text[64])
{
    const json_t *images = json_object_get(set, "images"), *classes;
    classes = json_object_get(set, "classes");
    if (json_is_integer(images) && json_is_integer(classes))
        snprintf(text, 64, "%lld images in %lld classes", (long long)json_integer_value(images),
                 (long long)json_integer_value(classes));
    else
        snprintf(text, 64, "none");
}

static bool describe_validation(const json_t *before, const json_t *now, char *text, size_t size)
{
    const json_t *had = json_object_get(before, "validation");
    const json_t *has = json_object_get(now, "validation");
    char former[64], present[64];
    if (!had || json_equal(had, has))
        return false;
    describe_images(had, former);
    describe_images(has, present);
    snprintf(text, size,
             "the validation data are not as before (%s, now %s%s): accuracies cannot be compared, "
             "and the best model so far was chosen by the former",
             former, strcmp(former, present) == 0 ? "other " : "", present);
    return true;
}

void dvit_run_config_compare(const char *path, const struct dvit_trainer *t,
                             const struct dvit_dataset *data, const struct dvit_dataset *validation,
                             void (*tell)(void *context, const char *sentence), void *context)
{
    enum { LIMIT_BYTES = 1 << 20 };
    unsigned char *content = NULL;
    size_t size = 0;
    char text[1200];
    if (dvit_file_read(path, LIMIT_BYTES, &content, &size, NULL) != DVIT_OK)
        return;
    json_t *before = json_loadb((const char *)content, size, JSON_REJECT_DUPLICATES, NULL);
    json_t *now = config_json(t, data, validation);
    if (before && now && describe_validation(before, now, text, sizeof text))
        tell(context, text);
    if (before && now && describe_circumstances(before, now, text, sizeof text))
        tell(context, text);
    json_decref(before);
    json_decref(now);
    free(content);
}
