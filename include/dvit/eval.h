/* Evaluation: the accuracy, speed and pruning statistics of a session over a data set. */
#ifndef DVIT_EVAL_H
#define DVIT_EVAL_H

#include "dvit/data.h"
#include "dvit/infer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Accuracy of a session over a data set. */
struct dvit_evaluation {
    size_t images; /* counted: readable ones */
    size_t skipped;
    double top1, top5;         /* shares in 0 … 1; top5 is 1 where K ≤ 5 */
    double loss;               /* mean cross-entropy, no smoothing */
    double images_per_s;       /* of the whole pipeline, decoding included */
    double model_images_per_s; /* of the model alone */
    int stages;
    double kept_share[DVIT_MAX_STAGES]; /* of all patches, per stage */
    bool has_masks;
    double object_kept_share[DVIT_MAX_STAGES]; /* of the object's pixels, in patches kept */
};
struct dvit_evaluate_options {
    int batch;   /* ≤ the session's max_batch */
    int workers; /* loader threads */
    bool strict;
    size_t limit; /* first so many images; 0 = all */
};
/* `progress` may be NULL; called with images done and total. */
DVIT_API enum dvit_status
dvit_evaluate(struct dvit_session *session, const struct dvit_model *model,
              struct dvit_dataset *dataset, const struct dvit_evaluate_options *options,
              void (*progress)(void *context, size_t done, size_t total), void *context,
              struct dvit_evaluation *out, struct dvit_error *error);

#ifdef __cplusplus
}
#endif
#endif
