/* `dvit info`: layers, shapes, parameters, tokens, cost and memory of a model; of a file, model or
 * not, also what is stored in it. */
#include <stdio.h>

#include "json_lines.h"
#include "misfits.h"
#include "print.h"
#include "stored_file.h"
#include "workbench.h"

enum { MAX_REASON = 200 }; /* bytes: it may go on with the names of tensors */

struct subject {
    const char *name;
    struct dvit_weight_file *file; /* NULL: random weights */
    struct dvit_error reason;      /* why the file is no model */
    struct cli_misfits misfits;    /* its tensors that do not fit */
    /* of models: */
    struct dvit_model *model;
    struct dvit_session *session; /* made for its memory plan, never run */
    struct dvit_session_info plan;
    struct dvit_layers *layers;
    int tokens[DVIT_MAX_STAGES];
    int stages; /* of the path that runs */
};

static const char *fit_name(const struct dvit_preprocess *preprocess)
{
    static const char *const names[] = {
        [DVIT_FIT_CROP] = "crop",
        [DVIT_FIT_SQUASH] = "squash",
        [DVIT_FIT_NONE] = "none",
    };
    return names[preprocess->fit];
}

/* The order of resizing's passes. */
static const char *resize_name(const struct dvit_preprocess *preprocess)
{
    return preprocess->pillow13 ? "pillow13" : "pillow12";
}

static void json_preprocess(struct cli_json *json, const struct dvit_preprocess *preprocess)
{
    cli_json_open(json, "preprocess", '{');
    cli_json_string(json, "name", preprocess->name);
    cli_json_string(json, "fit", fit_name(preprocess));
    cli_json_string(json, "filter", preprocess->bilinear ? "bilinear" : "bicubic");
    cli_json_string(json, "resize", resize_name(preprocess));
    cli_json_integer(json, "resize_side", preprocess->resize_side);
    cli_json_integer(json, "crop_width", preprocess->crop_width);
    cli_json_integer(json, "crop_height", preprocess->crop_height);
    cli_json_open(json, "mean", '[');
    for (int i = 0; i < 3; i++)
        cli_json_float(json, NULL, preprocess->mean[i]);
    cli_json_close(json, ']');
    cli_json_open(json, "std", '[');
    for (int i = 0; i < 3; i++)
        cli_json_float(json, NULL, preprocess->std[i]);
    cli_json_close(json, ']');
    cli_json_close(json, '}');
}

static void json_layers(struct cli_json *json, const struct dvit_layers *layers)
{
    cli_json_open(json, "layers", '[');
    for (size_t i = 0; i < dvit_layers_count(layers); i++) {
        struct dvit_layer_info layer = dvit_layers_get(layers, i);
        cli_json_open(json, NULL, '{');
        cli_json_string(json, "kind", layer.kind);
        cli_json_string(json, "name", layer.name);
        cli_json_integer(json, "tokens", (long long)layer.tokens);
        cli_json_integer(json, "width", (long long)layer.width);
        cli_json_integer(json, "parameters", (long long)layer.parameters);
        cli_json_real(json, "macs", layer.macs);
        cli_json_close(json, '}');
    }
    cli_json_close(json, ']');
}

static void json_config(struct cli_json *json, const struct dvit_config *config)
{
    cli_json_string(json, "architecture", config->name);
    cli_json_integer(json, "image_width", config->image_width);
    cli_json_integer(json, "image_height", config->image_height);
    cli_json_integer(json, "patch", config->patch);
    cli_json_integer(json, "patches", dvit_config_patches(config));
    cli_json_integer(json, "dim", config->dim);
    cli_json_integer(json, "depth", config->depth);
    cli_json_integer(json, "heads", config->heads);
    cli_json_integer(json, "mlp", config->mlp);
    cli_json_integer(json, "classes", config->classes);
    cli_json_open(json, "stage_blocks", '[');
    for (int s = 0; s < config->stages; s++)
        cli_json_integer(json, NULL, config->stage_block[s]);
    cli_json_close(json, ']');
    if (config->stages)
        cli_json_string(json, "pruning", dvit_pruning_name(config->pruning));
}

/* ---- JSON ---- */

static void json_model(struct cli_json *json, const struct subject *subject)
{
    const char *note = NULL;
    cli_json_integer(json, "parameters", (long long)dvit_model_parameters(subject->model));
    cli_json_integer(json, "quantised_layers",
                     (long long)dvit_model_quantised_layers(subject->model));
    if (dvit_model_calibration_images(subject->model))
        cli_json_integer(json, "calibration_images",
                         (long long)dvit_model_calibration_images(subject->model));
    cli_json_real(json, "gmacs", subject->plan.cost.macs / 1e9);
    cli_json_real(json, "gmacs_published", subject->plan.cost.macs_published / 1e9);
    cli_json_open(json, "tokens", '[');
    for (int s = 0; s < subject->stages; s++)
        cli_json_integer(json, NULL, subject->tokens[s]);
    cli_json_close(json, ']');
    cli_json_real(json, "keep", subject->plan.keep);
    json_config(json, dvit_model_config(subject->model));
    json_preprocess(json, dvit_model_preprocess(subject->model));
    cli_json_open(json, "notes", '[');
    for (size_t i = 0; (note = dvit_model_note(subject->model, i)) != NULL; i++)
        cli_json_string(json, NULL, note);
    cli_json_close(json, ']');
    cli_json_open(json, "memory", '{');
    cli_json_integer(json, "batch", subject->plan.max_batch);
    cli_json_integer(json, "threads", subject->plan.threads);
    cli_json_integer(json, "weight_bytes", (long long)subject->plan.weight_bytes);
    cli_json_integer(json, "activation_bytes", (long long)subject->plan.activation_bytes);
    cli_json_close(json, '}');
    json_layers(json, subject->layers);
}

static int json_file(struct cli_json *json, const struct subject *subject,
                     const struct cli_options *options)
{
    struct cli_file_summary summary = cli_file_summarise(subject->file, subject->name);
    int code = CLI_EXIT_OK;
    cli_json_open(json, "file", '{');
    cli_file_json_summary(json, &summary);
    if (options->tensors || !subject->model)
        code = cli_file_json_tensors(json, subject->file, options->tensors);
    if (options->contents || !subject->model)
        cli_file_json_values(json, subject->file);
    cli_json_close(json, '}');
    return code;
}

static void json_reason(struct cli_json *json, const struct subject *subject)
{
    cli_json_string(json, "reason", subject->reason.message);
    cli_json_open(json, "misfits", '[');
    for (size_t i = 0; i < subject->misfits.count; i++)
        cli_json_string(json, NULL, subject->misfits.sentences[i]);
    cli_json_close(json, ']');
}

static int print_json(const struct subject *subject, const struct cli_options *options)
{
    int code = CLI_EXIT_OK;
    struct cli_json json = cli_json_begin(stdout);
    cli_json_string(&json, "model", subject->name);
    if (subject->model)
        json_model(&json, subject);
    else
        json_reason(&json, subject);
    if (subject->file)
        code = json_file(&json, subject, options);
    cli_json_end(&json);
    return code;
}

static int print_layers(const struct subject *subject)
{
    static const char *const headers[] = {"layer", "kind",       "tokens",
                                          "width", "parameters", "MACs (million)"};
    struct dvit_table *table = cli_table_create(headers, 6, 2);
    if (!table)
        return CLI_EXIT_FAILURE;
    for (size_t i = 0; i < dvit_layers_count(subject->layers); i++) {
        struct dvit_layer_info layer = dvit_layers_get(subject->layers, i);
        dvit_table_cell(table, "%s", layer.name);
        dvit_table_cell(table, "%s", layer.kind);
        dvit_table_cell(table, "%zu", layer.tokens);
        dvit_table_cell(table, "%zu", layer.width);
        dvit_table_cell(table, "%zu", layer.parameters);
        dvit_table_cell(table, "%.3f", layer.macs / 1e6);
    }
    return cli_table_print(table);
}

static void print_preprocess(const struct dvit_preprocess *p)
{
    char filter[40];
    snprintf(filter, sizeof filter, "%s, %s", p->bilinear ? "bilinear" : "bicubic", resize_name(p));
    cli_print("preprocess   %s: ", p->name);
    if (p->fit == DVIT_FIT_NONE)
        printf("images of");
    else if (p->fit == DVIT_FIT_CROP)
        cli_print("short side to %d (%s), crop", p->resize_side, filter);
    else if (p->resize_side)
        cli_print("squash to %dx%d (%s), crop", p->resize_side, p->resize_side, filter);
    else
        cli_print("squash (%s) to", filter);
    printf(" %dx%d, mean %g %g %g, std %g %g %g\n", p->crop_width, p->crop_height,
           (double)p->mean[0], (double)p->mean[1], (double)p->mean[2], (double)p->std[0],
           (double)p->std[1], (double)p->std[2]);
}

static void print_summary(const struct subject *subject)
{
    const struct dvit_config *config = dvit_model_config(subject->model);
    char text[256];
    printf("model        ");
    cli_print_plain(subject->name);
    cli_print(" (%s)\n", config->name);
    printf("shape        %d wide, %d blocks, %d heads, MLP %d, patch %d of %dx%d pixels: %d "
           "patches, %d classes\n",
           config->dim, config->depth, config->heads, config->mlp, config->patch,
           config->image_width, config->image_height, dvit_config_patches(config), config->classes);
    printf("parameters   %zu\n", dvit_model_parameters(subject->model));
    cli_print("precision    %s", subject->plan.precision);
    if (dvit_model_quantised_layers(subject->model))
        printf(", %zu layers calibrated for int8", dvit_model_quantised_layers(subject->model));
    if (dvit_model_calibration_images(subject->model))
        cli_print(" on %zu image%s", dvit_model_calibration_images(subject->model),
                  dvit_model_calibration_images(subject->model) == 1 ? "" : "s");
    putchar('\n');
    if (config->stages)
        cli_print("stages       before blocks %s, pruning: %s\n",
                  cli_join_ints(config->stage_block, config->stages, text),
                  dvit_pruning_name(config->pruning));
    if (subject->stages)
        cli_print("tokens       %s patches kept of %d at keep %g\n",
                  cli_join_ints(subject->tokens, subject->stages, text),
                  dvit_config_patches(config), subject->plan.keep);
    else
        printf("tokens       all %d patches (dense path)\n", dvit_config_patches(config));
    printf("cost         %.3f GMACs per image, %.3f as published (\"GFLOPs\" of the literature)\n",
           subject->plan.cost.macs / 1e9, subject->plan.cost.macs_published / 1e9);
    print_preprocess(dvit_model_preprocess(subject->model));
    printf("memory       %.1f MiB weights, %.1f MiB activations for batch %d on %d threads\n",
           (double)subject->plan.weight_bytes / 1048576,
           (double)subject->plan.activation_bytes / 1048576, subject->plan.max_batch,
           subject->plan.threads);
}

static void print_file(const struct subject *subject)
{
    struct cli_file_summary summary = cli_file_summarise(subject->file, subject->name);
    char text[256];
    fputs("file         ", stdout);
    if (!subject->model) {
        cli_print_plain(subject->name);
        fputs(": ", stdout);
    }
    cli_print("%s\n", cli_file_describe(&summary, text));
    cli_file_print_contents(subject->file);
}

/* One or two tables, then the summary. A file that is no model has its tensors for layers. */
static int print_text(const struct subject *subject, const struct cli_options *options)
{
    int code = CLI_EXIT_OK;
    bool listed = options->tensors || options->contents;
    if (options->tensors || (!subject->model && !listed))
        code = cli_file_print_tensors(subject->file, options->tensors);
    if (options->tensors && options->contents)
        putchar('\n');
    if (code == CLI_EXIT_OK && options->contents)
        code = cli_file_print_values(subject->file);
    if (code == CLI_EXIT_OK && subject->model && !listed)
        code = print_layers(subject);
    putchar('\n');
    if (code == CLI_EXIT_OK && subject->model)
        print_summary(subject);
    if (code == CLI_EXIT_OK && subject->file)
        print_file(subject);
    return code;
}

/* Whether a file that gave this error may yet be shown as a file of tensors. */
static bool is_no_model(enum dvit_status status)
{
    return status == DVIT_ERROR_FORMAT || status == DVIT_ERROR_MISMATCH ||
           status == DVIT_ERROR_UNSUPPORTED || status == DVIT_ERROR_LIMIT;
}

static int open_model(struct subject *subject, const struct cli_options *options)
{
    struct dvit_error *reason = &subject->reason;
    bool is_random = false;
    struct dvit_load_options load = cli_load_options(options, options->keep, subject->name);
    load.problem = cli_misfits_add;
    load.context = &subject->misfits;
    enum dvit_status status =
        cli_model_read(&subject->model, subject->name, options, &load, &is_random, reason);
    cli_misfits_tell(&subject->misfits, subject->name);
    if (status != DVIT_OK && subject->file && is_no_model(status)) {
        int shown = cli_shown_bytes(reason->message, MAX_REASON);
        cli_detail("no model that dvit can run: %.*s%s", shown, reason->message,
                   reason->message[shown] ? " …" : "");
        return CLI_EXIT_OK;
    }
    if (status != DVIT_OK)
        return cli_fail(reason);
    cli_model_tell(subject->model, subject->name, options, is_random);
    return cli_model_prune(&subject->model, subject->name, options, options->keep, true);
}

static int open_subject(struct subject *subject, const struct cli_options *options)
{
    struct dvit_error error = {0};
    if (cli_is_model_file(subject->name)) {
        if (dvit_weight_file_open(&subject->file, cli_model_file(subject->name), &error) != DVIT_OK)
            return cli_fail(&error);
    } else if (options->tensors || options->contents) {
        cli_error("info: --%s needs a file, \"%s\" is none",
                  options->tensors ? "tensors" : "contents", subject->name);
        return CLI_EXIT_USAGE;
    }
    int code = open_model(subject, options);
    if (code == CLI_EXIT_OK && !subject->model)
        return code;
    if (code == CLI_EXIT_OK)
        code = cli_session_create(&subject->session, subject->model, options, options->keep,
                                  options->batch);
    if (code != CLI_EXIT_OK)
        return code;
    subject->plan = dvit_session_describe(subject->session);
    subject->stages = dvit_session_stages(subject->session);
    cli_tokens(subject->session, subject->model, subject->tokens);
    if (dvit_layers_create(&subject->layers, dvit_model_config(subject->model), subject->plan.keep,
                           &error) != DVIT_OK)
        return cli_fail(&error);
    return CLI_EXIT_OK;
}

int cli_cmd_info(const struct cli_options *options)
{
    struct subject subject = {.name = options->model};
    int code = open_subject(&subject, options);
    if (code == CLI_EXIT_OK)
        code = options->json ? print_json(&subject, options) : print_text(&subject, options);
    dvit_layers_free(subject.layers);
    dvit_session_free(subject.session);
    dvit_model_free(subject.model);
    dvit_weight_file_free(subject.file);
    cli_misfits_free(&subject.misfits);
    return code;
}
