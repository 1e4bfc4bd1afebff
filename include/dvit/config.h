/* What a model is and how its images are prepared, as plain data.
 *
 * Symbols as in the literature: N patches of an image, T tokens (class token first, then in
 * distilled models the distillation token, then the patches), C embedding width, H heads, M MLP
 * hidden width, K classes, S pruning stages, rho keep ratio. */
#ifndef DVIT_CONFIG_H
#define DVIT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "dvit/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bounds of every model; dvit_config_check names the one that is exceeded. */
enum {
    DVIT_MAX_DEPTH = 256,
    DVIT_MAX_STAGES = 16,
    DVIT_MAX_DIM = 16384,
    DVIT_MAX_CLASSES = 1000000,
    DVIT_MAX_IMAGE_SIDE = 8192, /* pixels */
    DVIT_MAX_PATCHES = 65536,
    DVIT_MAX_STEM_WIDTH = 1024,
};

/* By what a dynamic model's stages prune. All but the first are there to compare with. */
enum dvit_pruning {
    DVIT_PRUNING_LEARNED, /* a predictor per stage scores each image's patches (DynamicViT) */
    DVIT_PRUNING_STATIC,  /* a learned score per place: all images lose the same places */
    DVIT_PRUNING_RANDOM, /* numbers drawn by the image's content: the same image, the same answer */
    DVIT_PRUNING_ATTENTION, /* the class token's attention in the block before (EViT's ranking) */
    DVIT_PRUNING_POOL,      /* no scores: 2 × 2 patches become their mean at each stage */
};

/* "learned", "static", "random", "attention", "pool". */
DVIT_API const char *dvit_pruning_name(enum dvit_pruning pruning);
DVIT_API enum dvit_status dvit_pruning_parse(const char *name, enum dvit_pruning *out,
                                             struct dvit_error *error);

/* The keep ratio of a model that pools. */
#define DVIT_POOL_KEEP 0.25

/* A vision transformer, dense (stages = 0) or dynamic (stages ≥ 1). */
struct dvit_config {
    char name[64];    /* preset name, or "vit" or "lvvit" */
    int image_width;  /* pixels; a multiple of patch */
    int image_height; /* pixels; a multiple of patch */
    int patch;        /* pixels, side of a square patch */
    int dim;          /* C; divisible by heads, and by 4 where stages > 0 */
    int depth;        /* blocks */
    int heads;        /* H */
    int mlp;          /* M */
    int classes;      /* K */
    float norm_eps;   /* layer norm epsilon of the backbone (1e-6; LV-ViT 1e-5) */
    int stem_width;   /* channels of LV-ViT's convolutional stem; 0: none */
    float skip_lam;   /* both residual branches are divided by it (1; LV-ViT 2) */
    bool qkv_bias;    /* the qkv layers have a bias (LV-ViT: no) */
    bool distilled;   /* a second prefix token with a head of its own (DeiT) */
    bool layer_scale; /* each branch has a factor per channel (DeiT-III) */
    bool mean_pool;   /* the head reads the mean of the patches, normed after it */
    bool aux_head;    /* logits per patch join the class token's (LV-ViT) */
    bool one_head;    /* distilled, but only the class token has a head, which answers */
    int stages;       /* S; 0 for a dense model */
    int stage_block[DVIT_MAX_STAGES]; /* 0-based block before which stage s prunes, ascending */
    double keep; /* rho, in (0, 1]: base keep ratio; stage s keeps (int)(N·pow(rho, s+1)) patches.
                    Of a model that pools, DVIT_POOL_KEEP */
    enum dvit_pruning pruning; /* of a dense model: how it would be made dynamic */
};

/* Fills `config` with a preset ("deit-s", "lvvit-s", …) as a dense model of 1000 classes, or from
 * "vit:dim=192,depth=6,heads=3,patch=4,image=32,classes=10[,mlp=768][,distilled=1]
 * [,one_head=1][,layer_scale=1][,mean_pool=1][,pruning=learned|static|random|attention|pool]" or
 * "lvvit:…" with the same keys and stem_width. An unknown preset's error names the nearest one. */
DVIT_API enum dvit_status dvit_config_parse(const char *text, struct dvit_config *config,
                                            struct dvit_error *error);

/* Name of preset `index`, or NULL past the last. */
DVIT_API const char *dvit_config_preset_name(size_t index);

/* Adds `stages` pruning stages at the standard blocks floor(depth·s/(S+1)), s = 1 … S. */
DVIT_API void dvit_config_add_stages(struct dvit_config *config, int stages, double keep);

/* DVIT_OK, or which field is out of range, with the bound. */
DVIT_API enum dvit_status dvit_config_check(const struct dvit_config *config,
                                            struct dvit_error *error);

/* DVIT_OK if the model can run at this keep ratio: above 0 up to 1; one that pools, at
 * DVIT_POOL_KEEP or 1. */
DVIT_API enum dvit_status dvit_config_check_keep(const struct dvit_config *config, double keep,
                                                 struct dvit_error *error);

/* Tokens before the patches: 1, in distilled models 2. */
DVIT_API int dvit_config_prefix(const struct dvit_config *config);

/* Number of patches N = (image_width/patch)·(image_height/patch). */
DVIT_API int dvit_config_patches(const struct dvit_config *config);

/* Patches kept at stage s (0-based) at base ratio `keep`: max(1, (int)(N·pow(keep, s+1))), in C
 * double arithmetic, relative to the initial N. */
DVIT_API int dvit_config_kept(const struct dvit_config *config, double keep, int stage);

/* How an evaluation image becomes the network's input. */
enum dvit_fit {
    DVIT_FIT_CROP,   /* resize the short side to resize_side, centre crop */
    DVIT_FIT_SQUASH, /* resize both sides to resize_side, ignoring the aspect ratio, centre crop;
                        where resize_side is 0, resize to the crop's sides */
    DVIT_FIT_NONE,   /* the image must already have the crop's size */
};

struct dvit_preprocess {
    char name[32]; /* of the preset, or "custom" */
    enum dvit_fit fit;
    int resize_side; /* pixels; short side (squash: both) before the crop; 0 where unused */
    int crop_width;  /* pixels: the network's input */
    int crop_height;
    float mean[3]; /* of RGB in 0 … 1 */
    float std[3];
    bool bilinear; /* the filter of resizing is bilinear (Hugging Face's ViT), else bicubic */
    bool pillow13; /* resizing takes its two passes in the order of Pillow 13, else of Pillow 12 and
                      before, which the published accuracies were measured with. They differ on
                      images that lose more than twice as much height as width */
};

/* Preset preprocessing for a network input of width × height pixels, side being the longer of them:
 * "dynamicvit" (short side to (int)(side/0.875), bicubic, centre crop; squash at 384 and above; at
 * 32 and below short side to side, so that images of the network's size pass unchanged and any
 * photograph still fits), "timm" (crop_pct 0.9, at 384 and above 1.0), "augreg" (as timm, at 32 and
 * below short side to side; mean and standard deviation 0.5, as Google's ViTs and most of timm's
 * were trained), "native" (short side to side, centre crop, at any size), "none" (other sizes are
 * an error). Mean and standard deviation are ImageNet's in all but "augreg". */
DVIT_API enum dvit_status dvit_preprocess_preset(const char *name, int width, int height,
                                                 struct dvit_preprocess *out,
                                                 struct dvit_error *error);

/* Changes *preprocess as `text` says; its crop stays. "NAME" is a preset for that crop; "NAME:key=
 * value,…" a preset with other settings; ":key=value,…" only the settings: mean and std (a number
 * for all channels or three, "0.5" or "0.48/0.46/0.41", of RGB in 0 … 1), crop (timm's crop_pct,
 * the share of the resized side that the crop keeps: above 0.1 up to 1), interpolation (bilinear or
 * bicubic), resize (pillow12 or pillow13: the order of the passes). A preset with settings that
 * differ from it is called "custom". Errors: NOT_FOUND (no such preset), ARGUMENT; *preprocess is
 * then unchanged. */
DVIT_API enum dvit_status dvit_preprocess_change(struct dvit_preprocess *preprocess,
                                                 const char *text, struct dvit_error *error);

/* DVIT_OK, or ARGUMENT: what is out of range. Means are −10 … 10, standard deviations 0.001 … 10.
 */
DVIT_API enum dvit_status dvit_preprocess_check(const struct dvit_preprocess *preprocess,
                                                struct dvit_error *error);

#ifdef __cplusplus
}
#endif
#endif
