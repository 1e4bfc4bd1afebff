/* What each precision costs, in one table: the answers of a model in f32 and in every other
 * precision that the machine and the model have, over the same images. */
#ifndef DVIT_CLI_PRECISION_TABLE_H
#define DVIT_CLI_PRECISION_TABLE_H

#include "dvit/data.h"
#include "dvit/model.h"
#include "command_line.h"

struct cli_precision_table {
    const char *name; /* of the model, as shown */
    const struct dvit_model *model;
    struct dvit_dataset *set;
    const char *which; /* of the images; NULL: nothing to say of them */
    bool labelled;     /* its labels are the model's classes */
    const double *keeps;
    int keep_count;
};

/* Prints the table, or with --json an object for each row: one per keep ratio and precision, f32
 * first. Of the options batch, threads, workers, limit, seed and strict count. A precision that is
 * not to be had is told on standard error and left out. Returns an enum cli_exit. */
int cli_precision_table_print(const struct cli_precision_table *table,
                              const struct cli_options *options);

#endif
