/* What a training run takes from its data, beside the loader of dvit/train.h. */
#ifndef DVIT_TRAIN_TRAIN_LOADER_H
#define DVIT_TRAIN_TRAIN_LOADER_H

#include "base/error.h"
#include "dvit/data.h"
#include "dvit/model.h"

/* The model's labels become the names of the data's classes, which are as many. */
enum dvit_status dvit_train_take_labels(struct dvit_model *model,
                                        const struct dvit_dataset *dataset,
                                        struct dvit_error *error);

#endif
