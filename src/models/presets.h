/* The table of published model shapes: written once, read by everything. */
#ifndef DVIT_MODELS_PRESETS_H
#define DVIT_MODELS_PRESETS_H

#include <stddef.h>

struct dvit_preset {
    const char *name;
    int dim, depth, heads, mlp, image, patch, classes;
};

/* Preset `index`, or NULL past the last. */
const struct dvit_preset *dvit_preset_get(size_t index);

#endif
