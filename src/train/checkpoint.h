/* The state file of a run: everything that going on needs, in one safetensors file. */
#ifndef DVIT_TRAIN_CHECKPOINT_H
#define DVIT_TRAIN_CHECKPOINT_H

#include "train/trainer.h"

/* What must be the same for a resumed run to be the same run. */
struct dvit_run_identity {
    const char *data;          /* fingerprint of the training data */
    size_t images;             /* of them */
    const char *teacher;       /* fingerprint of the teacher; NULL without one */
    const char *teacher_model; /* the name of its shape; NULL without one */
    long steps_per_epoch;
};

/* Replaces `path` atomically. */
enum dvit_status dvit_checkpoint_save(const struct dvit_trainer *trainer,
                                      const struct dvit_run_identity *identity, const char *path,
                                      struct dvit_error *error);

/* Puts weights, moments, EMA and progress into a trainer made with the same model and options. A
 * state of another model, teacher, seed or data set, or of options that compute something else, is
 * an error that names what differs, and so is one with numbers that no run has; weights and moments
 * are then unchanged. A state of fewer epochs is one to go on from: see trainer->saved_epochs. */
enum dvit_status dvit_checkpoint_load(struct dvit_trainer *trainer,
                                      const struct dvit_run_identity *identity, const char *path,
                                      struct dvit_error *error);

#endif
