/* What the loss operators share: each leaves two partial results per image, and the loss is made of
 * their sums over the batch, so that it does not depend on who computed which image. */
#include "ops/op.h"
#include "ops/loss.h"

#include <math.h>

bool dvit_op_is_loss(const struct dvit_op *op)
{
    return op->class == &dvit_op_loss_cross_entropy || op->class == &dvit_op_loss_distill ||
           op->class == &dvit_op_loss_ratio || op->class == &dvit_op_loss_token;
}

struct dvit_partial_sums dvit_loss_sums(const struct dvit_op *op, const struct dvit_run *run)
{
    struct dvit_partial_sums sums = {0, 0};
    const float *partial = dvit_run_value(run, op->outputs[0]);
    for (int image = 0; image < run->images; image++) {
        sums.first += partial[2 * image];
        sums.second += partial[2 * image + 1];
    }
    return sums;
}

double dvit_loss_value(const struct dvit_op *op, const struct dvit_run *run)
{
    struct dvit_partial_sums sums = dvit_loss_sums(op, run);
    if (op->class != &dvit_op_loss_ratio)
        return sums.second > 0 ? sums.first / sums.second : 0.0;
    if (!op->is.loss.on_batch_mean)
        return sums.first / run->images;
    double gap = sums.second / run->images - op->is.loss.target;
    return gap * gap;
}

float dvit_loss_gradient_scale(const struct dvit_op *op, const struct dvit_run *run)
{
    return (float)(op->is.loss.weight * run->loss_scale);
}

enum dvit_status dvit_loss_logits_shape(struct dvit_graph *graph, struct dvit_op *op,
                                        struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    enum dvit_rows rows = dvit_op_input(graph, op, 0)->rows;
    if (rows != DVIT_ROWS_PATCHES)
        DVIT_TRY(dvit_graph_expect(graph, op, 0, DVIT_ROWS_IMAGES, 0, error));
    DVIT_TRY(dvit_graph_output(graph, op, 0, DVIT_ROWS_IMAGES, 0, 2, error));
done:
    return status;
}

double dvit_log_sum_exp(const float *x, size_t count)
{
    double high = x[0], sum = 0;
    for (size_t i = 1; i < count; i++)
        high = x[i] > high ? x[i] : high;
    for (size_t i = 0; i < count; i++)
        sum += exp(x[i] - high);
    return high + log(sum);
}
