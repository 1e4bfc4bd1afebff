/* Decides by content which decoder reads an image, and holds what all of them share: the limits,
 * the EXIF orientation, and errors that carry the file's name. Knows no format's inside. */
#include "image/decode.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

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

static bool starts_with(const unsigned char *data, size_t size, size_t offset, const char *magic,
                        size_t length)
{
    return size >= offset + length && memcmp(data + offset, magic, length) == 0;
}

static bool is_jpeg(const unsigned char *data, size_t size)
{
    return starts_with(data, size, 0, "\xff\xd8\xff", 3);
}
static bool is_png(const unsigned char *data, size_t size)
{
    return starts_with(data, size, 0, "\x89PNG\r\n\x1a\n", 8);
}
static bool is_webp(const unsigned char *data, size_t size)
{
    return starts_with(data, size, 0, "RIFF", 4) && starts_with(data, size, 8, "WEBP", 4);
}
static bool is_pnm(const unsigned char *data, size_t size)
{
    return size >= 3 && data[0] == 'P' && data[1] >= '1' && data[1] <= '6' &&
           memchr(" \t\r\n\v\f#", data[2], 7);
}
static bool is_bmp(const unsigned char *data, size_t size)
{
    return starts_with(data, size, 0, "BM", 2);
}

static const struct format {
    const char *name;
    bool (*matches)(const unsigned char *data, size_t size);
    dvit_decode_function *decode;
} formats[] = {
    {"JPEG", is_jpeg, dvit_decode_jpeg}, {"PNG", is_png, dvit_decode_png},
    {"WebP", is_webp, dvit_decode_webp}, {"PNM", is_pnm, dvit_decode_pnm},
    {"BMP", is_bmp, dvit_decode_bmp},
};

/* Formats that users do have, named in the refusal. */
static const struct known {
    const char *name, *magic;
    size_t offset, length;
} known_formats[] = {
    {"a GIF image", "GIF8", 0, 4},
    {"a TIFF image", "II*\0", 0, 4},
    {"a TIFF image", "MM\0*", 0, 4},
    {"a HEIF or AVIF image", "ftyp", 4, 4},
    {"a JPEG XL image", "\xff\x0a", 0, 2},
    {"a JPEG XL image", "\0\0\0\x0cJXL ", 0, 8},
    {"a JPEG 2000 image", "\0\0\0\x0cjP  ", 0, 8},
    {"a Photoshop image", "8BPS", 0, 4},
    {"a PAM image", "P7\n", 0, 3},
    {"a PFM image", "PF\n", 0, 3},
    {"a PFM image", "Pf\n", 0, 3},
    {"a PDF document", "%PDF", 0, 4},
};

/* ASCII, or bytes in the order that UTF-8 has them. */
static bool looks_like_text(const unsigned char *data, size_t size)
{
    size_t checked = size < 512 ? size : 512;
    for (size_t i = 0; i < checked; i++) {
        unsigned char c = data[i], before = i ? data[i - 1] : 0;
        if (c < 0x20 ? !memchr("\t\n\v\f\r", c, 5) : c == 0x7f || c >= 0xf5)
            return false;
        if ((c & 0xc0) == 0x80 ? before < 0x80 : before >= 0xc2)
            return false;
    }
    return true;
}

/* What the refused data seem to be. */
static const char *describe_content(const unsigned char *data, size_t size)
{
    for (size_t i = 0; i < sizeof known_formats / sizeof *known_formats; i++) {
        const struct known *known = &known_formats[i];
        if (starts_with(data, size, known->offset, known->magic, known->length))
            return known->name;
    }
    return looks_like_text(data, size) ? "text" : "unknown data";
}

static const struct format *find_format(const unsigned char *data, size_t size)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].matches(data, size))
            return &formats[i];
    return NULL;
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

enum dvit_status dvit_image_decode(struct dvit_image *out, const void *data, size_t size,
                                   const struct dvit_decode_options *options,
                                   struct dvit_decode_info *info, struct dvit_error *error)
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
    const struct format *format = find_format(data, size);
    if (!format)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "is not in an image format that dvit reads (JPEG, PNG, WebP, PNM, BMP): the "
                  "content is %s",
                  describe_content(data, size));
    DVIT_TRY(format->decode(&image, &source, &orientation, error));
    if (chosen.apply_orientation)
        DVIT_TRY(apply_orientation(&image, orientation, error));
    if (info)
        *info = (struct dvit_decode_info){.format = format->name, .orientation = orientation};
    *out = image;
    image = (struct dvit_image){0};
done:
    dvit_image_free(&image);
    return status;
}

enum dvit_status dvit_image_load(struct dvit_image *out, const char *path,
                                 const struct dvit_decode_options *options,
                                 struct dvit_decode_info *info, struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, path);
    enum dvit_status status = DVIT_OK;
    unsigned char *data = NULL;
    size_t size = 0;
    size_t limit =
        options ? options->limits.max_bytes : dvit_decode_options_default().limits.max_bytes;
    DVIT_TRY(dvit_file_read(path, limit, &data, &size, error));
    status = dvit_image_decode(out, data, size, options, info, error);
    if (status != DVIT_OK)
        dvit_error_prefix(error, "\"%s\"", path);
done:
    free(data);
    return status;
}
