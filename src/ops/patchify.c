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

/* A constant size where it is a usual one: a copy of a cache line should not be a call. */
static inline void copy_piece(char *to, const char *from, size_t bytes)
{
    if (bytes == 32)
        memcpy(to, from, 32);
    else if (bytes == 64)
        memcpy(to, from, 64);
    else
        memcpy(to, from, bytes);
}

/* Where patches stand that follow each other in one row of the grid. */
struct strip {
    size_t row, count;   /* of the output: the first patch, and how many */
    const float *corner; /* the first patch's first pixel */
    size_t width, plane; /* of the image, in pixels */
};

/* Row by row of the image, so that pixels are read as they lie. */
static void cut_strip(const struct dvit_op *op, const struct dvit_run *run,
                      const struct strip *strip)
{
    size_t patch = (size_t)op->is.patchify.patch;
    size_t row_bytes = dvit_graph_row_bytes(run->graph, op->outputs[0]);
    size_t piece = row_bytes / (3 * patch);
    char *patches = dvit_run_row(run, op->outputs[0], strip->row);
    const enum dvit_number number = run->graph->values[op->outputs[0]].format.number;
    for (size_t channel = 0; channel < 3; channel++)
        for (size_t y = 0; y < patch; y++) {
            const float *pixels = strip->corner + channel * strip->plane + y * strip->width;
            const char *numbers = (const char *)pixels;
            if (number != DVIT_NUMBER_F32) {
                dvit_run_round(run, op->outputs[0], run->scratch, pixels, strip->count * patch);
                numbers = run->scratch;
            }
            for (size_t n = 0; n < strip->count; n++)
                copy_piece(patches + n * row_bytes + (channel * patch + y) * piece,
                           numbers + n * piece, piece);
        }
}

static void patchify_forward(const struct dvit_op *op, struct dvit_run *run)
{
    size_t patch = (size_t)op->is.patchify.patch;
    size_t width = (size_t)op->is.patchify.image_width;
    size_t plane = width * (size_t)op->is.patchify.image_height;
    size_t grid_width = width / patch, patches = (size_t)run->graph->patches;
    const float *pixels = dvit_run_value(run, op->inputs[0]);
    struct dvit_span rows = dvit_run_rows(run, DVIT_ROWS_PATCHES, 0);

    for (size_t row = rows.first; row < rows.last;) {
        size_t image = row / patches, x = row % patches % grid_width;
        size_t y = row % patches / grid_width, count = grid_width - x;
        count = rows.last - row < count ? rows.last - row : count;
        const struct strip strip = {
            .row = row,
            .count = count,
            .corner = pixels + image * 3 * plane + y * patch * width + x * patch,
            .width = width,
            .plane = plane,
        };
        cut_strip(op, run, &strip);
        row += count;
    }
}

static bool patchify_writes_formats(const struct dvit_graph *graph, const struct dvit_op *op)
{
    (void)graph, (void)op;
    return true;
}

/* One row of pixels, rounded. */
static size_t patchify_scratch_bytes(const struct dvit_graph *graph, const struct dvit_op *op,
                                     const struct dvit_kernels *kernels)
{
    (void)graph, (void)kernels;
    return (size_t)op->is.patchify.image_width * sizeof(float);
}

const struct dvit_op_class dvit_op_patchify = {
    .kind = "patchify",
    .shape = patchify_shape,
    .forward = patchify_forward,
    .writes_formats = patchify_writes_formats,
    .scratch_bytes = patchify_scratch_bytes,
    .passes_gradient = DVIT_NONE,
};
