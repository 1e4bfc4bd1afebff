/* How a team shares the products of a few images: by rows, and where those are few by outputs too.
 */
#ifndef DVIT_OPS_SHARE_H
#define DVIT_OPS_SHARE_H

#include "ops/op.h"

/* Into how many parts rows and outputs are cut; each pair of them is one member's. */
struct dvit_cut {
    int rows, columns;
};

/* The cut of a product [rows][inputs]·[inputs][outputs] for `members` that all take part at once.
 * With columns 1 the rows are those that dvit_span_share gives to each member, as of any other
 * operator; with more, members need what others have made of a row: they meet before and after. */
struct dvit_cut dvit_cut_product(size_t rows, size_t outputs, size_t inputs, int members);

struct dvit_share {
    struct dvit_span rows, outputs;
};

/* A member's share; nothing where the cut has fewer parts than members. Outputs begin at multiples
 * of DVIT_MATMUL_RANGE. */
struct dvit_share dvit_cut_share(struct dvit_cut cut, size_t rows, size_t outputs, int member);

#endif
