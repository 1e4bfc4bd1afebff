/* Tokens to logits: the class token's head, and what distilled, average-pool and LV-ViT models have
 * beside or instead of it. */
#include "models/vit_parts.h"

static int token(struct dvit_vit *vit, const char *name, int tokens, int index)
{
    struct dvit_op op = dvit_vit_op(&dvit_op_token, tokens);
    op.is.token.index = index;
    return dvit_build_op(&vit->builder, name, &op);
}

static int head(struct dvit_vit *vit, const char *name, int x)
{
    return dvit_vit_linear(vit, name, x, dvit_branch_plain);
}

static bool wants_tokens(const struct dvit_vit *vit)
{
    return vit->options->training || vit->options->want_tokens;
}

/* One prefix token after the final norm. The norm works on each row alone, so where only this token
 * is read, it is taken first. */
static int normed_token(struct dvit_vit *vit, const char *name, int x, int index)
{
    if (vit->values->tokens != DVIT_NONE)
        return token(vit, name, vit->values->tokens, index);
    return dvit_vit_norm(vit, "norm", token(vit, name, x, index));
}

/* Evaluation answers with the mean of both heads; training has a loss for each. */
static void distilled_head(struct dvit_vit *vit, int x)
{
    struct dvit_vit_values *v = vit->values;
    v->logits = head(vit, "head", normed_token(vit, "class_token", x, 0));
    int distilled = head(vit, "head_dist", normed_token(vit, "distillation_token", x, 1));
    if (vit->options->training) {
        v->logits_distilled = distilled;
        return;
    }
    struct dvit_op op = dvit_vit_op(&dvit_op_average, v->logits);
    op.inputs[1] = distilled;
    v->logits = dvit_build_op(&vit->builder, "average", &op);
}

/* The patches' own logits join the class token's where a model is evaluated; in training, and as a
 * teacher, it answers with both apart. */
static void auxiliary_head(struct dvit_vit *vit, int x)
{
    struct dvit_vit_values *v = vit->values;
    v->logits = head(vit, "head", normed_token(vit, "class_token", x, 0));
    struct dvit_op norm = dvit_vit_op(&dvit_op_patch_norm, x);
    norm.parameters[0] = dvit_vit_parameter(vit, "norm", "weight");
    norm.parameters[1] = dvit_vit_parameter(vit, "norm", "bias");
    norm.is.layer_norm.eps = vit->config->norm_eps;
    int patches = dvit_build_op(&vit->builder, "norm.patches", &norm);
    v->patch_logits = head(vit, "aux_head", patches);
    if (wants_tokens(vit))
        return;
    struct dvit_op op = dvit_vit_op(&dvit_op_aux_max, v->logits);
    op.inputs[1] = v->patch_logits;
    v->logits = dvit_build_op(&vit->builder, "aux_max", &op);
}

/* The head reads the mean of the patches that are left; the norm comes after it. */
static void mean_head(struct dvit_vit *vit, int x, int policy)
{
    struct dvit_op op = dvit_vit_op(&dvit_op_mean_pool, x);
    op.inputs[1] = policy;
    int mean = dvit_build_op(&vit->builder, "mean_pool", &op);
    vit->values->tokens = wants_tokens(vit) ? x : DVIT_NONE;
    vit->values->logits = head(vit, "head", dvit_vit_norm(vit, "fc_norm", mean));
}

void dvit_vit_head(struct dvit_vit *vit, int x, int policy)
{
    const struct dvit_config *c = vit->config;
    struct dvit_vit_values *v = vit->values;
    if (wants_tokens(vit) && !c->mean_pool && !c->aux_head && vit->read != DVIT_READ_PREFIX)
        v->tokens = dvit_vit_norm(vit, "norm", x);
    if (c->mean_pool)
        mean_head(vit, x, policy);
    else if (c->aux_head)
        auxiliary_head(vit, x);
    else if (c->distilled && !c->one_head)
        distilled_head(vit, x);
    else
        v->logits = head(vit, "head", normed_token(vit, "class_token", x, 0));
    dvit_build_keep(&vit->builder, v->logits);
    dvit_build_keep(&vit->builder, v->logits_distilled);
    dvit_build_keep(&vit->builder, v->tokens);
    dvit_build_keep(&vit->builder, v->patch_logits);
}
