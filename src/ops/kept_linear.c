/* Kept linear, inference: the layer of a prediction module that mixes, kept mean (kept_mean.c) and
 * linear with GELU in one. Half of what it reads is the same for all patches of an image, their
 * mean, so the product over that half is part of the image's bias:
 *     y = gelu(u_local·W_localᵀ + b_image),   b_image = b + W_global·mean(u_global).
 *
 * inputs: 0 u [N][C]. outputs: 0 y [N][outputs]. parameters: 0 weight [outputs][C], 1 bias. */
#include "ops/op.h"

#include <string.h>

enum {
    LANES = 16,     /* independent partial sums, so that the compiler may take them in vectors */
    AHEAD_ROWS = 6, /* of the weight, which is read once an image and comes from afar */
};

static enum dvit_status kept_linear_shape(struct dvit_graph *graph, struct dvit_op *op,
                                          struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_value u = graph->values[op->inputs[0]];
    DVIT_TRY(
        dvit_graph_expect(graph, op, 0, DVIT_ROWS_PATCHES, 2 * op->is.kept_linear.half, error));
    if (graph->training)
        DVIT_FAIL(error, DVIT_ERROR_UNSUPPORTED, "kept linear \"%s\": only in inference", op->name);
    DVIT_TRY(dvit_graph_output(graph, op, 0, DVIT_ROWS_PATCHES, u.stage, op->is.kept_linear.outputs,
                               error));
done:
    return status;
}

static float dot(const float *a, const float *b, size_t count)
{
    float sum[LANES] = {0}, total = 0;
    size_t n = 0;
    for (; n + LANES <= count; n += LANES)
        for (size_t i = 0; i < LANES; i++)
            sum[i] += a[n + i] * b[n + i];
    for (; n < count; n++)
        total += a[n] * b[n];
    for (size_t i = 0; i < LANES; i++)
        total += sum[i];
    return total;
}

static float dot_sending_ahead(const float *a, const float *b, size_t count, size_t stride)
{
    for (size_t n = 0; n < count; n += 64 / sizeof *a)
        __builtin_prefetch(a + AHEAD_ROWS * stride + n); /* only a hint: may be beyond */
    return dot(a, b, count);
}

/* bias[outputs] of one image; sums: [2·half] of scratch. */
static void image_bias(float *bias, float *sums, const struct dvit_op *op,
                       const struct dvit_run *run, const float *u, struct dvit_span rows)
{
    size_t half = op->is.kept_linear.half;
    const float *weight = dvit_run_parameter(run, op, 0), *own = dvit_run_parameter(run, op, 1);
    float *mean = sums + half, count = (float)(rows.last - rows.first);
    memset(mean, 0, half * sizeof *mean);
    run->kernels->column_sums(sums, u + rows.first * 2 * half, rows.last - rows.first, 2 * half,
                              half, 2 * half);
    for (size_t c = 0; c < half; c++)
        mean[c] /= count;
    for (size_t o = 0; o < op->is.kept_linear.outputs; o++)
        bias[o] = own[o] + dot_sending_ahead(weight + o * 2 * half + half, mean, half, 2 * half);
}

/* A member's scratch: the image's sums and bias, then the product's. */
static size_t own_scratch(const struct dvit_op *op)
{
    size_t floats = 2 * op->is.kept_linear.half + op->is.kept_linear.outputs;
    return (floats + 15) / 16 * 16;
}

static void kept_linear_forward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *y = &run->graph->values[op->outputs[0]];
    const size_t half = op->is.kept_linear.half, outputs = op->is.kept_linear.outputs;
    float *u = dvit_run_value(run, op->inputs[0]), *to = dvit_run_value(run, op->outputs[0]);
    float *sums = run->scratch, *bias = sums + 2 * half;
    struct dvit_span own = dvit_run_rows(run, DVIT_ROWS_PATCHES, y->stage);
    for (int image = 0; image < run->images; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, DVIT_ROWS_PATCHES, y->stage, image);
        size_t first = own.first > rows.first ? own.first : rows.first;
        size_t last = own.last < rows.last ? own.last : rows.last;
        if (first >= last)
            continue;
        image_bias(bias, sums, op, run, u, rows); /* members that share it each: it is cheap */
        const struct dvit_matmul_operands operands = {.x = u + first * 2 * half,
                                                      .y = to + first * outputs,
                                                      .weight = (float *)op->product.weight_folded,
                                                      .packed = op->product.packed,
                                                      .bias = bias,
                                                      .scratch =
                                                          (float *)run->scratch + own_scratch(op)};
        dvit_run_note(run, dvit_matmul_run(op->product.forward, run->product_member, last - first,
                                           &operands));
    }
}

/* The local half; the bias is each image's own. */
static void kept_linear_fold(const struct dvit_op *op, const float *const *parameters,
                             float *weight, float *bias)
{
    size_t half = op->is.kept_linear.half, outputs = op->is.kept_linear.outputs;
    for (size_t o = 0; o < outputs; o++)
        memcpy(weight + o * half, parameters[op->parameters[0]] + o * 2 * half,
               half * sizeof *weight);
    memcpy(bias, parameters[op->parameters[1]], outputs * sizeof *bias);
}

static void kept_linear_products(const struct dvit_graph *graph, const struct dvit_op *op,
                                 int members, struct dvit_op_products *out)
{
    (void)members;
    *out = (struct dvit_op_products){.forward = {.kind = DVIT_MATMUL_FORWARD,
                                                 .outputs = op->is.kept_linear.outputs,
                                                 .inputs = op->is.kept_linear.half,
                                                 .x_stride = 2 * op->is.kept_linear.half,
                                                 .y_stride = op->is.kept_linear.outputs,
                                                 .bias = true,
                                                 .bf16 = graph->bf16,
                                                 .constant = true,
                                                 .gelu = true},
                                     .chunk_rows = SIZE_MAX,
                                     .weight_chunk_rows = SIZE_MAX};
}

static size_t kept_linear_scratch_bytes(const struct dvit_graph *graph, const struct dvit_op *op,
                                        const struct dvit_kernels *kernels)
{
    (void)graph, (void)kernels;
    return own_scratch(op) * sizeof(float) +
           (op->product.forward ? dvit_matmul_scratch_bytes(op->product.forward) : 0);
}

/* The local half for each patch, the global one once. */
static double kept_linear_macs(const struct dvit_graph *graph, const struct dvit_op *op)
{
    return ((double)dvit_graph_rows(graph, op->outputs[0]) + 1.0) *
           (double)op->is.kept_linear.half * (double)op->is.kept_linear.outputs;
}

const struct dvit_op_class dvit_op_kept_linear = {
    .kind = "kept linear",
    .crosses_rows = true,
    .shape = kept_linear_shape,
    .forward = kept_linear_forward,
    .products = kept_linear_products,
    .fold = kept_linear_fold,
    .scratch_bytes = kept_linear_scratch_bytes,
    .macs = kept_linear_macs,
    .passes_gradient = DVIT_NONE,
};
