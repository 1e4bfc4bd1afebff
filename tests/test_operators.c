/* Every operator by itself: gradients of inputs and parameters against differences, in all the ways
 * a graph can ask for them. What can be compared exactly is in test_operators_exact.c. */
#include "gradient_check.h"

#include <math.h>
#include <stdlib.h>

#include "test_util.h"

enum { C = 8, K = 5 };

/* --- cases -------------------------------------------------------------------------------- */

static void build_embed(struct check *c)
{
    struct dvit_op op = check_no_operands;
    op.class = &dvit_op_embed;
    op.inputs[0] = check_input(c, DVIT_ROWS_PATCHES, C, FILL_FREE);
    op.parameters[0] = check_parameter(c, C);
    op.parameters[1] = check_parameter(c, (size_t)(c->patches + 1) * C);
    check_weigh(c, dvit_build_op(&c->builder, "embed", &op));
}

static void build_norm(struct check *c, const struct dvit_op_class *class, enum dvit_rows rows)
{
    struct dvit_op op = check_no_operands;
    op.class = class;
    op.inputs[0] = check_input(c, rows, C, FILL_FREE);
    op.parameters[0] = check_parameter(c, C);
    op.parameters[1] = check_parameter(c, C);
    op.is.layer_norm.eps = 1e-2f; /* large enough to show where it stands */
    check_weigh(c, dvit_build_op(&c->builder, "norm", &op));
}

static void build_layer_norm(struct check *c)
{
    build_norm(c, &dvit_op_layer_norm, DVIT_ROWS_TOKENS);
}

static void build_layer_norm_images(struct check *c)
{
    build_norm(c, &dvit_op_layer_norm, DVIT_ROWS_IMAGES);
}

static void build_patch_norm(struct check *c)
{
    build_norm(c, &dvit_op_patch_norm, DVIT_ROWS_TOKENS);
}

struct linear {
    enum dvit_rows rows;
    size_t inputs, outputs;
    bool bias, gelu, residual, scale, same; /* same: x is the residual too */
    float factor;
};

static void build_linear(struct check *c, struct linear how)
{
    struct dvit_op op = check_no_operands;
    op.class = &dvit_op_linear;
    op.is.linear.outputs = how.outputs;
    op.is.linear.gelu = how.gelu;
    op.is.linear.factor = how.factor;
    op.inputs[0] = check_input(c, how.rows, how.inputs, FILL_FREE);
    if (how.residual)
        op.inputs[1] = how.same ? op.inputs[0] : check_input(c, how.rows, how.outputs, FILL_FREE);
    if (how.scale)
        op.inputs[2] = check_input(c, DVIT_ROWS_IMAGES, 1, FILL_FIXED);
    op.parameters[0] = check_parameter(c, how.outputs * how.inputs);
    if (how.bias)
        op.parameters[1] = check_parameter(c, how.outputs);
    check_weigh(c, dvit_build_op(&c->builder, "linear", &op));
}

static void build_linear_plain(struct check *c)
{
    build_linear(c, (struct linear){DVIT_ROWS_TOKENS, C, 5, .bias = true});
}

static void build_linear_no_bias(struct check *c)
{
    build_linear(c, (struct linear){DVIT_ROWS_PATCHES, C, 2, .bias = false});
}

static void build_linear_images(struct check *c)
{
    build_linear(c, (struct linear){DVIT_ROWS_IMAGES, C, K, .bias = true});
}

static void build_linear_gelu(struct check *c)
{
    build_linear(c, (struct linear){DVIT_ROWS_TOKENS, 4, 6, .bias = true, .gelu = true});
}

static void build_linear_residual(struct check *c)
{
    build_linear(c, (struct linear){DVIT_ROWS_TOKENS, 6, C, .bias = true, .residual = true});
}

static void build_linear_scaled(struct check *c)
{
    build_linear(
        c, (struct linear){DVIT_ROWS_TOKENS, 6, C, .bias = true, .residual = true, .scale = true});
}

static void build_linear_factor(struct check *c)
{
    build_linear(
        c, (struct linear){DVIT_ROWS_TOKENS, 6, C, .bias = true, .residual = true, .factor = 0.5f});
}

static void build_linear_factor_scaled(struct check *c)
{
    build_linear(c, (struct linear){DVIT_ROWS_TOKENS, 6, C, .bias = true, .residual = true,
                                    .scale = true, .factor = 0.5f});
}

static void build_linear_same(struct check *c)
{
    build_linear(
        c, (struct linear){DVIT_ROWS_TOKENS, C, C, .bias = true, .residual = true, .same = true});
}

static int read_rows(struct check *c, int x)
{
    struct dvit_op op = check_no_operands;
    op.class = &dvit_op_read_rows;
    op.inputs[0] = x;
    return dvit_build_op(&c->builder, "read", &op);
}

static void build_read_rows(struct check *c)
{
    check_weigh(c, read_rows(c, check_input(c, DVIT_ROWS_TOKENS, C, FILL_FREE)));
}

/* Two ranges of one layer's channels. */
static void build_linear_ranges(struct check *c)
{
    int x = check_input(c, DVIT_ROWS_TOKENS, 4, FILL_FREE);
    int weight = check_parameter(c, (size_t)7 * 4), bias = check_parameter(c, 7);
    for (int part = 0; part < 2; part++) {
        struct dvit_op op = check_no_operands;
        op.class = &dvit_op_linear;
        op.inputs[0] = x;
        op.parameters[0] = weight;
        op.parameters[1] = bias;
        op.is.linear.first = part ? 3 : 0;
        op.is.linear.outputs = part ? 4 : 3;
        check_weigh(c, dvit_build_op(&c->builder, "linear", &op));
    }
}

/* Queries of the prefix tokens alone. */
static void build_attention_queries(struct check *c)
{
    struct dvit_op op = check_no_operands;
    op.class = &dvit_op_attention;
    op.is.attention.heads = 2;
    op.is.attention.lead_cap = DVIT_LEAD_CAP_TANGENT;
    op.is.attention.masked = true;
    op.inputs[0] = check_input(c, DVIT_ROWS_TOKENS, 2 * C, FILL_FREE);
    op.inputs[1] = check_input(c, DVIT_ROWS_TOKENS, 1, FILL_POLICY);
    op.inputs[2] = read_rows(c, check_input(c, DVIT_ROWS_TOKENS, C, FILL_FREE));
    check_weigh(c, dvit_build_op(&c->builder, "attention", &op));
}

static void build_attention(struct check *c, enum check_fill policy)
{
    struct dvit_op op = check_no_operands;
    op.class = &dvit_op_attention;
    op.is.attention.heads = 2;
    op.is.attention.lead_cap = DVIT_LEAD_CAP_TANGENT;
    op.is.attention.masked = true;
    op.inputs[0] = check_input(c, DVIT_ROWS_TOKENS, 3 * C, FILL_FREE);
    if (policy != FILL_FREE)
        op.inputs[1] = check_input(c, DVIT_ROWS_TOKENS, 1, policy);
    check_weigh(c, dvit_build_op(&c->builder, "attention", &op));
}

static void build_attention_all(struct check *c)
{
    build_attention(c, FILL_FREE);
}

static void build_attention_masked(struct check *c)
{
    build_attention(c, FILL_POLICY);
}

static void build_attention_dropped(struct check *c)
{
    build_attention(c, FILL_DROPPED);
}

static void build_kept_mean(struct check *c, enum check_fill policy)
{
    struct dvit_op op = check_no_operands;
    op.class = &dvit_op_kept_mean;
    op.inputs[0] = check_input(c, DVIT_ROWS_PATCHES, C, FILL_FREE);
    if (policy != FILL_FREE)
        op.inputs[1] = check_input(c, DVIT_ROWS_TOKENS, 1, policy);
    check_weigh(c, dvit_build_op(&c->builder, "mean", &op));
}

static void build_kept_mean_all(struct check *c)
{
    build_kept_mean(c, FILL_FREE);
}

static void build_kept_mean_masked(struct check *c)
{
    build_kept_mean(c, FILL_POLICY);
}

static void build_kept_mean_dropped(struct check *c)
{
    build_kept_mean(c, FILL_DROPPED);
}

static void build_select_after(struct check *c, enum check_fill before, int ranked)
{
    struct dvit_op op = check_no_operands;
    op.class = &dvit_op_select;
    op.inputs[0] = check_input(c, DVIT_ROWS_PATCHES, 2, FILL_ANALYTIC);
    if (before != FILL_FREE)
        op.inputs[1] = check_input(c, DVIT_ROWS_TOKENS, 1, before);
    op.is.select.ranked = ranked > 0;
    op.is.select.kept = ranked;
    op.inputs[2] = check_input(c, DVIT_ROWS_PATCHES, 2, FILL_FIXED);
    check_weigh(c, dvit_build_op(&c->builder, "select", &op));
}

static void build_select(struct check *c)
{
    build_select_after(c, FILL_POLICY, 0);
}

static void build_select_first(struct check *c)
{
    build_select_after(c, FILL_FREE, 0);
}

static void build_select_ranked(struct check *c)
{
    build_select_after(c, FILL_DECISION, 3);
}

static void build_select_ranked_first(struct check *c)
{
    build_select_after(c, FILL_FREE, 5);
}

static void build_token_at(struct check *c, int index)
{
    struct dvit_op op = check_no_operands;
    op.class = &dvit_op_token;
    op.is.token.index = index;
    op.inputs[0] = check_input(c, DVIT_ROWS_TOKENS, C, FILL_FREE);
    check_weigh(c, dvit_build_op(&c->builder, "token", &op));
}

static void build_class_token(struct check *c)
{
    build_token_at(c, 0);
}

static void build_distillation_token(struct check *c)
{
    build_token_at(c, 1);
}

static void build_cross_entropy(struct check *c)
{
    int logits = check_input(c, DVIT_ROWS_IMAGES, K, FILL_FREE);
    int targets = check_input(c, DVIT_ROWS_IMAGES, K, FILL_TARGETS);
    check_loss(c, &dvit_op_loss_cross_entropy, logits, targets, DVIT_NONE);
}

static void build_distill(struct check *c)
{
    int logits = check_input(c, DVIT_ROWS_IMAGES, K, FILL_FREE);
    int teacher = check_input(c, DVIT_ROWS_IMAGES, K, FILL_FIXED);
    check_loss(c, &dvit_op_loss_distill, logits, teacher, DVIT_NONE);
}

static void build_ratio(struct check *c)
{
    int policy = check_input(c, DVIT_ROWS_TOKENS, 1, FILL_POLICY);
    check_loss(c, &dvit_op_loss_ratio, policy, DVIT_NONE, DVIT_NONE);
}

static void build_ratio_batch(struct check *c)
{
    build_ratio(c);
    c->graph->ops[c->graph->op_count - 1].is.loss.on_batch_mean = true;
}

static void build_token(struct check *c, enum check_fill policy)
{
    int tokens = check_input(c, DVIT_ROWS_TOKENS, C, FILL_FREE);
    int teacher = check_input(c, DVIT_ROWS_TOKENS, C, FILL_FIXED), kept = DVIT_NONE;
    if (policy != FILL_FREE)
        kept = check_input(c, DVIT_ROWS_TOKENS, 1, policy);
    check_loss(c, &dvit_op_loss_token, tokens, teacher, kept);
}

static void build_token_all(struct check *c)
{
    build_token(c, FILL_FREE);
}

static void build_token_kept(struct check *c)
{
    build_token(c, FILL_DECISION);
}

static void build_token_dropped(struct check *c)
{
    build_token(c, FILL_DROPPED);
}

/* --- what differences cannot judge -------------------------------------------------------- */

static const struct dvit_op *find_op(const struct check *c, const struct dvit_op_class *class)
{
    for (int i = 0; i < c->graph->op_count; i++)
        if (c->graph->ops[i].class == class)
            return &c->graph->ops[i];
    fail_msg("no operator \"%s\"", class->kind);
    return NULL;
}

/* softmax(log-softmax(scores) + noise)[0] */
static double soft_keep(double keep, double drop, const float *noise)
{
    double total = log(exp(keep) + exp(drop));
    double a = exp(keep - total + noise[0]), b = exp(drop - total + noise[1]);
    return a / (a + b);
}

/* By rank: Σ w·weight/Σ w over the patches that were there, w the slope of their soft decision:
 * what τ, which keeps the number of patches, takes from each. */
static double common_push(const struct check *c, const struct dvit_op *op, const float *weights,
                          int image)
{
    const float *scores = check_find(c, op->inputs[0])->data;
    const float *noise = check_find(c, op->inputs[2])->data;
    const float *before = op->inputs[1] == DVIT_NONE ? NULL : check_find(c, op->inputs[1])->data;
    double tau = c->training.values[op->outputs[2]][image], push = 0, sum = 0;
    for (int n = image * c->patches; n < (image + 1) * c->patches; n++) {
        int row = image * (c->patches + 1) + 1 + n % c->patches;
        double margin = (double)scores[2 * n] + noise[2 * n] - scores[2 * n + 1] - noise[2 * n + 1];
        double y = 1 / (1 + exp(tau - margin)), w = (before ? before[row] : 1) * y * (1 - y);
        push += w * weights[row];
        sum += w;
    }
    return sum > 0 ? push / sum : 0;
}

/* Straight-through: the forward value is the hard decision; the gradient of the scores is that of
 * Σ weight·before·soft decision, by differences. By rank the margin is measured from τ, and as many
 * patches stay as there should. */
static void verify_select(const struct check *c)
{
    const struct dvit_op *op = find_op(c, &dvit_op_select);
    const struct check_input *scores = check_find(c, op->inputs[0]);
    const float *got = c->training.gradients[op->inputs[0]];
    const float *noise = check_find(c, op->inputs[2])->data;
    const float *before = op->inputs[1] == DVIT_NONE ? NULL : check_find(c, op->inputs[1])->data;
    const float *policy = c->training.values[op->outputs[0]];
    const float *weights = NULL;
    for (int i = 0; i < c->graph->op_count; i++)
        if (c->graph->ops[i].inputs[0] == op->outputs[0])
            weights = check_find(c, c->graph->ops[i].inputs[1])->data;
    int tokens = c->patches + 1, kept = 0;
    bool ranked = op->is.select.ranked;
    for (int n = 0; n < c->images * c->patches; n++) {
        int row = n / c->patches * tokens + 1 + n % c->patches;
        float tau = ranked ? c->training.values[op->outputs[2]][n / c->patches] : 0.0f;
        if (tau < -100)
            tau = -100; /* nothing goes: as far away as makes no difference */
        const float *s = scores->data + 2 * n, g[2] = {noise[2 * n] - tau, noise[2 * n + 1]};
        kept += policy[row] > 0;
        double scale = before ? before[row] : 1;
        float hard = soft_keep(s[0], s[1], g) >= 0.5 ? (float)scale : 0.0f;
        assert_true(policy[row] == hard);
        assert_true(policy[n / c->patches * tokens] == 1.0f);
        for (int side = 0; side < 2 && got; side++) {
            double h = 1e-4, up = soft_keep(s[0] + (side ? 0 : h), s[1] + (side ? h : 0), g);
            double down = soft_keep(s[0] - (side ? 0 : h), s[1] - (side ? h : 0), g);
            double push = ranked ? common_push(c, op, weights, n / c->patches) : 0;
            double expected = (weights[row] - push) * scale * (up - down) / (2 * h);
            if (scores->reader)
                expected += scores->reader[2 * n + side];
            if (fabs(got[2 * n + side] - expected) > 1e-6 * fmax(1, fabs(expected)))
                fail_msg("select: gradient of score %d.%d is %g, expected %g", n, side,
                         (double)got[2 * n + side], expected);
        }
    }
    for (int image = 0; ranked && image < c->images; image++) {
        int there = 0;
        for (int n = 0; n < c->patches; n++)
            there += !before || before[image * tokens + 1 + n] > 0;
        kept -= there < op->is.select.kept ? there : op->is.select.kept;
    }
    if (ranked)
        assert_int_equal(kept, 0);
}

/* Nothing kept: the loss is 0, and so is its own share of every gradient. */
static void verify_token_dropped(const struct check *c)
{
    const struct dvit_op *op = find_op(c, &dvit_op_loss_token);
    struct dvit_run run = dvit_training_view(&c->job, 0);
    assert_true(dvit_loss_value(op, &run) == 0);
    const struct check_input *tokens = check_find(c, op->inputs[0]);
    const float *got = c->training.gradients[op->inputs[0]];
    for (size_t i = 0; got && i < tokens->count; i++)
        assert_true(got[i] == (tokens->reader ? tokens->reader[i] : 0.0f));
}

/* --- the table ---------------------------------------------------------------------------- */

static const struct check_case cases[] = {
    {.name = "embed", .patches = 3, .build = build_embed},
    {.name = "layer norm", .patches = 3, .build = build_layer_norm},
    {.name = "layer norm of images", .patches = 3, .build = build_layer_norm_images},
    {.name = "layer norm of patches", .patches = 3, .build = build_patch_norm},
    {.name = "linear", .patches = 3, .build = build_linear_plain},
    {.name = "linear without bias", .patches = 3, .build = build_linear_no_bias},
    {.name = "linear of images", .patches = 3, .build = build_linear_images},
    {.name = "linear in chunks", .patches = DVIT_CHUNK_ROWS + 44, .build = build_linear_plain},
    {.name = "linear with GELU", .patches = 3, .build = build_linear_gelu},
    {.name = "linear with residual", .patches = 3, .build = build_linear_residual},
    {.name = "linear with residual, scaled", .patches = 3, .build = build_linear_scaled},
    {.name = "linear with residual of its input", .patches = 3, .build = build_linear_same},
    {.name = "linear with residual in chunks",
     .patches = DVIT_CHUNK_ROWS,
     .build = build_linear_scaled},
    {.name = "attention", .patches = 5, .build = build_attention_all},
    {.name = "attention, masked", .patches = 5, .build = build_attention_masked},
    {.name = "attention, nothing kept", .patches = 5, .build = build_attention_dropped},
    {.name = "attention of one patch", .patches = 1, .build = build_attention_all},
    {.name = "rows read", .patches = 4, .build = build_read_rows, .narrow = true},
    {.name = "rows read, two",
     .patches = 4,
     .build = build_read_rows,
     .more_prefix = 1,
     .narrow = true},
    {.name = "linear, ranges of channels", .patches = 3, .build = build_linear_ranges},
    {.name = "attention, queries apart",
     .patches = 5,
     .build = build_attention_queries,
     .more_prefix = 1,
     .narrow = true},
    {.name = "kept mean", .patches = 5, .build = build_kept_mean_all},
    {.name = "kept mean, masked", .patches = 5, .build = build_kept_mean_masked},
    {.name = "kept mean, nothing kept", .patches = 5, .build = build_kept_mean_dropped},
    {.name = "select", .patches = 9, .build = build_select, .verify = verify_select},
    {.name = "select, first stage",
     .patches = 9,
     .build = build_select_first,
     .verify = verify_select},
    {.name = "select by rank", .patches = 9, .build = build_select_ranked, .verify = verify_select},
    {.name = "select by rank, first stage",
     .patches = 9,
     .build = build_select_ranked_first,
     .verify = verify_select},
    {.name = "class token", .patches = 4, .build = build_class_token},
    {.name = "cross-entropy", .patches = 2, .build = build_cross_entropy},
    {.name = "distillation", .patches = 2, .build = build_distill},
    {.name = "ratio loss", .patches = 7, .build = build_ratio},
    {.name = "ratio loss of the batch", .patches = 7, .build = build_ratio_batch},
    {.name = "token loss", .patches = 4, .build = build_token_all},
    {.name = "token loss, masked", .patches = 4, .build = build_token_kept},
    {.name = "token loss, nothing kept",
     .patches = 4,
     .build = build_token_dropped,
     .verify = verify_token_dropped},
    {.name = "linear with residual and factor", .patches = 3, .build = build_linear_factor},
    {.name = "linear with residual and factor, scaled",
     .patches = 3,
     .build = build_linear_factor_scaled},
    {.name = "distillation token",
     .patches = 4,
     .build = build_distillation_token,
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
