/* Crops and the sizes and places they need. A crop may reach outside its image; there it is black.
 */
#include <stdint.h>
#include <string.h>

#include "image/room.h"

void dvit_image_short_side(int width, int height, int side, int *out_width, int *out_height)
{
    bool portrait = width <= height;
    if (!out_width || !out_height)
        return;
    *out_width = *out_height = 0;
    if (width < 1 || height < 1 || side < 1)
        return;
    long long shorter = portrait ? width : height, longer = portrait ? height : width;
    long long scaled = side * longer / shorter;
    int longest = scaled > INT32_MAX ? INT32_MAX : (int)scaled;
    *out_width = portrait ? side : longest;
    *out_height = portrait ? longest : side;
}

/* Half of a non-negative difference, rounded half to even. */
static int centre_offset(int difference)
{
    int half = difference / 2;
    return half + (difference % 2 && half % 2);
}

static int centre_start(int image, int crop)
{
    image = image > 0 ? image : 0;
    crop = crop > 0 ? crop : 0;
    if (image >= crop)
        return centre_offset(image - crop);
    return -((crop - image) / 2); /* floor before, ceil after */
}

struct dvit_box dvit_image_centre_box(int image_width, int image_height, int crop_width,
                                      int crop_height)
{
    return (struct dvit_box){
        .x = centre_start(image_width, crop_width),
        .y = centre_start(image_height, crop_height),
        .width = crop_width,
        .height = crop_height,
    };
}

/* The part of [start, start + length) inside [0, size): where it begins, and its length. */
static void overlap(int start, int length, int size, int *first, int *count)
{
    long long end = (long long)start + length;
    long long low = start > 0 ? start : 0, high = end < size ? end : size;
    *count = high > low ? (int)(high - low) : 0;
    *first = *count ? (int)low : 0;
}

enum dvit_status dvit_image_cut(struct dvit_image *out, const struct dvit_image *in,
                                struct dvit_box box, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    DVIT_TRY(dvit_image_check(in, error));
    DVIT_TRY(dvit_image_fit(out, box.width, box.height, error));
    int x, y, columns, rows;
    overlap(box.x, box.width, in->width, &x, &columns);
    overlap(box.y, box.height, in->height, &y, &rows);
    if (columns < box.width || rows < box.height)
        memset(out->pixels, 0, 3 * (size_t)box.width * (size_t)box.height);
    for (int i = 0; i < rows && columns; i++) {
        size_t from = (size_t)(y + i) * (size_t)in->width + (size_t)x;
        size_t to = (size_t)(y + i - box.y) * (size_t)box.width + (size_t)(x - box.x);
        memcpy(out->pixels + 3 * to, in->pixels + 3 * from, 3 * (size_t)columns);
    }
done:
    return status;
}

enum dvit_status dvit_image_crop(struct dvit_image *out, const struct dvit_image *in,
                                 struct dvit_box box, struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, in);
    return dvit_image_cut(out, in, box, error);
}
