/* The run's own record, as JSON through jansson, as rows of a table, and for TensorBoard. Every
 * form is made of the same JSON record.
 *
 * Times are for people, and for TensorBoard's axes: the wall clock as it was when the log was
 * opened, but not before what an earlier part of the run has written, and from there on the
 * monotonic clock. So records stay in order however the wall clock is set. */
#define _GNU_SOURCE
#include "train/run_log.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "train/log_table.h"
#include "train/options.h"

enum { LOG_LIMIT_BYTES = 1 << 30 };

static void set_real(json_t *object, const char *key, double value)
{
    json_object_set_new(object, key, isfinite(value) ? json_real(value) : json_null());
}

static const char *const event_names[] = {
    [DVIT_TRAIN_STARTED] = "started",         [DVIT_TRAIN_STEP] = "step",
    [DVIT_TRAIN_EVALUATED] = "evaluated",     [DVIT_TRAIN_SAVED] = "saved",
    [DVIT_TRAIN_SKIPPED] = "skipped",         [DVIT_TRAIN_FINISHED] = "finished",
    [DVIT_TRAIN_ROLLED_BACK] = "rolled back", [DVIT_TRAIN_NOTED] = "noted",
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
        json_array_append_new(keep, isfinite(e->keep[s]) ? json_real(e->keep[s]) : json_null());
    json_object_set_new(line, "keep", keep);
    json_object_set_new(line, "bad_steps", json_integer(e->bad_steps));
}

static void add_evaluation(json_t *line, const struct dvit_train_event *e)
{
    set_real(line, "top1", e->val_top1);
    set_real(line, "top5", e->val_top5);
    set_real(line, "loss", e->val_loss);
    if (!(e->ema_top1 < 0)) /* NaN: no accuracy */
        set_real(line, "ema_top1", e->ema_top1);
    json_object_set_new(line, "best", json_boolean(e->best));
}

/* Seconds since 1970. */
static double wall_clock(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double dvit_run_log_time(const struct dvit_run_log *log)
{
    return log->opened_s + (dvit_clock_seconds() - log->opened_monotonic_s);
}

static json_t *event_record(const struct dvit_train_event *e, double time_s)
{
    json_t *line = json_pack("{s:s, s:I, s:i, s:I}", "event", event_names[e->kind], "time",
                             (json_int_t)time_s, "epoch", e->epoch, "step", (json_int_t)e->step);
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
        json_object_set_new(line, "text", dvit_train_text_json(e->text));
    return line;
}

/* ---- what an interrupted run left ---- */

/* Whether a record is of the past of a run that goes on so. */
static bool is_past(const json_t *line, const struct dvit_run_log_options *options)
{
    const json_t *step = json_object_get(line, "step");
    const char *event = json_string_value(json_object_get(line, "event"));
    if (!json_is_integer(step) || json_integer_value(step) > options->resumed_step)
        return false;
    bool evaluated = event && strcmp(event, event_names[DVIT_TRAIN_EVALUATED]) == 0;
    return !(evaluated && options->unevaluated &&
             json_integer_value(step) == options->resumed_step);
}

/* When a record was made; what is no year that people live in does not count. */
static double time_of(const json_t *line)
{
    static const double latest = 1e11;
    double time_s = json_number_value(json_object_get(line, "time"));
    return time_s < latest ? time_s : 0;
}

/* Keeps the lines of the past, and writes their rows to `table`. *last_s becomes the latest time of
 * all lines. */
static size_t filter_lines(unsigned char *data, size_t size,
                           const struct dvit_run_log_options *options, FILE *table, double *last_s)
{
    size_t kept = 0;
    for (size_t at = 0; at < size;) {
        unsigned char *end = memchr(data + at, '\n', size - at);
        if (!end)
            break; /* a line cut short by a crash */
        size_t length = (size_t)(end - (data + at)) + 1;
        json_t *line = json_loadb((char *)data + at, length, 0, NULL);
        *last_s = fmax(*last_s, time_of(line));
        if (is_past(line, options)) {
            memmove(data + kept, data + at, length);
            kept += length;
            if (dvit_log_has_row(line))
                dvit_log_write_row(table, line, options->stages);
        }
        json_decref(line);
        at += length;
    }
    return kept;
}

/* Drops the records of later steps, and makes the table anew from those that stay. */
static enum dvit_status drop_later_records(const char *path,
                                           const struct dvit_run_log_options *options, FILE *table,
                                           double *last_s, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    unsigned char *data = NULL;
    size_t size;
    if (!dvit_file_exists(path))
        return DVIT_OK;
    DVIT_TRY(dvit_file_read(path, LOG_LIMIT_BYTES, &data, &size, error));
    size = filter_lines(data, size, options, table, last_s);
    DVIT_TRY(dvit_file_replace(path, data, size, error));
done:
    free(data);
    return status;
}

/* ---- open, add, close ---- */

static enum dvit_status open_table(struct dvit_run_log *log, const char *path, const char *text,
                                   size_t size, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    DVIT_TRY(dvit_record_file_open(&log->table, path, DVIT_OPEN_NEW, NULL, error));
    DVIT_TRY(dvit_record_file_add(&log->table, text, size, error));
done:
    return status;
}

static enum dvit_status open_files(struct dvit_run_log *log, const char *lines_path,
                                   const char *table_path,
                                   const struct dvit_run_log_options *options,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    char *text = NULL;
    size_t size = 0;
    double last_s = 0;
    long first_step = options->resume ? options->resumed_step + 1 : 0;
    FILE *table = open_memstream(&text, &size);
    if (!table)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", table_path);
    dvit_log_write_header(table, options->stages);
    if (options->resume)
        status = drop_later_records(lines_path, options, table, &last_s, error);
    bool complete = fclose(table) == 0;
    DVIT_TRY(status);
    if (!complete)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", table_path);
    log->opened_s =
        fmax(wall_clock(), last_s + 1); /* of two files, the later one's name is later */
    log->opened_monotonic_s = dvit_clock_seconds();
    DVIT_TRY(dvit_record_file_open(
        &log->lines, lines_path, options->resume ? DVIT_OPEN_APPEND : DVIT_OPEN_NEW, NULL, error));
    DVIT_TRY(open_table(log, table_path, text, size, error));
    if (options->tensorboard)
        DVIT_TRY(dvit_event_file_create(&log->events, options->folder, dvit_run_log_time(log),
                                        first_step, error));
done:
    free(text);
    return status;
}

enum dvit_status dvit_run_log_open(struct dvit_run_log *log,
                                   const struct dvit_run_log_options *options,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    char *lines_path = dvit_path_join(options->folder, "log.jsonl");
    char *table_path = dvit_path_join(options->folder, "log.csv");
    *log = (struct dvit_run_log){.stages = options->stages};
    if (!lines_path || !table_path)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", options->folder);
    DVIT_TRY(open_files(log, lines_path, table_path, options, error));
done:
    free(lines_path);
    free(table_path);
    if (status != DVIT_OK)
        dvit_run_log_close(log);
    return status;
}

void dvit_run_log_close(struct dvit_run_log *log)
{
    dvit_record_file_close(&log->lines);
    dvit_record_file_close(&log->table);
    dvit_event_file_close(&log->events);
}

static enum dvit_status add_line(struct dvit_run_log *log, const json_t *record,
                                 struct dvit_error *error)
{
    char *text = json_dumps(record, JSON_COMPACT | JSON_REAL_PRECISION(9));
    size_t length = text ? strlen(text) : 0;
    if (!text)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", log->lines.path);
    text[length] = '\n'; /* instead of the terminating zero */
    enum dvit_status status = dvit_record_file_add(&log->lines, text, length + 1, error);
    free(text);
    return status;
}

static enum dvit_status add_row(struct dvit_run_log *log, const json_t *record,
                                struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    char *text = NULL;
    size_t size = 0;
    FILE *row = open_memstream(&text, &size);
    if (row)
        dvit_log_write_row(row, record, log->stages);
    if (!row || fclose(row) != 0)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", log->table.path);
    DVIT_TRY(dvit_record_file_add(&log->table, text, size, error));
done:
    free(text);
    return status;
}

static enum dvit_status add_events(struct dvit_run_log *log, const json_t *record, double time_s,
                                   long step, struct dvit_error *error)
{
    struct dvit_event_scalar scalars[DVIT_LOG_MAX_SCALARS];
    if (!log->events.records.path)
        return DVIT_OK;
    size_t count = dvit_log_scalars(scalars, record);
    return dvit_event_file_add_scalars(&log->events, time_s, step, scalars, count, error);
}

enum dvit_status dvit_run_log_event(struct dvit_run_log *log, const struct dvit_train_event *event,
                                    struct dvit_error *error)
{
    double now = dvit_run_log_time(log);
    if (!log->lines.path)
        return DVIT_OK;
    json_t *record = event_record(event, now);
    if (!record)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", log->lines.path);
    enum dvit_status results[3] = {add_line(log, record, error)};
    if (dvit_log_has_row(record)) {
        results[1] = add_row(log, record, error);
        results[2] = add_events(log, record, now, event->step, error);
    }
    json_decref(record);
    for (int i = 2; i >= 0; i--)
        if (results[i] != DVIT_OK)
            return results[i]; /* the latest one: the message is its own */
    return DVIT_OK;
}
