/* `dvit report`: an HTML page of run folders – their curves, and what their models keep. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"
#include "workbench.h"

/* What one run's best model keeps of some images. */
struct exhibit {
    const char *folder;
    const char *label; /* the folder's last part */
    struct dvit_model *model;
    struct dvit_session *session; /* its last run is what the views show */
    int count;
    struct dvit_image *images; /* [count] what the network saw */
    struct cli_view *views;    /* [count] */
};

struct job {
    const struct cli_options *options;
    struct exhibit *exhibits; /* [operand_count] */
    struct dvit_overlay *overlays;
    struct dvit_image *pictures;
    struct dvit_report_picture *report_pictures;
    int overlay_count;
};

static const char *last_part(const char *folder)
{
    const char *part = folder;
    for (const char *at = folder; *at; at++)
        if (*at == '/' && at[1] && at[1] != '/')
            part = at + 1;
    return part;
}

/* ---- one run ---- */

static bool open_model(struct exhibit *exhibit)
{
    struct dvit_error error = {0};
    char *path = cli_path(exhibit->folder, "best.safetensors");
    bool opened = path && dvit_model_load(&exhibit->model, path, NULL, &error) == DVIT_OK;
    if (!opened)
        cli_note("\"%s\": curves only, its model cannot be shown: %s", exhibit->folder,
                 path ? error.message : "out of memory");
    free(path);
    if (opened && dvit_model_config(exhibit->model)->stages == 0) {
        cli_note("\"%s\": a dense model keeps everything, curves only", exhibit->folder);
        opened = false;
    }
    return opened;
}

/* Reads up to `count` images spread over the data set; unreadable ones are left out. `picks`
 * [count] becomes their indices. */
static int read_images(struct exhibit *exhibit, struct dvit_dataset *set, int count, float *pixels,
                       size_t *picks)
{
    const struct dvit_preprocess *preprocess = dvit_model_preprocess(exhibit->model);
    size_t size = dvit_dataset_size(set);
    size_t image_size = 3 * (size_t)preprocess->crop_width * (size_t)preprocess->crop_height;
    count = (size_t)count < size ? count : (int)size;
    for (int i = 0; i < count; i++) {
        struct dvit_error error = {0};
        struct dvit_sample sample = {0};
        size_t index = (size_t)i * size / (size_t)count;
        struct dvit_image *image = &exhibit->images[exhibit->count];
        if (dvit_dataset_read(set, index, &sample, &error) == DVIT_OK &&
            dvit_preprocess_geometry(preprocess, &sample.image, image, &error) == DVIT_OK) {
            dvit_preprocess_normalise(preprocess, image,
                                      pixels + (size_t)exhibit->count * image_size);
            picks[exhibit->count++] = index;
        } else {
            cli_note("left out: %s", error.message);
        }
        dvit_sample_free(&sample);
    }
    if (exhibit->count == 0) {
        cli_error("\"%s\": no image of the data set could be read", exhibit->folder);
        return CLI_EXIT_FAILURE;
    }
    return CLI_EXIT_OK;
}

static void write_captions(struct exhibit *exhibit, const struct dvit_dataset *set,
                           const float *logits, float *probabilities, const size_t *picks)
{
    int classes = dvit_model_config(exhibit->model)->classes;
    for (int i = 0; i < exhibit->count; i++) {
        struct cli_view *view = &exhibit->views[i];
        int best = 0;
        cli_view_fill(view, exhibit->session, exhibit->model, i, &exhibit->images[i]);
        dvit_softmax(logits + (size_t)i * (size_t)classes, classes, probabilities);
        dvit_top_k(probabilities, classes, 1, &best);
        const char *truth = dvit_dataset_class_name(set, dvit_dataset_label(set, picks[i]));
        const char *answer = dvit_model_label(exhibit->model, best);
        bool right = truth && strcmp(truth, answer) == 0;
        snprintf(view->caption, sizeof view->caption, "%.80s: %.80s %.1f %%%s%.80s%s",
                 exhibit->label, answer, 100 * (double)probabilities[best], right ? "" : " (is ",
                 right || !truth ? "" : truth, right ? "" : ")");
        snprintf(view->note, sizeof view->note, "%.250s",
                 last_part(dvit_dataset_item_name(set, picks[i])));
    }
}

static int run_model(struct exhibit *exhibit, struct dvit_dataset *set,
                     const struct cli_options *options)
{
    struct dvit_error error = {0};
    const struct dvit_config *config = dvit_model_config(exhibit->model);
    size_t count = (size_t)options->count, classes = (size_t)config->classes;
    size_t image_size = 3 * (size_t)config->image_width * (size_t)config->image_height;
    float *pixels = calloc(count * image_size, sizeof *pixels);
    float *logits = calloc((count + 1) * classes, sizeof *logits); /* + one row of probabilities */
    size_t *picks = calloc(count, sizeof *picks);
    exhibit->images = calloc(count, sizeof *exhibit->images);
    exhibit->views = calloc(count, sizeof *exhibit->views);
    int code = CLI_EXIT_FAILURE;
    if (!pixels || !logits || !picks || !exhibit->images || !exhibit->views)
        cli_error("out of memory for %zu images", count);
    else
        code = read_images(exhibit, set, options->count, pixels, picks);
    if (code == CLI_EXIT_OK)
        code = cli_session_create(&exhibit->session, exhibit->model, options, options->keep,
                                  exhibit->count);
    if (code == CLI_EXIT_OK &&
        dvit_session_run(exhibit->session, pixels, exhibit->count, logits, &error) != DVIT_OK)
        code = cli_fail(&error);
    if (code == CLI_EXIT_OK)
        write_captions(exhibit, set, logits, logits + count * classes, picks);
    free(pixels);
    free(logits);
    free(picks);
    return code;
}

static int show_run(struct job *job, struct exhibit *exhibit)
{
    const struct cli_options *options = job->options;
    struct dvit_dataset *set = NULL;
    if (!open_model(exhibit))
        return CLI_EXIT_OK;
    cli_progress("running %s", exhibit->folder);
    int code = cli_dataset_open(&set, options->data, options->split,
                                dvit_model_config(exhibit->model)->image_width, false);
    if (code == CLI_EXIT_OK)
        code = run_model(exhibit, set, options);
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
        count += job->exhibits[r].count;
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
        for (int i = 0; i < job->exhibits[r].count; i++) {
            struct cli_view *view = &job->exhibits[r].views[i];
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
    printf("%s\n", path);
    return CLI_EXIT_OK;
}

static int write_page(const struct job *job, const char *path)
{
    struct dvit_error error = {0};
    struct dvit_report_run runs[CLI_MAX_TEXTS];
    for (int i = 0; i < job->options->operand_count; i++)
        runs[i] = (struct dvit_report_run){.folder = job->exhibits[i].folder};
    struct dvit_report report = {.subtitle = job->options->data,
                                 .runs = runs,
                                 .run_count = job->options->operand_count,
                                 .pictures = job->report_pictures,
                                 .picture_count = job->overlay_count};
    if (dvit_report_html(path, &report, &error) != DVIT_OK)
        return cli_fail(&error);
    printf("%s\n", path);
    return CLI_EXIT_OK;
}

static int run_job(struct job *job, const char *path)
{
    int code = CLI_EXIT_OK;
    for (int i = 0; code == CLI_EXIT_OK && job->options->data && i < job->options->operand_count;
         i++)
        code = show_run(job, &job->exhibits[i]);
    if (code == CLI_EXIT_OK)
        code = draw_pictures(job);
    if (code == CLI_EXIT_OK)
        code = write_page(job, path);
    if (code == CLI_EXIT_OK && job->options->gallery)
        code = write_gallery(job);
    return code;
}

static void free_exhibit(struct exhibit *exhibit)
{
    for (int i = 0; i < exhibit->count; i++)
        dvit_image_free(&exhibit->images[i]);
    free(exhibit->images);
    free(exhibit->views);
    dvit_session_free(exhibit->session);
    dvit_model_free(exhibit->model);
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
    job.exhibits = calloc((size_t)options->operand_count, sizeof *job.exhibits);
    int code = CLI_EXIT_FAILURE;
    if (own_path && job.exhibits) {
        const char *path = options->out ? options->out : own_path;
        for (int i = 0; i < options->operand_count; i++) {
            job.exhibits[i].folder = options->operands[i];
            job.exhibits[i].label = last_part(options->operands[i]);
        }
        code = check_request(options, path);
        if (code == CLI_EXIT_OK)
            code = run_job(&job, path);
    } else {
        cli_error("out of memory");
    }
    for (int i = 0; i < job.overlay_count; i++)
        dvit_image_free(&job.pictures[i]);
    for (int i = 0; job.exhibits && i < options->operand_count; i++)
        free_exhibit(&job.exhibits[i]);
    free(job.exhibits);
    free(job.overlays);
    free(job.pictures);
    free(job.report_pictures);
    free(own_path);
    return code;
}
