/* What `dvit train` and `dvit sparsify` share: data, signals, progress, events, the last line. */
#ifndef DVIT_CLI_TRAINING_RUN_H
#define DVIT_CLI_TRAINING_RUN_H

#include "dvit/data.h"
#include "command_line.h"

struct cli_training_data {
    struct dvit_dataset *train, *validation;
    bool same_images; /* the two are the same */
};
/* `side`: pixels of rendered scenes. Reports errors; returns an enum cli_exit. */
int cli_training_open(struct cli_training_data *data, const struct cli_options *options, int side);
/* Opens the model of --model and the data for it. A class count that is not the data's is an
 * error unless --classes asks for a new head; *new_head says that one was made. */
int cli_training_start(struct dvit_model **model, bool *new_head, struct cli_training_data *data,
                       const struct cli_options *options);
/* Whether a dynamic student has the teacher that the losses ask for. */
int cli_training_check_teacher(const struct dvit_model *student, const struct cli_options *options);
/* Opens the model of --teacher for the student. Where it has other patches, the token term's weight
 * becomes 0, and the user is told. */
int cli_training_teacher(struct dvit_model **out, const struct dvit_model *student,
                         struct cli_options *options);
void cli_training_close(struct cli_training_data *data);

/* Trains `model` in the run folder and prints where the result is. teacher may be NULL. */
int cli_training_run(struct dvit_model *model, const struct dvit_model *teacher,
                     struct cli_training_data *data, const struct cli_options *options);

#endif
