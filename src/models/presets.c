/* Shapes of the published models (DynamicViT, DeiT, ViT, LV-ViT). */
#include "models/presets.h"

#include <string.h>

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

/* Other libraries' names, with '_' for '-'. Shapes only: their weights are in files. */
static const char *const aliases[][2] = {
    {"vit_tiny_patch16_224", "deit-t"},
    {"deit_tiny_patch16_224", "deit-t"},
    {"vit_small_patch16_224", "deit-s"},
    {"deit_small_patch16_224", "deit-s"},
    {"vit_small_patch16_384", "deit-s-384"},
    {"vit_base_patch16_224", "deit-b"},
    {"deit_base_patch16_224", "deit-b"},
    {"vit_base_patch16_384", "deit-b-384"},
    {"deit_base_patch16_384", "deit-b-384"},
    {"vit_base_patch32_224", "vit-b32"},
    {"vit_base_patch32_384", "vit:dim=768,depth=12,heads=12,patch=32,image=384,classes=1000"},
    {"vit_base_patch8_224", "vit:dim=768,depth=12,heads=12,patch=8,image=224,classes=1000"},
    {"vit_large_patch16_224", "vit-l"},
    {"vit_large_patch14_224", "vit-l14"},
    {"vit_huge_patch14_224", "vit:dim=1280,depth=32,heads=16,patch=14,image=224,classes=1000"},
    {"deit_tiny_distilled_patch16_224", "deit-t-distilled"},
    {"deit_small_distilled_patch16_224", "deit-s-distilled"},
    {"deit_base_distilled_patch16_224", "deit-b-distilled"},
    {"deit_base_distilled_patch16_384", "deit-b-distilled-384"},
    {"deit3_small_patch16_224",
     "vit:dim=384,depth=12,heads=6,patch=16,image=224,classes=1000,layer_scale=1"},
    {"deit3_medium_patch16_224",
     "vit:dim=512,depth=12,heads=8,patch=16,image=224,classes=1000,layer_scale=1"},
    {"deit3_base_patch16_224",
     "vit:dim=768,depth=12,heads=12,patch=16,image=224,classes=1000,layer_scale=1"},
    {"deit3_large_patch16_224",
     "vit:dim=1024,depth=24,heads=16,patch=16,image=224,classes=1000,layer_scale=1"},
    {"vit_tiny", "deit-t"},
    {"vit_small", "deit-s"},
    {"vit_base", "deit-b"},
    {"vit_large", "vit-l"},
    {"vit_t", "deit-t"},
    {"vit_s", "deit-s"},
    {"vit_b", "deit-b"},
    {"deit_tiny", "deit-t"},
    {"deit_small", "deit-s"},
    {"deit_base", "deit-b"},
    {"vit_b_16", "deit-b"},
    {"vit_b_32", "vit-b32"},
    {"vit_l_16", "vit-l"},
    {"lvvit_t", "lvvit-t"},
    {"lvvit_s", "lvvit-s"},
    {"lvvit_m", "lvvit-m"},
    {"lvvit_l", "lvvit-l"},
};

const char *dvit_preset_alias(const char *name)
{
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    size_t length = strcspn(base, ".");
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++) {
        const char *alias = aliases[i][0];
        size_t at = 0;
        while (at < length && alias[at] && (base[at] == '-' ? '_' : base[at]) == alias[at])
            at++;
        if (at == length && !alias[at])
            return aliases[i][1];
    }
    return NULL;
}
