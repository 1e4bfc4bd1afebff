/* What a training run takes from its data: the loader with the augmentation that the options ask
 * for, and the names of the classes. */
#include "train/train_loader.h"

#include <stdlib.h>
#include <string.h>

#include "image/augment.h"
#include "train/trainer.h"

/* Whether the images already have the network's size, judged by some spread over the set; one that
 * cannot be read says nothing. */
static bool has_native_size(struct dvit_dataset *dataset, const struct dvit_preprocess *preprocess)
{
    enum { PROBES = 16 };
    size_t size = dvit_dataset_size(dataset), seen = 0;
    for (size_t i = 0; i < PROBES; i++) {
        struct dvit_sample sample;
        if (dvit_dataset_read(dataset, i * (size - 1) / (PROBES - 1), &sample, NULL) != DVIT_OK)
            continue;
        bool same = sample.image.width == preprocess->crop_width &&
                    sample.image.height == preprocess->crop_height;
        dvit_sample_free(&sample);
        if (!same)
            return false;
        seen++;
    }
    return seen > 0;
}

enum dvit_status dvit_train_loader_create(struct dvit_loader **out, struct dvit_dataset *train,
                                          const struct dvit_train_options *options,
                                          struct dvit_preprocess *preprocess,
                                          struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, train, options, preprocess);
    enum dvit_status status = DVIT_OK;
    const struct dvit_train_options *o = options;
    struct dvit_loader_options load = dvit_loader_options_default();
    int width = preprocess->crop_width, height = preprocess->crop_height;
    struct dvit_augment augment = dvit_augment_default(width, height);
    struct dvit_mixing mixing = {o->mixup, o->cutmix, o->label_smoothing};
    DVIT_TRY(dvit_train_options_check(o, error));
    DVIT_TRY(dvit_policy_parse(&augment.policy, o->rand_augment, error));
    if (has_native_size(train, preprocess)) { /* nothing to resize, no margin to spare for crops */
        augment.crop = DVIT_AUGMENT_CROP_PADDED;
        struct dvit_preprocess native; /* only its geometry: mean and std stay the model's */
        DVIT_TRY(dvit_preprocess_preset("native", width, height, &native, error));
        preprocess->fit = native.fit;
        preprocess->resize_side = native.resize_side;
        if (memcmp(preprocess->mean, native.mean, sizeof native.mean) == 0 &&
            memcmp(preprocess->std, native.std, sizeof native.std) == 0)
            memcpy(preprocess->name, native.name, sizeof native.name);
    }
    if (!o->flip)
        augment.flip_probability = 0;
    augment.color_jitter = o->color_jitter;
    augment.erasing = o->erasing;
    load.batch = o->batch;
    load.workers = o->workers;
    load.seed = o->seed;
    load.shuffle = true;
    load.drop_last = true;
    load.strict = o->strict;
    if (o->augment) {
        load.augment = &augment;
        load.mixing = &mixing;
        load.repeats = o->repeats;
    }
    load.preprocess = *preprocess;
    DVIT_TRY(dvit_loader_create(out, train, &load, error));
done:
    return status;
}

enum dvit_status dvit_train_take_labels(struct dvit_model *model,
                                        const struct dvit_dataset *dataset,
                                        struct dvit_error *error)
{
    int classes = dvit_model_config(model)->classes;
    const char **labels = calloc((size_t)classes, sizeof *labels);
    if (!labels)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "labels: out of memory");
    for (int k = 0; k < classes; k++)
        labels[k] = dvit_dataset_class_name(dataset, k);
    enum dvit_status status = dvit_model_set_labels(model, labels, classes, error);
    free(labels);
    return status;
}
