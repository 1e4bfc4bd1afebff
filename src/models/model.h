/* The model as the rooms above see it: configuration, parameter table and weights in one array. */
#ifndef DVIT_MODELS_MODEL_H
#define DVIT_MODELS_MODEL_H

#include "base/arena.h"
#include "dvit/model.h"
#include "models/notes.h"
#include "ops/op.h"
#include "models/parameters.h"

struct dvit_model {
    struct dvit_config config;
    struct dvit_preprocess preprocess;
    struct dvit_parameters parameters;
    struct dvit_arena arena;
    float *weights; /* [parameters.floats], 64-byte aligned tensors */
    /* [parameters.count]: how 8 bits stand for the input of the linear layer whose weight the
     * parameter is; scale 0: not calibrated, or no such weight. */
    struct dvit_quantised *inputs;
    size_t calibration_images; /* that these were measured on; 0: not known */
    char **labels;             /* [classes] */
    struct dvit_notes notes;
    size_t nonfinite; /* tensors that had values that are not finite when the file was read */
};

/* A model of this shape with all weights 0, default preprocessing and numbered labels. */
enum dvit_status dvit_model_allocate(struct dvit_model **out, const struct dvit_config *config,
                                     struct dvit_error *error);

/* A copy: configuration, weights, preprocessing, labels. */
enum dvit_status dvit_model_copy(struct dvit_model **out, const struct dvit_model *model,
                                 struct dvit_error *error);

/* Starts parameters of `group`, or of all groups (−1), from `seed`. */
void dvit_model_initialise(struct dvit_model *model, int group, uint64_t seed);

/* The weights of parameter `index`. */
float *dvit_model_weights(const struct dvit_model *model, size_t index);

/* pointers[i] = weights of parameter i in an array laid out like the model's. */
void dvit_parameters_pointers(const struct dvit_parameters *parameters, float *weights,
                              float **pointers);

#endif
