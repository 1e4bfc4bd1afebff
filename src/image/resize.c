/* Antialiased resize, bit-exact with Pillow: 8 bits between the passes, a pass that changes nothing
 * skipped. The horizontal pass comes first; in Pillow 13's order the vertical one comes first for
 * tall inputs (down_first). The weights are made in resize_weights.c, the loops over pixels are in
 * pixel_loops.h; here is what is computed, and where it lies: of the first pass, only what the
 * window needs and its second pass will read. */
#include "image/resize.h"

#include <string.h>

#include "image/room.h"

/* One resize in work. */
struct passes {
    const struct dvit_image *in;
    const struct dvit_resize *resize;
    struct dvit_resize_weights across, down;
    bool narrows, shortens; /* whether there is a horizontal pass, a vertical one */
    bool down_first;        /* whether the vertical one comes first */
    int first, rows;        /* of the box: the rows that are needed */
    size_t stride;          /* bytes of a row of middle */
    unsigned char *middle;  /* [rows + 1][stride]: the horizontal pass's result */
    int safe_rows;          /* first ones, from whose start across.reach bytes are in the input */
    size_t edge_stride;
    unsigned char *edge; /* [rows − safe_rows][edge_stride]: the others, with room to read on */
    /* where the vertical pass comes first: */
    unsigned char *upper; /* [window's height][edge_stride]: its result */
    unsigned char *taken; /* [down.taps + 1][edge_stride]: input rows, with room to read on */
};

struct dvit_resizer dvit_resizer_begin(enum dvit_cpu cpu)
{
    return (struct dvit_resizer){.loops = dvit_pixel_loops_select(cpu)};
}

void dvit_resizer_free(struct dvit_resizer *resizer)
{
    dvit_arena_free(&resizer->memory);
}

static struct dvit_resize_axis axis_across(const struct dvit_resize *resize)
{
    return (struct dvit_resize_axis){
        .in = resize->box.width,
        .out = resize->width,
        .first = resize->window.x,
        .count = resize->window.width,
        .mirrored = resize->mirrored,
        .filter = resize->filter,
    };
}

static struct dvit_resize_axis axis_down(const struct dvit_resize *resize)
{
    return (struct dvit_resize_axis){
        .in = resize->box.height,
        .out = resize->height,
        .first = resize->window.y,
        .count = resize->window.height,
        .filter = resize->filter,
    };
}

/* Row `y` of the needed ones, where the box begins in it. */
static const unsigned char *input_row(const struct passes *passes, int y)
{
    struct dvit_box box = passes->resize->box;
    size_t row = (size_t)(box.y + passes->first + y);
    return passes->in->pixels + 3 * (row * (size_t)passes->in->width + (size_t)box.x);
}

static int count_safe_rows(const struct passes *passes)
{
    size_t line = 3 * (size_t)passes->in->width;
    const unsigned char *end = passes->in->pixels + (size_t)passes->in->height * line;
    int safe = passes->rows;
    while (safe > 0 && (size_t)(end - input_row(passes, safe - 1)) < passes->across.reach)
        safe--;
    return safe;
}

static void layout(struct passes *passes, struct dvit_arena *arena)
{
    const struct dvit_resize *resize = passes->resize;
    struct dvit_resize_axis across = axis_across(resize), down = axis_down(resize);
    size_t columns = (size_t)resize->window.width + DVIT_WEIGHT_GROUP - 1;
    passes->stride = dvit_align_up(3 * columns + DVIT_ROW_SLACK);
    passes->middle = dvit_arena_take(arena, (size_t)passes->rows + 1, passes->stride);
    if (passes->shortens)
        dvit_resize_weights_layout(&passes->down, &down, arena);
    if (!passes->narrows)
        return;
    dvit_resize_weights_layout(&passes->across, &across, arena);
    passes->safe_rows = count_safe_rows(passes);
    passes->edge_stride = dvit_align_up(passes->across.reach);
    passes->edge =
        dvit_arena_take(arena, (size_t)(passes->rows - passes->safe_rows), passes->edge_stride);
}

/* The same where the vertical pass comes first. */
static void layout_down_first(struct passes *passes, struct dvit_arena *arena)
{
    const struct dvit_resize *resize = passes->resize;
    struct dvit_resize_axis across = axis_across(resize), down = axis_down(resize);
    size_t columns = (size_t)resize->window.width + DVIT_WEIGHT_GROUP - 1;
    size_t height = (size_t)resize->window.height, row = 3 * (size_t)resize->box.width;
    passes->stride = dvit_align_up(3 * columns + DVIT_ROW_SLACK);
    passes->middle = dvit_arena_take(arena, height, passes->stride);
    dvit_resize_weights_layout(&passes->down, &down, arena);
    dvit_resize_weights_layout(&passes->across, &across, arena);
    passes->edge_stride = dvit_align_up(passes->across.reach > row ? passes->across.reach : row);
    passes->upper = dvit_arena_take(arena, height, passes->edge_stride);
    passes->taken = dvit_arena_take(arena, (size_t)passes->down.taps + 1, passes->edge_stride);
}

/* Measures, makes the memory larger where it is too small, and hands it out. */
static enum dvit_status prepare(struct passes *passes, struct dvit_arena *memory,
                                struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_arena needed = {0};
    void (*lay_out)(struct passes *, struct dvit_arena *) =
        passes->down_first ? layout_down_first : layout;
    lay_out(passes, &needed);
    if (needed.overflow || needed.used_bytes > memory->size_bytes) {
        dvit_arena_free(memory);
        DVIT_TRY(dvit_arena_commit(&needed, "resize", error));
        *memory = needed;
    }
    memory->used_bytes = 0;
    lay_out(passes, memory);
done:
    return status;
}

/* Without a horizontal pass: the window's columns. */
static void copy_columns(const struct passes *passes)
{
    const struct dvit_resize *resize = passes->resize;
    size_t width = (size_t)resize->window.width, skipped = (size_t)resize->window.x;
    for (int y = 0; y < passes->rows; y++) {
        const unsigned char *from = input_row(passes, y) + 3 * skipped;
        unsigned char *to = passes->middle + (size_t)y * passes->stride;
        if (!resize->mirrored)
            memcpy(to, from, 3 * width);
        for (size_t x = 0; resize->mirrored && x < width; x++)
            memcpy(to + 3 * x, from + 3 * (width - 1 - x), 3);
    }
}

static void pass_across(struct passes *passes, const struct dvit_pixel_loops *loops)
{
    struct dvit_resize_axis axis = axis_across(passes->resize);
    int safe = passes->safe_rows, edge_rows = passes->rows - safe;
    if (!passes->narrows) {
        copy_columns(passes);
        return;
    }
    dvit_resize_weights_fill(&passes->across, &axis);
    for (int y = 0; y < edge_rows; y++)
        memcpy(passes->edge + (size_t)y * passes->edge_stride, input_row(passes, safe + y),
               3 * (size_t)passes->resize->box.width);
    if (safe > 0)
        loops->horizontal(passes->middle, passes->stride, input_row(passes, 0),
                          3 * (size_t)passes->in->width, safe, &passes->across);
    if (edge_rows > 0)
        loops->horizontal(passes->middle + (size_t)safe * passes->stride, passes->stride,
                          passes->edge, passes->edge_stride, edge_rows, &passes->across);
}

static void pass_down(struct passes *passes, const struct dvit_pixel_loops *loops,
                      unsigned char *to)
{
    struct dvit_resize_axis axis = axis_down(passes->resize);
    size_t row_bytes = 3 * (size_t)passes->resize->window.width;
    if (passes->shortens)
        dvit_resize_weights_fill(&passes->down, &axis);
    for (int y = 0; y < axis.count; y++, to += row_bytes) {
        if (passes->shortens)
            loops->vertical(to,
                            passes->middle +
                                (size_t)(passes->down.start[y] - passes->first) * passes->stride,
                            passes->stride, row_bytes, &passes->down, y);
        else
            memcpy(to, passes->middle + (size_t)y * passes->stride, row_bytes);
    }
}

/* The input rows of one output row, where the loop may read on behind each of them: in the image,
 * or copied where they are its last ones. */
static const unsigned char *rows_to_shorten(struct passes *passes, int y, size_t *stride)
{
    size_t line = 3 * (size_t)passes->in->width, row = 3 * (size_t)passes->resize->box.width;
    int length = passes->down.length[y], first = passes->down.start[y] - passes->first;
    const unsigned char *end = passes->in->pixels + (size_t)passes->in->height * line;
    int last = first + length - 1 + length % 2; /* a row more where their number is odd */
    const unsigned char *from = input_row(passes, first);
    *stride = line;
    if (last < passes->rows && (size_t)(end - input_row(passes, last)) >= passes->edge_stride)
        return from;
    *stride = passes->edge_stride;
    memset(passes->taken, 0, ((size_t)length + 1) * passes->edge_stride);
    for (int k = 0; k < length; k++)
        memcpy(passes->taken + (size_t)k * *stride, from + (size_t)k * line, row);
    return passes->taken;
}

static void pass_down_then_across(struct passes *passes, const struct dvit_pixel_loops *loops,
                                  unsigned char *to)
{
    struct dvit_resize_axis across = axis_across(passes->resize), down = axis_down(passes->resize);
    size_t row_bytes = 3 * (size_t)passes->resize->window.width;
    dvit_resize_weights_fill(&passes->down, &down);
    dvit_resize_weights_fill(&passes->across, &across);
    for (int y = 0; y < down.count; y++) {
        size_t stride;
        const unsigned char *from = rows_to_shorten(passes, y, &stride);
        loops->vertical(passes->upper + (size_t)y * passes->edge_stride, from, stride,
                        3 * (size_t)across.in, &passes->down, y);
    }
    loops->horizontal(passes->middle, passes->stride, passes->upper, passes->edge_stride,
                      down.count, &passes->across);
    for (int y = 0; y < down.count; y++)
        memcpy(to + (size_t)y * row_bytes, passes->middle + (size_t)y * passes->stride, row_bytes);
}

static bool box_inside(struct dvit_box box, int width, int height)
{
    return box.x >= 0 && box.y >= 0 && box.width >= 1 && box.height >= 1 && box.width <= width &&
           box.height <= height && box.x <= width - box.width && box.y <= height - box.height;
}

static enum dvit_status check(const struct dvit_resize *resize, const struct dvit_image *in,
                              struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_box box = resize->box, window = resize->window;
    DVIT_TRY(dvit_image_check(in, error));
    if (resize->filter != DVIT_FILTER_BILINEAR && resize->filter != DVIT_FILTER_BICUBIC)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "resize filter is %d, expected 0 or 1",
                  (int)resize->filter);
    if (resize->width < 1 || resize->height < 1) /* only the window has to fit in memory */
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "resize to %dx%d pixels, sides must be at least 1",
                  resize->width, resize->height);
    if (!box_inside(box, in->width, in->height))
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "resize of a box of %dx%d pixels at (%d, %d), the image has %dx%d", box.width,
                  box.height, box.x, box.y, in->width, in->height);
    if (!box_inside(window, resize->width, resize->height))
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "crop of %dx%d pixels at (%d, %d), the resized image has %dx%d", window.width,
                  window.height, window.x, window.y, resize->width, resize->height);
done:
    return status;
}

/* Pillow 13's rule for taking the vertical pass first. */
static bool is_tall(const struct dvit_resize *resize)
{
    long lost_height = (long)resize->box.height - resize->height;
    long lost_width = (long)resize->box.width - resize->width;
    return lost_height > 0 && lost_height > 2 * lost_width;
}

static struct passes plan(const struct dvit_image *in, const struct dvit_resize *resize)
{
    struct passes passes = {
        .in = in,
        .resize = resize,
        .narrows = resize->width != resize->box.width,
        .shortens = resize->height != resize->box.height,
        .first = resize->window.y,
        .rows = resize->window.height,
    };
    struct dvit_resize_axis down = axis_down(resize);
    passes.down_first = resize->pillow13 && passes.narrows && is_tall(resize);
    if (passes.shortens) {
        int end;
        dvit_resize_axis_reads(&down, &passes.first, &end);
        passes.rows = end - passes.first;
    }
    return passes;
}

enum dvit_status dvit_resizer_run(struct dvit_resizer *resizer, struct dvit_image *out,
                                  const struct dvit_image *in, const struct dvit_resize *resize,
                                  struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    DVIT_TRY(check(resize, in, error));
    struct passes passes = plan(in, resize);
    DVIT_TRY(dvit_image_fit(out, resize->window.width, resize->window.height, error));
    DVIT_TRY(prepare(&passes, &resizer->memory, error));
    if (passes.down_first) {
        pass_down_then_across(&passes, &resizer->loops, out->pixels);
    } else {
        pass_across(&passes, &resizer->loops);
        pass_down(&passes, &resizer->loops, out->pixels);
    }
done:
    if (status != DVIT_OK)
        dvit_image_free(out);
    return status;
}

enum dvit_status dvit_image_resize_window(struct dvit_image *out, const struct dvit_image *in,
                                          struct dvit_box box, int width, int height,
                                          struct dvit_box window, enum dvit_filter filter,
                                          struct dvit_error *error)
{
    struct dvit_resizer resizer = dvit_resizer_begin(dvit_cpu_best());
    struct dvit_resize resize = {
        .box = box, .width = width, .height = height, .window = window, .filter = filter};
    *out = (struct dvit_image){0};
    enum dvit_status status = dvit_resizer_run(&resizer, out, in, &resize, error);
    dvit_resizer_free(&resizer);
    return status;
}

enum dvit_status dvit_image_resize_box(struct dvit_image *out, const struct dvit_image *in,
                                       struct dvit_box box, int width, int height,
                                       enum dvit_filter filter, struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, in);
    struct dvit_box all = {0, 0, width, height};
    return dvit_image_resize_window(out, in, box, width, height, all, filter, error);
}

enum dvit_status dvit_image_resize(struct dvit_image *out, const struct dvit_image *in, int width,
                                   int height, enum dvit_filter filter, struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, in);
    struct dvit_box all = {0, 0, in->width, in->height};
    return dvit_image_resize_box(out, in, all, width, height, filter, error);
}
