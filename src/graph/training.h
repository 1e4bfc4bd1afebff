/* Running a training graph: forward, then backward in reverse, by a team in one parallel region.
 *
 * Each member carries whole images forward and backward; where an operator has trained parameters,
 * all members meet and each sums the gradient of its own share of channels over all rows, so the
 * result depends on neither the team nor the order of its work. Values are kept, but for those that
 * are cheaper to make again; they, and gradients, share memory as their lives allow. */
#ifndef DVIT_GRAPH_TRAINING_H
#define DVIT_GRAPH_TRAINING_H

#include "base/arena.h"
#include "base/threads.h"
#include "graph/products.h"
#include "ops/op.h"

struct dvit_training {
    struct dvit_graph *graph;
    const struct dvit_kernels *kernels;
    int max_images;
    int members;
    struct dvit_arena arena;
    float **values;    /* [value_count]; those of inputs are bound by the caller */
    float **gradients; /* [value_count]; NULL where none flows */
    int *maker;        /* [value_count]: of a value that is made again, by this operator … */
    int *last_reader;  /* … before this one's backward; else −1 */
    struct dvit_layout *layout; /* [layouts] */
    unsigned char *scratch;
    size_t scratch_bytes;
    size_t values_bytes, gradients_bytes, remade_bytes; /* of the parts of the arena */
};

/* Decides which gradients accumulate (before the products are created: they depend on it). */
enum dvit_status dvit_training_mark(struct dvit_graph *graph, struct dvit_error *error);

enum dvit_status dvit_training_create(struct dvit_training *training, struct dvit_graph *graph,
                                      const struct dvit_kernels *kernels,
                                      const struct dvit_products *products, int max_images,
                                      int members, struct dvit_error *error);
void dvit_training_free(struct dvit_training *training);

void dvit_training_begin(struct dvit_training *training, int images);

struct dvit_training_job {
    struct dvit_training *training;
    const float *const *parameters;
    float *const *parameter_gradients; /* accumulated into; NULL where not trained */
    int images;
    double loss_scale;
    struct dvit_threads *team;
    atomic_int *failure;
};
/* The view that an operator's functions get; also for reading losses after a run. */
struct dvit_run dvit_training_view(const struct dvit_training_job *job, int member);
/* Forward and backward; every member calls it, and all must return before results are read. */
void dvit_training_run(const struct dvit_training_job *job, int member);
/* Forward only. */
void dvit_training_forward(const struct dvit_training_job *job, int member);

#endif
