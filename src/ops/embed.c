/* Embed: patch embeddings [N][C] → tokens [prefix + N][C]: the class token first, in distilled
 * models the distillation token, then the patches, each plus its row of the position embedding.
 *
 * inputs: 0 patches. outputs: 0 tokens. parameters: 0 class token [C], 1 positions [T][C],
 * 2 distillation token [C] or NONE. */
#include "ops/op.h"

#include <string.h>

static enum dvit_status embed_shape(struct dvit_graph *graph, struct dvit_op *op,
                                    struct dvit_error *error)
{
    enum dvit_status status = dvit_graph_expect(graph, op, 0, DVIT_ROWS_PATCHES, 0, error);
    if (status != DVIT_OK)
        return status;
    if (graph->prefix != (op->parameters[2] == DVIT_NONE ? 1 : 2))
        return dvit_error_set(
            error, DVIT_ERROR_MISMATCH,
            "embed \"%s\": %d prefix tokens, expected 1, or 2 with a distillation "
            "token",
            op->name, graph->prefix);
    return dvit_graph_output(graph, op, 0, DVIT_ROWS_TOKENS, 0, dvit_op_input(graph, op, 0)->width,
                             error);
}

static void embed_forward(const struct dvit_op *op, struct dvit_run *run)
{
    size_t width = run->graph->values[op->outputs[0]].width;
    const float *patches = dvit_run_value(run, op->inputs[0]);
    const float *prefix_token[2] = {dvit_run_parameter(run, op, 0), dvit_run_parameter(run, op, 2)};
    const float *positions = dvit_run_parameter(run, op, 1);
    float *tokens = dvit_run_value(run, op->outputs[0]);
    size_t prefix = (size_t)run->graph->prefix;
    size_t tokens_per_image = (size_t)run->graph->patches + prefix;
    struct dvit_span rows = dvit_run_rows(run, DVIT_ROWS_TOKENS, 0);

    for (size_t row = rows.first; row < rows.last; row++) {
        size_t image = row / tokens_per_image, index = row % tokens_per_image;
        const float *from =
            index < prefix ? prefix_token[index] : patches + (row - (image + 1) * prefix) * width;
        run->kernels->add_scaled(tokens + row * width, from, positions + index * width, 1.0f,
                                 width);
    }
}

static void embed_backward(const struct dvit_op *op, struct dvit_run *run)
{
    float *dpatches = dvit_run_gradient(run, op->inputs[0]);
    if (!dpatches)
        return;
    size_t width = run->graph->values[op->outputs[0]].width;
    const float *dtokens = dvit_run_gradient(run, op->outputs[0]);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span to = dvit_run_image_rows(run, DVIT_ROWS_PATCHES, 0, (int)image);
        struct dvit_span from = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, 0, (int)image);
        size_t count = (to.last - to.first) * width;
        float *own = dpatches + to.first * width;
        const float *patch_rows = dtokens + (from.first + (size_t)run->graph->prefix) * width;
        if (dvit_op_accumulates(op, 0))
            run->kernels->add_scaled(own, own, patch_rows, 1.0f, count);
        else
            memcpy(own, patch_rows, count * sizeof *own);
    }
}

/* Columns are shared among members; each sums over all images. */
static void embed_backward_parameters(const struct dvit_op *op, struct dvit_run *run)
{
    size_t width = run->graph->values[op->outputs[0]].width;
    size_t prefix = (size_t)run->graph->prefix, tokens = (size_t)run->graph->patches + prefix;
    const float *dtokens = dvit_run_gradient(run, op->outputs[0]);
    float *dprefix[2] = {dvit_run_parameter_gradient(run, op, 0),
                         dvit_run_parameter_gradient(run, op, 2)};
    float *dpositions = dvit_run_parameter_gradient(run, op, 1);
    struct dvit_span columns = dvit_span_share(width, run->member, run->members);
    for (size_t row = 0; row < tokens * (size_t)run->images; row++) {
        size_t index = row % tokens;
        for (size_t c = columns.first; c < columns.last; c++) {
            if (dpositions)
                dpositions[index * width + c] += dtokens[row * width + c];
            if (index < prefix && dprefix[index])
                dprefix[index][c] += dtokens[row * width + c];
        }
    }
}

const struct dvit_op_class dvit_op_embed = {
    .kind = "embed",
    .crosses_rows = true,
    .shape = embed_shape,
    .forward = embed_forward,
    .backward = embed_backward,
    .backward_parameters = embed_backward_parameters,
    .passes_gradient = DVIT_NONE,
};
