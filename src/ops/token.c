/* Token: one row of each image's tokens (the class token, the distillation token), [T][C] →
 * [images][C].
 *
 * inputs: 0 tokens. outputs: 0 that token of each image. */
#include "ops/op.h"

#include <string.h>

static enum dvit_status token_shape(struct dvit_graph *graph, struct dvit_op *op,
                                    struct dvit_error *error)
{
    enum dvit_status status = dvit_graph_expect(graph, op, 0, DVIT_ROWS_TOKENS, 0, error);
    if (status != DVIT_OK)
        return status;
    const struct dvit_value *in = dvit_op_input(graph, op, 0);
    return dvit_graph_output(graph, op, 0, DVIT_ROWS_IMAGES, in->stage, in->width, error);
}

static void token_forward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *out = &run->graph->values[op->outputs[0]];
    const float *tokens = dvit_run_value(run, op->inputs[0]);
    float *y = dvit_run_value(run, op->outputs[0]);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        size_t row = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, out->stage, (int)image).first +
                     (size_t)op->is.token.index;
        memcpy(y + image * out->width, tokens + row * out->width, out->width * sizeof *y);
    }
}

static void token_backward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *out = &run->graph->values[op->outputs[0]];
    float *dtokens = dvit_run_gradient(run, op->inputs[0]);
    if (!dtokens)
        return;
    const float *dy = dvit_run_gradient(run, op->outputs[0]);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, out->stage, (int)image);
        float *all = dtokens + rows.first * out->width;
        float *to = all + (size_t)op->is.token.index * out->width;
        const float *from = dy + image * out->width;
        if (dvit_op_accumulates(op, 0)) {
            run->kernels->add_scaled(to, to, from, 1.0f, out->width);
            continue;
        }
        memset(all, 0, (rows.last - rows.first) * out->width * sizeof *all);
        memcpy(to, from, out->width * sizeof *to);
    }
}

const struct dvit_op_class dvit_op_token = {
    .kind = "token",
    .crosses_rows = true,
    .shape = token_shape,
    .forward = token_forward,
    .backward = token_backward,
    .passes_gradient = DVIT_NONE,
    .gathers = true,
};
