/* The training walk and its memory plan. A step of the backward plan is an operator in reverse. */
#include "graph/training.h"

#include <stdlib.h>
#include <string.h>

#include "graph/layouts.h"
#include "graph/memory.h"

static bool has_trained_parameters(const struct dvit_graph *graph, const struct dvit_op *op)
{
    for (int i = 0; i < DVIT_OP_PARAMETERS; i++)
        if (dvit_op_trains(graph, op, i))
            return true;
    return false;
}

static bool takes_part(const struct dvit_graph *graph, const struct dvit_op *op)
{
    return graph->values[op->outputs[0]].gradient;
}

enum dvit_status dvit_training_mark(struct dvit_graph *graph, struct dvit_error *error)
{
    bool *begun = calloc((size_t)graph->value_count + 1, sizeof *begun);
    if (!begun)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "training plan: out of memory");
    for (int i = graph->op_count - 1; i >= 0; i--) {
        struct dvit_op *op = &graph->ops[i];
        op->accumulate = 0;
        for (int k = 0; takes_part(graph, op) && k < DVIT_OP_INPUTS; k++) {
            int v = op->inputs[k];
            if (v == DVIT_NONE || !graph->values[v].gradient)
                continue;
            if (begun[v])
                op->accumulate |= 1u << k;
            begun[v] = true;
        }
    }
    free(begun);
    return DVIT_OK;
}

/* The step until which a gradient read at `step` may not be overwritten: members meet inside every
 * step that has trained parameters, after its first half. */
static int safe_until(const struct dvit_graph *graph, int step)
{
    int last = graph->op_count - 1;
    while (step < last) {
        step++;
        if (has_trained_parameters(graph, &graph->ops[last - step]))
            break;
    }
    return step;
}

static void touch(struct dvit_buffer *buffer, int first, int last)
{
    if (buffer->first > buffer->last)
        buffer->first = first;
    if (last > buffer->last)
        buffer->last = last;
}

/* Whether the gradient of input `slot` of operator `index` may be its output's, in place. Members
 * that sum the operator's parameter gradients read it for all rows; so they must meet again before
 * anyone changes it further. */
static bool passes_in_place(const struct dvit_graph *graph, int index, int slot)
{
    const struct dvit_op *op = &graph->ops[index];
    int v = op->inputs[slot];
    if (slot != op->class->passes_gradient || dvit_op_accumulates(op, slot))
        return false;
    for (int i = index - 1; i >= 0 && has_trained_parameters(graph, op); i--) {
        const struct dvit_op *next = &graph->ops[i];
        if (!takes_part(graph, next) || !next->class->backward)
            continue;
        bool changes = next->outputs[0] == v;
        for (int k = 0; k < DVIT_OP_INPUTS; k++)
            changes = changes || next->inputs[k] == v;
        if (changes)
            return false;
        if (has_trained_parameters(graph, next))
            break;
    }
    return true;
}

/* buffer_of[v]: which buffer holds the gradient of v; residuals pass theirs on in place. */
static void find_gradient_lives(const struct dvit_graph *graph, int images,
                                struct dvit_buffer *buffers, int *buffer_of)
{
    for (int v = 0; v < graph->value_count; v++) {
        size_t rows = (size_t)images * dvit_graph_rows(graph, v);
        buffer_of[v] = v;
        buffers[v] = (struct dvit_buffer){
            .size_bytes = rows * graph->values[v].width * sizeof(float), .first = 1, .last = 0};
    }
    for (int i = graph->op_count - 1; i >= 0; i--) {
        const struct dvit_op *op = &graph->ops[i];
        if (!takes_part(graph, op))
            continue;
        int step = graph->op_count - 1 - i, last = safe_until(graph, step);
        touch(&buffers[buffer_of[op->outputs[0]]], step, last);
        for (int k = 1; k < DVIT_OP_OUTPUTS; k++)
            if (op->outputs[k] != DVIT_NONE && graph->values[op->outputs[k]].gradient_only)
                touch(&buffers[op->outputs[k]], step, last);
        for (int k = 0; k < DVIT_OP_INPUTS; k++) {
            int v = op->inputs[k];
            if (v == DVIT_NONE || !graph->values[v].gradient)
                continue;
            if (passes_in_place(graph, i, k))
                buffer_of[v] = buffer_of[op->outputs[0]];
            touch(&buffers[buffer_of[v]], step, last);
        }
    }
}

/* Values that are made again. Backward passes operators in the mirrored order, so one interval of
 * operators, from the maker to the last reader, is the life in both passes; and before it, those
 * until members meet: until then one of them may still be reading for a parameter's gradient. */
static void find_remade_lives(const struct dvit_graph *graph, int images, int *maker,
                              int *last_reader, struct dvit_buffer *buffers)
{
    for (int v = 0; v < graph->value_count; v++) {
        size_t rows = (size_t)images * dvit_graph_rows(graph, v);
        buffers[v] = (struct dvit_buffer){
            .size_bytes = rows * graph->values[v].width * sizeof(float), .first = 1, .last = 0};
        maker[v] = last_reader[v] = DVIT_NONE;
    }
    for (int i = 0; i < graph->op_count; i++) {
        const struct dvit_op *op = &graph->ops[i];
        if (graph->values[op->outputs[0]].remade)
            maker[op->outputs[0]] = i;
        for (int k = 0; k < DVIT_OP_INPUTS; k++)
            if (op->inputs[k] != DVIT_NONE && graph->values[op->inputs[k]].remade)
                last_reader[op->inputs[k]] = i;
    }
    for (int v = 0; v < graph->value_count; v++) {
        if (maker[v] == DVIT_NONE)
            continue;
        buffers[v].first = maker[v];
        buffers[v].last = last_reader[v] > maker[v] ? last_reader[v] : maker[v];
        while (buffers[v].first > 0 &&
               !has_trained_parameters(graph, &graph->ops[buffers[v].first]))
            buffers[v].first--;
    }
}

struct plan {
    struct dvit_buffer *buffers; /* of gradients, [value_count] */
    int *buffer_of;              /* [value_count] */
    struct dvit_buffer *remade;  /* of values that are made again, [value_count] */
    struct dvit_buffer *group;   /* [value_count], see plan_remade */
    int *maker, *last_reader;    /* [value_count] */
};

static bool same_shape(const struct dvit_value *a, const struct dvit_value *b)
{
    return a->remade && b->remade && a->rows == b->rows && a->stage == b->stage &&
           a->width == b->width;
}

/* Members do not meet on the way forward, so one may be writing a value while another still reads
 * an earlier one. Values share memory only where a row of the one lies where that row of the other
 * lies: a member's rows are then its own in both. */
static enum dvit_status plan_remade(struct dvit_training *t, struct plan *plan,
                                    struct dvit_error *error)
{
    const struct dvit_value *values = t->graph->values;
    int count = t->graph->value_count;
    find_remade_lives(t->graph, t->max_images, plan->maker, plan->last_reader, plan->remade);
    for (int v = 0; v < count; v++) {
        size_t bytes;
        bool planned = plan->maker[v] == DVIT_NONE;
        for (int before = 0; before < v && !planned; before++)
            planned = same_shape(&values[before], &values[v]);
        if (planned)
            continue;
        for (int w = 0; w < count; w++)
            plan->group[w] = same_shape(&values[v], &values[w])
                                 ? plan->remade[w]
                                 : (struct dvit_buffer){.first = 1, .last = 0};
        enum dvit_status status = dvit_memory_plan(plan->group, count, &bytes, error);
        if (status != DVIT_OK)
            return status;
        for (int w = 0; w < count; w++)
            if (same_shape(&values[v], &values[w]))
                plan->remade[w].offset = t->remade_bytes + plan->group[w].offset;
        t->remade_bytes += bytes;
    }
    return DVIT_OK;
}

static void lay_out(struct dvit_training *t, const struct plan *plan)
{
    const struct dvit_graph *graph = t->graph;
    size_t count = (size_t)graph->value_count;
    t->values = dvit_arena_take(&t->arena, count, sizeof *t->values);
    t->gradients = dvit_arena_take(&t->arena, count, sizeof *t->gradients);
    t->maker = dvit_arena_take(&t->arena, count, sizeof *t->maker);
    t->last_reader = dvit_arena_take(&t->arena, count, sizeof *t->last_reader);
    t->layout = dvit_arena_take(&t->arena, (size_t)graph->layouts, sizeof *t->layout);
    dvit_layouts_take(t->layout, graph, t->max_images, &t->arena);
    t->scratch = dvit_arena_take(&t->arena, (size_t)t->members, t->scratch_bytes);
    size_t before = t->arena.used_bytes;
    unsigned char *remade = dvit_arena_take(&t->arena, t->remade_bytes, 1);
    for (int v = 0; v < graph->value_count; v++) {
        const struct dvit_value *value = &graph->values[v];
        size_t rows = (size_t)t->max_images * dvit_graph_rows(graph, v);
        bool kept = !value->external && !value->gradient_only && !value->remade;
        float *data = kept ? dvit_arena_take(&t->arena, rows * value->width, sizeof *data) : NULL;
        if (!t->values)
            continue;
        t->values[v] = value->remade ? (float *)(void *)(remade + plan->remade[v].offset) : data;
        t->maker[v] = plan->maker[v];
        t->last_reader[v] = plan->last_reader[v];
    }
    t->values_bytes = t->arena.used_bytes - before;
    unsigned char *gradients = dvit_arena_take(&t->arena, t->gradients_bytes, 1);
    for (int v = 0; t->gradients && v < graph->value_count; v++) {
        const struct dvit_buffer *buffer = &plan->buffers[plan->buffer_of[v]];
        bool used = graph->values[v].gradient && buffer->first <= buffer->last;
        t->gradients[v] = used ? (float *)(void *)(gradients + buffer->offset) : NULL;
    }
}

enum dvit_status dvit_training_create(struct dvit_training *training, struct dvit_graph *graph,
                                      const struct dvit_kernels *kernels,
                                      const struct dvit_products *products, int max_images,
                                      int members, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    size_t count = (size_t)graph->value_count + 1;
    struct plan plan = {
        .buffers = calloc(count, sizeof *plan.buffers),
        .buffer_of = calloc(count, sizeof *plan.buffer_of),
        .remade = calloc(count, sizeof *plan.remade),
        .group = calloc(count, sizeof *plan.group),
        .maker = calloc(count, sizeof *plan.maker),
        .last_reader = calloc(count, sizeof *plan.last_reader),
    };
    *training = (struct dvit_training){
        .graph = graph, .kernels = kernels, .max_images = max_images, .members = members};
    if (!plan.buffers || !plan.buffer_of || !plan.remade || !plan.group || !plan.maker ||
        !plan.last_reader)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "training plan: out of memory");
    training->scratch_bytes = dvit_products_scratch_bytes(products, graph, kernels);
    find_gradient_lives(graph, max_images, plan.buffers, plan.buffer_of);
    DVIT_TRY(dvit_memory_plan(plan.buffers, graph->value_count, &training->gradients_bytes, error));
    DVIT_TRY(plan_remade(training, &plan, error));
    lay_out(training, &plan);
    DVIT_TRY(dvit_arena_commit(&training->arena, "training activations", error));
    lay_out(training, &plan);
done:
    free(plan.buffers);
    free(plan.buffer_of);
    free(plan.remade);
    free(plan.group);
    free(plan.maker);
    free(plan.last_reader);
    if (status != DVIT_OK)
        dvit_training_free(training);
    return status;
}

void dvit_training_free(struct dvit_training *training)
{
    dvit_arena_free(&training->arena);
    *training = (struct dvit_training){0};
}

void dvit_training_begin(struct dvit_training *training, int images)
{
    dvit_layouts_begin(training->layout, training->graph, images);
}

struct dvit_run dvit_training_view(const struct dvit_training_job *job, int member)
{
    struct dvit_training *t = job->training;
    return (struct dvit_run){
        .graph = t->graph,
        .kernels = t->kernels,
        .images = job->images,
        .layout = t->layout,
        .values = t->values,
        .gradients = t->gradients,
        .parameters = job->parameters,
        .parameter_gradients = job->parameter_gradients,
        .scratch = t->scratch + (size_t)member * t->scratch_bytes,
        .member = member,
        .members = t->members,
        .product_member = member,
        .loss_scale = job->loss_scale,
        .failure = job->failure,
    };
}

void dvit_training_forward(const struct dvit_training_job *job, int member)
{
    struct dvit_run run = dvit_training_view(job, member);
    for (int i = 0; i < run.graph->op_count; i++) {
        const struct dvit_op *op = &run.graph->ops[i];
        if (op->class->forward_partial) {
            op->class->forward_partial(op, &run);
            dvit_threads_barrier(job->team); /* it sums over everyone's images */
        }
        if (op->class->lay_out) {
            dvit_threads_barrier(job->team); /* it reads what all have decided */
            if (member == 0)
                op->class->lay_out(op, &run);
            dvit_threads_barrier(job->team);
        }
        op->class->forward(op, &run);
    }
}

/* Inputs that this operator was the last to read are there again. */
static void remake_inputs(const struct dvit_training *t, struct dvit_run *run, int index)
{
    const struct dvit_op *op = &t->graph->ops[index];
    for (int k = 0; k < DVIT_OP_INPUTS; k++) {
        int v = op->inputs[k];
        if (v == DVIT_NONE || t->last_reader[v] != index)
            continue;
        const struct dvit_op *maker = &t->graph->ops[t->maker[v]];
        maker->class->remake(maker, run);
    }
}

void dvit_training_run(const struct dvit_training_job *job, int member)
{
    struct dvit_run run = dvit_training_view(job, member);
    dvit_training_forward(job, member);
    dvit_threads_barrier(job->team); /* losses sum over everyone's images */
    for (int i = run.graph->op_count - 1; i >= 0; i--) {
        const struct dvit_op *op = &run.graph->ops[i];
        if (!takes_part(run.graph, op))
            continue;
        remake_inputs(job->training, &run, i);
        if (op->class->backward_partial) {
            op->class->backward_partial(op, &run);
            dvit_threads_barrier(job->team);
        }
        if (op->class->backward)
            op->class->backward(op, &run);
        if (has_trained_parameters(run.graph, op)) {
            dvit_threads_barrier(job->team);
            op->class->backward_parameters(op, &run);
        }
    }
}
