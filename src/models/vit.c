/* ViT/DeiT, dense or dynamic, as a list of operators. Read vit_blocks first. */
#include "models/vit.h"

#include <math.h>
#include <stdio.h>

#include "models/predictor.h"

/* What the building functions share. */
struct vit {
    struct dvit_builder builder;
    const struct dvit_config *config;
    const struct dvit_parameters *parameters;
    const struct dvit_vit_options *options;
    struct dvit_vit_values *values;
    int stages; /* of the path that is built */
};

static int parameter(const struct vit *vit, const char *layer, const char *name)
{
    char text[96];
    snprintf(text, sizeof text, "%s.%s", layer, name);
    return dvit_parameters_find(vit->parameters, text);
}

static int layer_norm(struct vit *vit, const char *name, int x)
{
    struct dvit_op op = {
        .class = &dvit_op_layer_norm,
        .inputs = {x, DVIT_NONE, DVIT_NONE, DVIT_NONE},
        .parameters = {parameter(vit, name, "weight"), parameter(vit, name, "bias")},
        .is.layer_norm = {.eps = vit->config->norm_eps},
    };
    return dvit_build_op(&vit->builder, name, &op);
}

struct branch {
    bool gelu;
    int residual, scale;
};
static const struct branch plain = {false, DVIT_NONE, DVIT_NONE};
static const struct branch with_gelu = {true, DVIT_NONE, DVIT_NONE};

static int linear(struct vit *vit, const char *name, int x, struct branch branch)
{
    int weight = parameter(vit, name, "weight");
    struct dvit_op op = {
        .class = &dvit_op_linear,
        .inputs = {x, branch.residual, branch.scale, DVIT_NONE},
        .parameters = {weight, parameter(vit, name, "bias")},
        .is.linear = {.outputs = vit->parameters->items[weight].shape[0], .gelu = branch.gelu},
    };
    return dvit_build_op(&vit->builder, name, &op);
}

static int attention(struct vit *vit, const char *name, int qkv, int policy)
{
    struct dvit_op op = {
        .class = &dvit_op_attention,
        .inputs = {qkv, policy, DVIT_NONE, DVIT_NONE},
        .parameters = {DVIT_NONE, DVIT_NONE},
        .is.attention = {.heads = vit->config->heads,
                         .masked = vit->options->training,
                         .lead_cap = (float)vit->options->lead_cap},
    };
    return dvit_build_op(&vit->builder, name, &op);
}

/* Pixels → tokens. */
static int embed(struct vit *vit)
{
    const struct dvit_config *c = vit->config;
    size_t area = (size_t)c->image_width * (size_t)c->image_height;
    vit->values->pixels = dvit_build_input(&vit->builder, "pixels", DVIT_ROWS_IMAGES, 3 * area);
    struct dvit_op patchify = {
        .class = &dvit_op_patchify,
        .inputs = {vit->values->pixels, DVIT_NONE, DVIT_NONE, DVIT_NONE},
        .parameters = {DVIT_NONE, DVIT_NONE},
        .is.patchify = {c->patch, c->image_width, c->image_height},
    };
    int x = dvit_build_op(&vit->builder, "patches", &patchify);
    x = linear(vit, "patch_embed.proj", x, plain);
    struct dvit_op op = {
        .class = &dvit_op_embed,
        .inputs = {x, DVIT_NONE, DVIT_NONE, DVIT_NONE},
        .parameters = {dvit_parameters_find(vit->parameters, "cls_token"),
                       dvit_parameters_find(vit->parameters, "pos_embed")},
    };
    return dvit_build_op(&vit->builder, "tokens", &op);
}

static int branch_scale(struct vit *vit, int index)
{
    if (!vit->options->training || !vit->options->drop_path)
        return DVIT_NONE;
    char name[64];
    snprintf(name, sizeof name, "branch_scale.%d", index);
    int value = dvit_build_input(&vit->builder, name, DVIT_ROWS_IMAGES, 1);
    vit->values->branch_scale[index] = value;
    return value;
}

/* x += proj(attention(LN1(x))), x += fc2(gelu(fc1(LN2(x)))). */
static int block(struct vit *vit, int index, int x, int policy)
{
    char name[6][64];
    static const char *const layers[6] = {"norm1", "attn.qkv", "attn.proj",
                                          "norm2", "mlp.fc1",  "mlp.fc2"};
    for (int i = 0; i < 6; i++)
        snprintf(name[i], sizeof name[i], "blocks.%d.%s", index, layers[i]);
    char heads[64];
    snprintf(heads, sizeof heads, "blocks.%d.attn", index);

    int y = layer_norm(vit, name[0], x);
    y = linear(vit, name[1], y, plain);
    y = attention(vit, heads, y, policy);
    x = linear(vit, name[2], y, (struct branch){false, x, branch_scale(vit, 2 * index)});
    y = layer_norm(vit, name[3], x);
    y = linear(vit, name[4], y, with_gelu);
    return linear(vit, name[5], y, (struct branch){false, x, branch_scale(vit, 2 * index + 1)});
}

/* One pruning stage: scores, then a policy (training) or fewer tokens (inference). */
static void prune(struct vit *vit, int stage, int *x, int *policy)
{
    char name[64];
    snprintf(name, sizeof name, "select.%d", stage);
    struct dvit_op op = {
        .class = &dvit_op_select,
        .inputs = {dvit_build_predictor(&vit->builder, vit->parameters, stage, *x, *policy),
                   DVIT_NONE, DVIT_NONE, DVIT_NONE},
        .parameters = {DVIT_NONE, DVIT_NONE},
    };
    if (!vit->options->training) {
        op.inputs[3] = *x;
        *x = dvit_build_op(&vit->builder, name, &op);
        return;
    }
    char noise[64];
    snprintf(noise, sizeof noise, "noise.%d", stage);
    op.inputs[1] = *policy;
    op.inputs[2] = vit->values->noise[stage] =
        dvit_build_input(&vit->builder, noise, DVIT_ROWS_PATCHES, 2);
    *policy = vit->values->policy[stage] = dvit_build_op(&vit->builder, name, &op);
}

static int blocks(struct vit *vit, int x, int *policy)
{
    for (int i = 0, stage = 0; i < vit->config->depth; i++) {
        if (stage < vit->stages && i == vit->config->stage_block[stage])
            prune(vit, stage++, &x, policy);
        x = block(vit, i, x, *policy);
    }
    return x;
}

static int class_token(struct vit *vit, int tokens)
{
    struct dvit_op op = {
        .class = &dvit_op_class_token,
        .inputs = {tokens, DVIT_NONE, DVIT_NONE, DVIT_NONE},
        .parameters = {DVIT_NONE, DVIT_NONE},
    };
    return dvit_build_op(&vit->builder, "class_token", &op);
}

/* Final norm and head. The norm works on each row alone, so where only the class token is read, it
 * is taken first. */
static void head(struct vit *vit, int x)
{
    struct dvit_vit_values *v = vit->values;
    if (vit->options->training || vit->options->want_tokens) {
        v->tokens = layer_norm(vit, "norm", x);
        x = class_token(vit, v->tokens);
    } else {
        x = layer_norm(vit, "norm", class_token(vit, x));
    }
    v->logits = linear(vit, "head", x, plain);
    dvit_build_keep(&vit->builder, v->logits);
    dvit_build_keep(&vit->builder, v->tokens);
}

/* Appends a loss operator; returns its index, for reading its value. */
static int loss(struct vit *vit, const char *name, const struct dvit_op *template)
{
    struct dvit_op op = *template;
    op.parameters[0] = op.parameters[1] = DVIT_NONE;
    dvit_build_op(&vit->builder, name, &op);
    return vit->builder.graph->op_count - 1;
}

static void losses(struct vit *vit, int policy)
{
    const struct dvit_vit_options *o = vit->options;
    struct dvit_vit_values *v = vit->values;
    struct dvit_builder *b = &vit->builder;
    size_t classes = (size_t)vit->config->classes;
    v->targets = dvit_build_input(b, "targets", DVIT_ROWS_IMAGES, classes);
    v->loss_cls = loss(vit, "loss.cls",
                       &(struct dvit_op){.class = &dvit_op_loss_cross_entropy,
                                         .inputs = {v->logits, v->targets, DVIT_NONE, DVIT_NONE},
                                         .is.loss = {.weight = o->weight_cls}});
    for (int s = 0; s < vit->stages; s++) {
        char name[64];
        snprintf(name, sizeof name, "loss.ratio.%d", s);
        struct dvit_op ratio = {
            .class = &dvit_op_loss_ratio,
            .inputs = {v->policy[s], DVIT_NONE, DVIT_NONE, DVIT_NONE},
            .is.loss = {.weight = o->weight_ratio / vit->stages,
                        .target = pow(o->keep, s + 1),
                        .on_batch_mean = o->ratio_on_batch_mean},
        };
        v->loss_ratio[s] = loss(vit, name, &ratio);
    }
    if (!o->distill)
        return;
    v->teacher_logits = dvit_build_input(b, "teacher_logits", DVIT_ROWS_IMAGES, classes);
    v->teacher_tokens =
        dvit_build_input(b, "teacher_tokens", DVIT_ROWS_TOKENS, (size_t)vit->config->dim);
    v->loss_kl =
        loss(vit, "loss.kl",
             &(struct dvit_op){.class = &dvit_op_loss_distill,
                               .inputs = {v->logits, v->teacher_logits, DVIT_NONE, DVIT_NONE},
                               .is.loss = {.weight = o->weight_kl}});
    v->loss_token =
        loss(vit, "loss.token",
             &(struct dvit_op){.class = &dvit_op_loss_token,
                               .inputs = {v->tokens, v->teacher_tokens, policy, DVIT_NONE},
                               .is.loss = {.weight = o->weight_token}});
}

static void no_values(struct dvit_vit_values *v)
{
    *v = (struct dvit_vit_values){DVIT_NONE,
                                  DVIT_NONE,
                                  DVIT_NONE,
                                  DVIT_NONE,
                                  DVIT_NONE,
                                  DVIT_NONE,
                                  .loss_cls = DVIT_NONE,
                                  .loss_kl = DVIT_NONE,
                                  .loss_token = DVIT_NONE};
    for (int s = 0; s < DVIT_MAX_STAGES; s++)
        v->noise[s] = v->policy[s] = v->loss_ratio[s] = DVIT_NONE;
    for (int i = 0; i < 2 * DVIT_MAX_DEPTH; i++)
        v->branch_scale[i] = DVIT_NONE;
}

enum dvit_status dvit_vit_build(struct dvit_graph **out, struct dvit_vit_values *values,
                                const struct dvit_config *config,
                                const struct dvit_parameters *parameters,
                                const struct dvit_vit_options *options, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    int kept[DVIT_MAX_STAGES] = {0};
    struct vit vit = {
        .config = config,
        .parameters = parameters,
        .options = options,
        .values = values,
        .stages = options->training || options->keep < 1.0 ? config->stages : 0,
    };
    *out = NULL;
    no_values(values);
    for (int s = 0; s < vit.stages; s++)
        kept[s] = dvit_config_kept(config, options->keep, s);
    struct dvit_graph_options graph_options = {
        .training = options->training,
        .patches = dvit_config_patches(config),
        .prefix = 1,
        .stages = options->training ? 0 : vit.stages,
        .kept = kept,
        .parameter_count = parameters->count,
        .trained = options->training ? options->trained : NULL,
    };
    DVIT_TRY(dvit_graph_create(out, &graph_options, error));
    vit.builder = (struct dvit_builder){.graph = *out, .error = error};

    int policy = DVIT_NONE;
    int x = embed(&vit);
    x = blocks(&vit, x, &policy);
    head(&vit, x);
    if (options->training)
        losses(&vit, policy);
    DVIT_TRY(vit.builder.status);
done:
    if (status != DVIT_OK) {
        dvit_graph_free(*out);
        *out = NULL;
    }
    return status;
}
