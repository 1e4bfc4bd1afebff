/* Resizing for those who resize many images: only a window of the result, and memory that is kept.
 */
#ifndef DVIT_IMAGE_RESIZE_H
#define DVIT_IMAGE_RESIZE_H

#include "image/pixel_loops.h"

/* What is kept from one resize to the next. */
struct dvit_resizer {
    struct dvit_pixel_loops loops;
    struct dvit_arena memory; /* grows to what the largest resize needed */
};
struct dvit_resizer dvit_resizer_begin(enum dvit_cpu cpu); /* holds no memory yet */
void dvit_resizer_free(struct dvit_resizer *resizer);

/* A resize of the part `box` of an image to width × height, of which only `window` is wanted: the
 * same pixels as resizing all and cropping then, without the work outside. */
struct dvit_resize {
    struct dvit_box box; /* inside the input */
    int width, height;
    struct dvit_box window; /* inside width × height */
    bool mirrored;          /* the window's left and right swapped */
    enum dvit_filter filter;
    bool pillow13; /* the passes in the order of Pillow 13 */
};

/* `out` is an image to be overwritten, or an empty one: its pixels are used where its size is the
 * window's, else it is made anew. Caller frees. */
enum dvit_status dvit_resizer_run(struct dvit_resizer *resizer, struct dvit_image *out,
                                  const struct dvit_image *in, const struct dvit_resize *resize,
                                  struct dvit_error *error);

/* Once, with memory of its own; *out is overwritten as by all public functions. */
enum dvit_status dvit_image_resize_window(struct dvit_image *out, const struct dvit_image *in,
                                          struct dvit_box box, int width, int height,
                                          struct dvit_box window, enum dvit_filter filter,
                                          struct dvit_error *error);

#endif
