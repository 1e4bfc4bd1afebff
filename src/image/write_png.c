/* RGB images to PNG, in memory or atomically to a file. No metadata: the same pixels give the same
 * bytes. */
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "base/error.h"
#include "base/file.h"
#include "dvit/image.h"
#include "image/room.h"

struct png_output {
    png_structp png;
    png_infop info;
    const struct dvit_image *image;
    unsigned char *data; /* owned until handed over */
    size_t size, capacity;
    enum dvit_status status;
    struct dvit_error *error;
};

static _Noreturn void on_error(png_structp png, png_const_charp text)
{
    struct png_output *output = png_get_error_ptr(png);
    if (output->status == DVIT_OK)
        output->status =
            dvit_error_set(output->error, DVIT_ERROR_MEMORY, "cannot encode a PNG: %s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
}

static void on_flush(png_structp png)
{
}

static void on_write(png_structp png, png_bytep data, size_t count)
{
    struct png_output *output = png_get_io_ptr(png);
    if (count > output->capacity - output->size) {
        size_t larger =
            output->capacity + count > SIZE_MAX / 2 ? SIZE_MAX : 2 * (output->capacity + count);
        unsigned char *grown = realloc(output->data, larger);
        if (!grown) {
            output->status = dvit_error_set(output->error, DVIT_ERROR_MEMORY,
                                            "out of memory for a PNG of %zu bytes", larger);
            png_longjmp(png, 1);
        }
        output->data = grown;
        output->capacity = larger;
    }
    memcpy(output->data + output->size, data, count);
    output->size += count;
}

static void encode(struct png_output *output)
{
    const struct dvit_image *image = output->image;
    png_structp png = output->png;
    size_t row_bytes = 3 * (size_t)image->width;
    png_set_write_fn(png, output, on_write, on_flush);
    png_set_IHDR(png, output->info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, output->info);
    for (int y = 0; y < image->height; y++)
        png_write_row(png, image->pixels + (size_t)y * row_bytes);
    png_write_end(png, NULL);
}

/* In a function of its own, so that no local variable lives across the jump. */
static void encode_guarded(struct png_output *output)
{
    if (setjmp(png_jmpbuf(output->png)) == 0)
        encode(output);
}

enum dvit_status dvit_image_encode_png(const struct dvit_image *image, unsigned char **out,
                                       size_t *size, struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_CLEAR(size);
    DVIT_REQUIRE(error, image, out, size);
    enum dvit_status status = DVIT_OK;
    struct png_output output = {.image = image, .error = error};
    DVIT_TRY(dvit_image_check(image, error));
    output.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &output, on_error, on_warning);
    output.info = output.png ? png_create_info_struct(output.png) : NULL;
    if (!output.info)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "out of memory for a PNG encoder");
    encode_guarded(&output);
    DVIT_TRY(output.status);
    *out = output.data;
    *size = output.size;
    output.data = NULL;
done:
    png_destroy_write_struct(&output.png, &output.info);
    free(output.data);
    return status;
}

enum dvit_status dvit_image_write_png(const char *path, const struct dvit_image *image,
                                      struct dvit_error *error)
{
    DVIT_REQUIRE(error, path, image);
    enum dvit_status status = DVIT_OK;
    unsigned char *data = NULL;
    size_t size = 0;
    DVIT_TRY(dvit_image_encode_png(image, &data, &size, error));
    DVIT_TRY(dvit_file_replace(path, data, size, error));
done:
    free(data);
    return status;
}
