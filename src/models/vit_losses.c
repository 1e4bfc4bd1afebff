/* The terms of the training loss: cross-entropy, keep ratio, distillation of logits and of tokens,
 * and what LV-ViT and distilled models change about them. */
#include <math.h>
#include <stdio.h>

#include "models/vit_parts.h"

/* Appends a loss of value `x` against `target`, and the policy where patches count; returns the
 * operator's index, for reading its value. */
static int loss(struct dvit_vit *vit, const char *name, const struct dvit_op_class *class,
                double weight, const int inputs[3])
{
    struct dvit_op op = dvit_vit_op(class, inputs[0]);
    op.inputs[1] = inputs[1];
    op.inputs[2] = inputs[2];
    op.is.loss.weight = weight;
    dvit_build_op(&vit->builder, name, &op);
    return vit->builder.graph->op_count - 1;
}

static void ratio_losses(struct dvit_vit *vit)
{
    const struct dvit_vit_options *o = vit->options;
    struct dvit_vit_values *v = vit->values;
    for (int s = 0; s < vit->stages; s++) {
        char name[64];
        snprintf(name, sizeof name, "loss.ratio.%d", s);
        struct dvit_op op = dvit_vit_op(&dvit_op_loss_ratio, v->policy[s]);
        op.is.loss.weight = o->weight_ratio / vit->stages;
        op.is.loss.target = pow(o->keep, s + 1);
        op.is.loss.on_batch_mean = o->ratio_on_batch_mean;
        dvit_build_op(&vit->builder, name, &op);
        v->loss_ratio[s] = vit->builder.graph->op_count - 1;
    }
}

/* Against the labels: the class head; a distillation head shares the weight where no teacher speaks
 * to it; an auxiliary head learns the image's label on every patch where no teacher's patches do.
 */
static void label_losses(struct dvit_vit *vit)
{
    const struct dvit_vit_options *o = vit->options;
    struct dvit_vit_values *v = vit->values;
    const struct dvit_op_class *class = &dvit_op_loss_cross_entropy;
    bool two_heads = v->logits_distilled != DVIT_NONE && !o->distill;
    double weight = two_heads ? o->weight_cls / 2 : o->weight_cls;
    v->targets =
        dvit_build_input(&vit->builder, "targets", DVIT_ROWS_IMAGES, (size_t)vit->config->classes);
    v->loss_cls = loss(vit, "loss.cls", class, weight, (int[]){v->logits, v->targets, DVIT_NONE});
    if (two_heads)
        v->loss_cls_distilled = loss(vit, "loss.cls_distilled", class, weight,
                                     (int[]){v->logits_distilled, v->targets, DVIT_NONE});
    if (v->patch_logits != DVIT_NONE && !o->distill_tokens)
        v->loss_aux = loss(vit, "loss.aux", class, o->weight_aux,
                           (int[]){v->patch_logits, v->targets, DVIT_NONE});
}

static void distill_logits(struct dvit_vit *vit)
{
    struct dvit_vit_values *v = vit->values;
    int student = v->logits_distilled != DVIT_NONE ? v->logits_distilled : v->logits;
    v->teacher_logits = dvit_build_input(&vit->builder, "teacher_logits", DVIT_ROWS_IMAGES,
                                         (size_t)vit->config->classes);
    v->loss_kl = loss(vit, "loss.kl", &dvit_op_loss_distill, vit->options->weight_kl,
                      (int[]){student, v->teacher_logits, DVIT_NONE});
}

static void distill_tokens(struct dvit_vit *vit, int policy)
{
    const struct dvit_config *c = vit->config;
    struct dvit_vit_values *v = vit->values;
    bool patches = v->patch_logits != DVIT_NONE;
    v->teacher_tokens = dvit_build_input(&vit->builder, "teacher_tokens",
                                         patches ? DVIT_ROWS_PATCHES : DVIT_ROWS_TOKENS,
                                         (size_t)(patches ? c->classes : c->dim));
    v->loss_token = loss(vit, "loss.token", patches ? &dvit_op_loss_distill : &dvit_op_loss_token,
                         vit->options->weight_token,
                         (int[]){patches ? v->patch_logits : v->tokens, v->teacher_tokens,
                                 vit->read == DVIT_READ_KEPT ? DVIT_NONE : policy});
}

void dvit_vit_losses(struct dvit_vit *vit, int policy)
{
    label_losses(vit);
    ratio_losses(vit);
    if (vit->options->distill)
        distill_logits(vit);
    if (vit->options->distill_tokens)
        distill_tokens(vit, policy);
}
