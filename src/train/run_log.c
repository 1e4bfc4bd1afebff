/* The run's own record, as JSON through jansson. Times are the wall clock, for people only. */
#define _GNU_SOURCE
#include "train/run_log.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/threads.h"
#include "kernels/matmul.h"

enum { LOG_LIMIT_BYTES = 1 << 30 };

static void set_real(json_t *object, const char *key, double value)
{
    json_object_set_new(object, key, isfinite(value) ? json_real(value) : json_null());
}

static const char *const event_names[] = {
    [DVIT_TRAIN_STARTED] = "started",     [DVIT_TRAIN_STEP] = "step",
    [DVIT_TRAIN_EVALUATED] = "evaluated", [DVIT_TRAIN_SAVED] = "saved",
    [DVIT_TRAIN_SKIPPED] = "skipped",     [DVIT_TRAIN_FINISHED] = "finished",
};

static void add_step(json_t *line, const struct dvit_train_event *e)
{
    set_real(line, "lr", e->learning_rate);
    set_real(line, "backbone_lr", e->backbone_learning_rate);
    set_real(line, "loss", e->loss);
    set_real(line, "loss_cls", e->loss_cls);
    set_real(line, "loss_ratio", e->loss_ratio);
    set_real(line, "loss_kl", e->loss_kl);
    set_real(line, "loss_token", e->loss_token);
    if (e->loss_aux != 0)
        set_real(line, "loss_aux", e->loss_aux);
    set_real(line, "gradient_norm", e->gradient_norm);
    set_real(line, "images_per_s", e->images_per_s);
    json_t *keep = json_array();
    for (int s = 0; s < e->stages; s++)
        json_array_append_new(keep, json_real(e->keep[s]));
    json_object_set_new(line, "keep", keep);
    json_object_set_new(line, "bad_steps", json_integer(e->bad_steps));
}

static void add_evaluation(json_t *line, const struct dvit_train_event *e)
{
    set_real(line, "top1", e->val_top1);
    set_real(line, "top5", e->val_top5);
    set_real(line, "loss", e->val_loss);
    if (e->ema_top1 >= 0)
        set_real(line, "ema_top1", e->ema_top1);
    json_object_set_new(line, "best", json_boolean(e->best));
}

static char *event_text(const struct dvit_train_event *e)
{
    json_t *line =
        json_pack("{s:s, s:I, s:i, s:I}", "event", event_names[e->kind], "time",
                  (json_int_t)time(NULL), "epoch", e->epoch, "step", (json_int_t)e->step);
    if (!line)
        return NULL;
    if (e->kind == DVIT_TRAIN_STARTED) {
        json_object_set_new(line, "steps_per_epoch", json_integer(e->steps_per_epoch));
        json_object_set_new(line, "total_steps", json_integer(e->total_steps));
    }
    if (e->kind == DVIT_TRAIN_STEP)
        add_step(line, e);
    if (e->kind == DVIT_TRAIN_EVALUATED)
        add_evaluation(line, e);
    if (e->text)
        json_object_set_new(line, "text", json_string(e->text));
    char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(line);
    return text;
}

/* Keeps the lines that belong to steps up to `last`. */
static enum dvit_status drop_later_lines(const char *path, long last, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    unsigned char *data = NULL;
    size_t size, kept = 0;
    if (!dvit_file_exists(path))
        return DVIT_OK;
    DVIT_TRY(dvit_file_read(path, LOG_LIMIT_BYTES, &data, &size, error));
    for (size_t at = 0; at < size;) {
        unsigned char *end = memchr(data + at, '\n', size - at);
        if (!end)
            break; /* a line cut short by a crash */
        size_t length = (size_t)(end - (data + at)) + 1;
        json_t *line = json_loadb((char *)data + at, length, 0, NULL);
        json_t *step = json_object_get(line, "step");
        if (json_is_integer(step) && json_integer_value(step) <= last) {
            memmove(data + kept, data + at, length);
            kept += length;
        }
        json_decref(line);
        at += length;
    }
    DVIT_TRY(dvit_file_replace(path, data, kept, error));
done:
    free(data);
    return status;
}

enum dvit_status dvit_run_log_open(struct dvit_run_log *log, const char *path, bool resume,
                                   long resumed_step, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    *log = (struct dvit_run_log){.path = strdup(path)};
    if (!log->path)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    if (resume)
        DVIT_TRY(drop_later_lines(path, resumed_step, error));
    log->stream = fopen(path, resume ? "ab" : "wb");
    if (!log->stream)
        DVIT_FAIL(error, DVIT_ERROR_IO, "\"%s\": cannot open: %s", path, strerror(errno));
done:
    if (status != DVIT_OK)
        dvit_run_log_close(log);
    return status;
}

void dvit_run_log_close(struct dvit_run_log *log)
{
    if (log->stream)
        fclose(log->stream);
    free(log->path);
    *log = (struct dvit_run_log){0};
}

enum dvit_status dvit_run_log_event(struct dvit_run_log *log, const struct dvit_train_event *event,
                                    struct dvit_error *error)
{
    char *text = event_text(event);
    if (!text)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", log->path);
    bool written = fprintf(log->stream, "%s\n", text) > 0;
    written = fflush(log->stream) == 0 && written;
    free(text);
    if (written)
        return DVIT_OK;
    clearerr(log->stream);
    return dvit_error_set(error, DVIT_ERROR_IO, "\"%s\": cannot write: %s", log->path,
                          strerror(errno));
}

static json_t *options_json(const struct dvit_train_options *o)
{
    return json_pack(
        "{s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:b, s:b, s:f, s:f, s:f, s:f, s:f, s:f,"
        " s:f, s:f, s:b, s:b, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:b, s:f, s:b,"
        " s:s, s:s?, s:f, s:f, s:f, s:f, s:i}",
        "epochs", o->epochs, "batch", o->batch, "accumulate", o->accumulate, "threads", o->threads,
        "workers", o->workers, "learning_rate", o->learning_rate, "backbone_lr_scale",
        o->backbone_lr_scale, "min_learning_rate", o->min_learning_rate, "warmup_epochs",
        o->warmup_epochs, "backbone_freeze_epochs", o->backbone_freeze_epochs, "freeze_backbone",
        o->freeze_backbone, "freeze_embeddings", o->freeze_embeddings, "weight_decay",
        o->weight_decay, "beta1", o->beta1, "beta2", o->beta2, "adam_eps", o->adam_eps, "clip_norm",
        o->clip_norm, "ema_decay", o->ema_decay, "drop_path", o->drop_path, "label_smoothing",
        o->label_smoothing, "augment", o->augment, "flip", o->flip, "keep", o->keep, "elastic_low",
        o->elastic_low, "elastic_high", o->elastic_high, "weight_cls", o->weight_cls,
        "weight_ratio", o->weight_ratio, "weight_kl", o->weight_kl, "weight_token", o->weight_token,
        "weight_aux", o->weight_aux, "ratio_on_batch_mean", o->ratio_on_batch_mean,
        "decision_gradient_cap", o->decision_gradient_cap, "strict", o->strict, "precision",
        o->precision ? o->precision : "f32", "rand_augment", o->rand_augment, "color_jitter",
        o->color_jitter, "erasing", o->erasing, "mixup", o->mixup, "cutmix", o->cutmix, "repeats",
        o->repeats);
}

static json_t *model_json(const struct dvit_model *model)
{
    const struct dvit_config *c = &model->config;
    json_t *blocks = json_array();
    for (int s = 0; s < c->stages; s++)
        json_array_append_new(blocks, json_integer(c->stage_block[s]));
    return json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:I}", "name", c->name,
                     "image_width", c->image_width, "image_height", c->image_height, "patch",
                     c->patch, "dim", c->dim, "depth", c->depth, "heads", c->heads, "mlp", c->mlp,
                     "classes", c->classes, "stage_blocks", blocks, "parameters",
                     (json_int_t)model->parameters.total);
}

enum dvit_status dvit_run_config_write(const char *path, const struct dvit_trainer *t,
                                       const struct dvit_dataset *data, struct dvit_error *error)
{
    char processor[128];
    dvit_cpu_describe(processor, sizeof processor);
    json_t *root = json_pack(
        "{s:s, s:s, s:I, s:{s:s, s:I, s:i}, s:o, s:o, s:{s:s, s:s, s:s, s:i}}", "command",
        t->options.command ? t->options.command : "", "version", dvit_version(), "seed",
        (json_int_t)t->options.seed, "data", "fingerprint", dvit_dataset_fingerprint(data),
        "images", (json_int_t)dvit_dataset_size(data), "classes", dvit_dataset_classes(data),
        "model", model_json(t->model), "options", options_json(&t->options), "machine", "processor",
        processor, "kernels", dvit_cpu_name(t->kernels.cpu), "matrix_products",
        dvit_matmul_backend(), "threads", dvit_threads_count(t->threads));
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    if (!text)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory or not UTF-8", path);
    enum dvit_status status = dvit_file_replace(path, text, strlen(text), error);
    free(text);
    return status;
}
