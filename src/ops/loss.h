/* Shared by the loss operators (ops/loss_*.c); see loss.c. */
#ifndef DVIT_OPS_LOSS_H
#define DVIT_OPS_LOSS_H

#include "ops/op.h"

/* Sums over the batch of the two partial results that every image leaves. */
struct dvit_partial_sums {
    double first, second;
};
struct dvit_partial_sums dvit_loss_sums(const struct dvit_op *op, const struct dvit_run *run);

/* Factor of every gradient that this loss starts: its weight over the step's micro-batches. */
float dvit_loss_gradient_scale(const struct dvit_op *op, const struct dvit_run *run);

/* Shape rule of the losses on logits [rows][K] (input 0), one row per image or per patch. */
enum dvit_status dvit_loss_logits_shape(struct dvit_graph *graph, struct dvit_op *op,
                                        struct dvit_error *error);

/* ln Σ exp x, stable. count ≥ 1. */
double dvit_log_sum_exp(const float *x, size_t count);

#endif
