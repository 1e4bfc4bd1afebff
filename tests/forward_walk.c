/* Making, running and freeing the graphs of forward_walk.h. */
#include "forward_walk.h"

#include <string.h>

#include "test_util.h"

void walk_open(struct walk *w, int patches, size_t parameters, int stages, const int *kept)
{
    struct dvit_graph_options options = {.patches = patches,
                                         .prefix = 1,
                                         .stages = stages,
                                         .kept = kept,
                                         .parameter_count = parameters};
    *w = (struct walk){0};
    dvit_kernels_select(&w->kernels, DVIT_CPU_REFERENCE);
    assert_ok(dvit_graph_create(&w->graph, &options, &w->error), &w->error);
    w->builder = (struct dvit_builder){.graph = w->graph, .error = &w->error};
}

void walk_member(void *context, int member, int members)
{
    struct walk *w = context;
    (void)members;
    dvit_forward_run(&w->job, member, member);
}

void walk_plan(struct walk *w, int images, int members)
{
    assert_ok(w->builder.status, &w->error);
    assert_ok(dvit_forward_create(&w->forward, w->graph, &w->kernels, &w->products, images, members,
                                  &w->error),
              &w->error);
    assert_ok(dvit_threads_create(&w->threads, members, NULL, &w->error), &w->error);
    w->job = (struct dvit_forward_job){
        .forward = &w->forward, .images = images, .team = w->threads, .failure = &w->failure};
    dvit_forward_begin(&w->forward, images);
    memset(w->forward.activations, 0xff, w->forward.plan_bytes);
}

void walk_close(struct walk *w)
{
    dvit_threads_free(w->threads);
    dvit_forward_free(&w->forward);
    dvit_products_free(&w->products);
    dvit_graph_free(w->graph);
}
