/* Writes what the image room makes of files, for comparison with other programs; no test by itself.
 *
 *     pixel_dump decode|PRESET|squash SIDE stored|turned FILE…
 *
 * "decode": for each file width and height (int32) and its RGB bytes. A preset, or "squash"
 * (bilinear to the square, mean and deviation .5, as Hugging Face's ViT): [3][SIDE][SIDE] floats.
 * Numbers are in the machine's byte order. A file that cannot be read ends the program. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dvit/config.h"
#include "dvit/image.h"

static enum dvit_status choose(const char *name, int side, struct dvit_preprocess *out,
                               struct dvit_error *error)
{
    if (strcmp(name, "squash") != 0)
        return dvit_preprocess_preset(name, side, side, out, error);
    *out = (struct dvit_preprocess){.fit = DVIT_FIT_SQUASH,
                                    .crop_width = side,
                                    .crop_height = side,
                                    .mean = {.5f, .5f, .5f},
                                    .std = {.5f, .5f, .5f},
                                    .bilinear = true};
    return DVIT_OK;
}

static enum dvit_status dump(const char *path, const struct dvit_preprocess *preprocess,
                             bool turned, struct dvit_error *error)
{
    struct dvit_decode_options options = dvit_decode_options_default();
    struct dvit_image image = {0};
    options.apply_orientation = turned;
    enum dvit_status status = dvit_image_load(&image, path, &options, NULL, error);
    if (status == DVIT_OK && !preprocess) {
        int32_t sides[2] = {image.width, image.height};
        fwrite(sides, sizeof sides, 1, stdout);
        fwrite(image.pixels, 3, (size_t)image.width * (size_t)image.height, stdout);
    } else if (status == DVIT_OK) {
        size_t count = 3 * (size_t)preprocess->crop_width * (size_t)preprocess->crop_height;
        float *out = calloc(count, sizeof *out);
        if (out)
            status = dvit_preprocess_run(preprocess, &image, out, error);
        else
            status = DVIT_ERROR_MEMORY;
        if (status == DVIT_OK)
            fwrite(out, sizeof *out, count, stdout);
        free(out);
    }
    dvit_image_free(&image);
    return status;
}

int main(int count, char **arguments)
{
    struct dvit_error error = {0};
    struct dvit_preprocess preprocess;
    if (count < 5) {
        fprintf(stderr, "usage: pixel_dump decode|PRESET|squash SIDE stored|turned FILE…\n");
        return 2;
    }
    bool decode = strcmp(arguments[1], "decode") == 0;
    bool turned = strcmp(arguments[3], "turned") == 0;
    enum dvit_status status = DVIT_OK;
    if (!decode)
        status = choose(arguments[1], atoi(arguments[2]), &preprocess, &error);
    for (int i = 4; status == DVIT_OK && i < count; i++)
        status = dump(arguments[i], decode ? NULL : &preprocess, turned, &error);
    if (status == DVIT_OK && fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    fprintf(stderr, "pixel_dump: %s\n", error.message);
    return 1;
}
