/* WebP through libwebp: still images, lossy and lossless; alpha is dropped. Animations are refused
 * by name. */
#include <string.h>

#include <webp/decode.h>

#include "image/decode.h"

static enum dvit_status fail(VP8StatusCode code, size_t size, struct dvit_error *error)
{
    switch (code) {
    case VP8_STATUS_OUT_OF_MEMORY:
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "out of memory for a WebP decoder");
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "WebP data end early, after %zu bytes",
                              size);
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                              "WebP uses a feature that libwebp does not support");
    default:
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "damaged WebP (libwebp status %d)",
                              (int)code);
    }
}

/* RIFF chunks: type, little-endian length, data, padded to even. */
static int find_orientation(const struct dvit_decode_source *source)
{
    enum { FILE_HEADER = 12, CHUNK_HEADER = 8 };
    static const char id[] = "Exif\0"; /* some writers put JPEG's prefix before the TIFF header */
    size_t at = FILE_HEADER;
    while (source->size - at >= CHUNK_HEADER) {
        const unsigned char *chunk = source->data + at;
        size_t length = dvit_le32(chunk + 4), left = source->size - at - CHUNK_HEADER;
        if (length > left)
            return 1;
        if (memcmp(chunk, "EXIF", 4) == 0) {
            bool prefixed = length > sizeof id && memcmp(chunk + 8, id, sizeof id) == 0;
            size_t skip = prefixed ? sizeof id : 0;
            return dvit_exif_orientation(chunk + 8 + skip, length - skip);
        }
        if (length + (length & 1) > left)
            return 1;
        at += CHUNK_HEADER + length + (length & 1);
    }
    return 1;
}

enum dvit_status dvit_decode_webp(struct dvit_image *out, const struct dvit_decode_source *source,
                                  int *orientation, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        DVIT_FAIL(error, DVIT_ERROR_UNSUPPORTED, "libwebp has another version than its headers");
    VP8StatusCode code = WebPGetFeatures(source->data, source->size, &config.input);
    if (code != VP8_STATUS_OK) {
        status = fail(code, source->size, error);
        goto done;
    }
    if (config.input.has_animation)
        DVIT_FAIL(error, DVIT_ERROR_UNSUPPORTED, "animated WebP, expected a still image");
    DVIT_TRY(dvit_decode_begin(out, source->limits, (uint64_t)config.input.width,
                               (uint64_t)config.input.height, error));
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = out->pixels;
    config.output.u.RGBA.stride = 3 * out->width;
    config.output.u.RGBA.size = 3 * (size_t)out->width * (size_t)out->height;
    code = WebPDecode(source->data, source->size, &config);
    WebPFreeDecBuffer(&config.output);
    if (code != VP8_STATUS_OK) {
        status = fail(code, source->size, error);
        goto done;
    }
    *orientation = find_orientation(source);
done:
    return status;
}
