/* Appending operators to a graph. A builder remembers its first error, so that a model can be
 * written as prose and checked once at the end. Every function returns a value index. */
#ifndef DVIT_GRAPH_BUILDER_H
#define DVIT_GRAPH_BUILDER_H

#include "ops/op.h"

struct dvit_builder {
    struct dvit_graph *graph;
    struct dvit_error *error;
    enum dvit_status status;
};

/* An empty graph. `kept` [stages] is copied; `trained` [parameter_count] (or NULL) too. */
struct dvit_graph_options {
    bool training, bf16;
    int patches, prefix, stages;
    bool narrow;               /* a last layout, of the rows that are read … */
    int read_patches;          /* … with at most so many patches */
    int map_width, map_height; /* of a stem's feature map; 0 without one */
    const int *kept;
    size_t parameter_count;
    const bool *trained;
};
enum dvit_status dvit_graph_create(struct dvit_graph **out,
                                   const struct dvit_graph_options *options,
                                   struct dvit_error *error);
void dvit_graph_free(struct dvit_graph *graph);

/* A value the executor binds: [rows][width]. */
int dvit_build_input(struct dvit_builder *builder, const char *name, enum dvit_rows rows,
                     size_t width);
/* Appends an operator; `template` gives class, inputs, parameters and attributes. Returns its first
 * output. */
int dvit_build_op(struct dvit_builder *builder, const char *name, const struct dvit_op *template);
/* Output `slot` of the operator that makes `value`. */
int dvit_build_output(const struct dvit_builder *builder, int value, int slot);
/* Marks a value as an output of the graph: its memory lives to the end. */
void dvit_build_keep(struct dvit_builder *builder, int value);

/* The index of a value by name (an operator's name stands for its first output), or DVIT_NONE. */
int dvit_graph_find(const struct dvit_graph *graph, const char *name);

/* Multiply–accumulates of the whole graph per image. */
double dvit_graph_macs(const struct dvit_graph *graph);

#endif
