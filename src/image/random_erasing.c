/* Random erasing: where the box lies, and the noise in it. The image is normalised already, so that
 * the noise has its spread. */
#include "image/random_erasing.h"

#include <math.h>

enum { TRIES = 10 };
static const double area_low = .02, area_high = 1.0 / 3; /* of the image */
static const double ratio_low = .3, ratio_high = 1 / .3; /* height to width */

struct dvit_box dvit_erasing_draw(double probability, int width, int height, struct dvit_rng *rng)
{
    struct dvit_box none = {0};
    if (dvit_rng_uniform(rng) >= probability)
        return none;
    for (int i = 0; i < TRIES; i++) {
        double area = dvit_rng_range(rng, area_low, area_high) * ((double)width * height);
        double ratio = exp(dvit_rng_range(rng, log(ratio_low), log(ratio_high)));
        double h = rint(sqrt(area * ratio)), w = rint(sqrt(area / ratio));
        if (!(w < width && h < height))
            continue;
        struct dvit_box box = {.width = (int)w, .height = (int)h};
        box.y = (int)dvit_rng_below(rng, (uint32_t)(height - box.height) + 1);
        box.x = (int)dvit_rng_below(rng, (uint32_t)(width - box.width) + 1);
        return box;
    }
    return none;
}

void dvit_erasing_run(float *pixels, int width, int height, struct dvit_box box,
                      struct dvit_rng *rng)
{
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < box.height; y++) {
            size_t row = (size_t)c * (size_t)height + (size_t)(box.y + y);
            float *to = pixels + row * (size_t)width + box.x;
            for (int x = 0; x < box.width; x++)
                to[x] = (float)dvit_rng_normal(rng);
        }
}
