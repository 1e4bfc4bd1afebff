/* Average: y = (a + b)/2, the answer of a distilled model's two heads. Inference only.
 *
 * inputs: 0 a [images][K], 1 b [images][K]. outputs: 0 y [images][K]. */
#include "ops/op.h"

static enum dvit_status average_shape(struct dvit_graph *graph, struct dvit_op *op,
                                      struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_value a = graph->values[op->inputs[0]];
    DVIT_TRY(dvit_graph_expect(graph, op, 0, DVIT_ROWS_IMAGES, 0, error));
    DVIT_TRY(dvit_graph_expect(graph, op, 1, DVIT_ROWS_IMAGES, a.width, error));
    DVIT_TRY(dvit_graph_output(graph, op, 0, DVIT_ROWS_IMAGES, a.stage, a.width, error));
done:
    return status;
}

static void average_forward(const struct dvit_op *op, struct dvit_run *run)
{
    size_t width = run->graph->values[op->outputs[0]].width;
    const float *a = dvit_run_value(run, op->inputs[0]);
    const float *b = dvit_run_value(run, op->inputs[1]);
    float *y = dvit_run_value(run, op->outputs[0]);
    struct dvit_span images = dvit_run_rows(run, DVIT_ROWS_IMAGES, 0);
    for (size_t i = images.first * width; i < images.last * width; i++)
        y[i] = 0.5f * (a[i] + b[i]);
}

const struct dvit_op_class dvit_op_average = {
    .kind = "average",
    .shape = average_shape,
    .forward = average_forward,
    .passes_gradient = DVIT_NONE,
};
