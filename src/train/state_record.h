/* What a state file says besides its arrays: how far the run is, with which options, of what. */
#ifndef DVIT_TRAIN_STATE_RECORD_H
#define DVIT_TRAIN_STATE_RECORD_H

#include "train/checkpoint.h"

/* JSON; NULL without memory. The caller frees. */
char *dvit_state_record_text(const struct dvit_trainer *trainer,
                             const struct dvit_run_identity *identity);

/* Reads the record of a foreign state whose model is `saved`. An error where the run it is of is
 * not this one, or where a number cannot be. Options of the trainer that were left to fit become
 * those of the saved run. */
enum dvit_status dvit_state_record_read(struct dvit_progress *out, struct dvit_trainer *trainer,
                                        const struct dvit_run_identity *identity,
                                        const struct dvit_model *saved, const char *text,
                                        struct dvit_error *error);

#endif
