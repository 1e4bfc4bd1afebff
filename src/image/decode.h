/* What the decoders of one format each share. Inside src/image only.
 *
 * A decoder fills *out through dvit_decode_begin and may leave it filled on failure:
 * dvit_image_decode frees it. *orientation arrives as 1. */
#ifndef DVIT_IMAGE_DECODE_H
#define DVIT_IMAGE_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "dvit/image.h"

enum { DVIT_MAX_SIDE = 65535 }; /* pixels, of any image in dvit */

struct dvit_decode_source {
    const unsigned char *data; /* [size] */
    size_t size;
    const struct dvit_decode_limits *limits;
};

typedef enum dvit_status dvit_decode_function(struct dvit_image *out,
                                              const struct dvit_decode_source *source,
                                              int *orientation, struct dvit_error *error);

dvit_decode_function dvit_decode_jpeg;
dvit_decode_function dvit_decode_png;
dvit_decode_function dvit_decode_webp;
dvit_decode_function dvit_decode_gif;
dvit_decode_function dvit_decode_pnm;
dvit_decode_function dvit_decode_bmp;

/* Whether a PNG file holds 16-bit grey, of which Pillow makes something else. */
bool dvit_png_is_grey16(const unsigned char *data, size_t size);

/* What a file showed while it was decoded. */
struct dvit_decode_report {
    struct dvit_decode_info info;
    bool grey16; /* see dvit_png_is_grey16 */
};
/* dvit_image_load that reports more. */
enum dvit_status dvit_image_load_reported(struct dvit_image *out, const char *path,
                                          const struct dvit_decode_options *options,
                                          struct dvit_decode_report *report,
                                          struct dvit_error *error);

/* Checks the size that a header claims against the limits; no allocation. */
enum dvit_status dvit_decode_check(const struct dvit_decode_limits *limits, uint64_t width,
                                   uint64_t height, struct dvit_error *error);
/* A file that holds the claimed pixels has at least so many bytes: refused where it has fewer,
 * before memory for them is taken. */
enum dvit_status dvit_decode_check_data(const struct dvit_decode_source *source,
                                        uint64_t least_bytes, uint64_t width, uint64_t height,
                                        struct dvit_error *error);
/* Memory that a decoder takes in all, the image included: at most 1 GiB, which is twice the largest
 * image, or twice that of a max_pixels above the default. `what` names the kind of file. */
enum dvit_status dvit_decode_check_memory(const struct dvit_decode_limits *limits, uint64_t bytes,
                                          const char *what, uint64_t width, uint64_t height,
                                          struct dvit_error *error);
/* Checks, then creates the black image that a decoder fills. */
enum dvit_status dvit_decode_begin(struct dvit_image *out, const struct dvit_decode_limits *limits,
                                   uint64_t width, uint64_t height, struct dvit_error *error);

/* Orientation 1 … 8 in an EXIF block (a TIFF header and its first directory); 1 where it is absent
 * or damaged. */
int dvit_exif_orientation(const unsigned char *tiff, size_t size);

static inline uint32_t dvit_le16(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}
static inline uint32_t dvit_le32(const unsigned char *p)
{
    return dvit_le16(p) | dvit_le16(p + 2) << 16;
}
static inline uint32_t dvit_be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

#endif
