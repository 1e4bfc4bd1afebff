/* Running an inference graph: one lane of memory through which a batch passes.
 *
 * A lane is either one member's own (whole images, no synchronisation) or shared by a team that
 * splits the rows of its images, with barriers around operators that cross rows. The memory plan
 * knows which, and reuses memory only where no member can still be reading it. */
#ifndef DVIT_GRAPH_FORWARD_H
#define DVIT_GRAPH_FORWARD_H

#include "base/arena.h"
#include "base/threads.h"
#include "graph/products.h"
#include "ops/op.h"

struct dvit_forward {
    const struct dvit_graph *graph;
    const struct dvit_kernels *kernels;
    int max_images;
    int members; /* that share the lane */
    struct dvit_arena arena;
    float **values;             /* [value_count]; those of inputs are bound by the caller */
    int **kept;                 /* [stages] → images × kept[stage], original patch indices */
    struct dvit_layout *layout; /* [layouts] */
    unsigned char *scratch;     /* [members][scratch_bytes] */
    size_t scratch_bytes;
    size_t plan_bytes; /* of the activations */
    unsigned char *activations;
};

enum dvit_status dvit_forward_create(struct dvit_forward *forward, const struct dvit_graph *graph,
                                     const struct dvit_kernels *kernels,
                                     const struct dvit_products *products, int max_images,
                                     int members, struct dvit_error *error);
void dvit_forward_free(struct dvit_forward *forward);

/* Lays out `images` ≤ max_images images. By one member, before the others start. */
void dvit_forward_begin(struct dvit_forward *forward, int images);

/* Somebody who looks on: called by each member before it works on an operator, with the run as it
 * sees it. Zero for nobody. */
struct dvit_observer {
    void (*before)(void *context, const struct dvit_op *op, const struct dvit_run *run);
    void *context;
};

/* Where one member's time goes. */
struct dvit_forward_times {
    double *seconds; /* [op_count]: every pass adds to them */
    double passes;   /* through the graph */
};

/* What all members of a run have in common, but for the times. */
struct dvit_forward_job {
    struct dvit_forward *forward;
    const float *const *parameters;
    int images;
    struct dvit_threads *team; /* for barriers; unused where the lane has one member */
    atomic_int *failure;
    struct dvit_forward_times *times; /* this member's; NULL: no clock is read */
    struct dvit_observer observer;
};
/* `member` of the lane, 0 … members − 1; `product_member` is the one the products know. */
void dvit_forward_run(const struct dvit_forward_job *job, int member, int product_member);

#endif
