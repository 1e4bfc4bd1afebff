/* What a run tells: events to the caller and to the log, means over the steps between two. */
#include "train/job.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"

void dvit_job_emit(struct dvit_job *job, struct dvit_train_event *event)
{
    const struct dvit_trainer *t = job->trainer;
    event->step = t->progress.step;
    event->epoch = (int)(t->progress.step > 0 ? (t->progress.step - 1) / job->steps_per_epoch : 0);
    event->total_steps = job->total_steps;
    event->steps_per_epoch = (int)job->steps_per_epoch;
    event->stages = t->model->config.stages;
    event->bad_steps = t->progress.bad_steps;
    event->learning_rate = t->learning_rate;
    event->backbone_learning_rate = t->backbone_learning_rate;
    struct dvit_error problem;
    bool written = dvit_run_log_event(&job->log, event, &problem) == DVIT_OK;
    if (job->callback)
        job->callback(job->context, event);
    if (written || job->log_failed)
        return;
    job->log_failed = true; /* the training matters more than its log: say it once, go on */
    struct dvit_train_event told = {.kind = DVIT_TRAIN_SKIPPED, .text = problem.message};
    if (job->callback)
        job->callback(job->context, &told);
}

void dvit_job_emit_text(struct dvit_job *job, enum dvit_train_event_kind kind, const char *text)
{
    struct dvit_train_event event = {.kind = kind, .text = text};
    dvit_job_emit(job, &event);
}

void dvit_job_reset_window(struct dvit_job_window *window)
{
    *window = (struct dvit_job_window){.start = dvit_clock_seconds()};
}

void dvit_job_add_to_window(struct dvit_job *job, size_t images)
{
    const struct dvit_trainer *t = job->trainer;
    struct dvit_job_window *w = &job->window;
    w->steps++;
    w->images += images;
    w->sum.total += t->losses.total;
    w->sum.cls += t->losses.cls;
    w->sum.ratio += t->losses.ratio;
    w->sum.kl += t->losses.kl;
    w->sum.token += t->losses.token;
    w->sum.aux += t->losses.aux;
    w->gradient_norm += t->gradient_norm;
    for (int s = 0; s < DVIT_MAX_STAGES; s++)
        w->sum.keep[s] += t->losses.keep[s];
}

void dvit_job_emit_step(struct dvit_job *job)
{
    struct dvit_job_window *w = &job->window;
    double seconds = dvit_clock_seconds() - w->start;
    double n = w->steps > 0 ? w->steps : NAN; /* of skipped steps alone there are no means */
    if (w->steps == 0 && w->skipped == 0)
        return;
    double per_step = seconds / (w->steps + w->skipped);
    job->seconds_per_step =
        job->seconds_per_step > 0 ? .7 * job->seconds_per_step + .3 * per_step : per_step;
    struct dvit_train_event event = {
        .kind = DVIT_TRAIN_STEP,
        .loss = w->sum.total / n,
        .loss_cls = w->sum.cls / n,
        .loss_ratio = w->sum.ratio / n,
        .loss_kl = w->sum.kl / n,
        .loss_token = w->sum.token / n,
        .loss_aux = w->sum.aux / n,
        .gradient_norm = w->gradient_norm / n,
        .images_per_s = w->steps == 0 ? NAN
                        : seconds > 0 ? (double)w->images / seconds
                                      : 0,
        .eta_s = (double)(job->last_step - job->trainer->progress.step) * job->seconds_per_step,
    };
    for (int s = 0; s < DVIT_MAX_STAGES; s++)
        event.keep[s] = w->sum.keep[s] / n;
    dvit_job_emit(job, &event);
    if (w->steps > 0)
        job->end_loss = event.loss_cls;
    dvit_job_reset_window(w);
}

void dvit_job_tell_skipped_images(struct dvit_job *job)
{
    struct dvit_skip skip;
    while (dvit_loader_skipped(job->loader, job->skips_told, &skip)) {
        char text[1400];
        snprintf(text, sizeof text, "skipped image \"%s\": %s", skip.name, skip.message);
        dvit_job_emit_text(job, DVIT_TRAIN_SKIPPED, text);
        job->skips_told++;
    }
}

void dvit_job_tell_teacher(struct dvit_job *job)
{
    char text[DVIT_TEACHER_CACHE_NEWS];
    while (dvit_teacher_news(&job->trainer->teacher, text))
        dvit_job_emit_text(job, DVIT_TRAIN_NOTED, text);
}
