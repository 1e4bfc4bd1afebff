/* Overlay pictures, pixel by pixel: kept patches as they were, dropped ones faded, sizes as
 * promised, wrong input refused. */
#include <math.h>

#include "test_util.h"

#include "dvit/report.h"

static struct dvit_error error;

enum { SIDE = 32, GRID = 4, PATCH = SIDE / GRID, MARGIN = 16, GAP = 10 };

static unsigned char pixels[SIDE * SIDE * 3];
static const struct dvit_image view = {SIDE, SIDE, pixels};
static const int stage_1[] = {0, 3, 5, 6, 15};
static const int stage_2[] = {5};

static struct dvit_overlay two_stages(void)
{
    static const int *const kept[] = {stage_1, stage_2};
    static const int counts[] = {5, 1};
    return (struct dvit_overlay){.image = &view,
                                 .grid_width = GRID,
                                 .grid_height = GRID,
                                 .stages = 2,
                                 .kept = kept,
                                 .kept_count = counts};
}

static struct dvit_overlay_options options_of(int tile_px)
{
    struct dvit_overlay_options options = dvit_overlay_options_default();
    options.tile_px = tile_px;
    options.grid = false;
    options.fade = 0.5;
    return options;
}

static int make_pixels(void **state)
{
    for (int i = 0; i < SIDE * SIDE * 3; i++)
        pixels[i] = (unsigned char)(i * 37 % 251);
    return 0;
}

static const unsigned char *pixel(const struct dvit_image *image, int x, int y)
{
    assert_true(x >= 0 && x < image->width && y >= 0 && y < image->height);
    return image->pixels + 3 * ((size_t)y * (size_t)image->width + (size_t)x);
}

static bool is_kept(const int *kept, int count, int index)
{
    for (int i = 0; i < count; i++)
        if (kept[i] == index)
            return true;
    return false;
}

/* Dropped pixels that are under no line of the hatching, and those that are. */
static int plain_count, hatched_count;

/* A dropped pixel is halfway to white, or under a line: darker by the same share in all colours. */
static void assert_dropped(const unsigned char *got, const unsigned char *want)
{
    bool plain = true;
    for (int c = 0; c < 3; c++) {
        int faded = (want[c] + 255) / 2;
        plain = plain && abs(got[c] - faded) <= 1;
        if (got[c] > faded + 1 || got[c] < faded / 3)
            fail_msg("dropped pixel of %d is %d, expected at most %d", want[c], got[c], faded);
    }
    *(plain ? &plain_count : &hatched_count) += 1;
}

/* The view at (left, top), enlarged by `scale`, shows `kept` as it is and the rest halfway to
 * white and hatched; kept NULL: all as it is. */
static void assert_view(const struct dvit_image *picture, int left, int top, int scale,
                        const int *kept, int count)
{
    for (int y = 0; y < SIDE * scale; y++)
        for (int x = 0; x < SIDE * scale; x++) {
            int index = y / scale / PATCH * GRID + x / scale / PATCH;
            bool faded = kept && !is_kept(kept, count, index);
            const unsigned char *got = pixel(picture, left + x, top + y);
            const unsigned char *want = pixel(&view, x / scale, y / scale);
            if (faded)
                assert_dropped(got, want);
            else if (memcmp(got, want, 3) != 0)
                fail_msg("pixel (%d, %d) of patch %d is not the image's", x, y, index);
        }
}

/* White patches on white paper: those that were dropped are told from those that were kept. */
static void dropped_patches_are_hatched(void **state)
{
    unsigned char white[sizeof pixels];
    struct dvit_image image = {SIDE, SIDE, white};
    struct dvit_overlay overlay = two_stages();
    struct dvit_overlay_options options = options_of(SIDE * 3);
    struct dvit_image picture;
    memset(white, 255, sizeof white);
    overlay.image = &image;
    assert_ok(dvit_report_overlay(&picture, &overlay, &options, &error), &error);
    int left = MARGIN + 3 * SIDE + GAP, side = 3 * PATCH;
    for (int index = 0; index < GRID * GRID; index++) {
        int dark = 0;
        for (int i = 0; i < side * side; i++)
            dark += pixel(&picture, left + index % GRID * side + i % side,
                          MARGIN + index / GRID * side + i / side)[0] < 200;
        if (is_kept(stage_1, 5, index))
            assert_int_equal(dark, 0);
        else
            assert_true(dark > side * side / 20 && dark < side * side / 2);
    }
    dvit_image_free(&picture);
}

static void kept_patches_keep_their_pixels(void **state)
{
    for (int scale = 1; scale <= 3; scale++) {
        struct dvit_overlay overlay = two_stages();
        struct dvit_overlay_options options = options_of(SIDE * scale + (scale == 3 ? 20 : 0));
        struct dvit_image picture;
        assert_ok(dvit_report_overlay(&picture, &overlay, &options, &error), &error);
        int step = SIDE * scale + GAP;
        assert_int_equal(picture.width, 2 * MARGIN + 3 * SIDE * scale + 2 * GAP);
        assert_view(&picture, MARGIN, MARGIN, scale, NULL, 0);
        assert_view(&picture, MARGIN + step, MARGIN, scale, stage_1, 5);
        plain_count = hatched_count = 0;
        assert_view(&picture, MARGIN + 2 * step, MARGIN, scale, stage_2, 1);
        assert_true(hatched_count > plain_count / 20 && plain_count > hatched_count / 3);
        dvit_image_free(&picture);
    }
}

/* Every pixel in rows top … bottom is white. */
static bool is_blank(const struct dvit_image *image, int left, int right, int top, int bottom)
{
    for (int y = top; y < bottom; y++)
        for (int x = left; x < right; x++)
            for (int c = 0; c < 3; c++)
                if (pixel(image, x, y)[c] != 255)
                    return false;
    return true;
}

static void captions_and_labels_have_their_place(void **state)
{
    struct dvit_overlay overlay = two_stages();
    struct dvit_image plain, captioned, longer;
    assert_ok(dvit_report_overlay(&plain, &overlay, NULL, &error), &error);
    overlay.caption = "goldfinch 93 %";
    assert_ok(dvit_report_overlay(&captioned, &overlay, NULL, &error), &error);
    char caption[3000];
    memset(caption, 'W', sizeof caption - 1);
    memcpy(caption, "\xff\n<b>", 5);
    caption[sizeof caption - 1] = 0;
    overlay.caption = caption;
    assert_ok(dvit_report_overlay(&longer, &overlay, NULL, &error), &error);
    int caption_height = captioned.height - plain.height;
    assert_true(caption_height > 15 && caption_height < 60);
    assert_false(is_blank(&captioned, MARGIN, captioned.width - MARGIN, MARGIN,
                          MARGIN + caption_height - 2));
    assert_view(&captioned, MARGIN, MARGIN + caption_height, 7, NULL, 0); /* 7·32 = 224 */
    int below = MARGIN + 224 + 2;
    for (int i = 0; i < 3; i++) /* a label under each view, none between views */
        assert_false(is_blank(&plain, MARGIN + i * (224 + GAP), MARGIN + i * (224 + GAP) + 224,
                              below, plain.height));
    assert_true(is_blank(&plain, MARGIN + 224 + 2, MARGIN + 224 + GAP - 1, below, plain.height));
    assert_int_equal(longer.width, plain.width); /* cut, and nothing reaches the margin */
    assert_true(is_blank(&longer, longer.width - MARGIN + 2, longer.width, 0, longer.height));
    dvit_image_free(&plain);
    dvit_image_free(&captioned);
    dvit_image_free(&longer);
}

static void grid_lines_lie_between_patches(void **state)
{
    struct dvit_overlay overlay = two_stages();
    struct dvit_overlay_options options = options_of(SIDE);
    struct dvit_image without, with;
    assert_ok(dvit_report_overlay(&without, &overlay, &options, &error), &error);
    options.grid = true;
    assert_ok(dvit_report_overlay(&with, &overlay, &options, &error), &error);
    int left = MARGIN + SIDE + GAP;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            bool line = (x && x % PATCH == 0) || (y && y % PATCH == 0);
            const unsigned char *a = pixel(&without, left + x, MARGIN + y);
            const unsigned char *b = pixel(&with, left + x, MARGIN + y);
            bool same = memcmp(a, b, 3) == 0;
            if (same == line && a[0] + a[1] + a[2] > 60) /* on black a dark line is invisible */
                fail_msg("pixel (%d, %d): %s", x, y, line ? "no line" : "a line");
        }
    dvit_image_free(&without);
    dvit_image_free(&with);
}

/* 80x60 stays as it is up to twice the tile, and is reduced beyond. */
static void large_views_are_reduced(void **state)
{
    struct dvit_image image, picture;
    assert_ok(dvit_image_create(&image, 80, 60, &error), &error);
    struct dvit_overlay overlay = {.image = &image, .grid_width = 4, .grid_height = 3};
    struct dvit_overlay_options options = options_of(40);
    assert_ok(dvit_report_overlay(&picture, &overlay, &options, &error), &error);
    assert_int_equal(picture.width, 80 + 2 * MARGIN);
    dvit_image_free(&picture);
    options.tile_px = 39;
    assert_ok(dvit_report_overlay(&picture, &overlay, &options, &error), &error);
    assert_int_equal(picture.width, 39 + 2 * MARGIN);
    assert_int_equal(pixel(&picture, MARGIN + 20, MARGIN + 15)[0], 0);
    dvit_image_free(&picture);
    dvit_image_free(&image);
}

static void gallery_lays_strips_out_in_reading_order(void **state)
{
    struct dvit_overlay overlays[5];
    struct dvit_overlay_options options = options_of(SIDE);
    struct dvit_image picture, titled;
    for (int i = 0; i < 5; i++)
        overlays[i] = two_stages();
    overlays[1].stages = 1;
    overlays[2].stages = 0;
    options.columns = 2;
    assert_ok(dvit_report_gallery(&picture, overlays, 5, &options, &error), &error);
    int strip = 3 * SIDE + 2 * GAP, row = (picture.height - MARGIN) / 3;
    int second = MARGIN + strip + 2 * MARGIN; /* left side of the second column */
    assert_int_equal(picture.width, second + strip + MARGIN);
    for (int i = 0; i < 5; i++) {
        int x = i % 2 ? second : MARGIN, y = MARGIN + i / 2 * row;
        assert_view(&picture, x, y, 1, NULL, 0);
        if (overlays[i].stages)
            assert_view(&picture, x + SIDE + GAP, y, 1, stage_1, 5);
    }
    assert_true(is_blank(&picture, second - 2, picture.width, MARGIN + 2 * row, picture.height));
    options.title = "CIFAR-10";
    assert_ok(dvit_report_gallery(&titled, overlays, 5, &options, &error), &error);
    int title = titled.height - picture.height;
    assert_true(title > 20);
    assert_false(is_blank(&titled, MARGIN, titled.width, MARGIN, MARGIN + title - 2));
    assert_view(&titled, MARGIN, MARGIN + title, 1, NULL, 0);
    dvit_image_free(&picture);
    dvit_image_free(&titled);
}

/* The second picture of the same overlay is the first, also as a file read back. */
static void pictures_are_reproducible(void **state)
{
    struct dvit_overlay overlay = two_stages();
    struct dvit_image picture, again;
    char folder[64], path[128];
    overlay.caption = "goldfinch 93 %";
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/overlay.png", folder);
    assert_ok(dvit_report_overlay(&picture, &overlay, NULL, &error), &error);
    assert_ok(dvit_image_write_png(path, &picture, &error), &error);
    dvit_image_free(&picture);
    assert_ok(dvit_report_overlay(&picture, &overlay, NULL, &error), &error);
    assert_ok(dvit_image_load(&again, path, NULL, NULL, &error), &error);
    assert_int_equal(again.width, picture.width);
    assert_int_equal(again.height, picture.height);
    assert_memory_equal(again.pixels, picture.pixels,
                        (size_t)again.width * (size_t)again.height * 3);
    dvit_image_free(&picture);
    dvit_image_free(&again);
    test_folder_remove(folder);
}

static void wrong_overlays_are_refused(void **state)
{
    struct dvit_image picture;
    struct dvit_overlay overlay = two_stages();
    struct dvit_overlay_options options = options_of(SIDE);
#define assert_refused(part)                                                                       \
    do {                                                                                           \
        assert_fails(dvit_report_overlay(&picture, &overlay, &options, &error), &error,            \
                     DVIT_ERROR_ARGUMENT, part);                                                   \
        assert_null(picture.pixels);                                                               \
        overlay = two_stages();                                                                    \
        options = options_of(SIDE);                                                                \
    } while (0)
    overlay.grid_width = 5;
    assert_refused("5x4 does not divide the image of 32x32");
    overlay.grid_height = 0;
    assert_refused("grid");
    overlay.image = NULL;
    assert_refused("without an image");
    overlay.stages = DVIT_MAX_STAGES + 1;
    assert_refused("17 stages");
    overlay.kept_count = (const int[]){17, 1};
    assert_refused("stage 1 keeps 17 patches of 16");
    overlay.kept = (const int *const[]){stage_1, (const int[]){16}};
    assert_refused("stage 2: kept index 16");
    overlay.kept = (const int *const[]){(const int[]){0, 3, 3, 6, 15}, stage_2};
    assert_refused("kept index 3 after 3");
    overlay.kept = (const int *const[]){(const int[]){-1, 3, 5, 6, 15}, stage_2};
    assert_refused("kept index -1");
    options.tile_px = 31;
    assert_refused("tile_px is 31, expected 32 … 2048");
    options.fade = 1.5;
    assert_refused("fade is 1.5");
    options.columns = 0;
    assert_refused("columns are 0");
    assert_fails(dvit_report_gallery(&picture, &overlay, 0, NULL, &error), &error,
                 DVIT_ERROR_ARGUMENT, "0 overlays");
}

static void too_large_galleries_are_refused(void **state)
{
    enum { MANY = 900 };
    static struct dvit_overlay overlays[MANY];
    struct dvit_image picture;
    for (int i = 0; i < MANY; i++)
        overlays[i] = two_stages();
    struct dvit_overlay_options options = options_of(SIDE);
    assert_fails(dvit_report_gallery(&picture, overlays, MANY, &options, &error), &error,
                 DVIT_ERROR_LIMIT, "32767");
    assert_null(picture.pixels);
    options.tile_px = 2048;
    options.columns = 4;
    assert_fails(dvit_report_gallery(&picture, overlays, 24, &options, &error), &error,
                 DVIT_ERROR_LIMIT, "the area");
}

/* ---- photographs ---- */

enum { PHOTO_WIDTH = 300, PHOTO_HEIGHT = 200, SEEN_X = 50, SEEN_SIDE = 200 };

static struct dvit_image photo_of(int width, int height)
{
    struct dvit_image photo;
    assert_ok(dvit_image_create(&photo, width, height, &error), &error);
    for (size_t i = 0; i < 3 * (size_t)width * (size_t)height; i++)
        photo.pixels[i] = (unsigned char)(i * 37 % 251);
    return photo;
}

/* The patches lie on the photograph's own pixels; beside the crop it is grey. */
static void a_photograph_keeps_its_pixels(void **state)
{
    struct dvit_image photo = photo_of(PHOTO_WIDTH, PHOTO_HEIGHT), picture;
    struct dvit_overlay overlay = two_stages();
    struct dvit_overlay_options options = options_of(224);
    const struct dvit_region seen = {SEEN_X, 0, SEEN_SIDE, SEEN_SIDE};
    overlay.image = &photo;
    assert_ok(dvit_report_photo(&picture, &overlay, &seen, &options, &error), &error);
    assert_int_equal(picture.width, 2 * MARGIN + 3 * PHOTO_WIDTH + 2 * GAP);
    int left = MARGIN + PHOTO_WIDTH + GAP, side = SEEN_SIDE / GRID;
    for (int y = 1; y < PHOTO_HEIGHT - 1; y++)
        for (int x = 0; x < PHOTO_WIDTH; x++) {
            const unsigned char *got = pixel(&picture, left + x, MARGIN + y);
            const unsigned char *want = pixel(&photo, x, y);
            int column = (x - SEEN_X) / side;
            if (x < SEEN_X - 2 || x >= SEEN_X + SEEN_SIDE + 2)
                assert_in_range(got[0], 100, 165); /* the veil, whatever is below */
            else if (x > SEEN_X && x < SEEN_X + SEEN_SIDE &&
                     is_kept(stage_1, 5, y / side * GRID + column))
                assert_memory_equal(got, want, 3);
            else if (x > SEEN_X && x < SEEN_X + SEEN_SIDE)
                assert_dropped(got, want);
        }
    dvit_image_free(&photo);
    dvit_image_free(&picture);
}

static void photographs_of_all_shapes_are_drawn(void **state)
{
    static const int shapes[][2] = {{1, 1}, {20, 14}, {3000, 2000}, {5000, 10}, {10, 5000}};
    static const int tiles[][2] = {{224, 224}, {220, 154}, {1280, 853}, {1280, 3}, {3, 1280}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int width = shapes[i][0], height = shapes[i][1];
        struct dvit_image photo = photo_of(width, height), picture;
        struct dvit_overlay overlay = two_stages();
        const struct dvit_region all = {0, 0, width, height};
        overlay.image = &photo;
        overlay.caption = "goldfinch";
        assert_ok(dvit_report_photo(&picture, &overlay, &all, NULL, &error), &error);
        bool stacked = tiles[i][0] > 2 * tiles[i][1];
        int column = tiles[i][0] > 150 ? tiles[i][0] : 150;
        int widest = 2 * MARGIN + (stacked ? column : 3 * column + 2 * GAP);
        assert_in_range(picture.width, widest, widest + (column == 150 ? 300 : 0));
        int views = stacked ? 3 : 1;
        assert_true(picture.height > views * tiles[i][1]);
        assert_true(picture.height < views * (tiles[i][1] + 60) + 180);
        dvit_image_free(&photo);
        dvit_image_free(&picture);
    }
}

/* A crop that reaches outside of the photograph, and regions that are none. */
static void regions_are_checked(void **state)
{
    struct dvit_image photo = photo_of(60, 40), picture;
    struct dvit_overlay overlay = two_stages();
    struct dvit_region seen = {-20, -30, 100, 100};
    overlay.image = &photo;
    assert_ok(dvit_report_photo(&picture, &overlay, &seen, NULL, &error), &error);
    dvit_image_free(&picture);
    seen.width = 0;
    assert_fails(dvit_report_photo(&picture, &overlay, &seen, NULL, &error), &error,
                 DVIT_ERROR_ARGUMENT, "expected positive sides");
    seen = (struct dvit_region){NAN, 0, 1, 1};
    assert_fails(dvit_report_photo(&picture, &overlay, &seen, NULL, &error), &error,
                 DVIT_ERROR_ARGUMENT, "region");
    assert_null(picture.pixels);
    overlay.image = NULL;
    assert_fails(dvit_report_photo(&picture, &overlay, &seen, NULL, &error), &error,
                 DVIT_ERROR_ARGUMENT, "without an image");
    dvit_image_free(&photo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_patches_keep_their_pixels),
        cmocka_unit_test(captions_and_labels_have_their_place),
        cmocka_unit_test(grid_lines_lie_between_patches),
        cmocka_unit_test(large_views_are_reduced),
        cmocka_unit_test(gallery_lays_strips_out_in_reading_order),
        cmocka_unit_test(pictures_are_reproducible),
        cmocka_unit_test(wrong_overlays_are_refused),
        cmocka_unit_test(too_large_galleries_are_refused),
        cmocka_unit_test(dropped_patches_are_hatched),
        cmocka_unit_test(a_photograph_keeps_its_pixels),
        cmocka_unit_test(photographs_of_all_shapes_are_drawn),
        cmocka_unit_test(regions_are_checked),
    };
    return cmocka_run_group_tests(tests, make_pixels, NULL);
}
