/* Truncated and damaged files of every format: an error or an image, never a crash, and a failure
 * leaves nothing behind. Meant to run under the address sanitizer as well. */
#include "test_image_util.h"

static const char *const files[] = {
    "jpeg_420.jpg",         "jpeg_progressive.jpg", "jpeg_cmyk.jpg",      "jpeg_restart.jpg",
    "exif_6.jpg",           "png_filters.png",      "png_adam7_rgb.png",  "png_palette4.png",
    "png_grey_alpha16.png", "exif_png.png",         "webp_lossy.webp",    "webp_lossless.webp",
    "webp_alpha.webp",      "exif_webp.webp",       "pnm_p1.pbm",         "pnm_p3.ppm",
    "pnm_p4.pbm",           "pnm_p6_wide.ppm",      "bmp_palette4.bmp",   "bmp_565.bmp",
    "bmp_32_masks.bmp",     "bmp_v4.bmp",           "bmp_core24.bmp",     "gif_interlaced.gif",
    "gif_transparent.gif",  "gif_part.gif",         "webp_animated.webp",
};
enum { FILES = sizeof files / sizeof *files };

static struct dvit_decode_options small_limits(void)
{
    struct dvit_decode_options options = dvit_decode_options_default();
    options.limits.max_pixels = 1 << 18;
    options.apply_orientation = true;
    return options;
}

/* Decodes from a block of exactly `size` bytes, so that reading past the end is seen. */
static enum dvit_status decode_exactly(struct dvit_image *out, const unsigned char *data,
                                       size_t size, struct dvit_error *error)
{
    struct dvit_decode_options options = small_limits();
    unsigned char *block = malloc(size ? size : 1);
    assert_non_null(block);
    memcpy(block, data, size);
    error->message[0] = 0;
    enum dvit_status status = dvit_image_decode(out, block, size, &options, NULL, error);
    free(block);
    if (status != DVIT_OK) {
        assert_empty(out);
        assert_true(error->status == status && error->message[0]);
    }
    return status;
}

/* Either the cut is noticed, or it took nothing that matters (as a PNG's end chunk). */
static void every_truncation_is_noticed_or_harmless(void **state)
{
    struct dvit_error error;
    for (size_t f = 0; f < FILES; f++) {
        size_t size;
        unsigned char *data = read_golden(files[f], &size);
        struct dvit_image whole, cut;
        assert_ok(decode_exactly(&whole, data, size, &error), &error);
        bool jpeg = strstr(files[f], ".jpg");
        for (size_t length = 0; length < size; length++) {
            if (decode_exactly(&cut, data, length, &error) != DVIT_OK)
                continue;
            if (jpeg || length < size / 2)
                fail_msg("%s cut to %zu of %zu bytes was accepted", files[f], length, size);
            bool upright_lost = cut.width == whole.height; /* its EXIF block was at the end */
            bool shorter_number = strstr(files[f], ".ppm") && length + 4 >= size; /* still valid */
            if (!upright_lost && !shorter_number && !images_equal(&cut, &whole))
                fail_msg("%s cut to %zu of %zu bytes: other pixels", files[f], length, size);
            dvit_image_free(&cut);
        }
        dvit_image_free(&whole);
        free(data);
    }
}

/* 1 to 4 bits flipped, in the header more often than elsewhere. */
static void damage(unsigned char *data, size_t size, struct dvit_rng *rng)
{
    uint32_t flips = 1 + dvit_rng_below(rng, 4);
    for (uint32_t i = 0; i < flips; i++) {
        uint32_t bound = dvit_rng_below(rng, 2) && size > 64 ? 64 : (uint32_t)size;
        data[dvit_rng_below(rng, bound)] ^= (unsigned char)(1u << dvit_rng_below(rng, 8));
    }
}

static void bit_flips_never_crash(void **state)
{
    enum { TRIES = 700 }; /* of each file; at least 2000 of each format */
    struct dvit_error error;
    size_t survived = 0, refused = 0;
    for (size_t f = 0; f < FILES; f++) {
        size_t size;
        unsigned char *data = read_golden(files[f], &size);
        unsigned char *copy = malloc(size);
        assert_non_null(copy);
        struct dvit_rng rng = dvit_rng_stream(5, DVIT_RNG_TEST, 0, (uint32_t)f);
        for (int i = 0; i < TRIES; i++) {
            struct dvit_image image;
            memcpy(copy, data, size);
            damage(copy, size, &rng);
            if (decode_exactly(&image, copy, size, &error) == DVIT_OK)
                survived++;
            else
                refused++;
            dvit_image_free(&image);
        }
        free(copy);
        free(data);
    }
    assert_true(survived > 1000 && refused > 1000); /* both ways are taken */
}

/* PNG checks its chunks by checksum, so damage behind a valid one needs a checksum that fits. */
static void png_with_valid_checksums(void **state)
{
    enum { TRIES = 2000 };
    struct dvit_error error;
    struct dvit_rng rng = dvit_rng_stream(6, DVIT_RNG_TEST, 0, 0);
    size_t size;
    unsigned char *data = read_golden("png_palette4.png", &size);
    unsigned char *copy = malloc(size);
    assert_non_null(copy);
    for (int i = 0; i < TRIES; i++) {
        struct dvit_image image;
        memcpy(copy, data, size);
        damage(copy + 8, size - 8, &rng);
        for (size_t at = 8; at + 12 <= size;) {
            size_t length = (size_t)copy[at] << 24 | (size_t)copy[at + 1] << 16 |
                            (size_t)copy[at + 2] << 8 | copy[at + 3];
            if (length > size - at - 12)
                break;
            uint32_t crc = crc32_of(copy + at + 4, length + 4);
            for (size_t k = 0; k < 4; k++)
                copy[at + 8 + length + k] = (unsigned char)(crc >> (24 - 8 * k));
            at += 12 + length;
        }
        (void)decode_exactly(&image, copy, size, &error);
        dvit_image_free(&image);
    }
    free(copy);
    free(data);
}

/* Bytes that only begin like an image. */
static void noise_after_a_magic_number(void **state)
{
    static const struct {
        const char *magic;
        size_t size;
    } magics[] = {{"\xff\xd8\xff", 3}, {"\x89PNG\r\n\x1a\n", 8}, {"RIFF\xff\0\0\0WEBP", 12},
                  {"P6 ", 3},          {"P2\n3 3 9\n", 9},       {"BM", 2}};
    struct dvit_error error;
    unsigned char data[300];
    for (size_t m = 0; m < sizeof magics / sizeof *magics; m++)
        for (uint32_t seed = 0; seed < 300; seed++) {
            struct dvit_image image;
            for (uint32_t i = 0; i < sizeof data; i++)
                data[i] = noise_byte(i, seed);
            memcpy(data, magics[m].magic, magics[m].size);
            assert_int_not_equal(decode_exactly(&image, data, magics[m].size + seed % 280, &error),
                                 DVIT_OK);
        }
}

/* The pixels are complete and a comment follows them, but nothing says that the file ends here. */
static void jpeg_without_an_end(void **state)
{
    struct dvit_error error;
    struct dvit_image image;
    size_t size;
    unsigned char *data = read_golden("jpeg_444.jpg", &size);
    unsigned char *copy = malloc(size + 6);
    assert_non_null(copy);
    memcpy(copy, data, size - 2);
    memcpy(copy + size - 2, "\xff\xfe\0\4hi\xff\xd9", 8);
    assert_ok(decode_exactly(&image, copy, size + 6, &error), &error);
    dvit_image_free(&image);
    assert_fails(decode_exactly(&image, copy, size + 4, &error), &error, DVIT_ERROR_FORMAT,
                 "JPEG data end early");
    free(copy);
    free(data);
}

/* A last chunk of odd length without its padding byte: the search for EXIF must stop there. */
static void webp_without_padding(void **state)
{
    struct dvit_error error;
    struct dvit_image image;
    size_t size;
    unsigned char *data = read_golden("webp_lossy.webp", &size);
    unsigned char *longer = malloc(size + 9);
    assert_non_null(longer);
    memcpy(longer, data, size);
    memcpy(longer + size, "XYZW\1\0\0\0a", 9);
    assert_ok(decode_exactly(&image, longer, size + 9, &error), &error);
    dvit_image_free(&image);
    free(longer);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_truncation_is_noticed_or_harmless),
        cmocka_unit_test(bit_flips_never_crash),
        cmocka_unit_test(png_with_valid_checksums),
        cmocka_unit_test(noise_after_a_magic_number),
        cmocka_unit_test(jpeg_without_an_end),
        cmocka_unit_test(webp_without_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
