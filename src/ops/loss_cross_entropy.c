/* Cross-entropy with soft targets, mean over the batch: −Σ_k t_k log softmax(z)_k.
 *
 * inputs: 0 logits [images][K], 1 targets [images][K]. outputs: 0 partial results (loss, 1). */
#include "ops/loss.h"

#include <math.h>

enum { LOGITS, TARGETS };

static void cross_entropy_forward(const struct dvit_op *op, struct dvit_run *run)
{
    size_t classes = dvit_op_input(run->graph, op, LOGITS)->width;
    float *partial = dvit_run_value(run, op->outputs[0]);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        const float *z = dvit_run_value(run, op->inputs[LOGITS]) + image * classes;
        const float *t = dvit_run_value(run, op->inputs[TARGETS]) + image * classes;
        double total = dvit_log_sum_exp(z, classes), loss = 0;
        for (size_t k = 0; k < classes; k++)
            loss -= t[k] * (z[k] - total);
        partial[2 * image] = (float)loss;
        partial[2 * image + 1] = 1.0f;
    }
}

/* dz = (softmax(z)·Σt − t)/B */
static void cross_entropy_backward(const struct dvit_op *op, struct dvit_run *run)
{
    float *dlogits = dvit_run_gradient(run, op->inputs[LOGITS]);
    if (!dlogits)
        return;
    size_t classes = dvit_op_input(run->graph, op, LOGITS)->width;
    double scale = dvit_loss_gradient_scale(op, run) / run->images;
    bool accumulate = dvit_op_accumulates(op, LOGITS);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        const float *z = dvit_run_value(run, op->inputs[LOGITS]) + image * classes;
        const float *t = dvit_run_value(run, op->inputs[TARGETS]) + image * classes;
        double total = dvit_log_sum_exp(z, classes), mass = 0;
        for (size_t k = 0; k < classes; k++)
            mass += t[k];
        for (size_t k = 0; k < classes; k++) {
            float slope = (float)(scale * (exp(z[k] - total) * mass - t[k]));
            float *to = dlogits + image * classes + k;
            *to = accumulate ? *to + slope : slope;
        }
    }
}

const struct dvit_op_class dvit_op_loss_cross_entropy = {
    .kind = "cross-entropy",
    .shape = dvit_loss_logits_shape,
    .forward = cross_entropy_forward,
    .backward = cross_entropy_backward,
    .passes_gradient = DVIT_NONE,
};
