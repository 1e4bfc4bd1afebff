/* What makes a model's answers worthless although it has every tensor. */
#ifndef DVIT_MODELS_DEFECTS_H
#define DVIT_MODELS_DEFECTS_H

#include "models/model.h"

/* Looks at the weights of a model that was just read: sets model->nonfinite, and adds a warning to
 * the model's notes for the first tensor with values that are not finite, and for each head whose
 * rows are all equal, so that every class gets the same logit. */
enum dvit_status dvit_model_note_defects(struct dvit_model *model, struct dvit_error *error);

#endif
