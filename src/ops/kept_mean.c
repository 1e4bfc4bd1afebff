/* Kept mean: what a prediction module mixes before it decides. The first half of the channels of u
 * passes as it is (local); the second half is replaced by its mean over the image's kept patches
 * (global), the same for all of them. The mean over no patches is 0.
 *
 * inputs: 0 u [N][C], 1 policy so far [T][1] or NONE (all kept). outputs: 0 z [N][C]. */
#include "ops/kept_rows.h"

#include <string.h>

enum { U, POLICY };

static enum dvit_status kept_mean_shape(struct dvit_graph *graph, struct dvit_op *op,
                                        struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_value u = graph->values[op->inputs[U]];
    DVIT_TRY(dvit_graph_expect(graph, op, U, DVIT_ROWS_PATCHES, 0, error));
    if (op->inputs[POLICY] != DVIT_NONE)
        DVIT_TRY(dvit_graph_expect(graph, op, POLICY, DVIT_ROWS_TOKENS, 1, error));
    if (u.width % 2 != 0)
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH, "kept mean \"%s\": width %zu is odd", op->name,
                  u.width);
    DVIT_TRY(dvit_graph_output(graph, op, 0, DVIT_ROWS_PATCHES, u.stage, u.width, error));
done:
    return status;
}

/* The global half of one image's rows. */
static struct dvit_kept_rows global_half(const struct dvit_op *op, const struct dvit_run *run,
                                         int image)
{
    const struct dvit_value *z = &run->graph->values[op->outputs[0]];
    struct dvit_span patches = dvit_run_image_rows(run, DVIT_ROWS_PATCHES, z->stage, image);
    struct dvit_span tokens = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, z->stage, image);
    const float *policy = dvit_run_value(run, op->inputs[POLICY]);
    struct dvit_kept_rows rows = {
        .first = patches.first * z->width + z->width / 2,
        .count = patches.last - patches.first,
        .stride = z->width,
        .width = z->width / 2,
    };
    dvit_kept_rows_mask(&rows, policy ? policy + tokens.first : NULL, run->graph->prefix);
    return rows;
}

static void kept_mean_forward(const struct dvit_op *op, struct dvit_run *run)
{
    const float *u = dvit_run_value(run, op->inputs[U]);
    float *z = dvit_run_value(run, op->outputs[0]);
    float *mean = run->scratch;
    int stage = run->graph->values[op->outputs[0]].stage;
    struct dvit_span own = dvit_run_rows(run, DVIT_ROWS_PATCHES, stage);
    for (int image = 0; image < run->images; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, DVIT_ROWS_PATCHES, stage, image);
        size_t first = own.first > rows.first ? own.first : rows.first;
        size_t last = own.last < rows.last ? own.last : rows.last;
        if (first >= last)
            continue; /* another member may still be writing what this image is made of */
        struct dvit_kept_rows global = global_half(op, run, image);
        size_t half = global.width, width = global.stride;
        /* Members that share an image each compute its mean: it is cheap. */
        dvit_kept_rows_mean(&global, u, mean);
        for (size_t row = first; row < last; row++) {
            memcpy(z + row * width, u + row * width, half * sizeof *z);
            memcpy(z + row * width + half, mean, half * sizeof *z);
        }
    }
}

/* The mean's gradient is the sum of those of its copies. */
static void backward_image(const struct dvit_kept_rows *global, const float *u, const float *dz,
                           float *du, bool accumulate, float *dpolicy, float *scratch)
{
    size_t half = global->width;
    float *mean = scratch, *sum = scratch + half;
    dvit_kept_rows_mean(global, u, mean);
    memset(sum, 0, half * sizeof *sum);
    for (size_t n = 0; n < global->count; n++) {
        size_t at = global->first + n * global->stride, local = at - half;
        for (size_t c = 0; c < half; c++)
            sum[c] += dz[at + c];
        for (size_t c = 0; du && c < half; c++)
            du[local + c] = dz[local + c] + (accumulate ? du[local + c] : 0.0f);
    }
    dvit_kept_rows_backward(global, u, mean, sum, du, accumulate, dpolicy);
}

static void kept_mean_backward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *z = &run->graph->values[op->outputs[0]];
    float *du = dvit_run_gradient(run, op->inputs[U]);
    float *dpolicy = dvit_run_gradient(run, op->inputs[POLICY]);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_kept_rows global = global_half(op, run, (int)image);
        struct dvit_span tokens = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, z->stage, (int)image);
        float *own = dpolicy ? dpolicy + tokens.first : NULL;
        if (own && !dvit_op_accumulates(op, POLICY))
            memset(own, 0, (tokens.last - tokens.first) * sizeof *own);
        backward_image(&global, dvit_run_value(run, op->inputs[U]),
                       dvit_run_gradient(run, op->outputs[0]), du, dvit_op_accumulates(op, U),
                       own ? own + run->graph->prefix : NULL, run->scratch);
    }
}

static size_t kept_mean_scratch_bytes(const struct dvit_graph *graph, const struct dvit_op *op,
                                      const struct dvit_kernels *kernels)
{
    (void)kernels;
    return graph->values[op->outputs[0]].width * sizeof(float);
}

const struct dvit_op_class dvit_op_kept_mean = {
    .kind = "kept mean",
    .crosses_rows = true,
    .shape = kept_mean_shape,
    .forward = kept_mean_forward,
    .backward = kept_mean_backward,
    .scratch_bytes = kept_mean_scratch_bytes,
    .passes_gradient = DVIT_NONE,
};
