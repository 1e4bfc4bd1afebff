/* `dvit classify`: the best classes of images, the patches kept, and pictures of them. Every file
 * gets an answer or an error, in the order given. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image_list.h"
#include "json_lines.h"
#include "picture.h"
#include "workbench.h"

/* One file of the batch in work. */
struct slot {
    const char *path;
    struct dvit_error error; /* where it could not be read */
    struct dvit_image seen;  /* what the network saw; empty unless a picture is wanted */
    int row;                 /* in the batch; −1: could not be read */
};

struct job {
    const struct cli_options *options;
    struct dvit_model *model;
    struct dvit_session *session;
    struct cli_image_list list;
    struct cli_picture_plan plan;
    int batch;
    int top;
    float *pixels;        /* [batch][3][height][width] */
    float *logits;        /* [batch][classes] */
    float *probabilities; /* [classes] */
    int *order;           /* [top] */
    struct slot *slots;   /* [batch] */
    size_t failed;
};

/* ---- reading ---- */

static enum dvit_status prepare(struct job *job, struct slot *slot, float *pixels)
{
    const struct dvit_preprocess *preprocess = dvit_model_preprocess(job->model);
    struct dvit_decode_options options = dvit_decode_options_default();
    struct dvit_image image = {0};
    options.apply_orientation = job->options->exif;
    enum dvit_status status = dvit_image_load(&image, slot->path, &options, NULL, &slot->error);
    if (status == DVIT_OK)
        status = dvit_preprocess_geometry(preprocess, &image, &slot->seen, &slot->error);
    if (status == DVIT_OK)
        dvit_preprocess_normalise(preprocess, &slot->seen, pixels);
    dvit_image_free(&image);
    if (!job->options->picture)
        dvit_image_free(&slot->seen);
    return status;
}

static int read_batch(struct job *job, size_t first, int count)
{
    const struct dvit_config *config = dvit_model_config(job->model);
    size_t image_size = 3 * (size_t)config->image_width * (size_t)config->image_height;
    int rows = 0;
    for (int i = 0; i < count; i++) {
        struct slot *slot = &job->slots[i];
        *slot = (struct slot){.path = job->list.paths[first + (size_t)i], .row = -1};
        if (prepare(job, slot, job->pixels + (size_t)rows * image_size) == DVIT_OK)
            slot->row = rows++;
    }
    return rows;
}

/* ---- answers ---- */

static void json_kept(struct cli_json *json, const struct job *job, int row)
{
    int stages = dvit_session_stages(job->session), count = 0;
    cli_json_open(json, "tokens", '[');
    for (int s = 0; s < stages; s++) {
        dvit_session_kept(job->session, row, s, &count);
        cli_json_integer(json, NULL, count);
    }
    cli_json_close(json, ']');
    cli_json_open(json, "kept", '[');
    for (int s = 0; s < stages; s++) {
        const int *kept = dvit_session_kept(job->session, row, s, &count);
        cli_json_open(json, NULL, '[');
        for (int i = 0; i < count; i++)
            cli_json_integer(json, NULL, kept[i]);
        cli_json_close(json, ']');
    }
    cli_json_close(json, ']');
}

static void print_json(const struct job *job, const struct slot *slot, const float *logits,
                       const char *picture)
{
    int classes = dvit_model_config(job->model)->classes;
    struct cli_json json = cli_json_begin(stdout);
    cli_json_string(&json, "file", slot->path);
    cli_json_open(&json, "top", '[');
    for (int i = 0; i < job->top; i++) {
        cli_json_open(&json, NULL, '{');
        cli_json_integer(&json, "class", job->order[i]);
        cli_json_string(&json, "label", dvit_model_label(job->model, job->order[i]));
        cli_json_float(&json, "probability", job->probabilities[job->order[i]]);
        cli_json_close(&json, '}');
    }
    cli_json_close(&json, ']');
    json_kept(&json, job, slot->row);
    if (job->options->logits) {
        cli_json_open(&json, "logits", '[');
        for (int i = 0; i < classes; i++)
            cli_json_float(&json, NULL, logits[i]);
        cli_json_close(&json, ']');
    }
    if (picture)
        cli_json_string(&json, "picture", picture);
    cli_json_end(&json);
}

static void print_text(const struct job *job, const struct slot *slot, const char *picture)
{
    cli_print_plain(slot->path);
    putchar('\n');
    for (int i = 0; i < job->top; i++) {
        printf("  %6.2f %%  ", 100 * (double)job->probabilities[job->order[i]]);
        cli_print_plain(dvit_model_label(job->model, job->order[i]));
        printf(" (class %d)\n", job->order[i]);
    }
    int stages = dvit_session_stages(job->session);
    for (int s = 0; s < stages; s++) {
        int count = 0;
        dvit_session_kept(job->session, slot->row, s, &count);
        printf("%s%d", s ? ", " : "  kept ", count);
    }
    if (stages)
        printf(" of %d patches\n", dvit_config_patches(dvit_model_config(job->model)));
    if (picture) {
        printf("  picture ");
        cli_print_plain(picture);
        putchar('\n');
    }
}

/* Draws and writes the picture of one answered image. */
static int write_picture(struct job *job, const struct slot *slot, const char *path)
{
    struct dvit_error error = {0};
    struct dvit_image picture = {0};
    struct cli_view view;
    cli_view_fill(&view, job->session, job->model, slot->row, &slot->seen);
    snprintf(view.caption, sizeof view.caption, "%.250s %.1f %%",
             dvit_model_label(job->model, job->order[0]),
             100 * (double)job->probabilities[job->order[0]]);
    const char *slash = strrchr(slot->path, '/');
    snprintf(view.note, sizeof view.note, "%.250s", slash ? slash + 1 : slot->path);
    enum dvit_status status = dvit_report_overlay(&picture, &view.overlay, NULL, &error);
    if (status == DVIT_OK)
        status = dvit_image_write_png(path, &picture, &error);
    dvit_image_free(&picture);
    return status == DVIT_OK ? CLI_EXIT_OK : cli_fail(&error);
}

static int answer(struct job *job, const struct slot *slot, size_t index)
{
    int classes = dvit_model_config(job->model)->classes;
    const float *logits = job->logits + (size_t)slot->row * (size_t)classes;
    char *picture = NULL;
    int code = CLI_EXIT_OK;
    dvit_softmax(logits, classes, job->probabilities);
    dvit_top_k(logits, classes, job->top, job->order);
    if (job->options->picture) {
        picture = cli_picture_path(&job->plan, slot->path, index);
        if (picture)
            code = write_picture(job, slot, picture);
        else
            cli_error("out of memory");
        code = picture ? code : CLI_EXIT_FAILURE;
    }
    if (job->options->json)
        print_json(job, slot, logits, code == CLI_EXIT_OK ? picture : NULL);
    else
        print_text(job, slot, code == CLI_EXIT_OK ? picture : NULL);
    free(picture);
    return code;
}

static void refuse(const struct job *job, const struct slot *slot)
{
    fflush(stdout); /* keeps answers and errors in order where both reach one terminal */
    cli_error("%s", slot->error.message);
    if (!job->options->json)
        return;
    struct cli_json json = cli_json_begin(stdout);
    cli_json_string(&json, "file", slot->path);
    cli_json_string(&json, "error", slot->error.message);
    cli_json_end(&json);
}

static int run_batch(struct job *job, size_t first, int count)
{
    struct dvit_error error = {0};
    int rows = read_batch(job, first, count), code = CLI_EXIT_OK;
    if (rows > 0 &&
        dvit_session_run(job->session, job->pixels, rows, job->logits, &error) != DVIT_OK)
        code = cli_fail(&error);
    for (int i = 0; i < count; i++) {
        struct slot *slot = &job->slots[i];
        if (slot->row < 0) {
            refuse(job, slot);
            job->failed++;
        } else if (code == CLI_EXIT_OK) {
            code = answer(job, slot, first + (size_t)i);
        }
        dvit_image_free(&slot->seen);
    }
    return code;
}

/* ---- the job ---- */

static int choose_top(struct job *job)
{
    int classes = dvit_model_config(job->model)->classes;
    if (job->options->top > classes) {
        cli_error("--top is %d, expected 1 to %d, the model's classes", job->options->top, classes);
        return CLI_EXIT_USAGE;
    }
    job->top = job->options->top ? job->options->top : classes < 5 ? classes : 5;
    return CLI_EXIT_OK;
}

static int allocate(struct job *job)
{
    const struct dvit_config *config = dvit_model_config(job->model);
    size_t batch = (size_t)job->batch, classes = (size_t)config->classes;
    size_t image_size = 3 * (size_t)config->image_width * (size_t)config->image_height;
    job->pixels = calloc(batch * image_size, sizeof *job->pixels);
    job->logits = calloc(batch * classes, sizeof *job->logits);
    job->probabilities = calloc(classes, sizeof *job->probabilities);
    job->order = calloc((size_t)job->top, sizeof *job->order);
    job->slots = calloc(batch, sizeof *job->slots);
    if (job->pixels && job->logits && job->probabilities && job->order && job->slots)
        return CLI_EXIT_OK;
    cli_error("out of memory for a batch of %d images", job->batch);
    return CLI_EXIT_FAILURE;
}

static int run_job(struct job *job)
{
    const struct cli_options *options = job->options;
    size_t count = job->list.count;
    bool many = options->operand_count > 1 || cli_is_folder(options->operands[0]);
    job->batch = count < (size_t)options->batch ? (int)count : options->batch;
    int code = cli_model_open(&job->model, options->model, options, options->keep, false);
    if (code == CLI_EXIT_OK)
        code = choose_top(job);
    if (code == CLI_EXIT_OK && options->picture)
        code = cli_picture_plan(&job->plan, options->picture, job->list.paths, count, many);
    if (code == CLI_EXIT_OK)
        code = cli_session_create(&job->session, job->model, options, options->keep, job->batch);
    if (code == CLI_EXIT_OK)
        code = allocate(job);
    for (size_t first = 0; code == CLI_EXIT_OK && first < count; first += (size_t)job->batch) {
        size_t left = count - first;
        code = run_batch(job, first, left < (size_t)job->batch ? (int)left : job->batch);
    }
    return code;
}

static void free_job(struct job *job)
{
    dvit_session_free(job->session);
    dvit_model_free(job->model);
    cli_image_list_free(&job->list);
    free(job->pixels);
    free(job->logits);
    free(job->probabilities);
    free(job->order);
    free(job->slots);
}

int cli_cmd_classify(const struct cli_options *options)
{
    struct job job = {.options = options};
    size_t empty = 0, answered = 0;
    if (options->logits && !options->json) {
        cli_error("classify: --logits needs --json");
        return CLI_EXIT_USAGE;
    }
    int code = cli_image_list_create(&job.list, options->operands, options->operand_count, &empty);
    if (code == CLI_EXIT_OK && job.list.count > 0)
        code = run_job(&job);
    answered = job.list.count - job.failed;
    if (code == CLI_EXIT_OK && (job.failed > 0 || empty > 0))
        code = answered > 0 ? CLI_EXIT_SOME_FAILED : CLI_EXIT_FAILURE;
    free_job(&job);
    return code;
}
