/* Convolution, square kernels, zero padding, without groups or dilation: the stem of LV-ViT.
 *
 * Feature maps are rows of pixels, [height·width][channels], so that a convolution is a matrix
 * product over gathered neighbourhoods. A neighbourhood ("column") is a row of segments: runs of
 * floats that stand together in the input. From planes (the network's image) a segment is a row of
 * the kernel in one channel and the column's order is the weight's own [channel][y][x]; from rows
 * of pixels a segment is one pixel's channels and the order is [y][x][channel]. Columns are
 * gathered a chunk of rows at a time and never stand in memory whole.
 *
 * Inference: the batch norm and ReLU that follow are part of it: the norm is folded into weight and
 * bias, w' = w·γ/√(σ² + eps), b' = β − μ·γ/√(σ² + eps).
 *
 * inputs: 0 x, images of planes [images][channels·height·width] or pixels [rows][channels].
 * outputs: 0 y, pixels or patches [rows][outputs]. parameters: 0 weight
 * [outputs][channels][kernel][kernel], 1 bias [outputs] or NONE. */
#include "ops/op.h"

#include <math.h>
#include <string.h>

/* Floats that a chunk of columns may take: it stays in the second-level cache. */
enum { COLUMN_FLOATS = 1 << 18 };

static bool has_norm(const struct dvit_op *op)
{
    return op->is.convolution.batch_norm[0] != DVIT_NONE;
}

/* What is derived from the attributes. */
struct view {
    int kernel, stride, padding, width, height, channels, out_width, out_height;
    bool planar;
    size_t segments, segment; /* number, floats of one */
    size_t columns;           /* segments · segment: inputs of the product */
    size_t outputs;
};

static struct view view_of(const struct dvit_op *op)
{
    int kernel = op->is.convolution.kernel, channels = op->is.convolution.channels;
    int stride = op->is.convolution.stride, padding = op->is.convolution.padding;
    bool planar = op->is.convolution.planar;
    struct view v = {
        .kernel = kernel,
        .stride = stride,
        .padding = padding,
        .width = op->is.convolution.width,
        .height = op->is.convolution.height,
        .channels = channels,
        .out_width = (op->is.convolution.width + 2 * padding - kernel) / stride + 1,
        .out_height = (op->is.convolution.height + 2 * padding - kernel) / stride + 1,
        .planar = planar,
        .segments = (size_t)kernel * (size_t)(planar ? channels : kernel),
        .segment = (size_t)(planar ? kernel : channels),
        .outputs = op->is.convolution.outputs,
    };
    v.columns = v.segments * v.segment;
    return v;
}

static size_t chunk_rows(const struct view *v)
{
    size_t fit = COLUMN_FLOATS / v->columns;
    return fit < 16 ? 16 : fit > DVIT_CHUNK_ROWS ? DVIT_CHUNK_ROWS : fit;
}

static enum dvit_status convolution_shape(struct dvit_graph *graph, struct dvit_op *op,
                                          struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct view v = view_of(op);
    size_t area = (size_t)v.width * (size_t)v.height;
    size_t rows = (size_t)v.out_width * (size_t)v.out_height;
    if (v.planar)
        DVIT_TRY(
            dvit_graph_expect(graph, op, 0, DVIT_ROWS_IMAGES, area * (size_t)v.channels, error));
    else
        DVIT_TRY(dvit_graph_expect(graph, op, 0, DVIT_ROWS_PIXELS, (size_t)v.channels, error));
    DVIT_TRY(dvit_graph_output(graph, op, 0,
                               op->is.convolution.patches ? DVIT_ROWS_PATCHES : DVIT_ROWS_PIXELS, 0,
                               v.outputs, error));
    if (rows != dvit_graph_rows(graph, op->outputs[0]) ||
        (!v.planar && area != dvit_graph_rows(graph, op->inputs[0])))
        DVIT_FAIL(
            error, DVIT_ERROR_MISMATCH,
            "convolution \"%s\": %d × %d pixels give %d × %d, which the graph has no place for",
            op->name, v.width, v.height, v.out_width, v.out_height);
done:
    return status;
}

/* The place of one output row. */
struct place {
    size_t image;
    int y, x; /* of the kernel's first pixel in the input; may be negative */
};

static struct place place_of(const struct view *v, size_t row)
{
    size_t area = (size_t)v->out_width * (size_t)v->out_height;
    size_t within = row % area;
    return (struct place){
        .image = row / area,
        .y = (int)(within / (size_t)v->out_width) * v->stride - v->padding,
        .x = (int)(within % (size_t)v->out_width) * v->stride - v->padding,
    };
}

/* Where one segment of a neighbourhood stands. */
struct source {
    size_t offset; /* floats from the input's start to the first float inside the image */
    size_t before; /* floats of the segment before it, which are padding … */
    size_t inside; /* … and how many are inside; 0: all is padding */
};

static struct source source_of(const struct view *v, const struct place *place, size_t segment)
{
    size_t kernel = (size_t)v->kernel;
    size_t area = (size_t)v->width * (size_t)v->height, channels = (size_t)v->channels;
    size_t image = place->image * area * channels;
    int y = place->y + (int)(v->planar ? segment % kernel : segment / kernel);
    int x = place->x + (v->planar ? 0 : (int)(segment % kernel));
    if (y < 0 || y >= v->height)
        return (struct source){0};
    if (!v->planar) {
        bool inside = x >= 0 && x < v->width;
        size_t pixel = (size_t)(inside ? y * v->width + x : 0);
        return (struct source){image + pixel * channels, 0, inside ? channels : 0};
    }
    int first = x < 0 ? 0 : x, last = x + v->kernel > v->width ? v->width : x + v->kernel;
    if (first >= last)
        return (struct source){0};
    size_t plane = image + segment / kernel * area;
    return (struct source){plane + (size_t)(y * v->width + first), (size_t)(first - x),
                           (size_t)(last - first)};
}

/* columns[rows][segments·segment] of x for output rows first … and segments from … to. */
static void gather(const struct view *v, float *columns, const float *x, struct dvit_span rows,
                   struct dvit_span segments)
{
    for (size_t row = rows.first; row < rows.last; row++) {
        struct place place = place_of(v, row);
        for (size_t s = segments.first; s < segments.last; s++, columns += v->segment) {
            struct source from = source_of(v, &place, s);
            if (from.inside < v->segment)
                memset(columns, 0, v->segment * sizeof *columns);
            memcpy(columns + from.before, x + from.offset, from.inside * sizeof *columns);
        }
    }
}

/* The neighbourhoods of output rows, whole, that follow each other. */
struct walk {
    const struct view *v;
    size_t number_bytes;
    int zero;         /* what padding's bytes are */
    const char *x;    /* of the image */
    int column, line; /* of the output */
};

static struct walk walk_from(const struct view *v, const void *x, size_t row,
                             struct dvit_format format)
{
    size_t number_bytes = dvit_number_bytes(format.number);
    size_t area = (size_t)v->out_width * (size_t)v->out_height;
    size_t image = (size_t)v->width * (size_t)v->height * (size_t)v->channels * number_bytes;
    size_t within = row % area;
    return (struct walk){.v = v,
                         .number_bytes = number_bytes,
                         .zero = format.number == DVIT_NUMBER_U8 ? format.bytes.zero : 0,
                         .x = (const char *)x + row / area * image,
                         .column = (int)(within % (size_t)v->out_width),
                         .line = (int)(within / (size_t)v->out_width)};
}

static void walk_on(struct walk *w)
{
    const struct view *v = w->v;
    if (++w->column < v->out_width)
        return;
    w->column = 0;
    if (++w->line < v->out_height)
        return;
    w->line = 0;
    w->x += (size_t)v->width * (size_t)v->height * (size_t)v->channels * w->number_bytes;
}

/* A constant size where it is a usual one: a copy of some words should not be a call. */
static inline void copy_run(char *to, const char *from, size_t bytes)
{
    if (bytes == 28) /* seven floats of a plane */
        memcpy(to, from, 28);
    else
        memcpy(to, from, bytes);
}

/* The kernel's lines from one plane, or from rows of pixels with `depth` numbers each: pixels that
 * stand side by side are one run. Returns the end of what was written. */
static char *gather_lines(const struct walk *w, char *columns, const char *plane, size_t depth)
{
    const struct view *v = w->v;
    size_t pixel = depth * w->number_bytes, run = (size_t)v->kernel * pixel;
    int x = w->column * v->stride - v->padding, y = w->line * v->stride - v->padding;
    int first = x < 0 ? 0 : x, last = x + v->kernel > v->width ? v->width : x + v->kernel;
    for (int k = 0; k < v->kernel; k++, y++, columns += run) {
        bool inside = y >= 0 && y < v->height && first < last;
        const char *line = plane + (size_t)(inside ? y * v->width + first : 0) * pixel;
        if (inside && last - first == v->kernel) {
            copy_run(columns, line, run);
            continue;
        }
        memset(columns, w->zero, run);
        if (inside)
            memcpy(columns + (size_t)(first - x) * pixel, line, (size_t)(last - first) * pixel);
    }
    return columns;
}

/* Columns of output rows, in the input's format. */
static void gather_whole(const struct view *v, void *columns, const void *x, struct dvit_span rows,
                         struct dvit_format format)
{
    struct walk w = walk_from(v, x, rows.first, format);
    size_t planes = v->planar ? (size_t)v->channels : 1;
    size_t plane_bytes = (size_t)v->width * (size_t)v->height * w.number_bytes;
    char *to = columns;
    for (size_t row = rows.first; row < rows.last; row++, walk_on(&w))
        for (size_t p = 0; p < planes; p++)
            to = gather_lines(&w, to, w.x + p * plane_bytes, v->planar ? 1 : (size_t)v->channels);
}

/* The transpose of gather: adds every float of the columns to where it came from. */
static void scatter(const struct view *v, float *dx, const float *columns, struct dvit_span rows)
{
    for (size_t row = rows.first; row < rows.last; row++) {
        struct place place = place_of(v, row);
        for (size_t s = 0; s < v->segments; s++, columns += v->segment) {
            struct source to = source_of(v, &place, s);
            for (size_t i = 0; i < to.inside; i++)
                dx[to.offset + i] += columns[to.before + i];
        }
    }
}

/* Index in the published weight [channels][kernel][kernel] of float `i` of segment `segment`. */
static size_t weight_index(const struct view *v, size_t segment, size_t i)
{
    return v->planar ? segment * v->segment + i : i * v->segments + segment;
}

/* The weight with its columns in the order of the segments. */
static void order_weight(const struct view *v, float *ordered, const float *weight)
{
    for (size_t o = 0; o < v->outputs; o++)
        for (size_t s = 0; s < v->segments; s++)
            for (size_t i = 0; i < v->segment; i++)
                ordered[o * v->columns + s * v->segment + i] =
                    weight[o * v->columns + weight_index(v, s, i)];
}

static void convolution_fold(const struct dvit_op *op, const float *const *parameters,
                             float *weight, float *bias)
{
    struct view v = view_of(op);
    const int *norm = op->is.convolution.batch_norm;
    const float *own_bias = op->parameters[1] == DVIT_NONE ? NULL : parameters[op->parameters[1]];
    order_weight(&v, weight, parameters[op->parameters[0]]);
    for (size_t o = 0; o < v.outputs; o++) {
        bias[o] = own_bias ? own_bias[o] : 0.0f;
        if (!has_norm(op))
            continue;
        double scale = parameters[norm[0]][o] /
                       sqrt((double)parameters[norm[3]][o] + (double)op->is.convolution.eps);
        bias[o] = (float)(parameters[norm[1]][o] + (bias[o] - parameters[norm[2]][o]) * scale);
        for (size_t i = 0; i < v.columns; i++)
            weight[o * v.columns + i] = (float)(weight[o * v.columns + i] * scale);
    }
}

/* A member's scratch: columns of a chunk, the ordered weight (training), and what is left for the
 * products. */
struct scratch {
    float *columns, *weight;
    void *product;
};

static size_t aligned_floats(size_t count)
{
    return (count + 15) / 16 * 16;
}

static struct scratch scratch_of(const struct view *v, const struct dvit_run *run)
{
    struct scratch s = {.columns = run->scratch};
    s.weight = s.columns + aligned_floats(chunk_rows(v) * v->columns);
    s.product = s.weight + (run->graph->training ? aligned_floats(v->outputs * v->columns) : 0);
    return s;
}

static size_t convolution_scratch_bytes(const struct dvit_graph *graph, const struct dvit_op *op,
                                        const struct dvit_kernels *kernels)
{
    struct view v = view_of(op);
    const struct dvit_matmul *products[] = {op->product.forward, op->product.data,
                                            op->product.weight[0], op->product.weight[1]};
    size_t own = aligned_floats(chunk_rows(&v) * v.columns), largest = 0;
    (void)kernels;
    if (graph->training)
        own += aligned_floats(v.outputs * v.columns);
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
        size_t bytes = products[i] ? dvit_matmul_scratch_bytes(products[i]) : 0;
        largest = bytes > largest ? bytes : largest;
    }
    return own * sizeof(float) + largest;
}

/* Chunk `index` of `chunks` of the rows. */
static struct dvit_span chunk_of(struct dvit_span rows, int index, int chunks)
{
    struct dvit_span chunk = dvit_span_share(rows.last - rows.first, index, chunks);
    return (struct dvit_span){chunk.first + rows.first, chunk.last + rows.first};
}

static void convolution_forward(const struct dvit_op *op, struct dvit_run *run)
{
    struct view v = view_of(op);
    struct scratch scratch = scratch_of(&v, run);
    const struct dvit_value *value = &run->graph->values[op->outputs[0]];
    struct dvit_span own = dvit_run_rows(run, value->rows, 0);
    const float *bias = op->product.bias_folded;
    float *weight = (float *)op->product.weight_folded; /* only read: FORWARD */
    const void *x = dvit_run_row(run, op->inputs[0], 0);
    const struct dvit_format format = dvit_op_input(run->graph, op, 0)->format;
    int chunks = dvit_chunk_count(own.last - own.first, op->product.chunk_rows);
    if (run->graph->training) {
        order_weight(&v, scratch.weight, dvit_run_parameter(run, op, 0));
        weight = scratch.weight;
        bias = dvit_run_parameter(run, op, 1);
    }
    for (int i = 0; i < chunks; i++) {
        struct dvit_span rows = chunk_of(own, i, chunks);
        gather_whole(&v, scratch.columns, x, rows, format);
        const struct dvit_matmul_operands operands = {
            .x = scratch.columns,
            .y = dvit_run_row(run, op->outputs[0], rows.first),
            .weight = weight,
            .packed = op->product.packed,
            .bias = bias,
            .x_bytes = op->is.convolution.input,
            .y_bytes = value->format.bytes,
            .scratch = scratch.product};
        dvit_run_note(run, dvit_matmul_run(op->product.forward, run->product_member,
                                           rows.last - rows.first, &operands));
    }
}

static void convolution_backward(const struct dvit_op *op, struct dvit_run *run)
{
    struct view v = view_of(op);
    struct scratch scratch = scratch_of(&v, run);
    const struct dvit_value *value = &run->graph->values[op->outputs[0]];
    float *dy = dvit_run_gradient(run, op->outputs[0]);
    float *dx = dvit_run_gradient(run, op->inputs[0]);
    if (!dx)
        return;
    struct dvit_span own = dvit_run_rows(run, value->rows, 0), images = dvit_run_images(run);
    size_t image = (size_t)v.width * (size_t)v.height * (size_t)v.channels;
    int chunks = dvit_chunk_count(own.last - own.first, op->product.chunk_rows);
    if (!dvit_op_accumulates(op, 0))
        memset(dx + images.first * image, 0, (images.last - images.first) * image * sizeof *dx);
    order_weight(&v, scratch.weight, dvit_run_parameter(run, op, 0));
    for (int i = 0; i < chunks; i++) {
        struct dvit_span rows = chunk_of(own, i, chunks);
        const struct dvit_matmul_operands operands = {.x = scratch.columns,
                                                      .y = dy + rows.first * v.outputs,
                                                      .weight = scratch.weight,
                                                      .scratch = scratch.product};
        dvit_run_note(run, dvit_matmul_run(op->product.data, run->product_member,
                                           rows.last - rows.first, &operands));
        scatter(&v, dx, scratch.columns, rows);
    }
}

/* Members share the segments: each gathers only its own, over all rows. The bias's gradient is
 * shared by channels. */
static void convolution_backward_parameters(const struct dvit_op *op, struct dvit_run *run)
{
    struct view v = view_of(op);
    struct scratch scratch = scratch_of(&v, run);
    const struct dvit_value *value = &run->graph->values[op->outputs[0]];
    struct dvit_span all = {0, dvit_run_total_rows(run, value->rows, 0)};
    struct dvit_span segments = dvit_span_share(v.segments, run->member, run->members);
    size_t count = segments.last - segments.first, width = count * v.segment;
    bool smaller = count < (v.segments + (size_t)run->members - 1) / (size_t)run->members;
    float *dy = dvit_run_gradient(run, op->outputs[0]);
    float *dweight = dvit_run_parameter_gradient(run, op, 0);
    float *dbias = dvit_run_parameter_gradient(run, op, 1), *sum = scratch.weight;
    int chunks = count ? dvit_chunk_count(all.last, op->product.weight_chunk_rows) : 0;

    memset(sum, 0, v.outputs * width * sizeof *sum);
    for (int i = 0; i < chunks; i++) {
        struct dvit_span rows = chunk_of(all, i, chunks);
        gather(&v, scratch.columns, dvit_run_value(run, op->inputs[0]), rows, segments);
        const struct dvit_matmul_operands operands = {.x = scratch.columns,
                                                      .y = dy + rows.first * v.outputs,
                                                      .weight = sum,
                                                      .scratch = scratch.product};
        dvit_run_note(run, dvit_matmul_run(op->product.weight[smaller], run->product_member,
                                           rows.last - rows.first, &operands));
    }
    for (size_t o = 0; o < v.outputs; o++)
        for (size_t s = 0; s < count; s++)
            for (size_t i = 0; i < v.segment; i++)
                dweight[o * v.columns + weight_index(&v, segments.first + s, i)] +=
                    sum[o * width + s * v.segment + i];
    struct dvit_span channels = dvit_span_share(v.outputs, run->member, run->members);
    if (dbias)
        run->kernels->column_sums(dbias, dy, all.last, v.outputs, channels.first, channels.last);
}

static void convolution_products(const struct dvit_graph *graph, const struct dvit_op *op,
                                 int members, struct dvit_op_products *out)
{
    struct view v = view_of(op);
    size_t count = (size_t)members;
    size_t share[2] = {(v.segments + count - 1) / count, v.segments / count};
    struct dvit_matmul_shape shape = {
        .outputs = v.outputs, .inputs = v.columns, .x_stride = v.columns, .y_stride = v.outputs};
    *out = (struct dvit_op_products){.forward = shape,
                                     .data = shape,
                                     .weight = {shape, shape},
                                     .has_data = dvit_op_input(graph, op, 0)->gradient,
                                     .chunk_rows = chunk_rows(&v),
                                     .weight_chunk_rows = chunk_rows(&v)};
    out->forward.kind = DVIT_MATMUL_FORWARD;
    if (!graph->training) {
        out->forward.constant = true;
        out->forward.int8 = op->is.convolution.input.scale != 0.0f;
        out->forward.bf16 = graph->bf16 && !out->forward.int8;
        out->forward.relu = has_norm(op);
        out->forward.x_number = dvit_op_input(graph, op, 0)->format.number;
        out->forward.y_number = graph->values[op->outputs[0]].format.number;
    }
    out->forward.bias = !graph->training || op->parameters[1] != DVIT_NONE;
    out->data.kind = DVIT_MATMUL_DATA;
    for (int i = 0; i < 2; i++) {
        out->weight[i].kind = DVIT_MATMUL_WEIGHT;
        out->weight[i].inputs = out->weight[i].x_stride = share[i] * v.segment;
        out->has_weight[i] = graph->training && dvit_op_trains(graph, op, 0) && share[i] > 0;
    }
}

/* What the product rounds neighbourhoods to, where rows of that are whole words. The network's
 * image is always floats. */
static struct dvit_format convolution_reads(const struct dvit_graph *graph,
                                            const struct dvit_op *op, int slot)
{
    struct dvit_format format = {0};
    size_t columns = view_of(op).columns;
    if (slot == 0 && op->is.convolution.input.scale != 0.0f)
        format = (struct dvit_format){DVIT_NUMBER_U8, op->is.convolution.input};
    else if (slot == 0 && graph->bf16 && !graph->training)
        format.number = DVIT_NUMBER_BF16;
    bool whole = columns * dvit_number_bytes(format.number) % sizeof(float) == 0;
    return whole ? format : (struct dvit_format){0};
}

static bool convolution_writes_formats(const struct dvit_graph *graph, const struct dvit_op *op)
{
    (void)op;
    return !graph->training;
}

static double convolution_macs(const struct dvit_graph *graph, const struct dvit_op *op)
{
    struct view v = view_of(op);
    return (double)dvit_graph_rows(graph, op->outputs[0]) * (double)v.columns * (double)v.outputs;
}

const struct dvit_op_class dvit_op_convolution = {
    .kind = "convolution",
    .crosses_rows = true,
    .shape = convolution_shape,
    .forward = convolution_forward,
    .backward = convolution_backward,
    .backward_parameters = convolution_backward_parameters,
    .products = convolution_products,
    .reads = convolution_reads,
    .writes_formats = convolution_writes_formats,
    .fold = convolution_fold,
    .scratch_bytes = convolution_scratch_bytes,
    .macs = convolution_macs,
    .passes_gradient = DVIT_NONE,
};
