/* Names to class indices, and the labels of a data set turned into the indices of given classes. */
#ifndef DVIT_DATA_CLASS_LOOKUP_H
#define DVIT_DATA_CLASS_LOOKUP_H

#include "data/dataset.h"

struct dvit_class_entry;

/* All names and ids of some classes, sorted. */
struct dvit_class_lookup {
    struct dvit_class_entry *entries; /* [count], owned; the names are borrowed */
    size_t count;
};

enum { DVIT_CLASS_UNKNOWN = -1, DVIT_CLASS_AMBIGUOUS = -2 };

/* `classes` must outlive the lookup. Free with dvit_class_lookup_free, also after a failure. */
enum dvit_status dvit_class_lookup_create(struct dvit_class_lookup *out,
                                          const struct dvit_class_names *classes,
                                          struct dvit_error *error);
void dvit_class_lookup_free(struct dvit_class_lookup *lookup);

/* The class with this name or id, DVIT_CLASS_UNKNOWN, or DVIT_CLASS_AMBIGUOUS where several bear
 * it. */
int dvit_class_lookup_find(const struct dvit_class_lookup *lookup, const char *name);

/* Gives the data set `classes` (their names, else their ids, else their numbers) in the place of
 * its own, which are freed; labels are not touched. */
enum dvit_status dvit_dataset_replace_classes(struct dvit_dataset *dataset,
                                              const struct dvit_class_names *classes,
                                              struct dvit_error *error);

/* Turns labels into indices of `classes`: by name where every class of the data set is one of
 * them, by rank where none is and their number is the same. */
enum dvit_status dvit_dataset_match_classes(struct dvit_dataset *dataset, const char *spec,
                                            const struct dvit_class_names *classes,
                                            struct dvit_error *error);

#endif
