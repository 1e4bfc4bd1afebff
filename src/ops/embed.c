/* Embed: patch embeddings [N][C] → tokens [1 + N][C]: the class token first, then the patches, each
 * plus its row of the position embedding.
 *
 * inputs: 0 patches. outputs: 0 tokens. parameters: 0 class token [C], 1 positions [T][C]. */
#include "ops/op.h"

#include <string.h>

static enum dvit_status embed_shape(struct dvit_graph *graph, struct dvit_op *op,
                                    struct dvit_error *error)
{
    enum dvit_status status = dvit_graph_expect(graph, op, 0, DVIT_ROWS_PATCHES, 0, error);
    if (status != DVIT_OK)
        return status;
    return dvit_graph_output(graph, op, 0, DVIT_ROWS_TOKENS, 0, dvit_op_input(graph, op, 0)->width,
                             error);
}

static void embed_forward(const struct dvit_op *op, struct dvit_run *run)
{
    size_t width = run->graph->values[op->outputs[0]].width;
    const float *patches = dvit_run_value(run, op->inputs[0]);
    const float *class_token = dvit_run_parameter(run, op, 0);
    const float *positions = dvit_run_parameter(run, op, 1);
    float *tokens = dvit_run_value(run, op->outputs[0]);
    size_t tokens_per_image = (size_t)(run->graph->patches + run->graph->prefix);
    struct dvit_span rows = dvit_run_rows(run, DVIT_ROWS_TOKENS, 0);

    for (size_t row = rows.first; row < rows.last; row++) {
        size_t image = row / tokens_per_image, index = row % tokens_per_image;
        const float *from = index == 0 ? class_token : patches + (row - image - 1) * width;
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
        const float *patch_rows = dtokens + (from.first + 1) * width;
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
    size_t tokens = (size_t)(run->graph->patches + run->graph->prefix);
    const float *dtokens = dvit_run_gradient(run, op->outputs[0]);
    float *dclass = dvit_run_parameter_gradient(run, op, 0);
    float *dpositions = dvit_run_parameter_gradient(run, op, 1);
    struct dvit_span columns = dvit_span_share(width, run->member, run->members);
    for (size_t row = 0; row < tokens * (size_t)run->images; row++) {
        size_t index = row % tokens;
        for (size_t c = columns.first; c < columns.last; c++) {
            if (dpositions)
                dpositions[index * width + c] += dtokens[row * width + c];
            if (dclass && index == 0)
                dclass[c] += dtokens[row * width + c];
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
