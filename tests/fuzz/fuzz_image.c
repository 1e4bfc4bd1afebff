/* libFuzzer target: any bytes as an image file. What is accepted must keep to the limits and have
 * all its pixels; what is refused must say why. Build with -Dfuzz=true and CC=clang, run
 * tests/fuzz/fuzz_image CORPUS_FOLDER with tests/golden/image as the first corpus. */
#include <stdint.h>
#include <stdlib.h>

#include "dvit/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct dvit_error error = {.message = ""};
    struct dvit_image image;
    struct dvit_decode_info info = {0};
    struct dvit_decode_options options = dvit_decode_options_default();
    options.limits.max_pixels = 1 << 16;
    options.limits.max_scans = 20;
    options.apply_orientation = true;
    if (dvit_image_decode(&image, data, size_bytes, &options, &info, &error) != DVIT_OK) {
        if (image.pixels || !error.message[0])
            abort();
        return 0;
    }
    size_t pixels = (size_t)image.width * (size_t)image.height;
    if (!info.format || info.orientation < 1 || info.orientation > 8 || pixels < 1 ||
        pixels > options.limits.max_pixels)
        abort();
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < 3 * pixels; i++)
        sum = (uint8_t)(sum + image.pixels[i]);
    dvit_image_free(&image);
    return 0;
}
