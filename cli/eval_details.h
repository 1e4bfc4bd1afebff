/* What `dvit eval` tells beyond one row: classes, confusions, images that could not be read. */
#ifndef DVIT_CLI_EVAL_DETAILS_H
#define DVIT_CLI_EVAL_DETAILS_H

#include "dvit/eval.h"
#include "json_lines.h"

/* Two tables on standard output: the accuracy of each class that has images, and the most frequent
 * confusions. */
int cli_print_details(const struct dvit_evaluation *evaluation);
/* The same as members "per_class" and "confusions" of an object. */
int cli_json_details(struct cli_json *json, const struct dvit_evaluation *evaluation);

/* Names the first images that could not be read, and why. */
void cli_note_unread(const struct dvit_evaluation *evaluation);

#endif
