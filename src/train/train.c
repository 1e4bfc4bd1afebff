/* The training run: data in, steps, evaluations, checkpoints and events out, in a run folder. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "train/job.h"
#include "train/options.h"
#include "train/train_loader.h"

/* -------------------------------------------------------------------------------- steps --- */

/* One step: its micro-batches and the update. *ended is set where the epoch has no full step left;
 * then nothing was updated. */
static enum dvit_status take_step(struct dvit_job *job, bool *ended)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_trainer *t = job->trainer;
    const struct dvit_batch *batch;
    size_t images = 0;
    bool skipped;
    *ended = false;
    for (int i = 0; i < job->options->accumulate; i++) {
        if (i > 0 && !dvit_trainer_has_statistics(t)) /* those move with each micro-batch */
            DVIT_TRY(dvit_job_answer_requests(job));
        DVIT_TRY(dvit_loader_next(job->loader, &batch, job->error));
        dvit_job_tell_skipped_images(job);
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
        dvit_job_tell_teacher(job);
        images += (size_t)batch->count;
        job->next_batch = (long)batch->index + 1;
    }
    dvit_trainer_update(t, &skipped);
    if (!skipped) {
        dvit_job_add_to_window(job, images);
        goto done;
    }
    job->window.skipped++;
    dvit_job_emit_text(job, DVIT_TRAIN_SKIPPED, "a step: its loss or gradient is not finite");
    if (t->progress.bad_in_row >= job->options->max_bad_steps)
        DVIT_TRY(dvit_job_roll_back(job));
done:
    return status;
}

/* A batch without a readable image was passed over: so are its steps, for the position in the data
 * must be a function of the step, or a resumed run would not be the same run. */
static enum dvit_status follow_loader(struct dvit_job *job, long epoch)
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
static enum dvit_status run_epoch(struct dvit_job *job)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_progress *progress = &job->trainer->progress;
    long epoch = progress->step / job->steps_per_epoch;
    long in_epoch = progress->step % job->steps_per_epoch;
    long end = (epoch + 1) * job->steps_per_epoch;
    end = end < job->last_step ? end : job->last_step;
    DVIT_TRY(dvit_loader_start(job->loader, (uint64_t)epoch,
                               (size_t)(in_epoch * job->options->accumulate), job->error));
    dvit_job_reset_window(&job->window);
    while (progress->step < end) {
        bool ended;
        DVIT_TRY(take_step(job, &ended));
        if (ended) { /* unreadable images made the epoch shorter: its steps are over */
            progress->step = (epoch + 1) * job->steps_per_epoch;
            break;
        }
        if (progress->step % job->options->log_every == 0)
            dvit_job_emit_step(job);
        DVIT_TRY(follow_loader(job, epoch));
        if (progress->step >= end)
            break;
        if (job->options->checkpoint_every && progress->step % job->options->checkpoint_every == 0)
            DVIT_TRY(dvit_job_save_scheduled(job, true));
        DVIT_TRY(dvit_job_answer_requests(job)); /* after what every run saves here */
    }
    DVIT_TRY(dvit_job_end_epoch(job));
    if (dvit_job_stop_requested(job) && progress->step < job->last_step)
        DVIT_TRY(dvit_job_stop_early(job));
done:
    return status;
}

/* ---------------------------------------------------------------------------- beginning --- */

static enum dvit_status check_data(const struct dvit_job *job, const struct dvit_model *model)
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

/* A step from such weights would be skipped, and so would every other one. */
static enum dvit_status check_weights(const struct dvit_model *model,
                                      const struct dvit_model *teacher, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    DVIT_TRY(dvit_model_check_finite(model, error));
    if (!teacher)
        return DVIT_OK;
    status = dvit_model_check_finite(teacher, error);
    if (status != DVIT_OK)
        dvit_error_prefix(error, "teacher");
done:
    return status;
}

static enum dvit_status count_steps(struct dvit_job *job)
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

static void identify(struct dvit_job *job, const struct dvit_model *teacher)
{
    job->identity = (struct dvit_run_identity){.data = dvit_dataset_fingerprint(job->train),
                                               .images = dvit_dataset_size(job->train),
                                               .steps_per_epoch = job->steps_per_epoch};
    if (!teacher)
        return;
    snprintf(job->teacher_name, sizeof job->teacher_name, "%016" PRIx64,
             dvit_teacher_weights(teacher));
    job->identity.teacher = job->teacher_name;
    job->identity.teacher_model = teacher->config.name;
}

/* Whether there is a state to go on from. A job that is started again and again gives the same
 * options each time: where nothing was saved yet, the run begins. */
static enum dvit_status choose_resuming(struct dvit_job *job)
{
    const struct dvit_run_folder *f = &job->folder;
    const char *out = job->options->out;
    bool has_state = dvit_file_exists(f->state);
    if (has_state && !job->options->resume)
        return dvit_error_set(job->error, DVIT_ERROR_ARGUMENT,
                              "\"%s\" holds a run already: go on with --resume, or name another "
                              "folder",
                              out);
    if (!has_state && job->options->resume &&
        (dvit_file_exists(f->best) || dvit_file_exists(f->last)))
        return dvit_error_set(job->error, DVIT_ERROR_IO,
                              "\"%s\" is not there, but models of the run are: it cannot go on, "
                              "and beginning anew would replace them; name another folder",
                              f->state);
    job->resumed = has_state;
    return DVIT_OK;
}

static void note(void *context, const char *text)
{
    dvit_job_emit_text(context, DVIT_TRAIN_NOTED, text);
}

/* What a user should know at the start; the configuration of before is then replaced. */
static enum dvit_status tell_start(struct dvit_job *job)
{
    const struct dvit_trainer *t = job->trainer;
    struct dvit_train_event started = {.kind = DVIT_TRAIN_STARTED};
    struct dvit_train_plan plan = {
        .asked = &t->asked,
        .used = &t->options,
        .steps_per_epoch = job->steps_per_epoch,
        .total_steps = job->total_steps,
        .last_step = job->last_step,
        .has_backbone_to_freeze = t->model->config.stages > 0 && !t->options.freeze_backbone,
    };
    char text[1200];
    dvit_job_emit(job, &started);
    if (job->options->resume && !job->resumed) {
        snprintf(text, sizeof text, "\"%.1000s\" holds no state to resume: the run begins",
                 job->options->out);
        note(job, text);
    }
    for (int i = 0; !job->resumed && dvit_train_plan_note(&plan, i, text); i++)
        note(job, text);
    if (job->resumed && t->saved_epochs > 0 && t->saved_epochs < t->options.epochs) {
        snprintf(text, sizeof text,
                 "the run is extended from %d epochs to %d: from step %ld on its rates follow the "
                 "schedule of %d epochs",
                 t->saved_epochs, t->options.epochs, t->progress.step, t->options.epochs);
        note(job, text);
    }
    if (job->resumed)
        dvit_run_config_compare(job->folder.config, t, job->train, job->validation, note, job);
    dvit_job_tell_teacher(job);
    return dvit_run_config_write(job->folder.config, t, job->train, job->validation, job->error);
}

static enum dvit_status begin(struct dvit_job *job, struct dvit_model *model,
                              const struct dvit_model *teacher)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_train_options *o = job->options;
    DVIT_TRY(dvit_train_options_check(o, job->error));
    DVIT_TRY(check_data(job, model));
    DVIT_TRY(check_weights(model, teacher, job->error));
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
    DVIT_TRY(choose_resuming(job));
    if (job->resumed)
        DVIT_TRY(dvit_checkpoint_load(job->trainer, &job->identity, job->folder.state, job->error));
    dvit_run_folder_sweep(&job->folder);
    DVIT_TRY(dvit_job_begin_good_state(job));
    struct dvit_run_log_options log = {.folder = o->out,
                                       .stages = model->config.stages,
                                       .tensorboard = o->tensorboard,
                                       .resume = job->resumed,
                                       .resumed_step = job->trainer->progress.step,
                                       .unevaluated = job->trainer->progress.unevaluated};
    DVIT_TRY(dvit_run_log_open(&job->log, &log, job->error));
    DVIT_TRY(tell_start(job));
done:
    if (status != DVIT_OK)
        dvit_run_folder_abandon(&job->folder);
    return status;
}

static void release(struct dvit_job *job)
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
    DVIT_REQUIRE(error, model, train, options);
    enum dvit_status status = DVIT_OK;
    struct dvit_job job = {
        .train = train,
        .validation = validation,
        .options = options,
        .callback = callback,
        .context = context,
        .stop = stop,
        .error = error,
    };
    DVIT_TRY(begin(&job, model, teacher));
    job.saves_done = dvit_job_save_requests(&job);
    if (job.trainer->progress.unevaluated) {
        dvit_job_reset_window(&job.window);
        DVIT_TRY(dvit_job_end_epoch(&job));
    } else if (job.resumed) {
        DVIT_TRY(dvit_job_keep_epoch(&job)); /* the run may have ended before it had kept all */
    }
    while (job.trainer->progress.step < job.last_step)
        DVIT_TRY(run_epoch(&job));
    DVIT_TRY(dvit_job_conclude(&job));
done:
    release(&job);
    return status;
}
