/* What a run saves: states, models, the state that a rollback returns to; and what it does when it
 * is asked to save or to stop. */
#include "base/flag.h"
#include "train/job.h"

#include <stdio.h>

#include "base/file.h"
#include "train/checkpoint.h"

static enum dvit_status save_state(struct dvit_job *job)
{
    enum dvit_status status = DVIT_OK;
    const char *path = job->folder.state;
    DVIT_TRY(dvit_checkpoint_save(job->trainer, &job->identity, path, job->error));
    job->saved_step = job->trainer->progress.step;
    job->state_is_good = false;
    dvit_job_emit_text(job, DVIT_TRAIN_SAVED, path);
done:
    return status;
}

/* A save that was asked for. Where the file is of this very step it stays: it may be a good one,
 * and a run that was stopped must leave the bytes of one that was not. */
static enum dvit_status save_requested(struct dvit_job *job)
{
    if (job->saved_step != job->trainer->progress.step)
        return save_state(job);
    dvit_job_emit_text(job, DVIT_TRAIN_SAVED, job->folder.state);
    return DVIT_OK;
}

enum dvit_status dvit_job_save_scheduled(struct dvit_job *job, bool may_be_good)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_progress *progress = &job->trainer->progress;
    progress->good =
        may_be_good && progress->bad_in_row == 0 && dvit_trainer_is_finite(job->trainer);
    status = save_state(job);
    bool becomes_good = progress->good && job->options->max_rollbacks > 0;
    progress->good = false;
    DVIT_TRY(status);
    if (becomes_good)
        DVIT_TRY(dvit_file_duplicate(job->folder.state, job->folder.good, job->error));
    job->state_is_good = becomes_good;
done:
    return status;
}

enum dvit_status dvit_job_save_model(struct dvit_job *job, const struct dvit_model *model,
                                     const char *path)
{
    enum dvit_status status = DVIT_OK;
    DVIT_TRY(dvit_model_save(model, path, NULL, job->error));
    dvit_job_emit_text(job, DVIT_TRAIN_SAVED, path);
done:
    return status;
}

enum dvit_status dvit_job_save_last(struct dvit_job *job)
{
    enum dvit_status status = DVIT_OK;
    if (!job->best_is_present)
        return dvit_job_save_model(job, job->trainer->model, job->folder.last);
    DVIT_TRY(dvit_file_duplicate(job->folder.best, job->folder.last, job->error));
    dvit_job_emit_text(job, DVIT_TRAIN_SAVED, job->folder.last);
done:
    return status;
}

enum dvit_status dvit_job_keep_epoch(struct dvit_job *job)
{
    long step = job->trainer->progress.step;
    if (job->options->keep_checkpoints == 0 || step == 0 || step % job->steps_per_epoch != 0)
        return DVIT_OK;
    return dvit_run_folder_keep(&job->folder, step / job->steps_per_epoch,
                                job->options->keep_checkpoints, job->error);
}

/* A fresh run begins with a good state, its weights as they were given; a resumed one has the state
 * that it resumes from, or an older one beside it. */
enum dvit_status dvit_job_begin_good_state(struct dvit_job *job)
{
    struct dvit_progress *progress = &job->trainer->progress;
    bool resumed_is_good = progress->good;
    progress->good = false;
    job->saved_step = job->resumed ? progress->step : -1;
    if (job->options->max_rollbacks == 0)
        return DVIT_OK;
    if (!job->resumed)
        return dvit_checkpoint_save(job->trainer, &job->identity, job->folder.good, job->error);
    if (!resumed_is_good && dvit_file_exists(job->folder.good))
        return DVIT_OK;
    job->state_is_good = resumed_is_good;
    return dvit_file_duplicate(job->folder.state, job->folder.good, job->error);
}

void dvit_job_tidy(struct dvit_job *job)
{
    if (job->state_is_good && job->trainer->progress.step >= job->total_steps)
        remove(job->folder.good); /* whoever goes on makes it again, of the state file */
}

bool dvit_job_stop_requested(const struct dvit_job *job)
{
    return dvit_flag_read(job->stop) != 0;
}

int dvit_job_save_requests(const struct dvit_job *job)
{
    return dvit_flag_read(job->options->save_requests);
}

enum dvit_status dvit_job_stop_early(struct dvit_job *job)
{
    enum dvit_status status = DVIT_OK;
    dvit_job_emit_step(job);
    DVIT_TRY(dvit_job_save_model(job, job->trainer->model, job->folder.last));
    DVIT_TRY(save_requested(job));
    dvit_job_emit_text(job, DVIT_TRAIN_FINISHED, "stopped on request");
    DVIT_FAIL(job->error, DVIT_ERROR_INTERRUPTED,
              "stopped on request at step %ld of %ld; go on with --resume",
              job->trainer->progress.step, job->total_steps);
done:
    return status;
}

/* Saves or stops if that was asked for. Between the micro-batches of a step nothing but gradients
 * has changed, so what is saved is the state before the step; a stop gives those up. */
enum dvit_status dvit_job_answer_requests(struct dvit_job *job)
{
    enum dvit_status status = DVIT_OK;
    int asked = dvit_job_save_requests(job);
    if (dvit_job_stop_requested(job))
        DVIT_TRY(dvit_job_stop_early(job));
    if (asked != job->saves_done) {
        job->saves_done = asked;
        DVIT_TRY(save_requested(job));
        char text[1200];
        snprintf(text, sizeof text, "saved on request after step %ld, in \"%.1000s\"",
                 job->trainer->progress.step, job->folder.state);
        dvit_job_emit_text(job, DVIT_TRAIN_NOTED, text);
    }
done:
    return status;
}

/* After a stretch of bad steps: the weights, moments, average and statistics of the last good
 * state, at the present position in data and schedule, half the rate from here on. The same data at
 * the same rate would end in the same place. */
enum dvit_status dvit_job_roll_back(struct dvit_job *job)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_progress *progress = &job->trainer->progress, now = *progress;
    if (now.rollbacks >= job->options->max_rollbacks)
        DVIT_FAIL(job->error, DVIT_ERROR_NUMERIC,
                  "%ld steps in a row had a loss or gradient that is not finite, after %ld "
                  "rollbacks: the run diverged; " DVIT_JOB_ADVICE "; %s \"%s\"",
                  now.bad_in_row, now.rollbacks,
                  dvit_file_exists(job->folder.state) ? "the last saved state is in"
                                                      : "there is no earlier state in",
                  job->folder.state);
    DVIT_TRY(dvit_checkpoint_load(job->trainer, &job->identity, job->folder.good, job->error));
    long good_step = progress->step;
    now.adam_step = progress->adam_step; /* belongs to the moments */
    now.rollbacks++;
    now.bad_in_row = 0;
    *progress = now;
    job->saved_step = -1; /* other weights than that state's */
    char text[200];
    snprintf(text, sizeof text,
             "to the state after step %ld, after %d bad steps in a row; the learning rate is "
             "halved (rollback %ld of at most %d)",
             good_step, job->options->max_bad_steps, now.rollbacks, job->options->max_rollbacks);
    dvit_job_emit_text(job, DVIT_TRAIN_ROLLED_BACK, text);
done:
    return status;
}
