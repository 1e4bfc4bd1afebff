/* Distillation of the logits: KL(teacher ‖ student) = Σ_k p_t (log p_t − log p_s), mean over the
 * batch, no temperature.
 *
 * inputs: 0 logits [images][K], 1 teacher logits [images][K]. outputs: 0 partial results (KL, 1).
 */
#include "ops/loss.h"

#include <math.h>

enum { LOGITS, TEACHER };

static void distill_forward(const struct dvit_op *op, struct dvit_run *run)
{
    size_t classes = dvit_op_input(run->graph, op, LOGITS)->width;
    float *partial = dvit_run_value(run, op->outputs[0]);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        const float *s = dvit_run_value(run, op->inputs[LOGITS]) + image * classes;
        const float *t = dvit_run_value(run, op->inputs[TEACHER]) + image * classes;
        double student = dvit_log_sum_exp(s, classes), teacher = dvit_log_sum_exp(t, classes);
        double loss = 0;
        for (size_t k = 0; k < classes; k++)
            loss += exp(t[k] - teacher) * ((t[k] - teacher) - (s[k] - student));
        partial[2 * image] = (float)loss;
        partial[2 * image + 1] = 1.0f;
    }
}

/* dz = (p_s − p_t)/B */
static void distill_backward(const struct dvit_op *op, struct dvit_run *run)
{
    float *dlogits = dvit_run_gradient(run, op->inputs[LOGITS]);
    if (!dlogits)
        return;
    size_t classes = dvit_op_input(run->graph, op, LOGITS)->width;
    double scale = dvit_loss_gradient_scale(op, run) / run->images;
    bool accumulate = dvit_op_accumulates(op, LOGITS);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        const float *s = dvit_run_value(run, op->inputs[LOGITS]) + image * classes;
        const float *t = dvit_run_value(run, op->inputs[TEACHER]) + image * classes;
        double student = dvit_log_sum_exp(s, classes), teacher = dvit_log_sum_exp(t, classes);
        for (size_t k = 0; k < classes; k++) {
            float slope = (float)(scale * (exp(s[k] - student) - exp(t[k] - teacher)));
            float *to = dlogits + image * classes + k;
            *to = accumulate ? *to + slope : slope;
        }
    }
}

const struct dvit_op_class dvit_op_loss_distill = {
    .kind = "distillation",
    .shape = dvit_loss_logits_shape,
    .forward = distill_forward,
    .backward = distill_backward,
    .passes_gradient = DVIT_NONE,
};
