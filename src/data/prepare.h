/* One image of a batch: read, varied, normalised, and put into its place. */
#ifndef DVIT_DATA_PREPARE_H
#define DVIT_DATA_PREPARE_H

#include "data/dataset.h"
#include "image/room.h"

/* Where an image goes. */
struct dvit_place {
    float *pixels;    /* [3][crop_height][crop_width] */
    int *label;       /* set once the image was read */
    uint8_t *mask;    /* [crop_height][crop_width], or NULL */
    uint8_t *picture; /* [crop_height][crop_width][3], or NULL */
};

/* Prepares image `index` of the data set. Augmentation draws from the stream (seed, augment,
 * `step`, index). `room` is kept from image to image.
 * The error names the image. */
enum dvit_status dvit_place_fill(const struct dvit_place *place, struct dvit_dataset *dataset,
                                 uint32_t index, const struct dvit_loader_options *options,
                                 uint64_t step, struct dvit_image_room *room,
                                 struct dvit_error *error);

#endif
