/* JPEG through libjpeg, with the settings that give Pillow's pixels: ISLOW DCT, fancy upsampling.
 * Four components are CMYK stored inverted, whatever the Adobe marker says. Only data that end
 * early are damage; libjpeg's other warnings and trailing bytes are accepted, as everywhere. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "image/decode.h"

struct jpeg_job {
    struct jpeg_decompress_struct codec;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr reader;
    struct jpeg_progress_mgr progress;
    jmp_buf escape; /* libjpeg's errors must not return */
    const struct dvit_decode_source *source;
    struct dvit_image *out;
    unsigned char *ink; /* [width][4] one stored CMYK row; NULL for RGB and grey */
    int orientation;
    enum dvit_status status;
    struct dvit_error *error;
};

static _Noreturn void on_error(j_common_ptr codec)
{
    struct jpeg_job *job = codec->client_data;
    char text[JMSG_LENGTH_MAX];
    codec->err->format_message(codec, text);
    enum dvit_status code =
        codec->err->msg_code == JERR_OUT_OF_MEMORY ? DVIT_ERROR_MEMORY : DVIT_ERROR_FORMAT;
    job->status = dvit_error_set(job->error, code, "damaged JPEG: %s", text);
    longjmp(job->escape, 1);
}

static void on_message(j_common_ptr codec, int level)
{
}

static void on_reader_start(j_decompress_ptr codec)
{
}

/* All data were given at the start, so asking for more is having reached the end. */
static boolean on_reader_empty(j_decompress_ptr codec)
{
    struct jpeg_job *job = codec->client_data;
    job->status = dvit_error_set(job->error, DVIT_ERROR_FORMAT,
                                 "JPEG data end early, after %zu bytes", job->source->size);
    longjmp(job->escape, 1);
}

static void on_reader_skip(j_decompress_ptr codec, long count)
{
    struct jpeg_source_mgr *reader = codec->src;
    if (count <= 0)
        return;
    if ((unsigned long)count > reader->bytes_in_buffer)
        on_reader_empty(codec);
    reader->next_input_byte += count;
    reader->bytes_in_buffer -= (size_t)count;
}

/* Every scan of a progressive file costs a pass over all coefficients, however short it is. */
static void on_progress(j_common_ptr codec)
{
    struct jpeg_job *job = codec->client_data;
    int limit = job->source->limits->max_scans;
    if (job->codec.input_scan_number <= limit)
        return;
    job->status = dvit_error_set(job->error, DVIT_ERROR_LIMIT,
                                 "JPEG has more scans than the limit of %d", limit);
    longjmp(job->escape, 1);
}

static void attach(struct jpeg_job *job)
{
    struct jpeg_decompress_struct *codec = &job->codec;
    codec->err = jpeg_std_error(&job->errors);
    codec->client_data = job;
    job->errors.error_exit = on_error;
    job->errors.emit_message = on_message;
    jpeg_create_decompress(codec);
    job->reader = (struct jpeg_source_mgr){
        .next_input_byte = job->source->data,
        .bytes_in_buffer = job->source->size,
        .init_source = on_reader_start,
        .fill_input_buffer = on_reader_empty,
        .skip_input_data = on_reader_skip,
        .resync_to_restart = jpeg_resync_to_restart,
        .term_source = on_reader_start,
    };
    codec->src = &job->reader;
    job->progress.progress_monitor = on_progress;
    codec->progress = &job->progress;
    jpeg_save_markers(codec, JPEG_APP0 + 1, 0xffff); /* EXIF */
}

static int find_orientation(const struct jpeg_decompress_struct *codec)
{
    static const char id[] = "Exif\0"; /* with its terminator: 6 bytes */
    for (jpeg_saved_marker_ptr m = codec->marker_list; m; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length > sizeof id &&
            memcmp(m->data, id, sizeof id) == 0)
            return dvit_exif_orientation(m->data + sizeof id, m->data_length - sizeof id);
    return 1;
}

/* a·b/255 rounded, as Pillow multiplies bytes. */
static unsigned char multiply(unsigned a, unsigned b)
{
    unsigned t = a * b + 128;
    return (unsigned char)((t + (t >> 8)) >> 8);
}

/* Stored values are 255 − ink, so each is already the light that its ink lets through. */
static void ink_to_rgb(unsigned char *rgb, const unsigned char *ink, int width)
{
    for (int x = 0; x < width; x++, rgb += 3, ink += 4)
        for (int c = 0; c < 3; c++)
            rgb[c] = multiply(ink[c], ink[3]);
}

static void read_rows(struct jpeg_job *job)
{
    struct jpeg_decompress_struct *codec = &job->codec;
    size_t row_bytes = 3 * (size_t)job->out->width;
    while (codec->output_scanline < codec->output_height) {
        unsigned char *rgb = job->out->pixels + codec->output_scanline * row_bytes;
        JSAMPROW row = job->ink ? job->ink : rgb;
        jpeg_read_scanlines(codec, &row, 1);
        if (job->ink)
            ink_to_rgb(rgb, job->ink, job->out->width);
    }
}

/* Blocks of 8×8 values in all components. */
static uint64_t count_blocks(const struct jpeg_decompress_struct *codec)
{
    uint64_t blocks = 0;
    for (int c = 0; c < codec->num_components; c++)
        blocks += (uint64_t)codec->comp_info[c].width_in_blocks *
                  (uint64_t)codec->comp_info[c].height_in_blocks;
    return blocks;
}

/* Huffman codes take at least a bit for each block. A file of several scans has all its
 * coefficients in memory until the last. */
static enum dvit_status check_memory(struct jpeg_job *job)
{
    enum { BLOCK_BYTES = 64 * sizeof(JCOEF) };
    struct jpeg_decompress_struct *codec = &job->codec;
    enum dvit_status status = DVIT_OK;
    uint64_t width = codec->image_width, height = codec->image_height;
    uint64_t blocks = count_blocks(codec);
    DVIT_TRY(dvit_decode_check(job->source->limits, width, height, job->error));
    if (!codec->arith_code)
        DVIT_TRY(dvit_decode_check_data(job->source, blocks / 8, width, height, job->error));
    if (jpeg_has_multiple_scans(codec))
        DVIT_TRY(dvit_decode_check_memory(
            job->source->limits, 3 * width * height + blocks * BLOCK_BYTES,
            codec->progressive_mode ? "a progressive JPEG" : "a JPEG of several scans", width,
            height, job->error));
done:
    return status;
}

static void decode(struct jpeg_job *job)
{
    struct jpeg_decompress_struct *codec = &job->codec;
    attach(job);
    jpeg_read_header(codec, TRUE);
    job->orientation = find_orientation(codec);
    int components = codec->num_components;
    if (components != 1 && components != 3 && components != 4) {
        job->status = dvit_error_set(job->error, DVIT_ERROR_UNSUPPORTED,
                                     "JPEG with %d components, expected 1, 3 or 4", components);
        return;
    }
    job->status = check_memory(job);
    if (job->status == DVIT_OK)
        job->status = dvit_decode_begin(job->out, job->source->limits, codec->image_width,
                                        codec->image_height, job->error);
    if (job->status != DVIT_OK)
        return;
    codec->dct_method = JDCT_ISLOW;
    codec->do_fancy_upsampling = TRUE;
    codec->out_color_space = components == 4 ? JCS_CMYK : JCS_RGB;
    if (components == 4) {
        job->ink = malloc(4 * (size_t)codec->image_width);
        if (!job->ink) {
            job->status = dvit_error_set(job->error, DVIT_ERROR_MEMORY,
                                         "out of memory for a row of a CMYK JPEG");
            return;
        }
    }
    jpeg_start_decompress(codec);
    read_rows(job);
    jpeg_finish_decompress(codec); /* reads on to the end marker */
}

/* In a function of its own, so that no local variable lives across the jump. */
static void decode_guarded(struct jpeg_job *job)
{
    if (setjmp(job->escape) == 0)
        decode(job);
}

enum dvit_status dvit_decode_jpeg(struct dvit_image *out, const struct dvit_decode_source *source,
                                  int *orientation, struct dvit_error *error)
{
    struct jpeg_job job = {.source = source, .out = out, .orientation = 1, .error = error};
    decode_guarded(&job);
    jpeg_destroy_decompress(&job.codec);
    free(job.ink);
    *orientation = job.orientation;
    return job.status;
}
