/* Operators that the published kinds of models need beside ViT's own: gradients against
 * differences, as in test_operators.c. */
#include "gradient_check.h"
#include "test_util.h"

enum { C = 8, K = 5 };

static void build_embed_distilled(struct check *c)
{
    struct dvit_op op = check_no_operands;
    op.class = &dvit_op_embed;
    op.inputs[0] = check_input(c, DVIT_ROWS_PATCHES, C, FILL_FREE);
    op.parameters[0] = check_parameter(c, C);
    op.parameters[1] = check_parameter(c, (size_t)(c->patches + 2) * C);
    op.parameters[2] = check_parameter(c, C);
    check_weigh(c, dvit_build_op(&c->builder, "embed", &op));
}

/* The map of a case is the output's; of patches, the input's. */
static void build_convolution(struct check *c, struct dvit_op op, bool bias)
{
    size_t area = (size_t)op.is.convolution.width * (size_t)op.is.convolution.height;
    size_t channels = (size_t)op.is.convolution.channels;
    size_t kernel = (size_t)op.is.convolution.kernel;
    op.class = &dvit_op_convolution;
    for (int i = 0; i < 4; i++)
        op.is.convolution.batch_norm[i] = DVIT_NONE;
    op.inputs[0] = op.is.convolution.planar
                       ? check_input(c, DVIT_ROWS_IMAGES, area * channels, FILL_FREE)
                       : check_input(c, DVIT_ROWS_PIXELS, channels, FILL_FREE);
    op.parameters[0] = check_parameter(c, op.is.convolution.outputs * channels * kernel * kernel);
    if (bias)
        op.parameters[1] = check_parameter(c, op.is.convolution.outputs);
    check_weigh(c, dvit_build_op(&c->builder, "convolution", &op));
}

static void build_convolution_planes(struct check *c)
{
    struct dvit_op op = check_no_operands;
    op.is.convolution.outputs = 3;
    op.is.convolution.kernel = 5;
    op.is.convolution.stride = op.is.convolution.padding = 2;
    op.is.convolution.width = 2 * c->map_width;
    op.is.convolution.height = 2 * c->map_height;
    op.is.convolution.channels = 2;
    op.is.convolution.planar = true;
    build_convolution(c, op, false);
}

static void build_convolution_pixels(struct check *c)
{
    struct dvit_op op = check_no_operands;
    op.is.convolution.outputs = 5;
    op.is.convolution.kernel = 3;
    op.is.convolution.stride = op.is.convolution.padding = 1;
    op.is.convolution.width = c->map_width;
    op.is.convolution.height = c->map_height;
    op.is.convolution.channels = 4;
    build_convolution(c, op, false);
}

static void build_convolution_patches(struct check *c)
{
    struct dvit_op op = check_no_operands;
    op.is.convolution.outputs = C;
    op.is.convolution.kernel = op.is.convolution.stride = 2;
    op.is.convolution.width = c->map_width;
    op.is.convolution.height = c->map_height;
    op.is.convolution.channels = 3;
    op.is.convolution.patches = true;
    build_convolution(c, op, true);
}

static void build_batch_norm(struct check *c)
{
    struct dvit_op op = check_no_operands;
    op.class = &dvit_op_batch_norm;
    op.is.batch_norm.eps = 1e-2f;
    op.inputs[0] = check_input(c, DVIT_ROWS_PIXELS, C, FILL_FREE);
    op.parameters[0] = check_parameter(c, C);
    op.parameters[1] = check_parameter(c, C);
    for (int i = 0; i < C; i++) { /* channels that ReLU lets pass, or not, whatever x: no kink */
        c->parameters[op.parameters[0]][i] = 0.7f;
        c->parameters[op.parameters[1]][i] = i % 3 == 2 ? -3.0f : 3.0f;
    }
    check_weigh(c, dvit_build_op(&c->builder, "batch norm", &op));
}

static void build_layer_scale(struct check *c, bool scale, float factor)
{
    struct dvit_op op = check_no_operands;
    op.class = &dvit_op_layer_scale;
    op.inputs[0] = check_input(c, DVIT_ROWS_TOKENS, C, FILL_FREE);
    op.inputs[1] = check_input(c, DVIT_ROWS_TOKENS, C, FILL_FREE);
    if (scale)
        op.inputs[2] = check_input(c, DVIT_ROWS_IMAGES, 1, FILL_FIXED);
    op.parameters[0] = check_parameter(c, C);
    op.is.layer_scale.factor = factor;
    check_weigh(c, dvit_build_op(&c->builder, "layer scale", &op));
}

static void build_layer_scale_plain(struct check *c)
{
    build_layer_scale(c, false, 0);
}

static void build_layer_scale_scaled(struct check *c)
{
    build_layer_scale(c, true, 0.5f);
}

static void build_mean_pool(struct check *c, enum check_fill policy)
{
    struct dvit_op op = check_no_operands;
    op.class = &dvit_op_mean_pool;
    op.inputs[0] = check_input(c, DVIT_ROWS_TOKENS, C, FILL_FREE);
    if (policy != FILL_FREE)
        op.inputs[1] = check_input(c, DVIT_ROWS_TOKENS, 1, policy);
    check_weigh(c, dvit_build_op(&c->builder, "mean pool", &op));
}

static void build_mean_pool_all(struct check *c)
{
    build_mean_pool(c, FILL_FREE);
}

static void build_mean_pool_masked(struct check *c)
{
    build_mean_pool(c, FILL_POLICY);
}

static void build_mean_pool_dropped(struct check *c)
{
    build_mean_pool(c, FILL_DROPPED);
}

static void build_cross_entropy_patches(struct check *c)
{
    int logits = check_input(c, DVIT_ROWS_PATCHES, K, FILL_FREE);
    int targets = check_input(c, DVIT_ROWS_IMAGES, K, FILL_TARGETS);
    check_loss(c, &dvit_op_loss_cross_entropy, logits, targets, DVIT_NONE);
}

static void build_distill_patches(struct check *c, enum check_fill policy)
{
    int logits = check_input(c, DVIT_ROWS_PATCHES, K, FILL_FREE);
    int teacher = check_input(c, DVIT_ROWS_PATCHES, K, FILL_FIXED);
    int kept = policy == FILL_FREE ? DVIT_NONE : check_input(c, DVIT_ROWS_TOKENS, 1, policy);
    check_loss(c, &dvit_op_loss_distill, logits, teacher, kept);
}

static void build_distill_patches_all(struct check *c)
{
    build_distill_patches(c, FILL_FREE);
}

static void build_distill_patches_kept(struct check *c)
{
    build_distill_patches(c, FILL_DECISION);
}

static const struct check_case cases[] = {
    {.name = "embed, distilled", .patches = 3, .build = build_embed_distilled, .more_prefix = 1},
    {.name = "convolution of planes",
     .patches = 1,
     .build = build_convolution_planes,
     .map_width = 4,
     .map_height = 3},
    {.name = "convolution of pixels",
     .patches = 1,
     .build = build_convolution_pixels,
     .map_width = 4,
     .map_height = 3},
    {.name = "convolution in chunks",
     .patches = 1,
     .build = build_convolution_pixels,
     .map_width = 19,
     .map_height = 15},
    {.name = "convolution to patches",
     .patches = 6,
     .build = build_convolution_patches,
     .map_width = 6,
     .map_height = 4},
    {.name = "batch norm",
     .patches = 1,
     .build = build_batch_norm,
     .map_width = 5,
     .map_height = 4},
    {.name = "layer scale", .patches = 3, .build = build_layer_scale_plain},
    {.name = "layer scale, scaled", .patches = 3, .build = build_layer_scale_scaled},
    {.name = "mean pool", .patches = 5, .build = build_mean_pool_all},
    {.name = "mean pool, masked", .patches = 5, .build = build_mean_pool_masked, .more_prefix = 1},
    {.name = "mean pool, nothing kept", .patches = 5, .build = build_mean_pool_dropped},
    {.name = "cross-entropy of patches", .patches = 3, .build = build_cross_entropy_patches},
    {.name = "distillation of patches", .patches = 3, .build = build_distill_patches_all},
    {.name = "distillation of kept patches",
     .patches = 4,
     .build = build_distill_patches_kept,
     .more_prefix = 1},
};

static void gradients_are_differences(void **state)
{
    (void)state;
    check_cases_run(cases, sizeof cases / sizeof *cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients_are_differences)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
