/* Batch norm and ReLU over the channels of a feature map, in training (inference folds them into
 * the convolution before them):
 *     y = max(0, (x − μ)·rstd·γ + β),  μ and rstd = 1/√(σ² + eps) over all pixels of all images of
 * the micro-batch, σ² the population variance.
 *
 * Sums over the batch are made of one partial result per image, added in the order of the images by
 * every member for itself: they do not depend on who computed which image.
 *
 * inputs: 0 x [pixels][C]. outputs: 0 y; 1 per image (mean, Σ(x − mean)²) [images][2C];
 * 2 gradients only: per image (Σ dy·x̂, Σ dy) [images][2C]. parameters: 0 γ [C], 1 β [C]. */
#include "ops/op.h"

#include <math.h>

static enum dvit_status batch_norm_shape(struct dvit_graph *graph, struct dvit_op *op,
                                         struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_value x = graph->values[op->inputs[0]];
    if (!graph->training)
        DVIT_FAIL(error, DVIT_ERROR_UNSUPPORTED,
                  "batch norm \"%s\": in inference it is part of its convolution", op->name);
    DVIT_TRY(dvit_graph_output(graph, op, 0, x.rows, x.stage, x.width, error));
    DVIT_TRY(dvit_graph_output(graph, op, 1, DVIT_ROWS_IMAGES, 0, 2 * x.width, error));
    DVIT_TRY(dvit_graph_output(graph, op, 2, DVIT_ROWS_IMAGES, 0, 2 * x.width, error));
    graph->values[op->outputs[1]].gradient = false;
    graph->values[op->outputs[2]].gradient_only = true;
done:
    return status;
}

/* Mean, then squares about it: two passes, in double. */
static void image_moments(float *moments, const float *x, size_t rows, size_t width)
{
    for (size_t c = 0; c < width; c++) {
        double sum = 0, squares = 0;
        for (size_t row = 0; row < rows; row++)
            sum += x[row * width + c];
        double mean = sum / (double)rows;
        for (size_t row = 0; row < rows; row++)
            squares += (x[row * width + c] - mean) * (x[row * width + c] - mean);
        moments[c] = (float)mean;
        moments[width + c] = (float)squares;
    }
}

static void batch_norm_forward_partial(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *x = dvit_op_input(run->graph, op, 0);
    float *moments = dvit_run_value(run, op->outputs[1]);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, x->rows, x->stage, (int)image);
        image_moments(moments + image * 2 * x->width,
                      dvit_run_value(run, op->inputs[0]) + rows.first * x->width,
                      rows.last - rows.first, x->width);
    }
}

/* Images have equally many pixels n: μ = mean of the means, Σ(x − μ)² = Σ_image Σ(x − mean)² +
 * n·(mean − μ)². */
void dvit_batch_norm_moments(const struct dvit_op *op, const struct dvit_run *run, float *mean,
                             float *variance)
{
    size_t width = dvit_op_input(run->graph, op, 0)->width;
    double pixels = (double)dvit_graph_rows(run->graph, op->inputs[0]);
    const float *moments = dvit_run_value(run, op->outputs[1]);
    for (size_t c = 0; c < width; c++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < run->images; i++)
            sum += moments[(size_t)i * 2 * width + c];
        double centre = sum / run->images;
        for (int i = 0; i < run->images; i++) {
            const float *own = moments + (size_t)i * 2 * width + c;
            squares += own[width] + pixels * (own[0] - centre) * (own[0] - centre);
        }
        mean[c] = (float)centre;
        variance[c] = (float)(squares / (pixels * run->images));
    }
}

double dvit_batch_norm_samples(const struct dvit_op *op, const struct dvit_run *run)
{
    return (double)dvit_graph_rows(run->graph, op->inputs[0]) * run->images;
}

static void reciprocal_deviation(float *variance, size_t width, float eps)
{
    for (size_t c = 0; c < width; c++)
        variance[c] = (float)(1.0 / sqrt((double)variance[c] + (double)eps));
}

static void batch_norm_forward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *value = &run->graph->values[op->outputs[0]];
    size_t width = value->width;
    float *mean = run->scratch, *rstd = mean + width;
    const float *x = dvit_run_value(run, op->inputs[0]);
    const float *gamma = dvit_run_parameter(run, op, 0), *beta = dvit_run_parameter(run, op, 1);
    float *y = dvit_run_value(run, op->outputs[0]);
    struct dvit_span rows = dvit_run_rows(run, value->rows, value->stage);
    dvit_batch_norm_moments(op, run, mean, rstd);
    reciprocal_deviation(rstd, width, op->is.batch_norm.eps);
    for (size_t row = rows.first; row < rows.last; row++)
        for (size_t c = 0; c < width; c++) {
            float normed = (x[row * width + c] - mean[c]) * rstd[c] * gamma[c] + beta[c];
            y[row * width + c] = normed > 0.0f ? normed : 0.0f;
        }
}

/* Per image: Σ dy·x̂ and Σ dy, where ReLU let y pass. */
static void batch_norm_backward_partial(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *value = &run->graph->values[op->outputs[0]];
    size_t width = value->width;
    float *mean = run->scratch, *rstd = mean + width;
    const float *x = dvit_run_value(run, op->inputs[0]);
    const float *y = dvit_run_value(run, op->outputs[0]);
    const float *dy = dvit_run_gradient(run, op->outputs[0]);
    float *sums = dvit_run_gradient(run, op->outputs[2]);
    struct dvit_span images = dvit_run_images(run);
    dvit_batch_norm_moments(op, run, mean, rstd);
    reciprocal_deviation(rstd, width, op->is.batch_norm.eps);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, value->rows, value->stage, (int)image);
        float *own = sums + image * 2 * width;
        for (size_t c = 0; c < width; c++) {
            double weighted = 0, plain = 0;
            for (size_t i = rows.first * width + c; i < rows.last * width; i += width) {
                double slope = y[i] > 0.0f ? dy[i] : 0.0f;
                weighted += slope * ((x[i] - mean[c]) * rstd[c]);
                plain += slope;
            }
            own[c] = (float)weighted;
            own[width + c] = (float)plain;
        }
    }
}

/* One of the two sums over the whole batch. */
static double batch_sum(const float *sums, int images, size_t width, size_t column)
{
    double sum = 0;
    for (int i = 0; i < images; i++)
        sum += sums[(size_t)i * 2 * width + column];
    return sum;
}

/* dx = γ·rstd·(dy − mean(dy) − x̂·mean(dy·x̂)) */
static void batch_norm_backward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *value = &run->graph->values[op->outputs[0]];
    size_t width = value->width;
    float *dx = dvit_run_gradient(run, op->inputs[0]);
    if (!dx)
        return;
    float *mean = run->scratch, *rstd = mean + width, *weighted = rstd + width;
    float *plain = weighted + width;
    const float *x = dvit_run_value(run, op->inputs[0]);
    const float *y = dvit_run_value(run, op->outputs[0]);
    const float *gamma = dvit_run_parameter(run, op, 0);
    const float *dy = dvit_run_gradient(run, op->outputs[0]);
    const float *sums = dvit_run_gradient(run, op->outputs[2]);
    double samples = dvit_batch_norm_samples(op, run);
    struct dvit_span rows = dvit_run_rows(run, value->rows, value->stage);
    dvit_batch_norm_moments(op, run, mean, rstd);
    reciprocal_deviation(rstd, width, op->is.batch_norm.eps);
    for (size_t c = 0; c < width; c++) {
        weighted[c] = (float)(batch_sum(sums, run->images, width, c) / samples);
        plain[c] = (float)(batch_sum(sums, run->images, width, width + c) / samples);
    }
    for (size_t row = rows.first; row < rows.last; row++)
        for (size_t c = 0; c < width; c++) {
            size_t i = row * width + c;
            float slope = y[i] > 0.0f ? dy[i] : 0.0f, hat = (x[i] - mean[c]) * rstd[c];
            float own = gamma[c] * rstd[c] * (slope - plain[c] - hat * weighted[c]);
            dx[i] = dvit_op_accumulates(op, 0) ? dx[i] + own : own;
        }
}

static void batch_norm_backward_parameters(const struct dvit_op *op, struct dvit_run *run)
{
    size_t width = run->graph->values[op->outputs[0]].width;
    const float *sums = dvit_run_gradient(run, op->outputs[2]);
    float *dgamma = dvit_run_parameter_gradient(run, op, 0);
    float *dbeta = dvit_run_parameter_gradient(run, op, 1);
    struct dvit_span columns = dvit_span_share(width, run->member, run->members);
    for (size_t c = columns.first; c < columns.last; c++) {
        if (dgamma)
            dgamma[c] += (float)batch_sum(sums, run->images, width, c);
        if (dbeta)
            dbeta[c] += (float)batch_sum(sums, run->images, width, width + c);
    }
}

static size_t batch_norm_scratch_bytes(const struct dvit_graph *graph, const struct dvit_op *op,
                                       const struct dvit_kernels *kernels)
{
    (void)kernels;
    return 4 * graph->values[op->outputs[0]].width * sizeof(float);
}

const struct dvit_op_class dvit_op_batch_norm = {
    .kind = "batch norm",
    .shape = batch_norm_shape,
    .forward = batch_norm_forward,
    .forward_partial = batch_norm_forward_partial,
    .backward = batch_norm_backward,
    .backward_partial = batch_norm_backward_partial,
    .backward_parameters = batch_norm_backward_parameters,
    .scratch_bytes = batch_norm_scratch_bytes,
    .passes_gradient = DVIT_NONE,
};
