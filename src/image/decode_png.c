/* PNG through libpng, to the pixels that Pillow's convert("RGB") gives: transparency is dropped,
 * not composited, and no gamma or profile is applied. 16-bit samples keep their high byte, also in
 * grey, where Pillow saturates instead. */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "image/decode.h"

struct png_job {
    png_structp png;
    png_infop info;
    const struct dvit_decode_source *source;
    size_t at; /* next byte of source */
    struct dvit_image *out;
    unsigned char **rows; /* [height] where libpng writes */
    enum dvit_status status;
    struct dvit_error *error;
};

static _Noreturn void on_error(png_structp png, png_const_charp text)
{
    struct png_job *job = png_get_error_ptr(png);
    if (job->status == DVIT_OK)
        job->status = dvit_error_set(job->error, DVIT_ERROR_FORMAT, "damaged PNG: %s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
}

static void on_read(png_structp png, png_bytep data, size_t count)
{
    struct png_job *job = png_get_io_ptr(png);
    if (count > job->source->size - job->at) {
        job->status = dvit_error_set(job->error, DVIT_ERROR_FORMAT,
                                     "PNG data end early, after %zu bytes", job->source->size);
        png_longjmp(png, 1);
    }
    memcpy(data, job->source->data + job->at, count);
    job->at += count;
}

/* libpng is told to skip ancillary chunks (texts may expand a thousandfold), so EXIF is found here.
 */
static int find_orientation(const struct dvit_decode_source *source)
{
    enum { SIGNATURE = 8, FRAME = 12 }; /* length, type and checksum around a chunk's data */
    size_t at = SIGNATURE;
    while (source->size - at >= FRAME) {
        const unsigned char *chunk = source->data + at;
        size_t length = dvit_be32(chunk);
        if (length > source->size - at - FRAME)
            return 1;
        if (memcmp(chunk + 4, "eXIf", 4) == 0)
            return dvit_exif_orientation(chunk + 8, length);
        at += FRAME + length;
    }
    return 1;
}

bool dvit_png_is_grey16(const unsigned char *data, size_t size)
{
    return size > 25 && memcmp(data, "\x89PNG", 4) == 0 && memcmp(data + 12, "IHDR", 4) == 0 &&
           data[24] == 16 && data[25] == PNG_COLOR_TYPE_GRAY;
}

/* The header is read here as well, so that the limits speak before libpng does. */
static enum dvit_status check_header(const struct dvit_decode_source *source,
                                     struct dvit_error *error)
{
    if (source->size < 33 || memcmp(source->data + 12, "IHDR", 4) != 0)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              source->size < 33 ? "PNG data end early, after %zu bytes"
                                                : "damaged PNG: no IHDR chunk in %zu bytes",
                              source->size);
    return dvit_decode_check(source->limits, dvit_be32(source->data + 16),
                             dvit_be32(source->data + 20), error);
}

/* All kinds become 8-bit RGB, except that a palette image stays one index byte per pixel. */
static void set_transforms(struct png_job *job, int colour_type)
{
    png_structp png = job->png;
    if (colour_type == PNG_COLOR_TYPE_PALETTE) {
        png_set_packing(png);
        png_set_check_for_invalid_index(png, 0);
        return;
    }
    png_set_strip_16(png);
    if (colour_type == PNG_COLOR_TYPE_GRAY)
        png_set_expand_gray_1_2_4_to_8(png);
    if (colour_type & PNG_COLOR_MASK_ALPHA)
        png_set_strip_alpha(png);
    if (!(colour_type & PNG_COLOR_MASK_COLOR))
        png_set_gray_to_rgb(png);
}

/* In place: indices lie in the last third of each row, so the writer never overtakes the reader. */
static void expand_palette(struct png_job *job)
{
    unsigned char colours[256][3] = {{0}}; /* an index beyond the palette is black */
    png_colorp palette = NULL;
    int count = 0;
    png_get_PLTE(job->png, job->info, &palette, &count);
    for (int i = 0; i < count && i < 256; i++) {
        colours[i][0] = palette[i].red;
        colours[i][1] = palette[i].green;
        colours[i][2] = palette[i].blue;
    }
    size_t width = (size_t)job->out->width;
    for (int y = 0; y < job->out->height; y++) {
        const unsigned char *index = job->rows[y];
        unsigned char *rgb = job->out->pixels + 3 * width * (size_t)y;
        for (size_t x = 0; x < width; x++)
            memcpy(rgb + 3 * x, colours[index[x]], 3);
    }
}

static enum dvit_status point_rows(struct png_job *job, size_t offset)
{
    size_t row_bytes = 3 * (size_t)job->out->width;
    job->rows = malloc((size_t)job->out->height * sizeof *job->rows);
    if (!job->rows)
        return dvit_error_set(job->error, DVIT_ERROR_MEMORY, "out of memory for %d PNG rows",
                              job->out->height);
    for (int y = 0; y < job->out->height; y++)
        job->rows[y] = job->out->pixels + (size_t)y * row_bytes + offset;
    return DVIT_OK;
}

/* zlib makes at most 1032 bytes of one. */
static enum dvit_status check_data(const struct png_job *job, uint64_t width, uint64_t height)
{
    uint64_t row_bytes = 1 + (uint64_t)png_get_rowbytes(job->png, job->info); /* as stored */
    return dvit_decode_check_data(job->source, row_bytes * height / 1032, width, height,
                                  job->error);
}

static void decode(struct png_job *job)
{
    png_structp png = job->png;
    png_set_read_fn(png, job, on_read);
    png_set_user_limits(png, DVIT_MAX_SIDE, DVIT_MAX_SIDE);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_read_info(png, job->info);
    size_t width = png_get_image_width(png, job->info);
    size_t height = png_get_image_height(png, job->info);
    job->status = check_data(job, width, height);
    if (job->status == DVIT_OK)
        job->status = dvit_decode_begin(job->out, job->source->limits, width, height, job->error);
    if (job->status != DVIT_OK)
        return;
    int colour_type = png_get_color_type(png, job->info);
    bool palette = colour_type == PNG_COLOR_TYPE_PALETTE;
    set_transforms(job, colour_type);
    png_set_interlace_handling(png);
    png_read_update_info(png, job->info);
    if (png_get_rowbytes(png, job->info) != (palette ? width : 3 * width))
        png_error(png, "unexpected row size");
    job->status = point_rows(job, palette ? 2 * width : 0);
    if (job->status != DVIT_OK)
        return;
    png_read_image(png, job->rows); /* the rest of the file does not matter */
    if (palette)
        expand_palette(job);
}

/* In a function of its own, so that no local variable lives across the jump. */
static void decode_guarded(struct png_job *job)
{
    if (setjmp(png_jmpbuf(job->png)) == 0)
        decode(job);
}

enum dvit_status dvit_decode_png(struct dvit_image *out, const struct dvit_decode_source *source,
                                 int *orientation, struct dvit_error *error)
{
    struct png_job job = {.source = source, .out = out, .error = error};
    job.status = check_header(source, error);
    if (job.status != DVIT_OK)
        return job.status;
    *orientation = find_orientation(source);
    job.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning);
    job.info = job.png ? png_create_info_struct(job.png) : NULL;
    if (!job.info)
        job.status = dvit_error_set(error, DVIT_ERROR_MEMORY, "out of memory for a PNG decoder");
    else
        decode_guarded(&job);
    png_destroy_read_struct(&job.png, &job.info, NULL);
    free(job.rows);
    return job.status;
}
