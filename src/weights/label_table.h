/* Names of classes as foreign JSON files state them. */
#ifndef DVIT_WEIGHTS_LABEL_TABLE_H
#define DVIT_WEIGHTS_LABEL_TABLE_H

#include <jansson.h>

#include "dvit/model.h"
#include "models/notes.h"

struct dvit_label_table {
    bool stated;  /* there is such a field, whatever it holds */
    char **items; /* [count]; NULL where a class has no name */
    int count;    /* one more than the largest class named */
    int named;
};

/* Adds the names of an object {"0": "cat", …}, of an array of names, or of nothing (NULL): texts
 * and numbers are names, everything else is none. Names are never a reason to fail but for memory.
 */
enum dvit_status dvit_label_table_read(struct dvit_label_table *table, const json_t *value,
                                       struct dvit_error *error);
void dvit_label_table_free(struct dvit_label_table *table);

/* The names become the model's, the classes without one keep their number. Where there are others
 * than the model's classes, all keep their numbers; a note says either. */
enum dvit_status dvit_label_table_apply(const struct dvit_label_table *table,
                                        struct dvit_model *model, struct dvit_notes *notes,
                                        struct dvit_error *error);

#endif
