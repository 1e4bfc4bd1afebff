/* Pool patches: 2 × 2 neighbours of the patch grid become their mean, whatever they show: pruning
 * by structure, without a decision.
 *
 * Training: nothing is removed. The first of each four (above, left) becomes the mean, and the
 * policy keeps it alone; the other three stay as they are, masked from all others. Pooling again
 * takes the firsts of four neighbouring fours: `step` is their distance in the grid, 1 at first.
 *
 * Inference: the means are the tokens of the next stage; the places of the first of each four are
 * written to run->kept.
 *
 * inputs: 0 tokens [T][C], the patches a grid of is.pool.width × is.pool.height (at first).
 * outputs, training: 0 tokens [T][C], 1 policy [T][1], a constant without gradient.
 * outputs, inference: 0 tokens of the next stage. */
#include "ops/op.h"

#include <string.h>

static enum dvit_status pool_shape(struct dvit_graph *graph, struct dvit_op *op,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_value tokens = graph->values[op->inputs[0]];
    int side = 2 * op->is.pool.step;
    DVIT_TRY(dvit_graph_expect(graph, op, 0, DVIT_ROWS_TOKENS, 0, error));
    if (op->is.pool.width * op->is.pool.height != graph->patches || op->is.pool.width % side ||
        op->is.pool.height % side)
        DVIT_FAIL(
            error, DVIT_ERROR_MISMATCH,
            "pool \"%s\": a grid of %d × %d patches, expected %d patches in blocks of %d × %d",
            op->name, op->is.pool.width, op->is.pool.height, graph->patches, side, side);
    DVIT_TRY(dvit_graph_output(graph, op, 0, DVIT_ROWS_TOKENS,
                               graph->training ? tokens.stage : tokens.stage + 1, tokens.width,
                               error));
    if (graph->training) {
        DVIT_TRY(dvit_graph_output(graph, op, 1, DVIT_ROWS_TOKENS, tokens.stage, 1, error));
        graph->values[op->outputs[1]].gradient = false;
    }
done:
    return status;
}

/* The four patches of block `block`, as rows of the grid as it is stored: where all patches are
 * there, `step` apart; where those of earlier poolings are gone, side by side. */
static void block_rows(const struct dvit_op *op, const struct dvit_graph *graph, size_t block,
                       size_t rows[4])
{
    size_t step = (size_t)op->is.pool.step, width = (size_t)op->is.pool.width;
    size_t blocks_wide = width / (2 * step);
    size_t x = 2 * (block % blocks_wide), y = 2 * (block / blocks_wide);
    size_t apart = graph->training ? step : 1, stored = graph->training ? width : width / step;
    for (size_t i = 0; i < 4; i++)
        rows[i] = (y + i / 2) * apart * stored + (x + i % 2) * apart;
}

static size_t block_count(const struct dvit_op *op, const struct dvit_graph *graph)
{
    return (size_t)graph->patches / (4 * (size_t)op->is.pool.step * (size_t)op->is.pool.step);
}

/* mean = the mean of four rows of the image's patches. */
static void mean_of(float *mean, const float *patches, const size_t rows[4], size_t width)
{
    for (size_t c = 0; c < width; c++) {
        float sum = 0.0f;
        for (int i = 0; i < 4; i++)
            sum += patches[rows[i] * width + c];
        mean[c] = 0.25f * sum;
    }
}

static void forward_masked(const struct dvit_op *op, struct dvit_run *run, size_t image)
{
    size_t width = run->graph->values[op->outputs[0]].width, rows[4];
    size_t prefix = (size_t)run->graph->prefix;
    struct dvit_span own = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, 0, (int)image);
    const float *tokens = dvit_run_value(run, op->inputs[0]) + own.first * width;
    float *out = dvit_run_value(run, op->outputs[0]) + own.first * width;
    float *policy = dvit_run_value(run, op->outputs[1]) + own.first;
    memcpy(out, tokens, (own.last - own.first) * width * sizeof *out);
    for (size_t i = 0; i < own.last - own.first; i++)
        policy[i] = i < prefix ? 1.0f : 0.0f;
    for (size_t block = 0; block < block_count(op, run->graph); block++) {
        block_rows(op, run->graph, block, rows);
        mean_of(out + (prefix + rows[0]) * width, tokens + prefix * width, rows, width);
        policy[prefix + rows[0]] = 1.0f;
    }
}

static void forward_pooled(const struct dvit_op *op, struct dvit_run *run, size_t image)
{
    int stage = dvit_op_input(run->graph, op, 0)->stage;
    size_t width = run->graph->values[op->outputs[0]].width, rows[4];
    size_t prefix = (size_t)run->graph->prefix;
    struct dvit_span from = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, stage, (int)image);
    struct dvit_span to = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, stage + 1, (int)image);
    const float *tokens = dvit_run_value(run, op->inputs[0]) + from.first * width;
    float *out = dvit_run_value(run, op->outputs[0]) + to.first * width;
    size_t before = dvit_run_image_rows(run, DVIT_ROWS_PATCHES, stage, (int)image).first;
    int *places =
        run->kept[stage] + dvit_run_image_rows(run, DVIT_ROWS_PATCHES, stage + 1, (int)image).first;
    memcpy(out, tokens, prefix * width * sizeof *out);
    for (size_t block = 0; block < block_count(op, run->graph); block++) {
        block_rows(op, run->graph, block, rows);
        mean_of(out + (prefix + block) * width, tokens + prefix * width, rows, width);
        places[block] = stage ? run->kept[stage - 1][before + rows[0]] : (int)rows[0];
    }
}

static void pool_forward(const struct dvit_op *op, struct dvit_run *run)
{
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        if (run->graph->training)
            forward_masked(op, run, image);
        else
            forward_pooled(op, run, image);
    }
}

/* The first of four gives each of them a quarter of its gradient and keeps none of its own; all
 * others pass theirs on. */
static void pool_backward(const struct dvit_op *op, struct dvit_run *run)
{
    float *dtokens = dvit_run_gradient(run, op->inputs[0]);
    if (!dtokens)
        return;
    size_t width = run->graph->values[op->outputs[0]].width, rows[4];
    size_t prefix = (size_t)run->graph->prefix;
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span own = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, 0, (int)image);
        const float *dy = dvit_run_gradient(run, op->outputs[0]) + own.first * width;
        float *dx = dtokens + own.first * width;
        size_t count = (own.last - own.first) * width;
        if (dvit_op_accumulates(op, 0))
            run->kernels->add_scaled(dx, dx, dy, 1.0f, count);
        else
            memcpy(dx, dy, count * sizeof *dx);
        for (size_t block = 0; block < block_count(op, run->graph); block++) {
            block_rows(op, run->graph, block, rows);
            const float *first = dy + (prefix + rows[0]) * width;
            for (int i = 0; i < 4; i++) {
                float *to = dx + (prefix + rows[i]) * width;
                run->kernels->add_scaled(to, to, first, i ? 0.25f : -0.75f, width);
            }
        }
    }
}

const struct dvit_op_class dvit_op_pool_patches = {
    .kind = "pool patches",
    .crosses_rows = true,
    .shape = pool_shape,
    .forward = pool_forward,
    .backward = pool_backward,
    .passes_gradient = DVIT_NONE,
};
