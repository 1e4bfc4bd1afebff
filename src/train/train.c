/* The training run: data in, steps, evaluations, checkpoints and events out, in a run folder. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "dvit/eval.h"
#include "train/checkpoint.h"
#include "train/run_folder.h"
#include "train/run_pictures.h"
#include "train/train_loader.h"
#include "train/trainer.h"

enum { EVALUATION_BATCH = 64 };

/* Means of what steps report, between two events. */
struct window {
    int steps;
    struct dvit_losses sum;
    double gradient_norm;
    size_t images;
    double start; /* seconds */
};

struct job {
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
    int saves_done;                               /* of *options->save_requests */
    long steps_per_epoch, total_steps, last_step; /* last_step: where this run ends */
    long next_batch; /* of the loader's epoch, after the last one taken */
    size_t skips_told;
    struct window window;
    double seconds_per_step; /* smoothed */
};

/* ------------------------------------------------------------------------------- events --- */

static void emit(struct job *job, struct dvit_train_event *event)
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

static void emit_text(struct job *job, enum dvit_train_event_kind kind, const char *text)
{
    struct dvit_train_event event = {.kind = kind, .text = text};
    emit(job, &event);
}

static void reset_window(struct window *window)
{
    *window = (struct window){.start = dvit_clock_seconds()};
}

static void add_to_window(struct job *job, size_t images)
{
    const struct dvit_trainer *t = job->trainer;
    struct window *w = &job->window;
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

static void emit_step(struct job *job)
{
    struct window *w = &job->window;
    double seconds = dvit_clock_seconds() - w->start, n = w->steps;
    if (w->steps == 0)
        return;
    double per_step = seconds / n;
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
        .images_per_s = seconds > 0 ? (double)w->images / seconds : 0,
        .eta_s = (double)(job->last_step - job->trainer->progress.step) * job->seconds_per_step,
    };
    for (int s = 0; s < DVIT_MAX_STAGES; s++)
        event.keep[s] = w->sum.keep[s] / n;
    emit(job, &event);
    reset_window(w);
}

static void tell_skipped_images(struct job *job)
{
    struct dvit_skip skip;
    while (dvit_loader_skipped(job->loader, job->skips_told, &skip)) {
        char text[1400];
        snprintf(text, sizeof text, "skipped image \"%s\": %s", skip.name, skip.message);
        emit_text(job, DVIT_TRAIN_SKIPPED, text);
        job->skips_told++;
    }
}

static void tell_teacher(struct job *job)
{
    char text[DVIT_TEACHER_CACHE_NEWS];
    while (dvit_teacher_news(&job->trainer->teacher, text))
        emit_text(job, DVIT_TRAIN_NOTED, text);
}

/* ------------------------------------------------------------------------------- saving --- */

static enum dvit_status save_state(struct job *job)
{
    enum dvit_status status = DVIT_OK;
    DVIT_TRY(dvit_checkpoint_save(job->trainer, &job->identity, job->folder.state, job->error));
    emit_text(job, DVIT_TRAIN_SAVED, job->folder.state);
done:
    return status;
}

/* A save that every run with these options makes at this step. Only such a state, and only outside
 * a bad stretch, is what a rollback returns to: whoever stops and goes on rolls back to the same.
 */
static enum dvit_status save_scheduled(struct job *job)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_progress *progress = &job->trainer->progress;
    progress->good = progress->bad_in_row == 0 && dvit_trainer_is_finite(job->trainer);
    status = save_state(job);
    bool becomes_good = progress->good && job->options->max_rollbacks > 0;
    progress->good = false;
    DVIT_TRY(status);
    if (becomes_good)
        DVIT_TRY(dvit_file_duplicate(job->folder.state, job->folder.good, job->error));
done:
    return status;
}

static enum dvit_status save_model(struct job *job, const struct dvit_model *model,
                                   const char *path)
{
    enum dvit_status status = DVIT_OK;
    DVIT_TRY(dvit_model_save(model, path, NULL, job->error));
    emit_text(job, DVIT_TRAIN_SAVED, path);
done:
    return status;
}

static enum dvit_status evaluate_model(struct job *job, const struct dvit_model *model,
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

static void tell_unread_images(struct job *job, const struct dvit_evaluation *evaluation)
{
    char text[120];
    if (evaluation->skipped == 0)
        return;
    snprintf(text, sizeof text, "%zu of %zu validation images, which could not be read",
             evaluation->skipped, evaluation->skipped + evaluation->images);
    emit_text(job, DVIT_TRAIN_SKIPPED, text);
}

/* Evaluates the trained weights, and the averaged ones where there are any; keeps the better. */
static enum dvit_status evaluate(struct job *job)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_trainer *t = job->trainer;
    struct dvit_evaluation raw, average;
    struct dvit_train_event event = {.kind = DVIT_TRAIN_EVALUATED, .ema_top1 = -1};
    const struct dvit_model *better = t->model;
    DVIT_TRY(evaluate_model(job, t->model, &raw));
    tell_unread_images(job, &raw);
    event.val_top1 = raw.top1;
    event.val_top5 = raw.top5;
    event.val_loss = raw.loss;
    double top1 = raw.top1;
    if (t->average) {
        DVIT_TRY(evaluate_model(job, t->average, &average));
        event.ema_top1 = average.top1;
        if (average.top1 > top1) {
            top1 = average.top1;
            better = t->average;
        }
    }
    event.best = top1 > t->progress.best_top1;
    if (event.best) {
        t->progress.best_top1 = top1;
        DVIT_TRY(save_model(job, better, job->folder.best));
    }
    emit(job, &event);
done:
    return status;
}

/* For people, and never the end of a training. */
static void draw(struct job *job)
{
    struct dvit_error problem;
    const struct dvit_trainer *t = job->trainer;
    int epoch = (int)((t->progress.step - 1) / job->steps_per_epoch);
    if (dvit_run_picture_add(&job->log, job->options, t->model, epoch, t->progress.step,
                             &problem) != DVIT_OK)
        emit_text(job, DVIT_TRAIN_SKIPPED, problem.message);
}

static enum dvit_status keep_epoch(struct job *job)
{
    long step = job->trainer->progress.step;
    if (job->options->keep_checkpoints == 0 || step == 0 || step % job->steps_per_epoch != 0)
        return DVIT_OK;
    return dvit_run_folder_keep(&job->folder, step / job->steps_per_epoch,
                                job->options->keep_checkpoints, job->error);
}

/* An evaluation may take longer than whoever ends the process waits: what it evaluates is saved
 * before, marked so that a resumed run begins with the evaluation. */
static enum dvit_status end_epoch(struct job *job)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_progress *progress = &job->trainer->progress;
    emit_step(job);
    if (job->validation) {
        progress->unevaluated = true;
        DVIT_TRY(save_scheduled(job));
        DVIT_TRY(evaluate(job));
        progress->unevaluated = false;
    } else {
        DVIT_TRY(save_model(job, job->trainer->model, job->folder.best));
    }
    draw(job);
    DVIT_TRY(save_model(job, job->trainer->model, job->folder.last));
    DVIT_TRY(save_scheduled(job));
    DVIT_TRY(keep_epoch(job));
    reset_window(&job->window); /* the evaluation's time is not the training's */
done:
    return status;
}

/* -------------------------------------------------------------------------------- steps --- */

/* Written by another thread, or by a signal handler. */
static int read_flag(const volatile int *flag)
{
    return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static bool stop_requested(const struct job *job)
{
    return job->stop && read_flag(job->stop);
}

static enum dvit_status stop_early(struct job *job)
{
    enum dvit_status status = DVIT_OK;
    emit_step(job);
    DVIT_TRY(save_model(job, job->trainer->model, job->folder.last));
    DVIT_TRY(save_state(job));
    emit_text(job, DVIT_TRAIN_FINISHED, "stopped on request");
    DVIT_FAIL(job->error, DVIT_ERROR_INTERRUPTED,
              "stopped on request at step %ld of %ld; go on with --resume",
              job->trainer->progress.step, job->total_steps);
done:
    return status;
}

/* Saves or stops if that was asked for. Between the micro-batches of a step nothing but gradients
 * has changed, so what is saved is the state before the step; a stop gives those up. */
static enum dvit_status answer_requests(struct job *job)
{
    enum dvit_status status = DVIT_OK;
    const volatile int *requests = job->options->save_requests;
    int asked = requests ? read_flag(requests) : 0;
    if (stop_requested(job))
        DVIT_TRY(stop_early(job));
    if (asked != job->saves_done) {
        job->saves_done = asked;
        DVIT_TRY(save_state(job));
        char text[1200];
        snprintf(text, sizeof text, "saved on request after step %ld, in \"%.1000s\"",
                 job->trainer->progress.step, job->folder.state);
        emit_text(job, DVIT_TRAIN_NOTED, text);
    }
done:
    return status;
}

/* After a stretch of bad steps: the weights, moments, average and statistics of the last good
 * state, at the present position in data and schedule, half the rate from here on. The same data at
 * the same rate would end in the same place. */
static enum dvit_status roll_back(struct job *job)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_progress *progress = &job->trainer->progress, now = *progress;
    if (now.rollbacks >= job->options->max_rollbacks)
        DVIT_FAIL(job->error, DVIT_ERROR_NUMERIC,
                  "%ld steps in a row had a loss or gradient that is not finite, after %ld "
                  "rollbacks; %s \"%s\"",
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
    char text[200];
    snprintf(text, sizeof text,
             "to the state after step %ld, after %d bad steps in a row; the learning rate is "
             "halved (rollback %ld of at most %d)",
             good_step, job->options->max_bad_steps, now.rollbacks, job->options->max_rollbacks);
    emit_text(job, DVIT_TRAIN_ROLLED_BACK, text);
done:
    return status;
}

/* One step: its micro-batches and the update. *ended is set where the epoch has no full step left;
 * then nothing was updated. */
static enum dvit_status take_step(struct job *job, bool *ended)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_trainer *t = job->trainer;
    const struct dvit_batch *batch;
    size_t images = 0;
    bool skipped;
    *ended = false;
    for (int i = 0; i < job->options->accumulate; i++) {
        if (i > 0 && !dvit_trainer_has_statistics(t)) /* those move with each micro-batch */
            DVIT_TRY(answer_requests(job));
        DVIT_TRY(dvit_loader_next(job->loader, &batch, job->error));
        tell_skipped_images(job);
        if (!batch) {
            *ended = true;
            t->micro = 0;
            goto done;
        }
        struct dvit_micro_batch micro = {
            .images = batch->count,
            .pixels = batch->pixels,
            .labels = batch->labels,
            .targets = batch->targets,
            .indices = batch->indices,
        };
        DVIT_TRY(dvit_trainer_micro(t, &micro, job->error));
        tell_teacher(job);
        images += (size_t)batch->count;
        job->next_batch = (long)batch->index + 1;
    }
    dvit_trainer_update(t, &skipped);
    if (!skipped) {
        add_to_window(job, images);
        goto done;
    }
    emit_text(job, DVIT_TRAIN_SKIPPED, "a step: its loss or gradient is not finite");
    if (t->progress.bad_in_row >= job->options->max_bad_steps)
        DVIT_TRY(roll_back(job));
done:
    return status;
}

/* A batch without a readable image was passed over: so are its steps, for the position in the data
 * must be a function of the step, or a resumed run would not be the same run. */
static enum dvit_status follow_loader(struct job *job, long epoch)
{
    struct dvit_progress *progress = &job->trainer->progress;
    long accumulate = job->options->accumulate, begin = epoch * job->steps_per_epoch;
    long in_epoch = (job->next_batch + accumulate - 1) / accumulate;
    if (in_epoch > job->steps_per_epoch)
        in_epoch = job->steps_per_epoch;
    if (begin + in_epoch <= progress->step)
        return DVIT_OK;
    progress->step = begin + in_epoch;
    return dvit_loader_start(job->loader, (uint64_t)epoch, (size_t)(in_epoch * accumulate),
                             job->error);
}

/* From wherever the progress stands to the end of that epoch, or of the run. */
static enum dvit_status run_epoch(struct job *job)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_progress *progress = &job->trainer->progress;
    long epoch = progress->step / job->steps_per_epoch;
    long in_epoch = progress->step % job->steps_per_epoch;
    long end = (epoch + 1) * job->steps_per_epoch;
    end = end < job->last_step ? end : job->last_step;
    DVIT_TRY(dvit_loader_start(job->loader, (uint64_t)epoch,
                               (size_t)(in_epoch * job->options->accumulate), job->error));
    reset_window(&job->window);
    while (progress->step < end) {
        bool ended;
        DVIT_TRY(take_step(job, &ended));
        if (ended) { /* unreadable images made the epoch shorter: its steps are over */
            progress->step = (epoch + 1) * job->steps_per_epoch;
            break;
        }
        if (progress->step % job->options->log_every == 0)
            emit_step(job);
        DVIT_TRY(follow_loader(job, epoch));
        if (progress->step >= end)
            break;
        DVIT_TRY(answer_requests(job));
        if (job->options->checkpoint_every && progress->step % job->options->checkpoint_every == 0)
            DVIT_TRY(save_scheduled(job));
    }
    DVIT_TRY(end_epoch(job));
    if (stop_requested(job) && progress->step < job->last_step)
        DVIT_TRY(stop_early(job));
done:
    return status;
}

/* ---------------------------------------------------------------------------- beginning --- */

static enum dvit_status check_data(const struct job *job, const struct dvit_model *model)
{
    const struct dvit_dataset *sets[2] = {job->train, job->validation};
    for (int i = 0; i < 2; i++)
        if (sets[i] && dvit_dataset_classes(sets[i]) != model->config.classes)
            return dvit_error_set(job->error, DVIT_ERROR_MISMATCH,
                                  "the %s data has %d classes, the model %d",
                                  i ? "validation" : "training", dvit_dataset_classes(sets[i]),
                                  model->config.classes);
    return DVIT_OK;
}

static enum dvit_status count_steps(struct job *job)
{
    const struct dvit_train_options *o = job->options;
    long batches = (long)dvit_loader_batches(job->loader);
    job->steps_per_epoch = batches / o->accumulate;
    if (job->steps_per_epoch < 1)
        return dvit_error_set(job->error, DVIT_ERROR_ARGUMENT,
                              "%zu images give no full step of %d × %d images: use a smaller "
                              "batch",
                              dvit_dataset_size(job->train), o->accumulate, o->batch);
    job->total_steps = job->steps_per_epoch * o->epochs;
    bool bounded = o->max_steps && o->max_steps < job->total_steps;
    job->last_step = bounded ? o->max_steps : job->total_steps;
    return DVIT_OK;
}

static void identify(struct job *job, const struct dvit_model *teacher)
{
    job->identity = (struct dvit_run_identity){.data = dvit_dataset_fingerprint(job->train),
                                               .steps_per_epoch = job->steps_per_epoch};
    if (!teacher)
        return;
    snprintf(job->teacher_name, sizeof job->teacher_name, "%016" PRIx64,
             dvit_teacher_weights(teacher));
    job->identity.teacher = job->teacher_name;
}

/* A fresh run begins with a good state, its weights as they were given; a resumed one has the state
 * that it resumes from, or an older one beside it. */
static enum dvit_status begin_good_state(struct job *job)
{
    struct dvit_progress *progress = &job->trainer->progress;
    bool resumed_is_good = progress->good;
    progress->good = false;
    if (job->options->max_rollbacks == 0)
        return DVIT_OK;
    if (!job->options->resume)
        return dvit_checkpoint_save(job->trainer, &job->identity, job->folder.good, job->error);
    if (resumed_is_good || !dvit_file_exists(job->folder.good))
        return dvit_file_duplicate(job->folder.state, job->folder.good, job->error);
    return DVIT_OK;
}

static enum dvit_status begin(struct job *job, struct dvit_model *model,
                              const struct dvit_model *teacher)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_train_options *o = job->options;
    DVIT_TRY(dvit_train_options_check(o, job->error));
    DVIT_TRY(check_data(job, model));
    DVIT_TRY(dvit_run_folder_name(&job->folder, o->out, job->error));
    DVIT_TRY(dvit_train_take_labels(model, job->train, job->error));
    if (model->config.stages)
        model->config.keep = o->keep;
    DVIT_TRY(dvit_train_loader_create(&job->loader, job->train, o, &model->preprocess, job->error));
    DVIT_TRY(count_steps(job));
    identify(job, teacher);
    DVIT_TRY(dvit_trainer_create(&job->trainer, model, teacher, o, job->steps_per_epoch,
                                 job->total_steps, job->error));
    DVIT_TRY(
        dvit_teacher_keep(&job->trainer->teacher, o, job->train, &model->preprocess, job->error));
    DVIT_TRY(dvit_run_folder_claim(&job->folder, job->error));
    if (!o->resume && dvit_file_exists(job->folder.state))
        DVIT_FAIL(job->error, DVIT_ERROR_ARGUMENT,
                  "\"%s\" holds a run already: go on with --resume, or name another folder",
                  o->out);
    if (o->resume)
        DVIT_TRY(dvit_checkpoint_load(job->trainer, &job->identity, job->folder.state, job->error));
    dvit_run_folder_sweep(&job->folder);
    DVIT_TRY(begin_good_state(job));
    struct dvit_run_log_options log = {.folder = o->out,
                                       .stages = model->config.stages,
                                       .tensorboard = o->tensorboard,
                                       .resume = o->resume,
                                       .resumed_step = job->trainer->progress.step,
                                       .unevaluated = job->trainer->progress.unevaluated};
    DVIT_TRY(dvit_run_log_open(&job->log, &log, job->error));
    DVIT_TRY(dvit_run_config_write(job->folder.config, job->trainer, job->train, job->validation,
                                   job->error));
done:
    return status;
}

static void release(struct job *job)
{
    dvit_run_log_close(&job->log);
    dvit_loader_free(job->loader);
    dvit_trainer_free(job->trainer);
    dvit_run_folder_close(&job->folder);
}

enum dvit_status dvit_train(struct dvit_model *model, const struct dvit_model *teacher,
                            struct dvit_dataset *train, struct dvit_dataset *validation,
                            const struct dvit_train_options *options, dvit_train_callback *callback,
                            void *context, const volatile int *stop, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct job job = {
        .train = train,
        .validation = validation,
        .options = options,
        .callback = callback,
        .context = context,
        .stop = stop,
        .error = error,
    };
    DVIT_TRY(begin(&job, model, teacher));
    struct dvit_train_event started = {.kind = DVIT_TRAIN_STARTED};
    emit(&job, &started);
    tell_teacher(&job);
    job.saves_done = options->save_requests ? read_flag(options->save_requests) : 0;
    if (job.trainer->progress.unevaluated) {
        reset_window(&job.window);
        DVIT_TRY(end_epoch(&job));
    } else if (options->resume) {
        DVIT_TRY(keep_epoch(&job)); /* the run may have ended before it had kept all */
    }
    while (job.trainer->progress.step < job.last_step)
        DVIT_TRY(run_epoch(&job));
    emit_text(&job, DVIT_TRAIN_FINISHED,
              job.last_step < job.total_steps ? "step limit reached" : "done");
done:
    release(&job);
    return status;
}
