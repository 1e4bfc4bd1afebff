/* Whole training runs on a handful of rendered scenes: what the tests of run folders share. */
#ifndef DVIT_TESTS_RUN_BENCH_H
#define DVIT_TESTS_RUN_BENCH_H

#include "test_util.h"

#include <math.h>

#include "dvit/train.h"
#include "models/model.h"

/* 22 images in batches of 4: 5 steps an epoch, 2 images left over. */
enum { RUN_STEPS_PER_EPOCH = 5, RUN_EPOCHS = 3, RUN_STEPS = 15 };
#define RUN_SCENES "builtin:scenes,image=16,classes=3,train=22,val=9"

struct train_run {
    /* what to do */
    struct dvit_train_options options;
    const char *data;
    const struct dvit_dataset_options *data_options;   /* NULL: the usual */
    void (*at_step)(struct train_run *run, long step); /* called when a step is told; may be NULL */
    bool dynamic;                                      /* three stages and a teacher */
    bool validate;                                     /* with a validation set */
    int dim, heads, classes;
    uint64_t dense_seed; /* of the weights of the dense model, also the teacher's */
    float poison;        /* added to a weight of the model */
    long stop_at;        /* raise the stop flag when this step is told; 0 = never */
    long stop_at_skip;   /* raise it at this skipped image or step; 0 = never */
    long stop_at_save;   /* raise it at this save; 0 = never */
    long save_at;        /* ask for a save when this step is told; 0 = never */
    long break_at;       /* when this step is told, a weight becomes NaN; 0 = never */
    int breaks;          /* how often that still happens */
    const char *copy_to; /* a folder for a copy of the first state saved after step copy_at */
    long copy_at;
    /* what came */
    enum dvit_status status;
    struct dvit_error error;
    long told[DVIT_TRAIN_FINISHED + 1]; /* events by kind */
    long first_step, last_step;         /* of the step events */
    double best_top1;
    char skipped[1500], finished[400]; /* texts of the last such events */
    float *weights;                    /* of the model afterwards; free with run_free */
    size_t floats;
    struct dvit_model *model; /* while it runs */
    char rolled_back[300];    /* text of the last such event */
    double rate;              /* of the last step told */
    double longest_eta_s, least_eta_s;
    volatile int stop, save;
};

static inline struct train_run run_create(const char *folder)
{
    struct train_run run = {.options = dvit_train_options_dense(),
                            .data = RUN_SCENES,
                            .validate = true,
                            .dim = 16,
                            .heads = 2,
                            .classes = 3,
                            .dense_seed = 3};
    run.options.out = folder;
    run.options.command = "a test";
    run.options.epochs = RUN_EPOCHS;
    run.options.batch = 4;
    run.options.threads = 2;
    run.options.warmup_epochs = .4;
    run.options.ema_decay = .8;
    run.options.drop_path = .1;
    run.options.log_every = 1;
    run.options.weight_token = .5; /* where there is a teacher */
    return run;
}

static inline void run_free(struct train_run *run)
{
    free(run->weights);
    run->weights = NULL;
}

/* The first state saved after the step becomes that of the folder `copy_to`. */
static inline void run_copy_state(struct train_run *run, const struct dvit_train_event *event)
{
    struct dvit_error error;
    if (!run->copy_to || event->step != run->copy_at || !strstr(event->text, "/state.safetensors"))
        return;
    char *path = dvit_path_join(run->copy_to, "state.safetensors");
    assert_ok(dvit_file_duplicate(event->text, path, &error), &error);
    free(path);
    run->copy_to = NULL;
}

static inline void run_event(void *context, const struct dvit_train_event *event)
{
    struct train_run *run = context;
    run->told[event->kind]++;
    if (event->kind == DVIT_TRAIN_STEP) {
        if (run->told[DVIT_TRAIN_STEP] == 1)
            run->first_step = event->step;
        run->last_step = event->step;
        run->rate = event->learning_rate;
        run->longest_eta_s = fmax(run->longest_eta_s, event->eta_s);
        run->least_eta_s = fmin(run->least_eta_s, event->eta_s);
        if (event->step == run->stop_at)
            run->stop = 1;
        if (event->step == run->save_at)
            run->save++;
        if (run->at_step)
            run->at_step(run, event->step);
        if (event->step >= run->break_at && run->breaks > 0) {
            run->model->weights[0] = NAN;
            run->breaks--;
        }
    }
    if (event->kind == DVIT_TRAIN_ROLLED_BACK)
        snprintf(run->rolled_back, sizeof run->rolled_back, "%s", event->text);
    if (event->kind == DVIT_TRAIN_SAVED) {
        run_copy_state(run, event);
        if (run->told[event->kind] == run->stop_at_save)
            run->stop = 1;
    }
    if (event->kind == DVIT_TRAIN_SKIPPED && run->told[event->kind] == run->stop_at_skip)
        run->stop = 1;
    if (event->kind == DVIT_TRAIN_SKIPPED)
        snprintf(run->skipped, sizeof run->skipped, "%s", event->text);
    if (event->kind == DVIT_TRAIN_FINISHED)
        snprintf(run->finished, sizeof run->finished, "%s", event->text);
    if (event->kind == DVIT_TRAIN_EVALUATED) {
        bool averaged = event->ema_top1 > event->val_top1 || isnan(event->val_top1);
        double top1 = averaged ? event->ema_top1 : event->val_top1;
        bool better = top1 > run->best_top1;
        if (!run->options.resume)
            assert_int_equal(event->best, better);
        run->best_top1 = event->best ? top1 : run->best_top1;
    }
}

static inline struct dvit_model *run_model(const struct train_run *run, struct dvit_model **dense)
{
    struct dvit_config config = {.name = "vit",
                                 .image_width = 16,
                                 .image_height = 16,
                                 .patch = 4,
                                 .dim = run->dim,
                                 .depth = 3,
                                 .heads = run->heads,
                                 .mlp = 24,
                                 .classes = run->classes,
                                 .norm_eps = 1e-6f,
                                 .skip_lam = 1,
                                 .qkv_bias = true,
                                 .keep = 1};
    const int blocks[2] = {1, 2};
    struct dvit_model *model = NULL;
    struct dvit_error error;
    assert_ok(dvit_model_create(dense, &config, run->dense_seed, &error), &error);
    if (run->dynamic)
        assert_ok(dvit_model_sparsify(&model, *dense, 2, blocks, .7, 4, &error), &error);
    else
        assert_ok(dvit_model_copy(&model, *dense, &error), &error);
    if (run->poison != 0)
        model->weights[0] += run->poison;
    return model;
}

/* Does it; the run may be done again with the same struct after changing options. */
static inline enum dvit_status run_train(struct train_run *run)
{
    struct dvit_dataset *train = NULL, *validation = NULL;
    struct dvit_model *dense = NULL, *model = run_model(run, &dense);
    run_free(run);
    memset(run->told, 0, sizeof run->told);
    run->stop = 0;
    run->best_top1 = -1;
    run->model = model;
    run->options.save_requests = &run->save;
    assert_ok(dvit_dataset_open(&train, run->data, "train", run->data_options, &run->error),
              &run->error);
    if (run->validate)
        assert_ok(dvit_dataset_open(&validation, run->data, "val", run->data_options, &run->error),
                  &run->error);
    run->status = dvit_train(model, run->dynamic ? dense : NULL, train, validation, &run->options,
                             run_event, run, &run->stop, &run->error);
    run->floats = model->parameters.floats;
    run->weights = malloc(run->floats * sizeof *run->weights);
    memcpy(run->weights, model->weights, run->floats * sizeof *run->weights);
    dvit_dataset_free(train);
    dvit_dataset_free(validation);
    dvit_model_free(model);
    dvit_model_free(dense);
    return run->status;
}

/* A file of a run folder, whole. */
struct run_file {
    unsigned char *data;
    size_t size;
};

static inline struct run_file run_read(const char *folder, const char *name)
{
    struct run_file file;
    struct dvit_error error;
    char *path = dvit_path_join(folder, name);
    assert_ok(dvit_file_read(path, (size_t)1 << 28, &file.data, &file.size, &error), &error);
    free(path);
    return file;
}

static inline void run_assert_file(const char *folder, const char *name,
                                   const struct run_file *same)
{
    struct run_file file = run_read(folder, name);
    if (file.size != same->size || memcmp(file.data, same->data, file.size) != 0)
        fail_msg("%s/%s differs", folder, name);
    free(file.data);
}

/* The models and the state of a folder, to compare another with. */
static const char *const run_outputs[3] = {"last.safetensors", "best.safetensors",
                                           "state.safetensors"};
struct run_result {
    struct run_file files[3];
};

static inline struct run_result run_keep(const char *folder)
{
    struct run_result result;
    for (int i = 0; i < 3; i++)
        result.files[i] = run_read(folder, run_outputs[i]);
    return result;
}

static inline void run_assert_same(const char *folder, const struct run_result *result)
{
    for (int i = 0; i < 3; i++)
        run_assert_file(folder, run_outputs[i], &result->files[i]);
}

static inline void run_forget(struct run_result *result)
{
    for (int i = 0; i < 3; i++)
        free(result->files[i].data);
}

#endif
