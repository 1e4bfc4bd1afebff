/* GIF through giflib: the first frame, to the pixels that Pillow's convert("RGB") gives. Frames
 * after it are not looked at. The image is as large as the screen, or as the frame where that
 * reaches beyond; what the frame leaves free has the transparent colour, or else colour 0. A
 * transparent pixel keeps the colour of its index. */
#include <stdlib.h>
#include <string.h>

#include <gif_lib.h>

#include "image/decode.h"

/* A code has at most 12 bits and stands for at most 4096 pixels: no byte stands for more. */
static const uint64_t most_pixels_per_byte = 4096;

struct gif_job {
    GifFileType *gif;
    const struct dvit_decode_source *source;
    size_t at; /* next byte of source */
    struct dvit_image *out;
    unsigned char *row; /* [width of the frame] indices */
    unsigned char colours[256][3];
    int free_index; /* the colour around the frame */
    struct dvit_error *error;
};

static int on_read(GifFileType *gif, GifByteType *data, int count)
{
    struct gif_job *job = gif->UserData;
    size_t left = job->source->size - job->at;
    size_t given = (size_t)count < left ? (size_t)count : left;
    memcpy(data, job->source->data + job->at, given);
    job->at += given;
    return (int)given;
}

static enum dvit_status fail(const struct gif_job *job, int code)
{
    if (code == D_GIF_ERR_NOT_ENOUGH_MEM)
        return dvit_error_set(job->error, DVIT_ERROR_MEMORY, "out of memory for a GIF decoder");
    if (job->at == job->source->size)
        return dvit_error_set(job->error, DVIT_ERROR_FORMAT, "GIF data end early, after %zu bytes",
                              job->source->size);
    const char *text = GifErrorString(code);
    return dvit_error_set(job->error, DVIT_ERROR_FORMAT, "damaged GIF: %s",
                          text ? text : "unknown error");
}

/* Reads an extension to its end; that of graphics names the transparent colour. */
static enum dvit_status read_extension(struct gif_job *job)
{
    int kind = 0;
    GifByteType *block = NULL; /* its length, then its bytes */
    if (DGifGetExtension(job->gif, &kind, &block) != GIF_OK)
        return fail(job, job->gif->Error);
    if (kind == GRAPHICS_EXT_FUNC_CODE && block && block[0] >= 4 && (block[1] & 1))
        job->free_index = block[4];
    while (block)
        if (DGifGetExtensionNext(job->gif, &block) != GIF_OK)
            return fail(job, job->gif->Error);
    return DVIT_OK;
}

static enum dvit_status find_frame(struct gif_job *job)
{
    for (;;) {
        enum dvit_status status = DVIT_OK;
        GifRecordType type = UNDEFINED_RECORD_TYPE;
        if (DGifGetRecordType(job->gif, &type) != GIF_OK)
            return fail(job, job->gif->Error);
        if (type == TERMINATE_RECORD_TYPE)
            return dvit_error_set(job->error, DVIT_ERROR_FORMAT, "damaged GIF: it has no image");
        if (type == IMAGE_DESC_RECORD_TYPE)
            return DGifGetImageDesc(job->gif) == GIF_OK ? DVIT_OK : fail(job, job->gif->Error);
        status = read_extension(job);
        if (status != DVIT_OK)
            return status;
    }
}

/* Pillow takes a palette in which each colour is the grey of its index for none. */
static bool is_needed(const ColorMapObject *map)
{
    for (int i = 0; map && i < map->ColorCount; i++)
        if (map->Colors[i].Red != i || map->Colors[i].Green != i || map->Colors[i].Blue != i)
            return true;
    return false;
}

static void take_palette(struct gif_job *job)
{
    const ColorMapObject *own = job->gif->Image.ColorMap, *shared = job->gif->SColorMap;
    const ColorMapObject *map = is_needed(own) ? own : is_needed(shared) ? shared : NULL;
    for (int i = 0; i < 256; i++) {
        bool given = map && i < map->ColorCount; /* an index beyond the palette is black */
        job->colours[i][0] = map ? given ? map->Colors[i].Red : 0 : (unsigned char)i;
        job->colours[i][1] = map ? given ? map->Colors[i].Green : 0 : (unsigned char)i;
        job->colours[i][2] = map ? given ? map->Colors[i].Blue : 0 : (unsigned char)i;
    }
}

static enum dvit_status begin_image(struct gif_job *job)
{
    enum dvit_status status = DVIT_OK;
    const GifImageDesc *frame = &job->gif->Image;
    int right = frame->Left + frame->Width, bottom = frame->Top + frame->Height;
    int width = right > job->gif->SWidth ? right : job->gif->SWidth;
    int height = bottom > job->gif->SHeight ? bottom : job->gif->SHeight;
    if (frame->Width < 1 || frame->Height < 1)
        DVIT_FAIL(job->error, DVIT_ERROR_FORMAT, "damaged GIF: a frame of %dx%d pixels",
                  frame->Width, frame->Height);
    DVIT_TRY(dvit_decode_check(job->source->limits, (uint64_t)width, (uint64_t)height, job->error));
    DVIT_TRY(dvit_decode_check_data(
        job->source, (uint64_t)frame->Width * (uint64_t)frame->Height / most_pixels_per_byte,
        (uint64_t)width, (uint64_t)height, job->error));
    DVIT_TRY(dvit_decode_begin(job->out, job->source->limits, (uint64_t)width, (uint64_t)height,
                               job->error));
    job->row = malloc((size_t)frame->Width);
    if (!job->row)
        DVIT_FAIL(job->error, DVIT_ERROR_MEMORY, "out of memory for a row of a GIF");
done:
    return status;
}

static void paint(const struct gif_job *job, unsigned char *rgb, size_t pixels, int index)
{
    for (size_t x = 0; x < pixels; x++)
        memcpy(rgb + 3 * x, job->colours[index], 3);
}

/* What the frame leaves free; the image began black. */
static void paint_around(const struct gif_job *job)
{
    static const unsigned char black[3] = {0};
    const GifImageDesc *frame = &job->gif->Image;
    size_t width = (size_t)job->out->width, left = (size_t)frame->Left;
    size_t right = left + (size_t)frame->Width;
    if (memcmp(job->colours[job->free_index], black, sizeof black) == 0)
        return;
    for (int y = 0; y < job->out->height; y++) {
        unsigned char *row = job->out->pixels + 3 * width * (size_t)y;
        bool beside = y >= frame->Top && y < frame->Top + frame->Height;
        paint(job, row, beside ? left : width, job->free_index);
        if (beside)
            paint(job, row + 3 * right, width - right, job->free_index);
    }
}

static enum dvit_status read_row(struct gif_job *job, int y)
{
    const GifImageDesc *frame = &job->gif->Image;
    size_t at = (size_t)(frame->Top + y) * (size_t)job->out->width + (size_t)frame->Left;
    unsigned char *rgb = job->out->pixels + 3 * at;
    if (DGifGetLine(job->gif, job->row, frame->Width) != GIF_OK)
        return fail(job, job->gif->Error);
    for (int x = 0; x < frame->Width; x++)
        memcpy(rgb + 3 * (size_t)x, job->colours[job->row[x]], 3);
    return DVIT_OK;
}

/* Rows come in order, or in four passes. */
static enum dvit_status read_rows(struct gif_job *job)
{
    static const int first[4] = {0, 4, 2, 1}, step[4] = {8, 8, 4, 2};
    bool interlaced = job->gif->Image.Interlace;
    for (int pass = 0; pass < (interlaced ? 4 : 1); pass++)
        for (int y = interlaced ? first[pass] : 0; y < job->gif->Image.Height;
             y += interlaced ? step[pass] : 1) {
            enum dvit_status status = read_row(job, y);
            if (status != DVIT_OK)
                return status;
        }
    return DVIT_OK;
}

static enum dvit_status decode(struct gif_job *job)
{
    enum dvit_status status = DVIT_OK;
    DVIT_TRY(find_frame(job));
    DVIT_TRY(begin_image(job));
    take_palette(job);
    DVIT_TRY(read_rows(job));
    paint_around(job);
done:
    return status;
}

enum dvit_status dvit_decode_gif(struct dvit_image *out, const struct dvit_decode_source *source,
                                 int *orientation, struct dvit_error *error)
{
    struct gif_job job = {.source = source, .out = out, .error = error};
    int code = 0;
    job.gif = DGifOpen(&job, on_read, &code);
    if (!job.gif)
        return fail(&job, code);
    enum dvit_status status = decode(&job);
    DGifCloseFile(job.gif, &code);
    free(job.row);
    return status;
}
