/* Multi-head self-attention within each image: qkv [T][3C] → [T][C]. In inference the plain
 * softmax; in training the masked one, in which a dropped token gives nothing to others and still
 * attends to the kept tokens and itself (kernels.h has the formulas).
 *
 * Where not all rows are read of the block, queries come apart: kv [T][2C] and q [Q][C] → [Q][C].
 *
 * inputs: 0 qkv or kv, 1 policy [T][1] or NONE (all kept), 2 q or NONE (part of 0).
 * outputs: 0 out. */
#include "ops/op.h"

#include <math.h>
#include <string.h>

enum { QKV, POLICY, QUERIES };

static enum dvit_status attention_shape(struct dvit_graph *graph, struct dvit_op *op,
                                        struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_value qkv = graph->values[op->inputs[QKV]];
    const struct dvit_value *q = dvit_op_input(graph, op, QUERIES);
    size_t heads = (size_t)op->is.attention.heads, parts = q ? 2 : 3, width = qkv.width / parts;
    DVIT_TRY(dvit_graph_expect(graph, op, QKV, DVIT_ROWS_TOKENS, 0, error));
    if (op->inputs[POLICY] != DVIT_NONE)
        DVIT_TRY(dvit_graph_expect(graph, op, POLICY, DVIT_ROWS_TOKENS, 1, error));
    if (qkv.width % (parts * heads) != 0)
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH, "attention \"%s\": width %zu is not %zu × %zu heads",
                  op->name, qkv.width, parts, heads);
    if (q)
        DVIT_TRY(dvit_graph_expect(graph, op, QUERIES, DVIT_ROWS_TOKENS, width, error));
    DVIT_TRY(
        dvit_graph_output(graph, op, 0, DVIT_ROWS_TOKENS, q ? q->stage : qkv.stage, width, error));
done:
    return status;
}

static struct dvit_attention_shape shape_of(const struct dvit_graph *graph,
                                            const struct dvit_op *op, int tokens)
{
    int heads = op->is.attention.heads;
    int head_dim = (int)graph->values[op->outputs[0]].width / heads;
    return (struct dvit_attention_shape){
        .tokens = tokens,
        .heads = heads,
        .head_dim = head_dim,
        .scale = 1.0f / sqrtf((float)head_dim),
        .lead_cap = op->is.attention.lead_cap,
    };
}

/* What one image's attention reads; its queries are all rows of the output. */
static struct dvit_attention_rows rows_of(const struct dvit_op *op, const struct dvit_run *run,
                                          int image)
{
    const struct dvit_value *out = &run->graph->values[op->outputs[0]];
    const struct dvit_value *in = dvit_op_input(run->graph, op, QKV);
    struct dvit_span rows = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, out->stage, image);
    struct dvit_span keys = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, in->stage, image);
    const float *qkv = dvit_run_value(run, op->inputs[QKV]) + keys.first * in->width;
    const float *apart = dvit_run_value(run, op->inputs[QUERIES]);
    const float *k = apart ? qkv : qkv + out->width;
    const int *token = run->layout[out->stage].token;
    return (struct dvit_attention_rows){
        .q = apart ? apart + rows.first * out->width : qkv,
        .k = k,
        .v = k + out->width,
        .q_stride = apart ? out->width : in->width,
        .kv_stride = in->width,
        .queries = rows.last - rows.first,
        .token = apart && token ? token + rows.first : NULL,
    };
}

static struct dvit_attention_shape shape_of_image(const struct dvit_op *op,
                                                  const struct dvit_run *run, int image)
{
    int stage = dvit_op_input(run->graph, op, QKV)->stage;
    struct dvit_span keys = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, stage, image);
    return shape_of(run->graph, op, (int)(keys.last - keys.first));
}

/* The image's own entries of the policy or of its gradient, or NULL. */
static float *policy_of(const struct dvit_op *op, const struct dvit_run *run, float *policy,
                        int image)
{
    int stage = dvit_op_input(run->graph, op, QKV)->stage;
    return policy ? policy + dvit_run_image_rows(run, DVIT_ROWS_TOKENS, stage, image).first : NULL;
}

static void forward_masked(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *out = &run->graph->values[op->outputs[0]];
    float *policy = dvit_run_value(run, op->inputs[POLICY]);
    struct dvit_span images = dvit_run_images(run); /* training: members have whole images */

    for (size_t i = images.first; i < images.last; i++) {
        int image = (int)i;
        struct dvit_span rows = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, out->stage, image);
        struct dvit_attention_shape shape = shape_of_image(op, run, image);
        struct dvit_attention_rows x = rows_of(op, run, image);
        float *y = dvit_run_value(run, op->outputs[0]) + rows.first * out->width;
        if (x.queries > 0)
            (run->graph->bf16 ? run->kernels->attention_masked_bf16
                              : run->kernels->attention_masked)(
                y, &x, policy_of(op, run, policy, image), &shape, run->scratch);
    }
}

/* This member's queries of one image and head, counted over all heads of all images, one head's
 * after those of another: where members share images, each so packs keys of the fewest heads. */
static struct dvit_span own_queries(const struct dvit_op *op, const struct dvit_run *run,
                                    struct dvit_span rows, size_t head)
{
    int stage = run->graph->values[op->outputs[0]].stage;
    size_t heads = (size_t)op->is.attention.heads, queries = rows.last - rows.first;
    struct dvit_span own = dvit_run_rows(run, DVIT_ROWS_TOKENS, stage);
    own.first *= heads;
    own.last *= heads;
    if (run->by_rows)
        own = dvit_span_share(heads * dvit_run_total_rows(run, DVIT_ROWS_TOKENS, stage),
                              run->member, run->members);
    size_t begin = rows.first * heads + head * queries, end = begin + queries;
    size_t first = own.first > begin ? own.first : begin, last = own.last < end ? own.last : end;
    return first < last ? (struct dvit_span){first - begin, last - begin}
                        : (struct dvit_span){0, 0};
}

typedef void plain_kernel(const struct dvit_attention_job *job,
                          const struct dvit_attention_shape *shape, float *scratch);

static plain_kernel *plain_kernel_of(const struct dvit_op *op, const struct dvit_run *run)
{
    if (op->is.attention.int8)
        return run->kernels->attention_int8;
    return run->graph->bf16 ? run->kernels->attention_bf16 : run->kernels->attention;
}

/* Where a number of a value is, which says what its numbers are. */
static void *number_of(const struct dvit_run *run, int value, size_t row, size_t column)
{
    size_t bytes = dvit_number_bytes(run->graph->values[value].format.number);
    return (char *)dvit_run_row(run, value, row) + column * bytes;
}

/* All queries of one image; heads lie side by side in each row. */
static struct dvit_attention_job plain_job(const struct dvit_op *op, const struct dvit_run *run,
                                           int image)
{
    const struct dvit_value *out = &run->graph->values[op->outputs[0]];
    const struct dvit_value *kv = dvit_op_input(run->graph, op, QKV);
    const struct dvit_value *apart = dvit_op_input(run->graph, op, QUERIES),
                            *q = apart ? apart : kv;
    struct dvit_span rows = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, out->stage, image);
    size_t first = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, kv->stage, image).first;
    size_t k = apart ? 0 : out->width;
    return (struct dvit_attention_job){
        .out = number_of(run, op->outputs[0], rows.first, 0),
        .out_stride = out->width,
        .out_format = out->format,
        .q = number_of(run, op->inputs[apart ? QUERIES : QKV], apart ? rows.first : first, 0),
        .k = number_of(run, op->inputs[QKV], first, k),
        .v = number_of(run, op->inputs[QKV], first, k + out->width),
        .q_stride = q->width,
        .kv_stride = kv->width,
        .q_number = q->format.number,
        .kv_number = kv->format.number,
        .queries = rows.last - rows.first,
    };
}

/* Some queries of one head of a job for all heads. */
static struct dvit_attention_job head_job(const struct dvit_attention_job *all,
                                          struct dvit_span queries, size_t column)
{
    struct dvit_attention_job job = *all;
    size_t q = dvit_number_bytes(job.q_number), kv = dvit_number_bytes(job.kv_number);
    size_t out = dvit_number_bytes(job.out_format.number);
    job.out = (char *)job.out + (queries.first * job.out_stride + column) * out;
    job.q = (const char *)job.q + (queries.first * job.q_stride + column) * q;
    job.k = (const char *)job.k + column * kv;
    job.v = (const char *)job.v + column * kv;
    job.queries = queries.last - queries.first;
    return job;
}

static void forward_plain(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *out = &run->graph->values[op->outputs[0]];
    plain_kernel *attention = plain_kernel_of(op, run);
    for (int image = 0; image < run->images; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, out->stage, image);
        struct dvit_attention_shape shape = shape_of_image(op, run, image);
        struct dvit_attention_job all = plain_job(op, run, image);
        shape.heads = 1;
        for (size_t h = 0; h < (size_t)op->is.attention.heads; h++) {
            struct dvit_span own = own_queries(op, run, rows, h);
            if (own.first == own.last)
                continue;
            struct dvit_attention_job job = head_job(&all, own, h * (size_t)shape.head_dim);
            attention(&job, &shape, run->scratch);
        }
    }
}

static void attention_forward(const struct dvit_op *op, struct dvit_run *run)
{
    if (op->is.attention.masked)
        forward_masked(op, run);
    else
        forward_plain(op, run);
}

/* The kernel overwrites gradients. Where one must be added to, or no one wants it (only the policy
 * has a gradient), it writes to scratch instead. */
static bool writes_in_place(const struct dvit_graph *graph, const struct dvit_op *op, int slot)
{
    return graph->values[op->inputs[slot]].gradient && !dvit_op_accumulates(op, slot);
}

static size_t kernel_scratch_floats(const struct dvit_attention_shape *shape,
                                    const struct dvit_kernels *kernels)
{
    return (kernels->attention_scratch(shape) + 15) / 16 * 16; /* what follows stays aligned */
}

/* One image's gradient of input `slot`, as the kernel writes it. */
struct written {
    float *kernel, *gradient; /* gradient: where that must be added to, or NULL */
    size_t count;             /* floats */
};

/* *aside is scratch that is free; it moves on if this takes some. */
static struct written written_for(const struct dvit_op *op, const struct dvit_run *run, int slot,
                                  int image, float **aside)
{
    const struct dvit_value *in = dvit_op_input(run->graph, op, slot);
    struct dvit_span rows = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, in->stage, image);
    float *gradient = dvit_run_gradient(run, op->inputs[slot]);
    struct written to = {.count = (rows.last - rows.first) * in->width};
    float *own = gradient ? gradient + rows.first * in->width : NULL;
    if (writes_in_place(run->graph, op, slot)) {
        to.kernel = own;
        return to;
    }
    to.gradient = own;
    to.kernel = *aside;
    *aside += to.count;
    return to;
}

static void add_written(const struct dvit_run *run, const struct written *from)
{
    if (from->gradient)
        run->kernels->add_scaled(from->gradient, from->gradient, from->kernel, 1.0f, from->count);
}

static void backward_image(const struct dvit_op *op, struct dvit_run *run, int image)
{
    const struct dvit_value *out = &run->graph->values[op->outputs[0]];
    bool apart = op->inputs[QUERIES] != DVIT_NONE;
    size_t offset =
        dvit_run_image_rows(run, DVIT_ROWS_TOKENS, out->stage, image).first * out->width;
    struct dvit_attention_shape shape = shape_of_image(op, run, image);
    struct dvit_attention_rows x = rows_of(op, run, image);
    float *policy = dvit_run_value(run, op->inputs[POLICY]);
    float *dpolicy = policy_of(op, run, dvit_run_gradient(run, op->inputs[POLICY]), image);
    float *aside = (float *)run->scratch + kernel_scratch_floats(&shape, run->kernels);
    struct written kv = written_for(op, run, QKV, image, &aside), q = {0};
    if (apart)
        q = written_for(op, run, QUERIES, image, &aside);
    if (dpolicy && !dvit_op_accumulates(op, POLICY))
        memset(dpolicy, 0, (size_t)shape.tokens * sizeof *dpolicy);
    float *dk = apart ? kv.kernel : kv.kernel + out->width;
    (run->graph->bf16 ? run->kernels->attention_masked_backward_bf16
                      : run->kernels->attention_masked_backward)(
        apart ? q.kernel : kv.kernel, dk, dk + out->width, dpolicy,
        dvit_run_gradient(run, op->outputs[0]) + offset,
        dvit_run_value(run, op->outputs[0]) + offset, &x, policy_of(op, run, policy, image), &shape,
        run->scratch);
    add_written(run, &kv);
    add_written(run, &q);
}

static void attention_backward(const struct dvit_op *op, struct dvit_run *run)
{
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++)
        backward_image(op, run, (int)image);
}

static size_t attention_scratch_bytes(const struct dvit_graph *graph, const struct dvit_op *op,
                                      const struct dvit_kernels *kernels)
{
    struct dvit_attention_shape shape = shape_of(graph, op, graph->patches + graph->prefix);
    size_t aside = 0;
    for (int slot = QKV; graph->training && slot <= QUERIES; slot += QUERIES - QKV)
        if (op->inputs[slot] != DVIT_NONE && !writes_in_place(graph, op, slot))
            aside += (size_t)shape.tokens * dvit_op_input(graph, op, slot)->width;
    return (kernel_scratch_floats(&shape, kernels) + aside) * sizeof(float);
}

/* Bytes are made of bfloat16 too, but without the graph's consent the machine may not have it. */
static bool reads_bf16(const struct dvit_graph *graph, const struct dvit_op *op)
{
    return graph->bf16 && !op->is.attention.masked;
}

static bool writes_formats(const struct dvit_graph *graph, const struct dvit_op *op)
{
    return (graph->bf16 || op->is.attention.int8) && !op->is.attention.masked;
}

static struct dvit_format attention_reads(const struct dvit_graph *graph, const struct dvit_op *op,
                                          int slot)
{
    bool bf16 = slot != POLICY && reads_bf16(graph, op);
    return (struct dvit_format){.number = bf16 ? DVIT_NUMBER_BF16 : DVIT_NUMBER_F32};
}

/* Scores and weighted sums: 2·queries·T·C. */
static double attention_macs(const struct dvit_graph *graph, const struct dvit_op *op)
{
    double queries = (double)dvit_graph_rows(graph, op->outputs[0]);
    double tokens = (double)dvit_graph_rows(graph, op->inputs[QKV]);
    return 2.0 * queries * tokens * (double)graph->values[op->outputs[0]].width;
}

const struct dvit_op_class dvit_op_attention = {
    .kind = "attention",
    .crosses_rows = true,
    .shape = attention_shape,
    .forward = attention_forward,
    .backward = attention_backward,
    .reads = attention_reads,
    .writes_formats = writes_formats,
    .scratch_bytes = attention_scratch_bytes,
    .macs = attention_macs,
    .passes_gradient = DVIT_NONE,
};
