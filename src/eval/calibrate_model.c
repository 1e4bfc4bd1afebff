/* Calibration of a model on images of a data set, drawn by chance: a loader feeds what
 * infer/calibrate.c measures. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "dvit/quantize.h"
#include "infer/calibrate.h"
#include "models/model.h"

struct dvit_calibrate_options dvit_calibrate_options_default(void)
{
    return (struct dvit_calibrate_options){.images = 512, .batch = 32, .workers = 1, .cpu = "auto"};
}

/* Shows `wanted` images, fewer only where there are no more; *done counts them. */
static enum dvit_status show_images(struct dvit_calibration *calibration,
                                    struct dvit_loader *loader, size_t wanted, size_t *done,
                                    void (*progress)(void *, size_t, size_t), void *context,
                                    struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_batch *batch;
    DVIT_TRY(dvit_loader_start(loader, 0, 0, error));
    for (*done = 0; *done < wanted;) {
        DVIT_TRY(dvit_loader_next(loader, &batch, error));
        if (!batch)
            break;
        size_t count =
            (size_t)batch->count < wanted - *done ? (size_t)batch->count : wanted - *done;
        DVIT_TRY(dvit_calibration_run(calibration, batch->pixels, (int)count, error));
        *done += count;
        if (progress)
            progress(context, *done, wanted);
    }
done:
    return status;
}

enum dvit_status dvit_model_calibrate(struct dvit_model *model, struct dvit_dataset *dataset,
                                      const struct dvit_calibrate_options *options,
                                      void (*progress)(void *context, size_t done, size_t total),
                                      void *context, struct dvit_error *error)
{
    DVIT_REQUIRE(error, model, dataset);
    enum dvit_status status = DVIT_OK;
    const struct dvit_calibrate_options defaults = dvit_calibrate_options_default();
    const struct dvit_calibrate_options *o = options ? options : &defaults;
    struct dvit_calibration *calibration = NULL;
    struct dvit_loader *loader = NULL;
    size_t all = dvit_dataset_size(dataset), count = model->parameters.count, seen = 0;
    struct dvit_quantised *inputs = calloc(count, sizeof *inputs);
    struct dvit_session_options session = {
        .max_batch = o->batch, .threads = o->threads, .cpu = o->cpu};
    struct dvit_loader_options load = dvit_loader_options_default();
    load.batch = o->batch;
    load.workers = o->workers;
    load.seed = o->seed;
    load.shuffle = true; /* folders are in the order of their classes */
    load.preprocess = model->preprocess;
    if (!inputs)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "calibration: out of memory");
    if (o->images < 1)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "calibration: 0 images, expected at least 1");
    DVIT_TRY(dvit_model_check_finite(model, error));
    DVIT_TRY(dvit_calibration_create(&calibration, model, &session, error));
    DVIT_TRY(dvit_loader_create(&loader, dataset, &load, error));
    DVIT_TRY(show_images(calibration, loader, o->images < all ? o->images : all, &seen, progress,
                         context, error));
    DVIT_TRY(dvit_calibration_finish(calibration, inputs, error));
    memcpy(model->inputs, inputs, count * sizeof *inputs);
    model->calibration_images = seen;
done:
    dvit_loader_free(loader);
    dvit_calibration_free(calibration);
    free(inputs);
    return status;
}
