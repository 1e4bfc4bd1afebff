/* The forward walk and its memory plan. */
#include "graph/forward.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "graph/layouts.h"
#include "graph/memory.h"

/* The step until which memory read at step `last` may not be written: where rows are shared, no
 * member passes the next crossing operator before all have come to it. */
static int safe_until(const struct dvit_graph *graph, int last, bool shared)
{
    if (!shared || graph->ops[last].class->crosses_rows)
        return last;
    while (last + 1 < graph->op_count && !graph->ops[last + 1].class->crosses_rows)
        last++;
    return last;
}

static void find_lives(const struct dvit_graph *graph, int images, bool shared,
                       struct dvit_buffer *buffers)
{
    for (int v = 0; v < graph->value_count; v++) {
        size_t rows = (size_t)images * dvit_graph_rows(graph, v);
        buffers[v] = (struct dvit_buffer){
            .size_bytes = rows * dvit_graph_row_bytes(graph, v), .first = 1, .last = 0};
    }
    for (int i = 0; i < graph->op_count; i++) {
        const struct dvit_op *op = &graph->ops[i];
        for (int k = 0; k < DVIT_OP_OUTPUTS; k++)
            if (op->outputs[k] != DVIT_NONE) {
                buffers[op->outputs[k]].first = i;
                buffers[op->outputs[k]].last = safe_until(graph, i, shared);
            }
        for (int k = 0; k < DVIT_OP_INPUTS; k++)
            if (op->inputs[k] != DVIT_NONE && !graph->values[op->inputs[k]].external)
                buffers[op->inputs[k]].last = safe_until(graph, i, shared);
    }
    for (int v = 0; v < graph->value_count; v++)
        if (graph->values[v].keep)
            buffers[v].last = graph->op_count;
}

static void lay_out(struct dvit_forward *f)
{
    const struct dvit_graph *graph = f->graph;
    size_t values = (size_t)graph->value_count, stages = (size_t)graph->stages;
    size_t layouts = (size_t)graph->layouts;
    size_t images = (size_t)f->max_images;
    f->activations = dvit_arena_take(&f->arena, f->plan_bytes, 1);
    f->scratch = dvit_arena_take(&f->arena, (size_t)f->members, f->scratch_bytes);
    f->values = dvit_arena_take(&f->arena, values, sizeof *f->values);
    f->layout = dvit_arena_take(&f->arena, layouts, sizeof *f->layout);
    f->kept = dvit_arena_take(&f->arena, stages + 1, sizeof *f->kept);
    dvit_layouts_take(f->layout, graph, f->max_images, &f->arena);
    for (size_t s = 0; s < stages; s++) {
        int *kept = dvit_arena_take(&f->arena, images * (size_t)graph->kept[s], sizeof *kept);
        if (f->kept)
            f->kept[s] = kept;
    }
}

enum dvit_status dvit_forward_create(struct dvit_forward *forward, const struct dvit_graph *graph,
                                     const struct dvit_kernels *kernels,
                                     const struct dvit_products *products, int max_images,
                                     int members, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_buffer *buffers = calloc((size_t)graph->value_count + 1, sizeof *buffers);
    *forward = (struct dvit_forward){
        .graph = graph, .kernels = kernels, .max_images = max_images, .members = members};
    if (!buffers)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "memory plan: out of memory");
    forward->scratch_bytes = dvit_products_scratch_bytes(products, graph, kernels);
    find_lives(graph, max_images, members > 1, buffers);
    DVIT_TRY(dvit_memory_plan(buffers, graph->value_count, &forward->plan_bytes, error));
    lay_out(forward);
    DVIT_TRY(dvit_arena_commit(&forward->arena, "activations", error));
    lay_out(forward);
    for (int v = 0; v < graph->value_count; v++)
        forward->values[v] = graph->values[v].external
                                 ? NULL
                                 : (float *)(void *)(forward->activations + buffers[v].offset);
done:
    free(buffers);
    if (status != DVIT_OK)
        dvit_forward_free(forward);
    return status;
}

void dvit_forward_free(struct dvit_forward *forward)
{
    dvit_arena_free(&forward->arena);
    *forward = (struct dvit_forward){0};
}

void dvit_forward_begin(struct dvit_forward *forward, int images)
{
    dvit_layouts_begin(forward->layout, forward->graph, images);
}

/* The operator's work alone, without waiting for others. */
static void timed_forward(const struct dvit_op *op, struct dvit_run *run, double *seconds)
{
    double begin = dvit_clock_seconds();
    op->class->forward(op, run);
    *seconds += dvit_clock_seconds() - begin;
}

/* Whether all have to be there before the operator, and after it. */
static bool must_meet(const struct dvit_op *op, const struct dvit_run *run)
{
    return op->class->crosses_rows ||
           (op->class->splits_columns && op->class->splits_columns(op, run));
}

void dvit_forward_run(const struct dvit_forward_job *job, int member, int product_member)
{
    struct dvit_forward *forward = job->forward;
    const struct dvit_graph *graph = forward->graph;
    bool shared = forward->members > 1;
    struct dvit_run run = {
        .graph = graph,
        .kernels = forward->kernels,
        .images = job->images,
        .layout = forward->layout,
        .values = forward->values,
        .parameters = job->parameters,
        .kept = forward->kept,
        .scratch = forward->scratch + (size_t)member * forward->scratch_bytes,
        .member = member,
        .members = forward->members,
        .product_member = product_member,
        .by_rows = shared,
        .failure = job->failure,
    };
    bool met = true; /* nobody has done anything since all met */
    for (int i = 0; i < graph->op_count; i++) {
        const struct dvit_op *op = &graph->ops[i];
        const bool meets = shared && must_meet(op, &run);
        if (meets && !met)
            dvit_threads_barrier(job->team);
        if (op->class->lay_out && member == 0)
            op->class->lay_out(op, &run);
        if (shared && op->class->lay_out)
            dvit_threads_barrier(job->team);
        if (job->observer.before)
            job->observer.before(job->observer.context, op, &run);
        if (job->times)
            timed_forward(op, &run, &job->times->seconds[i]);
        else
            op->class->forward(op, &run);
        if (meets)
            dvit_threads_barrier(job->team);
        met = meets;
    }
    if (job->times)
        job->times->passes++;
}
