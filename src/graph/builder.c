/* The graph as a growing list, and the builder that appends to it. */
#define _GNU_SOURCE
#include "graph/builder.h"

#include <stdlib.h>
#include <string.h>

enum dvit_status dvit_graph_create(struct dvit_graph **out,
                                   const struct dvit_graph_options *options,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    *out = NULL;
    struct dvit_graph *graph = calloc(1, sizeof *graph);
    int *kept = calloc((size_t)options->stages + 2, sizeof *kept);
    bool *trained = calloc(options->parameter_count + 1, sizeof *trained);
    if (!graph || !kept || !trained) {
        free(graph);
        free(kept);
        free(trained);
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "graph: out of memory");
    }
    for (int s = 0; s < options->stages; s++)
        kept[s] = options->kept[s];
    kept[options->stages] = options->read_patches;
    if (options->trained)
        memcpy(trained, options->trained, options->parameter_count * sizeof *trained);
    graph->training = options->training;
    graph->bf16 = options->bf16;
    graph->patches = options->patches;
    graph->prefix = options->prefix;
    graph->map_width = options->map_width;
    graph->map_height = options->map_height;
    graph->stages = options->stages;
    graph->layouts = options->stages + 1 + options->narrow;
    graph->kept = kept;
    graph->trained = trained;
    graph->parameter_count = options->parameter_count;
    *out = graph;
    return status;
}

void dvit_graph_free(struct dvit_graph *graph)
{
    if (!graph)
        return;
    for (int i = 0; i < graph->op_count; i++)
        free((char *)graph->ops[i].name);
    for (int i = 0; i < graph->value_count; i++)
        if (graph->values[i].external)
            free((char *)graph->values[i].name);
    free(graph->ops);
    free(graph->values);
    free(graph->kept);
    free((bool *)graph->trained);
    free(graph);
}

/* Room for one more element; doubles. */
static void *grown(void *items, int count, int *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    int larger = *capacity ? 2 * *capacity : 64;
    void *moved = realloc(items, (size_t)larger * size);
    if (moved)
        *capacity = larger;
    return moved;
}

static int append_value(struct dvit_graph *graph, const struct dvit_value *value)
{
    struct dvit_value *values =
        grown(graph->values, graph->value_count, &graph->value_capacity, sizeof *values);
    if (!values)
        return DVIT_NONE;
    graph->values = values;
    graph->values[graph->value_count] = *value;
    return graph->value_count++;
}

/* A gradient flows through an output if one flows to an input or the operator has trained
 * parameters. */
static bool needs_gradient(const struct dvit_graph *graph, const struct dvit_op *op)
{
    if (op->class->stops_gradient)
        return false;
    for (int i = 0; i < DVIT_OP_PARAMETERS; i++)
        if (dvit_op_trains(graph, op, i))
            return true;
    for (int i = 0; i < DVIT_OP_INPUTS; i++)
        if (op->inputs[i] != DVIT_NONE && graph->values[op->inputs[i]].gradient)
            return true;
    return false;
}

enum dvit_status dvit_graph_output(struct dvit_graph *graph, struct dvit_op *op, int slot,
                                   enum dvit_rows rows, int stage, size_t width,
                                   struct dvit_error *error)
{
    struct dvit_value value = {
        .name = op->name,
        .rows = rows,
        .stage = stage,
        .width = width,
        .gradient = graph->training && needs_gradient(graph, op),
    };
    int index = append_value(graph, &value);
    if (index == DVIT_NONE)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "graph: out of memory");
    op->outputs[slot] = index;
    return DVIT_OK;
}

static int out_of_memory(struct dvit_builder *builder)
{
    builder->status = dvit_error_set(builder->error, DVIT_ERROR_MEMORY, "graph: out of memory");
    return DVIT_NONE;
}

int dvit_build_input(struct dvit_builder *builder, const char *name, enum dvit_rows rows,
                     size_t width)
{
    if (builder->status != DVIT_OK)
        return DVIT_NONE;
    struct dvit_value value = {
        .name = strdup(name), .rows = rows, .width = width, .external = true};
    int index = value.name ? append_value(builder->graph, &value) : DVIT_NONE;
    if (index == DVIT_NONE) {
        free((char *)value.name);
        return out_of_memory(builder);
    }
    return index;
}

int dvit_build_op(struct dvit_builder *builder, const char *name, const struct dvit_op *template)
{
    struct dvit_graph *graph = builder->graph;
    if (builder->status != DVIT_OK)
        return DVIT_NONE;
    struct dvit_op *ops = grown(graph->ops, graph->op_count, &graph->op_capacity, sizeof *ops);
    if (!ops)
        return out_of_memory(builder);
    graph->ops = ops;
    struct dvit_op op = *template;
    op.name = strdup(name);
    if (!op.name)
        return out_of_memory(builder);
    for (int i = 0; i < DVIT_OP_OUTPUTS; i++)
        op.outputs[i] = DVIT_NONE;
    builder->status = op.class->shape(graph, &op, builder->error);
    graph->ops[graph->op_count++] = op; /* also on failure: the graph owns the name */
    return builder->status == DVIT_OK ? op.outputs[0] : DVIT_NONE;
}

int dvit_build_output(const struct dvit_builder *builder, int value, int slot)
{
    for (int i = 0; i < builder->graph->op_count; i++)
        if (value != DVIT_NONE && builder->graph->ops[i].outputs[0] == value)
            return builder->graph->ops[i].outputs[slot];
    return DVIT_NONE;
}

void dvit_build_keep(struct dvit_builder *builder, int value)
{
    if (builder->status == DVIT_OK && value != DVIT_NONE)
        builder->graph->values[value].keep = true;
}

int dvit_graph_find(const struct dvit_graph *graph, const char *name)
{
    for (int i = 0; i < graph->value_count; i++)
        if (strcmp(graph->values[i].name, name) == 0)
            return i;
    return DVIT_NONE;
}

double dvit_graph_macs(const struct dvit_graph *graph)
{
    double macs = 0;
    for (int i = 0; i < graph->op_count; i++)
        if (graph->ops[i].class->macs)
            macs += graph->ops[i].class->macs(graph, &graph->ops[i]);
    return macs;
}
