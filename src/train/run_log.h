/* What a run writes about itself: log.jsonl and config.json. */
#ifndef DVIT_TRAIN_RUN_LOG_H
#define DVIT_TRAIN_RUN_LOG_H

#include <stdio.h>

#include "dvit/train.h"
#include "train/trainer.h"

struct dvit_run_log {
    FILE *stream;
    char *path;
};

/* Opens log.jsonl for appending. On resume, records of steps after `resumed_step` are dropped
 * first: they will be written again. */
enum dvit_status dvit_run_log_open(struct dvit_run_log *log, const char *path, bool resume,
                                   long resumed_step, struct dvit_error *error);
void dvit_run_log_close(struct dvit_run_log *log);

/* One line per event, flushed. A full disk must not end a training: the first failure is returned,
 * for the caller to report. */
enum dvit_status dvit_run_log_event(struct dvit_run_log *log, const struct dvit_train_event *event,
                                    struct dvit_error *error);

/* config.json: options, model, data, command, version, machine. */
enum dvit_status dvit_run_config_write(const char *path, const struct dvit_trainer *trainer,
                                       const struct dvit_dataset *data, struct dvit_error *error);

#endif
