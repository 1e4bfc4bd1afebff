/* Reads the training log: one JSON object per line, written by a process that may have been killed
 * in mid-line, resumed, or gone non-finite.
 *
 * A line that is no record is counted and passed over, a missing or non-numeric field is NaN, and a
 * record that repeats an earlier step (a resumed run) replaces what was logged from that step on.
 * Does not judge the numbers. */
#define _POSIX_C_SOURCE 200809L /* strdup, strncasecmp */
#include "report/logged_run.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "base/error.h"
#include "base/file.h"
#include "report/markup.h"

enum { MAX_RECORDS = 1000000 };

static const size_t max_log_bytes = (size_t)256 << 20;

static const char *const step_names[DVIT_STEP_KEEP] = {
    [DVIT_STEP_STEP] = "step",
    [DVIT_STEP_EPOCH] = "epoch",
    [DVIT_STEP_RATE] = "lr",
    [DVIT_STEP_BACKBONE_RATE] = "backbone_lr",
    [DVIT_STEP_LOSS] = "loss",
    [DVIT_STEP_LOSS_CLS] = "loss_cls",
    [DVIT_STEP_LOSS_RATIO] = "loss_ratio",
    [DVIT_STEP_LOSS_KL] = "loss_kl",
    [DVIT_STEP_LOSS_TOKEN] = "loss_token",
    [DVIT_STEP_LOSS_AUX] = "loss_aux",
    [DVIT_STEP_GRADIENT_NORM] = "gradient_norm",
    [DVIT_STEP_IMAGES_PER_S] = "images_per_s",
    [DVIT_STEP_BAD_STEPS] = "bad_steps",
};

static const char *const evaluation_names[DVIT_EVALUATION_COLUMNS] = {
    [DVIT_EVALUATION_STEP] = "step", [DVIT_EVALUATION_EPOCH] = "epoch",
    [DVIT_EVALUATION_TOP1] = "top1", [DVIT_EVALUATION_TOP5] = "top5",
    [DVIT_EVALUATION_LOSS] = "loss", [DVIT_EVALUATION_EMA_TOP1] = "ema_top1",
};

static double number(const json_t *value)
{
    double result = json_is_number(value) ? json_number_value(value) : NAN;
    return isfinite(result) ? result : NAN;
}

/* A new row at the end; the step is column 0 in both kinds. NULL: no memory. */
static double *append_row(struct dvit_records *records)
{
    if (records->count == records->capacity) {
        size_t capacity = records->capacity ? records->capacity * 2 : 64;
        double *values =
            realloc(records->values, capacity * (size_t)records->columns * sizeof *values);
        if (!values)
            return NULL;
        records->values = values;
        records->capacity = capacity;
    }
    double *row = records->values + records->count++ * (size_t)records->columns;
    for (int i = 0; i < records->columns; i++)
        row[i] = NAN;
    return row;
}

/* Forgets rows at and after `step`. */
static void rewind_to(struct dvit_records *records, double step)
{
    while (records->count &&
           records->values[(records->count - 1) * (size_t)records->columns] >= step)
        records->count--;
}

/* One record with the named columns; *row is NULL where the line has no step. */
static enum dvit_status add_record(struct dvit_records *records, const json_t *line,
                                   const char *const *names, int named, double **row,
                                   struct dvit_error *error)
{
    double step = number(json_object_get(line, names[0]));
    *row = NULL;
    if (isnan(step))
        return DVIT_OK;
    rewind_to(records, step);
    if (records->count >= MAX_RECORDS)
        return dvit_error_set(error, DVIT_ERROR_LIMIT, "log.jsonl has more than %d records",
                              MAX_RECORDS);
    *row = append_row(records);
    if (!*row)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "log.jsonl: out of memory");
    for (int i = 0; i < named; i++)
        (*row)[i] = number(json_object_get(line, names[i]));
    return DVIT_OK;
}

static enum dvit_status add_step(struct dvit_logged_run *log, const json_t *line, bool *damaged,
                                 struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    double *row;
    DVIT_TRY(add_record(&log->steps, line, step_names, DVIT_STEP_KEEP, &row, error));
    *damaged = !row;
    if (!row)
        goto done;
    const json_t *keep = json_object_get(line, "keep");
    size_t stages = json_array_size(keep); /* 0 for anything else */
    for (size_t s = 0; s < stages && s < DVIT_MAX_STAGES; s++) {
        row[DVIT_STEP_KEEP + s] = number(json_array_get(keep, s));
        log->stages = (int)s + 1 > log->stages ? (int)s + 1 : log->stages;
    }
    /* An evaluation of this very step may have been written before its step record: keep it. */
    rewind_to(&log->evaluations, nextafter(row[DVIT_STEP_STEP], INFINITY));
done:
    return status;
}

/* Counts the time since the record before, but for a run that has begun anew. */
static void add_time(struct dvit_logged_run *log, const json_t *line, bool begins)
{
    static const double latest = 1e11; /* beyond it is no year that people live in */
    double time_s = number(json_object_get(line, "time"));
    if (!(time_s >= 0 && time_s < latest))
        return;
    if (isnan(log->first_s))
        log->first_s = time_s;
    else if (!begins && time_s > log->last_s)
        log->trained_s += time_s - log->last_s;
    log->last_s = time_s;
}

static enum dvit_status add_line(struct dvit_logged_run *log, const json_t *line, bool *damaged,
                                 struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    double *row;
    const char *event = json_string_value(json_object_get(line, "event"));
    *damaged = !event;
    if (!event)
        goto done;
    add_time(log, line, strcmp(event, "started") == 0);
    if (strcmp(event, "step") == 0) {
        DVIT_TRY(add_step(log, line, damaged, error));
    } else if (strcmp(event, "evaluated") == 0) {
        DVIT_TRY(add_record(&log->evaluations, line, evaluation_names, DVIT_EVALUATION_COLUMNS,
                            &row, error));
        *damaged = !row;
    } else if (strcmp(event, "started") == 0) {
        log->total_steps = number(json_object_get(line, "total_steps"));
        free(log->finished);
        log->finished = NULL;
    } else if (strcmp(event, "skipped") == 0) {
        log->skipped++;
    } else if (strcmp(event, "finished") == 0) {
        const char *text = json_string_value(json_object_get(line, "text"));
        free(log->finished);
        log->finished = strdup(text ? text : "finished");
        if (!log->finished)
            DVIT_FAIL(error, DVIT_ERROR_MEMORY, "log.jsonl: out of memory");
    } /* other events carry no numbers */
done:
    return status;
}

/* Length of a bare non-finite number at `text` ("NaN", "-Infinity", "inf", …), or 0. */
static size_t non_finite_length(const char *text, size_t left)
{
    static const char *const words[] = {"infinity", "inf", "nan"};
    size_t sign = left && *text == '-';
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t length = strlen(words[i]);
        if (left >= sign + length && strncasecmp(text + sign, words[i], length) == 0)
            return sign + length;
    }
    return 0;
}

/* JSON has no NaN, many writers print one all the same: outside of strings it becomes null. */
static json_t *parse_with_non_finite(const char *text, size_t length)
{
    struct dvit_markup repaired = {0};
    bool in_string = false;
    for (size_t i = 0; i < length;) {
        size_t word = in_string ? 0 : non_finite_length(text + i, length - i);
        if (word) {
            dvit_markup_add(&repaired, "null");
            i += word;
            continue;
        }
        if (text[i] == '"')
            in_string = !in_string;
        size_t bytes = in_string && text[i] == '\\' && i + 1 < length ? 2 : 1;
        dvit_markup_add_bytes(&repaired, text + i, bytes);
        i += bytes;
    }
    json_t *line = repaired.failed ? NULL : json_loadb(repaired.text, repaired.length, 0, NULL);
    dvit_markup_free(&repaired);
    return line;
}

static bool is_blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!strchr(" \t\r", text[i]) || !text[i])
            return false;
    return true;
}

static enum dvit_status parse_lines(struct dvit_logged_run *log, const char *text, size_t size,
                                    struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    json_t *line = NULL;
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end ? (size_t)(end - (text + at)) : size - at;
        if (!is_blank(text + at, length)) {
            bool damaged = true;
            line = json_loadb(text + at, length, 0, NULL);
            if (!line)
                line = parse_with_non_finite(text + at, length);
            if (line)
                DVIT_TRY(add_line(log, line, &damaged, error));
            log->damaged += damaged;
            json_decref(line);
            line = NULL;
        }
        at += length + 1;
    }
done:
    json_decref(line);
    return status;
}

enum dvit_status dvit_logged_run_read(struct dvit_logged_run *log, const char *folder,
                                      struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    unsigned char *text = NULL;
    size_t size;
    *log = (struct dvit_logged_run){.total_steps = NAN, .first_s = NAN, .last_s = NAN};
    log->steps.columns = DVIT_STEP_COLUMNS;
    log->evaluations.columns = DVIT_EVALUATION_COLUMNS;
    char *path = dvit_path_join(folder, "log.jsonl");
    if (!path)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", folder);
    DVIT_TRY(dvit_file_read(path, max_log_bytes, &text, &size, error));
    status = parse_lines(log, (const char *)text, size, error);
    if (status)
        dvit_error_prefix(error, "\"%s\"", folder);
done:
    free(text);
    free(path);
    return status;
}

void dvit_logged_run_free(struct dvit_logged_run *log)
{
    free(log->steps.values);
    free(log->evaluations.values);
    free(log->finished);
    *log = (struct dvit_logged_run){0};
}
