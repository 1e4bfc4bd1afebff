/* Mean pool: the mean of each image's patch tokens, [T][C] → [images][C]; in training of the kept
 * ones. What the head of an average-pool model reads.
 *
 * inputs: 0 tokens [T][C], 1 policy [T][1] or NONE (all kept). outputs: 0 means. */
#include "ops/kept_rows.h"

#include <string.h>

enum { TOKENS, POLICY };

static enum dvit_status mean_pool_shape(struct dvit_graph *graph, struct dvit_op *op,
                                        struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_value tokens = graph->values[op->inputs[TOKENS]];
    DVIT_TRY(dvit_graph_expect(graph, op, TOKENS, DVIT_ROWS_TOKENS, 0, error));
    if (op->inputs[POLICY] != DVIT_NONE)
        DVIT_TRY(dvit_graph_expect(graph, op, POLICY, DVIT_ROWS_TOKENS, 1, error));
    DVIT_TRY(dvit_graph_output(graph, op, 0, DVIT_ROWS_IMAGES, tokens.stage, tokens.width, error));
done:
    return status;
}

static struct dvit_kept_rows patches_of(const struct dvit_op *op, const struct dvit_run *run,
                                        int image)
{
    const struct dvit_value *in = dvit_op_input(run->graph, op, TOKENS);
    struct dvit_span tokens = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, in->stage, image);
    const float *policy = dvit_run_value(run, op->inputs[POLICY]);
    size_t prefix = (size_t)run->graph->prefix;
    struct dvit_kept_rows rows = {
        .first = (tokens.first + prefix) * in->width,
        .count = tokens.last - tokens.first - prefix,
        .stride = in->width,
        .width = in->width,
    };
    dvit_kept_rows_mask(&rows, policy ? policy + tokens.first : NULL, run->graph->prefix);
    return rows;
}

static void mean_pool_forward(const struct dvit_op *op, struct dvit_run *run)
{
    float *means = dvit_run_value(run, op->outputs[0]);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_kept_rows rows = patches_of(op, run, (int)image);
        dvit_kept_rows_mean(&rows, dvit_run_value(run, op->inputs[TOKENS]),
                            means + image * rows.width);
    }
}

static void mean_pool_backward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *in = dvit_op_input(run->graph, op, TOKENS);
    float *dtokens = dvit_run_gradient(run, op->inputs[TOKENS]);
    float *dpolicy = dvit_run_gradient(run, op->inputs[POLICY]);
    size_t prefix = (size_t)run->graph->prefix, width = in->width;
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_kept_rows rows = patches_of(op, run, (int)image);
        struct dvit_span tokens = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, in->stage, (int)image);
        float *own = dpolicy ? dpolicy + tokens.first : NULL;
        if (own && !dvit_op_accumulates(op, POLICY))
            memset(own, 0, (tokens.last - tokens.first) * sizeof *own);
        if (dtokens && !dvit_op_accumulates(op, TOKENS))
            memset(dtokens + tokens.first * width, 0, prefix * width * sizeof *dtokens);
        dvit_kept_rows_backward(&rows, dvit_run_value(run, op->inputs[TOKENS]),
                                dvit_run_value(run, op->outputs[0]) + image * width,
                                dvit_run_gradient(run, op->outputs[0]) + image * width, dtokens,
                                dvit_op_accumulates(op, TOKENS), own ? own + prefix : NULL);
    }
}

const struct dvit_op_class dvit_op_mean_pool = {
    .kind = "mean pool",
    .crosses_rows = true,
    .shape = mean_pool_shape,
    .forward = mean_pool_forward,
    .backward = mean_pool_backward,
    .passes_gradient = DVIT_NONE,
};
