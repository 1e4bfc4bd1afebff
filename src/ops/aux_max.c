/* Auxiliary maximum: y_k = class_k + 0.5·max_n patch_nk over the patches that are left, how LV-ViT
 * joins its two heads when it is evaluated. Inference only.
 *
 * inputs: 0 the class token's logits [images][K], 1 the patches' logits [N][K]. outputs: 0 y. */
#include "ops/op.h"

#include <string.h>

static enum dvit_status aux_max_shape(struct dvit_graph *graph, struct dvit_op *op,
                                      struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_value logits = graph->values[op->inputs[0]];
    DVIT_TRY(dvit_graph_expect(graph, op, 0, DVIT_ROWS_IMAGES, 0, error));
    DVIT_TRY(dvit_graph_expect(graph, op, 1, DVIT_ROWS_PATCHES, logits.width, error));
    DVIT_TRY(dvit_graph_output(graph, op, 0, DVIT_ROWS_IMAGES, logits.stage, logits.width, error));
done:
    return status;
}

static void aux_max_forward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *in = dvit_op_input(run->graph, op, 1);
    const float *logits = dvit_run_value(run, op->inputs[0]);
    const float *patches = dvit_run_value(run, op->inputs[1]);
    float *y = dvit_run_value(run, op->outputs[0]);
    size_t classes = in->width;
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, DVIT_ROWS_PATCHES, in->stage, (int)image);
        float *own = y + image * classes;
        memcpy(own, patches + rows.first * classes, classes * sizeof *own);
        for (size_t row = rows.first + 1; row < rows.last; row++)
            for (size_t k = 0; k < classes; k++) {
                float z = patches[row * classes + k];
                own[k] = z > own[k] ? z : own[k];
            }
        run->kernels->add_scaled(own, logits + image * classes, own, 0.5f, classes);
    }
}

const struct dvit_op_class dvit_op_aux_max = {
    .kind = "auxiliary max",
    .crosses_rows = true,
    .shape = aux_max_shape,
    .forward = aux_max_forward,
    .passes_gradient = DVIT_NONE,
};
