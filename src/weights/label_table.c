/* Names of classes from foreign JSON: whatever they look like, the model loads. */
#define _GNU_SOURCE
#include "weights/label_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "base/error.h"

/* A name's text in `room`, or the value's own; NULL: none. */
static const char *text_of(const json_t *value, char room[40])
{
    if (json_is_integer(value))
        snprintf(room, 40, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        dvit_decimal_format(room, 40, "%g", json_real_value(value));
    else
        return json_string_value(value);
    return room;
}

/* A class from a key of decimal digits; −1: none. */
static int class_of(const char *key)
{
    size_t length = strlen(key);
    if (length < 1 || length > 7 || strspn(key, "0123456789") != length)
        return -1;
    int index = (int)strtol(key, NULL, 10);
    return index < DVIT_MAX_CLASSES ? index : -1;
}

static enum dvit_status put(struct dvit_label_table *table, int index, const json_t *value,
                            struct dvit_error *error)
{
    char room[40];
    const char *text = text_of(value, room);
    if (!text || index < 0 || index >= table->count || table->items[index])
        return DVIT_OK;
    table->items[index] = strdup(text);
    table->named++;
    return table->items[index] ? DVIT_OK
                               : dvit_error_set(error, DVIT_ERROR_MEMORY, "labels: out of memory");
}

enum dvit_status dvit_label_table_read(struct dvit_label_table *table, const json_t *value,
                                       struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    json_t *object = (json_t *)value; /* jansson's loops want it so */
    const char *key;
    json_t *item;
    size_t at;
    if (!value || json_is_null(value) || table->stated)
        return DVIT_OK;
    table->stated = true;
    json_object_foreach(object, key, item)
    {
        int index = class_of(key);
        table->count = index >= table->count ? index + 1 : table->count;
    }
    if (json_array_size(value) > 0 && json_array_size(value) <= DVIT_MAX_CLASSES)
        table->count = (int)json_array_size(value);
    table->items = calloc((size_t)table->count + 1, sizeof *table->items);
    if (!table->items)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "labels: out of memory");
    json_object_foreach(object, key, item) DVIT_TRY(put(table, class_of(key), item, error));
    json_array_foreach(object, at, item)
        DVIT_TRY(put(table, at < DVIT_MAX_CLASSES ? (int)at : -1, item, error));
done:
    return status;
}

void dvit_label_table_free(struct dvit_label_table *table)
{
    for (int i = 0; table->items && i < table->count; i++)
        free(table->items[i]);
    free(table->items);
    *table = (struct dvit_label_table){0};
}

enum dvit_status dvit_label_table_apply(const struct dvit_label_table *table,
                                        struct dvit_model *model, struct dvit_notes *notes,
                                        struct dvit_error *error)
{
    int classes = dvit_model_config(model)->classes;
    if (table->count != classes)
        return dvit_notes_add(
            notes, error,
            "warning: config.json has names for classes 0 to %d, the model has %d "
            "classes: they are shown as numbers",
            table->count - 1, classes);
    const char **labels = calloc((size_t)classes, sizeof *labels);
    if (!labels)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "labels: out of memory");
    for (int i = 0; i < classes; i++)
        labels[i] = table->items[i] ? table->items[i] : dvit_model_label(model, i);
    enum dvit_status status = dvit_model_set_labels(model, labels, classes, error);
    free(labels);
    if (status == DVIT_OK && table->named < classes)
        status = dvit_notes_add(notes, error,
                                "warning: config.json names %d of %d classes: the others are shown "
                                "as numbers",
                                table->named, classes);
    return status;
}
