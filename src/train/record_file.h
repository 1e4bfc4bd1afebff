/* A file that only grows, by whole records: log.jsonl, log.csv, TensorBoard's event files. */
#ifndef DVIT_TRAIN_RECORD_FILE_H
#define DVIT_TRAIN_RECORD_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/file.h"

struct dvit_record_file {
    char *path;
    int descriptor; /* meaningful where path is not NULL */
};

/* how: APPEND, NEW or UNUSED, as base/file.h says. exists may be NULL. A failure leaves a struct
 * that may be closed. */
enum dvit_status dvit_record_file_open(struct dvit_record_file *file, const char *path,
                                       enum dvit_file_opening how, bool *exists,
                                       struct dvit_error *error);
/* Writes all of a record or, as on a full disk, none of it: the file stays readable, and a later
 * record may fit again. */
enum dvit_status dvit_record_file_add(struct dvit_record_file *file, const void *record,
                                      size_t size_bytes, struct dvit_error *error);
/* Legal on a zeroed struct and twice. */
void dvit_record_file_close(struct dvit_record_file *file);

#endif
