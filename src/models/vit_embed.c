/* Pixels to tokens: patches embedded directly (ViT, DeiT) or through a convolutional stem (LV-ViT),
 * then prefix tokens and positions. */
#include <stdio.h>

#include "models/vit_parts.h"

/* Epsilon of the stem's batch norms. */
#define STEM_NORM_EPS 1e-5f

static int patches(struct dvit_vit *vit)
{
    const struct dvit_config *c = vit->config;
    struct dvit_op op = dvit_vit_op(&dvit_op_patchify, vit->values->pixels);
    op.is.patchify.patch = c->patch;
    op.is.patchify.image_width = c->image_width;
    op.is.patchify.image_height = c->image_height;
    int x = dvit_build_op(&vit->builder, "patches", &op);
    return dvit_vit_linear(vit, "patch_embed.proj", x, dvit_branch_plain);
}

static int convolution(struct dvit_vit *vit, const char *layer, struct dvit_op *op)
{
    op->parameters[0] = dvit_vit_parameter(vit, layer, "weight");
    op->parameters[1] = dvit_vit_parameter(vit, layer, "bias");
    op->is.convolution.outputs = vit->parameters->items[op->parameters[0]].shape[0];
    op->is.convolution.input = dvit_vit_input(vit, op->parameters[0]);
    return dvit_build_op(&vit->builder, layer, op);
}

static int batch_norm(struct dvit_vit *vit, const char *layer, int x)
{
    struct dvit_op op = dvit_vit_op(&dvit_op_batch_norm, x);
    op.parameters[0] = dvit_vit_parameter(vit, layer, "weight");
    op.parameters[1] = dvit_vit_parameter(vit, layer, "bias");
    op.is.batch_norm.eps = STEM_NORM_EPS;
    op.is.batch_norm.statistics[0] = dvit_vit_parameter(vit, layer, "running_mean");
    op.is.batch_norm.statistics[1] = dvit_vit_parameter(vit, layer, "running_var");
    return dvit_build_op(&vit->builder, layer, &op);
}

/* Convolution `index` (1 … 3), its batch norm and ReLU. */
static int convolution_norm(struct dvit_vit *vit, int index, struct dvit_op *op)
{
    char layer[32], norm[32];
    static const char *const names[4] = {"weight", "bias", "running_mean", "running_var"};
    snprintf(layer, sizeof layer, "patch_embed.conv%d", index);
    snprintf(norm, sizeof norm, "patch_embed.bn%d", index);
    for (int i = 0; i < 4; i++)
        op->is.convolution.batch_norm[i] =
            vit->options->training ? DVIT_NONE : dvit_vit_parameter(vit, norm, names[i]);
    op->is.convolution.eps = STEM_NORM_EPS;
    int x = convolution(vit, layer, op);
    return vit->options->training ? batch_norm(vit, norm, x) : x;
}

/* 7×7 with stride 2, twice 3×3, each with batch norm and ReLU; then patches of half the side. */
static int stem(struct dvit_vit *vit)
{
    const struct dvit_config *c = vit->config;
    int width = c->image_width / 2, height = c->image_height / 2;
    struct dvit_op op = dvit_vit_op(&dvit_op_convolution, vit->values->pixels);
    op.is.convolution.kernel = 7;
    op.is.convolution.stride = 2;
    op.is.convolution.padding = 3;
    op.is.convolution.width = c->image_width;
    op.is.convolution.height = c->image_height;
    op.is.convolution.channels = 3;
    op.is.convolution.planar = true;
    int x = convolution_norm(vit, 1, &op);
    for (int i = 2; i <= 3; i++) {
        op = dvit_vit_op(&dvit_op_convolution, x);
        op.is.convolution.kernel = 3;
        op.is.convolution.stride = op.is.convolution.padding = 1;
        op.is.convolution.width = width;
        op.is.convolution.height = height;
        op.is.convolution.channels = c->stem_width;
        x = convolution_norm(vit, i, &op);
    }
    op = dvit_vit_op(&dvit_op_convolution, x);
    op.is.convolution.kernel = op.is.convolution.stride = c->patch / 2;
    op.is.convolution.width = width;
    op.is.convolution.height = height;
    op.is.convolution.channels = c->stem_width;
    op.is.convolution.patches = true;
    for (int i = 0; i < 4; i++)
        op.is.convolution.batch_norm[i] = DVIT_NONE;
    return convolution(vit, "patch_embed.proj", &op);
}

int dvit_vit_embed(struct dvit_vit *vit)
{
    const struct dvit_config *c = vit->config;
    size_t area = (size_t)c->image_width * (size_t)c->image_height;
    vit->values->pixels = dvit_build_input(&vit->builder, "pixels", DVIT_ROWS_IMAGES, 3 * area);
    struct dvit_op op = dvit_vit_op(&dvit_op_embed, c->stem_width ? stem(vit) : patches(vit));
    op.parameters[0] = dvit_parameters_find(vit->parameters, "cls_token");
    op.parameters[1] = dvit_parameters_find(vit->parameters, "pos_embed");
    op.parameters[2] = dvit_parameters_find(vit->parameters, "dist_token");
    return dvit_build_op(&vit->builder, "tokens", &op);
}
