/* Multi-head self-attention within each image: qkv [T][3C] → [T][C]. In inference the plain
 * softmax; in training the masked one, in which a dropped token gives nothing to others and still
 * attends to the kept tokens and itself (kernels.h has the formulas).
 *
 * inputs: 0 qkv, 1 policy [T][1] or NONE (all kept). outputs: 0 out. */
#include "ops/op.h"

#include <math.h>
#include <string.h>

enum { QKV, POLICY };

static enum dvit_status attention_shape(struct dvit_graph *graph, struct dvit_op *op,
                                        struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_value qkv = graph->values[op->inputs[QKV]];
    size_t heads = (size_t)op->is.attention.heads;
    DVIT_TRY(dvit_graph_expect(graph, op, QKV, DVIT_ROWS_TOKENS, 0, error));
    if (op->inputs[POLICY] != DVIT_NONE)
        DVIT_TRY(dvit_graph_expect(graph, op, POLICY, DVIT_ROWS_TOKENS, 1, error));
    if (qkv.width % (3 * heads) != 0)
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH, "attention \"%s\": width %zu is not 3 × %zu heads",
                  op->name, qkv.width, heads);
    DVIT_TRY(dvit_graph_output(graph, op, 0, DVIT_ROWS_TOKENS, qkv.stage, qkv.width / 3, error));
done:
    return status;
}

static struct dvit_attention_shape shape_of(const struct dvit_graph *graph,
                                            const struct dvit_op *op, int tokens)
{
    int heads = op->is.attention.heads;
    int head_dim = (int)graph->values[op->outputs[0]].width / heads;
    return (struct dvit_attention_shape){
        .tokens = tokens,
        .heads = heads,
        .head_dim = head_dim,
        .scale = 1.0f / sqrtf((float)head_dim),
        .lead_cap = op->is.attention.lead_cap,
    };
}

static void forward_masked(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *out = &run->graph->values[op->outputs[0]];
    const float *qkv = dvit_run_value(run, op->inputs[QKV]);
    const float *policy = dvit_run_value(run, op->inputs[POLICY]);
    float *y = dvit_run_value(run, op->outputs[0]);
    struct dvit_span own = dvit_run_rows(run, DVIT_ROWS_TOKENS, out->stage);

    for (int image = 0; image < run->images; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, out->stage, image);
        size_t first = rows.first > own.first ? rows.first : own.first;
        size_t last = rows.last < own.last ? rows.last : own.last;
        if (first >= last)
            continue;
        struct dvit_attention_shape shape = shape_of(run->graph, op, (int)(rows.last - rows.first));
        run->kernels->attention_masked(
            y + rows.first * out->width, qkv + rows.first * 3 * out->width,
            policy ? policy + rows.first : NULL, (int)(first - rows.first),
            (int)(last - rows.first), &shape, run->scratch);
    }
}

/* This member's queries of one image and head, counted over all heads of all images, one head's
 * after those of another: where members share images, each so packs keys of the fewest heads. */
static struct dvit_span own_queries(const struct dvit_op *op, const struct dvit_run *run,
                                    struct dvit_span rows, size_t head)
{
    int stage = run->graph->values[op->outputs[0]].stage;
    size_t heads = (size_t)op->is.attention.heads, queries = rows.last - rows.first;
    struct dvit_span own = dvit_run_rows(run, DVIT_ROWS_TOKENS, stage);
    own.first *= heads;
    own.last *= heads;
    if (run->by_rows)
        own = dvit_span_share(heads * dvit_run_total_rows(run, DVIT_ROWS_TOKENS, stage),
                              run->member, run->members);
    size_t begin = rows.first * heads + head * queries, end = begin + queries;
    size_t first = own.first > begin ? own.first : begin, last = own.last < end ? own.last : end;
    return first < last ? (struct dvit_span){first - begin, last - begin}
                        : (struct dvit_span){0, 0};
}

static void forward_plain(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *out = &run->graph->values[op->outputs[0]];
    size_t width = out->width, stride = 3 * width;
    for (int image = 0; image < run->images; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, out->stage, image);
        struct dvit_attention_shape shape = shape_of(run->graph, op, (int)(rows.last - rows.first));
        const float *qkv = dvit_run_value(run, op->inputs[QKV]) + rows.first * stride;
        float *y = dvit_run_value(run, op->outputs[0]) + rows.first * width;
        shape.heads = 1;
        for (size_t h = 0; h < (size_t)op->is.attention.heads; h++) {
            struct dvit_span own = own_queries(op, run, rows, h);
            const float *q = qkv + h * (size_t)shape.head_dim;
            if (own.first == own.last)
                continue;
            (run->graph->bf16 ? run->kernels->attention_bf16 : run->kernels->attention)(
                y + own.first * width + h * (size_t)shape.head_dim, width, q + own.first * stride,
                stride, q + width, q + 2 * width, stride, own.last - own.first, &shape,
                run->scratch);
        }
    }
}

static void attention_forward(const struct dvit_op *op, struct dvit_run *run)
{
    if (op->is.attention.masked)
        forward_masked(op, run);
    else
        forward_plain(op, run);
}

/* The kernel overwrites dqkv. Where that must be added to, or no one wants it (only the policy has
 * a gradient), it writes to scratch instead. */
static bool writes_in_place(const struct dvit_graph *graph, const struct dvit_op *op)
{
    return graph->values[op->inputs[QKV]].gradient && !dvit_op_accumulates(op, QKV);
}

static size_t kernel_scratch_floats(const struct dvit_attention_shape *shape,
                                    const struct dvit_kernels *kernels)
{
    return (kernels->attention_scratch(shape) + 15) / 16 * 16; /* what follows stays aligned */
}

static void attention_backward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *out = &run->graph->values[op->outputs[0]];
    float *dqkv = dvit_run_gradient(run, op->inputs[QKV]);
    bool in_place = writes_in_place(run->graph, op);
    float *dpolicy = dvit_run_gradient(run, op->inputs[POLICY]);
    const float *policy = dvit_run_value(run, op->inputs[POLICY]);
    struct dvit_span images = dvit_run_images(run);

    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, out->stage, (int)image);
        size_t tokens = rows.last - rows.first, offset = rows.first * out->width;
        struct dvit_attention_shape shape = shape_of(run->graph, op, (int)tokens);
        float *aside = (float *)run->scratch + kernel_scratch_floats(&shape, run->kernels);
        if (dpolicy && !dvit_op_accumulates(op, POLICY))
            memset(dpolicy + rows.first, 0, tokens * sizeof *dpolicy);
        run->kernels->attention_masked_backward(
            in_place ? dqkv + 3 * offset : aside, dpolicy ? dpolicy + rows.first : NULL,
            dvit_run_gradient(run, op->outputs[0]) + offset,
            dvit_run_value(run, op->outputs[0]) + offset,
            dvit_run_value(run, op->inputs[QKV]) + 3 * offset, policy ? policy + rows.first : NULL,
            &shape, run->scratch);
        if (dqkv && !in_place)
            run->kernels->add_scaled(dqkv + 3 * offset, dqkv + 3 * offset, aside, 1.0f,
                                     3 * tokens * out->width);
    }
}

static size_t attention_scratch_bytes(const struct dvit_graph *graph, const struct dvit_op *op,
                                      const struct dvit_kernels *kernels)
{
    struct dvit_attention_shape shape = shape_of(graph, op, graph->patches + graph->prefix);
    size_t aside = 0;
    if (graph->training && !writes_in_place(graph, op))
        aside = 3 * (size_t)shape.tokens * graph->values[op->outputs[0]].width;
    return (kernel_scratch_floats(&shape, kernels) + aside) * sizeof(float);
}

/* Scores and weighted sums: 2·T²·C. */
static double attention_macs(const struct dvit_graph *graph, const struct dvit_op *op)
{
    double tokens = (double)dvit_graph_rows(graph, op->outputs[0]);
    return 2.0 * tokens * tokens * (double)graph->values[op->outputs[0]].width;
}

const struct dvit_op_class dvit_op_attention = {
    .kind = "attention",
    .crosses_rows = true,
    .shape = attention_shape,
    .forward = attention_forward,
    .backward = attention_backward,
    .scratch_bytes = attention_scratch_bytes,
    .macs = attention_macs,
    .passes_gradient = DVIT_NONE,
};
