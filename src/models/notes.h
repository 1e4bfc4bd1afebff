/* Sentences that a model carries about how it was made, for showing to the user. */
#ifndef DVIT_MODELS_NOTES_H
#define DVIT_MODELS_NOTES_H

#include <stddef.h>

#include "base/error.h"

/* Zero-initialise. */
struct dvit_notes {
    char **items; /* [count], owned */
    size_t count;
};

enum dvit_status dvit_notes_add(struct dvit_notes *notes, struct dvit_error *error,
                                const char *format, ...) __attribute__((format(printf, 3, 4)));
void dvit_notes_free(struct dvit_notes *notes); /* leaves it empty */

#endif
