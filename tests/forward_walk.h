/* An inference graph of a few operators, run by a team that splits the rows of its images or by one
 * member: for tests of operators. walk_open, then operators through w.builder, walk_plan, then
 * dvit_threads_run of walk_member. */
#ifndef DVIT_TESTS_FORWARD_WALK_H
#define DVIT_TESTS_FORWARD_WALK_H

#include "graph/builder.h"
#include "graph/forward.h"

struct walk {
    struct dvit_graph *graph;
    struct dvit_builder builder;
    struct dvit_error error;
    struct dvit_kernels kernels;
    struct dvit_products products;
    struct dvit_forward forward;
    struct dvit_threads *threads;
    struct dvit_forward_job job;
    atomic_int failure;
};

/* A graph of `patches` patches and a class token; kept: [stages], which must outlive the walk. */
void walk_open(struct walk *w, int patches, size_t parameters, int stages, const int *kept);
/* Memory for `images` images, filled with NaN. */
void walk_plan(struct walk *w, int images, int members);
/* One member's part; context: the walk. */
void walk_member(void *context, int member, int members);
void walk_close(struct walk *w);

#endif
