/* Read rows: of all tokens those that somebody looks at, [T][C] → [rows of the last layout][C].
 * What a last block computes of its other rows would be thrown away.
 *
 * `dvit_op_read_rows` takes the rows that the last layout has: the prefix tokens, unless another
 * operator has decided it. `dvit_op_read_kept` decides it: the prefix tokens and the patches that
 * its policy keeps; that is as detached as the masks of the losses. Rows stay in order.
 *
 * inputs: 0 tokens, 1 policy [T][1] (dvit_op_read_kept only). outputs: 0 rows. */
#include "ops/op.h"

#include <string.h>

enum { TOKENS, POLICY };

static enum dvit_status read_shape(struct dvit_graph *graph, struct dvit_op *op,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_value *in = dvit_op_input(graph, op, TOKENS);
    int last = graph->layouts - 1;
    DVIT_TRY(dvit_graph_expect(graph, op, TOKENS, DVIT_ROWS_TOKENS, 0, error));
    if (in->stage + 1 != last || last == graph->stages)
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH, "rows read \"%s\": layout %d of %d comes after %d",
                  op->name, last, graph->layouts, in->stage);
    if (op->class->lay_out)
        DVIT_TRY(dvit_graph_expect(graph, op, POLICY, DVIT_ROWS_TOKENS, 1, error));
    DVIT_TRY(dvit_graph_output(graph, op, 0, DVIT_ROWS_TOKENS, last, in->width, error));
done:
    return status;
}

static void read_lay_out(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_layout *last = &run->layout[run->graph->layouts - 1];
    int stage = dvit_op_input(run->graph, op, TOKENS)->stage, rows = 0;
    const float *policy = dvit_run_value(run, op->inputs[POLICY]);
    for (int image = 0; image < run->images; image++) {
        struct dvit_span all = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, stage, image);
        last->offset[image] = rows;
        for (size_t row = all.first; row < all.last; row++) {
            int token = (int)(row - all.first);
            if (token < run->graph->prefix || policy[row] > 0.0f)
                last->token[rows++] = token;
        }
    }
    last->offset[run->images] = rows;
}

/* Calls `move` for each row of the last layout in this member's share, and its row among all. */
static void for_each_row(const struct dvit_op *op, struct dvit_run *run,
                         void (*move)(const struct dvit_op *op, struct dvit_run *run, size_t row,
                                      size_t among_all))
{
    int last = run->graph->layouts - 1;
    const int *token = run->layout[last].token;
    struct dvit_span own = dvit_run_rows(run, DVIT_ROWS_TOKENS, last);
    for (int image = 0; image < run->images; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, last, image);
        size_t before = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, last - 1, image).first;
        for (size_t row = rows.first; row < rows.last; row++)
            if (row >= own.first && row < own.last)
                move(op, run, row, before + (token ? (size_t)token[row] : row - rows.first));
    }
}

static void take(const struct dvit_op *op, struct dvit_run *run, size_t row, size_t among_all)
{
    const struct dvit_value *in = dvit_op_input(run->graph, op, TOKENS);
    const void *from = dvit_run_row(run, op->inputs[TOKENS], among_all);
    if (in->format.number == DVIT_NUMBER_F32)
        dvit_run_store_rows(run, op->outputs[0], row, from, 1);
    else /* then all who read it agree, the readers of the output among them */
        memcpy(dvit_run_row(run, op->outputs[0], row), from,
               dvit_graph_row_bytes(run->graph, op->outputs[0]));
}

static void read_forward(const struct dvit_op *op, struct dvit_run *run)
{
    for_each_row(op, run, take);
}

static void give_back(const struct dvit_op *op, struct dvit_run *run, size_t row, size_t among_all)
{
    size_t width = run->graph->values[op->outputs[0]].width;
    float *to = dvit_run_gradient(run, op->inputs[TOKENS]) + among_all * width;
    run->kernels->add_scaled(to, to, dvit_run_gradient(run, op->outputs[0]) + row * width, 1.0f,
                             width);
}

static void clear(const struct dvit_op *op, struct dvit_run *run, int slot)
{
    float *gradient = dvit_run_gradient(run, op->inputs[slot]);
    if (!gradient || dvit_op_accumulates(op, slot))
        return;
    const struct dvit_value *in = dvit_op_input(run->graph, op, slot);
    struct dvit_span rows = dvit_run_rows(run, in->rows, in->stage);
    memset(gradient + rows.first * in->width, 0,
           (rows.last - rows.first) * in->width * sizeof *gradient);
}

static void read_backward(const struct dvit_op *op, struct dvit_run *run)
{
    clear(op, run, TOKENS);
    if (op->class->lay_out)
        clear(op, run, POLICY);
    if (dvit_run_gradient(run, op->inputs[TOKENS]))
        for_each_row(op, run, give_back);
}

static struct dvit_format read_reads(const struct dvit_graph *graph, const struct dvit_op *op,
                                     int slot)
{
    return slot == TOKENS ? graph->values[op->outputs[0]].format : (struct dvit_format){0};
}

static bool read_writes_formats(const struct dvit_graph *graph, const struct dvit_op *op)
{
    (void)graph, (void)op;
    return true;
}

const struct dvit_op_class dvit_op_read_rows = {
    .kind = "rows read",
    .crosses_rows = true,
    .shape = read_shape,
    .reads = read_reads,
    .writes_formats = read_writes_formats,
    .forward = read_forward,
    .backward = read_backward,
    .passes_gradient = DVIT_NONE,
    .gathers = true,
};

const struct dvit_op_class dvit_op_read_kept = {
    .kind = "rows read",
    .crosses_rows = true,
    .shape = read_shape,
    .lay_out = read_lay_out,
    .forward = read_forward,
    .backward = read_backward,
    .passes_gradient = DVIT_NONE,
    .gathers = true,
};
