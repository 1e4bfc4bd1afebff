/* A vision transformer, dense or dynamic, as a list of operators: ViT, DeiT and LV-ViT differ in
 * their configuration's traits. Here are the blocks; read `block` first. What prunes between them
 * is in vit_prune.c, how it begins and ends in vit_embed.c and vit_head.c. */
#include "models/vit.h"

#include <stdio.h>

#include "models/vit_parts.h"

int dvit_vit_parameter(const struct dvit_vit *vit, const char *layer, const char *name)
{
    char text[96];
    snprintf(text, sizeof text, "%s.%s", layer, name);
    return dvit_parameters_find(vit->parameters, text);
}

struct dvit_op dvit_vit_op(const struct dvit_op_class *class, int x)
{
    return (struct dvit_op){.class = class,
                            .inputs = {x, DVIT_NONE, DVIT_NONE, DVIT_NONE},
                            .parameters = {DVIT_NONE, DVIT_NONE, DVIT_NONE}};
}

int dvit_vit_norm(struct dvit_vit *vit, const char *name, int x)
{
    struct dvit_op op = dvit_vit_op(&dvit_op_layer_norm, x);
    op.parameters[0] = dvit_vit_parameter(vit, name, "weight");
    op.parameters[1] = dvit_vit_parameter(vit, name, "bias");
    op.is.layer_norm.eps = vit->config->norm_eps;
    return dvit_build_op(&vit->builder, name, &op);
}

struct dvit_quantised dvit_vit_input(const struct dvit_vit *vit, int parameter)
{
    const struct dvit_quantised *inputs = vit->options->inputs;
    return inputs ? inputs[parameter] : (struct dvit_quantised){0};
}

const struct dvit_branch dvit_branch_plain = {false, DVIT_NONE, DVIT_NONE, 0};

int dvit_vit_linear(struct dvit_vit *vit, const char *name, int x, struct dvit_branch branch)
{
    struct dvit_op op = dvit_vit_op(&dvit_op_linear, x);
    op.inputs[1] = branch.residual;
    op.inputs[2] = branch.scale;
    op.parameters[0] = dvit_vit_parameter(vit, name, "weight");
    op.parameters[1] = dvit_vit_parameter(vit, name, "bias");
    op.is.linear.outputs = vit->parameters->items[op.parameters[0]].shape[0];
    op.is.linear.gelu = branch.gelu;
    op.is.linear.factor = branch.factor;
    op.is.linear.input = dvit_vit_input(vit, op.parameters[0]);
    return dvit_build_op(&vit->builder, name, &op);
}

/* Channels first … first + count − 1 of a linear layer, as an operator of its own name. */
static int linear_part(struct dvit_vit *vit, const char *name, const char *layer, int x,
                       size_t first, size_t count)
{
    struct dvit_op op = dvit_vit_op(&dvit_op_linear, x);
    op.parameters[0] = dvit_vit_parameter(vit, layer, "weight");
    op.parameters[1] = dvit_vit_parameter(vit, layer, "bias");
    op.is.linear.first = first;
    op.is.linear.outputs = count;
    op.is.linear.input = dvit_vit_input(vit, op.parameters[0]);
    return dvit_build_op(&vit->builder, name, &op);
}

/* What layer `of` makes is attended; where that is a layer of 8 bits, in 8 bits, but not by so few
 * queries that packing keys for them would take most of the time. */
static int attention(struct dvit_vit *vit, const char *name, const char *of, int qkv, int policy,
                     int queries)
{
    struct dvit_op op = dvit_vit_op(&dvit_op_attention, qkv);
    op.inputs[1] = policy;
    op.inputs[2] = queries;
    op.is.attention.heads = vit->config->heads;
    op.is.attention.masked = vit->options->training;
    op.is.attention.int8 = queries == DVIT_NONE &&
                           dvit_vit_input(vit, dvit_vit_parameter(vit, of, "weight")).scale != 0.0f;
    op.is.attention.lead_cap = (float)vit->options->lead_cap;
    return dvit_build_op(&vit->builder, name, &op);
}

static int branch_scale(struct dvit_vit *vit, int index)
{
    if (!vit->options->training || !vit->options->drop_path)
        return DVIT_NONE;
    char name[64];
    snprintf(name, sizeof name, "branch_scale.%d", index);
    int value = dvit_build_input(&vit->builder, name, DVIT_ROWS_IMAGES, 1);
    vit->values->branch_scale[index] = value;
    return value;
}

/* residual + (layer scale of) the linear layer `layer` of a branch, over skip_lam. */
static int join(struct dvit_vit *vit, int block, int branch, const char *layer, int x, int residual)
{
    char name[64];
    int scale = branch_scale(vit, 2 * block + branch);
    float factor = 1.0f / vit->config->skip_lam;
    snprintf(name, sizeof name, "blocks.%d.%s", block, layer);
    if (!vit->config->layer_scale)
        return dvit_vit_linear(vit, name, x, (struct dvit_branch){false, residual, scale, factor});
    struct dvit_op op =
        dvit_vit_op(&dvit_op_layer_scale, dvit_vit_linear(vit, name, x, dvit_branch_plain));
    snprintf(name, sizeof name, "blocks.%d.ls%d", block, branch + 1);
    op.inputs[1] = residual;
    op.inputs[2] = scale;
    op.parameters[0] = dvit_vit_parameter(vit, name, "gamma");
    op.is.layer_scale.factor = factor;
    return dvit_build_op(&vit->builder, name, &op);
}

/* Of all rows of x those that are read; a policy decides which, where one is given. */
static int rows_read(struct dvit_vit *vit, const char *name, int x, int policy)
{
    struct dvit_op op =
        dvit_vit_op(policy == DVIT_NONE ? &dvit_op_read_rows : &dvit_op_read_kept, x);
    op.inputs[1] = policy;
    return dvit_build_op(&vit->builder, name, &op);
}

/* attention(LN1(x)). Where not all rows of the block are read, *x becomes those that are: they are
 * the only ones with queries. */
static int attend(struct dvit_vit *vit, int index, int *x, int policy, bool narrow)
{
    enum { NORM, QKV, ATTENTION, READ, READ_NORM, Q, KV, LAYERS };
    static const char *const layers[LAYERS] = {"norm1",      "attn.qkv", "attn",   "read",
                                               "read.norm1", "attn.q",   "attn.kv"};
    char name[LAYERS][64];
    size_t C = (size_t)vit->config->dim;
    for (int i = 0; i < LAYERS; i++)
        snprintf(name[i], sizeof name[i], "blocks.%d.%s", index, layers[i]);
    int all = *x, q = DVIT_NONE, qkv;
    if (narrow) /* before the norm: then the norm begins the gradient of all rows, and not this */
        *x = rows_read(vit, name[READ], all, vit->read == DVIT_READ_KEPT ? policy : DVIT_NONE);
    int y = dvit_vit_norm(vit, name[NORM], all);
    if (narrow) {
        int own = rows_read(vit, name[READ_NORM], y, DVIT_NONE);
        q = linear_part(vit, name[Q], name[QKV], own, 0, C);
        qkv = linear_part(vit, name[KV], name[QKV], y, C, 2 * C);
    } else {
        qkv = dvit_vit_linear(vit, name[QKV], y, dvit_branch_plain);
    }
    vit->qkv = qkv;
    return attention(vit, name[ATTENTION], name[QKV], qkv, policy, q);
}

/* x += proj(attention(LN1(x)))/skip_lam, x += fc2(gelu(fc1(LN2(x))))/skip_lam. */
static int block(struct dvit_vit *vit, int index, int x, int policy)
{
    char norm[64], fc1[64];
    snprintf(norm, sizeof norm, "blocks.%d.norm2", index);
    snprintf(fc1, sizeof fc1, "blocks.%d.mlp.fc1", index);

    bool narrow = vit->read != DVIT_READ_ALL && index == vit->config->depth - 1;
    int y = attend(vit, index, &x, policy, narrow);
    x = join(vit, index, 0, "attn.proj", y, x);
    y = dvit_vit_norm(vit, norm, x);
    y = dvit_vit_linear(vit, fc1, y, (struct dvit_branch){true, DVIT_NONE, DVIT_NONE, 0});
    return join(vit, index, 1, "mlp.fc2", y, x);
}

static int blocks(struct dvit_vit *vit, int x, int *policy)
{
    for (int i = 0, stage = 0; i < vit->config->depth; i++) {
        if (stage < vit->stages && i == vit->config->stage_block[stage])
            dvit_vit_prune(vit, stage++, &x, policy);
        x = block(vit, i, x, *policy);
    }
    return x;
}

static void no_values(struct dvit_vit_values *v)
{
    *v = (struct dvit_vit_values){
        .pixels = DVIT_NONE,
        .logits = DVIT_NONE,
        .logits_distilled = DVIT_NONE,
        .tokens = DVIT_NONE,
        .patch_logits = DVIT_NONE,
        .targets = DVIT_NONE,
        .teacher_logits = DVIT_NONE,
        .teacher_tokens = DVIT_NONE,
        .loss_cls = DVIT_NONE,
        .loss_cls_distilled = DVIT_NONE,
        .loss_aux = DVIT_NONE,
        .loss_kl = DVIT_NONE,
        .loss_token = DVIT_NONE,
    };
    for (int s = 0; s < DVIT_MAX_STAGES; s++)
        v->noise[s] = v->policy[s] = v->select[s] = v->loss_ratio[s] = DVIT_NONE;
    for (int i = 0; i < 2 * DVIT_MAX_DEPTH; i++)
        v->branch_scale[i] = DVIT_NONE;
}

/* A mean of the patches and an auxiliary head read all rows, class heads the prefix tokens, and a
 * token loss the patches that its mask leaves. */
static enum dvit_vit_read rows_that_are_read(const struct dvit_vit *vit)
{
    const struct dvit_vit_options *o = vit->options;
    bool tokens = o->training ? o->distill_tokens : o->want_tokens;
    bool masked = o->training && vit->stages > 0;
    if (vit->config->mean_pool || vit->config->aux_head || (tokens && !masked))
        return DVIT_READ_ALL;
    return tokens ? DVIT_READ_KEPT : DVIT_READ_PREFIX;
}

enum dvit_status dvit_vit_build(struct dvit_graph **out, struct dvit_vit_values *values,
                                const struct dvit_config *config,
                                const struct dvit_parameters *parameters,
                                const struct dvit_vit_options *options, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    int kept[DVIT_MAX_STAGES] = {0};
    struct dvit_vit vit = {
        .config = config,
        .parameters = parameters,
        .options = options,
        .values = values,
        .stages = options->training || options->keep < 1.0 ? config->stages : 0,
    };
    *out = NULL;
    vit.read = rows_that_are_read(&vit);
    no_values(values);
    for (int s = 0; s < vit.stages; s++)
        kept[s] = dvit_config_kept(config, options->keep, s);
    struct dvit_graph_options graph_options = {
        .training = options->training,
        .bf16 = options->bf16,
        .patches = dvit_config_patches(config),
        .prefix = dvit_config_prefix(config),
        .map_width = config->stem_width ? config->image_width / 2 : 0,
        .map_height = config->stem_width ? config->image_height / 2 : 0,
        .stages = options->training ? 0 : vit.stages,
        .kept = kept,
        .narrow = vit.read != DVIT_READ_ALL,
        .read_patches = vit.read == DVIT_READ_KEPT ? dvit_config_patches(config) : 0,
        .parameter_count = parameters->count,
        .trained = options->training ? options->trained : NULL,
    };
    DVIT_TRY(dvit_graph_create(out, &graph_options, error));
    vit.builder = (struct dvit_builder){.graph = *out, .error = error};

    int policy = DVIT_NONE;
    int x = dvit_vit_embed(&vit);
    x = blocks(&vit, x, &policy);
    dvit_vit_head(&vit, x, policy);
    if (options->training)
        dvit_vit_losses(&vit, policy);
    DVIT_TRY(vit.builder.status);
done:
    if (status != DVIT_OK) {
        dvit_graph_free(*out);
        *out = NULL;
    }
    return status;
}
