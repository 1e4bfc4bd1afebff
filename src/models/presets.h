/* The table of published model shapes: written once, read by everything. */
#ifndef DVIT_MODELS_PRESETS_H
#define DVIT_MODELS_PRESETS_H

#include <stdbool.h>
#include <stddef.h>

#include "dvit/config.h"

struct dvit_preset {
    const char *name;
    int dim, depth, heads, mlp, image, patch, classes;
    int stem_width; /* of LV-ViT's convolutional stem, whose other traits follow from it; or 0 */
    float skip_lam;
    bool distilled;
};

/* The shape, a preset or a "vit:…" text, that timm, Hugging Face or torchvision call `name`, also
 * with an owner before it or a tag behind it ("google/vit-base-patch16-224",
 * "vit_small_patch16_224.augreg_in1k"); NULL: none that is known. */
const char *dvit_preset_alias(const char *name);

/* Preset `index`, or NULL past the last. */
const struct dvit_preset *dvit_preset_get(size_t index);

/* Attention heads of the published models of this width, depth and hidden width (and stem); 0:
 * there is none. */
int dvit_known_heads(const struct dvit_config *config);
/* A guess from the width alone: as ViTs of this width have, else 64 channels a head; 0: none. */
int dvit_usual_heads(int dim);

#endif
