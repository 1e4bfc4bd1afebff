/* A training run while it goes on: what its parts share. train.c walks through the steps; events,
 * saves and evaluations are files of their own. */
#ifndef DVIT_TRAIN_JOB_H
#define DVIT_TRAIN_JOB_H

#include "train/checkpoint.h"
#include "train/run_folder.h"
#include "train/run_log.h"
#include "train/trainer.h"

/* What to do about steps without a finite loss. */
#define DVIT_JOB_ADVICE "try a lower learning rate (--lr) or bound the gradient's norm (--clip 1)"

/* Means of what steps report, between two events. */
struct dvit_job_window {
    int steps;
    int skipped; /* steps without a finite loss, which no mean holds */
    struct dvit_losses sum;
    double gradient_norm;
    size_t images;
    double start; /* seconds */
};

struct dvit_job {
    struct dvit_trainer *trainer;
    struct dvit_dataset *train, *validation;
    const struct dvit_train_options *options;
    dvit_train_callback *callback;
    void *context;
    const volatile int *stop;
    struct dvit_error *error;

    struct dvit_loader *loader;
    struct dvit_run_log log;
    bool log_failed; /* said once */
    struct dvit_run_identity identity;
    char teacher_name[17]; /* its fingerprint */
    struct dvit_run_folder folder;
    bool resumed;   /* from a state, which resuming does without where there is none */
    int saves_done; /* of *options->save_requests */
    long steps_per_epoch, total_steps, last_step; /* last_step: where this run ends */
    long next_batch; /* of the loader's epoch, after the last one taken */
    size_t skips_told;
    struct dvit_job_window window;
    double seconds_per_step; /* smoothed */
    long saved_step;         /* the state file is the state after this step; −1: unknown */
    bool state_is_good;    /* the state file and the one that a rollback returns to are the same */
    bool best_is_present;  /* the best model's file is of the weights as they are */
    bool unfinite_answers; /* of the last evaluation of this run */
    double end_loss;       /* cross-entropy of the last evaluation, or of the last steps told */
};

/* ---- job_events.c ---- */

/* Fills what all events have, then logs and tells it. */
void dvit_job_emit(struct dvit_job *job, struct dvit_train_event *event);
void dvit_job_emit_text(struct dvit_job *job, enum dvit_train_event_kind kind, const char *text);
/* The step event: means over the window, which begins anew. */
void dvit_job_emit_step(struct dvit_job *job);
void dvit_job_reset_window(struct dvit_job_window *window);
void dvit_job_add_to_window(struct dvit_job *job, size_t images);
void dvit_job_tell_skipped_images(struct dvit_job *job);
void dvit_job_tell_teacher(struct dvit_job *job);

/* ---- job_saves.c ---- */

/* A save that every run with these options makes at this step. It becomes the state that a rollback
 * returns to where `may_be_good`, the weights are finite and the steps before were not bad: a run
 * that is stopped and goes on rolls back to the same state. */
enum dvit_status dvit_job_save_scheduled(struct dvit_job *job, bool may_be_good);
enum dvit_status dvit_job_save_model(struct dvit_job *job, const struct dvit_model *model,
                                     const char *path);
/* The trained weights as last.safetensors; where the best model's file has just got the same bytes,
 * as a second name of it. */
enum dvit_status dvit_job_save_last(struct dvit_job *job);
enum dvit_status dvit_job_keep_epoch(struct dvit_job *job);
/* Of a run that begins, or of one that was resumed from the state file. */
enum dvit_status dvit_job_begin_good_state(struct dvit_job *job);
/* How often a save was asked for so far. */
int dvit_job_save_requests(const struct dvit_job *job);
bool dvit_job_stop_requested(const struct dvit_job *job);
/* Saves; always an error. */
enum dvit_status dvit_job_stop_early(struct dvit_job *job);
enum dvit_status dvit_job_answer_requests(struct dvit_job *job);
enum dvit_status dvit_job_roll_back(struct dvit_job *job);

/* ---- job_evaluate.c ---- */

enum dvit_status dvit_job_end_epoch(struct dvit_job *job);
/* The end of a run that has taken all steps of its schedule: nothing can be rolled back any more.
 */
void dvit_job_tidy(struct dvit_job *job);
/* The last words of a run that has taken all its steps: an error where it diverged. */
enum dvit_status dvit_job_conclude(struct dvit_job *job);

#endif
