/* Builds the graphs of a vision transformer: what the model is, said once. */
#ifndef DVIT_MODELS_VIT_H
#define DVIT_MODELS_VIT_H

#include "dvit/config.h"
#include "graph/builder.h"
#include "models/parameters.h"

struct dvit_vit_options {
    bool training; /* masked forward with losses; else pruned (or dense) inference */
    double keep;   /* inference: 1 builds the dense path; training: the target ratio */
    bool bf16;     /* linear layers multiply in bfloat16 */
    const struct dvit_quantised *inputs; /* [parameters] inference: products of 8 bits where the
                                            scale is not 0, as in a model; NULL: none */
    bool want_tokens; /* inference: a teacher's output, what its student's is compared with */
    /* training */
    const bool *trained; /* [parameters]: which get a gradient */
    bool drop_path;      /* with branch-scale inputs */
    bool distill;        /* with a teacher's logits as input */
    bool distill_tokens; /* with its tokens */
    double weight_cls, weight_ratio, weight_kl, weight_token;
    double weight_aux; /* cross-entropy of the auxiliary head, where no teacher's patches do */
    bool ratio_on_batch_mean;
    bool ranked;     /* decisions by rank; the trainer sets how many stay and the ratio's target */
    double lead_cap; /* of the policy's gradient, see kernels.h */
};

/* Indices of the values that an executor binds or reads; DVIT_NONE where there is none. */
struct dvit_vit_values {
    int pixels;                  /* input [images][3·H·W] */
    int logits;                  /* [images][K]; in training of the class head alone */
    int logits_distilled;        /* [images][K] of the distillation head (training) */
    int tokens;                  /* [T][C] that a token loss compares, after the final norm; before
                                    it in mean-pool models (training, or want_tokens) */
    int patch_logits;            /* [N][K] of the auxiliary head, which takes the place of tokens */
    int targets;                 /* input [images][K] */
    int teacher_logits;          /* input [images][K] */
    int teacher_tokens;          /* input: the teacher's tokens, or its patch_logits */
    int noise[DVIT_MAX_STAGES];  /* inputs [N][2], where noise takes part */
    int policy[DVIT_MAX_STAGES]; /* [T][1] */
    int select[DVIT_MAX_STAGES]; /* operator indices, where something is selected */
    int branch_scale[2 * DVIT_MAX_DEPTH]; /* inputs [images][1]: attention and MLP of each block */
    /* operator indices */
    int loss_cls, loss_cls_distilled, loss_aux, loss_kl, loss_token;
    int loss_ratio[DVIT_MAX_STAGES];
};

enum dvit_status dvit_vit_build(struct dvit_graph **out, struct dvit_vit_values *values,
                                const struct dvit_config *config,
                                const struct dvit_parameters *parameters,
                                const struct dvit_vit_options *options, struct dvit_error *error);

#endif
