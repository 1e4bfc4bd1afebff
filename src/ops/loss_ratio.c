/* Ratio loss of one stage: (mean_n d_n − rho_s)², mean over the batch; or the square of the batch's
 * mean gap, which lets easy images keep fewer patches. d is the stage's decision, the patch part of
 * the policy. The 1/S of the sum over stages is in the weight.
 *
 * inputs: 0 policy [T][1]. outputs: 0 partial results (squared gap, mean of d). */
#include "ops/loss.h"

#include <string.h>

static enum dvit_status ratio_shape(struct dvit_graph *graph, struct dvit_op *op,
                                    struct dvit_error *error)
{
    enum dvit_status status = dvit_graph_expect(graph, op, 0, DVIT_ROWS_TOKENS, 1, error);
    return status != DVIT_OK ? status
                             : dvit_graph_output(graph, op, 0, DVIT_ROWS_IMAGES, 0, 2, error);
}

/* The decisions of one image: rows of the policy after the prefix. */
static struct dvit_span decisions(const struct dvit_op *op, const struct dvit_run *run, int image)
{
    int stage = dvit_op_input(run->graph, op, 0)->stage;
    struct dvit_span rows = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, stage, image);
    rows.first += (size_t)run->graph->prefix;
    return rows;
}

static void ratio_forward(const struct dvit_op *op, struct dvit_run *run)
{
    const float *policy = dvit_run_value(run, op->inputs[0]);
    float *partial = dvit_run_value(run, op->outputs[0]);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span rows = decisions(op, run, (int)image);
        double sum = 0;
        for (size_t row = rows.first; row < rows.last; row++)
            sum += policy[row];
        double mean = sum / (double)(rows.last - rows.first), gap = mean - op->is.loss.target;
        partial[2 * image] = (float)(gap * gap);
        partial[2 * image + 1] = (float)mean;
    }
}

/* dd_n = 2·gap/(B·N), with the image's own gap or the batch's. */
static void ratio_backward(const struct dvit_op *op, struct dvit_run *run)
{
    float *dpolicy = dvit_run_gradient(run, op->inputs[0]);
    if (!dpolicy)
        return;
    const float *partial = dvit_run_value(run, op->outputs[0]);
    double scale = dvit_loss_gradient_scale(op, run);
    double batch_mean = dvit_loss_sums(op, run).second / run->images;
    size_t prefix = (size_t)run->graph->prefix;
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span rows = decisions(op, run, (int)image);
        double mean = op->is.loss.on_batch_mean ? batch_mean : partial[2 * image + 1];
        double slope = scale * 2 * (mean - op->is.loss.target) /
                       ((double)(rows.last - rows.first) * run->images);
        if (!dvit_op_accumulates(op, 0))
            memset(dpolicy + rows.first - prefix, 0,
                   (rows.last - rows.first + prefix) * sizeof *dpolicy);
        for (size_t row = rows.first; row < rows.last; row++)
            dpolicy[row] += (float)slope;
    }
}

const struct dvit_op_class dvit_op_loss_ratio = {
    .kind = "ratio loss",
    .shape = ratio_shape,
    .forward = ratio_forward,
    .backward = ratio_backward,
    .passes_gradient = DVIT_NONE,
};
