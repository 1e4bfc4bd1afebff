/* Training's variations of one image: RandomResizedCrop or a padded crop, and flips, as torchvision
 * and timm do them, then whatever policy.c draws; the draws come from our own streams. What the
 * operations do to pixels is in color_ops.c and geometry_ops.c; what needs a batch is in the data
 * room's mixup.c. */
#include "image/augment.h"

#include <math.h>

#include "image/random_erasing.h"

struct dvit_augment dvit_augment_default(int width, int height)
{
    enum { SMALL_SIDE = 32 };
    bool small = width <= SMALL_SIDE && height <= SMALL_SIDE;
    return (struct dvit_augment){
        .crop = small ? DVIT_AUGMENT_CROP_PADDED : DVIT_AUGMENT_CROP_RESIZED,
        .scale_low = 0.08,
        .scale_high = 1.0,
        .ratio_low = 3.0 / 4.0,
        .ratio_high = 4.0 / 3.0,
        .attempts = 10,
        .padding = 4,
        .filter = DVIT_FILTER_BICUBIC,
        .flip_probability = 0.5,
    };
}

enum dvit_status dvit_augment_check(const struct dvit_augment *augment, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_augment *a = augment;
    if (!(a->scale_low > 0 && a->scale_low <= a->scale_high && a->scale_high <= 1))
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "augmentation scale is %g to %g, must be ascending in (0, 1]", a->scale_low,
                  a->scale_high);
    if (!(a->ratio_low >= 0.01 && a->ratio_low <= a->ratio_high && a->ratio_high <= 100))
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "augmentation ratio is %g to %g, must be ascending in 0.01 to 100", a->ratio_low,
                  a->ratio_high);
    if (a->attempts < 1 || a->attempts > 1000)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "augmentation attempts is %d, must be in 1 to 1000",
                  a->attempts);
    if (a->padding < 0 || a->padding > 4096)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "augmentation padding is %d, must be in 0 to 4096",
                  a->padding);
    if (!(a->flip_probability >= 0 && a->flip_probability <= 1))
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "flip probability is %g, must be in 0 to 1",
                  a->flip_probability);
    if (!(a->color_jitter >= 0 && a->color_jitter <= 1))
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "colour jitter is %g, must be in 0 to 1",
                  a->color_jitter);
    if (!(a->erasing >= 0 && a->erasing <= 1))
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "erasing probability is %g, must be in 0 to 1",
                  a->erasing);
done:
    return status;
}

/* Where no try fitted: the largest centred box within the ratio bounds. */
static struct dvit_box centred_box(const struct dvit_augment *augment, int width, int height)
{
    double ratio = (double)width / height;
    int w = width, h = height;
    if (ratio < augment->ratio_low)
        h = (int)rint(width / augment->ratio_low);
    else if (ratio > augment->ratio_high)
        w = (int)rint(height * augment->ratio_high);
    w = w < 1 ? 1 : w > width ? width : w;
    h = h < 1 ? 1 : h > height ? height : h;
    return (struct dvit_box){(width - w) / 2, (height - h) / 2, w, h};
}

/* One try draws area, then ratio; an accepted one draws top, then left. */
static struct dvit_box draw_resized(const struct dvit_augment *augment, int width, int height,
                                    struct dvit_rng *rng)
{
    double area = (double)width * height;
    double log_low = log(augment->ratio_low), log_high = log(augment->ratio_high);
    for (int i = 0; i < augment->attempts; i++) {
        double target = dvit_rng_range(rng, augment->scale_low, augment->scale_high) * area;
        double ratio = exp(dvit_rng_range(rng, log_low, log_high));
        double w = rint(sqrt(target * ratio)), h = rint(sqrt(target / ratio));
        if (w < 1 || w > width || h < 1 || h > height)
            continue;
        struct dvit_box box = {.width = (int)w, .height = (int)h};
        box.y = (int)dvit_rng_below(rng, (uint32_t)(height - box.height) + 1);
        box.x = (int)dvit_rng_below(rng, (uint32_t)(width - box.width) + 1);
        return box;
    }
    return centred_box(augment, width, height);
}

static struct dvit_box draw_padded(const struct dvit_augment *augment,
                                   const struct dvit_preprocess *preprocess, struct dvit_rng *rng)
{
    uint32_t offsets = 2 * (uint32_t)augment->padding + 1;
    struct dvit_box box = {.width = preprocess->crop_width, .height = preprocess->crop_height};
    box.y = (int)dvit_rng_below(rng, offsets) - augment->padding;
    box.x = (int)dvit_rng_below(rng, offsets) - augment->padding;
    return box;
}

struct dvit_augment_draw dvit_augment_draw(const struct dvit_augment *augment,
                                           const struct dvit_preprocess *preprocess, int width,
                                           int height, struct dvit_rng *rng)
{
    struct dvit_augment_draw draw = {.box = {0, 0, width, height}};
    if (augment->crop == DVIT_AUGMENT_CROP_RESIZED)
        draw.box = draw_resized(augment, width, height, rng);
    else if (augment->crop == DVIT_AUGMENT_CROP_PADDED)
        draw.box = draw_padded(augment, preprocess, rng);
    draw.flip = dvit_rng_uniform(rng) < augment->flip_probability;
    if (augment->policy.layers > 0)
        draw.policy = dvit_policy_draw(&augment->policy, rng);
    else if (augment->color_jitter > 0)
        draw.policy = dvit_jitter_draw(augment->color_jitter, rng);
    return draw;
}

/* RandomResizedCrop as drawn, mirrored on the way. */
static enum dvit_status cut_resized(const struct dvit_augment *augment,
                                    const struct dvit_preprocess *preprocess,
                                    const struct dvit_augment_draw *draw,
                                    const struct dvit_image *in, struct dvit_resizer *resizer,
                                    struct dvit_image *out, struct dvit_error *error)
{
    int width = preprocess->crop_width, height = preprocess->crop_height;
    struct dvit_resize resize = {
        .box = draw->box,
        .width = width,
        .height = height,
        .window = {0, 0, width, height},
        .mirrored = draw->flip,
        .filter = augment->filter,
        .pillow13 = preprocess->pillow13,
    };
    return dvit_resizer_run(resizer, out, in, &resize, error);
}

static enum dvit_status cut_padded(const struct dvit_preprocess *preprocess,
                                   const struct dvit_augment_draw *draw,
                                   const struct dvit_image *in, struct dvit_resizer *resizer,
                                   struct dvit_image *out, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_image fitted = {0};
    if (in->width != preprocess->crop_width || in->height != preprocess->crop_height)
        DVIT_TRY(dvit_preprocess_cut(preprocess, in, resizer, &fitted, error));
    DVIT_TRY(dvit_image_cut(out, fitted.pixels ? &fitted : in, draw->box, error));
done:
    dvit_image_free(&fitted);
    return status;
}

static enum dvit_status apply(const struct dvit_augment *augment,
                              const struct dvit_preprocess *preprocess,
                              const struct dvit_augment_draw *draw, const struct dvit_image *in,
                              struct dvit_resizer *resizer, struct dvit_image *out,
                              struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    switch (augment->crop) {
    case DVIT_AUGMENT_CROP_RESIZED:
        return cut_resized(augment, preprocess, draw, in, resizer, out, error);
    case DVIT_AUGMENT_CROP_PADDED:
        DVIT_TRY(cut_padded(preprocess, draw, in, resizer, out, error));
        break;
    case DVIT_AUGMENT_CROP_NONE:
        DVIT_TRY(dvit_preprocess_cut(preprocess, in, resizer, out, error));
        break;
    }
    if (draw->flip)
        dvit_image_flip(out);
done:
    return status;
}

enum dvit_status dvit_augment_apply(const struct dvit_augment *augment,
                                    const struct dvit_preprocess *preprocess,
                                    const struct dvit_augment_draw *draw,
                                    const struct dvit_image *in, struct dvit_image *out,
                                    struct dvit_error *error)
{
    struct dvit_resizer resizer = dvit_resizer_begin(dvit_cpu_best());
    *out = (struct dvit_image){0};
    enum dvit_status status = apply(augment, preprocess, draw, in, &resizer, out, error);
    dvit_resizer_free(&resizer);
    return status;
}

enum dvit_status dvit_augment_operate(const struct dvit_preprocess *preprocess,
                                      const struct dvit_augment_draw *draw,
                                      struct dvit_image *image, struct dvit_image *spare,
                                      struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    unsigned char fill[3]; /* the mean colour */
    if (draw->policy.count == 0)
        return DVIT_OK;
    for (int c = 0; c < 3; c++) {
        double mean = rint(255 * (double)preprocess->mean[c]);
        fill[c] = (unsigned char)(mean < 0 ? 0 : mean > 255 ? 255 : mean);
    }
    DVIT_TRY(dvit_image_fit(spare, image->width, image->height, error));
    for (int i = 0; i < draw->policy.count; i++)
        dvit_image_op_run(draw->policy.ops[i].op, draw->policy.ops[i].argument, fill, image, spare);
done:
    return status;
}

enum dvit_status dvit_augment_run(const struct dvit_augment *augment,
                                  const struct dvit_preprocess *preprocess,
                                  const struct dvit_image *in, struct dvit_rng *rng,
                                  struct dvit_image_room *room, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_augment_draw draw =
        dvit_augment_draw(augment, preprocess, in->width, in->height, rng);
    DVIT_TRY(apply(augment, preprocess, &draw, in, &room->resizer, &room->cut, error));
    DVIT_TRY(dvit_augment_operate(preprocess, &draw, &room->cut, &room->spare, error));
done:
    return status;
}

void dvit_augment_erase(const struct dvit_augment *augment,
                        const struct dvit_preprocess *preprocess, struct dvit_rng *rng,
                        float *pixels)
{
    int width = preprocess->crop_width, height = preprocess->crop_height;
    if (augment->erasing > 0) {
        struct dvit_box box = dvit_erasing_draw(augment->erasing, width, height, rng);
        dvit_erasing_run(pixels, width, height, box, rng);
    }
}
