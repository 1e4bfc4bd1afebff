/* The classes that a data set's labels shall be indices of: a model's, when it is evaluated.
 *
 * A folder of class folders may hold some of them only, and in another order: then the names
 * decide. Where no name is known on either side the rank does, as everywhere in the field. What
 * lies between is an error, because a guess would give a wrong accuracy without a word. */
#define _GNU_SOURCE
#include "data/class_lookup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/class_numbers.h"
#include "data/name_compare.h"

struct dvit_class_entry {
    const char *name;
    int index;
};

static int by_name(const void *a, const void *b)
{
    const struct dvit_class_entry *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

enum dvit_status dvit_class_lookup_create(struct dvit_class_lookup *out,
                                          const struct dvit_class_names *classes,
                                          struct dvit_error *error)
{
    size_t count = classes ? (size_t)classes->count : 0;
    *out = (struct dvit_class_lookup){0};
    out->entries = calloc(2 * count + 1, sizeof *out->entries);
    if (!out->entries)
        return dvit_error_set(error, DVIT_ERROR_MEMORY,
                              "data set: out of memory for the names of %zu classes", count);
    for (int i = 0; i < (int)count; i++) {
        if (classes->names)
            out->entries[out->count++] = (struct dvit_class_entry){classes->names[i], i};
        if (classes->ids)
            out->entries[out->count++] = (struct dvit_class_entry){classes->ids[i], i};
    }
    qsort(out->entries, out->count, sizeof *out->entries, by_name);
    return DVIT_OK;
}

void dvit_class_lookup_free(struct dvit_class_lookup *lookup)
{
    free(lookup->entries);
    *lookup = (struct dvit_class_lookup){0};
}

int dvit_class_lookup_find(const struct dvit_class_lookup *lookup, const char *name)
{
    size_t low = 0, high = lookup->count;
    while (low < high) { /* the first entry that is not before `name` */
        size_t middle = low + (high - low) / 2;
        if (strcmp(lookup->entries[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == lookup->count || strcmp(lookup->entries[low].name, name) != 0)
        return DVIT_CLASS_UNKNOWN;
    int index = lookup->entries[low].index;
    for (size_t i = low + 1; i < lookup->count; i++) {
        if (strcmp(lookup->entries[i].name, name) != 0)
            break;
        if (lookup->entries[i].index != index)
            return DVIT_CLASS_AMBIGUOUS;
    }
    return index;
}

static void free_names(char **names, int count)
{
    for (int i = 0; names && i < count; i++)
        free(names[i]);
    free(names);
}

enum dvit_status dvit_dataset_replace_classes(struct dvit_dataset *dataset,
                                              const struct dvit_class_names *classes,
                                              struct dvit_error *error)
{
    const char *const *source = classes->names ? classes->names : classes->ids;
    char **names = calloc((size_t)classes->count, sizeof *names);
    bool fits = names != NULL;
    for (int i = 0; fits && i < classes->count; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        names[i] = strdup(source ? source[i] : number);
        fits = names[i] != NULL;
    }
    if (!fits) {
        free_names(names, classes->count);
        return dvit_error_set(error, DVIT_ERROR_MEMORY,
                              "data set: out of memory for the names of %d classes",
                              classes->count);
    }
    free_names(dataset->class_names, dataset->classes);
    dataset->class_names = names;
    dataset->classes = classes->count;
    return DVIT_OK;
}

/* What the names of a data set's classes say about given classes. */
struct matching {
    int *index; /* [classes of the data set] */
    int known;  /* of them, how many names are one of the given classes' */
    int first_unknown;
};

static void look_up(struct matching *matching, const struct dvit_dataset *dataset,
                    const struct dvit_class_lookup *lookup)
{
    matching->first_unknown = -1;
    for (int i = 0; i < dataset->classes; i++) {
        matching->index[i] = dvit_class_lookup_find(lookup, dataset->class_names[i]);
        if (matching->index[i] >= 0)
            matching->known++;
        else if (matching->first_unknown < 0)
            matching->first_unknown = i;
    }
}

static enum dvit_status take_names(struct dvit_dataset *dataset, const char *spec,
                                   const struct dvit_class_names *classes,
                                   const struct matching *matching, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    int own = dataset->classes;
    int *holder = calloc((size_t)classes->count, sizeof *holder); /* 1 + the class that came here */
    if (!holder)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "data set: out of memory for %d classes",
                  classes->count);
    for (int i = 0; i < own; i++) {
        int index = matching->index[i];
        if (holder[index])
            DVIT_FAIL(error, DVIT_ERROR_MISMATCH,
                      "\"%s\": the classes \"%s\" and \"%s\" are both class %d of the model", spec,
                      dataset->class_names[holder[index] - 1], dataset->class_names[i], index);
        holder[index] = i + 1;
    }
    for (size_t i = 0; i < dataset->size; i++)
        dataset->items[i].label = matching->index[dataset->items[i].label];
    DVIT_TRY(dvit_dataset_replace_classes(dataset, classes, error));
    if (own < classes->count)
        DVIT_TRY(dvit_dataset_warn(dataset, error,
                                   "\"%s\": holds %d of the model's %d classes, known by their "
                                   "names",
                                   spec, own, classes->count));
done:
    free(holder);
    return status;
}

static enum dvit_status refuse(const struct dvit_dataset *dataset, const char *spec,
                               const struct dvit_class_names *classes,
                               const struct matching *matching, struct dvit_error *error)
{
    const char *name = dataset->class_names[matching->first_unknown];
    size_t near = 0, count = (size_t)classes->count;
    const char *difference = dvit_name_find_near(name, classes->names, count, &near);
    if (difference)
        return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                              "\"%s\": class \"%s\" of the data set is none of the model's; it "
                              "differs from the model's \"%s\" %s",
                              spec, name, classes->names[near], difference);
    if (dataset->numbering == DVIT_CLASSES_INDEXED)
        return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                              "\"%s\": the data set has %d classes, numbered from 0; the model has "
                              "%d",
                              spec, dataset->classes, classes->count);
    bool ambiguous = matching->index[matching->first_unknown] == DVIT_CLASS_AMBIGUOUS;
    return dvit_error_set(
        error, DVIT_ERROR_MISMATCH,
        "\"%s\": the data set has %d classes, the model %d; class \"%s\" of the data set is %s",
        spec, dataset->classes, classes->count, name,
        ambiguous ? "the name of several of the model's" : "none of the model's");
}

/* Whether a class is meant to be one of the given ones, and spelled in another way. */
static bool is_misspelled(struct matching *matching, const struct dvit_dataset *dataset,
                          const struct dvit_class_names *classes)
{
    size_t near = 0;
    for (int i = 0; i < dataset->classes; i++)
        if (dvit_name_find_near(dataset->class_names[i], classes->names, (size_t)classes->count,
                                &near)) {
            matching->first_unknown = i;
            return true;
        }
    return false;
}

/* Where no name is known and there are as many classes. */
static enum dvit_status take_ranks(struct dvit_dataset *dataset, const char *spec,
                                   const struct dvit_class_names *classes,
                                   struct matching *matching, struct dvit_error *error)
{
    if (!classes->names)
        return DVIT_OK;
    if (dataset->numbering == DVIT_CLASSES_INDEXED)
        return dvit_dataset_warn(
            dataset, error,
            "\"%s\": its class folders are numbers, taken as the model's class "
            "indices: 0 is \"%s\"",
            spec, classes->names[0]);
    if (is_misspelled(matching, dataset, classes))
        return refuse(dataset, spec, classes, matching, error);
    return dvit_dataset_warn(dataset, error,
                             "\"%s\": no class bears the name of one of the model's; they are "
                             "matched by rank, class 0 is \"%s\"",
                             spec, dataset->class_names[0]);
}

enum dvit_status dvit_dataset_match_classes(struct dvit_dataset *dataset, const char *spec,
                                            const struct dvit_class_names *classes,
                                            struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_class_lookup lookup = {0};
    struct matching matching = {0};
    DVIT_TRY(dvit_class_lookup_create(&lookup, classes, error));
    matching.index = calloc((size_t)dataset->classes, sizeof *matching.index);
    if (!matching.index)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "data set: out of memory for %d classes",
                  dataset->classes);
    look_up(&matching, dataset, &lookup);
    if (matching.known == dataset->classes)
        DVIT_TRY(take_names(dataset, spec, classes, &matching, error));
    else if (dataset->numbering == DVIT_CLASSES_MISNUMBERED)
        DVIT_TRY(dvit_class_numbers_refuse(spec, (const char *const *)dataset->class_names,
                                           dataset->classes, error));
    else if (matching.known > 0 || dataset->classes != classes->count)
        DVIT_TRY(refuse(dataset, spec, classes, &matching, error));
    else
        DVIT_TRY(take_ranks(dataset, spec, classes, &matching, error));
done:
    dvit_class_lookup_free(&lookup);
    free(matching.index);
    return status;
}
