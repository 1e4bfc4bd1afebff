/* The drawing surface of draw.h, over cairo. Knows nothing of reports; cairo is used nowhere else.
 *
 * The surface is opaque RGB, so a snapshot needs no division by alpha. Text goes through cairo's
 * simple font interface, unhinted, so that a picture looks the same at every place on the page. */
#include "image/draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cairo.h>

struct dvit_canvas {
    cairo_surface_t *surface;
    cairo_t *cairo;
    bool out_of_memory; /* something of ours, not cairo's, could not be allocated */
};

static void set_colour(cairo_t *cairo, uint32_t colour)
{
    cairo_set_source_rgba(cairo, (colour >> 24 & 255) / 255.0, (colour >> 16 & 255) / 255.0,
                          (colour >> 8 & 255) / 255.0, (colour & 255) / 255.0);
}

static enum dvit_status cairo_failure(cairo_status_t code, struct dvit_error *error)
{
    return dvit_error_set(
        error, code == CAIRO_STATUS_NO_MEMORY ? DVIT_ERROR_MEMORY : DVIT_ERROR_UNSUPPORTED,
        "cannot draw: %s", cairo_status_to_string(code));
}

enum dvit_status dvit_canvas_create(struct dvit_canvas **out, int width, int height,
                                    struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_canvas *canvas = NULL;
    *out = NULL;
    if (width < 1 || height < 1 || width > DVIT_MAX_CANVAS_SIDE || height > DVIT_MAX_CANVAS_SIDE)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "picture of %dx%d pixels, sides must be in 1 to %d",
                  width, height, DVIT_MAX_CANVAS_SIDE);
    canvas = calloc(1, sizeof *canvas);
    if (!canvas)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "out of memory for a picture");
    canvas->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
    canvas->cairo = cairo_create(canvas->surface);
    cairo_font_options_t *options = cairo_font_options_create();
    cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY);
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
    cairo_set_font_options(canvas->cairo, options);
    cairo_font_options_destroy(options);
    cairo_set_line_join(canvas->cairo, CAIRO_LINE_JOIN_ROUND);
    dvit_canvas_fill(canvas, 0xffffffff);
    if (cairo_status(canvas->cairo) != CAIRO_STATUS_SUCCESS) {
        status = cairo_failure(cairo_status(canvas->cairo), error);
        goto done;
    }
    *out = canvas;
    canvas = NULL;
done:
    dvit_canvas_free(canvas);
    return status;
}

void dvit_canvas_free(struct dvit_canvas *canvas)
{
    if (!canvas)
        return;
    cairo_destroy(canvas->cairo);
    cairo_surface_destroy(canvas->surface);
    free(canvas);
}

void dvit_canvas_fill(struct dvit_canvas *canvas, uint32_t colour)
{
    set_colour(canvas->cairo, colour);
    cairo_paint(canvas->cairo);
}

void dvit_canvas_rectangle(struct dvit_canvas *canvas, double x, double y, double width,
                           double height, uint32_t fill, uint32_t stroke, double stroke_width)
{
    cairo_t *cairo = canvas->cairo;
    cairo_new_path(cairo);
    cairo_rectangle(cairo, x, y, width, height);
    set_colour(cairo, fill);
    cairo_fill_preserve(cairo);
    if (stroke_width > 0) {
        set_colour(cairo, stroke);
        cairo_set_line_width(cairo, stroke_width);
        cairo_stroke_preserve(cairo);
    }
    cairo_new_path(cairo);
}

void dvit_canvas_hatch(struct dvit_canvas *canvas, double x, double y, double width, double height,
                       uint32_t colour, double spacing, double line_width)
{
    cairo_t *cairo = canvas->cairo;
    double bottom = y + height;
    cairo_save(cairo);
    cairo_new_path(cairo);
    cairo_rectangle(cairo, x, y, width, height);
    cairo_clip(cairo);
    double first = floor((x + y - line_width) / spacing);
    double last = ceil((x + width + bottom + line_width) / spacing);
    for (double i = first; i <= last; i++) { /* the line where x + y is i · spacing */
        cairo_move_to(cairo, i * spacing - (y - 1), y - 1);
        cairo_line_to(cairo, i * spacing - (bottom + 1), bottom + 1);
    }
    set_colour(cairo, colour);
    cairo_set_line_width(cairo, line_width);
    cairo_stroke(cairo);
    cairo_restore(cairo);
}

void dvit_canvas_line(struct dvit_canvas *canvas, double x0, double y0, double x1, double y1,
                      uint32_t colour, double line_width)
{
    struct dvit_point points[2] = {{x0, y0}, {x1, y1}};
    dvit_canvas_polyline(canvas, points, 2, colour, line_width);
}

void dvit_canvas_polyline(struct dvit_canvas *canvas, const struct dvit_point *points, size_t count,
                          uint32_t colour, double line_width)
{
    cairo_t *cairo = canvas->cairo;
    cairo_new_path(cairo);
    bool interrupted = true;
    for (size_t i = 0; i < count; i++) {
        bool finite = isfinite(points[i].x) && isfinite(points[i].y);
        if (finite && interrupted)
            cairo_move_to(cairo, points[i].x, points[i].y);
        else if (finite)
            cairo_line_to(cairo, points[i].x, points[i].y);
        interrupted = !finite;
    }
    set_colour(cairo, colour);
    cairo_set_line_width(cairo, line_width);
    cairo_stroke(cairo);
}

/* Bytes of the valid UTF-8 character at `text`, 0 if there is none. */
static size_t character_bytes(const unsigned char *text)
{
    unsigned first = text[0];
    size_t length = first < 0x80                    ? 1
                    : first >= 0xc2 && first < 0xe0 ? 2
                    : first >= 0xe0 && first < 0xf0 ? 3
                    : first >= 0xf0 && first < 0xf5 ? 4
                                                    : 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80) /* also stops at the terminator */
            return 0;
    if ((first == 0xe0 && text[1] < 0xa0) || (first == 0xf0 && text[1] < 0x90) ||
        (first == 0xed && text[1] >= 0xa0) || (first == 0xf4 && text[1] >= 0x90))
        return 0; /* overlong, a surrogate, or beyond Unicode */
    return length;
}

/* A copy that cairo accepts: bad bytes become U+FFFD, control characters spaces. NULL: no memory.
 */
static char *clean_text(const char *text)
{
    char *clean = malloc(3 * strlen(text) + 1);
    if (!clean)
        return NULL;
    char *to = clean;
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        size_t length = character_bytes(p);
        if (length == 0) {
            memcpy(to, "\xef\xbf\xbd", 3);
            to += 3;
            p++;
        } else if (*p < 0x20 || *p == 0x7f) {
            *to++ = ' ';
            p++;
        } else {
            memcpy(to, p, length);
            to += length;
            p += length;
        }
    }
    *to = 0;
    return clean;
}

static double select_font(struct dvit_canvas *canvas, double size_px, bool bold, const char *clean)
{
    cairo_text_extents_t extents;
    cairo_select_font_face(canvas->cairo, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(canvas->cairo, size_px);
    cairo_text_extents(canvas->cairo, clean, &extents);
    return extents.x_advance;
}

void dvit_canvas_text(struct dvit_canvas *canvas, double x, double y, double size_px,
                      uint32_t colour, enum dvit_anchor anchor, bool bold, const char *text)
{
    char *clean = clean_text(text);
    if (!clean) {
        canvas->out_of_memory = true;
        return;
    }
    double width = select_font(canvas, size_px, bold, clean);
    if (anchor == DVIT_ANCHOR_CENTRE)
        x -= width / 2;
    else if (anchor == DVIT_ANCHOR_RIGHT)
        x -= width;
    set_colour(canvas->cairo, colour);
    cairo_move_to(canvas->cairo, x, y);
    cairo_show_text(canvas->cairo, clean);
    cairo_new_path(canvas->cairo);
    free(clean);
}

double dvit_canvas_text_width(struct dvit_canvas *canvas, double size_px, bool bold,
                              const char *text)
{
    char *clean = clean_text(text);
    if (!clean) {
        canvas->out_of_memory = true;
        return 0;
    }
    double width = select_font(canvas, size_px, bold, clean);
    free(clean);
    return width;
}

/* cairo keeps a pixel as a native 32-bit word, 0x00RRGGBB. */
static cairo_surface_t *surface_from_image(const struct dvit_image *image)
{
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, image->width, image->height);
    if (cairo_surface_status(surface) != CAIRO_STATUS_SUCCESS)
        return surface;
    cairo_surface_flush(surface);
    unsigned char *data = cairo_image_surface_get_data(surface);
    size_t stride = (size_t)cairo_image_surface_get_stride(surface);
    const unsigned char *rgb = image->pixels;
    for (int y = 0; y < image->height; y++)
        for (int x = 0; x < image->width; x++, rgb += 3) {
            uint32_t word = (uint32_t)rgb[0] << 16 | (uint32_t)rgb[1] << 8 | rgb[2];
            memcpy(data + (size_t)y * stride + 4 * (size_t)x, &word, sizeof word);
        }
    cairo_surface_mark_dirty(surface);
    return surface;
}

void dvit_canvas_image(struct dvit_canvas *canvas, const struct dvit_image *image, double x,
                       double y, double width, double height, bool smooth)
{
    cairo_t *cairo = canvas->cairo;
    if (!(width > 0) || !(height > 0))
        return;
    cairo_surface_t *surface = surface_from_image(image);
    cairo_save(cairo);
    cairo_new_path(cairo);
    cairo_rectangle(cairo, x, y, width, height);
    cairo_clip(cairo);
    cairo_translate(cairo, x, y);
    cairo_scale(cairo, width / image->width, height / image->height);
    cairo_set_source_surface(cairo, surface, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cairo),
                             smooth ? CAIRO_FILTER_GOOD : CAIRO_FILTER_NEAREST);
    cairo_pattern_set_extend(cairo_get_source(cairo), CAIRO_EXTEND_PAD); /* no dark edge */
    cairo_paint(cairo);
    cairo_restore(cairo);
    cairo_surface_destroy(surface);
}

enum dvit_status dvit_canvas_snapshot(struct dvit_canvas *canvas, struct dvit_image *out,
                                      struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_image image;
    *out = (struct dvit_image){0};
    if (canvas->out_of_memory)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "out of memory for a picture's text");
    if (cairo_status(canvas->cairo) != CAIRO_STATUS_SUCCESS) {
        status = cairo_failure(cairo_status(canvas->cairo), error);
        goto done;
    }
    cairo_surface_flush(canvas->surface);
    DVIT_TRY(dvit_image_create(&image, cairo_image_surface_get_width(canvas->surface),
                               cairo_image_surface_get_height(canvas->surface), error));
    const unsigned char *data = cairo_image_surface_get_data(canvas->surface);
    size_t stride = (size_t)cairo_image_surface_get_stride(canvas->surface);
    unsigned char *rgb = image.pixels;
    for (int y = 0; y < image.height; y++)
        for (int x = 0; x < image.width; x++, rgb += 3) {
            uint32_t word;
            memcpy(&word, data + (size_t)y * stride + 4 * (size_t)x, sizeof word);
            rgb[0] = (unsigned char)(word >> 16);
            rgb[1] = (unsigned char)(word >> 8);
            rgb[2] = (unsigned char)word;
        }
    *out = image;
done:
    return status;
}
