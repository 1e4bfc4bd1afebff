/* Decodes an image with the decoder of its format, and holds what all decoders share: the limits,
 * the EXIF orientation, and errors that carry the file's name. Which format it is: image_formats.c.
 */
#include "image/decode.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "image/image_formats.h"

struct dvit_decode_options dvit_decode_options_default(void)
{
    return (struct dvit_decode_options){
        .limits = {.max_bytes = (size_t)256 << 20,
                   .max_pixels = 178956970,
                   .max_side = 65500,
                   .max_scans = 500},
        .apply_orientation = false,
    };
}

static enum dvit_status check_limits(const struct dvit_decode_limits *limits,
                                     struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    if (limits->max_bytes < 1)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "decode limit max_bytes is 0, must be at least 1");
    if (limits->max_pixels < 1)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "decode limit max_pixels is 0, must be at least 1");
    if (limits->max_side < 1 || limits->max_side > DVIT_MAX_SIDE)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "decode limit max_side is %d, must be in 1 to %d",
                  limits->max_side, DVIT_MAX_SIDE);
    if (limits->max_scans < 1)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "decode limit max_scans is %d, must be at least 1",
                  limits->max_scans);
done:
    return status;
}

enum dvit_status dvit_decode_check(const struct dvit_decode_limits *limits, uint64_t width,
                                   uint64_t height, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    unsigned long long w = width, h = height;
    if (width < 1 || height < 1)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "header states %llux%llu pixels", w, h);
    if (width > (uint64_t)limits->max_side || height > (uint64_t)limits->max_side)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT,
                  "header states %llux%llu pixels, the limit is %d for a side", w, h,
                  limits->max_side);
    if (width * height > limits->max_pixels)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT,
                  "header states %llux%llu pixels, the limit is %zu in total", w, h,
                  limits->max_pixels);
done:
    return status;
}

enum dvit_status dvit_decode_check_data(const struct dvit_decode_source *source,
                                        uint64_t least_bytes, uint64_t width, uint64_t height,
                                        struct dvit_error *error)
{
    if (least_bytes <= source->size)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_FORMAT,
                          "header states %llux%llu pixels, which take at least %llu bytes; the "
                          "data end early, after %zu bytes",
                          (unsigned long long)width, (unsigned long long)height,
                          (unsigned long long)least_bytes, source->size);
}

enum dvit_status dvit_decode_check_memory(const struct dvit_decode_limits *limits, uint64_t bytes,
                                          const char *what, uint64_t width, uint64_t height,
                                          struct dvit_error *error)
{
    enum { PIXEL_BYTES = 6, MIB_SHIFT = 20 };
    uint64_t most = (uint64_t)1 << 30;
    if (limits->max_pixels > most / PIXEL_BYTES) /* more than by default was asked for */
        most = limits->max_pixels < UINT64_MAX / PIXEL_BYTES
                   ? (uint64_t)limits->max_pixels * PIXEL_BYTES
                   : UINT64_MAX;
    if (bytes <= most)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_LIMIT,
                          "%s of %llux%llu pixels takes %llu MiB to decode, the limit is %llu MiB",
                          what, (unsigned long long)width, (unsigned long long)height,
                          (unsigned long long)(bytes >> MIB_SHIFT),
                          (unsigned long long)(most >> MIB_SHIFT));
}

enum dvit_status dvit_decode_begin(struct dvit_image *out, const struct dvit_decode_limits *limits,
                                   uint64_t width, uint64_t height, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    DVIT_TRY(dvit_decode_check(limits, width, height, error));
    DVIT_TRY(dvit_image_create(out, (int)width, (int)height, error));
done:
    return status;
}

static uint32_t tiff16(const unsigned char *p, bool little)
{
    return little ? dvit_le16(p) : (uint32_t)p[0] << 8 | p[1];
}

static uint32_t tiff32(const unsigned char *p, bool little)
{
    return little ? dvit_le32(p) : dvit_be32(p);
}

int dvit_exif_orientation(const unsigned char *tiff, size_t size)
{
    enum { ORIENTATION = 0x0112, SHORT = 3, LONG = 4, ENTRY_BYTES = 12 };
    if (size < 8 || (memcmp(tiff, "II*\0", 4) != 0 && memcmp(tiff, "MM\0*", 4) != 0))
        return 1;
    bool little = tiff[0] == 'I';
    size_t at = tiff32(tiff + 4, little);
    if (at > size - 2)
        return 1;
    size_t entries = tiff16(tiff + at, little);
    at += 2;
    for (size_t i = 0; i < entries && size - at >= ENTRY_BYTES; i++, at += ENTRY_BYTES) {
        const unsigned char *entry = tiff + at;
        uint32_t type = tiff16(entry + 2, little);
        if (tiff16(entry, little) != ORIENTATION || (type != SHORT && type != LONG))
            continue;
        uint32_t value = type == SHORT ? tiff16(entry + 8, little) : tiff32(entry + 8, little);
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

static enum dvit_status apply_orientation(struct dvit_image *image, int orientation,
                                          struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_image turned;
    if (orientation == 1)
        return DVIT_OK;
    DVIT_TRY(dvit_image_orient(&turned, image, orientation, error));
    dvit_image_free(image);
    *image = turned;
done:
    return status;
}

static enum dvit_status decode_reported(struct dvit_image *out, const void *data, size_t size,
                                        const struct dvit_decode_options *options,
                                        struct dvit_decode_report *report, struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out);
    if (size > 0)
        DVIT_REQUIRE(error, data);
    enum dvit_status status = DVIT_OK;
    struct dvit_decode_options chosen = options ? *options : dvit_decode_options_default();
    struct dvit_decode_source source = {.data = data, .size = size, .limits = &chosen.limits};
    struct dvit_image image = {0};
    int orientation = 1;
    *out = image;
    DVIT_TRY(check_limits(&chosen.limits, error));
    if (size == 0)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "is empty (0 bytes), expected an image");
    if (size > chosen.limits.max_bytes)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT, "has %zu bytes, the limit is %zu", size,
                  chosen.limits.max_bytes);
    const struct dvit_image_format *format = dvit_image_format_find(data, size);
    if (!format)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "is not in an image format that dvit reads (" DVIT_IMAGE_FORMATS
                  "): the content is %s",
                  dvit_image_format_describe(data, size));
    DVIT_TRY(format->decode(&image, &source, &orientation, error));
    if (chosen.apply_orientation)
        DVIT_TRY(apply_orientation(&image, orientation, error));
    report->info = (struct dvit_decode_info){.format = format->name, .orientation = orientation};
    report->grey16 = dvit_png_is_grey16(data, size);
    *out = image;
    image = (struct dvit_image){0};
done:
    dvit_image_free(&image);
    return status;
}

enum dvit_status dvit_image_decode(struct dvit_image *out, const void *data, size_t size,
                                   const struct dvit_decode_options *options,
                                   struct dvit_decode_info *info, struct dvit_error *error)
{
    struct dvit_decode_report report;
    enum dvit_status status = decode_reported(out, data, size, options, &report, error);
    if (status == DVIT_OK && info)
        *info = report.info;
    return status;
}

enum dvit_status dvit_image_load_reported(struct dvit_image *out, const char *path,
                                          const struct dvit_decode_options *options,
                                          struct dvit_decode_report *report,
                                          struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, path);
    enum dvit_status status = DVIT_OK;
    unsigned char *data = NULL;
    size_t size = 0;
    size_t limit =
        options ? options->limits.max_bytes : dvit_decode_options_default().limits.max_bytes;
    DVIT_TRY(dvit_file_read(path, limit, &data, &size, error));
    status = decode_reported(out, data, size, options, report, error);
    if (status != DVIT_OK)
        dvit_error_prefix(error, "\"%s\"", path);
done:
    free(data);
    return status;
}

enum dvit_status dvit_image_load(struct dvit_image *out, const char *path,
                                 const struct dvit_decode_options *options,
                                 struct dvit_decode_info *info, struct dvit_error *error)
{
    struct dvit_decode_report report;
    enum dvit_status status = dvit_image_load_reported(out, path, options, &report, error);
    if (status == DVIT_OK && info)
        *info = report.info;
    return status;
}
