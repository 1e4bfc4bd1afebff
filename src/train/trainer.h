/* One training step, without data sets, files or clocks: the part of training that computes.
 *
 * A step is one or more micro-batches (dvit_trainer_micro), whose gradients add up, and an update
 * (dvit_trainer_update). Neither allocates. */
#ifndef DVIT_TRAIN_TRAINER_H
#define DVIT_TRAIN_TRAINER_H

#include "dvit/train.h"
#include "graph/training.h"
#include "models/model.h"
#include "models/vit.h"
#include "train/teacher.h"

/* Everything that changes from step to step and must survive a restart, beside the weights. */
struct dvit_progress {
    long step;      /* updates attempted, also skipped ones: position in the schedule */
    long adam_step; /* updates made: exponent of the bias corrections */
    long bad_steps; /* skipped in total */
    long bad_in_row;
    double best_top1; /* −1 before the first evaluation */
    long rollbacks;   /* to an earlier state; each halves the learning rate for the rest */
    bool unevaluated; /* the epoch's steps are done, its evaluation is not */
    bool good;        /* of a saved state: it is what a rollback returns to */
    bool broken;      /* of a saved state: not all of its values are finite, and it says so */
};

enum dvit_optimizer { DVIT_OPTIMIZER_ADAMW, DVIT_OPTIMIZER_LAMB, DVIT_OPTIMIZER_SGD };

struct dvit_losses {
    double total;                 /* weighted */
    double cls, ratio, kl, token; /* ratio: mean over stages */
    double aux;                   /* of an auxiliary head without a teacher */
    double keep[DVIT_MAX_STAGES]; /* mean share of patches kept */
};

struct dvit_trainer {
    struct dvit_model *model;   /* trained in place */
    struct dvit_model *average; /* EMA; NULL where it is off */
    struct dvit_teacher teacher;
    struct dvit_train_options asked;   /* as they were given */
    struct dvit_train_options options; /* nothing left to fit */
    int saved_epochs; /* of the run as it was saved, where it was resumed; otherwise 0 */
    long steps_per_epoch, total_steps;
    struct dvit_progress progress;

    enum dvit_optimizer optimizer;
    bool bf16;
    struct dvit_kernels kernels;
    struct dvit_threads *threads;
    bool *trained; /* [parameters]: gets a gradient */
    struct dvit_graph *graph;
    struct dvit_vit_values values;
    struct dvit_products products;
    struct dvit_training training;

    struct dvit_arena arena;
    float *gradients, *moment1, *moment2; /* laid out as the weights; sgd has no second moment */
    double *rate_scale;                   /* [parameters]: layer decay */
    double *norms; /* [members][parameters][2]: squares of weight and direction; lamb only */
    float **parameters, **parameter_gradients;
    float *targets;                         /* [batch][K] */
    float *teacher_logits, *teacher_tokens; /* [batch][…] as the teacher says */
    float *noise;                           /* [S][batch][N][2] */
    float *branch_scale;                    /* [2·depth][batch] */
    double *partial;                        /* [members]: sums of squares */
    float *moments;                         /* [2·stem_width]: of one batch norm */
    uint16_t *rounded; /* the weights as bfloat16, laid out as they are; where bf16 */

    const struct dvit_micro_batch *batch; /* of the micro-batch in progress */
    uint64_t noise_step;                  /* its number in the whole run */
    int micro;                            /* its number in its step */
    struct dvit_losses losses;            /* means over the step's micro-batches so far */
    double learning_rate, backbone_learning_rate, weight_decay; /* of the last step */
    double gradient_norm;
    atomic_int failure;
};

struct dvit_micro_batch {
    int images;              /* 1 … options.batch */
    const float *pixels;     /* [images][3][H][W] */
    const int *labels;       /* [images]; used where targets is NULL */
    const float *targets;    /* [images][K] soft targets, or NULL: smoothed from the labels */
    const uint32_t *indices; /* [images] into the data set, or NULL: the teacher's answers to them
                                are not kept */
    const float *noise;      /* [S][images][N][2] Gumbel noise, or NULL: drawn */
};

enum dvit_status dvit_trainer_create(struct dvit_trainer **out, struct dvit_model *model,
                                     const struct dvit_model *teacher,
                                     const struct dvit_train_options *options, long steps_per_epoch,
                                     long total_steps, struct dvit_error *error);
void dvit_trainer_free(struct dvit_trainer *trainer);

/* Forward and backward of one micro-batch; the first of a step clears the gradients. */
enum dvit_status dvit_trainer_micro(struct dvit_trainer *trainer,
                                    const struct dvit_micro_batch *batch, struct dvit_error *error);

/* Ends the step: clips, updates weights and EMA, moves on. Where the loss or the gradient is not
 * finite nothing is changed but the counters, and *skipped is true. */
void dvit_trainer_update(struct dvit_trainer *trainer, bool *skipped);

/* Whether micro-batches change more than gradients: running statistics of batch norms. */
bool dvit_trainer_has_statistics(const struct dvit_trainer *trainer);

const char *dvit_optimizer_name(enum dvit_optimizer optimizer);
/* NULL is adamw. */
enum dvit_status dvit_optimizer_parse(const char *name, enum dvit_optimizer *out,
                                      struct dvit_error *error);

/* Whether all that a step moves is finite: weights, moments, average. */
bool dvit_trainer_is_finite(const struct dvit_trainer *trainer);

/* Ranges of the options; an error names the field and its bound. */
enum dvit_status dvit_train_options_check(const struct dvit_train_options *options,
                                          struct dvit_error *error);

#endif
