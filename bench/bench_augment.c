/* Speed of training augmentation on one thread: each operation alone, and whole recipes as the
 * loader runs them, in images per second.
 *
 *     bench_augment [SECONDS]     time spent per line, default 0.2 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "dvit/data.h"
#include "image/augment.h"

static double seconds_per_line = 0.2;

static void stop(const struct dvit_error *error)
{
    fprintf(stderr, "bench_augment: %s\n", error->message);
    exit(1);
}

static struct dvit_image noise(int width, int height)
{
    struct dvit_image image;
    struct dvit_error error;
    struct dvit_rng rng = dvit_rng_stream(1, DVIT_RNG_BENCH_INPUT, 0, 0);
    if (dvit_image_create(&image, width, height, &error) != DVIT_OK)
        stop(&error);
    for (size_t i = 0; i < 3 * (size_t)width * (size_t)height; i++)
        image.pixels[i] = (unsigned char)(dvit_rng_u32(&rng) >> 24);
    return image;
}

/* A usual argument: that of magnitude 9. */
static double bench_operation(enum dvit_image_op op, int side)
{
    static const unsigned char fill[3] = {124, 116, 104};
    struct dvit_image image = noise(side, side), spare = noise(side, side);
    double argument = dvit_policy_argument(op, DVIT_SCALE_INCREASING, 9, false);
    long count = 0;
    double begin = dvit_clock_seconds(), elapsed;
    do {
        dvit_image_op_run(op, argument, fill, &image, &spare);
        count++;
        elapsed = dvit_clock_seconds() - begin;
    } while (elapsed < seconds_per_line);
    dvit_image_free(&image);
    dvit_image_free(&spare);
    return (double)count / elapsed;
}

struct recipe {
    const char *name, *policy;
    double color_jitter, erasing;
};

/* From an image in memory to normalised values. */
static double bench_recipe(const struct recipe *recipe, int from, int side)
{
    struct dvit_error error;
    struct dvit_image in = noise(from, from);
    struct dvit_image_room room = dvit_image_room_begin(dvit_cpu_best());
    struct dvit_augment augment = dvit_augment_default(side, side);
    struct dvit_preprocess preprocess;
    float *pixels = malloc(3 * (size_t)side * (size_t)side * sizeof *pixels);
    uint32_t count = 0;
    if (dvit_preprocess_preset(from == side ? "native" : "dynamicvit", side, side, &preprocess,
                               &error) != DVIT_OK ||
        dvit_policy_parse(&augment.policy, recipe->policy, &error) != DVIT_OK || !pixels)
        stop(&error);
    augment.color_jitter = recipe->color_jitter;
    augment.erasing = recipe->erasing;
    double begin = dvit_clock_seconds(), elapsed;
    do {
        struct dvit_rng rng = dvit_rng_stream(1, DVIT_RNG_AUGMENT, 0, count++);
        if (dvit_augment_run(&augment, &preprocess, &in, &rng, &room, &error) != DVIT_OK)
            stop(&error);
        dvit_preprocess_normalise(&preprocess, &room.cut, pixels);
        dvit_augment_erase(&augment, &preprocess, &rng, pixels);
        elapsed = dvit_clock_seconds() - begin;
    } while (elapsed < seconds_per_line);
    free(pixels);
    dvit_image_free(&in);
    dvit_image_room_free(&room);
    return count / elapsed;
}

/* The whole loader: one worker, everything on, images in memory. */
static double bench_loader(int side)
{
    struct dvit_error error;
    struct dvit_dataset *set = NULL;
    struct dvit_loader *loader = NULL;
    struct dvit_augment augment = dvit_augment_default(side, side);
    struct dvit_mixing mixing = {.mixup = .8, .cutmix = 1, .label_smoothing = .1};
    struct dvit_loader_options options = dvit_loader_options_default();
    const struct dvit_batch *batch;
    char spec[64];
    size_t images = 0;
    double begin = 0;
    snprintf(spec, sizeof spec, "builtin:scenes,image=%d,train=256", side);
    augment.crop = DVIT_AUGMENT_CROP_PADDED;
    augment.erasing = .25;
    options.augment = &augment;
    options.mixing = &mixing;
    options.shuffle = true;
    if (dvit_policy_parse(&augment.policy, "rand-m9-mstd0.5-inc1", &error) != DVIT_OK ||
        dvit_preprocess_preset("native", side, side, &options.preprocess, &error) != DVIT_OK ||
        dvit_dataset_open(&set, spec, "train", NULL, &error) != DVIT_OK ||
        dvit_loader_create(&loader, set, &options, &error) != DVIT_OK)
        stop(&error);
    for (uint64_t epoch = 0; epoch < 2 || dvit_clock_seconds() - begin < seconds_per_line;
         epoch++) {
        if (epoch == 1) { /* the first one drew the scenes */
            begin = dvit_clock_seconds();
            images = 0;
        }
        if (dvit_loader_start(loader, epoch, 0, &error) != DVIT_OK)
            stop(&error);
        while (dvit_loader_next(loader, &batch, &error) == DVIT_OK && batch)
            images += (size_t)batch->count;
    }
    double rate = (double)images / (dvit_clock_seconds() - begin);
    dvit_loader_free(loader);
    dvit_dataset_free(set);
    return rate;
}

int main(int argc, char **argv)
{
    static const struct recipe recipes[] = {
        {"crop, flip, normalise", NULL, 0, 0},
        {"… and colour jitter", NULL, .4, 0},
        {"… and erasing", NULL, 0, .25},
        {"… and rand-m9-mstd0.5-inc1", "rand-m9-mstd0.5-inc1", 0, 0},
        {"… and both", "rand-m9-mstd0.5-inc1", 0, .25},
    };
    if (argc > 1)
        seconds_per_line = atof(argv[1]);
    printf("%-30s %14s %16s\n", "images/s, one thread", "32x32", "500x500→224x224");
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        printf("%-30s %12.0f %16.0f\n", recipes[i].name, bench_recipe(&recipes[i], 32, 32),
               bench_recipe(&recipes[i], 500, 224));
    printf("\n%-30s %14s %16s\n", "loader, one worker", "32x32", "224x224");
    printf("%-30s %12.0f %16.0f\n", "… all of it, mixup and cutmix", bench_loader(32),
           bench_loader(224));
    printf("\n%-30s %14s %16s\n", "one operation", "32x32", "224x224");
    for (int op = 0; op < DVIT_OP_COUNT; op++)
        printf("%-30s %12.0f %16.0f\n", dvit_image_op_name((enum dvit_image_op)op),
               bench_operation((enum dvit_image_op)op, 32),
               bench_operation((enum dvit_image_op)op, 224));
    return 0;
}
