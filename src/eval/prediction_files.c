/* Predictions and confusion matrices as files. A line at a time is formed in memory and written;
 * the file appears when it is complete. Numbers are the shortest texts that read back as the same
 * float.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/decimal.h"
#include "base/file.h"
#include "base/utf8.h"
#include "dvit/eval.h"
#include "eval/predictions.h"

/* A line being formed; grows, and remembers when it could not. */
struct line {
    char *text;
    size_t used, capacity;
    bool failed;
};

static void add(struct line *line, const char *text, size_t size)
{
    if (line->used + size > line->capacity && !line->failed) {
        size_t capacity = 2 * (line->used + size) + 256;
        char *larger = realloc(line->text, capacity);
        line->failed = larger == NULL;
        line->text = larger ? larger : line->text;
        line->capacity = larger ? capacity : line->capacity;
    }
    if (line->failed)
        return;
    memcpy(line->text + line->used, text, size);
    line->used += size;
}

static void add_text(struct line *line, const char *text)
{
    add(line, text, strlen(text));
}

static void add_integer(struct line *line, long long value)
{
    char text[32];
    add(line, text, (size_t)snprintf(text, sizeof text, "%lld", value));
}

static void add_float(struct line *line, float value)
{
    char text[40];
    dvit_decimal_shortest_float(text, sizeof text, value, 6);
    add_text(line, text);
}

/* Writes the line and begins the next. */
static enum dvit_status end_line(struct line *line, struct dvit_file_writer *writer,
                                 struct dvit_error *error)
{
    add(line, "\n", 1);
    if (line->failed)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory for a line",
                              writer->path);
    size_t used = line->used;
    line->used = 0;
    return dvit_file_write(writer, line->text, used, error);
}

/* ----------------------------------------------------------------------------------- CSV --- */

/* A spreadsheet computes a cell that begins so, whatever folder or file gave the name: an
 * apostrophe makes it text. Controls, except those that CSV quotes, and bytes that are no UTF-8 are
 * escaped as everywhere. */
static void add_field(struct line *line, const char *text)
{
    bool quoted = strpbrk(text, ",\"\r\n") != NULL;
    if (quoted)
        add(line, "\"", 1);
    if (*text && strchr("=+-@\t\r", *text))
        add(line, "'", 1);
    while (*text) {
        char shown[DVIT_UTF8_SHOWN];
        size_t shown_bytes;
        if (*text == '"')
            add(line, "\"", 1);
        size_t length = dvit_utf8_show(text, shown, &shown_bytes);
        bool kept = strchr("\n\r\t", *text) != NULL;
        add(line, kept ? text : shown, kept ? 1 : shown_bytes);
        text += length;
    }
    if (quoted)
        add(line, "\"", 1);
}

static void csv_header(struct line *line)
{
    add_text(line, "path,label,label_name,prediction,prediction_name,probability");
    for (int k = 2; k <= DVIT_PREDICTION_TOP; k++) {
        char text[48];
        add(line, text, (size_t)snprintf(text, sizeof text, ",top%d,probability%d", k, k));
    }
    add_text(line, ",correct,correct5,model,keep,error");
}

static void csv_answers(struct line *line, const struct dvit_prediction *prediction,
                        const struct dvit_evaluation *evaluation)
{
    bool among = false;
    for (int k = 0; k < DVIT_PREDICTION_TOP; k++) {
        int class = prediction->top[k];
        among = among || class == prediction->label;
        add(line, ",", 1);
        if (class >= 0)
            add_integer(line, class);
        if (k == 0) {
            add(line, ",", 1);
            add_field(line, class >= 0 ? evaluation->class_names[class] : "");
        }
        add(line, ",", 1);
        if (class >= 0)
            add_float(line, prediction->probability[k]);
    }
    if (prediction->top[0] < 0)
        add_text(line, ",,");
    else
        add_text(line, prediction->top[0] == prediction->label ? ",1,1" : among ? ",0,1" : ",0,0");
}

static void csv_row(struct line *line, const char *path, const struct dvit_prediction *prediction,
                    const struct dvit_evaluated *of, const char *message)
{
    char keep[40];
    add_field(line, path);
    add(line, ",", 1);
    add_integer(line, prediction->label);
    add(line, ",", 1);
    add_field(line, of->evaluation->class_names[prediction->label]);
    csv_answers(line, prediction, of->evaluation);
    add(line, ",", 1);
    add_field(line, of->model);
    add(line, keep, (size_t)dvit_decimal_format(keep, sizeof keep, ",%.9g,", of->keep));
    add_field(line, message ? message : "");
}

/* ---------------------------------------------------------------------------------- JSON --- */

/* As `--json` writes strings: what is not UTF-8 becomes U+FFFD, controls are escaped. */
static void json_string(struct line *line, const char *text)
{
    add(line, "\"", 1);
    while (*text) {
        char escape[DVIT_UTF8_SHOWN];
        unsigned char first = (unsigned char)*text;
        size_t shown_bytes, length = dvit_utf8_show(text, escape, &shown_bytes);
        if (first == '"' || first == '\\')
            add(line, escape, (size_t)snprintf(escape, sizeof escape, "\\%c", first));
        else if (first < ' ' || first == 127)
            add(line, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", first));
        else if (length == 1 && first >= 0x80)
            add_text(line, "\xef\xbf\xbd");
        else
            add(line, escape, shown_bytes); /* \u202e is JSON's way, too */
        text += length;
    }
    add(line, "\"", 1);
}

static void json_class(struct line *line, int class, const struct dvit_evaluation *evaluation)
{
    add_text(line, "\"class\": ");
    add_integer(line, class);
    add_text(line, ", \"label\": ");
    json_string(line, evaluation->class_names[class]);
}

static void json_row(struct line *line, const char *path, const struct dvit_prediction *prediction,
                     const struct dvit_evaluated *of, const char *message)
{
    char keep[40];
    add_text(line, "{\"file\": ");
    json_string(line, path);
    add_text(line, ", ");
    json_class(line, prediction->label, of->evaluation);
    if (message) {
        add_text(line, ", \"error\": ");
        json_string(line, message);
    } else {
        add_text(line, ", \"top\": [");
        for (int k = 0; k < DVIT_PREDICTION_TOP && prediction->top[k] >= 0; k++) {
            add_text(line, k ? ", {" : "{");
            json_class(line, prediction->top[k], of->evaluation);
            add_text(line, ", \"probability\": ");
            add_float(line, prediction->probability[k]);
            add_text(line, "}");
        }
        add_text(line, "], \"correct\": ");
        add_text(line, prediction->top[0] == prediction->label ? "true" : "false");
    }
    add_text(line, ", \"model\": ");
    json_string(line, of->model);
    add(line, keep, (size_t)dvit_decimal_format(keep, sizeof keep, ", \"keep\": %.9g}", of->keep));
}

/* --------------------------------------------------------------------------------- files --- */

struct format {
    const char *ending;
    void (*header)(struct line *line); /* NULL: none */
    void (*row)(struct line *line, const char *path, const struct dvit_prediction *prediction,
                const struct dvit_evaluated *of, const char *message);
};

static const struct format *find_format(const char *path)
{
    static const struct format formats[] = {
        {".csv", csv_header, csv_row}, {".json", NULL, json_row}, {".jsonl", NULL, json_row}};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof formats / sizeof *formats; i++)
        if (strcasecmp(dot, formats[i].ending) == 0)
            return &formats[i];
    return NULL;
}

enum dvit_status dvit_predictions_check(const char *path, struct dvit_error *error)
{
    DVIT_REQUIRE(error, path);
    if (find_format(path))
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                          "\"%s\": predictions are written to a file that ends in .csv, .json or "
                          ".jsonl",
                          path);
}

static enum dvit_status write_evaluated(struct dvit_file_writer *writer, struct line *line,
                                        const struct format *format,
                                        const struct dvit_dataset *dataset,
                                        const struct dvit_evaluated *of, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_evaluation *evaluation = of->evaluation;
    size_t unread = 0;
    if (!evaluation || !of->model)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "\"%s\": an evaluation or its model's name is NULL",
                  writer->path);
    if (evaluation->prediction_count > dvit_dataset_size(dataset))
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH, "\"%s\": %zu predictions over a data set of %zu",
                  writer->path, evaluation->prediction_count, dvit_dataset_size(dataset));
    for (size_t i = 0; i < evaluation->prediction_count; i++) {
        const char *message = NULL;
        if (unread < evaluation->skipped && evaluation->unread[unread].index == i)
            message = evaluation->unread[unread++].message;
        else if (evaluation->predictions[i].top[0] < 0)
            message = "no answer: the model's logits are not finite";
        format->row(line, dvit_dataset_item_name(dataset, i), &evaluation->predictions[i], of,
                    message);
        DVIT_TRY(end_line(line, writer, error));
    }
done:
    return status;
}

enum dvit_status dvit_predictions_write(const char *path, const struct dvit_dataset *dataset,
                                        const struct dvit_evaluated *evaluated, int count,
                                        struct dvit_error *error)
{
    DVIT_REQUIRE(error, path, dataset, evaluated);
    enum dvit_status status = DVIT_OK;
    struct dvit_file_writer writer = {0};
    struct line line = {0};
    const struct format *format = find_format(path);
    DVIT_TRY(dvit_predictions_check(path, error));
    DVIT_TRY(dvit_file_begin(&writer, path, error));
    if (format->header) {
        format->header(&line);
        DVIT_TRY(end_line(&line, &writer, error));
    }
    for (int i = 0; i < count; i++)
        DVIT_TRY(write_evaluated(&writer, &line, format, dataset, &evaluated[i], error));
    DVIT_TRY(dvit_file_commit(&writer, error));
done:
    dvit_file_abandon(&writer);
    free(line.text);
    return status;
}

static void confusion_header(struct line *line, int classes)
{
    add_text(line, "label,label_name,images");
    for (int k = 0; k < classes; k++) {
        add(line, ",", 1);
        add_integer(line, k);
    }
}

/* The row of class `label`. `pairs` are sorted by class; *at is the first of this row, and moves on
 * to the next one's. */
static void confusion_row(struct line *line, const struct dvit_evaluation *evaluation, int label,
                          const struct dvit_class_counts *counts,
                          const struct dvit_confusion *pairs, size_t pair_count, size_t *at)
{
    add_integer(line, label);
    add(line, ",", 1);
    add_field(line, evaluation->class_names[label]);
    add(line, ",", 1);
    add_integer(line, (long long)counts->images);
    for (int k = 0; k < evaluation->classes; k++) {
        size_t images = k == label ? counts->top1 : 0;
        if (*at < pair_count && pairs[*at].label == label && pairs[*at].answer == k)
            images = pairs[(*at)++].images;
        add(line, ",", 1);
        add_integer(line, (long long)images);
    }
}

enum dvit_status dvit_evaluation_write_confusion(const char *path,
                                                 const struct dvit_evaluation *evaluation,
                                                 struct dvit_error *error)
{
    DVIT_REQUIRE(error, path, evaluation);
    enum dvit_status status = DVIT_OK;
    struct dvit_file_writer writer = {0};
    struct line line = {0};
    struct dvit_class_counts *counts = NULL;
    struct dvit_confusion *pairs = NULL;
    size_t pair_count = 0, at = 0;
    if (evaluation->classes > DVIT_MAX_CONFUSION_CLASSES)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT,
                  "\"%s\": a confusion matrix of %d classes, expected at most %d", path,
                  evaluation->classes, DVIT_MAX_CONFUSION_CLASSES);
    counts = calloc((size_t)evaluation->classes + 1, sizeof *counts);
    if (!counts)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    dvit_evaluation_class_counts(evaluation, counts);
    DVIT_TRY(dvit_evaluation_confusions(evaluation, &pairs, &pair_count, error));
    if (pairs)
        qsort(pairs, pair_count, sizeof *pairs, dvit_confusion_by_classes);
    DVIT_TRY(dvit_file_begin(&writer, path, error));
    confusion_header(&line, evaluation->classes);
    DVIT_TRY(end_line(&line, &writer, error));
    for (int k = 0; k < evaluation->classes; k++) {
        confusion_row(&line, evaluation, k, &counts[k], pairs, pair_count, &at);
        DVIT_TRY(end_line(&line, &writer, error));
    }
    DVIT_TRY(dvit_file_commit(&writer, error));
done:
    dvit_file_abandon(&writer);
    free(line.text);
    free(pairs);
    free(counts);
    return status;
}
