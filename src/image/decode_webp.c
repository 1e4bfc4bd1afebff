/* WebP through libwebp, lossy and lossless; alpha is dropped. Of an animation the first frame is
 * read, found by libwebpdemux; what it leaves free of the canvas is black, as Pillow has it. */
#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

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

/* The decoder's own memory: a lossless image is decoded to four bytes a pixel, and alpha is a plane
 * of its own. */
static enum dvit_status check_memory(const struct dvit_decode_source *source,
                                     const WebPBitstreamFeatures *features, uint64_t width,
                                     uint64_t height, struct dvit_error *error)
{
    enum { LOSSY = 1 }; /* features->format */
    uint64_t frame = (uint64_t)features->width * (uint64_t)features->height;
    uint64_t own = features->format == LOSSY ? (features->has_alpha ? 2 : 0) : 4;
    return dvit_decode_check_memory(source->limits, 3 * width * height + own * frame,
                                    "a WebP image", width, height, error);
}

/* Decodes one frame to its place in *out. */
static enum dvit_status decode_frame(struct dvit_image *out, const uint8_t *data, size_t size,
                                     WebPDecoderConfig *config, int x, int y,
                                     struct dvit_error *error)
{
    size_t stride = 3 * (size_t)out->width;
    size_t at = (size_t)y * stride + 3 * (size_t)x;
    config->output.colorspace = MODE_RGB;
    config->output.is_external_memory = 1;
    config->output.u.RGBA.rgba = out->pixels + at;
    config->output.u.RGBA.stride = (int)stride;
    config->output.u.RGBA.size = (size_t)out->height * stride - at;
    VP8StatusCode code = WebPDecode(data, size, config);
    WebPFreeDecBuffer(&config->output);
    return code == VP8_STATUS_OK ? DVIT_OK : fail(code, size, error);
}

static enum dvit_status decode_still(struct dvit_image *out,
                                     const struct dvit_decode_source *source,
                                     WebPDecoderConfig *config, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    uint64_t width = (uint64_t)config->input.width, height = (uint64_t)config->input.height;
    DVIT_TRY(dvit_decode_check(source->limits, width, height, error));
    DVIT_TRY(check_memory(source, &config->input, width, height, error));
    DVIT_TRY(dvit_decode_begin(out, source->limits, width, height, error));
    DVIT_TRY(decode_frame(out, source->data, source->size, config, 0, 0, error));
done:
    return status;
}

static enum dvit_status decode_first_frame(struct dvit_image *out,
                                           const struct dvit_decode_source *source,
                                           WebPDecoderConfig *config, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    uint64_t width = (uint64_t)config->input.width, height = (uint64_t)config->input.height;
    WebPIterator frame = {0};
    const WebPData data = {source->data, source->size};
    WebPDemuxer *demuxer = WebPDemux(&data);
    if (!demuxer || !WebPDemuxGetFrame(demuxer, 1, &frame))
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "animated WebP of %zu bytes is damaged or ends early: no first frame",
                  source->size);
    VP8StatusCode code = WebPGetFeatures(frame.fragment.bytes, frame.fragment.size, &config->input);
    if (code != VP8_STATUS_OK) {
        status = fail(code, source->size, error);
        goto done;
    }
    if (config->input.width != frame.width || config->input.height != frame.height ||
        (uint64_t)frame.x_offset + (uint64_t)frame.width > width ||
        (uint64_t)frame.y_offset + (uint64_t)frame.height > height)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "damaged animated WebP: its first frame is not inside the canvas");
    DVIT_TRY(dvit_decode_check(source->limits, width, height, error));
    DVIT_TRY(check_memory(source, &config->input, width, height, error));
    DVIT_TRY(dvit_decode_begin(out, source->limits, width, height, error));
    DVIT_TRY(decode_frame(out, frame.fragment.bytes, frame.fragment.size, config, frame.x_offset,
                          frame.y_offset, error));
done:
    WebPDemuxReleaseIterator(&frame);
    WebPDemuxDelete(demuxer);
    return status;
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
        DVIT_TRY(decode_first_frame(out, source, &config, error));
    else
        DVIT_TRY(decode_still(out, source, &config, error));
    *orientation = find_orientation(source);
done:
    return status;
}
