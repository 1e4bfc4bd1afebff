/* The loader's options: defaults and bounds. */
#include "data/loader_options.h"

#include "data/dataset.h"
#include "data/mixup.h"
#include "image/augment.h"
#include "image/room.h"

enum { MAX_BATCH = 4096, MAX_WORKERS = 64, MAX_AHEAD = 64, MAX_REPEATS = 64 };

struct dvit_loader_options dvit_loader_options_default(void)
{
    return (struct dvit_loader_options){.batch = 64, .workers = 1, .ahead = 2, .repeats = 1};
}

static enum dvit_status check_range(const char *name, long long value, long long low,
                                    long long high, struct dvit_error *error)
{
    if (value >= low && value <= high)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "loader: %s is %lld, expected %lld … %lld",
                          name, value, low, high);
}

enum dvit_status dvit_loader_options_check(const struct dvit_loader_options *options,
                                           const struct dvit_dataset *dataset,
                                           struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    DVIT_TRY(check_range("batch", options->batch, 1, MAX_BATCH, error));
    DVIT_TRY(check_range("workers", options->workers, 0, MAX_WORKERS, error));
    DVIT_TRY(check_range("ahead", options->ahead, 1, MAX_AHEAD, error));
    DVIT_TRY(check_range("repeats", options->repeats, 1, MAX_REPEATS, error));
    status = dvit_preprocess_check(&options->preprocess, error);
    if (status != DVIT_OK) {
        dvit_error_prefix(error, "loader");
        goto done;
    }
    if (options->augment)
        DVIT_TRY(dvit_augment_check(options->augment, error));
    if (options->mixing)
        DVIT_TRY(dvit_mixing_check(options->mixing, error));
    if (options->want_masks && !dataset->has_masks)
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH,
                  "loader: masks are wanted, and this data set has none");
    if (options->want_masks && options->augment)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "loader: masks are wanted of augmented images, expected no augmentation");
done:
    return status;
}
