/* Runs a training from the command line: events become progress lines or
 * JSON, what a dynamic model keeps is drawn now and then, and the run ends with its report. The
 * work itself, and everything else in the run folder, is dvit_train's. */
#include "training_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dvit/eval.h"
#include "exhibit.h"
#include "json_lines.h"
#include "print.h"
#include "rate_search.h"
#include "training_signals.h"
#include "workbench.h"

enum {
    SHOWN_IMAGES = 4,     /* in a picture of what is kept */
    SMALL_IMAGE_PX = 128, /* smaller ones are enlarged towards this side, … */
    TILE_PX = 100,        /* … larger ones than twice this are reduced to it */
};

/* Seconds between progress lines where they cannot be rewritten in place. */
#define PLAIN_INTERVAL_S 5.0

int cli_training_open(struct cli_training_data *data, const struct cli_options *options, int side)
{
    *data = (struct cli_training_data){0};
    int code = cli_dataset_open(&data->train, options->data, "train", side);
    if (code == CLI_EXIT_OK)
        code = cli_dataset_open(&data->validation, options->data, "val", side);
    if (code != CLI_EXIT_OK)
        return code;
    cli_dataset_warn(data->train, NULL);
    cli_dataset_warn(data->validation, data->train);
    data->same_images = cli_dataset_warn_of_same(data->train, data->validation, options->data);
    return code;
}

void cli_training_close(struct cli_training_data *data)
{
    cli_dataset_tell_grey16(data->train, data->validation);
    dvit_dataset_free(data->train);
    dvit_dataset_free(data->validation);
}

/* A file without a head has no classes of its own: it is read with a new head for one class, which
 * tells its sizes until the data are known. False: it is something else. */
static bool read_headless(struct dvit_model **model, const struct cli_options *options)
{
    struct dvit_load_options load = cli_load_options(options, 0, options->model);
    struct dvit_error error = {0};
    bool is_random;
    load.classes = 1;
    load.problem = NULL;
    return options->classes != 0 &&
           cli_model_read(model, options->model, options, &load, &is_random, &error) == DVIT_OK;
}

/* Reads the model with so many classes, 0 for its own; where it has none, *headless. */
static int read_start(struct dvit_model **model, const struct cli_options *options, int classes,
                      bool *is_random, bool *headless)
{
    struct dvit_error error = {0};
    struct dvit_load_options load = cli_load_options(options, 0, options->model);
    load.classes = classes;
    dvit_model_free(*model);
    *headless = false;
    enum dvit_status status =
        cli_model_read(model, options->model, options, &load, is_random, &error);
    if (status == DVIT_ERROR_MISMATCH && classes == 0)
        *headless = read_headless(model, options);
    return status == DVIT_OK || *headless ? CLI_EXIT_OK : cli_fail(&error);
}

/* Whether a term of the loss learns from a teacher. */
static bool distils(const struct cli_options *options)
{
    return options->train.weight_kl > 0 || options->train.weight_token > 0;
}

int cli_training_check_teacher(const struct dvit_model *student, const struct cli_options *options)
{
    const struct dvit_config *config = dvit_model_config(student);
    if (config->stages == 0 || options->teacher || !distils(options))
        return CLI_EXIT_OK;
    cli_error("\"%s\" is a dynamic model already and no teacher: name a dense one of %d classes "
              "with --teacher FILE, or do without: --w-kl 0 --w-token 0",
              options->model, config->classes);
    return CLI_EXIT_USAGE;
}

int cli_training_start(struct dvit_model **model, bool *new_head, struct cli_training_data *data,
                       const struct cli_options *options)
{
    bool is_random = false, headless = false, again;
    *model = NULL;
    *new_head = false;
    int code = read_start(model, options, 0, &is_random, &headless);
    if (code == CLI_EXIT_OK)
        code = cli_training_open(data, options, dvit_model_config(*model)->image_width);
    if (code != CLI_EXIT_OK)
        return code;
    int own = dvit_model_config(*model)->classes, given = dvit_dataset_classes(data->train);
    int wanted = options->classes > 0 ? options->classes : given;
    if (wanted != own && options->classes == 0) {
        cli_error("\"%s\" knows %d classes, the data \"%s\" has %d: start a new head with "
                  "--classes data",
                  options->model, own, options->data, given);
        return CLI_EXIT_FAILURE;
    }
    *new_head = headless || wanted != own;
    if (*new_head)
        code = read_start(model, options, wanted, &is_random, &again);
    if (code == CLI_EXIT_OK)
        cli_model_tell(*model, options->model, options, is_random);
    return code;
}

int cli_training_teacher(struct dvit_model **out, const struct dvit_model *student,
                         struct cli_options *options)
{
    struct dvit_error error = {0};
    struct dvit_load_options load = cli_load_options(options, 0, options->teacher);
    load.classes = 0;
    load.image_width = dvit_model_config(student)->image_width;
    load.image_height = dvit_model_config(student)->image_height;
    if (dvit_model_load(out, cli_model_file(options->teacher), &load, &error) != DVIT_OK)
        return cli_fail(&error);
    cli_model_tell(*out, options->teacher, options, false);
    int classes = dvit_model_config(*out)->classes, wanted = dvit_model_config(student)->classes;
    if (classes != wanted && distils(options)) {
        cli_error("the teacher \"%s\" knows %d classes, the student %d: name one of %d classes "
                  "with --teacher FILE, or do without: --w-kl 0 --w-token 0",
                  options->teacher, classes, wanted, wanted);
        return CLI_EXIT_FAILURE;
    }
    if (options->train.weight_token > 0 && !dvit_train_compares_tokens(student, *out)) {
        cli_note("\"%s\" has other patches than the student: it teaches by its classes alone "
                 "(--w-token 0)",
                 options->teacher);
        options->train.weight_token = 0;
    }
    return CLI_EXIT_OK;
}

/* ---- events ---- */

struct watch {
    const struct cli_options *options;
    const struct cli_training_data *data;
    bool told_of_turns;
    double started_s, shown_s;
    int best_epoch; /* −1: none */
    long step;
    bool started;
};

/* Data sets take images as they are stored, as published figures do; a user should know once. */
static void tell_turns(struct watch *watch)
{
    const struct cli_training_data *data = watch->data;
    size_t turned = dvit_dataset_rotated(data->train);
    if (data->validation)
        turned += dvit_dataset_rotated(data->validation);
    if (turned == 0 || watch->told_of_turns)
        return;
    cli_note("warning: %zu images ask for a turn (EXIF orientation) and are read as stored",
             turned);
    watch->told_of_turns = true;
}

static const char *const event_names[] = {
    [DVIT_TRAIN_STARTED] = "started",         [DVIT_TRAIN_STEP] = "step",
    [DVIT_TRAIN_EVALUATED] = "evaluated",     [DVIT_TRAIN_SAVED] = "saved",
    [DVIT_TRAIN_SKIPPED] = "skipped",         [DVIT_TRAIN_FINISHED] = "finished",
    [DVIT_TRAIN_ROLLED_BACK] = "rolled back", [DVIT_TRAIN_NOTED] = "noted",
};

static void json_losses(struct cli_json *json, const struct dvit_train_event *event)
{
    cli_json_real(json, "loss", event->loss);
    cli_json_real(json, "loss_cls", event->loss_cls);
    if (event->stages > 0) {
        cli_json_real(json, "loss_ratio", event->loss_ratio);
        cli_json_real(json, "loss_kl", event->loss_kl);
        cli_json_real(json, "loss_token", event->loss_token);
        cli_json_open(json, "keep", '[');
        for (int s = 0; s < event->stages; s++)
            cli_json_real(json, NULL, event->keep[s]);
        cli_json_close(json, ']');
    }
    cli_json_real(json, "gradient_norm", event->gradient_norm);
    cli_json_real(json, "learning_rate", event->learning_rate);
    cli_json_real(json, "backbone_learning_rate", event->backbone_learning_rate);
    cli_json_real(json, "images_per_s", event->images_per_s);
    cli_json_real(json, "eta_s", event->eta_s);
    cli_json_integer(json, "bad_steps", event->bad_steps);
}

static void print_event_json(const struct dvit_train_event *event)
{
    struct cli_json json = cli_json_begin(stdout);
    cli_json_string(&json, "event", event_names[event->kind]);
    cli_json_integer(&json, "epoch", event->epoch);
    cli_json_integer(&json, "step", event->step);
    if (event->kind == DVIT_TRAIN_STARTED) {
        cli_json_integer(&json, "steps_per_epoch", event->steps_per_epoch);
        cli_json_integer(&json, "total_steps", event->total_steps);
    } else if (event->kind == DVIT_TRAIN_STEP) {
        json_losses(&json, event);
    } else if (event->kind == DVIT_TRAIN_EVALUATED) {
        cli_json_real(&json, "val_top1", event->val_top1);
        cli_json_real(&json, "val_top5", event->val_top5);
        cli_json_real(&json, "val_loss", event->val_loss);
        cli_json_bool(&json, "best", event->best);
    } else {
        cli_json_string(&json, "text", event->text);
    }
    cli_json_end(&json);
}

static void show_step(const struct watch *watch, const struct dvit_train_event *event)
{
    char text[512], left[32];
    if (isnan(event->loss)) {
        cli_progress("epoch %d/%d step %ld/%ld, no finite loss, skipped %ld", event->epoch + 1,
                     watch->options->train.epochs, event->step, event->total_steps,
                     event->bad_steps);
        return;
    }
    int used = snprintf(text, sizeof text, "epoch %d/%d step %ld/%ld %.1f images/s loss %.4f",
                        event->epoch + 1, watch->options->train.epochs, event->step,
                        event->total_steps, event->images_per_s, event->loss);
    if (event->stages > 0) {
        used += snprintf(text + used, sizeof text - (size_t)used,
                         " (cls %.4f ratio %.4f kl %.4f token %.4f) keep", event->loss_cls,
                         event->loss_ratio, event->loss_kl, event->loss_token);
        for (int s = 0; s < event->stages; s++)
            used += snprintf(text + used, sizeof text - (size_t)used, " %.3f", event->keep[s]);
    }
    if (event->bad_steps > 0)
        used += snprintf(text + used, sizeof text - (size_t)used, " skipped %ld", event->bad_steps);
    cli_progress("%s eta %s", text, cli_duration(event->eta_s, left));
}

/* A share of all images, as a percentage, or that there is none. */
static const char *percentage(double share, char text[48])
{
    if (isnan(share))
        snprintf(text, 48, "none (answers are not finite)");
    else
        snprintf(text, 48, "%.2f %%", 100 * share);
    return text;
}

static void show_evaluation(const struct watch *watch, const struct dvit_train_event *event)
{
    char averaged[100] = "", top5[64] = "", loss[64] = "", share[48];
    if (!(event->ema_top1 < 0))
        snprintf(averaged, sizeof averaged, "; averaged weights top-1 %s",
                 percentage(event->ema_top1, share));
    if (dvit_dataset_classes(watch->data->train) > DVIT_PREDICTION_TOP && !isnan(event->val_top5))
        snprintf(top5, sizeof top5, ", top-5 %.2f %%", 100 * event->val_top5);
    if (isfinite(event->val_loss))
        snprintf(loss, sizeof loss, event->val_loss < 1e6 ? ", loss %.4f" : ", loss %.3g",
                 event->val_loss);
    cli_note("epoch %d/%d: top-1 %s%s%s on the %s%s%s", event->epoch + 1,
             watch->options->train.epochs, percentage(event->val_top1, share), top5, loss,
             watch->data->same_images ? "training images themselves" : "validation images",
             averaged, event->best ? " (best so far)" : "");
}

static void watch_event(void *context, const struct dvit_train_event *event)
{
    struct watch *watch = context;
    double now = cli_seconds();
    watch->step = event->step;
    if (watch->options->json)
        print_event_json(event);
    switch (event->kind) {
    case DVIT_TRAIN_STARTED:
        watch->started = true;
        cli_note("%ld steps, %d per epoch, from step %ld", event->total_steps,
                 event->steps_per_epoch, event->step);
        break;
    case DVIT_TRAIN_STEP:
        if (!cli_progress_live() && watch->shown_s > 0 && now - watch->shown_s < PLAIN_INTERVAL_S)
            break;
        watch->shown_s = now;
        show_step(watch, event);
        break;
    case DVIT_TRAIN_EVALUATED:
        if (event->best)
            watch->best_epoch = event->epoch;
        tell_turns(watch);
        show_evaluation(watch, event);
        break;
    case DVIT_TRAIN_SKIPPED:
        cli_note("skipped: %s", event->text ? event->text : "");
        break;
    case DVIT_TRAIN_ROLLED_BACK:
        cli_note("rolled back %s", event->text);
        break;
    case DVIT_TRAIN_NOTED:
        cli_note("%s", event->text);
        break;
    case DVIT_TRAIN_SAVED: /* each epoch: no news for a reader */
    case DVIT_TRAIN_FINISHED:
        break;
    }
    if (cli_signals_reader_gone())
        cli_signals_request_stop();
}

/* ---- pictures ---- */

/* What the model keeps of a few validation images, one below the other: a dvit_train_draw. */
static enum dvit_status draw_kept(void *context, const struct dvit_model *model, int epoch,
                                  struct dvit_image *out, struct dvit_error *error)
{
    const struct watch *watch = context;
    const struct cli_exhibit_options how = {
        .count = SHOWN_IMAGES, .threads = watch->options->threads, .cpu = watch->options->cpu};
    struct dvit_overlay_options looks = dvit_overlay_options_default();
    struct dvit_overlay overlays[SHOWN_IMAGES];
    struct cli_exhibit exhibit;
    (void)epoch; /* whoever shows the picture says it */
    enum dvit_status status =
        cli_exhibit_create(&exhibit, model, watch->data->validation, &how, error);
    if (status != DVIT_OK)
        return status;
    for (int i = 0; i < exhibit.count; i++)
        overlays[i] = exhibit.views[i].overlay;
    bool small = exhibit.images[0].width <= SMALL_IMAGE_PX;
    looks.tile_px = small ? SMALL_IMAGE_PX : TILE_PX;
    status = dvit_report_gallery(out, overlays, exhibit.count, &looks, error);
    cli_exhibit_free(&exhibit);
    return status;
}

/* The page of the run so far. A training is not a failure for want of it. */
static void write_report(const struct watch *watch, const char *folder)
{
    struct dvit_error error = {0};
    const struct dvit_report_run run = {.folder = folder};
    const struct dvit_report report = {.title = cli_last_part(folder),
                                       .subtitle = watch->options->data,
                                       .runs = &run,
                                       .run_count = 1};
    char *path = cli_path(folder, "report.html");
    if (path && dvit_report_html(path, &report, &error) == DVIT_OK)
        cli_note("report: %s", path);
    else
        cli_note("no report: %s", path ? error.message : "out of memory");
    free(path);
}

/* ---- the run ---- */

/* As many images as is usual, halved while an epoch has less than two steps of them. */
static int fitting_batch(size_t images, int accumulate)
{
    const int usual = dvit_train_options_dense().batch;
    int batch = usual;
    while (batch > 1 && images / (size_t)batch < 2 * (size_t)accumulate)
        batch /= 2;
    if (batch < usual)
        cli_note("batch: %d images instead of %d, for %zu training images (--batch)", batch, usual,
                 images);
    return batch;
}

static struct dvit_train_options training_options(const struct cli_options *options,
                                                  const struct cli_training_data *data)
{
    struct dvit_train_options train = options->train;
    if (train.batch == CLI_WORD)
        train.batch = fitting_batch(dvit_dataset_size(data->train), train.accumulate);
    train.command = options->command;
    train.seed = options->seed;
    train.threads = options->threads;
    train.cpu = options->cpu;
    train.precision = options->precision;
    train.strict = options->strict;
    train.save_requests = cli_signals_saves();
    return train;
}

/* What the folder holds of the run, with the bytes of each file; those of two names count once. */
static void tell_kept(const char *folder)
{
    static const char *const names[] = {"best", "last", "state"};
    char text[400] = "";
    size_t used = 0;
    struct stat files[3];
    bool there[3];
    for (int i = 0; i < 3 && used < sizeof text; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s.safetensors", names[i]);
        char *path = cli_path(folder, name);
        there[i] = path && stat(path, &files[i]) == 0;
        free(path);
        if (!there[i])
            continue;
        bool again = i == 1 && there[0] && files[0].st_ino == files[1].st_ino;
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used ? ", " : "", name);
        if (again)
            used += (size_t)snprintf(text + used, sizeof text - used, " (the same file)");
        else
            used += (size_t)snprintf(text + used, sizeof text - used, " (%.1f MB%s)",
                                     1e-6 * (double)files[i].st_size,
                                     i == 2 ? ", needed by --resume alone" : "");
    }
    if (used)
        cli_note("kept in \"%s\": %s", folder, text);
}

static void tell_result(const struct watch *watch, const struct cli_options *options,
                        const char *path)
{
    char elapsed[32];
    cli_duration(cli_seconds() - watch->started_s, elapsed);
    if (watch->best_epoch >= 0)
        cli_note("done in %s; the best model is from epoch %d", elapsed, watch->best_epoch + 1);
    else
        cli_note("done in %s", elapsed);
    tell_kept(options->train.out);
    if (options->json) {
        struct cli_json json = cli_json_begin(stdout);
        cli_json_string(&json, "event", "result");
        cli_json_string(&json, "model", path);
        if (watch->best_epoch >= 0)
            cli_json_integer(&json, "best_epoch", watch->best_epoch);
        cli_json_real(&json, "seconds", cli_seconds() - watch->started_s);
        cli_json_end(&json);
    } else {
        cli_print("%s\n", path);
    }
}

int cli_training_run(struct dvit_model *model, const struct dvit_model *teacher,
                     struct cli_training_data *data, const struct cli_options *options)
{
    struct dvit_error error = {0};
    struct dvit_train_options train = training_options(options, data);
    struct watch watch = {
        .options = options, .data = data, .best_epoch = -1, .started_s = cli_seconds()};
    char *path = cli_path(train.out, "best.safetensors");
    if (!path) {
        cli_error("out of memory");
        return CLI_EXIT_FAILURE;
    }
    if (dvit_dataset_classes(data->train) == 1)
        cli_note("warning: the data has one class: every answer is right, and nothing is learnt");
    if (options->find_rate) {
        free(path);
        int code = cli_make_folder(train.out);
        return code == CLI_EXIT_OK ? cli_find_rate(model, teacher, data, &train, options) : code;
    }
    if (dvit_model_chooses(model)) {
        train.draw = draw_kept;
        train.draw_context = &watch;
    }
    cli_signals_training(true);
    enum dvit_status status = dvit_train(model, teacher, data->train, data->validation, &train,
                                         watch_event, &watch, cli_signals_stop(), &error);
    cli_signals_training(false);
    cli_progress_clear();
    int code = cli_exit_of(status);
    if (watch.started)
        write_report(&watch, train.out);
    if (status == DVIT_OK)
        tell_result(&watch, options, path);
    else if (status == DVIT_ERROR_INTERRUPTED)
        cli_note("stopped after step %ld, saved in \"%s\"; the same command with --resume goes on",
                 watch.step, train.out);
    else
        cli_fail(&error);
    free(path);
    return code;
}
