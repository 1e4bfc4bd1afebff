/* Where each image's rows begin in every layout of a graph: what lanes and training passes share.
 */
#ifndef DVIT_GRAPH_LAYOUTS_H
#define DVIT_GRAPH_LAYOUTS_H

#include "base/arena.h"
#include "ops/op.h"

/* Takes the arrays of layout[graph->layouts] (NULL while the arena only measures). */
void dvit_layouts_take(struct dvit_layout *layout, const struct dvit_graph *graph, int max_images,
                       struct dvit_arena *arena);

/* Lays out `images` images, all with the layouts' common counts. One that is decided at run time is
 * decided later, by its operator. */
void dvit_layouts_begin(struct dvit_layout *layout, const struct dvit_graph *graph, int images);

#endif
