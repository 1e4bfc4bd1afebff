/* Eight bits: calibrating a model for them, and what they cost.
 *
 * In an int8 session the stem, the blocks' linear layers and attention, and the first layer of
 * each predictor multiply bytes. Weights are rounded by
 * themselves, a scale for each output; what goes into a layer is rounded to one range per layer,
 * which has to be measured on images: that is calibration. It changes no weight, so the model runs
 * in f32 as before; training it ends it. dvit_model_save with dtype "int8" writes the bytes and the
 * ranges; such a file loads like any other, its weights then being those of the bytes. */
#ifndef DVIT_QUANTIZE_H
#define DVIT_QUANTIZE_H

#include "dvit/data.h"
#include "dvit/infer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* From fewer images ranges are a matter of chance. */
#define DVIT_CALIBRATION_ENOUGH 128

struct dvit_calibrate_options {
    size_t images;   /* of the data set, drawn by chance; all where it has fewer; default 512 */
    uint64_t seed;   /* of that chance; default 0 */
    int batch;       /* default 32 */
    int threads;     /* as for sessions; default 0 */
    int workers;     /* loader threads; default 1 */
    const char *cpu; /* as for sessions; default "auto" */
};
DVIT_API struct dvit_calibrate_options dvit_calibrate_options_default(void);

/* Runs the model in f32, dense and at its own keep ratio, and keeps for each linear layer of the
 * blocks the range of inputs that 256 steps represent with the least squared error. Labels are not
 * looked at; images should be like those that the model is for. The model must not be in use.
 * `options` may be NULL; `progress` too, it hears of images done and total. The same images give
 * the same ranges up to rounding of sums. On failure the model is as before. */
DVIT_API enum dvit_status
dvit_model_calibrate(struct dvit_model *model, struct dvit_dataset *dataset,
                     const struct dvit_calibrate_options *options,
                     void (*progress)(void *context, size_t done, size_t total), void *context,
                     struct dvit_error *error);

/* ---------------------------------------------------------------------- what rounding costs --- */

/* A session's answers beside those of another one that runs the same model. */
struct dvit_comparison {
    size_t images;
    size_t skipped;    /* that could not be read */
    size_t unanswered; /* logits that are not finite: never right, never agreeing */
    double top1;       /* share of right answers */
    double agreement;  /* share of images with the base's best class */
    int stages;        /* of the path */
    double other_kept[DVIT_MAX_STAGES]; /* share of the kept patches that the base dropped */
};

struct dvit_compare_options {
    int batch;     /* ≤ each session's max_batch */
    int workers;   /* loader threads */
    bool strict;   /* an image that cannot be read is an error instead of a gap */
    size_t limit;  /* images, drawn by chance; 0 = all */
    uint64_t seed; /* of that chance */
};

/* Shows the same images to `count` sessions of `model` at the same keep ratio; the first one is
 * what the others are compared with, itself included. out [count]. `progress` may be NULL. */
DVIT_API enum dvit_status
dvit_compare_sessions(struct dvit_session *const *sessions, int count,
                      const struct dvit_model *model, struct dvit_dataset *dataset,
                      const struct dvit_compare_options *options,
                      void (*progress)(void *context, size_t done, size_t total), void *context,
                      struct dvit_comparison *out, struct dvit_error *error);

#ifdef __cplusplus
}
#endif
#endif
