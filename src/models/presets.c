/* Shapes of the published models (DynamicViT, DeiT, ViT). */
#include "models/presets.h"

static const struct dvit_preset presets[] = {
    /* name        C    depth  H    M    image patch K */
    {"deit-t", 192, 12, 3, 768, 224, 16, 1000},
    {"deit-256", 256, 12, 4, 1024, 224, 16, 1000},
    {"deit-s", 384, 12, 6, 1536, 224, 16, 1000},
    {"deit-b", 768, 12, 12, 3072, 224, 16, 1000},
    {"deit-s-384", 384, 12, 6, 1536, 384, 16, 1000},
    {"deit-b-384", 768, 12, 12, 3072, 384, 16, 1000},
    {"vit-b32", 768, 12, 12, 3072, 224, 32, 1000},
    {"vit-l", 1024, 24, 16, 4096, 224, 16, 1000},
    {"vit-l14", 1024, 24, 16, 4096, 224, 14, 1000},
};

const struct dvit_preset *dvit_preset_get(size_t index)
{
    return index < sizeof presets / sizeof *presets ? &presets[index] : NULL;
}
