/* Builds the graphs of a vision transformer: what the model is, said once. */
#ifndef DVIT_MODELS_VIT_H
#define DVIT_MODELS_VIT_H

#include "dvit/config.h"
#include "graph/builder.h"
#include "models/parameters.h"

struct dvit_vit_options {
    bool training;    /* masked forward with losses; else pruned (or dense) inference */
    double keep;      /* inference: 1 builds the dense path; training: the target ratio */
    bool want_tokens; /* inference: keep the normalised tokens (a teacher's output) */
    /* training */
    const bool *trained; /* [parameters]: which get a gradient */
    bool drop_path;      /* with branch-scale inputs */
    bool distill;        /* with the teacher's logits and tokens as inputs */
    double weight_cls, weight_ratio, weight_kl, weight_token;
    bool ratio_on_batch_mean;
    double lead_cap; /* of the policy's gradient, see kernels.h */
};

/* Indices of the values that an executor binds or reads; DVIT_NONE where there is none. */
struct dvit_vit_values {
    int pixels;                  /* input [images][3·H·W] */
    int logits;                  /* [images][K] */
    int tokens;                  /* [T][C] after the final norm (training, or want_tokens) */
    int targets;                 /* input [images][K] */
    int teacher_logits;          /* input [images][K] */
    int teacher_tokens;          /* input [T][C] */
    int noise[DVIT_MAX_STAGES];  /* inputs [N][2] */
    int policy[DVIT_MAX_STAGES]; /* [T][1] */
    int branch_scale[2 * DVIT_MAX_DEPTH]; /* inputs [images][1]: attention and MLP of each block */
    int loss_cls, loss_kl, loss_token;    /* operator indices */
    int loss_ratio[DVIT_MAX_STAGES];
};

enum dvit_status dvit_vit_build(struct dvit_graph **out, struct dvit_vit_values *values,
                                const struct dvit_config *config,
                                const struct dvit_parameters *parameters,
                                const struct dvit_vit_options *options, struct dvit_error *error);

#endif
