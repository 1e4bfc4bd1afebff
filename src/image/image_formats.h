/* Which format image data are in, by content; and what files are taken for images, whose answer is
 * public: dvit_file_kind. */
#ifndef DVIT_IMAGE_IMAGE_FORMATS_H
#define DVIT_IMAGE_IMAGE_FORMATS_H

#include "image/decode.h"

struct dvit_image_format {
    const char *name;
    bool (*matches)(const unsigned char *data, size_t size);
    dvit_decode_function *decode;
};

/* The format that dvit reads the data in, or NULL. */
const struct dvit_image_format *dvit_image_format_find(const unsigned char *data, size_t size);

/* What data in no such format seem to be: "a TIFF image", "text", "unknown data". */
const char *dvit_image_format_describe(const unsigned char *data, size_t size);

/* What stands behind the last slash. */
const char *dvit_path_name(const char *path);

/* Whether a file or folder of this name is of the system: DVIT_FILE_HIDDEN. */
bool dvit_file_name_is_hidden(const char *name);

/* "JPEG, PNG, WebP, GIF, PNM, BMP" */
#define DVIT_IMAGE_FORMATS "JPEG, PNG, WebP, GIF, PNM, BMP"

#endif
