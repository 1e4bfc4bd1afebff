/* `dvit convert`: a model of any format as one complete file, in the format and number type asked
 * for. What it prints is read back from the files themselves. */
#include <stdio.h>
#include <string.h>

#include "json_lines.h"
#include "print.h"
#include "stored_file.h"
#include "workbench.h"

/* One end of the conversion. */
struct end {
    const char *path;
    struct cli_file_summary summary;
    bool is_file; /* not so for a preset or a "vit:…" text */
};

static int summarise(struct end *end)
{
    struct dvit_error error = {0};
    struct dvit_weight_file *file = NULL;
    end->is_file = cli_is_model_file(end->path);
    if (!end->is_file)
        return CLI_EXIT_OK;
    if (dvit_weight_file_open(&file, end->path, &error) != DVIT_OK)
        return cli_fail(&error);
    end->summary = cli_file_summarise(file, end->path);
    dvit_weight_file_free(file);
    return CLI_EXIT_OK;
}

static void json_end(struct cli_json *json, const char *name, const struct end *end)
{
    cli_json_open(json, name, '{');
    cli_json_string(json, "path", end->path);
    if (end->is_file)
        cli_file_json_summary(json, &end->summary);
    cli_json_close(json, '}');
}

static void print_json(const struct dvit_model *model, const struct end *in, const struct end *out)
{
    struct cli_json json = cli_json_begin(stdout);
    cli_json_string(&json, "architecture", dvit_model_config(model)->name);
    cli_json_integer(&json, "parameters", (long long)dvit_model_parameters(model));
    json_end(&json, "in", in);
    json_end(&json, "out", out);
    cli_json_end(&json);
}

static void print_text(const struct dvit_model *model, const struct end *in, const struct end *out)
{
    const struct dvit_config *config = dvit_model_config(model);
    char text[256];
    cli_print("model  %s, %zu parameters, %d classes, %dx%d pixels", config->name,
              dvit_model_parameters(model), config->classes, config->image_width,
              config->image_height);
    if (config->stages)
        cli_print(", prunes before blocks %s at keep %g",
                  cli_join_ints(config->stage_block, config->stages, text), config->keep);
    fputs("\nin     ", stdout);
    cli_print_plain(in->path);
    if (in->is_file)
        cli_print(": %s", cli_file_describe(&in->summary, text));
    else
        printf(": random weights");
    fputs("\nout    ", stdout);
    cli_print_plain(out->path);
    cli_print(": %s", cli_file_describe(&out->summary, text));
    if (in->is_file && in->summary.size_bytes)
        printf(", %.1f %% of in",
               100 * (double)out->summary.size_bytes / (double)in->summary.size_bytes);
    putchar('\n');
}

static enum dvit_file_format chosen_format(const struct cli_options *options)
{
    if (!options->format)
        return DVIT_FILE_BY_NAME;
    return strcmp(options->format, "pth") == 0 ? DVIT_FILE_TORCH : DVIT_FILE_SAFETENSORS;
}

static int check_keep(const struct dvit_model *model, const struct cli_options *options)
{
    if (!options->keep || dvit_model_config(model)->stages)
        return CLI_EXIT_OK;
    cli_error("convert: \"%s\" is a dense model and keeps everything, --keep %g means nothing to "
              "it; `dvit sparsify` makes a dynamic one",
              options->operands[0], options->keep);
    return CLI_EXIT_USAGE;
}

int cli_cmd_convert(const struct cli_options *options)
{
    struct dvit_error error = {0};
    struct dvit_model *model = NULL;
    struct end in = {.path = cli_model_file(options->operands[0])},
               out = {.path = options->operands[1]};
    struct dvit_save_options save = {.format = chosen_format(options), .dtype = options->dtype};
    int code = cli_check_file(out.path);
    if (code == CLI_EXIT_OK)
        code = cli_model_open(&model, in.path, options, options->keep, false);
    if (code == CLI_EXIT_OK)
        code = check_keep(model, options);
    if (code == CLI_EXIT_OK)
        code = summarise(&in);
    if (code == CLI_EXIT_OK && dvit_model_save(model, out.path, &save, &error) != DVIT_OK)
        code = cli_fail(&error);
    if (code == CLI_EXIT_OK)
        code = summarise(&out);
    if (code == CLI_EXIT_OK && options->json)
        print_json(model, &in, &out);
    else if (code == CLI_EXIT_OK)
        print_text(model, &in, &out);
    dvit_model_free(model);
    return code;
}
