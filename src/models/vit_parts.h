/* What the files that write down a vision transformer share: vit.c (blocks), vit_prune.c,
 * vit_embed.c (pixels to tokens), vit_head.c (tokens to logits), vit_losses.c. */
#ifndef DVIT_MODELS_VIT_PARTS_H
#define DVIT_MODELS_VIT_PARTS_H

#include "models/vit.h"

/* Which rows of the last block somebody looks at. */
enum dvit_vit_read {
    DVIT_READ_ALL,
    DVIT_READ_KEPT,   /* prefix tokens, and the patches that the last policy keeps */
    DVIT_READ_PREFIX, /* prefix tokens */
};

struct dvit_vit {
    struct dvit_builder builder;
    const struct dvit_config *config;
    const struct dvit_parameters *parameters;
    const struct dvit_vit_options *options;
    struct dvit_vit_values *values;
    int stages; /* of the path that is built */
    enum dvit_vit_read read;
    int qkv; /* of the block built last */
};

/* Index of parameter "<layer>.<name>", or DVIT_NONE. */
int dvit_vit_parameter(const struct dvit_vit *vit, const char *layer, const char *name);

/* An operator of this class and input, everything else NONE or 0. */
struct dvit_op dvit_vit_op(const struct dvit_op_class *class, int x);
/* How 8 bits stand for the input of the layer with weight `parameter`; scale 0: they do not. */
struct dvit_quantised dvit_vit_input(const struct dvit_vit *vit, int parameter);

int dvit_vit_norm(struct dvit_vit *vit, const char *name, int x);

struct dvit_branch {
    bool gelu;
    int residual, scale; /* values, or DVIT_NONE */
    float factor;        /* of the branch; 0 stands for 1 */
};
extern const struct dvit_branch dvit_branch_plain;
int dvit_vit_linear(struct dvit_vit *vit, const char *name, int x, struct dvit_branch branch);

/* Pixels → tokens [T][C]; sets values->pixels. */
int dvit_vit_embed(struct dvit_vit *vit);

/* One pruning stage: a policy (training) or fewer tokens (inference). */
void dvit_vit_prune(struct dvit_vit *vit, int stage, int *x, int *policy);

/* Tokens, as far as they are read (and the last policy, or NONE) → logits; sets values->logits,
 * logits_distilled, tokens and patch_logits. */
void dvit_vit_head(struct dvit_vit *vit, int tokens, int policy);

/* The terms of the loss, and the inputs they compare with. */
void dvit_vit_losses(struct dvit_vit *vit, int policy);

#endif
