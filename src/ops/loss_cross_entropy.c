/* Cross-entropy with soft targets, −Σ_k t_k log softmax(z)_k: of one row of logits per image, mean
 * over the batch; or of one per patch, each against its image's target, mean over all patches (the
 * dense term of LV-ViT's training, arXiv 2104.10858, with the image's label on every token).
 *
 * inputs: 0 logits [rows][K], 1 targets [images][K]. outputs: 0 partial results (sum, rows). */
#include "ops/loss.h"

#include <math.h>

enum { LOGITS, TARGETS };

static enum dvit_status cross_entropy_shape(struct dvit_graph *graph, struct dvit_op *op,
                                            struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    DVIT_TRY(dvit_graph_expect(graph, op, TARGETS, DVIT_ROWS_IMAGES,
                               dvit_op_input(graph, op, LOGITS)->width, error));
    DVIT_TRY(dvit_loss_logits_shape(graph, op, error));
done:
    return status;
}

static void cross_entropy_forward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *in = dvit_op_input(run->graph, op, LOGITS);
    float *partial = dvit_run_value(run, op->outputs[0]);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, in->rows, in->stage, (int)image);
        const float *t = dvit_run_value(run, op->inputs[TARGETS]) + image * in->width;
        double loss = 0;
        for (size_t row = rows.first; row < rows.last; row++) {
            const float *z = dvit_run_value(run, op->inputs[LOGITS]) + row * in->width;
            double total = dvit_log_sum_exp(z, in->width);
            for (size_t k = 0; k < in->width; k++)
                loss -= t[k] * (z[k] - total);
        }
        partial[2 * image] = (float)loss;
        partial[2 * image + 1] = (float)(rows.last - rows.first);
    }
}

/* dz = (softmax(z)·Σt − t)/rows of the batch */
static void cross_entropy_backward(const struct dvit_op *op, struct dvit_run *run)
{
    float *dlogits = dvit_run_gradient(run, op->inputs[LOGITS]);
    if (!dlogits)
        return;
    const struct dvit_value *in = dvit_op_input(run->graph, op, LOGITS);
    double scale = dvit_loss_gradient_scale(op, run) / dvit_loss_sums(op, run).second;
    bool accumulate = dvit_op_accumulates(op, LOGITS);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, in->rows, in->stage, (int)image);
        const float *t = dvit_run_value(run, op->inputs[TARGETS]) + image * in->width;
        double mass = 0;
        for (size_t k = 0; k < in->width; k++)
            mass += t[k];
        for (size_t row = rows.first; row < rows.last; row++) {
            const float *z = dvit_run_value(run, op->inputs[LOGITS]) + row * in->width;
            double total = dvit_log_sum_exp(z, in->width);
            for (size_t k = 0; k < in->width; k++) {
                float slope = (float)(scale * (exp(z[k] - total) * mass - t[k]));
                float *to = dlogits + row * in->width + k;
                *to = accumulate ? *to + slope : slope;
            }
        }
    }
}

const struct dvit_op_class dvit_op_loss_cross_entropy = {
    .kind = "cross-entropy",
    .shape = cross_entropy_shape,
    .forward = cross_entropy_forward,
    .backward = cross_entropy_backward,
    .passes_gradient = DVIT_NONE,
};
