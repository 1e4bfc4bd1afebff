/* Images: decoding, geometry, preparation for a network, and writing.
 *
 * Every image in dvit is 8-bit RGB. Decoding and resizing give the pixels that Pillow 12 gives, bit
 * for bit (deliberate differences are named below), because published accuracies were measured with
 * them. Functions that make an image free nothing the caller had in *out: they overwrite it, and
 * leave it zeroed on failure. */
#ifndef DVIT_IMAGE_H
#define DVIT_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "dvit/config.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dvit_image {
    int width;             /* pixels, ≥ 1; 0 in an empty image */
    int height;            /* pixels, ≥ 1; 0 in an empty image */
    unsigned char *pixels; /* [height][width][3] R, G, B; owned */
};

/* A black image. Sides in 1 … 65535 (as the decoders' limit); caller frees with dvit_image_free. */
DVIT_API enum dvit_status dvit_image_create(struct dvit_image *out, int width, int height,
                                            struct dvit_error *error);
/* Frees the pixels and zeroes the struct. A zeroed image and NULL are legal. */
DVIT_API void dvit_image_free(struct dvit_image *image);
/* A deep copy. Caller frees. */
DVIT_API enum dvit_status dvit_image_copy(struct dvit_image *out, const struct dvit_image *in,
                                          struct dvit_error *error);

/* ---- decoding ---- */

/* What a file may cost, checked before memory of that size is asked for. A decoder takes at most
 * 1 GiB, the image included (6 bytes per pixel of a max_pixels above the default). A file that is
 * too short for the pixels that its header states is refused as well. */
struct dvit_decode_limits {
    size_t max_bytes;  /* of the encoded file; ≥ 1; default 256 MiB */
    size_t max_pixels; /* width·height; ≥ 1; default 178956970 (Pillow's own refusal) */
    int max_side;      /* pixels; 1 … 65535; default 65500 (JPEG's own) */
    int max_scans;     /* of a progressive JPEG; ≥ 1; default 500 (real ones have about 10) */
};

struct dvit_decode_options {
    struct dvit_decode_limits limits;
    bool apply_orientation; /* turn the image as its EXIF tag says; default false, as data sets are
                               read everywhere; switch on for a user's photograph */
};
DVIT_API struct dvit_decode_options dvit_decode_options_default(void);

/* What the file said. */
struct dvit_decode_info {
    const char *format; /* "JPEG", "PNG", "WebP", "GIF", "PNM", "BMP"; a constant */
    int orientation; /* EXIF, 1 … 8; 1 = upright or not stated. If it was applied, it still says
                        what the file said */
};

/* Decodes `size` bytes; the content decides the decoder, never a name. Reads JPEG (grey, YCC, RGB,
 * CMYK, YCCK; baseline and progressive), PNG (all kinds; alpha dropped, 16 bits reduced to the high
 * byte — Pillow saturates 16-bit grey instead, which makes a normal picture white), WebP, GIF, PNM
 * (P1 … P6, maxval up to 65535), BMP (1, 4, 8, 16, 24, 32 bits, uncompressed). Of an animation the
 * first frame is read. Data that end early are an error. options NULL: defaults; info may be NULL.
 * Errors: FORMAT (damaged, or not an image dvit reads), LIMIT, UNSUPPORTED (a variant, named),
 * MEMORY, ARGUMENT (a limit out of range). Caller frees *out. */
DVIT_API enum dvit_status dvit_image_decode(struct dvit_image *out, const void *data, size_t size,
                                            const struct dvit_decode_options *options,
                                            struct dvit_decode_info *info,
                                            struct dvit_error *error);

/* Reads and decodes a file. Every error begins with the file's name. Caller frees *out. */
DVIT_API enum dvit_status dvit_image_load(struct dvit_image *out, const char *path,
                                          const struct dvit_decode_options *options,
                                          struct dvit_decode_info *info, struct dvit_error *error);

/* What a file seems to be. */
enum dvit_file_kind {
    DVIT_FILE_OTHER,   /* no image, or nothing that can be read */
    DVIT_FILE_IMAGE,   /* in a format that dvit reads */
    DVIT_FILE_FOREIGN, /* an image in another format: TIFF, HEIC, … */
    DVIT_FILE_HIDDEN, /* of the system, to be passed over: a leading dot, __MACOSX, Thumbs.db, … */
};
/* The one answer to which files of a folder are images, for data sets and for `dvit classify`. A
 * name that ends in .jpg .jpeg .jpe .jfif .png .apng .mpo .webp .gif .bmp .ppm .pgm .pbm .pnm (in
 * any case) is enough, and the file is not opened; of any other the content decides, then the
 * ending. */
DVIT_API enum dvit_file_kind dvit_file_kind(const char *path);

/* ---- geometry ---- */

enum dvit_filter {
    DVIT_FILTER_BILINEAR,
    DVIT_FILTER_BICUBIC, /* a = −0.5 */
};

/* A rectangle in pixels; x and y may be negative where that is said. */
struct dvit_box {
    int x, y;
    int width, height;
};

/* Resizes to width × height (each 1 … 65535), antialiased, bit-exact with Pillow 12: horizontal
 * pass first, 8 bits between the passes, a side of the same size skips its pass. Caller frees. */
DVIT_API enum dvit_status dvit_image_resize(struct dvit_image *out, const struct dvit_image *in,
                                            int width, int height, enum dvit_filter filter,
                                            struct dvit_error *error);
/* The same for a part of `in` (inside it): equal to cropping first and resizing then; the filter
 * sees no pixel outside the box. Caller frees. */
DVIT_API enum dvit_status dvit_image_resize_box(struct dvit_image *out, const struct dvit_image *in,
                                                struct dvit_box box, int width, int height,
                                                enum dvit_filter filter, struct dvit_error *error);
/* Size after resizing the short side to `side`, the aspect ratio kept: long = ⌊side·long/short⌋. */
DVIT_API void dvit_image_short_side(int width, int height, int side, int *out_width,
                                    int *out_height);
/* The box may reach outside `in`, also entirely; what lies there is black. Caller frees. */
DVIT_API enum dvit_status dvit_image_crop(struct dvit_image *out, const struct dvit_image *in,
                                          struct dvit_box box, struct dvit_error *error);
/* The box of a centre crop: offset = half the difference, rounded half to even; a side shorter than
 * the crop is centred in black, the odd pixel of it after the image. */
DVIT_API struct dvit_box dvit_image_centre_box(int image_width, int image_height, int crop_width,
                                               int crop_height);
/* Left and right swapped, in place. */
DVIT_API void dvit_image_flip(struct dvit_image *image);
/* Turns an image upright that is stored with EXIF orientation 1 … 8. Caller frees. */
DVIT_API enum dvit_status dvit_image_orient(struct dvit_image *out, const struct dvit_image *in,
                                            int orientation, struct dvit_error *error);

/* ---- what the network sees ---- */

/* The geometry of `preprocess` alone: an 8-bit image of crop_width × crop_height, for pictures and
 * for dvit_preprocess_normalise. DVIT_FIT_NONE and another size: DVIT_ERROR_MISMATCH with both
 * sizes. Caller frees. */
DVIT_API enum dvit_status dvit_preprocess_geometry(const struct dvit_preprocess *preprocess,
                                                   const struct dvit_image *in,
                                                   struct dvit_image *out,
                                                   struct dvit_error *error);
/* A rectangle in fractions of pixels. */
struct dvit_region {
    double x, y;
    double width, height;
};
/* Where the network's input lies on an image of width × height pixels (≥ 1): the part that
 * dvit_preprocess_geometry cuts out, in pixels of that image. Reaches outside of the image where
 * the crop does. Errors as there. */
DVIT_API enum dvit_status dvit_preprocess_region(const struct dvit_preprocess *preprocess,
                                                 int width, int height, struct dvit_region *out,
                                                 struct dvit_error *error);
/* (p/255 − mean)/std in three f32 steps; `in` and out [3][height][width] have the same size. */
DVIT_API void dvit_preprocess_normalise(const struct dvit_preprocess *preprocess,
                                        const struct dvit_image *in, float *out);
/* Geometry, then normalise: out [3][crop_height][crop_width]. */
DVIT_API enum dvit_status dvit_preprocess_run(const struct dvit_preprocess *preprocess,
                                              const struct dvit_image *in, float *out,
                                              struct dvit_error *error);

/* ---- writing ---- */

/* An RGB PNG file in one malloc'ed block; caller frees it with free(). The same pixels give the
 * same bytes with the same libpng and zlib. */
DVIT_API enum dvit_status dvit_image_encode_png(const struct dvit_image *image, unsigned char **out,
                                                size_t *size, struct dvit_error *error);
/* Writes atomically: `path` has either its former content or all of the new. */
DVIT_API enum dvit_status dvit_image_write_png(const char *path, const struct dvit_image *image,
                                               struct dvit_error *error);

#ifdef __cplusplus
}
#endif
#endif
