/* One table says what a column of log.csv is called, which record it comes from, and the tag of its
 * chart in TensorBoard. Decimal points are points, whatever the locale. */
#include "train/log_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char step[] = "step", evaluated[] = "evaluated";

static const struct column {
    const char *name;
    const char *event; /* only of these records; NULL = of all */
    const char *key;   /* in the record */
    const char *tag;   /* NULL = no chart */
} columns[] = {
    {"event", NULL, "event", NULL},
    {"time", NULL, "time", NULL}, /* seconds since 1970 */
    {"epoch", NULL, "epoch", NULL},
    {"step", NULL, "step", NULL},
    {"lr", step, "lr", "rate/lr"},
    {"backbone_lr", step, "backbone_lr", "rate/backbone_lr"},
    {"loss", step, "loss", "loss/total"},
    {"loss_cls", step, "loss_cls", "loss/classification"},
    {"loss_ratio", step, "loss_ratio", "loss/keep_ratio"},
    {"loss_kl", step, "loss_kl", "loss/distillation"},
    {"loss_token", step, "loss_token", "loss/token"},
    {"loss_aux", step, "loss_aux", "loss/auxiliary"},
    {"gradient_norm", step, "gradient_norm", "step/gradient_norm"},
    {"images_per_s", step, "images_per_s", "step/images_per_s"},
    {"bad_steps", step, "bad_steps", "step/bad_steps"},
    {"val_top1", evaluated, "top1", "validation/top1"},
    {"val_top5", evaluated, "top5", "validation/top5"},
    {"val_loss", evaluated, "loss", "validation/loss"},
    {"ema_top1", evaluated, "ema_top1", "validation/ema_top1"},
    {"best", evaluated, "best", NULL},
};
enum { COLUMNS = sizeof columns / sizeof *columns };

_Static_assert(COLUMNS <= DVIT_LOG_MAX_SCALARS - DVIT_MAX_STAGES + 4,
               "raise DVIT_LOG_MAX_SCALARS: every column but four has a chart");

static const char *event_of(const json_t *record)
{
    const char *event = json_string_value(json_object_get(record, "event"));
    return event ? event : "";
}

bool dvit_log_has_row(const json_t *record)
{
    const char *event = event_of(record);
    return strcmp(event, step) == 0 || strcmp(event, evaluated) == 0;
}

/* The column's value in the record, NULL where it has none. */
static const json_t *value_of(const struct column *column, const json_t *record)
{
    if (column->event && strcmp(column->event, event_of(record)) != 0)
        return NULL;
    return json_object_get(record, column->key);
}

void dvit_log_write_header(FILE *stream, int stages)
{
    for (int i = 0; i < COLUMNS; i++)
        fprintf(stream, "%s%s", i ? "," : "", columns[i].name);
    for (int s = 0; s < stages; s++)
        fprintf(stream, ",keep_%d", s + 1);
    fputc('\n', stream);
}

/* Strings are our own names of events: no commas, no quotes. Flags are 0 and 1. */
static void write_value(FILE *stream, const json_t *value)
{
    if (json_is_boolean(value))
        fputc(json_is_true(value) ? '1' : '0', stream);
    else if (json_is_string(value))
        fputs(json_string_value(value), stream);
    else if (json_is_number(value))
        json_dumpf(value, stream, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
}

void dvit_log_write_row(FILE *stream, const json_t *record, int stages)
{
    const json_t *keep = json_object_get(record, "keep");
    for (int i = 0; i < COLUMNS; i++) {
        if (i)
            fputc(',', stream);
        write_value(stream, value_of(&columns[i], record));
    }
    for (int s = 0; s < stages; s++) {
        fputc(',', stream);
        write_value(stream, json_array_get(keep, (size_t)s));
    }
    fputc('\n', stream);
}

/* Charts have no use for what is not finite: the log has null there. */
static size_t add_scalar(struct dvit_event_scalar *scalars, size_t count, const char *tag,
                         const json_t *value)
{
    if (!json_is_number(value))
        return count;
    struct dvit_event_scalar *scalar = &scalars[count];
    snprintf(scalar->tag, sizeof scalar->tag, "%s", tag);
    scalar->value = (float)json_number_value(value);
    return count + 1;
}

size_t dvit_log_scalars(struct dvit_event_scalar scalars[DVIT_LOG_MAX_SCALARS],
                        const json_t *record)
{
    const json_t *keep = json_object_get(record, "keep");
    size_t count = 0, stages = json_array_size(keep);
    for (int i = 0; i < COLUMNS; i++)
        if (columns[i].tag)
            count = add_scalar(scalars, count, columns[i].tag, value_of(&columns[i], record));
    for (size_t s = 0; s < stages && s < DVIT_MAX_STAGES; s++) {
        char tag[24];
        snprintf(tag, sizeof tag, "keep/stage_%zu", s + 1);
        count = add_scalar(scalars, count, tag, json_array_get(keep, s));
    }
    return count;
}
