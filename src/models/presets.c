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

/* Heads of published models that have no preset. The same width and depth with another hidden width
 * is another model, except where that is 0: any. */
static const struct {
    int dim, depth, mlp, heads;
} known_heads[] = {
    {1280, 32, 0, 16},    /* ViT-H (MAE, DeiT-III): 80 wide */
    {1408, 40, 0, 16},    /* ViT-g: 88 wide */
    {1664, 48, 0, 16},    /* ViT-G: 104 wide */
    {1152, 27, 0, 16},    /* So400m: 72 wide */
    {768, 8, 2304, 8},    /* timm's first vit_small: 96 wide */
    {192, 9, 384, 12},    /* ViT for small data sets (Lee et al. 2021): 16 wide */
    {256, 10, 1024, 4},   /* timm: vit_xsmall */
    {256, 14, 1280, 4},   /* vit_wee */
    {320, 14, 1792, 5},   /* vit_little */
    {384, 36, 1536, 6},   /* vit_small_patch16_36x1 */
    {512, 12, 2048, 8},   /* DeiT-III medium, vit_medium */
    {512, 20, 2048, 8},   /* vit_mediumd */
    {640, 12, 2560, 10},  /* vit_betwixt */
    {832, 21, 2176, 13},  /* vit_so150m2 */
    {896, 12, 3584, 14},  /* vit_base_plus */
    {896, 18, 2304, 14},  /* vit_so150m */
    {1024, 23, 4096, 16}, /* vit_pe_lang_large */
    {1536, 50, 8960, 16}, /* vit_pe_core_gigantic: 96 wide */
};

int dvit_known_heads(const struct dvit_config *config)
{
    for (size_t i = 0; dvit_preset_get(i); i++) {
        const struct dvit_preset *preset = dvit_preset_get(i);
        if (preset->dim == config->dim && preset->depth == config->depth &&
            preset->mlp == config->mlp && preset->stem_width == config->stem_width)
            return preset->heads;
    }
    for (size_t i = 0; i < sizeof known_heads / sizeof *known_heads; i++)
        if (!config->stem_width && known_heads[i].dim == config->dim &&
            known_heads[i].depth == config->depth &&
            (known_heads[i].mlp == config->mlp || known_heads[i].mlp == 0))
            return known_heads[i].heads;
    return 0;
}

int dvit_usual_heads(int dim)
{
    enum { HEAD_WIDTH = 64 };
    for (size_t i = 0; i < sizeof known_heads / sizeof *known_heads; i++)
        if (known_heads[i].mlp == 0 && known_heads[i].dim == dim)
            return known_heads[i].heads;
    return dim >= HEAD_WIDTH && dim % HEAD_WIDTH == 0 ? dim / HEAD_WIDTH : 0;
}

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
