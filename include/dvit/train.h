/* Training: dense models, and dynamic models distilled from a dense teacher.
 *
 * dvit_train runs the whole job – epochs, evaluation, checkpoints, log – in a run folder:
 *   best.safetensors   the model with the best validation accuracy, trained or averaged (EMA)
 *   last.safetensors   the model as of the last evaluation or stop; a second name of the best one
 *                      where that is the same
 *   state.safetensors  everything needed to go on: weights, moments, EMA, counters
 *   good.safetensors   the state that a rollback returns to: the last one saved by schedule outside
 *                      a bad stretch; mostly another name of state.safetensors, and removed at the
 *                      end of a run where it is
 *   run.lock           while a training holds the folder
 *   log.jsonl          one JSON object per line: configuration, steps, evaluations, events
 *   log.csv            the steps and evaluations of the log as a table; cells may be empty
 *   events.out.tfevents.…  the same for TensorBoard, a file for each time the run is started
 *   kept/epoch-….png   pictures that dvit_train_options.draw made, if any
 *   config.json        options, model, data fingerprint, command, version
 * All but the logs are replaced atomically. Going on from state.safetensors gives the same bits as
 * never having stopped (same machine, build and thread count).
 *
 * Signals: the threads of a training block them, and the calling thread does while a micro-batch is
 * computed (all but SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT), because a matrix
 * product may use the stack pointer for something else: a handler without a stack of its own
 * (sigaltstack, SA_ONSTACK) would overwrite memory. A handler that the program has set therefore
 * runs between micro-batches, or at once in another thread of the program that does not block the
 * signal. Best, block the signals before dvit_train and wait for them (sigwait) in a thread that
 * does not compute: it sets *stop and *save_requests, with atomic stores. */
#ifndef DVIT_TRAIN_H
#define DVIT_TRAIN_H

#include <stdint.h>

#include "dvit/data.h"
#include "dvit/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Upper end of dvit_train_options.decision_gradient_cap: ln(1/eps) of the masked softmax. */
#define DVIT_DECISION_GRADIENT_EXACT 13.815510557964274

#define DVIT_MAX_ROLLBACKS           32

/* Of warm-up, freezing and EMA: as long as is usual, at most what fits the run; of a run that goes
 * on: as it was. What was chosen is noted. */
#define DVIT_TRAIN_FIT (-1)

/* Draws what `model` does by now into *out, an empty image that the caller frees; epochs count from
 * 0. A failure is told as an event, and the training goes on. */
typedef enum dvit_status dvit_train_draw(void *context, const struct dvit_model *model, int epoch,
                                         struct dvit_image *out, struct dvit_error *error);

/* Every field's range is checked by dvit_train; errors name the field and its bound. */
struct dvit_train_options {
    const char *out;       /* run folder; created */
    const char *command;   /* recorded in config.json; may be NULL */
    uint64_t seed;         /* default 0 */
    int epochs;            /* ≥ 1; default 30 */
    int batch;             /* images per micro-batch, 1 … 4096; default 64 */
    int accumulate;        /* micro-batches per step, 1 … 1024; default 1 */
    int threads;           /* 0 = default count */
    int workers;           /* loader threads, 0 … 64; default 1 */
    const char *precision; /* "f32" (also NULL); "bf16": matrix products of linear layers and of
                              attention in bfloat16, everything else and the weights in f32, an
                              error where the processor has no such products; "auto": bf16 where it
                              has them */
    const char *cpu;       /* kernel level; default "auto" */

    double learning_rate;          /* default 1e-3 */
    double backbone_lr_scale;      /* of learning_rate for the backbone; 1 dense, .01 sparsify */
    double min_learning_rate;      /* default 1e-6 */
    double warmup_epochs;          /* ≥ 0; default DVIT_TRAIN_FIT: 5, at most ¼ of the epochs */
    double backbone_freeze_epochs; /* backbone's rate is 0 so long; 0 dense, DVIT_TRAIN_FIT (as for
                                      warm-up) sparsify */
    bool freeze_backbone;          /* only predictors are trained, for the whole run */
    bool freeze_embeddings;  /* cls_token and pos_embed never move; false dense, true sparsify */
    const char *optimizer;   /* "adamw" (also NULL), "lamb" or "sgd" */
    double layer_decay;      /* in (0, 1]: a backbone layer's rate has this factor for each layer
                                above it; predictors' rate has none; default 1 */
    double weight_decay;     /* ≥ 0; default .05; none for 1-D parameters and biases */
    double weight_decay_end; /* ≥ 0: weight_decay goes there along half a cosine; −1, the
                                default: it stays */
    double beta1, beta2, adam_eps; /* of adamw and lamb: .9, .999, 1e-8 */
    double momentum;               /* of sgd, in [0, 1); default .9 */
    bool nesterov;                 /* of sgd: look ahead; default false */
    double clip_norm;       /* gradient norm bound over the updated tensors; 0 = off (default) */
    double ema_decay;       /* in [0, 1); 0 = off; default DVIT_TRAIN_FIT: .9999, in runs below
                               46,000 steps what leaves 1 % of the first weights at the end */
    double drop_path;       /* in [0, 1); rate of the last block; default 0 */
    double label_smoothing; /* in [0, 1); default .1 */

    /* Augmentation. Off unless said otherwise; "recipe" is what DeiT and DynamicViT were trained
     * with. */
    bool augment;             /* crops and all below; default true. false: images as evaluation sees
                                 them, whatever the rest says */
    bool flip;                /* left and right swapped for half of the images; default true */
    const char *rand_augment; /* a policy as timm writes it: rand-m9-mstd0.5-inc1 (recipe), …,
                                 original, v0; NULL or "none": off. Borrowed during the run */
    double color_jitter;      /* brightness, contrast, colour by a factor uniform in 1 ± this, in
                                 [0, 1], where there is no policy; recipe .4; 0 = off */
    double erasing;           /* probability of a box of noise, in [0, 1]; recipe .25 */
    double mixup;             /* α of mixup, 0 = off, .001 … 100; recipe .8 */
    double cutmix; /* α of cutmix alike; recipe 1. With both, each has half the batches */
    int repeats;   /* times that an image comes in a row, each time varied anew, 1 … 64;
                      default 1; DeiT 3 */

    double keep;              /* rho for sparsify, in (0, 1]; ignored for dense. The model records
                                 it, and evaluations run at it */
    double elastic_low;       /* elastic training: each step draws rho uniformly from */
    double elastic_high;      /* [elastic_low, elastic_high] and keeps exactly as many patches as
                                 inference would, so that one model serves every ratio; 0: off */
    double weight_cls;        /* 1 */
    double weight_ratio;      /* 2 */
    double weight_kl;         /* .5: the teacher's logits */
    double weight_token;      /* the teacher's patches; 0 dense, .5 sparsify */
    double weight_aux;        /* .5: cross-entropy of every patch's logits against the image's
                                 target, in models with an auxiliary head and where no teacher's
                                 patches are learnt */
    bool ratio_on_batch_mean; /* "dynamic": easy images may keep fewer; default false */
    /* Bound of the exponent by which a dropped patch's attention logit may lead the kept ones' in
     * the gradient of its decision, in [0, DVIT_DECISION_GRADIENT_EXACT]. At the upper end the
     * gradient is the exact derivative (as the reference has it up to eps), which where attention
     * is sharp exceeds the true effect of keeping the patch up to 1/eps times. At 0, the default,
     * a patch counts for at most what the strongest kept one does. */
    double decision_gradient_cap;

    /* A folder, created, in which the teacher's answers to every image are kept, to be read instead
     * of computed from the second epoch on, and by later runs with the same teacher, images and
     * precision. The training's bits stay the same. Without augmentation only. NULL: off. A file
     * there takes 4·(K + what the token term compares) bytes per image; more than the limit is an
     * error, a disk that has no room or no permission is told and the run goes on. */
    const char *cache_teacher;
    double cache_limit_gb; /* of that file, in 10^9 bytes, above 0; default 16 */

    bool resume;          /* go on from state.safetensors in `out`, or begin where there is none: an
                             error that names what differs where model, teacher, data, seed or an
                             option that changes what is computed is not as it was. More epochs
                             than before extend the run: its rates follow the longer schedule from
                             there */
    bool strict;          /* an unreadable image is an error */
    int max_bad_steps;    /* consecutive skipped steps before a rollback; default 20 */
    int max_rollbacks;    /* returns to the last good state, each halving the learning rate for the
                             rest, before giving up; 0 … DVIT_MAX_ROLLBACKS; default 3 */
    int keep_checkpoints; /* also keep state and model of the last so many epochs, as
                             state-epoch0007.safetensors and last-epoch0007.safetensors; default 0
                           */
    const volatile int *save_requests; /* counted up by another thread or a signal handler (an
                                          atomic store), it has the state saved within a
                                          micro-batch and noted, and the run goes on; may be NULL */
    int log_every;                     /* steps between step records; default 10 */
    bool tensorboard;                  /* write an event file; default true */
    /* Called from the training thread after the first epoch, the last and about ten between; may be
     * NULL. The pictures become kept/epoch-0001.png, … in the run folder, and images of the event
     * file. */
    dvit_train_draw *draw;
    void *draw_context;
    int checkpoint_every; /* steps between state saves beside the epochs' ends; 0 = none */
    int max_steps;        /* stop after so many steps in total; 0 = no bound */
};
/* Defaults for dense training, and for sparsifying. */
DVIT_API struct dvit_train_options dvit_train_options_dense(void);
DVIT_API struct dvit_train_options dvit_train_options_sparsify(void);

enum dvit_train_event_kind {
    DVIT_TRAIN_STARTED,     /* steps_per_epoch, total_steps, first step known */
    DVIT_TRAIN_STEP,        /* every log_every steps: means since the last event */
    DVIT_TRAIN_EVALUATED,   /* end of an epoch */
    DVIT_TRAIN_SAVED,       /* `text` is the path */
    DVIT_TRAIN_SKIPPED,     /* an image (`text`: name and reason) or a non-finite step */
    DVIT_TRAIN_ROLLED_BACK, /* `text`: to which state and why */
    DVIT_TRAIN_NOTED,       /* `text`: worth knowing, such as where a teacher's answers are kept */
    DVIT_TRAIN_FINISHED, /* `text`: why ("done", "stopped on request", "step limit reached", or how
                            the run diverged) */
};

struct dvit_train_event {
    enum dvit_train_event_kind kind;
    int epoch;              /* 0-based */
    long step, total_steps; /* optimiser steps done, of the run */
    int steps_per_epoch;
    double learning_rate, backbone_learning_rate;
    double loss; /* weighted; the parts are not; NaN, as all means, where all steps were skipped */
    double loss_cls, loss_ratio, loss_kl, loss_token, loss_aux;
    double gradient_norm;
    int stages;
    double keep[DVIT_MAX_STAGES]; /* mean share of patches kept per stage, of the initial N */
    double images_per_s;
    double eta_s;   /* seconds to the end at the present rate */
    long bad_steps; /* skipped so far for non-finite values */
    /* evaluation */
    double val_top1, val_top5, val_loss; /* shares in 0 … 1; of the trained weights; NaN where an
                                            answer was not finite */
    double ema_top1;                     /* of the averaged weights, alike; −1 where EMA is off */
    bool best; /* the best so far, of either weights: best.safetensors was replaced */
    const char *text;
};

/* Called from the training thread. Setting *stop from a signal handler or another thread (an atomic
 * store) ends the run after the current micro-batch with DVIT_ERROR_INTERRUPTED, everything saved.
 */
typedef void dvit_train_callback(void *context, const struct dvit_train_event *event);

/* Images that already have the network's size are never resized: their crops are padded by 4
 * pixels, and the model's preprocessing becomes "native". Others get random resized crops.
 *
 * Trains `model` in place. `teacher` is frozen and answers as a dense model; it needs the student's
 * classes and image size, and for the token term what dvit_train_compares_tokens says. It sees the
 * student's pixels, in its own mean and standard deviation. A model with stages needs one unless
 * weight_kl and weight_token are 0, when none is read; for a dense model it may be NULL.
 * `validation` may be NULL (no evaluation; best = last). The data sets' class count must be the
 * model's. DVIT_ERROR_NUMERIC where the run diverged: most of its steps had no finite loss, the
 * answers at the end are not finite, or no evaluation had finite answers. */
DVIT_API enum dvit_status dvit_train(struct dvit_model *model, const struct dvit_model *teacher,
                                     struct dvit_dataset *train, struct dvit_dataset *validation,
                                     const struct dvit_train_options *options,
                                     dvit_train_callback *callback, void *context,
                                     const volatile int *stop, struct dvit_error *error);

/* Whether the token term can compare the two models' patches: the same patch size, width and kind
 * of head. Where not, weight_token must be 0. */
DVIT_API bool dvit_train_compares_tokens(const struct dvit_model *student,
                                         const struct dvit_model *teacher);

/* The loader that a run with these options reads `train` through, for an input of
 * preprocess->crop_width × crop_height; *preprocess becomes "native" where the images have that
 * size already. Its batches are what the network is trained on. Caller frees. */
DVIT_API enum dvit_status dvit_train_loader_create(struct dvit_loader **out,
                                                   struct dvit_dataset *train,
                                                   const struct dvit_train_options *options,
                                                   struct dvit_preprocess *preprocess,
                                                   struct dvit_error *error);

/* Speed of a training step on synthetic images, files and data aside. */
struct dvit_step_speed {
    int steps;           /* measured, after one to warm up */
    double step_s;       /* median of a step: its micro-batches and the update */
    double images_per_s; /* of that step */
    double gflop;        /* of one step: products of forward and backward, attention, teacher */
    bool bf16;           /* linear layers multiplied in bfloat16 */
    int threads;
    size_t memory_bytes; /* weights, gradients, moments, activations, teacher */
};
/* Measures at least 3 steps and about `seconds`. `model` is copied and stays as it is; `teacher` as
 * for dvit_train; of `options` those that a step depends on are used (batch, accumulate, threads,
 * precision, cpu, …). */
DVIT_API enum dvit_status dvit_train_measure(struct dvit_step_speed *out,
                                             const struct dvit_model *model,
                                             const struct dvit_model *teacher,
                                             const struct dvit_train_options *options,
                                             double seconds, struct dvit_error *error);

/* Loss against learning rate, for choosing one. */
#define DVIT_RATE_STEPS 100
struct dvit_rate_curve {
    int count;                     /* steps taken: fewer where the loss left all bounds */
    double rates[DVIT_RATE_STEPS]; /* from 1e-7, each the same factor above the last, to 10 */
    double losses[DVIT_RATE_STEPS], smoothed[DVIT_RATE_STEPS];
    double suggestion; /* a tenth of the rate with the lowest smoothed loss; 0: it never fell */
};
/* Takes up to DVIT_RATE_STEPS steps on a copy of `model` with the given options, but for schedule,
 * freezing by epochs and moving average. Writes no file. Data and teacher as for dvit_train;
 * *stop ends it with DVIT_ERROR_INTERRUPTED (may be NULL). */
DVIT_API enum dvit_status dvit_train_find_rate(struct dvit_rate_curve *out,
                                               const struct dvit_model *model,
                                               const struct dvit_model *teacher,
                                               struct dvit_dataset *train,
                                               const struct dvit_train_options *options,
                                               const volatile int *stop, struct dvit_error *error);

/* Whether `folder` holds a run, also one that has only begun, or what a search for a rate left. */
DVIT_API bool dvit_run_exists(const char *folder);
/* Whether a file or folder of this name in a run folder is the run's own: its models, states, logs
 * and pictures, but not its page, report.html, which may be made anew at any time. */
DVIT_API bool dvit_run_owns(const char *name);

/* The base learning rate at iteration `it` (0-based) of `total`, warm-up over `warmup` iterations:
 * base·it/(W−1) for it < W, then min + ½(base−min)(1 + cos(π(it−W)/(total−W))). */
DVIT_API double dvit_schedule_rate(double base, double min, long it, long warmup, long total);

#ifdef __cplusplus
}
#endif
#endif
