/* The resize that produces only a window of its result, for a crop that follows. */
#ifndef DVIT_IMAGE_RESIZE_H
#define DVIT_IMAGE_RESIZE_H

#include "base/error.h"
#include "dvit/image.h"

/* Pixels `window` (inside the result) of resizing the part `box` of `in` to width × height: the
 * same as resizing all of it and cropping then, without the work outside. Caller frees. */
enum dvit_status dvit_image_resize_window(struct dvit_image *out, const struct dvit_image *in,
                                          struct dvit_box box, int width, int height,
                                          struct dvit_box window, enum dvit_filter filter,
                                          struct dvit_error *error);

#endif
