/* The image itself: creation, copy, mirror and EXIF turns. It neither decodes nor resizes, and
 * knows no colour space but 8-bit RGB. */
#include "dvit/image.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "image/decode.h"
#include "image/room.h"

enum dvit_status dvit_image_create(struct dvit_image *out, int width, int height,
                                   struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out);
    enum dvit_status status = DVIT_OK;
    if (width < 1 || height < 1 || width > DVIT_MAX_SIDE || height > DVIT_MAX_SIDE)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "image of %dx%d pixels, sides must be in 1 to %d",
                  width, height, DVIT_MAX_SIDE);
    size_t row_bytes = 3 * (size_t)width;
    if ((size_t)height > SIZE_MAX / row_bytes)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT, "image of %dx%d pixels does not fit in memory", width,
                  height);
    unsigned char *pixels = calloc((size_t)height, row_bytes);
    if (!pixels)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "out of memory for an image of %dx%d pixels", width,
                  height);
    *out = (struct dvit_image){.width = width, .height = height, .pixels = pixels};
done:
    return status;
}

void dvit_image_free(struct dvit_image *image)
{
    if (!image)
        return;
    free(image->pixels);
    *image = (struct dvit_image){0};
}

enum dvit_status dvit_image_fit(struct dvit_image *image, int width, int height,
                                struct dvit_error *error)
{
    if (image->pixels && image->width == width && image->height == height)
        return DVIT_OK;
    dvit_image_free(image);
    return dvit_image_create(image, width, height, error);
}

enum dvit_status dvit_image_check(const struct dvit_image *image, struct dvit_error *error)
{
    if (!image->pixels || image->width < 1 || image->height < 1)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "empty image: %dx%d pixels%s",
                              image->width, image->height,
                              image->pixels ? "" : ", and no memory for them");
    if (image->width > DVIT_MAX_SIDE || image->height > DVIT_MAX_SIDE)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "image of %dx%d pixels, sides must be in 1 to %d", image->width,
                              image->height, DVIT_MAX_SIDE);
    return DVIT_OK;
}

enum dvit_status dvit_image_copy(struct dvit_image *out, const struct dvit_image *in,
                                 struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, in);
    enum dvit_status status = DVIT_OK;
    struct dvit_image copy;
    DVIT_TRY(dvit_image_check(in, error));
    DVIT_TRY(dvit_image_create(&copy, in->width, in->height, error));
    memcpy(copy.pixels, in->pixels, 3 * (size_t)in->width * (size_t)in->height);
    *out = copy;
done:
    return status;
}

void dvit_image_flip(struct dvit_image *image)
{
    if (!image || !image->pixels)
        return;
    size_t row_bytes = 3 * (size_t)image->width;
    for (int y = 0; y < image->height; y++) {
        unsigned char *left = image->pixels + (size_t)y * row_bytes;
        unsigned char *right = left + row_bytes - 3;
        for (; left < right; left += 3, right -= 3) {
            unsigned char pixel[3];
            memcpy(pixel, left, 3);
            memcpy(left, right, 3);
            memcpy(right, pixel, 3);
        }
    }
}

/* Where output pixel (0, 0) lies in the stored image, and the steps, in stored pixels, for one
 * output pixel to the right and one down. */
struct walk {
    ptrdiff_t start, right, down;
};

static struct walk orientation_walk(int width, int height, int orientation)
{
    ptrdiff_t w = width, h = height;
    switch (orientation) {
    case 2: /* mirrored */
        return (struct walk){w - 1, -1, w};
    case 3: /* turned by 180 degrees */
        return (struct walk){w * h - 1, -1, -w};
    case 4: /* upside down */
        return (struct walk){w * (h - 1), 1, -w};
    case 5: /* transposed */
        return (struct walk){0, w, 1};
    case 6: /* needs 90 degrees clockwise */
        return (struct walk){w * (h - 1), -w, 1};
    case 7: /* transposed along the other diagonal */
        return (struct walk){w * h - 1, -w, -1};
    case 8: /* needs 90 degrees counter-clockwise */
        return (struct walk){w - 1, w, -1};
    default: /* 1: upright */
        return (struct walk){0, 1, w};
    }
}

enum dvit_status dvit_image_orient(struct dvit_image *out, const struct dvit_image *in,
                                   int orientation, struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, in);
    enum dvit_status status = DVIT_OK;
    struct dvit_image turned;
    if (orientation < 1 || orientation > 8)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "EXIF orientation is %d, must be in 1 to 8",
                  orientation);
    DVIT_TRY(dvit_image_check(in, error));
    bool swaps_sides = orientation >= 5;
    int width = swaps_sides ? in->height : in->width;
    int height = swaps_sides ? in->width : in->height;
    DVIT_TRY(dvit_image_create(&turned, width, height, error));
    struct walk walk = orientation_walk(in->width, in->height, orientation);
    unsigned char *to = turned.pixels;
    for (int y = 0; y < height; y++) {
        ptrdiff_t from = walk.start + y * walk.down;
        for (int x = 0; x < width; x++, to += 3, from += walk.right)
            memcpy(to, in->pixels + 3 * from, 3);
    }
    *out = turned;
done:
    return status;
}
