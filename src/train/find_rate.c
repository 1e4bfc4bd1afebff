/* The loss against a learning rate that grows from step to step, on a copy of the model. No files,
 * no evaluation, no moving average. */
#include <math.h>
#include <stdlib.h>

#include "base/flag.h"
#include "train/trainer.h"

static const double lowest = 1e-7, highest = 10;
static const double memory = .9;     /* of the smoothed loss */
static const double beyond_hope = 4; /* times the best smoothed loss: the search is over */
static const double improvement = .98;
enum { SETTLED = 10 }; /* steps before the smoothed loss says something; the rates are tiny yet */

struct search {
    struct dvit_model *model;
    struct dvit_trainer *trainer;
    struct dvit_loader *loader;
    const struct dvit_train_options *options;
    const volatile int *stop;
    uint64_t epoch;
};

static struct dvit_train_options search_options(const struct dvit_train_options *given)
{
    struct dvit_train_options options = *given;
    options.warmup_epochs = 0;
    options.backbone_freeze_epochs = 0;
    options.ema_decay = 0;
    options.learning_rate = options.min_learning_rate = lowest;
    return options;
}

/* The next batch of an endless row of epochs. */
static enum dvit_status next_batch(struct search *s, const struct dvit_batch **batch,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    DVIT_TRY(dvit_loader_next(s->loader, batch, error));
    if (*batch)
        goto done;
    DVIT_TRY(dvit_loader_start(s->loader, ++s->epoch, 0, error));
    DVIT_TRY(dvit_loader_next(s->loader, batch, error));
    if (!*batch)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "the data has no batch that can be read");
done:
    return status;
}

static enum dvit_status take_step(struct search *s, double rate, bool *skipped,
                                  struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    s->trainer->options.learning_rate = s->trainer->options.min_learning_rate = rate;
    for (int i = 0; i < s->options->accumulate; i++) {
        const struct dvit_batch *batch;
        if (dvit_flag_read(s->stop))
            DVIT_FAIL(error, DVIT_ERROR_INTERRUPTED, "stopped on request");
        DVIT_TRY(next_batch(s, &batch, error));
        struct dvit_micro_batch micro = {
            .images = batch->count,
            .pixels = batch->pixels,
            .labels = batch->labels,
            .targets = batch->targets,
            .indices = batch->indices,
        };
        DVIT_TRY(dvit_trainer_micro(s->trainer, &micro, error));
    }
    dvit_trainer_update(s->trainer, skipped);
done:
    return status;
}

/* A tenth of the rate at which the smoothed loss was lowest; 0 where it never fell. */
static double suggest(const struct dvit_rate_curve *curve)
{
    int best = SETTLED;
    for (int i = SETTLED; i < curve->count; i++)
        if (curve->smoothed[i] < curve->smoothed[best])
            best = i;
    bool fell = curve->smoothed[best] < improvement * curve->smoothed[SETTLED];
    return fell ? curve->rates[best] / 10 : 0;
}

static enum dvit_status walk(struct search *s, struct dvit_rate_curve *curve,
                             struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    double running = 0, best = INFINITY;
    for (int i = 0; i < DVIT_RATE_STEPS; i++) {
        bool skipped;
        double rate = lowest * pow(highest / lowest, (double)i / (DVIT_RATE_STEPS - 1));
        DVIT_TRY(take_step(s, rate, &skipped, error));
        if (skipped)
            break;
        running = memory * running + (1 - memory) * s->trainer->losses.total;
        curve->rates[i] = rate;
        curve->losses[i] = s->trainer->losses.total;
        curve->smoothed[i] = running / (1 - pow(memory, i + 1));
        curve->count = i + 1;
        best = fmin(best, curve->smoothed[i]);
        if (i > SETTLED && curve->smoothed[i] > beyond_hope * best)
            break;
    }
    curve->suggestion = suggest(curve);
done:
    return status;
}

enum dvit_status dvit_train_find_rate(struct dvit_rate_curve *out, const struct dvit_model *model,
                                      const struct dvit_model *teacher, struct dvit_dataset *train,
                                      const struct dvit_train_options *options,
                                      const volatile int *stop, struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, model, train, options);
    enum dvit_status status = DVIT_OK;
    struct dvit_train_options own = search_options(options);
    struct search s = {.options = &own, .stop = stop};
    if (dvit_dataset_classes(train) != model->config.classes)
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH, "the training data has %d classes, the model %d",
                  dvit_dataset_classes(train), model->config.classes);
    DVIT_TRY(dvit_model_copy(&s.model, model, error));
    if (s.model->config.stages)
        s.model->config.keep = own.keep;
    DVIT_TRY(dvit_train_loader_create(&s.loader, train, &own, &s.model->preprocess, error));
    if (dvit_loader_batches(s.loader) < 1)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "%zu images give no batch of %d: use a smaller batch",
                  dvit_dataset_size(train), own.batch);
    DVIT_TRY(dvit_trainer_create(&s.trainer, s.model, teacher, &own, DVIT_RATE_STEPS,
                                 DVIT_RATE_STEPS, error));
    DVIT_TRY(dvit_loader_start(s.loader, 0, 0, error));
    DVIT_TRY(walk(&s, out, error));
done:
    dvit_loader_free(s.loader);
    dvit_trainer_free(s.trainer);
    dvit_model_free(s.model);
    return status;
}
