/* Class scores: how much the class token attends to each patch, the mean over the heads of
 * softmax(q_class·k_n/√d), as EViT ranks patches (Liang et al. 2022). The score for staying is its
 * logarithm, which has the same order; that for dropping is 0.
 *
 * Dropped tokens take no part, as in attention. A ranking has no gradient, so none flows from the
 * scores to q and k. What is not a number counts as no attention.
 *
 * inputs: 0 qkv [T][3C], 1 policy [T][1] or NONE (all kept). outputs: 0 scores [N][2]. */
#include "ops/op.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { QKV, POLICY };

static enum dvit_status class_scores_shape(struct dvit_graph *graph, struct dvit_op *op,
                                           struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_value qkv = graph->values[op->inputs[QKV]];
    size_t heads = (size_t)op->is.attention.heads;
    DVIT_TRY(dvit_graph_expect(graph, op, QKV, DVIT_ROWS_TOKENS, 0, error));
    if (op->inputs[POLICY] != DVIT_NONE)
        DVIT_TRY(dvit_graph_expect(graph, op, POLICY, DVIT_ROWS_TOKENS, 1, error));
    if (qkv.width % (3 * heads) != 0)
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH, "class scores \"%s\": width %zu is not 3 × %zu heads",
                  op->name, qkv.width, heads);
    DVIT_TRY(dvit_graph_output(graph, op, 0, DVIT_ROWS_PATCHES, qkv.stage, 2, error));
done:
    return status;
}

static double dot(const float *a, const float *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

/* Adds one head's softmax over the tokens that are kept to mean [tokens]. */
static void add_head(float *mean, float *logits, const float *qkv, const float *policy,
                     size_t tokens, size_t width, size_t head_dim, size_t heads)
{
    float high = -FLT_MAX;
    double sum = 0, scale = 1 / sqrt((double)head_dim);
    for (size_t i = 0; i < tokens; i++) {
        double logit = scale * dot(qkv, qkv + i * 3 * width + width, head_dim);
        logits[i] = (float)fmax(-FLT_MAX, fmin(FLT_MAX, logit)); /* NaN: the lowest */
        bool takes_part = !policy || policy[i] > 0;
        high = takes_part && logits[i] > high ? logits[i] : high;
    }
    for (size_t i = 0; i < tokens; i++) {
        bool takes_part = !policy || policy[i] > 0;
        logits[i] = takes_part ? expf(logits[i] - high) : 0.0f;
        sum += logits[i];
    }
    for (size_t i = 0; i < tokens; i++)
        mean[i] += (float)(logits[i] / (sum * (double)heads));
}

static void class_scores_forward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *qkv = dvit_op_input(run->graph, op, QKV);
    size_t heads = (size_t)op->is.attention.heads, width = qkv->width / 3;
    size_t head_dim = width / heads, prefix = (size_t)run->graph->prefix;
    float *scores = dvit_run_value(run, op->outputs[0]);
    const float *rows = dvit_run_value(run, op->inputs[QKV]);
    const float *policy = dvit_run_value(run, op->inputs[POLICY]);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span own = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, qkv->stage, (int)image);
        struct dvit_span patches =
            dvit_run_image_rows(run, DVIT_ROWS_PATCHES, qkv->stage, (int)image);
        size_t tokens = own.last - own.first;
        float *mean = run->scratch, *logits = mean + tokens;
        memset(mean, 0, tokens * sizeof *mean);
        for (size_t h = 0; h < heads; h++)
            add_head(mean, logits, rows + own.first * qkv->width + h * head_dim,
                     policy ? policy + own.first : NULL, tokens, width, head_dim, heads);
        for (size_t n = 0; n < tokens - prefix; n++) {
            scores[2 * (patches.first + n)] = logf(fmaxf(mean[prefix + n], FLT_MIN));
            scores[2 * (patches.first + n) + 1] = 0.0f;
        }
    }
}

static size_t class_scores_scratch_bytes(const struct dvit_graph *graph, const struct dvit_op *op,
                                         const struct dvit_kernels *kernels)
{
    (void)op;
    (void)kernels;
    return 2 * (size_t)(graph->patches + graph->prefix) * sizeof(float);
}

/* The class token's query against every key: T·C. */
static double class_scores_macs(const struct dvit_graph *graph, const struct dvit_op *op)
{
    const struct dvit_value *qkv = dvit_op_input(graph, op, QKV);
    return (double)dvit_graph_rows(graph, op->inputs[QKV]) * (double)qkv->width / 3;
}

const struct dvit_op_class dvit_op_class_scores = {
    .kind = "class scores",
    .crosses_rows = true,
    .shape = class_scores_shape,
    .forward = class_scores_forward,
    .scratch_bytes = class_scores_scratch_bytes,
    .macs = class_scores_macs,
    .passes_gradient = DVIT_NONE,
    .stops_gradient = true,
};
