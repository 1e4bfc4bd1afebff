/* Shapes of the published models (DynamicViT, DeiT, ViT, LV-ViT). */
#include "models/presets.h"

static const struct dvit_preset presets[] = {
    /* name, C, depth, H, M, image, patch, K, stem_width, skip_lam, distilled */
    {"deit-t", 192, 12, 3, 768, 224, 16, 1000, 0, 1, false},
    {"deit-256", 256, 12, 4, 1024, 224, 16, 1000, 0, 1, false},
    {"deit-s", 384, 12, 6, 1536, 224, 16, 1000, 0, 1, false},
    {"deit-b", 768, 12, 12, 3072, 224, 16, 1000, 0, 1, false},
    {"deit-s-384", 384, 12, 6, 1536, 384, 16, 1000, 0, 1, false},
    {"deit-b-384", 768, 12, 12, 3072, 384, 16, 1000, 0, 1, false},
    {"vit-b32", 768, 12, 12, 3072, 224, 32, 1000, 0, 1, false},
    {"vit-l", 1024, 24, 16, 4096, 224, 16, 1000, 0, 1, false},
    {"vit-l14", 1024, 24, 16, 4096, 224, 14, 1000, 0, 1, false},
    {"deit-t-distilled", 192, 12, 3, 768, 224, 16, 1000, 0, 1, true},
    {"deit-s-distilled", 384, 12, 6, 1536, 224, 16, 1000, 0, 1, true},
    {"deit-b-distilled", 768, 12, 12, 3072, 224, 16, 1000, 0, 1, true},
    {"deit-b-distilled-384", 768, 12, 12, 3072, 384, 16, 1000, 0, 1, true},
    {"lvvit-t", 240, 12, 4, 720, 224, 16, 1000, 64, 1, false},
    {"lvvit-s", 384, 16, 6, 1152, 224, 16, 1000, 64, 2, false},
    {"lvvit-m", 512, 20, 8, 1536, 224, 16, 1000, 64, 2, false},
    {"lvvit-l", 768, 24, 12, 2304, 288, 16, 1000, 128, 3, false},
};

const struct dvit_preset *dvit_preset_get(size_t index)
{
    return index < sizeof presets / sizeof *presets ? &presets[index] : NULL;
}
