/* `dvit quantize`: a model for int8 sessions. Measures the ranges of its layers on images, writes
 * the file, and shows what the precisions cost on other images, where there are some. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dvit/eval.h"
#include "dvit/quantize.h"
#include "image_list.h"
#include "json_lines.h"
#include "precision_table.h"
#include "print.h"
#include "stored_file.h"
#include "workbench.h"

enum {
    FIFTH = 5, /* of images without a validation part, one in five is held out to be checked */
};

struct job {
    const struct cli_options *options;
    const char *name; /* of the model, as given */
    struct dvit_model *model;
    struct cli_image_list list; /* where --calibrate is images without classes */
    struct dvit_dataset *calibration;
    struct dvit_dataset *check; /* NULL: the calibration images */
    bool held_out;              /* the images checked are others than those measured */
    bool labelled;              /* labels of the check are the model's classes */
};

/* Every fifth path last, and how many those are; the others keep their order. */
static size_t put_fifths_last(char **paths, size_t count, char **held)
{
    size_t stay = 0, out = 0;
    for (size_t i = 0; i < count; i++)
        if (i % FIFTH == FIFTH - 1)
            held[out++] = paths[i];
        else
            paths[stay++] = paths[i];
    for (size_t i = 0; i < out; i++)
        paths[stay + i] = held[i];
    return out;
}

/* All images of a folder: a fifth of them is checked, where there are so many. */
static int open_loose_images(struct job *job)
{
    struct dvit_error error = {0};
    char *folder = (char *)job->options->calibrate; /* only read */
    size_t empty = 0;
    int code = cli_image_list_create(&job->list, &folder, 1, &empty);
    if (code != CLI_EXIT_OK || empty)
        return code == CLI_EXIT_OK ? CLI_EXIT_FAILURE : code;
    char **held = calloc(job->list.count / FIFTH + 1, sizeof *held);
    if (!held) {
        cli_error("out of memory");
        return CLI_EXIT_FAILURE;
    }
    size_t checked = put_fifths_last(job->list.paths, job->list.count, held);
    size_t measured = job->list.count - checked;
    const char *const *paths = (const char *const *)job->list.paths;
    enum dvit_status status =
        dvit_dataset_open_files(&job->calibration, paths, measured, NULL, &error);
    if (status == DVIT_OK && checked)
        status = dvit_dataset_open_files(&job->check, paths + measured, checked, NULL, &error);
    job->held_out = checked > 0;
    free(held);
    return status == DVIT_OK ? CLI_EXIT_OK : cli_fail(&error);
}

/* The training part is measured on and the validation part checked; labels count where they are the
 * model's classes. */
static int open_data(struct job *job)
{
    struct dvit_error error = {0};
    struct dvit_dataset_options options = dvit_dataset_options_default();
    const char *spec = job->options->calibrate;
    options.scene_side = dvit_model_config(job->model)->image_width;
    enum dvit_status status = dvit_dataset_open(&job->calibration, spec, "train", &options, &error);
    if (status == DVIT_ERROR_FORMAT && cli_is_folder(spec))
        return open_loose_images(job);
    if (status != DVIT_OK)
        return cli_fail(&error);
    job->labelled =
        dvit_dataset_open_for(&job->check, job->model, spec, "val", &options, &error) == DVIT_OK;
    if (!job->labelled)
        cli_note("the classes of \"%s\" are not the model's: without accuracy", spec);
    if (!job->labelled && dvit_dataset_open(&job->check, spec, "val", &options, &error) != DVIT_OK)
        return cli_fail(&error);
    job->held_out = strcmp(dvit_dataset_fingerprint(job->calibration),
                           dvit_dataset_fingerprint(job->check)) != 0;
    return CLI_EXIT_OK;
}

static int calibrate(struct job *job)
{
    struct dvit_error error = {0};
    struct cli_counter counter = {.what = "calibration: images"};
    struct dvit_calibrate_options options = {.images = (size_t)job->options->count,
                                             .seed = job->options->seed,
                                             .batch = job->options->batch,
                                             .threads = job->options->threads,
                                             .workers = cli_readers(job->options),
                                             .cpu = job->options->cpu};
    enum dvit_status status = dvit_model_calibrate(job->model, job->calibration, &options,
                                                   cli_progress_count, &counter, &error);
    cli_progress_clear();
    if (status != DVIT_OK)
        return cli_fail(&error);
    size_t images = dvit_model_calibration_images(job->model);
    if (images < DVIT_CALIBRATION_ENOUGH)
        cli_note("warning: ranges measured on %zu image%s are a matter of chance: give at least "
                 "%d images like those that the model is for (--calibrate, --count)",
                 images, images == 1 ? "" : "s", DVIT_CALIBRATION_ENOUGH);
    if (!job->held_out)
        cli_note("warning: \"%s\" has no other images to check: the table is of those that were "
                 "measured, and shows less loss than others will",
                 job->options->calibrate);
    return CLI_EXIT_OK;
}

static int tell_file(const struct job *job)
{
    struct dvit_error error = {0};
    struct dvit_weight_file *file = NULL;
    char text[256];
    if (dvit_weight_file_open(&file, job->options->out, &error) != DVIT_OK)
        return cli_fail(&error);
    struct cli_file_summary summary = cli_file_summarise(file, job->options->out);
    dvit_weight_file_free(file);
    if (job->options->json) {
        struct cli_json json = cli_json_begin(stdout);
        cli_json_string(&json, "out", job->options->out);
        cli_json_integer(&json, "quantised_layers",
                         (long long)dvit_model_quantised_layers(job->model));
        cli_json_integer(&json, "calibration_images",
                         (long long)dvit_model_calibration_images(job->model));
        cli_json_bool(&json, "held_out", job->held_out);
        cli_file_json_summary(&json, &summary);
        cli_json_end(&json);
        return CLI_EXIT_OK;
    }
    cli_print_plain(job->options->out);
    size_t images = dvit_model_calibration_images(job->model);
    cli_print(": %zu layers in int8, ranges measured on %zu image%s, %s\n\n",
              dvit_model_quantised_layers(job->model), images, images == 1 ? "" : "s",
              cli_file_describe(&summary, text));
    return CLI_EXIT_OK;
}

static int write_file(const struct job *job)
{
    struct dvit_error error = {0};
    const struct dvit_save_options save = {.format = DVIT_FILE_BY_NAME, .dtype = "int8"};
    if (dvit_model_save(job->model, job->options->out, &save, &error) != DVIT_OK)
        return cli_fail(&error);
    return tell_file(job);
}

static int compare(const struct job *job)
{
    const struct dvit_config *config = dvit_model_config(job->model);
    const double keeps[2] = {config->keep, 1.0};
    bool prunes = config->stages > 0 && config->keep < 1.0;
    const struct cli_precision_table table = {
        .name = job->name,
        .model = job->model,
        .set = job->check ? job->check : job->calibration,
        .which = job->held_out ? " that were not measured" : ", the ones that were measured",
        .labelled = job->labelled,
        .keeps = prunes ? keeps : keeps + 1,
        .keep_count = prunes ? 2 : 1};
    return cli_precision_table_print(&table, job->options);
}

int cli_cmd_quantize(const struct cli_options *options)
{
    struct job job = {.options = options, .name = options->model};
    int code = cli_check_file(options->out);
    if (code == CLI_EXIT_OK)
        code = cli_model_open(&job.model, job.name, options, options->keep, false);
    if (code == CLI_EXIT_OK)
        code = open_data(&job);
    if (code == CLI_EXIT_OK)
        code = calibrate(&job);
    if (code == CLI_EXIT_OK)
        code = write_file(&job);
    if (code == CLI_EXIT_OK)
        code = compare(&job);
    dvit_dataset_free(job.check);
    dvit_dataset_free(job.calibration);
    cli_image_list_free(&job.list);
    dvit_model_free(job.model);
    return code;
}
