/* --find-lr of `dvit train` and `dvit sparsify`. */
#ifndef DVIT_CLI_RATE_SEARCH_H
#define DVIT_CLI_RATE_SEARCH_H

#include "training_run.h"

/* Prints the loss against the learning rate and a suggestion, and writes find_lr.json and
 * find_lr.svg in the folder --out; what else is there stays as it is, and so does `model`. Reports
 * errors; returns an enum cli_exit. */
int cli_find_rate(const struct dvit_model *model, const struct dvit_model *teacher,
                  struct cli_training_data *data, const struct dvit_train_options *train,
                  const struct cli_options *options);

#endif
