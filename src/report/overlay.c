/* Pictures of what each stage kept: one strip per image (original, then the stages with dropped
 * patches faded), and galleries of strips.
 *
 * Measures everything first, then draws once; edges of patches lie on whole pixels, so that a kept
 * patch shows the image's own pixels. Does not know models or sessions: the caller brings indices.
 */
#include "dvit/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "image/draw.h"
#include "report/markup.h"
#include "report/palette.h"

enum {
    GAP_PX = 10,                  /* between the views of a strip */
    MARGIN_PX = 16,               /* around a picture, and between strips */
    MIN_GRIDDED_PATCH_PX = 5,     /* below it a grid would be all one sees */
    MAX_PICTURE_PIXELS = 1 << 27, /* 512 MiB of canvas */
    MAX_LABEL_BYTES = 400,        /* nothing longer fits a picture */
};

/* Sizes of one strip in pixels. */
struct strip {
    int tile_width, tile_height;
    double font_px;
    int caption_height; /* 0 without a caption */
    int label_height;
    int width, height;
};

struct dvit_overlay_options dvit_overlay_options_default(void)
{
    return (struct dvit_overlay_options){.tile_px = 224, .fade = 0.78, .grid = true, .columns = 1};
}

static enum dvit_status check_options(const struct dvit_overlay_options *options,
                                      struct dvit_error *error)
{
    if (options->tile_px < 32 || options->tile_px > 2048)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "overlay tile_px is %d, expected 32 … 2048", options->tile_px);
    if (!(options->fade >= 0 && options->fade <= 1))
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "overlay fade is %g, expected 0 … 1",
                              options->fade);
    if (options->columns < 1 || options->columns > 64)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "gallery columns are %d, expected 1 … 64",
                              options->columns);
    return DVIT_OK;
}

static enum dvit_status check_stage(const struct dvit_overlay *overlay, int stage,
                                    struct dvit_error *error)
{
    int patches = overlay->grid_width * overlay->grid_height;
    int count = overlay->kept_count[stage];
    if (count < 0 || count > patches)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "overlay stage %d keeps %d patches of %d",
                              stage + 1, count, patches);
    for (int i = 0; i < count; i++) {
        int index = overlay->kept[stage][i];
        int previous = i ? overlay->kept[stage][i - 1] : -1;
        if (index <= previous || index >= patches)
            return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                                  "overlay stage %d: kept index %d after %d, expected ascending "
                                  "indices below %d",
                                  stage + 1, index, previous, patches);
    }
    return DVIT_OK;
}

static enum dvit_status check_overlay(const struct dvit_overlay *overlay, struct dvit_error *error)
{
    const struct dvit_image *image = overlay->image;
    if (!image || !image->pixels || image->width < 1 || image->height < 1)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "overlay without an image");
    int columns = overlay->grid_width, rows = overlay->grid_height;
    if (columns < 1 || rows < 1 || image->width % columns || image->height % rows ||
        columns > DVIT_MAX_PATCHES / rows)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "overlay grid %dx%d does not divide the image of %dx%d pixels",
                              columns, rows, image->width, image->height);
    if (overlay->stages < 0 || overlay->stages > DVIT_MAX_STAGES)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "overlay has %d stages, expected 0 … %d",
                              overlay->stages, DVIT_MAX_STAGES);
    for (int stage = 0; stage < overlay->stages; stage++) {
        enum dvit_status status = check_stage(overlay, stage, error);
        if (status)
            return status;
    }
    return DVIT_OK;
}

/* The rule of dvit_overlay_options.tile_px. */
static void measure_tile(const struct dvit_image *image, int tile_px, struct strip *strip)
{
    int longest = image->width > image->height ? image->width : image->height;
    int scale = longest <= tile_px ? tile_px / longest : 1;
    strip->tile_width = image->width * scale;
    strip->tile_height = image->height * scale;
    if (longest > 2 * tile_px) {
        double shrink = (double)tile_px / longest;
        strip->tile_width = (int)fmax(1, round(image->width * shrink));
        strip->tile_height = (int)fmax(1, round(image->height * shrink));
    }
}

static struct strip measure_strip(const struct dvit_overlay *overlay,
                                  const struct dvit_overlay_options *options)
{
    struct strip strip = {0};
    int views = overlay->stages + 1;
    measure_tile(overlay->image, options->tile_px, &strip);
    strip.font_px = fmin(fmax(strip.tile_width / 17.0, 9), 26);
    strip.caption_height = overlay->caption ? (int)ceil(2.0 * strip.font_px) : 0;
    strip.label_height = (int)ceil(1.8 * strip.font_px);
    strip.width = views * strip.tile_width + (views - 1) * GAP_PX;
    strip.height = strip.caption_height + strip.tile_height + strip.label_height;
    return strip;
}

/* ---- drawing ---- */

/* Removes the last character of `text`, whose length is *length. */
static void drop_last(char *text, size_t *length)
{
    while (*length && ((unsigned char)text[*length - 1] & 0xc0) == 0x80)
        --*length;
    if (*length)
        --*length;
    text[*length] = 0;
}

/* One line that fits `width`: made up to a quarter smaller, then cut with "…". */
static void draw_fitting(struct dvit_canvas *canvas, double x, double y, double width,
                         double size_px, uint32_t colour, bool bold, const char *text)
{
    char line[MAX_LABEL_BYTES + 8];
    size_t length = 0;
    unsigned long code;
    for (size_t bytes; *text && length < MAX_LABEL_BYTES; text += bytes, length += bytes) {
        bytes = dvit_utf8_decode(text, &code);
        memcpy(line + length, text, bytes);
    }
    bool cut = *text != 0;
    line[length] = 0;
    double wanted = dvit_canvas_text_width(canvas, size_px, bold, line);
    if (wanted > width)
        size_px *= fmax(0.75, width / wanted);
    while (length && (cut ? dvit_canvas_text_width(canvas, size_px, bold, "…") : 0) +
                             dvit_canvas_text_width(canvas, size_px, bold, line) >
                         width + 0.5) {
        cut = true;
        drop_last(line, &length);
    }
    if (cut)
        memcpy(line + length, "…", sizeof "…");
    dvit_canvas_text(canvas, x, y, size_px, colour, DVIT_ANCHOR_LEFT, bold, line);
}

/* Pixel where patch column or row `index` of `count` begins in a tile side. */
static int patch_edge(int side, int index, int count)
{
    return (int)((long long)side * index / count);
}

static void draw_grid(struct dvit_canvas *canvas, int x, int y, const struct strip *strip,
                      int columns, int rows)
{
    if (strip->tile_width / columns < MIN_GRIDDED_PATCH_PX ||
        strip->tile_height / rows < MIN_GRIDDED_PATCH_PX)
        return;
    for (int i = 1; i < columns; i++)
        dvit_canvas_rectangle(canvas, x + patch_edge(strip->tile_width, i, columns), y, 1,
                              strip->tile_height, DVIT_COLOUR_GRID, 0, 0);
    for (int i = 1; i < rows; i++)
        dvit_canvas_rectangle(canvas, x, y + patch_edge(strip->tile_height, i, rows),
                              strip->tile_width, 1, DVIT_COLOUR_GRID, 0, 0);
}

static void draw_view(struct dvit_canvas *canvas, const struct dvit_overlay *overlay,
                      const struct strip *strip, int x, int y)
{
    bool reduced = strip->tile_width < overlay->image->width;
    dvit_canvas_image(canvas, overlay->image, x, y, strip->tile_width, strip->tile_height, reduced);
    dvit_canvas_rectangle(canvas, x - 0.5, y - 0.5, strip->tile_width + 1, strip->tile_height + 1,
                          0, DVIT_COLOUR_OUTLINE, 1);
}

/* Fades what the stage dropped; its indices are ascending, so one cursor walks beside the grid. */
static void fade_dropped(struct dvit_canvas *canvas, const struct dvit_overlay *overlay, int stage,
                         const struct strip *strip, int x, int y, double fade)
{
    uint32_t veil = (DVIT_COLOUR_PAPER & 0xffffff00u) | (uint32_t)lround(255 * fade);
    int columns = overlay->grid_width, rows = overlay->grid_height, next = 0;
    for (int index = 0; index < columns * rows; index++) {
        if (next < overlay->kept_count[stage] && overlay->kept[stage][next] == index) {
            next++;
            continue;
        }
        int left = patch_edge(strip->tile_width, index % columns, columns);
        int right = patch_edge(strip->tile_width, index % columns + 1, columns);
        int top = patch_edge(strip->tile_height, index / columns, rows);
        int bottom = patch_edge(strip->tile_height, index / columns + 1, rows);
        dvit_canvas_rectangle(canvas, x + left, y + top, right - left, bottom - top, veil, 0, 0);
    }
}

static void draw_strip(struct dvit_canvas *canvas, const struct dvit_overlay *overlay,
                       const struct dvit_overlay_options *options, const struct strip *strip, int x,
                       int y)
{
    char label[96];
    int patches = overlay->grid_width * overlay->grid_height;
    if (overlay->caption)
        draw_fitting(canvas, x, y + 1.15 * strip->font_px, strip->width, 1.25 * strip->font_px,
                     DVIT_COLOUR_INK, true, overlay->caption);
    y += strip->caption_height;
    double baseline = y + strip->tile_height + 1.4 * strip->font_px;
    draw_view(canvas, overlay, strip, x, y);
    snprintf(label, sizeof label, "input · %d × %d", overlay->image->width, overlay->image->height);
    draw_fitting(canvas, x, baseline, strip->tile_width, strip->font_px, DVIT_COLOUR_MUTED, false,
                 overlay->note ? overlay->note : label);
    for (int stage = 0; stage < overlay->stages; stage++) {
        x += strip->tile_width + GAP_PX;
        draw_view(canvas, overlay, strip, x, y);
        fade_dropped(canvas, overlay, stage, strip, x, y, options->fade);
        if (options->grid)
            draw_grid(canvas, x, y, strip, overlay->grid_width, overlay->grid_height);
        int kept = overlay->kept_count[stage];
        dvit_decimal_format(label, sizeof label, "stage %d · %d of %d (%.0f %%)", stage + 1, kept,
                            patches, 100.0 * kept / patches);
        draw_fitting(canvas, x, baseline, strip->tile_width, strip->font_px, DVIT_COLOUR_MUTED,
                     false, label);
    }
}

/* ---- pictures ---- */

/* Where the strips of a gallery lie. */
struct gallery {
    struct strip *strips;  /* [count] owned */
    int *column_x, *row_y; /* [columns], [rows] owned */
    int title_height;
    double title_px;
    long long width, height;
};

static void gallery_free(struct gallery *gallery)
{
    free(gallery->strips);
    free(gallery->column_x);
    free(gallery->row_y);
}

static enum dvit_status measure_gallery(struct gallery *gallery,
                                        const struct dvit_overlay *overlays, int count,
                                        const struct dvit_overlay_options *options,
                                        struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    int columns = options->columns < count ? options->columns : count;
    int rows = (count + columns - 1) / columns;
    gallery->strips = calloc((size_t)count, sizeof *gallery->strips);
    gallery->column_x = calloc((size_t)columns, sizeof *gallery->column_x);
    gallery->row_y = calloc((size_t)rows, sizeof *gallery->row_y);
    if (!gallery->strips || !gallery->column_x || !gallery->row_y)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "gallery of %d overlays: out of memory", count);
    for (int i = 0; i < count; i++)
        gallery->strips[i] = measure_strip(&overlays[i], options);
    gallery->title_px = fmin(fmax(1.6 * gallery->strips[0].font_px, 14), 40);
    gallery->title_height = options->title ? (int)ceil(2.0 * gallery->title_px) : 0;
    gallery->width = MARGIN_PX;
    for (int column = 0; column < columns; column++) {
        int widest = 0;
        for (int i = column; i < count; i += columns)
            widest = gallery->strips[i].width > widest ? gallery->strips[i].width : widest;
        gallery->column_x[column] = (int)gallery->width;
        gallery->width += widest + MARGIN_PX * (column + 1 < columns ? 2 : 1);
    }
    gallery->height = MARGIN_PX + gallery->title_height;
    for (int row = 0; row < rows && gallery->height <= DVIT_MAX_CANVAS_SIDE; row++) {
        int tallest = 0;
        for (int i = row * columns; i < count && i < (row + 1) * columns; i++)
            tallest = gallery->strips[i].height > tallest ? gallery->strips[i].height : tallest;
        gallery->row_y[row] = (int)gallery->height;
        gallery->height += tallest + MARGIN_PX;
    }
    if (gallery->width > DVIT_MAX_CANVAS_SIDE || gallery->height > DVIT_MAX_CANVAS_SIDE ||
        gallery->width * gallery->height > MAX_PICTURE_PIXELS)
        DVIT_FAIL(
            error, DVIT_ERROR_LIMIT,
            "picture of %lldx%lld pixels or more, sides are at most %d and the area %d pixels: "
            "show fewer images or a smaller tile",
            gallery->width, gallery->height, DVIT_MAX_CANVAS_SIDE, MAX_PICTURE_PIXELS);
done:
    return status;
}

enum dvit_status dvit_report_gallery(struct dvit_image *out, const struct dvit_overlay *overlays,
                                     int count, const struct dvit_overlay_options *options,
                                     struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct gallery gallery = {0};
    struct dvit_canvas *canvas = NULL;
    struct dvit_overlay_options defaults = dvit_overlay_options_default();
    *out = (struct dvit_image){0};
    options = options ? options : &defaults;
    if (count < 1)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "gallery of %d overlays, expected at least 1", count);
    DVIT_TRY(check_options(options, error));
    for (int i = 0; i < count; i++)
        DVIT_TRY(check_overlay(&overlays[i], error));
    DVIT_TRY(measure_gallery(&gallery, overlays, count, options, error));
    DVIT_TRY(dvit_canvas_create(&canvas, (int)gallery.width, (int)gallery.height, error));
    dvit_canvas_fill(canvas, DVIT_COLOUR_PAPER);
    if (options->title)
        draw_fitting(canvas, MARGIN_PX, MARGIN_PX + gallery.title_px,
                     (double)gallery.width - 2 * MARGIN_PX, gallery.title_px, DVIT_COLOUR_INK, true,
                     options->title);
    for (int i = 0; i < count; i++)
        draw_strip(canvas, &overlays[i], options, &gallery.strips[i],
                   gallery.column_x[i % options->columns], gallery.row_y[i / options->columns]);
    DVIT_TRY(dvit_canvas_snapshot(canvas, out, error));
done:
    dvit_canvas_free(canvas);
    gallery_free(&gallery);
    return status;
}

enum dvit_status dvit_report_overlay(struct dvit_image *out, const struct dvit_overlay *overlay,
                                     const struct dvit_overlay_options *options,
                                     struct dvit_error *error)
{
    struct dvit_overlay_options single = options ? *options : dvit_overlay_options_default();
    single.title = NULL;
    return dvit_report_gallery(out, overlay, 1, &single, error);
}
