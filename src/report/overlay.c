/* Pictures of what each stage kept: one strip per image (original, then the stages with dropped
 * patches faded and hatched), and galleries of strips.
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
    MIN_COLUMN_PX = 150,          /* of a photograph's view, so that its label can be read */
    MIN_FONT_PX = 11,             /* also on narrow views, whose labels are shorter instead */
    MIN_HATCH_PX = 6,             /* between the lines on dropped patches … */
    HATCH_LINES = 64,             /* … or the short side of what patches cover by this */
};

/* An overlay, and where its patches are. */
struct scene {
    const struct dvit_overlay *overlay;
    struct dvit_region seen; /* the patch grid, in pixels of the overlay's image */
    bool photo;              /* shown by the rules of dvit_report_photo */
};

/* Sizes of one strip in pixels. */
struct strip {
    int tile_width, tile_height;
    struct dvit_region seen; /* the patch grid, in pixels of a tile */
    bool has_unseen;         /* a part of the tile lies outside of it */
    double font_px;
    int caption_height; /* 0 without a caption */
    int step_x, step_y; /* from one view to the next */
    int label_height;   /* below each view */
    int legend_height;  /* below all of them; 0: nothing to explain */
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
    if (!overlay->kept || !overlay->kept_count || !overlay->kept[stage])
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "overlay stage %d of %d: kept or kept_count is NULL", stage + 1,
                              overlay->stages);
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

static enum dvit_status check_grid(const struct scene *scene, struct dvit_error *error)
{
    const struct dvit_overlay *overlay = scene->overlay;
    const struct dvit_image *image = overlay->image;
    const struct dvit_region *seen = &scene->seen;
    int columns = overlay->grid_width, rows = overlay->grid_height;
    bool possible = columns > 0 && rows > 0 && columns <= DVIT_MAX_PATCHES / rows;
    if (!possible || (!scene->photo && (image->width % columns || image->height % rows)))
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "overlay grid %dx%d does not divide the image of %dx%d pixels",
                              columns, rows, image->width, image->height);
    if (!(isfinite(seen->x) && isfinite(seen->y) && isfinite(seen->width) &&
          isfinite(seen->height) && seen->width > 0 && seen->height > 0))
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "overlay region at (%g, %g) of %gx%g pixels, expected positive sides",
                              seen->x, seen->y, seen->width, seen->height);
    return DVIT_OK;
}

static enum dvit_status check_scene(const struct scene *scene, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_overlay *overlay = scene->overlay;
    DVIT_TRY(check_grid(scene, error));
    if (overlay->stages < 0 || overlay->stages > DVIT_MAX_STAGES)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "overlay has %d stages, expected 0 … %d",
                  overlay->stages, DVIT_MAX_STAGES);
    for (int stage = 0; stage < overlay->stages; stage++)
        DVIT_TRY(check_stage(overlay, stage, error));
done:
    return status;
}

static enum dvit_status check_image(const struct dvit_overlay *overlay, struct dvit_error *error)
{
    const struct dvit_image *image = overlay->image;
    if (!image || !image->pixels || image->width < 1 || image->height < 1)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "overlay without an image");
    return DVIT_OK;
}

static int longest_side(const struct dvit_image *image)
{
    return image->width > image->height ? image->width : image->height;
}

/* The rules of dvit_overlay_options.tile_px and of dvit_report_photo. */
static void measure_tile(const struct scene *scene, int tile_px, struct strip *strip)
{
    const struct dvit_image *image = scene->overlay->image;
    const struct dvit_region *seen = &scene->seen;
    int longest = longest_side(image);
    int scale = longest <= tile_px ? tile_px / longest : 1;
    int limit = scene->photo ? DVIT_MAX_PHOTO_PX : 2 * tile_px;
    strip->tile_width = image->width * scale;
    strip->tile_height = image->height * scale;
    if (longest > limit) {
        double shrink = (double)(scene->photo ? limit : tile_px) / longest;
        strip->tile_width = (int)fmax(1, round(image->width * shrink));
        strip->tile_height = (int)fmax(1, round(image->height * shrink));
    }
    double x_scale = (double)strip->tile_width / image->width;
    double y_scale = (double)strip->tile_height / image->height;
    strip->seen = (struct dvit_region){seen->x * x_scale, seen->y * y_scale, seen->width * x_scale,
                                       seen->height * y_scale};
    strip->has_unseen = strip->seen.x > 0.5 || strip->seen.y > 0.5 ||
                        strip->seen.x + strip->seen.width < strip->tile_width - 0.5 ||
                        strip->seen.y + strip->seen.height < strip->tile_height - 0.5;
}

static struct strip measure_strip(const struct scene *scene,
                                  const struct dvit_overlay_options *options)
{
    struct strip strip = {0};
    const struct dvit_overlay *overlay = scene->overlay;
    int steps = overlay->stages;
    measure_tile(scene, options->tile_px, &strip);
    int column = strip.tile_width;
    if (scene->photo && column < MIN_COLUMN_PX)
        column = MIN_COLUMN_PX;
    strip.font_px = fmin(fmax(column / 17.0, MIN_FONT_PX), 26);
    strip.caption_height = overlay->caption ? (int)ceil(2.0 * strip.font_px) : 0;
    strip.label_height = (int)ceil(1.8 * strip.font_px);
    strip.legend_height = scene->photo && (strip.has_unseen || steps) ? strip.label_height : 0;
    if (scene->photo && strip.tile_width > 2 * strip.tile_height)
        strip.step_y = strip.tile_height + strip.label_height + GAP_PX;
    else
        strip.step_x = column + GAP_PX;
    strip.width = column + steps * strip.step_x;
    if (scene->photo && strip.width < 36 * strip.font_px) /* the legend's length */
        strip.width = (int)(36 * strip.font_px);
    strip.height = strip.caption_height + strip.tile_height + strip.label_height +
                   steps * strip.step_y + strip.legend_height;
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
    for (size_t shown_bytes; *text && length < MAX_LABEL_BYTES; length += shown_bytes) {
        char shown[DVIT_UTF8_SHOWN];
        text += dvit_utf8_show(text, shown, &shown_bytes);
        memcpy(line + length, shown, shown_bytes);
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

/* Pixel of a tile of `side` pixels where patch column or row `index` of `count` begins, in a grid
 * of `length` pixels from `start`. */
static int patch_edge(double start, double length, int side, int index, int count)
{
    return (int)fmin(fmax(floor(start + length * index / count + 1e-6), 0), side);
}

static int column_edge(const struct strip *strip, int index, int columns)
{
    return patch_edge(strip->seen.x, strip->seen.width, strip->tile_width, index, columns);
}

static int row_edge(const struct strip *strip, int index, int rows)
{
    return patch_edge(strip->seen.y, strip->seen.height, strip->tile_height, index, rows);
}

static void draw_grid(struct dvit_canvas *canvas, int x, int y, const struct strip *strip,
                      int columns, int rows)
{
    int left = column_edge(strip, 0, columns), right = column_edge(strip, columns, columns);
    int top = row_edge(strip, 0, rows), bottom = row_edge(strip, rows, rows);
    if (strip->seen.width / columns < MIN_GRIDDED_PATCH_PX ||
        strip->seen.height / rows < MIN_GRIDDED_PATCH_PX)
        return;
    for (int i = 1; i < columns; i++) {
        int at = column_edge(strip, i, columns);
        if (at > left && at < right)
            dvit_canvas_rectangle(canvas, x + at, y + top, 1, bottom - top, DVIT_COLOUR_GRID, 0, 0);
    }
    for (int i = 1; i < rows; i++) {
        int at = row_edge(strip, i, rows);
        if (at > top && at < bottom)
            dvit_canvas_rectangle(canvas, x + left, y + at, right - left, 1, DVIT_COLOUR_GRID, 0,
                                  0);
    }
}

/* Greys what no patch covers, and frames what patches do. */
static void mark_unseen(struct dvit_canvas *canvas, const struct strip *strip, int x, int y)
{
    int width = strip->tile_width, height = strip->tile_height;
    int left = column_edge(strip, 0, 1), right = column_edge(strip, 1, 1);
    int top = row_edge(strip, 0, 1), bottom = row_edge(strip, 1, 1);
    const int boxes[4][4] = {{0, 0, width, top},
                             {0, bottom, width, height - bottom},
                             {0, top, left, bottom - top},
                             {right, top, width - right, bottom - top}};
    for (int i = 0; i < 4; i++)
        if (boxes[i][2] > 0 && boxes[i][3] > 0)
            dvit_canvas_rectangle(canvas, x + boxes[i][0], y + boxes[i][1], boxes[i][2],
                                  boxes[i][3], DVIT_COLOUR_UNSEEN, 0, 0);
    dvit_canvas_rectangle(canvas, x + left - 0.5, y + top - 0.5, right - left + 1, bottom - top + 1,
                          0, DVIT_COLOUR_FRAME, 1);
}

static void draw_view(struct dvit_canvas *canvas, const struct dvit_overlay *overlay,
                      const struct strip *strip, int x, int y)
{
    bool reduced = strip->tile_width < overlay->image->width;
    dvit_canvas_image(canvas, overlay->image, x, y, strip->tile_width, strip->tile_height, reduced);
    if (strip->has_unseen)
        mark_unseen(canvas, strip, x, y);
    dvit_canvas_rectangle(canvas, x - 0.5, y - 0.5, strip->tile_width + 1, strip->tile_height + 1,
                          0, DVIT_COLOUR_OUTLINE, 1);
}

/* Fades and hatches what the stage dropped; its indices are ascending, so one cursor walks beside
 * the grid. Fading alone would show a white patch as it is. */
static void fade_dropped(struct dvit_canvas *canvas, const struct dvit_overlay *overlay, int stage,
                         const struct strip *strip, int x, int y, double fade)
{
    uint32_t veil = (DVIT_COLOUR_PAPER & 0xffffff00u) | (uint32_t)lround(255 * fade);
    double spacing = floor(fmin(strip->seen.width, strip->seen.height) / HATCH_LINES);
    spacing = fmax(spacing, MIN_HATCH_PX);
    int columns = overlay->grid_width, rows = overlay->grid_height, next = 0;
    for (int index = 0; index < columns * rows; index++) {
        if (next < overlay->kept_count[stage] && overlay->kept[stage][next] == index) {
            next++;
            continue;
        }
        int left = column_edge(strip, index % columns, columns);
        int width = column_edge(strip, index % columns + 1, columns) - left;
        int top = row_edge(strip, index / columns, rows);
        int height = row_edge(strip, index / columns + 1, rows) - top;
        if (width <= 0 || height <= 0 || fade <= 0)
            continue;
        dvit_canvas_rectangle(canvas, x + left, y + top, width, height, veil, 0, 0);
        dvit_canvas_hatch(canvas, x + left, y + top, width, height, DVIT_COLOUR_HATCH, spacing,
                          fmax(1, spacing / 7));
    }
}

/* What stands below the original. */
static void draw_note(struct dvit_canvas *canvas, const struct scene *scene,
                      const struct strip *strip, double x, double baseline)
{
    char sizes[128], line[MAX_LABEL_BYTES + 140];
    const struct dvit_image *image = scene->overlay->image;
    const char *note = scene->overlay->note;
    int used = snprintf(sizes, sizeof sizes, "%d × %d", image->width, image->height);
    if (strip->tile_width < image->width || strip->tile_height < image->height)
        snprintf(sizes + used, sizeof sizes - (size_t)used, ", shown at %d × %d", strip->tile_width,
                 strip->tile_height);
    if (note && !scene->photo)
        snprintf(line, sizeof line, "%.*s", MAX_LABEL_BYTES, note);
    else
        snprintf(line, sizeof line, "%s · %.*s", sizes, MAX_LABEL_BYTES, note ? note : "input");
    int width = strip->step_x ? strip->step_x - GAP_PX : strip->width;
    draw_fitting(canvas, x, baseline, width, strip->font_px, DVIT_COLOUR_MUTED, false, line);
}

static void draw_strip(struct dvit_canvas *canvas, const struct scene *scene,
                       const struct dvit_overlay_options *options, const struct strip *strip, int x,
                       int y)
{
    char label[96];
    const struct dvit_overlay *overlay = scene->overlay;
    int patches = overlay->grid_width * overlay->grid_height;
    int left = x, width = strip->step_x ? strip->step_x - GAP_PX : strip->width;
    if (overlay->caption)
        draw_fitting(canvas, x, y + 1.15 * strip->font_px, strip->width, 1.25 * strip->font_px,
                     DVIT_COLOUR_INK, true, overlay->caption);
    y += strip->caption_height;
    double below = strip->tile_height + 1.4 * strip->font_px;
    draw_view(canvas, overlay, strip, x, y);
    draw_note(canvas, scene, strip, x, y + below);
    for (int stage = 0; stage < overlay->stages; stage++) {
        x += strip->step_x;
        y += strip->step_y;
        draw_view(canvas, overlay, strip, x, y);
        fade_dropped(canvas, overlay, stage, strip, x, y, options->fade);
        if (options->grid)
            draw_grid(canvas, x, y, strip, overlay->grid_width, overlay->grid_height);
        int kept = overlay->kept_count[stage];
        dvit_decimal_format(label, sizeof label, "stage %d · %d of %d (%.0f %%)", stage + 1, kept,
                            patches, 100.0 * kept / patches);
        if (dvit_canvas_text_width(canvas, strip->font_px, false, label) > width)
            dvit_decimal_format(label, sizeof label, "%d/%d (%.0f %%)", kept, patches,
                                100.0 * kept / patches);
        draw_fitting(canvas, x, y + below, width, strip->font_px, DVIT_COLOUR_MUTED, false, label);
    }
    if (strip->legend_height)
        draw_fitting(canvas, left, y + below + strip->label_height, strip->width, strip->font_px,
                     DVIT_COLOUR_MUTED, false,
                     !strip->has_unseen ? "hatched: dropped"
                     : overlay->stages  ? "hatched: dropped · grey: outside the crop, not seen"
                                        : "grey: outside the crop, not seen");
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

static enum dvit_status measure_gallery(struct gallery *gallery, const struct scene *scenes,
                                        int count, const struct dvit_overlay_options *options,
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
        gallery->strips[i] = measure_strip(&scenes[i], options);
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

static enum dvit_status draw_gallery(struct dvit_image *out, const struct scene *scenes, int count,
                                     const struct dvit_overlay_options *options,
                                     struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct gallery gallery = {0};
    struct dvit_canvas *canvas = NULL;
    if (count < 1)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "gallery of %d overlays, expected at least 1", count);
    DVIT_TRY(check_options(options, error));
    for (int i = 0; i < count; i++)
        DVIT_TRY(check_scene(&scenes[i], error));
    DVIT_TRY(measure_gallery(&gallery, scenes, count, options, error));
    DVIT_TRY(dvit_canvas_create(&canvas, (int)gallery.width, (int)gallery.height, error));
    dvit_canvas_fill(canvas, DVIT_COLOUR_PAPER);
    if (options->title)
        draw_fitting(canvas, MARGIN_PX, MARGIN_PX + gallery.title_px,
                     (double)gallery.width - 2 * MARGIN_PX, gallery.title_px, DVIT_COLOUR_INK, true,
                     options->title);
    for (int i = 0; i < count; i++)
        draw_strip(canvas, &scenes[i], options, &gallery.strips[i],
                   gallery.column_x[i % options->columns], gallery.row_y[i / options->columns]);
    DVIT_TRY(dvit_canvas_snapshot(canvas, out, error));
done:
    dvit_canvas_free(canvas);
    gallery_free(&gallery);
    return status;
}

enum dvit_status dvit_report_gallery(struct dvit_image *out, const struct dvit_overlay *overlays,
                                     int count, const struct dvit_overlay_options *options,
                                     struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, overlays);
    enum dvit_status status = DVIT_OK;
    struct dvit_overlay_options defaults = dvit_overlay_options_default();
    struct scene *scenes = NULL;
    scenes = calloc(count > 0 ? (size_t)count : 1, sizeof *scenes);
    if (!scenes)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "gallery of %d overlays: out of memory", count);
    for (int i = 0; i < count; i++) {
        const struct dvit_image *image = overlays[i].image;
        DVIT_TRY(check_image(&overlays[i], error));
        scenes[i] = (struct scene){&overlays[i], {0, 0, image->width, image->height}, false};
    }
    DVIT_TRY(draw_gallery(out, scenes, count, options ? options : &defaults, error));
done:
    free(scenes);
    return status;
}

static struct dvit_overlay_options single_options(const struct dvit_overlay_options *options)
{
    struct dvit_overlay_options single = options ? *options : dvit_overlay_options_default();
    single.title = NULL;
    return single;
}

enum dvit_status dvit_report_overlay(struct dvit_image *out, const struct dvit_overlay *overlay,
                                     const struct dvit_overlay_options *options,
                                     struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, overlay);
    struct dvit_overlay_options single = single_options(options);
    return dvit_report_gallery(out, overlay, 1, &single, error);
}

enum dvit_status dvit_report_photo(struct dvit_image *out, const struct dvit_overlay *overlay,
                                   const struct dvit_region *seen,
                                   const struct dvit_overlay_options *options,
                                   struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, overlay, seen);
    enum dvit_status status = DVIT_OK;
    struct dvit_overlay_options single = single_options(options);
    struct scene scene = {overlay, *seen, true};
    DVIT_TRY(check_image(overlay, error));
    DVIT_TRY(draw_gallery(out, &scene, 1, &single, error));
done:
    return status;
}
