/* Decoding against Pillow's pixels, what the decoders refuse and how they say it, and the shared
 * photographs. Hostile bytes by the thousand are in test_image_hostile.c. */
#include "test_image_util.h"

static const char *format_of(const char *name)
{
    static const char *const endings[][2] = {{".jpg", "JPEG"}, {".png", "PNG"}, {".webp", "WebP"},
                                             {".bmp", "BMP"},  {".gif", "GIF"}, {".p", "PNM"}};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strstr(name, endings[i][0]))
            return endings[i][1];
    return "?";
}

static void check_decode(const char *line)
{
    char name[64];
    int orientation, width, height;
    unsigned crc, crc_upright;
    assert_int_equal(sscanf(line, "%63s %d %d %d %x %x", name, &orientation, &width, &height, &crc,
                            &crc_upright),
                     6);
    struct dvit_error error;
    struct dvit_image image;
    struct dvit_decode_info info;
    struct dvit_decode_options upright = dvit_decode_options_default();
    upright.apply_orientation = true;
    assert_ok(dvit_image_load(&image, golden_path(name), NULL, &info, &error), &error);
    assert_string_equal(info.format, format_of(name));
    if (info.orientation != orientation || image.width != width || image.height != height ||
        image_crc(&image) != crc)
        fail_msg("differs from Pillow: got %d %d %d %08x: %s", info.orientation, image.width,
                 image.height, image_crc(&image), line);
    dvit_image_free(&image);
    assert_ok(dvit_image_load(&image, golden_path(name), &upright, &info, &error), &error);
    if (info.orientation != orientation || image_crc(&image) != crc_upright)
        fail_msg("turned upright differs from Pillow: %s", line);
    dvit_image_free(&image);
}

static void decode_is_pillows(void **state)
{
    assert_true(for_each_golden("decode.txt", check_decode) >= 108);
}

static enum dvit_status decode(struct dvit_image *out, const void *data, size_t size,
                               struct dvit_error *error)
{
    return dvit_image_decode(out, data, size, NULL, NULL, error);
}

static void other_content_is_named(void **state)
{
    static const struct {
        const char *data, *part;
        size_t size;
    } cases[] = {
        {"", "is empty", 0},
        {"hello, this is not a picture\n", "the content is text", 29},
        {"II*\0\0\0\0\0", "a TIFF image", 8},
        {"MM\0*\0\0\0\0", "a TIFF image", 8},
        {"\0\0\0\30ftypheic", "a HEIC image", 12},
        {"\0\0\0\30ftypavif", "an AVIF image", 12},
        {"\0\0\0\30ftypisom", "a video", 12},
        {"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image", 12},
        {"\0\0\1\0\1\0\20\20", "an ICO image", 8},
        {"\0\0\2\0\0\0\0\0\0\0\0\0\4\0\3\0\30\40zz", "a TGA image", 20},
        {"<?xml version='1.0'?>\n<svg/>", "an SVG image", 28},
        {"<!DOCTYPE html><html>404</html>", "an HTML page", 31},
        {"P7\nWIDTH 1\n", "a PAM image", 11},
        {"PF\n1 1\n-1.0\n", "a PFM image", 12},
        {"\0\1\2\3\4\5\6\7", "unknown data", 8},
        {"\x89PNG", "unknown data", 4},
        {"\xff\xd8", "unknown data", 2},
        {"gr\xc3\xbc\xc3\x9f", "the content is text", 6},
        {"P6", "the content is text", 2},
    };
    struct dvit_error error;
    struct dvit_image image;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_fails(decode(&image, cases[i].data, cases[i].size, &error), &error,
                     DVIT_ERROR_FORMAT, cases[i].part);
        assert_empty(&image);
    }
}

static void load_names_the_file(void **state)
{
    char folder[64], path[128];
    struct dvit_error error;
    struct dvit_image image;
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/letter.jpg", folder);
    assert_ok(dvit_file_replace(path, "dear reader\n", 12, &error), &error);
    assert_fails(dvit_image_load(&image, path, NULL, NULL, &error), &error, DVIT_ERROR_FORMAT,
                 "letter.jpg\": is not in an image format that dvit reads (JPEG, PNG, WebP, GIF, "
                 "PNM, BMP): the content is text");
    assert_empty(&image);
    snprintf(path, sizeof path, "%s/absent.png", folder);
    assert_fails(dvit_image_load(&image, path, NULL, NULL, &error), &error, DVIT_ERROR_NOT_FOUND,
                 "absent.png\": cannot open");
    assert_fails(dvit_image_load(&image, folder, NULL, NULL, &error), &error, DVIT_ERROR_FORMAT,
                 "not a regular file");
    test_folder_remove(folder);
}

static void put_be16(unsigned char *p, unsigned value)
{
    p[0] = (unsigned char)(value >> 8);
    p[1] = (unsigned char)value;
}

/* Position of the two big-endian sides in a JPEG's frame header. */
static size_t jpeg_sides(const unsigned char *data, size_t size)
{
    for (size_t i = 2; i + 9 < size; i += 2 + ((size_t)data[i + 2] << 8 | data[i + 3]))
        if (data[i + 1] == 0xc0 || data[i + 1] == 0xc2)
            return i + 5;
    fail();
    return 0;
}

static void huge_headers_are_refused(void **state)
{
    struct dvit_error error;
    struct dvit_image image;
    size_t size;
    unsigned char *data = read_golden("jpeg_444.jpg", &size);
    size_t at = jpeg_sides(data, size);
    put_be16(data + at, 60000);
    put_be16(data + at + 2, 60000);
    assert_fails(decode(&image, data, size, &error), &error, DVIT_ERROR_LIMIT,
                 "60000x60000 pixels, the limit is 178956970 in total");
    put_be16(data + at, 65501);
    put_be16(data + at + 2, 1); /* libjpeg's own bound comes first or ours: both are errors */
    assert_int_not_equal(decode(&image, data, size, &error), DVIT_OK);
    free(data);
    data = read_golden("png_rgb8.png", &size);
    put_be16(data + 18, 60000);
    put_be16(data + 22, 60000);
    assert_fails(decode(&image, data, size, &error), &error, DVIT_ERROR_LIMIT, "60000x60000");
    memset(data + 16, 0xff, 8);
    assert_fails(decode(&image, data, size, &error), &error, DVIT_ERROR_LIMIT, "for a side");
    free(data);
    data = read_golden("bmp_24.bmp", &size);
    memcpy(data + 18, "\x60\xea\0\0\x60\xea\0\0", 8);
    assert_fails(decode(&image, data, size, &error), &error, DVIT_ERROR_LIMIT, "60000x60000");
    memset(data + 18, 0, 4);
    assert_fails(decode(&image, data, size, &error), &error, DVIT_ERROR_FORMAT, "0x60000");
    free(data);
    const char *pnm = "P6 60000 60000 255\nxxx";
    assert_fails(decode(&image, pnm, strlen(pnm), &error), &error, DVIT_ERROR_LIMIT, "60000x60000");
    assert_empty(&image);
}

/* A file of a few bytes gets no memory for the pixels that its header states. */
static void short_files_of_huge_images_are_refused(void **state)
{
    static const char *const names[] = {"jpeg_444.jpg", "jpeg_progressive.jpg", "jpeg_grey.jpg"};
    struct dvit_error error;
    struct dvit_image image;
    size_t size;
    unsigned char *data;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        data = read_golden(names[i], &size);
        size_t at = jpeg_sides(data, size);
        put_be16(data + at, 13000);
        put_be16(data + at + 2, 13000);
        assert_fails(decode(&image, data, size, &error), &error, DVIT_ERROR_FORMAT,
                     "13000x13000 pixels, which take at least");
        free(data);
    }
    data = read_golden("png_rgb8.png", &size);
    put_be16(data + 18, 13000);
    put_be16(data + 22, 13000);
    unsigned crc = crc32_of(data + 12, 17);
    put_be16(data + 29, crc >> 16);
    put_be16(data + 31, crc & 0xffff);
    assert_fails(decode(&image, data, size, &error), &error, DVIT_ERROR_FORMAT,
                 "13000x13000 pixels, which take at least 491");
    free(data);
    data = read_golden("gif_part.gif", &size);
    memcpy(data + 25 + 5, "\x60\x27\x60\x27", 4); /* the sides of the frame */
    assert_fails(decode(&image, data, size, &error), &error, DVIT_ERROR_FORMAT,
                 "10083x10082 pixels, which take at least");
    free(data);
}

/* All coefficients of a progressive file are in memory at once. */
static void memory_of_a_decoder_is_limited(void **state)
{
    struct dvit_error error;
    struct dvit_image image;
    size_t size, padded = 1 << 20;
    unsigned char *file = read_golden("jpeg_progressive.jpg", &size);
    unsigned char *data = calloc(1, padded);
    memcpy(data, file, size);
    size_t at = jpeg_sides(data, size);
    data[at + 6] = 0x11; /* the first component is sampled as the others */
    put_be16(data + at, 12000);
    put_be16(data + at + 2, 12000);
    assert_fails(decode(&image, data, padded, &error), &error, DVIT_ERROR_LIMIT,
                 "a progressive JPEG of 12000x12000 pixels takes 1235 MiB to decode, the limit is "
                 "1024 MiB");
    free(file);
    free(data);
}

static void limits_hold(void **state)
{
    static const char *const names[] = {"jpeg_444.jpg", "png_filters.png", "webp_lossy.webp",
                                        "webp_lossless.webp"}; /* all 23 × 17 */
    struct dvit_error error;
    struct dvit_image image;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size;
        unsigned char *data = read_golden(names[i], &size);
        struct dvit_decode_options options = dvit_decode_options_default();
        options.limits = (struct dvit_decode_limits){size, 23 * 17, 23, 1};
        assert_ok(dvit_image_decode(&image, data, size, &options, NULL, &error), &error);
        dvit_image_free(&image);
        options.limits.max_bytes = size - 1;
        assert_fails(dvit_image_decode(&image, data, size, &options, NULL, &error), &error,
                     DVIT_ERROR_LIMIT, "bytes, the limit is");
        assert_fails(dvit_image_load(&image, golden_path(names[i]), &options, NULL, &error), &error,
                     DVIT_ERROR_LIMIT, names[i]);
        options.limits.max_bytes = size;
        options.limits.max_pixels--;
        assert_fails(dvit_image_decode(&image, data, size, &options, NULL, &error), &error,
                     DVIT_ERROR_LIMIT, "23x17 pixels, the limit is 390 in total");
        options.limits.max_pixels++;
        options.limits.max_side = 22;
        assert_fails(dvit_image_decode(&image, data, size, &options, NULL, &error), &error,
                     DVIT_ERROR_LIMIT, "23x17 pixels, the limit is 22 for a side");
        assert_empty(&image);
        free(data);
    }
}

static void scans_are_limited(void **state)
{
    struct dvit_error error;
    struct dvit_image image;
    struct dvit_decode_options options = dvit_decode_options_default();
    options.limits.max_scans = 10; /* libjpeg's standard script has that many */
    const char *name = "jpeg_progressive.jpg";
    assert_ok(dvit_image_load(&image, golden_path(name), &options, NULL, &error), &error);
    dvit_image_free(&image);
    options.limits.max_scans = 9;
    assert_fails(dvit_image_load(&image, golden_path(name), &options, NULL, &error), &error,
                 DVIT_ERROR_LIMIT, "more scans than the limit of 9");
}

static void limits_out_of_range_are_named(void **state)
{
    static const struct {
        struct dvit_decode_limits limits;
        const char *part;
    } cases[] = {
        {{0, 1, 1, 1}, "max_bytes is 0"}, {{1, 0, 1, 1}, "max_pixels is 0"},
        {{1, 1, 0, 1}, "max_side is 0"},  {{1, 1, 65536, 1}, "max_side is 65536"},
        {{1, 1, 1, 0}, "max_scans is 0"},
    };
    struct dvit_error error;
    struct dvit_image image;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dvit_decode_options options = {.limits = cases[i].limits};
        assert_fails(dvit_image_decode(&image, "P1 1 1 1", 8, &options, NULL, &error), &error,
                     DVIT_ERROR_ARGUMENT, cases[i].part);
    }
}

static void variants_are_refused_by_name(void **state)
{
    struct dvit_error error;
    struct dvit_image image;
    size_t size;
    unsigned char *data = read_golden("bmp_palette8.bmp", &size);
    data[30] = 1;
    assert_fails(decode(&image, data, size, &error), &error, DVIT_ERROR_UNSUPPORTED,
                 "BMP with RLE8 compression");
    data[30] = 5;
    assert_fails(decode(&image, data, size, &error), &error, DVIT_ERROR_UNSUPPORTED,
                 "BMP with PNG compression");
    data[30] = 0;
    data[28] = 2;
    assert_fails(decode(&image, data, size, &error), &error, DVIT_ERROR_UNSUPPORTED,
                 "BMP with 2 bits per pixel");
    free(data);
    static const unsigned char animation[] = "RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0"
                                             "\x0f\0\0\x0f\0\0";
    assert_fails(decode(&image, animation, sizeof animation - 1, &error), &error, DVIT_ERROR_FORMAT,
                 "animated WebP of 30 bytes");
    data = read_golden("bmp_565.bmp", &size);
    data[54] = 0x12; /* the red mask */
    assert_fails(decode(&image, data, size, &error), &error, DVIT_ERROR_UNSUPPORTED, "bit masks");
    free(data);
}

static void plain_pnm_is_checked(void **state)
{
    static const char *const cases[][2] = {
        {"P2 1 1 7 8", "sample is above 7"},
        {"P2 1 1 0 0", "maximum value is 0"},
        {"P2 1 1 65536 0", "maximum value is above 65535"},
        {"P2 1 1 x", "expected a digit of the maximum value"},
        {"P1 1 1 2", "expected 0 or 1"},
        {"P3 1 1 255 1 2 ", "end early"},
        {"P2 99999999999 1 1 1", "width is above"},
        {"P5 1 1 255#a\n", "expected white space"},
    };
    struct dvit_error error;
    struct dvit_image image;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_fails(decode(&image, cases[i][0], strlen(cases[i][0]), &error), &error,
                     DVIT_ERROR_FORMAT, cases[i][1]);
}

/* EXIF blocks that lie about offsets and counts read as upright. */
static void damaged_exif_is_upright(void **state)
{
    struct dvit_error error;
    struct dvit_decode_info info;
    struct dvit_image image;
    size_t size;
    unsigned char *data = read_golden("exif_big_endian.jpg", &size);
    size_t at = 0;
    while (memcmp(data + at, "MM\0*", 4) != 0)
        at++;
    for (size_t i = 0; i < 26; i++) { /* the TIFF header and the one entry */
        unsigned char kept = data[at + i];
        for (int value = 0; value < 256; value += 15) {
            data[at + i] = (unsigned char)value;
            assert_ok(dvit_image_decode(&image, data, size, NULL, &info, &error), &error);
            assert_in_range(info.orientation, 1, 8);
            dvit_image_free(&image);
        }
        data[at + i] = kept;
    }
    free(data);
}

static void photographs_decode(void **state)
{
    struct dvit_error error;
    struct dvit_names names;
    char folder[1024], path[2048];
    snprintf(folder, sizeof folder, "%s", source_path("../shared/data/photos"));
    if (!dvit_folder_exists(folder))
        skip();
    assert_ok(dvit_folder_list(folder, &names, &error), &error);
    assert_true(names.count >= 48);
    for (size_t i = 0; i < names.count; i++) {
        struct dvit_image image;
        struct dvit_decode_info info;
        snprintf(path, sizeof path, "%s/%s", folder, names.items[i]);
        assert_ok(dvit_image_load(&image, path, NULL, &info, &error), &error);
        dvit_image_free(&image);
    }
    dvit_names_free(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_is_pillows),
        cmocka_unit_test(other_content_is_named),
        cmocka_unit_test(load_names_the_file),
        cmocka_unit_test(huge_headers_are_refused),
        cmocka_unit_test(short_files_of_huge_images_are_refused),
        cmocka_unit_test(memory_of_a_decoder_is_limited),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(scans_are_limited),
        cmocka_unit_test(limits_out_of_range_are_named),
        cmocka_unit_test(variants_are_refused_by_name),
        cmocka_unit_test(plain_pnm_is_checked),
        cmocka_unit_test(damaged_exif_is_upright),
        cmocka_unit_test(photographs_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
