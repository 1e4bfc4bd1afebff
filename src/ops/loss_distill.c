/* Distillation of logits: KL(teacher ‖ student) = Σ_k p_t (log p_t − log p_s), no temperature. Of
 * one row of logits per image, mean over the batch; or of one per patch (LV-ViT's token loss), mean
 * over the kept patches of the whole batch, where the mask is the last decision, detached, and
 * nothing kept at all gives 0.
 *
 * inputs: 0 logits [rows][K], 1 teacher logits [rows][K], 2 policy [T][1] or NONE (all count; with
 * rows of patches only). outputs: 0 partial results (sum of KL, rows that count). */
#include "ops/loss.h"

#include <math.h>
#include <string.h>

enum { LOGITS, TEACHER, POLICY };

static enum dvit_status distill_shape(struct dvit_graph *graph, struct dvit_op *op,
                                      struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_value logits = graph->values[op->inputs[LOGITS]];
    DVIT_TRY(dvit_graph_expect(graph, op, TEACHER, logits.rows, logits.width, error));
    if (op->inputs[POLICY] != DVIT_NONE) {
        DVIT_TRY(dvit_graph_expect(graph, op, LOGITS, DVIT_ROWS_PATCHES, 0, error));
        DVIT_TRY(dvit_graph_expect(graph, op, POLICY, DVIT_ROWS_TOKENS, 1, error));
    }
    DVIT_TRY(dvit_loss_logits_shape(graph, op, error));
done:
    return status;
}

/* The policy of the image's patches, or NULL. */
static const float *patch_policy(const struct dvit_op *op, const struct dvit_run *run, int image)
{
    const float *policy = dvit_run_value(run, op->inputs[POLICY]);
    if (!policy)
        return NULL;
    int stage = dvit_op_input(run->graph, op, POLICY)->stage;
    return policy + dvit_run_image_rows(run, DVIT_ROWS_TOKENS, stage, image).first +
           run->graph->prefix;
}

static double divergence(const float *s, const float *t, size_t classes)
{
    double student = dvit_log_sum_exp(s, classes), teacher = dvit_log_sum_exp(t, classes), sum = 0;
    for (size_t k = 0; k < classes; k++)
        sum += exp(t[k] - teacher) * ((t[k] - teacher) - (s[k] - student));
    return sum;
}

static void distill_forward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *in = dvit_op_input(run->graph, op, LOGITS);
    const float *s = dvit_run_value(run, op->inputs[LOGITS]);
    const float *t = dvit_run_value(run, op->inputs[TEACHER]);
    float *partial = dvit_run_value(run, op->outputs[0]);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, in->rows, in->stage, (int)image);
        const float *policy = patch_policy(op, run, (int)image);
        double loss = 0, count = 0;
        for (size_t row = rows.first; row < rows.last; row++) {
            if (policy && policy[row - rows.first] == 0.0f)
                continue;
            loss += divergence(s + row * in->width, t + row * in->width, in->width);
            count++;
        }
        partial[2 * image] = (float)loss;
        partial[2 * image + 1] = (float)count;
    }
}

/* dz = (p_s − p_t)/rows that count, 0 elsewhere */
static void backward_row(float *dz, const float *s, const float *t, size_t classes, double scale)
{
    double student = dvit_log_sum_exp(s, classes), teacher = dvit_log_sum_exp(t, classes);
    for (size_t k = 0; k < classes; k++)
        dz[k] += (float)(scale * (exp(s[k] - student) - exp(t[k] - teacher)));
}

static void distill_backward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *in = dvit_op_input(run->graph, op, LOGITS);
    const float *s = dvit_run_value(run, op->inputs[LOGITS]);
    const float *t = dvit_run_value(run, op->inputs[TEACHER]);
    float *dlogits = dvit_run_gradient(run, op->inputs[LOGITS]);
    float *dpolicy = dvit_run_gradient(run, op->inputs[POLICY]);
    double count = dvit_loss_sums(op, run).second;
    double scale = count > 0 ? dvit_loss_gradient_scale(op, run) / count : 0;
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, in->rows, in->stage, (int)image);
        struct dvit_span tokens = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, 0, (int)image);
        const float *policy = patch_policy(op, run, (int)image);
        if (dpolicy && !dvit_op_accumulates(op, POLICY)) /* detached, and others add to it */
            memset(dpolicy + tokens.first, 0, (tokens.last - tokens.first) * sizeof *dpolicy);
        if (!dlogits)
            continue;
        if (!dvit_op_accumulates(op, LOGITS))
            memset(dlogits + rows.first * in->width, 0,
                   (rows.last - rows.first) * in->width * sizeof *dlogits);
        for (size_t row = rows.first; row < rows.last; row++)
            if (!policy || policy[row - rows.first] != 0.0f)
                backward_row(dlogits + row * in->width, s + row * in->width, t + row * in->width,
                             in->width, scale);
    }
}

const struct dvit_op_class dvit_op_loss_distill = {
    .kind = "distillation",
    .shape = distill_shape,
    .forward = distill_forward,
    .backward = distill_backward,
    .passes_gradient = DVIT_NONE,
};
