/* Pictures of what the model being trained does, a few over the whole run. */
#ifndef DVIT_TRAIN_RUN_PICTURES_H
#define DVIT_TRAIN_RUN_PICTURES_H

#include "train/run_log.h"

/* Whether there is to be a picture after this epoch (0-based): after the first, the last and about
 * ten between. */
bool dvit_run_picture_due(const struct dvit_train_options *options, int epoch);

/* Has `model` drawn if that is due, and puts the picture into the run folder and the event file. */
enum dvit_status dvit_run_picture_add(struct dvit_run_log *log,
                                      const struct dvit_train_options *options,
                                      const struct dvit_model *model, int epoch, long step,
                                      struct dvit_error *error);

#endif
