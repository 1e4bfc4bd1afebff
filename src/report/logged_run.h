/* What a run folder's log.jsonl says, as columns of numbers. */
#ifndef DVIT_REPORT_LOGGED_RUN_H
#define DVIT_REPORT_LOGGED_RUN_H

#include <stddef.h>

#include "dvit/config.h"

/* Columns of "step" records; the JSON names stand in logged_run.c. NaN = missing or not finite. */
enum dvit_step_column {
    DVIT_STEP_STEP, /* always finite, ascending */
    DVIT_STEP_EPOCH,
    DVIT_STEP_RATE,
    DVIT_STEP_BACKBONE_RATE,
    DVIT_STEP_LOSS,
    DVIT_STEP_LOSS_CLS,
    DVIT_STEP_LOSS_RATIO,
    DVIT_STEP_LOSS_KL,
    DVIT_STEP_LOSS_TOKEN,
    DVIT_STEP_LOSS_AUX,
    DVIT_STEP_GRADIENT_NORM,
    DVIT_STEP_IMAGES_PER_S,
    DVIT_STEP_BAD_STEPS,
    DVIT_STEP_KEEP, /* of stage 0; stage s follows at + s */
    DVIT_STEP_COLUMNS = DVIT_STEP_KEEP + DVIT_MAX_STAGES
};

/* Columns of "evaluated" records. */
enum dvit_evaluation_column {
    DVIT_EVALUATION_STEP, /* always finite, ascending */
    DVIT_EVALUATION_EPOCH,
    DVIT_EVALUATION_TOP1,
    DVIT_EVALUATION_TOP5,
    DVIT_EVALUATION_LOSS,
    DVIT_EVALUATION_EMA_TOP1, /* of the averaged weights */
    DVIT_EVALUATION_COLUMNS
};

struct dvit_records {
    double *values; /* [count][columns] owned */
    size_t count, capacity;
    int columns;
};

struct dvit_logged_run {
    struct dvit_records steps, evaluations;
    int stages;         /* largest number of keep ratios seen */
    double total_steps; /* NaN = not stated */
    size_t skipped;     /* "skipped" events */
    size_t damaged;     /* lines that are no record */
    double first_s;     /* wall clock of the first record, seconds since 1970; NaN = not stated */
    double last_s;      /* of the last one */
    double
        trained_s;  /* without the time between a stop and going on; 0 where no times are stated */
    char *finished; /* text of the last "finished" event, owned; NULL = still going, or killed */
};

/* Reads <folder>/log.jsonl. Errors: NOT_FOUND, LIMIT (256 MiB; a million records), IO, MEMORY.
 * Free with dvit_logged_run_free, also after a failure. */
enum dvit_status dvit_logged_run_read(struct dvit_logged_run *log, const char *folder,
                                      struct dvit_error *error);
void dvit_logged_run_free(struct dvit_logged_run *log);

#endif
