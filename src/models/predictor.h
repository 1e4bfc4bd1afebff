/* The prediction module of one stage. */
#ifndef DVIT_MODELS_PREDICTOR_H
#define DVIT_MODELS_PREDICTOR_H

#include "graph/builder.h"
#include "models/parameters.h"

/* Scores [N][2] (keep, drop) of the patches of `tokens` [T][C], given the policy so far (or
 * DVIT_NONE). inputs: [parameters] of layers of 8 bits, or NULL, as in dvit_vit_options. */
int dvit_build_predictor(struct dvit_builder *builder, const struct dvit_parameters *parameters,
                         int stage, const struct dvit_quantised *inputs, int tokens, int policy);

#endif
