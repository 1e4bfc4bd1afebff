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

enum dvit_status dvit_run_config_write(const char *path, const struct dvit_trainer *t,
                                       const struct dvit_dataset *data,
                                       const struct dvit_dataset *validation,
                                       struct dvit_error *error)
{
    json_t *root = json_pack(
        "{s:o, s:s, s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "command",
        dvit_train_text_json(t->options.command ? t->options.command : ""), "version",
        dvit_version(), "build", build_json(), "seed", (json_int_t)t->options.seed, "data",
        data_json(data), "validation", validation ? data_json(validation) : json_null(), "model",
        model_json(t->model), "options", dvit_train_options_json(&t->options, false), "machine",
        machine_json(t));
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    if (!text)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory or not UTF-8", path);
    enum dvit_status status = dvit_file_replace(path, text, strlen(text), error);
    free(text);
    return status;
}
