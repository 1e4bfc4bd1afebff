/* Linear: one of
 *     y = x·Wᵀ + b,   y = gelu(x·Wᵀ + b),   y = residual + factor·scale_image·(x·Wᵀ + b),
 * where the factor is the model's own (LV-ViT: 1/2) and the branch scale is drop path's, each 1 if
 * not given.
 * Rows are worked on in chunks, so that what follows the product finds them in cache. In inference
 * the product itself does what follows; in training the operator, which needs what is between.
 *
 * inputs: 0 x, 1 residual or NONE, 2 branch scale [images][1] or NONE (training only).
 * outputs: 0 y; 1 with GELU in training: the value before it; with a factor or branch scale in
 * training: the gradient of the branch. parameters: 0 weight [outputs][inputs], 1 bias [outputs],
 * of which the operator's channels may be a range.
 */
#include "ops/share.h"

#include <string.h>

enum { X, RESIDUAL, SCALE };

/* Rows whose rounded copies a weight gradient takes at a time: they stay in the second-level cache.
 */
enum { ROUNDED_CHUNK_ROWS = 512 };

static float factor_of(const struct dvit_op *op)
{
    return op->is.linear.factor == 0.0f ? 1.0f : op->is.linear.factor;
}

/* A parameter of `width` floats per channel, or its gradient, from the operator's first channel on.
 */
static float *own_channels(const struct dvit_op *op, const float *parameter, size_t width)
{
    return parameter ? (float *)parameter + op->is.linear.first * width : NULL;
}

/* Whether the branch's gradient differs from the output's. */
static bool is_scaled(const struct dvit_op *op)
{
    return op->inputs[SCALE] != DVIT_NONE || factor_of(op) != 1.0f;
}

static enum dvit_status linear_shape(struct dvit_graph *graph, struct dvit_op *op,
                                     struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_value x = graph->values[op->inputs[X]];
    size_t width = op->is.linear.outputs;
    if (op->is.linear.gelu && op->inputs[RESIDUAL] != DVIT_NONE)
        DVIT_FAIL(error, DVIT_ERROR_UNSUPPORTED, "linear \"%s\": GELU and residual together",
                  op->name);
    if (is_scaled(op) && op->inputs[RESIDUAL] == DVIT_NONE)
        DVIT_FAIL(error, DVIT_ERROR_UNSUPPORTED, "linear \"%s\": a branch scale needs a residual",
                  op->name);
    if (op->inputs[RESIDUAL] != DVIT_NONE)
        DVIT_TRY(dvit_graph_expect(graph, op, RESIDUAL, x.rows, width, error));
    if (op->inputs[SCALE] != DVIT_NONE)
        DVIT_TRY(dvit_graph_expect(graph, op, SCALE, DVIT_ROWS_IMAGES, 1, error));
    DVIT_TRY(dvit_graph_output(graph, op, 0, x.rows, x.stage, width, error));
    if (graph->training && (op->is.linear.gelu || is_scaled(op)))
        DVIT_TRY(dvit_graph_output(graph, op, 1, x.rows, x.stage, width, error));
    if (op->outputs[1] != DVIT_NONE)
        graph->values[op->outputs[1]].gradient_only = !op->is.linear.gelu;
    graph->values[op->outputs[0]].remade = graph->training && op->is.linear.gelu;
done:
    return status;
}

/* y = residual + s·branch, or s·branch without a residual, where s is the factor times each image's
 * own scale. */
static void scale_rows(const struct dvit_op *op, const struct dvit_run *run, float *y,
                       const float *residual, const float *branch, struct dvit_span rows)
{
    const struct dvit_value *value = &run->graph->values[op->outputs[0]];
    const float *scale = dvit_run_value(run, op->inputs[SCALE]);
    size_t width = value->width;
    for (int image = 0; image < run->images; image++) {
        struct dvit_span own = dvit_run_image_rows(run, value->rows, value->stage, image);
        size_t first = own.first > rows.first ? own.first : rows.first;
        size_t last = own.last < rows.last ? own.last : rows.last;
        if (first >= last)
            continue; /* another member may still be writing this image's scale */
        float s = factor_of(op) * (scale ? scale[image] : 1.0f);
        if (residual)
            run->kernels->add_scaled(y + first * width, residual + first * width,
                                     branch + first * width, s, (last - first) * width);
        else
            for (size_t i = first * width; i < last * width; i++)
                y[i] = s * branch[i];
    }
}

static void epilogue(const struct dvit_op *op, struct dvit_run *run, float *y,
                     struct dvit_span rows)
{
    size_t width = op->is.linear.outputs, offset = rows.first * width;
    size_t count = (rows.last - rows.first) * width;
    const float *residual = dvit_run_value(run, op->inputs[RESIDUAL]);
    float *before = dvit_run_value(run, op->outputs[1]);
    if (op->is.linear.gelu)
        run->kernels->gelu(y + offset, (before ? before : y) + offset, count);
    if (residual && op->inputs[SCALE] != DVIT_NONE)
        scale_rows(op, run, y, residual, y, rows);
    else if (residual)
        run->kernels->add_scaled(y + offset, residual + offset, y + offset, factor_of(op), count);
}

static bool may_split_columns(const struct dvit_op *op, const struct dvit_run *run)
{
    return run->by_rows && dvit_matmul_takes_ranges(op->product.forward);
}

static struct dvit_cut cut_of(const struct dvit_op *op, const struct dvit_run *run)
{
    const struct dvit_value *y = &run->graph->values[op->outputs[0]];
    size_t rows = dvit_run_total_rows(run, y->rows, y->stage);
    size_t inputs = dvit_op_input(run->graph, op, X)->width;
    return dvit_cut_product(rows, op->is.linear.outputs, inputs, run->members);
}

static bool linear_splits_columns(const struct dvit_op *op, const struct dvit_run *run)
{
    return may_split_columns(op, run) && cut_of(op, run).columns > 1;
}

/* This member's rows and outputs. */
static struct dvit_share own_share(const struct dvit_op *op, const struct dvit_run *run)
{
    const struct dvit_value *y = &run->graph->values[op->outputs[0]];
    size_t outputs = op->is.linear.outputs;
    if (!may_split_columns(op, run))
        return (struct dvit_share){dvit_run_rows(run, y->rows, y->stage), {0, outputs}};
    return dvit_cut_share(cut_of(op, run), dvit_run_total_rows(run, y->rows, y->stage), outputs,
                          run->member);
}

static void linear_forward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *value = &run->graph->values[op->outputs[0]];
    size_t inputs = dvit_op_input(run->graph, op, X)->width;
    int product =
        op->is.linear.gelu && op->outputs[1] != DVIT_NONE ? op->outputs[1] : op->outputs[0];
    float *weight = own_channels(op, dvit_run_parameter(run, op, 0), inputs); /* only read */
    const struct dvit_share share = own_share(op, run);
    const struct dvit_span own = share.rows;
    int chunks = dvit_chunk_count(own.last - own.first, op->product.chunk_rows);

    for (int i = 0; i < chunks; i++) {
        struct dvit_span rows = dvit_span_share(own.last - own.first, i, chunks);
        rows.first += own.first;
        rows.last += own.first;
        const struct dvit_matmul_operands operands = {
            .x = dvit_run_row(run, op->inputs[X], rows.first),
            .y = dvit_run_row(run, product, rows.first),
            .weight = weight,
            .packed = op->product.packed,
            .bias = own_channels(op, dvit_run_parameter(run, op, 1), 1),
            .residual = dvit_run_row(run, op->inputs[RESIDUAL], rows.first),
            .x_bytes = op->is.linear.input,
            .y_bytes = value->format.bytes,
            .scratch = run->scratch,
            .first_output = share.outputs.first,
            .outputs = share.outputs.last - share.outputs.first};
        dvit_run_note(run, dvit_matmul_run(op->product.forward, run->product_member,
                                           rows.last - rows.first, &operands));
        if (run->graph->training)
            epilogue(op, run, dvit_run_value(run, op->outputs[0]), rows);
    }
}

/* GELU's output from its input: cheaper to compute than to keep. */
static void linear_remake(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *value = &run->graph->values[op->outputs[0]];
    struct dvit_span rows = dvit_run_rows(run, value->rows, value->stage);
    size_t offset = rows.first * value->width;
    run->kernels->gelu(dvit_run_value(run, op->outputs[0]) + offset,
                       dvit_run_value(run, op->outputs[1]) + offset,
                       (rows.last - rows.first) * value->width);
}

/* The gradient of the product's output: of y itself, scaled for drop path, through GELU in place.
 */
static float *product_gradient(const struct dvit_op *op, const struct dvit_run *run)
{
    return dvit_run_gradient(run, op->outputs[is_scaled(op) ? 1 : 0]);
}

static void linear_backward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *value = &run->graph->values[op->outputs[0]];
    size_t inputs = dvit_op_input(run->graph, op, X)->width, outputs = op->is.linear.outputs;
    struct dvit_span rows = dvit_run_rows(run, value->rows, value->stage);
    size_t count = rows.last - rows.first, offset = rows.first * outputs;
    float *dy = dvit_run_gradient(run, op->outputs[0]);
    float *dproduct = product_gradient(op, run);
    float *dresidual = dvit_run_gradient(run, op->inputs[RESIDUAL]);
    float *dx = dvit_run_gradient(run, op->inputs[X]);

    if (dproduct != dy)
        scale_rows(op, run, dproduct, NULL, dy, rows);
    if (op->is.linear.gelu)
        run->kernels->gelu_backward(dproduct + offset, dproduct + offset,
                                    dvit_run_value(run, op->outputs[1]) + offset, count * outputs);
    float *weight = own_channels(op, dvit_run_parameter(run, op, 0), inputs); /* only read */
    const void *packed = run->graph->bf16 ? op->product.packed : NULL;
    int chunks = dx ? dvit_chunk_count(count, op->product.chunk_rows) : 0;
    for (int i = 0; i < chunks; i++) {
        struct dvit_span part = dvit_span_share(count, i, chunks);
        size_t first = rows.first + part.first;
        const struct dvit_matmul_operands operands = {.x = dx + first * inputs,
                                                      .y = dproduct + first * outputs,
                                                      .weight = weight,
                                                      .packed = packed,
                                                      .scratch = run->scratch};
        dvit_run_note(run, dvit_matmul_run(op->product.data, run->product_member,
                                           part.last - part.first, &operands));
    }
    if (dresidual && dresidual != dy) { /* not passed on in place; after dx: it may be the same */
        if (dvit_op_accumulates(op, RESIDUAL))
            run->kernels->add_scaled(dresidual + offset, dresidual + offset, dy + offset, 1.0f,
                                     count * outputs);
        else
            memcpy(dresidual + offset, dy + offset, count * outputs * sizeof *dy);
    }
}

static void linear_backward_parameters(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *value = &run->graph->values[op->outputs[0]];
    size_t inputs = dvit_op_input(run->graph, op, X)->width, outputs = op->is.linear.outputs;
    size_t rows = dvit_run_total_rows(run, value->rows, value->stage);
    struct dvit_span channels = dvit_span_share(outputs, run->member, run->members);
    float *dproduct = product_gradient(op, run);
    float *dweight = own_channels(op, dvit_run_parameter_gradient(run, op, 0), inputs);
    float *dbias = own_channels(op, dvit_run_parameter_gradient(run, op, 1), 1);
    if (channels.first == channels.last)
        return;
    bool smaller = channels.last - channels.first <
                   (outputs + (size_t)run->members - 1) / (size_t)run->members;
    int chunks = dvit_chunk_count(rows, op->product.weight_chunk_rows);
    for (int i = 0; i < chunks; i++) {
        struct dvit_span part = dvit_span_share(rows, i, chunks);
        const struct dvit_matmul_operands operands = {
            .x = dvit_run_value(run, op->inputs[X]) + part.first * inputs,
            .y = dproduct + part.first * outputs + channels.first,
            .weight = dweight + channels.first * inputs,
            .scratch = run->scratch};
        dvit_run_note(run, dvit_matmul_run(op->product.weight[smaller], run->product_member,
                                           part.last - part.first, &operands));
    }
    if (dbias)
        run->kernels->column_sums(dbias, dproduct, rows, outputs, channels.first, channels.last);
}

static void linear_products(const struct dvit_graph *graph, const struct dvit_op *op, int members,
                            struct dvit_op_products *out)
{
    const struct dvit_value *x = dvit_op_input(graph, op, X);
    size_t outputs = op->is.linear.outputs, count = (size_t)members;
    size_t share[2] = {(outputs + count - 1) / count, outputs / count};
    struct dvit_matmul_shape shape = {.outputs = outputs,
                                      .inputs = x->width,
                                      .x_stride = x->width,
                                      .y_stride = outputs,
                                      .bf16 = graph->bf16};
    *out =
        (struct dvit_op_products){.forward = shape,
                                  .data = shape,
                                  .weight = {shape, shape},
                                  .first_output = op->is.linear.first,
                                  .has_data = x->gradient,
                                  .chunk_rows = DVIT_CHUNK_ROWS,
                                  .weight_chunk_rows = graph->bf16 ? ROUNDED_CHUNK_ROWS : SIZE_MAX};
    out->forward.kind = DVIT_MATMUL_FORWARD;
    out->forward.bias = op->parameters[1] != DVIT_NONE;
    if (!graph->training) {
        out->forward.constant = true;
        out->forward.int8 = op->is.linear.input.scale != 0.0f;
        out->forward.bf16 = graph->bf16 && !out->forward.int8;
        out->forward.gelu = op->is.linear.gelu;
        out->forward.residual = op->inputs[RESIDUAL] != DVIT_NONE;
        out->forward.factor = op->is.linear.factor;
        out->forward.x_number = x->format.number;
        out->forward.y_number = graph->values[op->outputs[0]].format.number;
    }
    out->data.kind = DVIT_MATMUL_DATA;
    out->data.accumulate = dvit_op_accumulates(op, X);
    for (int i = 0; i < 2; i++) { /* fewer channels than members: some have none */
        out->weight[i].kind = DVIT_MATMUL_WEIGHT;
        out->weight[i].outputs = share[i];
        out->has_weight[i] = graph->training && dvit_op_trains(graph, op, 0) && share[i] > 0;
    }
}

/* What the product rounds x to, where rows of that are whole words. */
static struct dvit_format linear_reads(const struct dvit_graph *graph, const struct dvit_op *op,
                                       int slot)
{
    struct dvit_format format = {0};
    if (slot == X && op->is.linear.input.scale != 0.0f)
        format = (struct dvit_format){DVIT_NUMBER_U8, op->is.linear.input};
    else if (slot == X && graph->bf16)
        format.number = DVIT_NUMBER_BF16;
    size_t row_bytes = dvit_op_input(graph, op, X)->width * dvit_number_bytes(format.number);
    return row_bytes % sizeof(float) == 0 ? format : (struct dvit_format){0};
}

static bool linear_writes_formats(const struct dvit_graph *graph, const struct dvit_op *op)
{
    (void)graph;
    return op->inputs[RESIDUAL] == DVIT_NONE;
}

static double linear_macs(const struct dvit_graph *graph, const struct dvit_op *op)
{
    return (double)dvit_graph_rows(graph, op->outputs[0]) *
           (double)dvit_op_input(graph, op, X)->width * (double)op->is.linear.outputs;
}

const struct dvit_op_class dvit_op_linear = {
    .kind = "linear",
    .shape = linear_shape,
    .forward = linear_forward,
    .remake = linear_remake,
    .backward = linear_backward,
    .backward_parameters = linear_backward_parameters,
    .splits_columns = linear_splits_columns,
    .products = linear_products,
    .reads = linear_reads,
    .writes_formats = linear_writes_formats,
    .macs = linear_macs,
    .passes_gradient = RESIDUAL,
};
