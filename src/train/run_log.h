/* What a run writes about itself: log.jsonl, log.csv, event files, and config.json. */
#ifndef DVIT_TRAIN_RUN_LOG_H
#define DVIT_TRAIN_RUN_LOG_H

#include "dvit/train.h"
#include "train/event_file.h"
#include "train/trainer.h"

struct dvit_run_log {
    struct dvit_record_file lines, table; /* log.jsonl, log.csv */
    struct dvit_event_file events;        /* for TensorBoard; may be closed */
    int stages;
    double opened_s, opened_monotonic_s; /* the same moment in seconds since 1970 */
};

struct dvit_run_log_options {
    const char *folder;
    int stages;        /* of the model: columns of the table */
    bool tensorboard;  /* write an event file */
    bool resume;       /* go on after what is there */
    long resumed_step; /* records of later steps are dropped: they will be written again, … */
    bool unevaluated;  /* … and so are evaluations after that step itself */
};

/* log.csv is made anew of the lines that stay, so that it never says anything else than they do;
 * events of a resumed run go to a file of their own. */
enum dvit_status dvit_run_log_open(struct dvit_run_log *log,
                                   const struct dvit_run_log_options *options,
                                   struct dvit_error *error);
/* Legal on a zeroed struct and twice. */
void dvit_run_log_close(struct dvit_run_log *log);

/* Adds the event in every form; nothing to a log that is not open. A full disk must not end a
 * training: a failure is returned for the caller to report, and does not keep the other forms from
 * being written. */
enum dvit_status dvit_run_log_event(struct dvit_run_log *log, const struct dvit_train_event *event,
                                    struct dvit_error *error);

/* Seconds since 1970 for a record made now: never before an earlier record's. */
double dvit_run_log_time(const struct dvit_run_log *log);

/* Tells, in sentences, what of the configuration at `path` is not so now though a run that goes on
 * may have it otherwise: validation data, threads, machine, versions. One that cannot be read has
 * nothing to tell. */
void dvit_run_config_compare(const char *path, const struct dvit_trainer *trainer,
                             const struct dvit_dataset *data, const struct dvit_dataset *validation,
                             void (*tell)(void *context, const char *sentence), void *context);

/* config.json: options, model, data, command, version, machine. validation may be NULL. */
enum dvit_status dvit_run_config_write(const char *path, const struct dvit_trainer *trainer,
                                       const struct dvit_dataset *data,
                                       const struct dvit_dataset *validation,
                                       struct dvit_error *error);

#endif
