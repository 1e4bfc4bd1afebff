/* What timm's config.json beside the weights says of the model; its preprocessing is in
 * hf_config.h. */
#ifndef DVIT_WEIGHTS_TIMM_CONFIG_H
#define DVIT_WEIGHTS_TIMM_CONFIG_H

#include "base/error.h"
#include "weights/label_table.h"

/* What it leaves out is 0, −1 in the flags, empty in the texts. */
struct dvit_timm_config {
    bool found;
    char pool[16]; /* global_pool: "token" or "avg" */
    int heads, dim, depth, patch, classes;
    int image_width, image_height;      /* img_size */
    int qkv_bias, layer_scale, fc_norm; /* stated: 0 or 1 */
    double mlp_ratio;
    float norm_eps;
    struct dvit_label_table labels;
};

/* NOT_FOUND: the object is something else. UNSUPPORTED: it names a field that changes the answer in
 * a way that dvit does not compute. FORMAT: no JSON, a field of another type or out of range. Freed
 * with dvit_timm_config_free; on failure empty, but `found` tells whether it is timm's. */
enum dvit_status dvit_timm_config_parse(struct dvit_timm_config *out, const void *text,
                                        size_t size_bytes, struct dvit_error *error);
void dvit_timm_config_free(struct dvit_timm_config *config);

/* MISMATCH where it states something else than `config`, which the tensors gave; UNSUPPORTED where
 * both together are nothing that dvit computes. has_head: the file has a head. */
enum dvit_status dvit_timm_config_compare(const struct dvit_timm_config *stated,
                                          const struct dvit_config *config, bool has_head,
                                          struct dvit_error *error);

#endif
