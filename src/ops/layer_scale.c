/* Layer scale: y = residual + factor·scale_image·γ∘x, a branch with a factor per channel
 * (arXiv 2103.17239).
 *
 * inputs: 0 x [rows][C], 1 residual [rows][C], 2 branch scale [images][1] or NONE (training only).
 * outputs: 0 y. parameters: 0 γ [C]. */
#include "ops/op.h"

#include <string.h>

enum { X, RESIDUAL, SCALE };

static enum dvit_status layer_scale_shape(struct dvit_graph *graph, struct dvit_op *op,
                                          struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_value x = graph->values[op->inputs[X]];
    DVIT_TRY(dvit_graph_expect(graph, op, RESIDUAL, x.rows, x.width, error));
    if (op->inputs[SCALE] != DVIT_NONE)
        DVIT_TRY(dvit_graph_expect(graph, op, SCALE, DVIT_ROWS_IMAGES, 1, error));
    DVIT_TRY(dvit_graph_output(graph, op, 0, x.rows, x.stage, x.width, error));
done:
    return status;
}

/* factor·scale of one image */
static float scale_of(const struct dvit_op *op, const struct dvit_run *run, int image)
{
    const float *scale = dvit_run_value(run, op->inputs[SCALE]);
    float factor = op->is.layer_scale.factor == 0.0f ? 1.0f : op->is.layer_scale.factor;
    return factor * (scale ? scale[image] : 1.0f);
}

/* The member's rows of one image. */
static struct dvit_span own_rows(const struct dvit_op *op, const struct dvit_run *run, int image)
{
    const struct dvit_value *y = &run->graph->values[op->outputs[0]];
    struct dvit_span own = dvit_run_rows(run, y->rows, y->stage);
    struct dvit_span rows = dvit_run_image_rows(run, y->rows, y->stage, image);
    rows.first = own.first > rows.first ? own.first : rows.first;
    rows.last = own.last < rows.last ? own.last : rows.last;
    return rows;
}

static void layer_scale_forward(const struct dvit_op *op, struct dvit_run *run)
{
    size_t width = run->graph->values[op->outputs[0]].width;
    const float *x = dvit_run_value(run, op->inputs[X]);
    const float *residual = dvit_run_value(run, op->inputs[RESIDUAL]);
    const float *gamma = dvit_run_parameter(run, op, 0);
    float *y = dvit_run_value(run, op->outputs[0]);
    for (int image = 0; image < run->images; image++) {
        struct dvit_span rows = own_rows(op, run, image);
        if (rows.first >= rows.last)
            continue; /* another member may still be writing this image's scale */
        float scale = scale_of(op, run, image);
        for (size_t row = rows.first; row < rows.last; row++)
            for (size_t c = 0; c < width; c++)
                y[row * width + c] =
                    residual[row * width + c] + scale * gamma[c] * x[row * width + c];
    }
}

/* dx = factor·scale·γ∘dy */
static void layer_scale_backward(const struct dvit_op *op, struct dvit_run *run)
{
    size_t width = run->graph->values[op->outputs[0]].width;
    const float *dy = dvit_run_gradient(run, op->outputs[0]);
    const float *gamma = dvit_run_parameter(run, op, 0);
    float *dx = dvit_run_gradient(run, op->inputs[X]);
    float *dresidual = dvit_run_gradient(run, op->inputs[RESIDUAL]);
    for (int image = 0; image < run->images; image++) {
        struct dvit_span rows = own_rows(op, run, image);
        float scale = scale_of(op, run, image);
        for (size_t row = rows.first; dx && row < rows.last; row++)
            for (size_t c = 0; c < width; c++) {
                float *to = dx + row * width + c;
                float slope = scale * gamma[c] * dy[row * width + c];
                *to = dvit_op_accumulates(op, X) ? *to + slope : slope;
            }
        if (!dresidual || dresidual == dy || rows.first >= rows.last)
            continue;
        size_t offset = rows.first * width, count = (rows.last - rows.first) * width;
        if (dvit_op_accumulates(op, RESIDUAL))
            run->kernels->add_scaled(dresidual + offset, dresidual + offset, dy + offset, 1.0f,
                                     count);
        else
            memcpy(dresidual + offset, dy + offset, count * sizeof *dy);
    }
}

/* dγ += Σ over all rows of factor·scale·dy∘x, for the member's columns. */
static void layer_scale_backward_parameters(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *y = &run->graph->values[op->outputs[0]];
    const float *dy = dvit_run_gradient(run, op->outputs[0]);
    const float *x = dvit_run_value(run, op->inputs[X]);
    float *dgamma = dvit_run_parameter_gradient(run, op, 0);
    struct dvit_span columns = dvit_span_share(y->width, run->member, run->members);
    for (int image = 0; image < run->images; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, y->rows, y->stage, image);
        float scale = scale_of(op, run, image);
        for (size_t row = rows.first; row < rows.last; row++)
            for (size_t c = columns.first; c < columns.last; c++)
                dgamma[c] += scale * dy[row * y->width + c] * x[row * y->width + c];
    }
}

const struct dvit_op_class dvit_op_layer_scale = {
    .kind = "layer scale",
    .shape = layer_scale_shape,
    .forward = layer_scale_forward,
    .backward = layer_scale_backward,
    .backward_parameters = layer_scale_backward_parameters,
    .passes_gradient = RESIDUAL,
};
