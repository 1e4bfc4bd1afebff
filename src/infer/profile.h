/* Where the time of a session goes, operator by operator. */
#ifndef DVIT_INFER_PROFILE_H
#define DVIT_INFER_PROFILE_H

#include "base/arena.h"
#include "dvit/infer.h"
#include "graph/forward.h"
#include "models/parameters.h"

/* All of a session's times; zeroed memory is one that takes none. */
struct dvit_times {
    struct dvit_profile sum;
    struct dvit_forward_times *members; /* [member_count]; NULL: nothing is taken */
    int member_count;
    struct dvit_arena arena;
};

/* From zero, for a team of `members` that runs `graph`. */
enum dvit_status dvit_times_begin(struct dvit_times *times, const struct dvit_graph *graph,
                                  int members, struct dvit_error *error);
void dvit_times_free(struct dvit_times *times);

/* Row 0 … op_count: the operators, then what is between them. */
struct dvit_profile_row dvit_times_row(const struct dvit_times *times,
                                       const struct dvit_graph *graph,
                                       const struct dvit_parameters *parameters, size_t index);

#endif
