/* What the values of an inference graph are made of. */
#ifndef DVIT_GRAPH_FORMATS_H
#define DVIT_GRAPH_FORMATS_H

#include "ops/op.h"

/* Sets the format of every value of an inference graph that will run at level `cpu`, before its
 * products are created and its memory is planned. Nothing is rounded that its readers would not
 * round. */
void dvit_formats_choose(struct dvit_graph *graph, enum dvit_cpu cpu);

#endif
