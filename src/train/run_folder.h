/* The run folder: which files it has, who may write it, and which old ones stay. */
#ifndef DVIT_TRAIN_RUN_FOLDER_H
#define DVIT_TRAIN_RUN_FOLDER_H

#include <stddef.h>

#include "base/lock.h"

struct dvit_run_folder {
    char *path;
    char *last, *best, *state; /* as dvit/train.h says */
    char *good;                /* the state that a rollback returns to */
    char *log, *config;
    struct dvit_lock lock;
    size_t made; /* length of the part of `path` whose last folder is the first that claiming it
                    made; 0: it was there */
};

/* Only names them. Free with dvit_run_folder_close, also after an error. */
enum dvit_status dvit_run_folder_name(struct dvit_run_folder *folder, const char *path,
                                      struct dvit_error *error);
/* Creates the folder and holds it against other trainings. */
enum dvit_status dvit_run_folder_claim(struct dvit_run_folder *folder, struct dvit_error *error);
/* Of a run that could not begin: removes the folders that claiming it made, with what the run put
 * there. */
void dvit_run_folder_abandon(struct dvit_run_folder *folder);
void dvit_run_folder_close(struct dvit_run_folder *folder);

/* Removes the temporary files of every name that processes left which were killed while they wrote
 * into the folder or into its folder of pictures. */
void dvit_run_folder_sweep(const struct dvit_run_folder *folder);

/* Names the present state and model also by their epoch (1-based), then removes those of epochs up
 * to epoch − count. */
enum dvit_status dvit_run_folder_keep(const struct dvit_run_folder *folder, long epoch, long count,
                                      struct dvit_error *error);

#endif
