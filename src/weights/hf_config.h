/* What Hugging Face's files beside the weights say: config.json and preprocessor_config.json; and
 * timm's config.json. */
#ifndef DVIT_WEIGHTS_HF_CONFIG_H
#define DVIT_WEIGHTS_HF_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "dvit/config.h"
#include "weights/label_table.h"

enum { DVIT_HF_MAX_BYTES = 8 << 20 /* of either file; ImageNet-21k's labels take 2 MB */ };

/* config.json. A number that it does not state is 0. */
struct dvit_hf_config {
    bool deit;                     /* model_type is "deit", not "vit" */
    int heads;                     /* num_attention_heads */
    int image_width, image_height; /* pixels: image_size, a number or [height, width] */
    int dim, depth, mlp, patch; /* hidden_size, num_hidden_layers, intermediate_size, patch_size */
    float norm_eps;             /* layer_norm_eps; 1e-12 where it is silent */
    bool no_qkv_bias;           /* qkv_bias is false */
    struct dvit_label_table labels; /* id2label */
};

/* FORMAT: not JSON, a field of another type or out of range. UNSUPPORTED: another activation than
 * exact GELU, another model_type, not three channels; named. Freed with dvit_hf_config_free. */
enum dvit_status dvit_hf_config_parse(struct dvit_hf_config *out, const void *text,
                                      size_t size_bytes, struct dvit_error *error);
void dvit_hf_config_free(struct dvit_hf_config *config);
/* MISMATCH where it states another size than `config`, which the tensors gave. */
enum dvit_status dvit_hf_config_compare(const struct dvit_hf_config *stated,
                                        const struct dvit_config *config, struct dvit_error *error);

/* preprocessor_config.json as preprocessing called "huggingface". What it leaves out is as in
 * transformers' ViTImageProcessor or, where it says so or `deit`, DeiTImageProcessor. width and
 * height are the model's, for files that resize nothing. UNSUPPORTED: what struct dvit_preprocess
 * cannot express, named. */
enum dvit_status dvit_hf_preprocess_parse(struct dvit_preprocess *out, const void *text,
                                          size_t size_bytes, bool deit, int width, int height,
                                          struct dvit_error *error);

/* timm's config.json, which it puts beside its files: the preprocessing in "pretrained_cfg" (or at
 * the top level, with "architecture"), called "timm" where it is that preset, else "timm-config".
 * NOT_FOUND: the object is something else. UNSUPPORTED: what struct dvit_preprocess cannot express.
 */
enum dvit_status dvit_timm_preprocess_parse(struct dvit_preprocess *out, const void *text,
                                            size_t size_bytes, struct dvit_error *error);

/* Preprocessing without such a file: squashed to width × height, mean and std ½. */
struct dvit_preprocess dvit_hf_preprocess_default(int width, int height);

#endif
