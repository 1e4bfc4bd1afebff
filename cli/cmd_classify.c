/* `dvit classify`: the best classes of images, the patches kept, and pictures of them. Every file
 * gets an answer or an error, in the order given. The files are a data set, read ahead by a loader
 * while the model computes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image_list.h"
#include "json_lines.h"
#include "paths.h"
#include "picture.h"
#include "print.h"
#include "workbench.h"

struct job {
    const struct cli_options *options;
    struct dvit_model *model;
    struct dvit_dataset *files;
    struct dvit_loader *loader; /* reads ahead, from before the session is made */
    struct dvit_session *session;
    struct cli_image_list list;
    struct cli_picture_plan plan;
    int batch;
    int top;
    float *logits;        /* [batch][classes] */
    float *probabilities; /* [classes] */
    int *order;           /* [top] */
    size_t next;          /* file to answer */
    size_t refused;       /* files that could not be read, among those before it */
    size_t unanswered;    /* files that were read, and have no finite logits */
};

/* One file that was read. */
struct answer {
    size_t index; /* in the list */
    int row;      /* in the batch */
    bool reduced; /* its picture has fewer pixels than the photograph */
};

static const char *path_of(const struct job *job, const struct answer *answer)
{
    return job->list.paths[answer->index];
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

static void print_json(const struct job *job, const struct answer *answer, const float *logits,
                       const char *picture)
{
    int classes = dvit_model_config(job->model)->classes;
    struct cli_json json = cli_json_begin(stdout);
    cli_json_string(&json, "file", path_of(job, answer));
    cli_json_open(&json, "top", '[');
    for (int i = 0; i < job->top; i++) {
        cli_json_open(&json, NULL, '{');
        cli_json_integer(&json, "class", job->order[i]);
        cli_json_string(&json, "label", dvit_model_label(job->model, job->order[i]));
        cli_json_float(&json, "probability", job->probabilities[job->order[i]]);
        cli_json_close(&json, '}');
    }
    cli_json_close(&json, ']');
    json_kept(&json, job, answer->row);
    if (job->options->logits) {
        cli_json_open(&json, "logits", '[');
        for (int i = 0; i < classes; i++)
            cli_json_float(&json, NULL, logits[i]);
        cli_json_close(&json, ']');
    }
    if (picture) {
        cli_json_string(&json, "picture", picture);
        cli_json_bool(&json, "picture_reduced", answer->reduced);
    }
    cli_json_end(&json);
}

static void print_text(const struct job *job, const struct answer *answer, const char *picture)
{
    cli_print_plain(path_of(job, answer));
    putchar('\n');
    for (int i = 0; i < job->top; i++) {
        printf("  %6.2f %%  ", 100 * (double)job->probabilities[job->order[i]]);
        cli_print_plain(dvit_model_label(job->model, job->order[i]));
        printf(" (class %d)\n", job->order[i]);
    }
    int stages = dvit_session_stages(job->session);
    for (int s = 0; s < stages; s++) {
        int count = 0;
        dvit_session_kept(job->session, answer->row, s, &count);
        cli_print("%s%d", s ? ", " : "  kept ", count);
    }
    if (stages)
        printf(" of %d patches\n", dvit_config_patches(dvit_model_config(job->model)));
    if (picture) {
        printf("  picture ");
        cli_print_plain(picture);
        if (answer->reduced)
            printf(" (reduced to %d pixels)", DVIT_MAX_PHOTO_PX);
        putchar('\n');
    }
}

/* Reads the photograph again: the network's input has a few pixels of it, and only of its crop. */
static enum dvit_status load_photo(const struct job *job, const struct answer *answer,
                                   struct dvit_image *photo, struct dvit_region *seen,
                                   struct dvit_error *error)
{
    struct dvit_decode_options how = dvit_decode_options_default();
    how.apply_orientation = job->options->exif;
    enum dvit_status status = dvit_image_load(photo, path_of(job, answer), &how, NULL, error);
    if (status != DVIT_OK)
        return status;
    return dvit_preprocess_region(dvit_model_preprocess(job->model), photo->width, photo->height,
                                  seen, error);
}

/* Draws and writes the picture of one answered image. */
static int write_picture(struct job *job, struct answer *answer, const char *path)
{
    struct dvit_error error = {0};
    struct dvit_image photo = {0}, picture = {0};
    struct dvit_region seen;
    struct cli_view view;
    enum dvit_status status = load_photo(job, answer, &photo, &seen, &error);
    cli_view_fill(&view, job->session, job->model, answer->row, &photo);
    snprintf(view.caption, sizeof view.caption, "%.250s %.1f %%",
             dvit_model_label(job->model, job->order[0]),
             100 * (double)job->probabilities[job->order[0]]);
    const char *file = path_of(job, answer), *slash = strrchr(file, '/');
    snprintf(view.note, sizeof view.note, "%.250s", slash ? slash + 1 : file);
    if (status == DVIT_OK)
        status = dvit_report_photo(&picture, &view.overlay, &seen, NULL, &error);
    if (status == DVIT_OK)
        status = dvit_image_write_png(path, &picture, &error);
    answer->reduced = photo.width > DVIT_MAX_PHOTO_PX || photo.height > DVIT_MAX_PHOTO_PX;
    dvit_image_free(&photo);
    dvit_image_free(&picture);
    return status == DVIT_OK ? CLI_EXIT_OK : cli_fail(&error);
}

/* The file has no answer: why, on standard error, and as its JSON line. */
static void print_failure(const struct job *job, const char *file, const char *message)
{
    fflush(stdout); /* keeps answers and errors in order where both reach one terminal */
    cli_error("%s", message);
    if (!job->options->json)
        return;
    struct cli_json json = cli_json_begin(stdout);
    cli_json_string(&json, "file", file);
    cli_json_string(&json, "error", message);
    cli_json_end(&json);
}

static int print_answer(struct job *job, struct answer *answer)
{
    int classes = dvit_model_config(job->model)->classes;
    const float *logits = job->logits + (size_t)answer->row * (size_t)classes;
    struct dvit_error error = {0};
    char *picture = NULL;
    int code = CLI_EXIT_OK;
    if (dvit_answer_check(job->model, logits, &error) != DVIT_OK) {
        char message[sizeof error.message + 1000];
        snprintf(message, sizeof message, "\"%.990s\": %s", path_of(job, answer), error.message);
        print_failure(job, path_of(job, answer), message);
        job->unanswered++;
        return CLI_EXIT_OK;
    }
    dvit_softmax(logits, classes, job->probabilities);
    dvit_top_k(logits, classes, job->top, job->order);
    if (job->options->picture) {
        picture = cli_picture_path(&job->plan, path_of(job, answer), answer->index);
        if (picture)
            code = write_picture(job, answer, picture);
        else
            cli_error("out of memory");
        code = picture ? code : CLI_EXIT_FAILURE;
    }
    if (job->options->json)
        print_json(job, answer, logits, code == CLI_EXIT_OK ? picture : NULL);
    else
        print_text(job, answer, code == CLI_EXIT_OK ? picture : NULL);
    free(picture);
    return code;
}

/* The files before `end` that were not answered: those that could not be read. */
static void refuse_until(struct job *job, size_t end)
{
    struct dvit_skip skip;
    for (; job->next < end; job->next++)
        if (dvit_loader_skipped(job->loader, job->refused, &skip)) {
            print_failure(job, skip.name, skip.message);
            job->refused++;
        }
}

static int run_batch(struct job *job, const struct dvit_batch *batch)
{
    struct dvit_error error = {0};
    int code = CLI_EXIT_OK;
    if (dvit_session_run(job->session, batch->pixels, batch->count, job->logits, &error) != DVIT_OK)
        return cli_fail(&error);
    for (int i = 0; i < batch->count && code == CLI_EXIT_OK; i++) {
        struct answer answer = {.index = batch->indices[i], .row = i};
        refuse_until(job, answer.index);
        code = print_answer(job, &answer);
        job->next++;
    }
    return code;
}

static int run_batches(struct job *job)
{
    struct dvit_error error = {0};
    const struct dvit_batch *batch = NULL;
    int code = CLI_EXIT_OK;
    enum dvit_status status = dvit_loader_next(job->loader, &batch, &error);
    while (status == DVIT_OK && batch && code == CLI_EXIT_OK) {
        code = run_batch(job, batch);
        if (code == CLI_EXIT_OK)
            status = dvit_loader_next(job->loader, &batch, &error);
    }
    bool none = dvit_loader_skipped_count(job->loader) == job->list.count; /* is an error to it */
    if (status != DVIT_OK && !none)
        return cli_fail(&error);
    if (code == CLI_EXIT_OK)
        refuse_until(job, job->list.count);
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
    size_t batch = (size_t)job->batch, classes = (size_t)dvit_model_config(job->model)->classes;
    job->logits = calloc(batch * classes, sizeof *job->logits);
    job->probabilities = calloc(classes, sizeof *job->probabilities);
    job->order = calloc((size_t)job->top, sizeof *job->order);
    if (job->logits && job->probabilities && job->order)
        return CLI_EXIT_OK;
    cli_error("out of memory for a batch of %d images", job->batch);
    return CLI_EXIT_FAILURE;
}

static int start_reading(struct job *job)
{
    struct dvit_error error = {0};
    struct dvit_dataset_options data = dvit_dataset_options_default();
    struct dvit_loader_options load = dvit_loader_options_default();
    data.cache_bytes = 0; /* each image is read once */
    data.orient = job->options->exif;
    load.batch = job->batch;
    load.workers = cli_readers(job->options);
    load.ahead = 1;
    load.preprocess = *dvit_model_preprocess(job->model);
    const char *const *paths = (const char *const *)job->list.paths;
    enum dvit_status status =
        dvit_dataset_open_files(&job->files, paths, job->list.count, &data, &error);
    if (status == DVIT_OK)
        status = dvit_loader_create(&job->loader, job->files, &load, &error);
    if (status == DVIT_OK)
        status = dvit_loader_start(job->loader, 0, 0, &error);
    return status == DVIT_OK ? CLI_EXIT_OK : cli_fail(&error);
}

/* Pictures are named after the images: none may take the place of one. */
static int check_pictures(const struct job *job)
{
    struct cli_file_set images;
    char *const *paths = job->list.paths;
    int code = CLI_EXIT_OK;
    if (!cli_file_set_create(&images, paths, job->list.count)) {
        cli_error("out of memory");
        return CLI_EXIT_FAILURE;
    }
    for (size_t i = 0; code == CLI_EXIT_OK && i < job->list.count; i++) {
        char *picture = cli_picture_path(&job->plan, paths[i], i);
        if (!picture) {
            cli_error("out of memory");
            code = CLI_EXIT_FAILURE;
        } else if (cli_file_set_holds(&images, picture)) {
            cli_error("classify: \"%s\" is an input of this command; name another place for "
                      "--picture",
                      picture);
            code = CLI_EXIT_USAGE;
        }
        free(picture);
    }
    cli_file_set_free(&images);
    return code;
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
    if (code == CLI_EXIT_OK && options->picture)
        code = check_pictures(job);
    if (code == CLI_EXIT_OK)
        code = start_reading(job);
    if (code == CLI_EXIT_OK)
        code = cli_session_create(&job->session, job->model, options, options->keep, job->batch);
    if (code == CLI_EXIT_OK)
        cli_precision_tell(job->session, options->model, options);
    if (code == CLI_EXIT_OK)
        code = allocate(job);
    return code == CLI_EXIT_OK ? run_batches(job) : code;
}

static void free_job(struct job *job)
{
    dvit_loader_free(job->loader);
    dvit_dataset_free(job->files);
    dvit_session_free(job->session);
    dvit_model_free(job->model);
    cli_image_list_free(&job->list);
    free(job->logits);
    free(job->probabilities);
    free(job->order);
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
    answered = job.list.count - job.refused - job.unanswered;
    if (code == CLI_EXIT_OK && (job.refused > 0 || job.unanswered > 0 || empty > 0))
        code = answered > 0 ? CLI_EXIT_SOME_FAILED : CLI_EXIT_FAILURE;
    cli_dataset_tell_grey16(job.files, NULL);
    free_job(&job);
    return code;
}
