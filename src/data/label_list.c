/* The labels of a flat folder of images, from a text file: one line per image, either a class alone
 * (the lines follow the images in byte order of their names) or a file name and a class.
 *
 * A class is an index from 0, or a name or id of the classes that the caller gave. Indices are
 * ranks of the sorted class names; the ILSVRC devkit numbers its classes 1 … 1000 in another order,
 * and nothing in such a list tells that it is one unless the number 1000 occurs. Each image gets
 * exactly one label, or the list is refused with file and line. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "data/class_lookup.h"

static const size_t max_list_bytes = (size_t)1 << 30;

struct list {
    struct dvit_dataset *dataset;
    const char *path;
    size_t root_length; /* of an item's name before the file's own */
    struct dvit_class_lookup lookup;
    int classes;     /* labels are below it */
    size_t line;     /* of the text in hand, from 1 */
    size_t *line_of; /* [size] the line that labelled an image; 0: none yet */
    char separator;  /* between name and class; 0: lines are classes alone */
    int highest;     /* label seen */
};

/* Foreign text for a message: short, and nothing in it that a terminal would obey. */
struct shown {
    char text[64];
};

static struct shown show(const char *text)
{
    struct shown out = {{0}};
    size_t i = 0;
    for (; text[i] && i + 1 < sizeof out.text; i++)
        out.text[i] = text[i] >= ' ' && text[i] < 127 ? text[i] : '?';
    return out;
}

static const char *file_name(const struct list *list, size_t item)
{
    return dvit_dataset_item_name(list->dataset, item) + list->root_length;
}

/* Cuts blanks (and the `also` character) off both ends. */
static char *trim(char *text, char also)
{
    char *end = text + strlen(text);
    while (*text == ' ' || *text == '\t')
        text++;
    while (end > text &&
           (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r' || (also && end[-1] == also)))
        end--;
    *end = 0;
    return text;
}

static enum dvit_status read_class(const struct list *list, const char *text, int *out,
                                   struct dvit_error *error)
{
    size_t digits = strspn(text, "0123456789");
    if (*text == 0)
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "\"%s\" line %zu: no class", list->path,
                              list->line);
    if (text[digits] == 0) {
        long value = digits > 9 ? 1000000000 : strtol(text, NULL, 10);
        if (value >= list->classes)
            return dvit_error_set(
                error, DVIT_ERROR_FORMAT, "\"%s\" line %zu: class %s, expected 0 to %d%s",
                list->path, list->line, show(text).text, list->classes - 1,
                list->classes == 1000 && value == 1000
                    ? " (ranks of the sorted class ids; the ILSVRC devkit's own numbers, 1 to "
                      "1000, are in another order)"
                    : "");
        *out = (int)value;
        return DVIT_OK;
    }
    *out = dvit_class_lookup_find(&list->lookup, text);
    if (*out >= 0)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_FORMAT,
                          "\"%s\" line %zu: class \"%s\" is %s, expected an index from 0 or one "
                          "class's name or id",
                          list->path, list->line, show(text).text,
                          *out == DVIT_CLASS_AMBIGUOUS ? "the name of several" : "unknown");
}

static enum dvit_status find_image(const struct list *list, const char *name, size_t *out,
                                   struct dvit_error *error)
{
    size_t low = 0, high = list->dataset->size;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(file_name(list, middle), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *out = low;
    if (low < list->dataset->size && strcmp(file_name(list, low), name) == 0)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                          "\"%s\" line %zu: there is no image \"%s\" in the folder", list->path,
                          list->line, show(name).text);
}

/* The first line decides the form of all: a tab, else a comma, else a blank parts name and class.
 */
static char find_separator(const char *line)
{
    static const char separators[] = "\t, ";
    for (size_t i = 0; separators[i]; i++)
        if (strchr(line, separators[i]))
            return separators[i];
    return 0;
}

static enum dvit_status take_line(struct list *list, char *line, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_dataset *dataset = list->dataset;
    size_t item = list->line - 1;
    char *class = line;
    if (*line == 0)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "\"%s\" line %zu: is empty", list->path, list->line);
    if (list->line == 1)
        list->separator = find_separator(line);
    if (list->separator) {
        char *cut = strrchr(line, list->separator);
        if (!cut)
            DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                      "\"%s\" line %zu: \"%s\", expected a file name and a class as in line 1",
                      list->path, list->line, show(line).text);
        *cut = 0;
        class = trim(cut + 1, 0);
        DVIT_TRY(find_image(list, trim(line, list->separator), &item, error));
        if (list->line_of[item])
            DVIT_FAIL(error, DVIT_ERROR_FORMAT, "\"%s\" line %zu: \"%s\" had a class in line %zu",
                      list->path, list->line, show(file_name(list, item)).text,
                      list->line_of[item]);
    } else if (item >= dataset->size) {
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH,
                  "\"%s\" line %zu: the list is longer than the folder, which has %zu images",
                  list->path, list->line, dataset->size);
    }
    DVIT_TRY(read_class(list, class, &dataset->items[item].label, error));
    list->line_of[item] = list->line;
    if (dataset->items[item].label > list->highest)
        list->highest = dataset->items[item].label;
done:
    return status;
}

/* Every image has a label; the labels become part of the fingerprint. */
static enum dvit_status finish(struct list *list, struct dvit_error *error)
{
    struct dvit_dataset *dataset = list->dataset;
    for (size_t i = 0; i < dataset->size; i++) {
        unsigned label = (unsigned)dataset->items[i].label;
        unsigned char bytes[4] = {(unsigned char)label, (unsigned char)(label >> 8),
                                  (unsigned char)(label >> 16), (unsigned char)(label >> 24)};
        if (!list->line_of[i])
            return dvit_error_set(
                error, DVIT_ERROR_MISMATCH, "\"%s\": has %zu lines for %zu images, none for \"%s\"",
                list->path, list->line, dataset->size, show(file_name(list, i)).text);
        dvit_dataset_hash(dataset, bytes, sizeof bytes);
    }
    return DVIT_OK;
}

static enum dvit_status take_lines(struct list *list, char *text, size_t size,
                                   struct dvit_error *error)
{
    char *end = text + size;
    if (size >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "\"%s\": is UTF-16 text, expected UTF-8",
                              list->path);
    if (memchr(text, 0, size))
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "\"%s\": is not a text file", list->path);
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3; /* a byte-order mark, as Windows programs write it */
    while (end > text && strchr(" \t\r\n", end[-1]))
        *--end = 0;
    for (char *line = text, *next; line < end; line = next) {
        char *newline = strchr(line, '\n');
        next = newline ? newline + 1 : end;
        if (newline)
            *newline = 0;
        list->line++;
        enum dvit_status status = take_line(list, trim(line, 0), error);
        if (status != DVIT_OK)
            return status;
    }
    return finish(list, error);
}

enum dvit_status dvit_dataset_read_labels(struct dvit_dataset *dataset, size_t root_length,
                                          struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_class_names *classes = dataset->options.classes;
    struct list list = {.dataset = dataset,
                        .path = dataset->options.labels_file,
                        .root_length = root_length,
                        .classes = classes ? classes->count : DVIT_MAX_CLASSES};
    unsigned char *text = NULL;
    size_t size = 0;
    DVIT_TRY(dvit_class_lookup_create(&list.lookup, classes, error));
    list.line_of = calloc(dataset->size, sizeof *list.line_of);
    if (!list.line_of)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory for %zu labels", list.path,
                  dataset->size);
    DVIT_TRY(dvit_file_read(list.path, max_list_bytes, &text, &size, error));
    DVIT_TRY(take_lines(&list, (char *)text, size, error));
    struct dvit_class_names numbered = {.count = list.highest + 1};
    DVIT_TRY(dvit_dataset_replace_classes(dataset, classes ? classes : &numbered, error));
done:
    free(text);
    free(list.line_of);
    dvit_class_lookup_free(&list.lookup);
    return status;
}
