/* One image on its way from the data set into a batch. It knows neither batches nor threads
 * (loader.c), and decodes nothing (dataset.c). */
#include "data/prepare.h"

#include <string.h>

#include "base/rng.h"
#include "image/augment.h"

/* The mask through the same geometry as the image: drawn as a picture, cut at half. */
static enum dvit_status make_mask(const struct dvit_preprocess *preprocess,
                                  const struct dvit_view *view, struct dvit_image_room *room,
                                  uint8_t *out, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_image *drawn = &room->spare, *cut = &room->cut;
    DVIT_TRY(dvit_image_fit(drawn, view->image.width, view->image.height, error));
    size_t pixels = (size_t)drawn->width * (size_t)drawn->height;
    for (size_t i = 0; i < pixels; i++)
        memset(drawn->pixels + 3 * i, view->mask[i] ? 255 : 0, 3);
    DVIT_TRY(dvit_preprocess_cut(preprocess, drawn, &room->resizer, cut, error));
    pixels = (size_t)cut->width * (size_t)cut->height;
    for (size_t i = 0; i < pixels; i++)
        out[i] = cut->pixels[3 * i] >= 128;
done:
    return status;
}

/* Whether the evaluation geometry leaves the image as it is: then nothing is copied. */
static bool fits_already(const struct dvit_preprocess *preprocess, const struct dvit_image *image)
{
    int shorter = image->width < image->height ? image->width : image->height;
    int longer = image->width < image->height ? image->height : image->width;
    if (image->width != preprocess->crop_width || image->height != preprocess->crop_height)
        return false;
    if (preprocess->fit == DVIT_FIT_CROP)
        return preprocess->resize_side == shorter;
    return preprocess->resize_side == 0 ||
           (preprocess->resize_side == shorter && preprocess->resize_side == longer);
}

enum dvit_status dvit_place_fill(const struct dvit_place *place, struct dvit_dataset *dataset,
                                 uint32_t index, const struct dvit_loader_options *options,
                                 uint64_t step, struct dvit_image_room *room,
                                 struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_preprocess *preprocess = &options->preprocess;
    struct dvit_rng rng = dvit_rng_stream(options->seed, DVIT_RNG_AUGMENT, step, index);
    struct dvit_view view = {0};
    DVIT_TRY(dvit_dataset_view(dataset, index, &view, error));
    *place->label = view.label;
    const struct dvit_image *final = &room->cut;
    if (options->augment)
        DVIT_TRY(dvit_augment_run(options->augment, preprocess, &view.image, &rng, room, error));
    else if (fits_already(preprocess, &view.image))
        final = &view.image;
    else
        DVIT_TRY(dvit_preprocess_cut(preprocess, &view.image, &room->resizer, &room->cut, error));
    dvit_preprocess_normalise(preprocess, final, place->pixels);
    if (options->augment)
        dvit_augment_erase(options->augment, preprocess, &rng, place->pixels);
    if (place->picture)
        memcpy(place->picture, final->pixels, 3 * (size_t) final->width * (size_t) final->height);
    if (place->mask)
        DVIT_TRY(make_mask(preprocess, &view, room, place->mask, error));
done:
    if (status != DVIT_OK && view.image.pixels) /* read, but not prepared: no name in it yet */
        dvit_error_prefix(error, "\"%s\"", dvit_dataset_item_name(dataset, index));
    dvit_view_release(&view);
    return status;
}
