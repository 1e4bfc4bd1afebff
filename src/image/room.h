/* What those who prepare many images keep from one to the next, so that nothing of theirs is
 * allocated in between. */
#ifndef DVIT_IMAGE_ROOM_H
#define DVIT_IMAGE_ROOM_H

#include "image/resize.h"

/* Whether there is an image: sides in 1 … 65535, and pixels. */
enum dvit_status dvit_image_check(const struct dvit_image *image, struct dvit_error *error);

/* Makes `image` width × height, with whatever pixels: its memory is kept where the size is the
 * same. It is empty or owned; on failure it is empty. */
enum dvit_status dvit_image_fit(struct dvit_image *image, int width, int height,
                                struct dvit_error *error);

struct dvit_image_room {
    struct dvit_resizer resizer;
    struct dvit_image cut;   /* the last image cut to the network's size */
    struct dvit_image spare; /* for operations that do not work in place */
};
struct dvit_image_room dvit_image_room_begin(enum dvit_cpu cpu); /* holds no memory yet */
void dvit_image_room_free(struct dvit_image_room *room);

/* dvit_image_crop to `out`, an image to be overwritten or an empty one. */
enum dvit_status dvit_image_cut(struct dvit_image *out, const struct dvit_image *in,
                                struct dvit_box box, struct dvit_error *error);
/* dvit_preprocess_geometry to `out`, alike. */
enum dvit_status dvit_preprocess_cut(const struct dvit_preprocess *preprocess,
                                     const struct dvit_image *in, struct dvit_resizer *resizer,
                                     struct dvit_image *out, struct dvit_error *error);

#endif
