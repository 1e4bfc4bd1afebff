/* What the rooms beside a session may do with one, beyond its public face. */
#ifndef DVIT_INFER_SESSION_H
#define DVIT_INFER_SESSION_H

#include "dvit/infer.h"
#include "graph/forward.h"

/* MISMATCH where arrays made for `model` are not those that the session reads and writes. */
enum dvit_status dvit_session_check_model(const struct dvit_session *session,
                                          const struct dvit_model *model, struct dvit_error *error);

/* Shows the observer every operator of later runs; members call it at once, and tell themselves
 * apart by run->product_member. */
void dvit_session_observe(struct dvit_session *session, struct dvit_observer observer);

#endif
