/* Layer norm over the channels of each row; population variance.
 *
 * As `dvit_op_patch_norm` it drops the prefix tokens on the way: tokens in, patches out (the
 * prediction modules look at patch tokens only).
 *
 * inputs: 0 x. outputs: 0 y, 1 mean, 2 rstd (training only). parameters: 0 weight, 1 bias. */
#include "ops/op.h"

#include <string.h>

static bool drops_prefix(const struct dvit_op *op)
{
    return op->class == &dvit_op_patch_norm;
}

static enum dvit_status layer_norm_shape(struct dvit_graph *graph, struct dvit_op *op,
                                         struct dvit_error *error)
{
    struct dvit_value in = graph->values[op->inputs[0]];
    enum dvit_rows rows = in.rows;
    if (drops_prefix(op)) {
        enum dvit_status status = dvit_graph_expect(graph, op, 0, DVIT_ROWS_TOKENS, 0, error);
        if (status != DVIT_OK)
            return status;
        rows = DVIT_ROWS_PATCHES;
    }
    enum dvit_status status = dvit_graph_output(graph, op, 0, rows, in.stage, in.width, error);
    for (int slot = 1; slot <= 2 && graph->training && status == DVIT_OK; slot++)
        status = dvit_graph_output(graph, op, slot, rows, in.stage, 1, error);
    return status;
}

/* Rows that lie together in the input and in the output. */
struct piece {
    size_t in, out, rows;
};

/* Pieces that this member's rows may lie in: each image's, where the prefix between them is left
 * out; else one. */
static size_t piece_count(const struct dvit_op *op, const struct dvit_run *run)
{
    return drops_prefix(op) ? (size_t)run->images : 1;
}

/* Piece `index` of this member's rows; rows is 0 where it has none there. */
static struct piece piece_of(const struct dvit_op *op, const struct dvit_run *run, size_t index)
{
    const struct dvit_value *y = &run->graph->values[op->outputs[0]];
    struct dvit_span own = dvit_run_rows(run, y->rows, y->stage);
    if (!drops_prefix(op))
        return (struct piece){own.first, own.first, own.last - own.first};
    struct dvit_span out = dvit_run_image_rows(run, DVIT_ROWS_PATCHES, y->stage, (int)index);
    size_t before = (index + 1) * (size_t)run->graph->prefix; /* prefix rows up to this image's */
    size_t first = own.first > out.first ? own.first : out.first;
    size_t last = own.last < out.last ? own.last : out.last;
    return (struct piece){first + before, first, last > first ? last - first : 0};
}

static float *at(float *array, size_t offset)
{
    return array ? array + offset : NULL;
}

/* Rows that are normalised at a time where they are not written as floats: they stay in the
 * first-level cache until they are rounded. */
enum { ROUNDED_ROWS = 8 };

static void forward_rounded(const struct dvit_op *op, struct dvit_run *run, const float *x,
                            struct piece p)
{
    size_t width = run->graph->values[op->outputs[0]].width;
    for (size_t row = 0; row < p.rows; row += ROUNDED_ROWS) {
        size_t rows = p.rows - row < ROUNDED_ROWS ? p.rows - row : ROUNDED_ROWS;
        run->kernels->layer_norm(run->scratch, NULL, NULL, x + (p.in + row) * width,
                                 dvit_run_parameter(run, op, 0), dvit_run_parameter(run, op, 1),
                                 rows, width, op->is.layer_norm.eps);
        dvit_run_store_rows(run, op->outputs[0], p.out + row, run->scratch, rows);
    }
}

static void layer_norm_forward(const struct dvit_op *op, struct dvit_run *run)
{
    size_t width = run->graph->values[op->outputs[0]].width;
    const float *x = dvit_run_value(run, op->inputs[0]);
    float *y = dvit_run_value(run, op->outputs[0]);
    float *mean = dvit_run_value(run, op->outputs[1]);
    float *rstd = dvit_run_value(run, op->outputs[2]);
    bool rounds = run->graph->values[op->outputs[0]].format.number != DVIT_NUMBER_F32;
    for (size_t i = 0; i < piece_count(op, run); i++) {
        struct piece p = piece_of(op, run, i);
        if (!p.rows)
            continue;
        if (rounds) {
            forward_rounded(op, run, x, p);
            continue;
        }
        run->kernels->layer_norm(y + p.out * width, at(mean, p.out), at(rstd, p.out),
                                 x + p.in * width, dvit_run_parameter(run, op, 0),
                                 dvit_run_parameter(run, op, 1), p.rows, width,
                                 op->is.layer_norm.eps);
    }
}

static size_t layer_norm_scratch_bytes(const struct dvit_graph *graph, const struct dvit_op *op,
                                       const struct dvit_kernels *kernels)
{
    const struct dvit_value *y = &graph->values[op->outputs[0]];
    (void)kernels;
    return y->format.number == DVIT_NUMBER_F32 ? 0 : ROUNDED_ROWS * y->width * sizeof(float);
}

static bool layer_norm_writes_formats(const struct dvit_graph *graph, const struct dvit_op *op)
{
    (void)graph, (void)op;
    return true;
}

static void layer_norm_backward(const struct dvit_op *op, struct dvit_run *run)
{
    float *dx = dvit_run_gradient(run, op->inputs[0]);
    if (!dx)
        return;
    size_t width = run->graph->values[op->outputs[0]].width;
    size_t prefix = (size_t)run->graph->prefix;
    bool accumulate = dvit_op_accumulates(op, 0);
    const float *dy = dvit_run_gradient(run, op->outputs[0]);
    const float *x = dvit_run_value(run, op->inputs[0]);
    const float *mean = dvit_run_value(run, op->outputs[1]);
    const float *rstd = dvit_run_value(run, op->outputs[2]);
    for (size_t i = 0; i < piece_count(op, run); i++) {
        struct piece p = piece_of(op, run, i);
        if (!p.rows)
            continue;
        if (drops_prefix(op) && !accumulate)
            memset(dx + (p.in - prefix) * width, 0, prefix * width * sizeof *dx);
        run->kernels->layer_norm_backward_data(
            dx + p.in * width, dy + p.out * width, x + p.in * width, mean + p.out, rstd + p.out,
            dvit_run_parameter(run, op, 0), p.rows, width, accumulate);
    }
}

static void backward_columns(const struct dvit_op *op, struct dvit_run *run, size_t in, size_t out,
                             size_t rows)
{
    size_t width = run->graph->values[op->outputs[0]].width;
    struct dvit_span columns = dvit_span_share(width, run->member, run->members);
    run->kernels->layer_norm_backward_weights(
        dvit_run_parameter_gradient(run, op, 0), dvit_run_parameter_gradient(run, op, 1),
        dvit_run_gradient(run, op->outputs[0]) + out * width,
        dvit_run_value(run, op->inputs[0]) + in * width, dvit_run_value(run, op->outputs[1]) + out,
        dvit_run_value(run, op->outputs[2]) + out, rows, width, columns.first, columns.last);
}

static void layer_norm_backward_parameters(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *y = &run->graph->values[op->outputs[0]];
    if (!drops_prefix(op)) {
        backward_columns(op, run, 0, 0, dvit_run_total_rows(run, y->rows, y->stage));
        return;
    }
    for (int image = 0; image < run->images; image++) {
        struct dvit_span in = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, y->stage, image);
        struct dvit_span out = dvit_run_image_rows(run, DVIT_ROWS_PATCHES, y->stage, image);
        backward_columns(op, run, in.first + (size_t)run->graph->prefix, out.first,
                         out.last - out.first);
    }
}

const struct dvit_op_class dvit_op_layer_norm = {
    .kind = "layer norm",
    .crosses_rows = false,
    .shape = layer_norm_shape,
    .forward = layer_norm_forward,
    .writes_formats = layer_norm_writes_formats,
    .scratch_bytes = layer_norm_scratch_bytes,
    .backward = layer_norm_backward,
    .backward_parameters = layer_norm_backward_parameters,
    .passes_gradient = DVIT_NONE,
};

/* The same with the prefix removed: rows of the output are not the rows of the input. */
const struct dvit_op_class dvit_op_patch_norm = {
    .kind = "layer norm",
    .crosses_rows = true,
    .shape = layer_norm_shape,
    .forward = layer_norm_forward,
    .writes_formats = layer_norm_writes_formats,
    .scratch_bytes = layer_norm_scratch_bytes,
    .backward = layer_norm_backward,
    .backward_parameters = layer_norm_backward_parameters,
    .passes_gradient = DVIT_NONE,
};
