/* Evaluation: a loader feeds a session; counts are exact integers. Predictions are kept on request,
 * in memory that is made before the first image. */
#define _GNU_SOURCE
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "dvit/eval.h"
#include "infer/session.h"

struct tally {
    size_t images, unanswered, top1, top5;
    double loss, model_seconds;
    double kept[DVIT_MAX_STAGES];        /* Σ over images of the share of patches kept */
    double object_kept[DVIT_MAX_STAGES]; /* Σ over images of the share of object pixels kept */
    size_t objects;                      /* images with an object */
};

/* What turns logits into probabilities: exp(logit − high) / sum. */
struct scale {
    double high, sum;
};

static struct scale scale_of(const float *logits, int classes)
{
    struct scale scale = {.high = logits[0]};
    for (int k = 1; k < classes; k++)
        scale.high = logits[k] > scale.high ? logits[k] : scale.high;
    for (int k = 0; k < classes; k++)
        scale.sum += exp(logits[k] - scale.high);
    return scale;
}

/* `prediction` may be NULL. */
static void count_answer(struct tally *tally, const float *logits, int classes, int label,
                         struct dvit_prediction *prediction)
{
    int best[DVIT_PREDICTION_TOP],
        k = classes < DVIT_PREDICTION_TOP ? classes : DVIT_PREDICTION_TOP;
    tally->images++;
    if (prediction)
        prediction->read = true;
    if (!dvit_logits_finite(logits, classes)) {
        tally->unanswered++;
        return;
    }
    struct scale scale = scale_of(logits, classes);
    dvit_top_k(logits, classes, k, best);
    tally->top1 += best[0] == label;
    for (int i = 0; i < k; i++)
        tally->top5 += best[i] == label;
    tally->loss += scale.high + log(scale.sum) - logits[label];
    for (int i = 0; prediction && i < k; i++) {
        prediction->top[i] = best[i];
        prediction->probability[i] = (float)(exp(logits[best[i]] - scale.high) / scale.sum);
    }
}

/* Object pixels under the kept patches. */
static size_t covered_pixels(const uint8_t *mask, const struct dvit_config *config, const int *kept,
                             int count)
{
    size_t width = (size_t)config->image_width, patch = (size_t)config->patch;
    size_t grid_width = width / patch, covered = 0;
    for (int i = 0; i < count; i++) {
        size_t row = (size_t)kept[i] / grid_width, column = (size_t)kept[i] % grid_width;
        for (size_t y = row * patch; y < (row + 1) * patch; y++)
            for (size_t x = column * patch; x < (column + 1) * patch; x++)
                covered += mask[y * width + x];
    }
    return covered;
}

static void count_kept(struct tally *tally, const struct dvit_session *session,
                       const struct dvit_config *config, int image, const uint8_t *mask)
{
    size_t pixels = (size_t)config->image_width * (size_t)config->image_height, object = 0;
    for (size_t i = 0; mask && i < pixels; i++)
        object += mask[i];
    tally->objects += object > 0;
    for (int s = 0; s < dvit_session_stages(session); s++) {
        int count;
        const int *kept = dvit_session_kept(session, image, s, &count);
        tally->kept[s] += (double)count / dvit_config_patches(config);
        if (object)
            tally->object_kept[s] +=
                (double)covered_pixels(mask, config, kept, count) / (double)object;
    }
}

static enum dvit_status run_batches(struct dvit_session *session, const struct dvit_model *model,
                                    struct dvit_loader *loader, float *logits, size_t total,
                                    void (*progress)(void *, size_t, size_t), void *context,
                                    struct tally *tally, struct dvit_prediction *predictions,
                                    struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_config *config = dvit_model_config(model);
    const struct dvit_batch *batch;
    size_t pixels = (size_t)config->image_width * (size_t)config->image_height;
    for (;;) {
        DVIT_TRY(dvit_loader_next(loader, &batch, error));
        if (!batch)
            break;
        double start = dvit_clock_seconds();
        DVIT_TRY(dvit_session_run(session, batch->pixels, batch->count, logits, error));
        tally->model_seconds += dvit_clock_seconds() - start;
        for (int i = 0; i < batch->count; i++) {
            count_answer(tally, logits + (size_t)i * (size_t)config->classes, config->classes,
                         batch->labels[i], predictions ? predictions + batch->indices[i] : NULL);
            count_kept(tally, session, config, i,
                       batch->masks ? batch->masks + (size_t)i * pixels : NULL);
        }
        if (progress)
            progress(context, tally->images, total);
    }
done:
    return status;
}

static void summarise(const struct tally *tally, double seconds, struct dvit_evaluation *out)
{
    double images = tally->images ? (double)tally->images : 1;
    size_t answered = tally->images - tally->unanswered;
    out->images = tally->images;
    out->unanswered = tally->unanswered;
    out->top1 = (double)tally->top1 / images;
    out->top5 = (double)tally->top5 / images;
    out->loss = answered ? tally->loss / (double)answered : NAN;
    out->images_per_s = seconds > 0 ? (double)tally->images / seconds : 0;
    out->model_images_per_s =
        tally->model_seconds > 0 ? (double)tally->images / tally->model_seconds : 0;
    for (int s = 0; s < out->stages; s++) {
        out->kept_share[s] = tally->kept[s] / images;
        out->object_kept_share[s] =
            tally->objects ? tally->object_kept[s] / (double)tally->objects : 0;
    }
}

static enum dvit_status check_fit(const struct dvit_model *model, struct dvit_dataset *dataset,
                                  struct dvit_error *error)
{
    int classes = dvit_model_config(model)->classes;
    if (dvit_dataset_classes(dataset) == classes)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_MISMATCH, "the data set has %d classes, the model %d",
                          dvit_dataset_classes(dataset), classes);
}

/* Room for what is answered: nothing yet, labels and names from the data set. */
static enum dvit_status prepare_predictions(struct dvit_evaluation *out,
                                            const struct dvit_dataset *dataset, size_t total,
                                            struct dvit_error *error)
{
    size_t classes = (size_t)dvit_dataset_classes(dataset);
    out->predictions = calloc(total, sizeof *out->predictions);
    out->class_names = calloc(classes, sizeof *out->class_names);
    if (!out->predictions || !out->class_names)
        return dvit_error_set(error, DVIT_ERROR_MEMORY,
                              "evaluation: out of memory for %zu predictions", total);
    out->prediction_count = total;
    out->classes = (int)classes;
    for (size_t i = 0; i < total; i++) {
        out->predictions[i].label = dvit_dataset_label(dataset, i);
        for (int k = 0; k < DVIT_PREDICTION_TOP; k++)
            out->predictions[i].top[k] = -1;
    }
    for (int k = 0; k < out->classes; k++) {
        out->class_names[k] = strdup(dvit_dataset_class_name(dataset, k));
        if (!out->class_names[k])
            return dvit_error_set(error, DVIT_ERROR_MEMORY,
                                  "evaluation: out of memory for %zu class names", classes);
    }
    return DVIT_OK;
}

static enum dvit_status copy_skips(struct dvit_evaluation *out, const struct dvit_loader *loader,
                                   struct dvit_error *error)
{
    struct dvit_skip skip;
    size_t count = dvit_loader_skipped_count(loader);
    if (count == 0)
        return DVIT_OK;
    out->unread = calloc(count, sizeof *out->unread);
    for (size_t i = 0; out->unread && dvit_loader_skipped(loader, i, &skip); i++) {
        out->unread[i] = (struct dvit_unread){skip.index, strdup(skip.message)};
        if (!out->unread[i].message)
            break;
        out->skipped = i + 1;
    }
    if (out->skipped == count)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_MEMORY,
                          "evaluation: out of memory for %zu images that could not be read", count);
}

void dvit_evaluation_free(struct dvit_evaluation *evaluation)
{
    if (!evaluation)
        return;
    for (size_t i = 0; evaluation->unread && i < evaluation->skipped; i++)
        free(evaluation->unread[i].message);
    for (int k = 0; evaluation->class_names && k < evaluation->classes; k++)
        free(evaluation->class_names[k]);
    free(evaluation->unread);
    free(evaluation->class_names);
    free(evaluation->predictions);
    *evaluation = (struct dvit_evaluation){0};
}

static struct dvit_loader_options loader_options(const struct dvit_model *model,
                                                 const struct dvit_evaluate_options *options,
                                                 bool want_masks)
{
    struct dvit_loader_options load = dvit_loader_options_default();
    load.batch = options->batch;
    load.workers = options->workers;
    load.strict = options->strict;
    load.limit = options->limit;
    load.want_masks = want_masks;
    load.preprocess = *dvit_model_preprocess(model);
    return load;
}

enum dvit_status dvit_evaluate(struct dvit_session *session, const struct dvit_model *model,
                               struct dvit_dataset *dataset,
                               const struct dvit_evaluate_options *options,
                               void (*progress)(void *context, size_t done, size_t total),
                               void *context, struct dvit_evaluation *out, struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, session, model, dataset, options, out);
    enum dvit_status status = DVIT_OK;
    struct dvit_loader *loader = NULL;
    struct tally tally = {0};
    float *logits = NULL;
    *out = (struct dvit_evaluation){.stages = dvit_session_stages(session)};
    bool pools = dvit_model_config(model)->stages > 0 && !dvit_model_chooses(model);
    out->has_masks = dvit_dataset_has_masks(dataset) && !pools;
    struct dvit_loader_options load = loader_options(model, options, out->has_masks);
    DVIT_TRY(check_fit(model, dataset, error));
    DVIT_TRY(dvit_session_check_model(session, model, error));
    DVIT_TRY(dvit_loader_create(&loader, dataset, &load, error));
    logits =
        calloc((size_t)options->batch * (size_t)dvit_model_config(model)->classes, sizeof *logits);
    if (!logits)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "evaluation: out of memory");
    size_t total = dvit_dataset_size(dataset);
    total = options->limit && options->limit < total ? options->limit : total;
    if (options->want_predictions)
        DVIT_TRY(prepare_predictions(out, dataset, total, error));
    double start = dvit_clock_seconds();
    DVIT_TRY(dvit_loader_start(loader, 0, 0, error));
    DVIT_TRY(run_batches(session, model, loader, logits, total, progress, context, &tally,
                         out->predictions, error));
    summarise(&tally, dvit_clock_seconds() - start, out);
    if (options->want_predictions)
        DVIT_TRY(copy_skips(out, loader, error));
    out->skipped = dvit_loader_skipped_count(loader);
done:
    if (status != DVIT_OK)
        dvit_evaluation_free(out);
    dvit_loader_free(loader);
    free(logits);
    return status;
}
