/* A model: a configuration, its parameters, how its images are prepared, and its class labels.
 *
 * A model is immutable while sessions or trainers use it, except through the trainer that owns the
 * training. Sessions may share one model. */
#ifndef DVIT_MODEL_H
#define DVIT_MODEL_H

#include <stdint.h>

#include "dvit/config.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dvit_model;

/* A new model with random parameters: linear and embedding weights truncated normal (std .02),
 * biases 0, layer norms 1/0. Its preprocessing is the preset "dynamicvit" for its image size, its
 * labels are "0" … "K−1". The same config and seed give the same bits. Caller frees. */
DVIT_API enum dvit_status dvit_model_create(struct dvit_model **out,
                                            const struct dvit_config *config, uint64_t seed,
                                            struct dvit_error *error);

/* What to make of a file where it leaves a choice. Zero-initialise for the defaults. */
struct dvit_load_options {
    int heads;              /* attention heads; 0: as recorded, else of a preset of this shape, else
                               C/64 */
    int image_width;        /* pixels; 0: the file's. Position embeddings are interpolated */
    int image_height;       /* pixels; 0: the file's, or image_width where that is given */
    int classes;            /* 0: the file's. Another number starts new heads from `seed` */
    double keep;            /* base keep ratio; 0: as recorded, else 0.7 */
    bool average;           /* take the averaged weights ("model_ema", "state_dict_ema", …) */
    const char *preprocess; /* as dvit_preprocess_change reads it; NULL: the file's own */
    uint64_t seed;          /* of new heads */
    /* Called for each tensor that is missing, unexpected or of another shape; may be NULL. */
    void (*problem)(void *context, const char *sentence);
    void *context;
};

/* Reads a model from a file of any format dvit knows (see dvit/weights.h), by content: its own
 * files, and the published checkpoints of DynamicViT, DeiT, timm, Hugging Face (config.json and
 * preprocessor_config.json are looked for beside the file, and timm's config.json; its folder may
 * be named instead of the file, a run folder for its best.safetensors) and LV-ViT. The state dict
 * may lie under any key and behind any prefix; of several the trained one is taken before averaged
 * ones (key or prefix with "ema"), else the error (MISMATCH) names them all: see
 * dvit_model_load_key. The shape is read from the tensors. Every tensor of the shape must be there,
 * and every tensor that is there must belong to it; otherwise the error (MISMATCH) says how many
 * are missing, unexpected or of another shape, and names them as far as its message holds;
 * options->problem hears of every one. A kind of model that is known and not supported is named
 * instead (UNSUPPORTED), and so is a file without a classifier (MISMATCH). Tensors that a published
 * naming carries and dvit does not need become notes, and so does everything that was chosen
 * because no file says it: see dvit_model_note. Without labels of its own a file of 1000 classes
 * gets ImageNet-1k's. `options` may be NULL. Caller frees. */
DVIT_API enum dvit_status dvit_model_load(struct dvit_model **out, const char *path,
                                          const struct dvit_load_options *options,
                                          struct dvit_error *error);

/* As dvit_model_load, of a file that holds several models: `key` is how the place of the wanted one
 * begins, keys and prefix, as the error that refuses to choose names them ("teacher" for
 * teacher/backbone.). NULL: the only one. NOT_FOUND where there is none. */
DVIT_API enum dvit_status dvit_model_load_key(struct dvit_model **out, const char *path,
                                              const char *key,
                                              const struct dvit_load_options *options,
                                              struct dvit_error *error);

/* A file if `text` names one (read with `options`, may be NULL), else a preset or "vit:…" text with
 * random weights from `seed` (*is_random is then true; may be NULL). A text that is neither says so
 * for both. */
DVIT_API enum dvit_status dvit_model_open(struct dvit_model **out, const char *text,
                                          const struct dvit_load_options *options, uint64_t seed,
                                          bool *is_random, struct dvit_error *error);

/* What was decided or left out when the model was loaded, one sentence each ("keep ratio 0.7: the
 * file records none"), for showing to the user; NULL past the last. Borrowed. */
DVIT_API const char *dvit_model_note(const struct dvit_model *model, size_t index);

/* Whether all weights are finite. NUMERIC: the message names the first tensor with a value that is
 * not, and how many more there are. A file with such weights can be loaded, looked at and saved; a
 * note says so. Running a session of it, calibrating it and training from it are errors: softmax
 * and rounding can hide such a value, so that a finite answer proves nothing. Reads all weights. */
DVIT_API enum dvit_status dvit_model_check_finite(const struct dvit_model *model,
                                                  struct dvit_error *error);

enum dvit_file_format {
    DVIT_FILE_BY_NAME,     /* PyTorch where the name ends in .pth, .pt, .bin or .pth.tar */
    DVIT_FILE_SAFETENSORS, /* one file that is the complete model */
    DVIT_FILE_TORCH,       /* the same as a zip that torch.load(weights_only=True) opens */
};
struct dvit_save_options {
    enum dvit_file_format format;
    const char *dtype; /* "f32" (also NULL), "f16" or "bf16": of every tensor; "int8": of the
                          weights of calibrated layers (dvit/quantize.h), all else f32 */
};

/* Writes the model atomically: `path` has either its former content or all of the new. `options`
 * may be NULL. A weight that does not fit f16's range is an error that names its tensor; so
 * is, for int8, one that is not finite, and a model without calibration is MISMATCH. Only int8
 * files carry the calibration.
 *
 * An int8 file has, for a layer whose weight [outputs][inputs] is bytes, −127 … 127 (I8), beside it
 * <layer>.weight_scale (F32 [outputs]), <layer>.input_scale (F32 [1]) and <layer>.input_zero_point
 * (U8 [1]): weight = weight_scale · byte; input = input_scale · (byte − input_zero_point). These
 * are tensors, not metadata: they stay with their layer under its name, to the last bit, and any
 * reader of the format sees them. */
DVIT_API enum dvit_status dvit_model_save(const struct dvit_model *model, const char *path,
                                          const struct dvit_save_options *options,
                                          struct dvit_error *error);

/* Chooses how a dense model would be pruned: before dvit_model_sparsify. A model that has stages
 * already keeps its own way, another one is an error. */
DVIT_API enum dvit_status dvit_model_set_pruning(struct dvit_model *model,
                                                 enum dvit_pruning pruning,
                                                 struct dvit_error *error);

/* A dynamic model with the backbone of `dense` (copied) and new predictors from `seed`, if its
 * configuration's `pruning` has any. Without `stage_block` (NULL) the standard blocks are used. A
 * model that has stages already is copied, and must have `stages` of them. Caller frees. */
DVIT_API enum dvit_status dvit_model_sparsify(struct dvit_model **out,
                                              const struct dvit_model *dense, int stages,
                                              const int *stage_block, double keep, uint64_t seed,
                                              struct dvit_error *error);

DVIT_API void dvit_model_free(struct dvit_model *model); /* NULL is legal */

/* Borrowed, valid as long as the model. */
DVIT_API const struct dvit_config *dvit_model_config(const struct dvit_model *model);
DVIT_API const struct dvit_preprocess *dvit_model_preprocess(const struct dvit_model *model);
DVIT_API const char *dvit_model_label(const struct dvit_model *model, int class_index);

/* Whether the model chooses among an image's patches: it is dynamic and does not pool. What it
 * keeps can be shown then. */
DVIT_API bool dvit_model_chooses(const struct dvit_model *model);

/* The crop must be the model's image size. */
DVIT_API enum dvit_status dvit_model_set_preprocess(struct dvit_model *model,
                                                    const struct dvit_preprocess *preprocess,
                                                    struct dvit_error *error);
/* Copies `count` labels; count must be the model's class count. */
DVIT_API enum dvit_status dvit_model_set_labels(struct dvit_model *model, const char *const *labels,
                                                int count, struct dvit_error *error);

/* Linear layers that are calibrated for int8 (dvit/quantize.h); 0: the model is not. */
DVIT_API size_t dvit_model_quantised_layers(const struct dvit_model *model);
/* Images that the ranges of those layers were measured on; 0: not calibrated, or by a file that
 * does not tell. */
DVIT_API size_t dvit_model_calibration_images(const struct dvit_model *model);

/* Number of scalar parameters. */
DVIT_API size_t dvit_model_parameters(const struct dvit_model *model);

struct dvit_tensor_info {
    const char *name; /* as in published checkpoints, e.g. "blocks.0.attn.qkv.weight" */
    int rank;
    size_t shape[4];
    const float *data; /* row-major */
};
DVIT_API size_t dvit_model_tensor_count(const struct dvit_model *model);
DVIT_API struct dvit_tensor_info dvit_model_tensor(const struct dvit_model *model, size_t index);

/* Cost of one image, in multiply–accumulates. `keep` = 1 is the dense path of the same weights. */
struct dvit_cost {
    double macs;           /* everything that is computed; of the last block what the head reads */
    double macs_published; /* the literature's count: all rows of the last block, and without the
                              predictors' C×C product */
};
DVIT_API enum dvit_status dvit_model_cost(const struct dvit_config *config, double keep,
                                          struct dvit_cost *out, struct dvit_error *error);

/* One operator of the inference graph, for tables of layers. */
struct dvit_layer_info {
    const char *kind;  /* "linear", "attention", "select", … */
    const char *name;  /* "blocks.0.attn.qkv"; valid as long as the listing */
    size_t tokens;     /* rows per image that it works on */
    size_t width;      /* columns of its output */
    size_t parameters; /* scalars it owns */
    double macs;
};
struct dvit_layers;
DVIT_API enum dvit_status dvit_layers_create(struct dvit_layers **out,
                                             const struct dvit_config *config, double keep,
                                             struct dvit_error *error);
DVIT_API size_t dvit_layers_count(const struct dvit_layers *layers);
DVIT_API struct dvit_layer_info dvit_layers_get(const struct dvit_layers *layers, size_t index);
DVIT_API void dvit_layers_free(struct dvit_layers *layers);

#ifdef __cplusplus
}
#endif
#endif
