/* `dvit report`: an HTML page of run folders – their curves, and what their models keep. */
#include <stdio.h>
#include <stdlib.h>

#include "exhibit.h"
#include "print.h"
#include "workbench.h"

enum { NAMED_RUNS = 3 /* in the title of a page of many */ };

/* One run, and what its best model keeps of some images. */
struct shown_run {
    const char *folder;
    struct dvit_model *model;
    struct cli_exhibit exhibit;
};

struct job {
    const struct cli_options *options;
    struct shown_run *runs; /* [operand_count] */
    struct dvit_overlay *overlays;
    struct dvit_image *pictures;
    struct dvit_report_picture *report_pictures;
    int overlay_count;
};

/* ---- one run ---- */

static bool open_model(struct shown_run *run)
{
    struct dvit_error error = {0};
    char *path = cli_path(run->folder, "best.safetensors");
    bool opened = path && dvit_model_load(&run->model, path, NULL, &error) == DVIT_OK;
    if (!opened)
        cli_note("\"%s\": curves only, its model cannot be shown: %s", run->folder,
                 path ? error.message : "out of memory");
    free(path);
    if (opened && !dvit_model_chooses(run->model)) {
        cli_note("\"%s\": a %s model drops no patches, curves only", run->folder,
                 dvit_model_config(run->model)->stages ? "pooling" : "dense");
        opened = false;
    }
    return opened;
}

static int run_model(struct shown_run *run, struct dvit_dataset *set,
                     const struct cli_options *options)
{
    struct dvit_error error = {0};
    const struct cli_exhibit_options how = {.label = cli_last_part(run->folder),
                                            .count = options->count,
                                            .keep = options->keep,
                                            .threads = options->threads,
                                            .cpu = options->cpu,
                                            .tell = true};
    if (cli_exhibit_create(&run->exhibit, run->model, set, &how, &error) == DVIT_OK)
        return CLI_EXIT_OK;
    cli_detail("\"%s\" cannot be shown", run->folder);
    return cli_fail(&error);
}

static int show_run(struct job *job, struct shown_run *run)
{
    const struct cli_options *options = job->options;
    struct dvit_dataset *set = NULL;
    if (!open_model(run))
        return CLI_EXIT_OK;
    cli_progress("running %s", run->folder);
    int code = cli_dataset_open(&set, options->data, options->split,
                                dvit_model_config(run->model)->image_width);
    if (code == CLI_EXIT_OK)
        code = run_model(run, set, options);
    cli_progress_clear();
    dvit_dataset_free(set);
    return code;
}

/* ---- the page ---- */

static int draw_pictures(struct job *job)
{
    struct dvit_error error = {0};
    int count = 0;
    for (int r = 0; r < job->options->operand_count; r++)
        count += job->runs[r].exhibit.count;
    if (count == 0)
        return CLI_EXIT_OK;
    job->overlays = calloc((size_t)count, sizeof *job->overlays);
    job->pictures = calloc((size_t)count, sizeof *job->pictures);
    job->report_pictures = calloc((size_t)count, sizeof *job->report_pictures);
    if (!job->overlays || !job->pictures || !job->report_pictures) {
        cli_error("out of memory for %d pictures", count);
        return CLI_EXIT_FAILURE;
    }
    for (int r = 0; r < job->options->operand_count; r++)
        for (int i = 0; i < job->runs[r].exhibit.count; i++) {
            struct cli_view *view = &job->runs[r].exhibit.views[i];
            int at = job->overlay_count++;
            job->overlays[at] = view->overlay;
            if (dvit_report_overlay(&job->pictures[at], &view->overlay, NULL, &error) != DVIT_OK)
                return cli_fail(&error);
            job->report_pictures[at] =
                (struct dvit_report_picture){.image = &job->pictures[at], .caption = view->caption};
        }
    return CLI_EXIT_OK;
}

static int write_gallery(const struct job *job)
{
    struct dvit_error error = {0};
    struct dvit_image gallery = {0};
    struct dvit_overlay_options options = dvit_overlay_options_default();
    const char *path = job->options->gallery;
    if (job->overlay_count == 0) {
        cli_error("\"%s\" is not written: no run has a dynamic model to show", path);
        return CLI_EXIT_FAILURE;
    }
    options.title = "What pruning kept";
    options.columns = job->overlay_count > 3 ? 2 : 1;
    enum dvit_status status =
        dvit_report_gallery(&gallery, job->overlays, job->overlay_count, &options, &error);
    if (status == DVIT_OK)
        status = dvit_image_write_png(path, &gallery, &error);
    dvit_image_free(&gallery);
    if (status != DVIT_OK)
        return cli_fail(&error);
    cli_print("%s\n", path);
    return CLI_EXIT_OK;
}

/* "dense, keep07 and 3 more". */
static void name_runs(const struct job *job, char *title, size_t size)
{
    size_t used = 0;
    int count = job->options->operand_count, named = count <= NAMED_RUNS + 1 ? count : NAMED_RUNS;
    title[0] = 0;
    for (int i = 0; i < named && used < size; i++)
        used += (size_t)snprintf(title + used, size - used, "%s%.80s", i ? ", " : "",
                                 cli_last_part(job->runs[i].folder));
    if (named < count && used < size)
        snprintf(title + used, size - used, " and %d more", count - named);
}

static int write_page(const struct job *job, const char *path)
{
    char title[100 * (NAMED_RUNS + 2)];
    struct dvit_error error = {0};
    struct dvit_report_run runs[CLI_MAX_TEXTS];
    for (int i = 0; i < job->options->operand_count; i++)
        runs[i] = (struct dvit_report_run){.folder = job->runs[i].folder};
    name_runs(job, title, sizeof title);
    struct dvit_report report = {.title = job->options->title ? job->options->title : title,
                                 .subtitle = job->options->data,
                                 .runs = runs,
                                 .run_count = job->options->operand_count,
                                 .pictures = job->report_pictures,
                                 .picture_count = job->overlay_count};
    if (dvit_report_html(path, &report, &error) != DVIT_OK)
        return cli_fail(&error);
    cli_print("%s\n", path);
    return CLI_EXIT_OK;
}

static int run_job(struct job *job, const char *path)
{
    int code = CLI_EXIT_OK;
    for (int i = 0; code == CLI_EXIT_OK && job->options->data && i < job->options->operand_count;
         i++)
        code = show_run(job, &job->runs[i]);
    if (code == CLI_EXIT_OK)
        code = draw_pictures(job);
    if (code == CLI_EXIT_OK)
        code = write_page(job, path);
    if (code == CLI_EXIT_OK && job->options->gallery)
        code = write_gallery(job);
    return code;
}

static void free_run(struct shown_run *run)
{
    cli_exhibit_free(&run->exhibit);
    dvit_model_free(run->model);
}

/* What can be known to fail before any work is done. */
static int check_request(const struct cli_options *options, const char *path)
{
    long long pictures = (long long)options->count * options->operand_count;
    if (options->gallery && !options->data) {
        cli_error("report: --gallery needs --data");
        return CLI_EXIT_USAGE;
    }
    if (options->data && pictures > DVIT_MAX_REPORT_ITEMS) {
        cli_error("report: --count %d of %d runs is %lld pictures, expected at most %d",
                  options->count, options->operand_count, pictures, DVIT_MAX_REPORT_ITEMS);
        return CLI_EXIT_USAGE;
    }
    for (int i = 0; i < options->operand_count; i++)
        if (!cli_is_folder(options->operands[i])) {
            cli_error("\"%s\" is not a folder, expected a run folder of `dvit train` or `dvit "
                      "sparsify`",
                      options->operands[i]);
            return CLI_EXIT_FAILURE;
        }
    int code = cli_check_file(path);
    return code == CLI_EXIT_OK && options->gallery ? cli_check_file(options->gallery) : code;
}

int cli_cmd_report(const struct cli_options *options)
{
    struct job job = {.options = options};
    char *own_path = cli_path(options->operands[0], "report.html");
    job.runs = calloc((size_t)options->operand_count, sizeof *job.runs);
    int code = CLI_EXIT_FAILURE;
    if (own_path && job.runs) {
        const char *path = options->out ? options->out : own_path;
        for (int i = 0; i < options->operand_count; i++)
            job.runs[i].folder = options->operands[i];
        code = check_request(options, path);
        if (code == CLI_EXIT_OK)
            code = run_job(&job, path);
    } else {
        cli_error("out of memory");
    }
    for (int i = 0; i < job.overlay_count; i++)
        dvit_image_free(&job.pictures[i]);
    for (int i = 0; job.runs && i < options->operand_count; i++)
        free_run(&job.runs[i]);
    free(job.runs);
    free(job.overlays);
    free(job.pictures);
    free(job.report_pictures);
    free(own_path);
    return code;
}
