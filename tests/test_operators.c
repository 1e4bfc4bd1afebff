/* Every operator by itself: gradients of inputs and parameters against differences, in all the ways
 * a graph can ask for them; the rest (patchify, selection in inference, refused shapes) exactly. */
#include "gradient_check.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "graph/forward.h"
#include "test_util.h"

enum { C = 8, K = 5 };

/* --- cases ------------------------------------------------------------------------------------ */

static const struct dvit_op no_operands = {.inputs = {DVIT_NONE, DVIT_NONE, DVIT_NONE, DVIT_NONE},
                                           .parameters = {DVIT_NONE, DVIT_NONE}};

static void build_embed(struct check *c)
{
    struct dvit_op op = no_operands;
    op.class = &dvit_op_embed;
    op.inputs[0] = check_input(c, DVIT_ROWS_PATCHES, C, FILL_FREE);
    op.parameters[0] = check_parameter(c, C);
    op.parameters[1] = check_parameter(c, (size_t)(c->patches + 1) * C);
    check_weigh(c, dvit_build_op(&c->builder, "embed", &op));
}

static void build_norm(struct check *c, const struct dvit_op_class *class, enum dvit_rows rows)
{
    struct dvit_op op = no_operands;
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
};

static void build_linear(struct check *c, struct linear how)
{
    struct dvit_op op = no_operands;
    op.class = &dvit_op_linear;
    op.is.linear.outputs = how.outputs;
    op.is.linear.gelu = how.gelu;
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

static void build_linear_same(struct check *c)
{
    build_linear(
        c, (struct linear){DVIT_ROWS_TOKENS, C, C, .bias = true, .residual = true, .same = true});
}

static void build_attention(struct check *c, enum check_fill policy)
{
    struct dvit_op op = no_operands;
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
    struct dvit_op op = no_operands;
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

static void build_select_after(struct check *c, bool before)
{
    struct dvit_op op = no_operands;
    op.class = &dvit_op_select;
    op.inputs[0] = check_input(c, DVIT_ROWS_PATCHES, 2, FILL_ANALYTIC);
    if (before)
        op.inputs[1] = check_input(c, DVIT_ROWS_TOKENS, 1, FILL_POLICY);
    op.inputs[2] = check_input(c, DVIT_ROWS_PATCHES, 2, FILL_FIXED);
    check_weigh(c, dvit_build_op(&c->builder, "select", &op));
}

static void build_select(struct check *c)
{
    build_select_after(c, true);
}

static void build_select_first(struct check *c)
{
    build_select_after(c, false);
}

static void build_class_token(struct check *c)
{
    struct dvit_op op = no_operands;
    op.class = &dvit_op_class_token;
    op.inputs[0] = check_input(c, DVIT_ROWS_TOKENS, C, FILL_FREE);
    check_weigh(c, dvit_build_op(&c->builder, "class token", &op));
}

/* A loss of its first input; the second is compared with, the third says which patches count. */
static void build_loss(struct check *c, const struct dvit_op_class *class, int first, int second,
                       int third)
{
    struct dvit_op op = no_operands;
    op.class = class;
    op.inputs[0] = first;
    op.inputs[1] = second;
    op.inputs[2] = third;
    op.is.loss.weight = 1.7;
    op.is.loss.target = 0.7;
    dvit_build_op(&c->builder, "loss", &op);
}

static void build_cross_entropy(struct check *c)
{
    int logits = check_input(c, DVIT_ROWS_IMAGES, K, FILL_FREE);
    int targets = check_input(c, DVIT_ROWS_IMAGES, K, FILL_TARGETS);
    build_loss(c, &dvit_op_loss_cross_entropy, logits, targets, DVIT_NONE);
}

static void build_distill(struct check *c)
{
    int logits = check_input(c, DVIT_ROWS_IMAGES, K, FILL_FREE);
    int teacher = check_input(c, DVIT_ROWS_IMAGES, K, FILL_FIXED);
    build_loss(c, &dvit_op_loss_distill, logits, teacher, DVIT_NONE);
}

static void build_ratio(struct check *c)
{
    int policy = check_input(c, DVIT_ROWS_TOKENS, 1, FILL_POLICY);
    build_loss(c, &dvit_op_loss_ratio, policy, DVIT_NONE, DVIT_NONE);
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
    build_loss(c, &dvit_op_loss_token, tokens, teacher, kept);
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

/* --- what differences cannot judge -------------------------------------------------------------
 */

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

/* Straight-through: the forward value is the hard decision; the gradient of the scores is that of
 * Σ weight·before·soft decision, by differences. */
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
    int tokens = c->patches + 1;
    for (int n = 0; n < c->images * c->patches; n++) {
        int row = n / c->patches * tokens + 1 + n % c->patches;
        const float *s = scores->data + 2 * n, *g = noise + 2 * n;
        double scale = before ? before[row] : 1;
        float hard = soft_keep(s[0], s[1], g) >= 0.5 ? (float)scale : 0.0f;
        assert_true(policy[row] == hard);
        assert_true(policy[n / c->patches * tokens] == 1.0f);
        for (int side = 0; side < 2 && got; side++) {
            double h = 1e-4, up = soft_keep(s[0] + (side ? 0 : h), s[1] + (side ? h : 0), g);
            double down = soft_keep(s[0] - (side ? 0 : h), s[1] - (side ? h : 0), g);
            double expected = weights[row] * scale * (up - down) / (2 * h);
            if (scores->reader)
                expected += scores->reader[2 * n + side];
            if (fabs(got[2 * n + side] - expected) > 1e-6 * fmax(1, fabs(expected)))
                fail_msg("select: gradient of score %d.%d is %g, expected %g", n, side,
                         (double)got[2 * n + side], expected);
        }
    }
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

/* --- the table ----------------------------------------------------------------------------------
 */

static const struct check_case cases[] = {
    {"embed", 3, build_embed, NULL},
    {"layer norm", 3, build_layer_norm, NULL},
    {"layer norm of images", 3, build_layer_norm_images, NULL},
    {"layer norm of patches", 3, build_patch_norm, NULL},
    {"linear", 3, build_linear_plain, NULL},
    {"linear without bias", 3, build_linear_no_bias, NULL},
    {"linear of images", 3, build_linear_images, NULL},
    {"linear in chunks", DVIT_CHUNK_ROWS + 44, build_linear_plain, NULL},
    {"linear with GELU", 3, build_linear_gelu, NULL},
    {"linear with residual", 3, build_linear_residual, NULL},
    {"linear with residual, scaled", 3, build_linear_scaled, NULL},
    {"linear with residual of its input", 3, build_linear_same, NULL},
    {"linear with residual in chunks", DVIT_CHUNK_ROWS, build_linear_scaled, NULL},
    {"attention", 5, build_attention_all, NULL},
    {"attention, masked", 5, build_attention_masked, NULL},
    {"attention, nothing kept", 5, build_attention_dropped, NULL},
    {"attention of one patch", 1, build_attention_all, NULL},
    {"kept mean", 5, build_kept_mean_all, NULL},
    {"kept mean, masked", 5, build_kept_mean_masked, NULL},
    {"kept mean, nothing kept", 5, build_kept_mean_dropped, NULL},
    {"select", 9, build_select, verify_select},
    {"select, first stage", 9, build_select_first, verify_select},
    {"class token", 4, build_class_token, NULL},
    {"cross-entropy", 2, build_cross_entropy, NULL},
    {"distillation", 2, build_distill, NULL},
    {"ratio loss", 7, build_ratio, NULL},
    {"ratio loss of the batch", 7, build_ratio_batch, NULL},
    {"token loss", 4, build_token_all, NULL},
    {"token loss, masked", 4, build_token_kept, NULL},
    {"token loss, nothing kept", 4, build_token_dropped, verify_token_dropped},
};

static void gradients_are_differences(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int variant = 0; variant < CHECK_VARIANTS; variant++)
            check_case_run(&cases[i], (enum check_variant)variant);
}

/* --- inference -----------------------------------------------------------------------------------
 */

/* An inference graph run by a team that splits the rows of its images, or by one member. */
struct walk {
    struct dvit_graph *graph;
    struct dvit_builder builder;
    struct dvit_error error;
    struct dvit_kernels kernels;
    struct dvit_products products;
    struct dvit_forward forward;
    struct dvit_threads *threads;
    struct dvit_forward_job job;
    atomic_int failure;
};

static void walk_open(struct walk *w, int patches, int stages, const int *kept)
{
    struct dvit_graph_options options = {
        .patches = patches, .prefix = 1, .stages = stages, .kept = kept};
    *w = (struct walk){0};
    dvit_kernels_select(&w->kernels, DVIT_CPU_REFERENCE);
    assert_ok(dvit_graph_create(&w->graph, &options, &w->error), &w->error);
    w->builder = (struct dvit_builder){.graph = w->graph, .error = &w->error};
}

static void walk_member(void *context, int member, int members)
{
    struct walk *w = context;
    (void)members;
    dvit_forward_run(&w->job, member, member);
}

static void walk_plan(struct walk *w, int images, int members)
{
    assert_ok(w->builder.status, &w->error);
    assert_ok(dvit_forward_create(&w->forward, w->graph, &w->kernels, &w->products, images, members,
                                  &w->error),
              &w->error);
    assert_ok(dvit_threads_create(&w->threads, members, NULL, &w->error), &w->error);
    w->job = (struct dvit_forward_job){
        .forward = &w->forward, .images = images, .team = w->threads, .failure = &w->failure};
    dvit_forward_begin(&w->forward, images);
    memset(w->forward.activations, 0xff, w->forward.plan_bytes);
}

static void walk_close(struct walk *w)
{
    dvit_threads_free(w->threads);
    dvit_forward_free(&w->forward);
    dvit_products_free(&w->products);
    dvit_graph_free(w->graph);
}

/* 3 × 2 patches of 4 pixels; a pixel's number says where it is. */
static void patchify_is_exact(void **state)
{
    enum { P = 4, GW = 3, GH = 2, W = P * GW, H = P * GH, IMAGES = 2 };
    float pixels[IMAGES * 3 * H * W];
    (void)state;
    for (int i = 0; i < IMAGES * 3 * H * W; i++)
        pixels[i] = (float)i;
    for (int members = 1; members <= 3; members++) {
        struct walk w;
        walk_open(&w, GW * GH, 0, NULL);
        struct dvit_op op = no_operands;
        op.class = &dvit_op_patchify;
        op.inputs[0] = dvit_build_input(&w.builder, "pixels", DVIT_ROWS_IMAGES, 3 * W * H);
        op.is.patchify.patch = P;
        op.is.patchify.image_width = W;
        op.is.patchify.image_height = H;
        int out = dvit_build_op(&w.builder, "patches", &op);
        walk_plan(&w, IMAGES, members);
        w.forward.values[op.inputs[0]] = pixels;
        dvit_threads_run(w.threads, walk_member, &w);
        const float *got = w.forward.values[out];
        for (int image = 0; image < IMAGES; image++)
            for (int n = 0; n < GW * GH; n++)
                for (int k = 0; k < 3 * P * P; k++) {
                    int channel = k / (P * P), y = n / GW * P + k / P % P, x = n % GW * P + k % P;
                    assert_true(*got++ == (float)(((image * 3 + channel) * H + y) * W + x));
                }
        walk_close(&w);
    }
}

enum { PATCHES = 40, SELECT_IMAGES = 3 };
static const int select_kept[2] = {23, 7};

/* Few distinct scores, so that ties are everywhere; sometimes not numbers at all. */
static void fill_scores(float *scores, size_t count, uint32_t seed)
{
    struct dvit_rng rng = dvit_rng_stream(3, DVIT_RNG_TEST, 0, seed);
    uint32_t levels = 1 + seed % 9;
    for (size_t i = 0; i < count; i++) {
        scores[i] = (float)dvit_rng_below(&rng, levels);
        if (seed % 3 == 2 && dvit_rng_below(&rng, 6) == 0)
            scores[i] = dvit_rng_below(&rng, 2) ? NAN : INFINITY;
    }
}

/* The definition: `kept` times, the first of the largest margins; then in ascending order. */
static void choose_slowly(int *places, const float *scores, int patches, int kept)
{
    bool taken[PATCHES] = {false};
    for (int k = 0; k < kept; k++) {
        int best = -1;
        double best_margin = 0;
        for (int n = 0; n < patches; n++) {
            double margin = (double)scores[2 * n] - scores[2 * n + 1];
            margin = isnan(margin) ? -INFINITY : margin;
            if (!taken[n] && (best < 0 || margin > best_margin)) {
                best = n;
                best_margin = margin;
            }
        }
        taken[best] = true;
    }
    for (int n = 0, k = 0; n < patches; n++)
        if (taken[n])
            places[k++] = n;
}

/* Tokens hold their own index in the original grid; class tokens hold −1. */
static void expect_selection(const struct walk *w, const int *outputs,
                             float scores[2][SELECT_IMAGES * PATCHES * 2])
{
    for (int image = 0; image < SELECT_IMAGES; image++) {
        int origin[PATCHES], patches = PATCHES;
        for (int n = 0; n < PATCHES; n++)
            origin[n] = n;
        for (int stage = 0; stage < 2; stage++) {
            int places[PATCHES], kept = select_kept[stage];
            choose_slowly(places, scores[stage] + image * patches * 2, patches, kept);
            const float *rows = w->forward.values[outputs[stage]] + image * (kept + 1) * 2;
            assert_true(rows[0] == -1.0f && rows[1] == (float)image);
            for (int i = 0; i < kept; i++) {
                origin[i] = origin[places[i]];
                assert_int_equal(w->forward.kept[stage][image * kept + i], origin[i]);
                assert_true(rows[2 * (i + 1)] == (float)origin[i]);
                assert_true(rows[2 * (i + 1) + 1] == (float)image);
            }
            patches = kept;
        }
    }
}

static void selection_is_the_definitions(void **state)
{
    static float scores[2][SELECT_IMAGES * PATCHES * 2], tokens[SELECT_IMAGES * (PATCHES + 1) * 2];
    (void)state;
    for (int i = 0; i < SELECT_IMAGES * (PATCHES + 1); i++) {
        tokens[2 * i] = (float)(i % (PATCHES + 1) - 1);
        tokens[2 * i + 1] = (float)(i / (PATCHES + 1));
    }
    for (uint32_t seed = 0; seed < 300; seed++) {
        struct walk w;
        int inputs[2], outputs[2];
        walk_open(&w, PATCHES, 2, select_kept);
        int x = dvit_build_input(&w.builder, "tokens", DVIT_ROWS_TOKENS, 2), first = x;
        for (int stage = 0; stage < 2; stage++) {
            struct dvit_op op = no_operands;
            op.class = &dvit_op_select;
            inputs[stage] = dvit_build_input(&w.builder, "scores", DVIT_ROWS_PATCHES, 2);
            w.graph->values[inputs[stage]].stage = stage;
            op.inputs[0] = inputs[stage];
            op.inputs[3] = x;
            x = outputs[stage] = dvit_build_op(&w.builder, "select", &op);
            dvit_build_keep(&w.builder, x);
            fill_scores(scores[stage], sizeof scores[stage] / sizeof(float),
                        2 * seed + (uint32_t)stage);
        }
        walk_plan(&w, SELECT_IMAGES, 1 + (int)(seed % 3));
        w.forward.values[first] = tokens;
        w.forward.values[inputs[0]] = scores[0];
        w.forward.values[inputs[1]] = scores[1];
        dvit_threads_run(w.threads, walk_member, &w);
        expect_selection(&w, outputs, scores);
        walk_close(&w);
    }
}

/* --- shapes that do not fit
 * ----------------------------------------------------------------------- */

static void refuse(const struct dvit_op *op, enum dvit_status code, const char *part)
{
    struct walk w;
    walk_open(&w, 4, 0, NULL);
    w.graph->training = true;
    int tokens = dvit_build_input(&w.builder, "tokens", DVIT_ROWS_TOKENS, 9);
    int patches = dvit_build_input(&w.builder, "patches", DVIT_ROWS_PATCHES, 9);
    int images = dvit_build_input(&w.builder, "images", DVIT_ROWS_IMAGES, 9);
    assert_true(tokens == 0 && patches == 1 && images == 2);
    dvit_build_op(&w.builder, "the operator", op);
    if (w.builder.status != code || w.error.status != code || !strstr(w.error.message, part))
        fail_msg("%s (%s), expected %s and \"%s\"", w.error.message,
                 dvit_status_name(w.builder.status), dvit_status_name(code), part);
    /* What follows a failure is passed over, and the first message stays. */
    assert_int_equal(dvit_build_op(&w.builder, "another", op), DVIT_NONE);
    assert_int_equal(dvit_build_input(&w.builder, "input", DVIT_ROWS_IMAGES, 1), DVIT_NONE);
    dvit_graph_free(w.graph);
}

static void shapes_that_do_not_fit_are_refused(void **state)
{
    enum { TOKENS, OF_PATCHES, IMAGES };
    (void)state;
    const struct {
        const struct dvit_op_class *class;
        int inputs[4];
        enum dvit_status code;
        const char *part;
    } bad[] = {
        {&dvit_op_embed, {TOKENS, -1, -1, -1}, DVIT_ERROR_MISMATCH, "the operator"},
        {&dvit_op_patch_norm, {IMAGES, -1, -1, -1}, DVIT_ERROR_MISMATCH, "tokens"},
        {&dvit_op_attention, {TOKENS, -1, -1, -1}, DVIT_ERROR_MISMATCH, "width 9 is not 3 × 2"},
        {&dvit_op_attention, {OF_PATCHES, -1, -1, -1}, DVIT_ERROR_MISMATCH, "patches"},
        {&dvit_op_kept_mean, {OF_PATCHES, -1, -1, -1}, DVIT_ERROR_MISMATCH, "width 9 is odd"},
        {&dvit_op_select, {OF_PATCHES, -1, OF_PATCHES, -1}, DVIT_ERROR_MISMATCH, "2"},
        {&dvit_op_class_token, {IMAGES, -1, -1, -1}, DVIT_ERROR_MISMATCH, "tokens"},
        {&dvit_op_loss_ratio, {TOKENS, -1, -1, -1}, DVIT_ERROR_MISMATCH, "the operator"},
        {&dvit_op_loss_token, {TOKENS, OF_PATCHES, -1, -1}, DVIT_ERROR_MISMATCH, "patches"},
        {&dvit_op_loss_distill, {IMAGES, TOKENS, -1, -1}, DVIT_ERROR_MISMATCH, "images"},
        {&dvit_op_loss_cross_entropy, {TOKENS, IMAGES, -1, -1}, DVIT_ERROR_MISMATCH, "images"},
        {&dvit_op_patchify, {IMAGES, -1, -1, -1}, DVIT_ERROR_MISMATCH, "the operator"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dvit_op op = no_operands;
        op.class = bad[i].class;
        memcpy(op.inputs, bad[i].inputs, sizeof op.inputs);
        if (op.class == &dvit_op_attention)
            op.is.attention.heads = 2;
        if (op.class == &dvit_op_patchify)
            op.is.patchify.patch = op.is.patchify.image_width = op.is.patchify.image_height = 2;
        refuse(&op, bad[i].code, bad[i].part);
    }
    struct dvit_op linear = no_operands;
    linear.class = &dvit_op_linear;
    linear.inputs[0] = linear.inputs[1] = TOKENS;
    linear.is.linear.outputs = 9;
    linear.is.linear.gelu = true;
    refuse(&linear, DVIT_ERROR_UNSUPPORTED, "GELU and residual");
    linear.is.linear.gelu = false;
    linear.is.linear.outputs = 8;
    refuse(&linear, DVIT_ERROR_MISMATCH, "8");
    linear.inputs[1] = DVIT_NONE;
    linear.inputs[2] = IMAGES;
    refuse(&linear, DVIT_ERROR_UNSUPPORTED, "needs a residual");
}

static void shares_cover_everything_once(void **state)
{
    (void)state;
    for (size_t total = 0; total < 40; total++)
        for (int parts = 1; parts < 12; parts++) {
            size_t next = 0, widest = (total + (size_t)parts - 1) / (size_t)parts;
            for (int i = 0; i < parts; i++) {
                struct dvit_span share = dvit_span_share(total, i, parts);
                size_t width = share.last - share.first;
                assert_int_equal(share.first, next);
                assert_true(width <= widest && width + 1 >= total / (size_t)parts);
                next = share.last;
            }
            assert_int_equal(next, total);
        }
    assert_int_equal(dvit_chunk_count(0), 0);
    assert_int_equal(dvit_chunk_count(DVIT_CHUNK_ROWS), 1);
    assert_int_equal(dvit_chunk_count(DVIT_CHUNK_ROWS + 1), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_differences),
        cmocka_unit_test(patchify_is_exact),
        cmocka_unit_test(selection_is_the_definitions),
        cmocka_unit_test(shapes_that_do_not_fit_are_refused),
        cmocka_unit_test(shares_cover_everything_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
