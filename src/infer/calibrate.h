/* Which numbers go into the linear layers of a model's blocks: seen while it runs in f32. */
#ifndef DVIT_INFER_CALIBRATE_H
#define DVIT_INFER_CALIBRATE_H

#include "dvit/infer.h"
#include "kernels/packed/quantise.h"

struct dvit_calibration;

/* For a model (borrowed) at its own keep ratio and dense, so that ranges hold on both paths.
 * `options`: batch, threads and cpu count. Caller frees. */
enum dvit_status dvit_calibration_create(struct dvit_calibration **out,
                                         const struct dvit_model *model,
                                         const struct dvit_session_options *options,
                                         struct dvit_error *error);
void dvit_calibration_free(struct dvit_calibration *calibration);

/* One more batch, as for dvit_session_run. */
enum dvit_status dvit_calibration_run(struct dvit_calibration *calibration, const float *pixels,
                                      int count, struct dvit_error *error);

/* The best ranges for what was seen: inputs [parameters of the model], scale 0 where a parameter is
 * no weight of such a layer. A layer that saw a number that is not finite, or nothing, is an error
 * that names it. */
enum dvit_status dvit_calibration_finish(const struct dvit_calibration *calibration,
                                         struct dvit_quantised *inputs, struct dvit_error *error);

#endif
