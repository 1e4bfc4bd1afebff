/* The table of a model's parameters: names, shapes, how they start and how they are trained.
 *
 * Everything that walks over weights – files, optimiser, initialisation, listings – walks over this
 * table; nothing is decided from a tensor's name. */
#ifndef DVIT_MODELS_PARAMETERS_H
#define DVIT_MODELS_PARAMETERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "dvit/config.h"

enum dvit_initial {
    DVIT_INITIAL_ZERO,
    DVIT_INITIAL_ONE,
    DVIT_INITIAL_TRUNCATED_NORMAL, /* standard deviation .02 */
    DVIT_INITIAL_SMALL,            /* 1e-4: layer scale, so that branches begin almost closed */
};

enum dvit_parameter_group {
    DVIT_GROUP_BACKBONE,  /* everything but the next ones */
    DVIT_GROUP_HEAD,      /* trained at the backbone's rate; listed apart for reports */
    DVIT_GROUP_EMBEDDING, /* class and distillation token, position embedding */
    DVIT_GROUP_PREDICTOR,
    DVIT_GROUP_STATISTICS, /* of batch norms: never trained, not counted as parameters */
};

struct dvit_parameter {
    char name[64];
    int rank;
    size_t shape[4];
    size_t count;  /* scalars */
    size_t offset; /* floats from the start of the weights, 64-byte aligned */
    enum dvit_initial initial;
    enum dvit_parameter_group group;
    int layer;    /* 0: what makes tokens of pixels; 1 … depth: the blocks; depth + 1: the rest */
    bool on_grid; /* a row for each patch of the grid, after those of prefix tokens if any */
    bool decays;  /* weight decay applies: not for 1-D parameters, biases and embeddings */
};

struct dvit_parameters {
    struct dvit_parameter *items;
    size_t count;
    size_t total;  /* scalars, statistics not counted */
    size_t floats; /* of the padded array that holds them all */
};

enum dvit_status dvit_parameters_create(struct dvit_parameters *out,
                                        const struct dvit_config *config, struct dvit_error *error);
void dvit_parameters_free(struct dvit_parameters *parameters);
/* Whether it is the weight of a layer that may run in 8 bits: the blocks', those of the stem, and
 * the first, which is the widest, of each predictor. */
bool dvit_parameter_is_quantisable(const struct dvit_parameters *parameters, size_t index);
/* Index by name, or −1. */
int dvit_parameters_find(const struct dvit_parameters *parameters, const char *name);

#endif
