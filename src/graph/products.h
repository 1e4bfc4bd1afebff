/* The matrix products of a graph's operators: one object per shape, shared by all operators that
 * have it, and the weights folded and packed once for inference. */
#ifndef DVIT_GRAPH_PRODUCTS_H
#define DVIT_GRAPH_PRODUCTS_H

#include "base/arena.h"
#include "base/threads.h"
#include "ops/op.h"

struct dvit_products {
    struct dvit_matmul_shape *shapes; /* [count] */
    struct dvit_matmul **matmuls;     /* [count] */
    int count;
    enum dvit_cpu cpu;
    int members;
    struct dvit_arena packed; /* weights in the products' own layouts */
};

/* Creates the products of every operator of `graph` for a team of `members`, and points the
 * operators at them. Training graphs get forward, data and weight products. Nothing is prepared. */
enum dvit_status dvit_products_create(struct dvit_products *products, struct dvit_graph *graph,
                                      enum dvit_cpu cpu, int members, struct dvit_error *error);
void dvit_products_free(struct dvit_products *products);

/* Prepares every operator for `images` images per member with whole images, or, where
 * by_rows, for `images` images whose rows all members share. */
enum dvit_status dvit_products_prepare(struct dvit_products *products,
                                       const struct dvit_graph *graph, int images, bool by_rows,
                                       struct dvit_error *error);

/* Prepares the weight gradients, which sum over all rows of `images` images. */
enum dvit_status dvit_products_prepare_batch(const struct dvit_graph *graph, int images,
                                             struct dvit_error *error);

/* Memory for folded and packed weights, `packed`, zero-filled; the operators point into it. */
enum dvit_status dvit_products_reserve(struct dvit_products *products, struct dvit_graph *graph,
                                       struct dvit_error *error);

/* Folds and packs the weights into it (inference only: training changes them), by all of `team`, or
 * by the caller alone where it is NULL. */
enum dvit_status dvit_products_pack(struct dvit_products *products, struct dvit_graph *graph,
                                    const float *const *parameters, struct dvit_threads *team,
                                    struct dvit_error *error);

/* What serves the forward products; the same for all of them. "none" without any. */
const char *dvit_products_server(const struct dvit_products *products);

/* Largest scratch that any operator or product of the graph needs, per member. */
size_t dvit_products_scratch_bytes(const struct dvit_products *products,
                                   const struct dvit_graph *graph,
                                   const struct dvit_kernels *kernels);

#endif
