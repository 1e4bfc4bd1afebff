/* Patchify: pixels [images][3·H·W] → patches [N per image][3·p²], row-major over the grid, each row
 * in the order (channel, y, x) of a convolution weight [C][3][p][p], so that the patch embedding is
 * this and a linear layer. Pixels have no gradient.
 *
 * inputs: 0 pixels. outputs: 0 patches. */
#include "ops/op.h"

#include <string.h>

static enum dvit_status patchify_shape(struct dvit_graph *graph, struct dvit_op *op,
                                       struct dvit_error *error)
{
    int patch = op->is.patchify.patch;
    size_t area = (size_t)op->is.patchify.image_width * (size_t)op->is.patchify.image_height;
    enum dvit_status status = dvit_graph_expect(graph, op, 0, DVIT_ROWS_IMAGES, 3 * area, error);
    if (status != DVIT_OK)
        return status;
    return dvit_graph_output(graph, op, 0, DVIT_ROWS_PATCHES, 0, 3 * (size_t)patch * (size_t)patch,
                             error);
}

/* One patch: three p×p windows, row by row. */
static void copy_patch(float *out, const float *corner, size_t patch, size_t width, size_t plane)
{
    for (size_t channel = 0; channel < 3; channel++)
        for (size_t y = 0; y < patch; y++) {
            memcpy(out, corner + channel * plane + y * width, patch * sizeof *out);
            out += patch;
        }
}

static void patchify_forward(const struct dvit_op *op, struct dvit_run *run)
{
    size_t patch = (size_t)op->is.patchify.patch;
    size_t width = (size_t)op->is.patchify.image_width;
    size_t plane = width * (size_t)op->is.patchify.image_height;
    size_t grid_width = width / patch, patches = (size_t)run->graph->patches;
    const float *pixels = dvit_run_value(run, op->inputs[0]);
    bool rounds = run->graph->values[op->outputs[0]].format.number != DVIT_NUMBER_F32;
    struct dvit_span rows = dvit_run_rows(run, DVIT_ROWS_PATCHES, 0);

    for (size_t row = rows.first; row < rows.last; row++) {
        size_t image = row / patches, index = row % patches;
        const float *corner = pixels + image * 3 * plane + index / grid_width * patch * width +
                              index % grid_width * patch;
        float *to = rounds ? run->scratch : dvit_run_row(run, op->outputs[0], row);
        copy_patch(to, corner, patch, width, plane);
        if (rounds)
            dvit_run_store_rows(run, op->outputs[0], row, to, 1);
    }
}

static bool patchify_writes_formats(const struct dvit_graph *graph, const struct dvit_op *op)
{
    (void)graph, (void)op;
    return true;
}

/* One patch before it is rounded. */
static size_t patchify_scratch_bytes(const struct dvit_graph *graph, const struct dvit_op *op,
                                     const struct dvit_kernels *kernels)
{
    (void)kernels;
    return graph->values[op->outputs[0]].width * sizeof(float);
}

const struct dvit_op_class dvit_op_patchify = {
    .kind = "patchify",
    .shape = patchify_shape,
    .forward = patchify_forward,
    .writes_formats = patchify_writes_formats,
    .scratch_bytes = patchify_scratch_bytes,
    .passes_gradient = DVIT_NONE,
};
