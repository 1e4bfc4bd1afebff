/* Kept mean: what a prediction module mixes before it decides. The first half of the channels of u
 * passes as it is (local); the second half is replaced by its mean over the image's kept patches
 * (global), the same for all of them. The mean over no patches is 0.
 *
 * inputs: 0 u [N][C], 1 policy so far [T][1] or NONE (all kept). outputs: 0 z [N][C]. */
#include "ops/op.h"

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

/* One image's view of the operator. */
struct view {
    size_t patches, width, half;
    size_t row;          /* first patch row */
    const float *policy; /* [patches] or NULL */
    double kept;         /* Σ policy */
};

static struct view view_of(const struct dvit_op *op, const struct dvit_run *run, size_t image)
{
    const struct dvit_value *z = &run->graph->values[op->outputs[0]];
    struct dvit_span rows = dvit_run_image_rows(run, DVIT_ROWS_PATCHES, z->stage, (int)image);
    struct dvit_span tokens = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, z->stage, (int)image);
    const float *policy = dvit_run_value(run, op->inputs[POLICY]);
    struct view v = {
        .patches = rows.last - rows.first,
        .width = z->width,
        .half = z->width / 2,
        .row = rows.first,
        .policy = policy ? policy + tokens.first + run->graph->prefix : NULL,
    };
    v.kept = v.policy ? 0 : (double)v.patches;
    for (size_t n = 0; v.policy && n < v.patches; n++)
        v.kept += v.policy[n];
    return v;
}

/* mean[half] of the kept rows' second halves. */
static void global_mean(const struct view *v, const float *u, float *mean)
{
    memset(mean, 0, v->half * sizeof *mean);
    for (size_t n = 0; n < v->patches; n++) {
        float weight = v->policy ? v->policy[n] : 1.0f;
        const float *row = u + (v->row + n) * v->width + v->half;
        for (size_t c = 0; weight != 0.0f && c < v->half; c++)
            mean[c] += weight * row[c];
    }
    float inverse = v->kept > 0 ? (float)(1.0 / v->kept) : 0.0f;
    for (size_t c = 0; c < v->half; c++)
        mean[c] *= inverse;
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
        struct view v = view_of(op, run, (size_t)image);
        global_mean(&v, u, mean); /* members that share an image each compute it: it is cheap */
        for (size_t row = first; row < last; row++) {
            memcpy(z + row * v.width, u + row * v.width, v.half * sizeof *z);
            memcpy(z + row * v.width + v.half, mean, v.half * sizeof *z);
        }
    }
}

/* With s = Σ_n dz_global[n] and k kept: du_global[n] = policy_n·s/k,
 * dpolicy_n += s·(u_global[n] − mean)/k. */
static void backward_image(const struct view *v, const float *u, const float *dz, float *du,
                           bool accumulate, float *dpolicy, float *scratch)
{
    float *mean = scratch, *sum = scratch + v->half;
    float inverse = v->kept > 0 ? (float)(1.0 / v->kept) : 0.0f;
    global_mean(v, u, mean);
    memset(sum, 0, v->half * sizeof *sum);
    for (size_t n = 0; n < v->patches; n++)
        for (size_t c = 0; c < v->half; c++)
            sum[c] += dz[(v->row + n) * v->width + v->half + c];
    for (size_t n = 0; n < v->patches; n++) {
        size_t offset = (v->row + n) * v->width;
        float weight = (v->policy ? v->policy[n] : 1.0f) * inverse;
        float towards = 0.0f;
        for (size_t c = 0; c < v->half; c++) {
            size_t local = offset + c, global = local + v->half;
            if (du) {
                du[local] = dz[local] + (accumulate ? du[local] : 0.0f);
                du[global] = weight * sum[c] + (accumulate ? du[global] : 0.0f);
            }
            towards += sum[c] * (u[global] - mean[c]);
        }
        if (dpolicy)
            dpolicy[n] += towards * inverse;
    }
}

static void kept_mean_backward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *z = &run->graph->values[op->outputs[0]];
    float *du = dvit_run_gradient(run, op->inputs[U]);
    float *dpolicy = dvit_run_gradient(run, op->inputs[POLICY]);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct view v = view_of(op, run, image);
        struct dvit_span tokens = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, z->stage, (int)image);
        float *own = dpolicy ? dpolicy + tokens.first : NULL;
        if (own && !dvit_op_accumulates(op, POLICY))
            memset(own, 0, (tokens.last - tokens.first) * sizeof *own);
        backward_image(&v, dvit_run_value(run, op->inputs[U]),
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
