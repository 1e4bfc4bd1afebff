/* Mixing a batch with itself reversed. When to do it, and from which stream, is loader.c's. */
#include "data/mixup.h"

#include <math.h>

static const double cutmix_share = 0.5; /* of the batches, where mixup is on too */

enum dvit_status dvit_mixing_check(const struct dvit_mixing *mixing, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const double alphas[2] = {mixing->mixup, mixing->cutmix};
    for (int i = 0; i < 2; i++)
        if (alphas[i] != 0 && !(alphas[i] >= DVIT_MIN_MIX_ALPHA && alphas[i] <= DVIT_MAX_MIX_ALPHA))
            DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "%s alpha is %g, expected 0 or %g to %g",
                      i ? "cutmix" : "mixup", alphas[i], DVIT_MIN_MIX_ALPHA, DVIT_MAX_MIX_ALPHA);
    if (!(mixing->label_smoothing >= 0 && mixing->label_smoothing < 1))
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "label smoothing is %g, expected 0 to below 1",
                  mixing->label_smoothing);
done:
    return status;
}

bool dvit_mixing_is_on(const struct dvit_mixing *mixing)
{
    return mixing->mixup > 0 || mixing->cutmix > 0;
}

/* ln of a Gamma(shape, 1) draw: Marsaglia and Tsang (2000) for shape + 1, times U^(1/shape). The
 * logarithm, because the draws of small shapes underflow. */
static double log_gamma_draw(double shape, struct dvit_rng *rng)
{
    double d = shape + 1 - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = dvit_rng_normal(rng), v = 1 + c * x;
        double u = 1 - dvit_rng_uniform(rng); /* (0, 1] */
        v = v * v * v;
        if (v > 0 && log(u) < 0.5 * x * x + d - d * v + d * log(v))
            return log(d * v) + log(1 - dvit_rng_uniform(rng)) / shape;
    }
}

/* Beta(alpha, alpha). */
static double beta_draw(double alpha, struct dvit_rng *rng)
{
    double first = log_gamma_draw(alpha, rng), second = log_gamma_draw(alpha, rng);
    return 1 / (1 + exp(second - first));
}

/* From low to high around a centre, inside 0 … size. */
static void cut_range(int centre, int length, int size, int *start, int *count)
{
    int low = centre - length / 2, high = centre + (length + 1) / 2;
    low = low < 0 ? 0 : low;
    high = high > size ? size : high;
    *start = low;
    *count = high - low;
}

struct dvit_mix_draw dvit_mix_cut(double share, int x, int y, int width, int height)
{
    struct dvit_mix_draw draw = {.is_cut = true};
    double side = sqrt(1 - share);
    cut_range(y, (int)(height * side), height, &draw.box.y, &draw.box.height);
    cut_range(x, (int)(width * side), width, &draw.box.x, &draw.box.width);
    double area = (double)draw.box.width * draw.box.height;
    draw.share = 1 - area / ((double)width * height); /* what it came to at the border */
    return draw;
}

struct dvit_mix_draw dvit_mix_draw(const struct dvit_mixing *mixing, int width, int height,
                                   struct dvit_rng *rng)
{
    bool is_cut = mixing->cutmix > 0;
    if (is_cut && mixing->mixup > 0)
        is_cut = dvit_rng_uniform(rng) < cutmix_share;
    double share = beta_draw(is_cut ? mixing->cutmix : mixing->mixup, rng);
    if (!is_cut)
        return (struct dvit_mix_draw){.share = share};
    int y = (int)dvit_rng_below(rng, (uint32_t)height);
    int x = (int)dvit_rng_below(rng, (uint32_t)width);
    return dvit_mix_cut(share, x, y, width, height);
}

static void blend(float *a, float *b, size_t count, double share)
{
    float own = (float)share, other = (float)(1 - share);
    for (size_t i = 0; i < count; i++) {
        float x = a[i], y = b[i];
        float mixed = x * own + y * other;
        b[i] = y * own + x * other;
        a[i] = mixed;
    }
}

static void swap(float *a, float *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float kept = a[i];
        a[i] = b[i];
        b[i] = kept;
    }
}

static void swap_box(float *a, float *b, struct dvit_box box, int width, int height)
{
    for (int c = 0; c < 3; c++)
        for (int y = box.y; y < box.y + box.height; y++) {
            size_t at = ((size_t)c * (size_t)height + (size_t)y) * (size_t)width + (size_t)box.x;
            swap(a + at, b + at, (size_t)box.width);
        }
}

void dvit_mix_pixels(const struct dvit_mix_draw *draw, float *pixels, int count, int width,
                     int height)
{
    size_t size = 3 * (size_t)width * (size_t)height;
    for (int i = 0; i < (count + 1) / 2; i++) { /* of an odd batch, the middle meets itself */
        float *a = pixels + (size_t)i * size, *b = pixels + (size_t)(count - 1 - i) * size;
        if (draw->is_cut)
            swap_box(a, b, draw->box, width, height);
        else
            blend(a, b, size, draw->share);
    }
}

void dvit_mix_targets(const struct dvit_mix_draw *draw, float *targets, const int *labels,
                      int count, int classes, double label_smoothing)
{
    double share = label_smoothing / classes;
    float off = (float)share, on = (float)(1 - label_smoothing + share);
    float own = (float)draw->share, other = (float)(1 - draw->share);
    for (int i = 0; i < count; i++) {
        float *row = targets + (size_t)i * (size_t)classes;
        for (int k = 0; k < classes; k++) {
            float mine = labels[i] == k ? on : off;
            float partners = labels[count - 1 - i] == k ? on : off;
            row[k] = mine * own + partners * other;
        }
    }
}
