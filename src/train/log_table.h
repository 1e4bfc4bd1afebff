/* Records of log.jsonl as rows of a table, and as scalars of an event file. */
#ifndef DVIT_TRAIN_LOG_TABLE_H
#define DVIT_TRAIN_LOG_TABLE_H

#include <jansson.h>
#include <stdio.h>

#include "dvit/config.h"
#include "train/event_file.h"

enum { DVIT_LOG_MAX_SCALARS = 16 + DVIT_MAX_STAGES };

/* Whether the record is one of those that have a row: steps and evaluations. */
bool dvit_log_has_row(const json_t *record);
/* Names of the columns, the kept shares of `stages` stages last; with its line end. */
void dvit_log_write_header(FILE *stream, int stages);
/* The record's values, nothing where it has none, in the order of the header. */
void dvit_log_write_row(FILE *stream, const json_t *record, int stages);
/* The record's numbers that charts are drawn of; their count. */
size_t dvit_log_scalars(struct dvit_event_scalar scalars[DVIT_LOG_MAX_SCALARS],
                        const json_t *record);

#endif
