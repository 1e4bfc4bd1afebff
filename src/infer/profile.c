/* Sums up what the members of a team noted while they ran a graph. The clock is read in
 * graph/forward.c; nothing is run here. */
#include "infer/profile.h"

#include "base/cpu.h"
#include "base/error.h"

static void lay_out(struct dvit_times *times, const struct dvit_graph *graph)
{
    struct dvit_forward_times *members =
        dvit_arena_take(&times->arena, (size_t)times->member_count, sizeof *members);
    for (int m = 0; m < times->member_count; m++) {
        double *seconds = dvit_arena_take(&times->arena, (size_t)graph->op_count, sizeof *seconds);
        if (members)
            members[m].seconds = seconds;
    }
    times->members = members;
}

enum dvit_status dvit_times_begin(struct dvit_times *times, const struct dvit_graph *graph,
                                  int members, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    dvit_times_free(times);
    times->member_count = members;
    lay_out(times, graph);
    DVIT_TRY(dvit_arena_commit(&times->arena, "profile", error));
    lay_out(times, graph);
done:
    return status;
}

void dvit_times_free(struct dvit_times *times)
{
    dvit_arena_free(&times->arena);
    *times = (struct dvit_times){0};
}

/* Of one image's rows of a value. */
static double image_bytes(const struct dvit_graph *graph, int value)
{
    return (double)dvit_graph_rows(graph, value) * (double)dvit_graph_row_bytes(graph, value);
}

/* Of the values of one image that the operator reads and writes. */
static double value_bytes(const struct dvit_graph *graph, const struct dvit_op *op)
{
    double bytes = 0;
    for (int k = 0; k < DVIT_OP_INPUTS && !op->class->gathers; k++)
        if (op->inputs[k] != DVIT_NONE)
            bytes += image_bytes(graph, op->inputs[k]);
    for (int k = 0; k < DVIT_OP_OUTPUTS; k++)
        if (op->outputs[k] != DVIT_NONE)
            bytes += image_bytes(graph, op->outputs[k]);
    return op->class->gathers ? 2 * bytes : bytes;
}

/* Of the weights, in the form in which they are read. */
static double weight_bytes(const struct dvit_parameters *parameters, const struct dvit_op *op)
{
    double bytes = op->product.packed ? (double)dvit_matmul_packed_bytes(op->product.forward) : 0;
    for (int k = op->product.packed ? 1 : 0; k < DVIT_OP_PARAMETERS; k++)
        if (op->parameters[k] != DVIT_NONE)
            bytes += (double)parameters->items[op->parameters[k]].count * sizeof(float);
    return bytes;
}

/* Of what the operator multiplies; NULL where that is nothing. Attention has products without a
 * plan; scores are f32 always. */
static const char *own_precision(const struct dvit_graph *graph, const struct dvit_op *op)
{
    struct dvit_op_products want = {0};
    if (!op->class->macs)
        return NULL;
    if (op->class->products)
        op->class->products(graph, op, 1, &want);
    bool attention = op->class == &dvit_op_attention;
    bool int8 = attention ? op->is.attention.int8 : want.forward.int8;
    bool bf16 = attention ? graph->bf16 : want.forward.bf16;
    return dvit_precision_name(int8   ? DVIT_PRECISION_INT8
                               : bf16 ? DVIT_PRECISION_BF16
                                      : DVIT_PRECISION_F32);
}

/* All threads' time in operator `index`. */
static double operator_seconds(const struct dvit_times *times, size_t index)
{
    double seconds = 0;
    for (int m = 0; m < times->member_count; m++)
        seconds += times->members[m].seconds[index];
    return seconds;
}

static struct dvit_profile_row between(const struct dvit_times *times,
                                       const struct dvit_graph *graph)
{
    struct dvit_profile_row row = {.kind = "between", .name = "between operators"};
    row.seconds = times->sum.seconds * times->member_count;
    for (int i = 0; i < graph->op_count; i++)
        row.seconds -= operator_seconds(times, (size_t)i);
    return row;
}

struct dvit_profile_row dvit_times_row(const struct dvit_times *times,
                                       const struct dvit_graph *graph,
                                       const struct dvit_parameters *parameters, size_t index)
{
    if (index == (size_t)graph->op_count)
        return between(times, graph);
    const struct dvit_op *op = &graph->ops[index];
    double images = (double)times->sum.images, passes = 0;
    for (int m = 0; m < times->member_count; m++)
        passes += times->members[m].passes;
    return (struct dvit_profile_row){
        .kind = op->class->kind,
        .name = op->name,
        .precision = own_precision(graph, op),
        .seconds = operator_seconds(times, index),
        .macs = op->class->macs ? op->class->macs(graph, op) * images : 0,
        .bytes = value_bytes(graph, op) * images + weight_bytes(parameters, op) * passes,
    };
}
