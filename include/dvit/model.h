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

/* Reads a model file that dvit wrote (safetensors with configuration, preprocessing and labels in
 * its metadata). Every tensor must be there with its shape; unexpected ones are an error that names
 * them. Caller frees. */
DVIT_API enum dvit_status dvit_model_load(struct dvit_model **out, const char *path,
                                          struct dvit_error *error);

/* A file if `text` names one, else a preset or "vit:…" text with random weights from `seed`
 * (*is_random is then true; may be NULL). A text that is neither says so for both. */
DVIT_API enum dvit_status dvit_model_open(struct dvit_model **out, const char *text, uint64_t seed,
                                          bool *is_random, struct dvit_error *error);

/* Writes the model atomically: `path` has either its former content or all of the new. */
DVIT_API enum dvit_status dvit_model_save(const struct dvit_model *model, const char *path,
                                          struct dvit_error *error);

/* A dynamic model with the backbone of `dense` (copied) and new predictors from `seed`. Without
 * `stage_block` (NULL) the standard blocks are used. A model that has stages already is copied, and
 * must have `stages` of them. Caller frees. */
DVIT_API enum dvit_status dvit_model_sparsify(struct dvit_model **out,
                                              const struct dvit_model *dense, int stages,
                                              const int *stage_block, double keep, uint64_t seed,
                                              struct dvit_error *error);

DVIT_API void dvit_model_free(struct dvit_model *model); /* NULL is legal */

/* Borrowed, valid as long as the model. */
DVIT_API const struct dvit_config *dvit_model_config(const struct dvit_model *model);
DVIT_API const struct dvit_preprocess *dvit_model_preprocess(const struct dvit_model *model);
DVIT_API const char *dvit_model_label(const struct dvit_model *model, int class_index);

/* The crop must be the model's image size. */
DVIT_API enum dvit_status dvit_model_set_preprocess(struct dvit_model *model,
                                                    const struct dvit_preprocess *preprocess,
                                                    struct dvit_error *error);
/* Copies `count` labels; count must be the model's class count. */
DVIT_API enum dvit_status dvit_model_set_labels(struct dvit_model *model, const char *const *labels,
                                                int count, struct dvit_error *error);

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
    double macs;           /* everything that is computed */
    double macs_published; /* the literature's count: without the predictors' C×C product */
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
