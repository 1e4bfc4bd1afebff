/* Rendered scenes: a cluttered, muted background with one vivid object of a known class.
 *
 * A scene is a pure function of (seed, split, index, classes); its geometry is in units of the
 * image side, so every resolution shows the same scene. */
#ifndef DVIT_DATA_SCENES_H
#define DVIT_DATA_SCENES_H

#include <stdint.h>

enum {
    DVIT_SCENE_MIN_SIDE = 16, /* pixels: below, shapes can no longer be told apart */
    DVIT_SCENE_MAX_SIDE = 1024,
    DVIT_SCENE_MIN_CLASSES = 2,
    DVIT_SCENE_MAX_CLASSES = 12,
};

struct dvit_scene_style {
    uint64_t seed;
    uint32_t split; /* 0 train, 1 val: two splits share no scene */
    int side;       /* pixels */
    int classes;
};

/* "disc", "square", …; `label` in 0 … DVIT_SCENE_MAX_CLASSES − 1. */
const char *dvit_scene_class_name(int label);
/* index mod classes: every class is equally frequent in any run of images. */
int dvit_scene_label(const struct dvit_scene_style *style, uint32_t index);
/* pixels [side][side][3] RGB, mask [side][side]: 1 where the object covers at least half a pixel.
 */
void dvit_scene_render(const struct dvit_scene_style *style, uint32_t index, uint8_t *pixels,
                       uint8_t *mask);

#endif
