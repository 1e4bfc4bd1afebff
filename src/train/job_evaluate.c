/* The end of an epoch: the accuracy of the trained and of the averaged weights, the better of them,
 * a picture, and what is saved. */
#include "train/job.h"

#include <math.h>
#include <stdio.h>

#include "base/decimal.h"
#include "dvit/eval.h"
#include "train/run_pictures.h"

enum { EVALUATION_BATCH = 64 };

static enum dvit_status evaluate_model(struct dvit_job *job, const struct dvit_model *model,
                                       struct dvit_evaluation *out)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_session *session = NULL;
    struct dvit_session_options options = dvit_session_options_default();
    options.threads = job->options->threads;
    options.cpu = job->options->cpu;
    options.max_batch = EVALUATION_BATCH;
    struct dvit_evaluate_options how = {.batch = EVALUATION_BATCH,
                                        .workers = job->options->workers,
                                        .strict = job->options->strict};
    DVIT_TRY(dvit_session_create(&session, model, &options, job->error));
    DVIT_TRY(dvit_evaluate(session, model, job->validation, &how, NULL, NULL, out, job->error));
done:
    dvit_session_free(session);
    return status;
}

static void tell_unread_images(struct dvit_job *job, const struct dvit_evaluation *evaluation)
{
    char text[120];
    if (evaluation->skipped == 0)
        return;
    snprintf(text, sizeof text, "%zu of %zu validation images, which could not be read",
             evaluation->skipped, evaluation->skipped + evaluation->images);
    dvit_job_emit_text(job, DVIT_TRAIN_SKIPPED, text);
}

/* An answer that is not finite is none, and accuracy is of all images. */
static double accuracy_of(const struct dvit_evaluation *evaluation, double share)
{
    bool answered = evaluation->unanswered == 0 && isfinite(evaluation->loss);
    return answered ? share : NAN;
}

/* Evaluates the trained weights, and the averaged ones where there are any; keeps the better. */
static enum dvit_status evaluate(struct dvit_job *job)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_trainer *t = job->trainer;
    struct dvit_evaluation raw, average;
    struct dvit_train_event event = {.kind = DVIT_TRAIN_EVALUATED, .ema_top1 = -1};
    const struct dvit_model *better = t->model;
    DVIT_TRY(evaluate_model(job, t->model, &raw));
    tell_unread_images(job, &raw);
    event.val_top1 = accuracy_of(&raw, raw.top1);
    event.val_top5 = accuracy_of(&raw, raw.top5);
    event.val_loss = raw.loss;
    double top1 = event.val_top1;
    if (t->average) {
        DVIT_TRY(evaluate_model(job, t->average, &average));
        event.ema_top1 = accuracy_of(&average, average.top1);
        if (event.ema_top1 > top1 || isnan(top1)) {
            top1 = event.ema_top1;
            better = t->average;
        }
    }
    job->unfinite_answers = isnan(event.val_top1);
    job->end_loss = raw.loss;
    event.best = top1 > t->progress.best_top1;
    if (event.best) {
        t->progress.best_top1 = top1;
        DVIT_TRY(dvit_job_save_model(job, better, job->folder.best));
    }
    job->best_is_present = event.best && better == t->model;
    dvit_job_emit(job, &event);
done:
    return status;
}

/* For people, and never the end of a training. */
static void draw(struct dvit_job *job)
{
    struct dvit_error problem;
    const struct dvit_trainer *t = job->trainer;
    int epoch = (int)((t->progress.step - 1) / job->steps_per_epoch);
    if (dvit_run_picture_add(&job->log, job->options, t->model, epoch, t->progress.step,
                             &problem) != DVIT_OK)
        dvit_job_emit_text(job, DVIT_TRAIN_SKIPPED, problem.message);
}

/* An evaluation may take longer than whoever ends the process waits: what it evaluates is saved
 * before, marked so that a resumed run begins with the evaluation. */
enum dvit_status dvit_job_end_epoch(struct dvit_job *job)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_progress *progress = &job->trainer->progress;
    dvit_job_emit_step(job);
    if (job->validation) {
        progress->unevaluated = true;
        DVIT_TRY(dvit_job_save_scheduled(job, false));
        DVIT_TRY(evaluate(job));
        progress->unevaluated = false;
    } else {
        DVIT_TRY(dvit_job_save_model(job, job->trainer->model, job->folder.best));
        job->best_is_present = true;
    }
    draw(job);
    DVIT_TRY(dvit_job_save_last(job));
    DVIT_TRY(dvit_job_save_scheduled(job, !job->unfinite_answers));
    DVIT_TRY(dvit_job_keep_epoch(job));
    dvit_job_reset_window(&job->window); /* the evaluation's time is not the training's */
done:
    return status;
}

static void describe_skipped(const struct dvit_progress *progress, char text[160])
{
    *text = 0;
    if (progress->bad_steps > 0)
        snprintf(text, 160, "%ld of %ld steps were skipped: their loss or gradient was not finite",
                 progress->bad_steps, progress->step);
}

/* Guessing has a cross-entropy of ln K; a model that overfits has some multiple of it. */
static bool loss_is_absurd(const struct dvit_job *job, double *guessing)
{
    *guessing = log(fmax(2, job->trainer->model->config.classes));
    return job->end_loss > 100 * *guessing;
}

/* Why the run is a failure though it took all its steps; false where it is none. */
static bool describe_divergence(const struct dvit_job *job, char text[1400])
{
    const struct dvit_progress *progress = &job->trainer->progress;
    char skipped[160], absurd[120] = "";
    double guessing;
    bool no_best = job->validation && progress->best_top1 < 0;
    bool most_skipped = 2 * progress->bad_steps > progress->step;
    if (loss_is_absurd(job, &guessing))
        dvit_decimal_format(absurd, sizeof absurd,
                            "its loss at the end is %.3g, guessing has %.3g; ", job->end_loss,
                            guessing);
    if (!most_skipped && !job->unfinite_answers && !no_best && !*absurd)
        return false;
    describe_skipped(progress, skipped);
    int used =
        snprintf(text, 1400, "the run diverged: %s%s%s%s", skipped, *skipped ? "; " : "",
                 job->unfinite_answers ? "the model's answers are not finite; " : "", absurd);
    if (no_best)
        snprintf(text + used, 1400 - (size_t)used,
                 "no evaluation had finite answers, so there is no best model; " DVIT_JOB_ADVICE);
    else
        snprintf(text + used, 1400 - (size_t)used,
                 DVIT_JOB_ADVICE "; the best model is \"%.1000s\"", job->folder.best);
    return true;
}

enum dvit_status dvit_job_conclude(struct dvit_job *job)
{
    char text[1400];
    if (describe_divergence(job, text)) {
        dvit_job_emit_text(job, DVIT_TRAIN_FINISHED, text);
        return dvit_error_set(job->error, DVIT_ERROR_NUMERIC, "%s", text);
    }
    describe_skipped(&job->trainer->progress, text);
    if (*text)
        dvit_job_emit_text(job, DVIT_TRAIN_NOTED, text);
    dvit_job_emit_text(job, DVIT_TRAIN_FINISHED,
                       job->last_step < job->total_steps ? "step limit reached" : "done");
    dvit_job_tidy(job);
    return DVIT_OK;
}
