/* Drawing and PNG writing: what was drawn is read back pixel by pixel. */
#include <math.h>

#include "test_image_util.h"

#include "image/draw.h"

static struct dvit_canvas *new_canvas(int width, int height)
{
    struct dvit_canvas *canvas;
    struct dvit_error error;
    assert_ok(dvit_canvas_create(&canvas, width, height, &error), &error);
    return canvas;
}

/* Snapshots and frees. */
static struct dvit_image finish(struct dvit_canvas *canvas)
{
    struct dvit_image image;
    struct dvit_error error;
    assert_ok(dvit_canvas_snapshot(canvas, &image, &error), &error);
    dvit_canvas_free(canvas);
    return image;
}

static uint32_t rgb_at(const struct dvit_image *image, int x, int y)
{
    const unsigned char *p = image->pixels + 3 * ((size_t)y * (size_t)image->width + (size_t)x);
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

/* Sum of what is missing to white over a part of the picture. */
static long ink(const struct dvit_image *image, int x0, int y0, int x1, int y1)
{
    long sum = 0;
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++)
            sum += 255 - (long)(rgb_at(image, x, y) & 255);
    return sum;
}

static void shapes_land_where_asked(void **state)
{
    struct dvit_canvas *canvas = new_canvas(20, 16);
    dvit_canvas_rectangle(canvas, 2, 3, 5, 4, 0x112233ff, 0, 0);
    dvit_canvas_rectangle(canvas, 2, 3, 2, 2, 0xffffff80, 0, 0); /* faded */
    dvit_canvas_rectangle(canvas, 11, 3, 6, 6, 0, 0xff0000ff, 2);
    dvit_canvas_line(canvas, 0, 14.5, 20, 14.5, 0x0000ffff, 1);
    struct dvit_image image = finish(canvas);
    assert_int_equal(image.width, 20);
    assert_int_equal(image.height, 16);
    assert_int_equal(rgb_at(&image, 0, 0), 0xffffff);
    assert_int_equal(rgb_at(&image, 6, 6), 0x112233);
    assert_int_equal(rgb_at(&image, 7, 6), 0xffffff);
    assert_int_equal(rgb_at(&image, 6, 7), 0xffffff);
    uint32_t faded = rgb_at(&image, 2, 3);
    assert_in_range(faded >> 16, 0x85, 0x8b); /* halfway from 11 to ff */
    assert_in_range(faded & 255, 0x96, 0x9c);
    assert_int_equal(rgb_at(&image, 13, 5), 0xffffff); /* not filled */
    assert_int_equal(rgb_at(&image, 10, 5), 0xff0000); /* the outline straddles x = 11 */
    assert_int_equal(rgb_at(&image, 11, 5), 0xff0000);
    assert_int_equal(rgb_at(&image, 12, 5), 0xffffff);
    assert_int_equal(rgb_at(&image, 9, 14), 0x0000ff);
    assert_int_equal(rgb_at(&image, 9, 13), 0xffffff);
    dvit_image_free(&image);
}

static void fill_covers_all(void **state)
{
    struct dvit_canvas *canvas = new_canvas(3, 2);
    dvit_canvas_fill(canvas, 0x204060ff);
    struct dvit_image image = finish(canvas);
    for (int i = 0; i < 6; i++)
        assert_int_equal(rgb_at(&image, i % 3, i / 3), 0x204060);
    dvit_image_free(&image);
}

static void polyline_skips_what_is_not_finite(void **state)
{
    struct dvit_canvas *canvas = new_canvas(30, 5);
    struct dvit_point points[] = {{0, 2.5}, {10, 2.5}, {NAN, 1}, {20, 2.5}, {30, 2.5}};
    dvit_canvas_polyline(canvas, points, 5, 0x000000ff, 1);
    dvit_canvas_polyline(canvas, points, 0, 0x000000ff, 1);
    struct dvit_image image = finish(canvas);
    assert_int_equal(rgb_at(&image, 5, 2), 0);
    assert_int_equal(rgb_at(&image, 15, 2), 0xffffff);
    assert_int_equal(rgb_at(&image, 25, 2), 0);
    dvit_image_free(&image);
}

static void images_are_pasted(void **state)
{
    struct dvit_image in = noise_image(4, 3, 1);
    struct dvit_canvas *canvas = new_canvas(20, 16);
    dvit_canvas_image(canvas, &in, 1, 2, 4, 3, true);
    dvit_canvas_image(canvas, &in, 8, 2, 12, 9, false);
    dvit_canvas_image(canvas, &in, 0, 12, 0, 3, false); /* no width: nothing */
    struct dvit_image image = finish(canvas);
    for (int y = 0; y < 3; y++)
        for (int x = 0; x < 4; x++) {
            uint32_t expected = rgb_at(&in, x, y);
            assert_int_equal(rgb_at(&image, 1 + x, 2 + y), expected);
            for (int k = 0; k < 9; k++)
                assert_int_equal(rgb_at(&image, 8 + 3 * x + k % 3, 2 + 3 * y + k / 3), expected);
        }
    assert_int_equal(rgb_at(&image, 0, 2), 0xffffff);
    assert_int_equal(rgb_at(&image, 5, 2), 0xffffff);
    dvit_image_free(&in);
    dvit_image_free(&image);
}

/* A smoothly enlarged image reaches its edges without a dark or white rim. */
static void smooth_images_keep_their_edges(void **state)
{
    struct dvit_error error;
    struct dvit_image in;
    assert_ok(dvit_image_create(&in, 3, 3, &error), &error);
    memset(in.pixels, 0x40, 27);
    for (int side = 2; side <= 20; side += 9) {
        struct dvit_canvas *canvas = new_canvas(side, side);
        dvit_canvas_image(canvas, &in, 0, 0, side, side, true);
        struct dvit_image image = finish(canvas);
        for (int i = 0; i < side * side; i++)
            assert_int_equal(rgb_at(&image, i % side, i / side), 0x404040);
        dvit_image_free(&image);
    }
    dvit_image_free(&in);
}

static void text_is_drawn_and_anchored(void **state)
{
    struct dvit_canvas *canvas = new_canvas(300, 100);
    double width = dvit_canvas_text_width(canvas, 16, false, "tokens");
    if (width == 0) { /* no font on this machine */
        dvit_canvas_free(canvas);
        skip();
    }
    assert_true(width > 30 && width < 90);
    assert_true(dvit_canvas_text_width(canvas, 32, false, "tokens") > 1.9 * width);
    assert_true(dvit_canvas_text_width(canvas, 16, true, "tokens") > width);
    assert_true(dvit_canvas_text_width(canvas, 16, false, "") == 0);
    dvit_canvas_text(canvas, 150, 30, 16, 0x000000ff, DVIT_ANCHOR_LEFT, false, "tokens");
    dvit_canvas_text(canvas, 150, 60, 16, 0x000000ff, DVIT_ANCHOR_CENTRE, false, "tokens");
    dvit_canvas_text(canvas, 150, 90, 16, 0x000000ff, DVIT_ANCHOR_RIGHT, true, "tokens");
    struct dvit_image image = finish(canvas);
    assert_int_equal(ink(&image, 0, 10, 149, 36), 0);
    assert_true(ink(&image, 150, 10, 300, 36) > 5000);
    long left = ink(&image, 0, 40, 150, 66), right = ink(&image, 150, 40, 300, 66);
    assert_true(left > 2000 && right > 2000);
    assert_true(ink(&image, 0, 70, 151, 96) > 5000);
    assert_int_equal(ink(&image, 152, 70, 300, 96), 0);
    dvit_image_free(&image);
}

/* Names of classes and files come from outside; no byte of them may stop the picture. */
static void any_bytes_are_text(void **state)
{
    struct dvit_canvas *canvas = new_canvas(200, 40);
    char text[5] = {0};
    for (int a = 1; a < 256; a++)
        for (int b = 1; b < 256; b += 9) {
            text[0] = (char)a;
            text[1] = (char)b;
            text[2] = (char)(a & 1 ? 0x80 : 0);
            (void)dvit_canvas_text_width(canvas, 12, false, text);
        }
    dvit_canvas_text(canvas, 5, 20, 12, 0x000000ff, DVIT_ANCHOR_LEFT, false,
                     "a\n\xff\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf\xe4\xba\x8c\xe2\x82");
    struct dvit_image image = finish(canvas);
    dvit_image_free(&image);
}

static void sizes_out_of_range_are_named(void **state)
{
    struct dvit_canvas *canvas;
    struct dvit_error error;
    assert_fails(dvit_canvas_create(&canvas, 0, 5, &error), &error, DVIT_ERROR_ARGUMENT, "0x5");
    assert_null(canvas);
    assert_fails(dvit_canvas_create(&canvas, 5, 32768, &error), &error, DVIT_ERROR_ARGUMENT,
                 "1 to 32767");
    dvit_canvas_free(NULL);
}

/* cairo cannot hold an image of more than 32767 pixels a side: the snapshot says so. */
static void failed_drawing_is_reported(void **state)
{
    struct dvit_error error;
    struct dvit_image wide = noise_image(40000, 1, 1), image;
    struct dvit_canvas *canvas = new_canvas(10, 10);
    dvit_canvas_image(canvas, &wide, 0, 0, 10, 10, false);
    assert_fails(dvit_canvas_snapshot(canvas, &image, &error), &error, DVIT_ERROR_UNSUPPORTED,
                 "cannot draw: ");
    assert_empty(&image);
    dvit_canvas_free(canvas);
    dvit_image_free(&wide);
}

static void png_round_trip(void **state)
{
    static const int sizes[][2] = {{1, 1}, {1, 300}, {300, 1}, {57, 43}};
    struct dvit_error error;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct dvit_image in = noise_image(sizes[i][0], sizes[i][1], 6), back;
        unsigned char *data, *again;
        size_t size, size_again;
        assert_ok(dvit_image_encode_png(&in, &data, &size, &error), &error);
        assert_ok(dvit_image_encode_png(&in, &again, &size_again, &error), &error);
        assert_int_equal(size, size_again);
        assert_memory_equal(data, again, size);
        assert_ok(dvit_image_decode(&back, data, size, NULL, NULL, &error), &error);
        assert_true(images_equal(&in, &back));
        dvit_image_free(&in);
        dvit_image_free(&back);
        free(data);
        free(again);
    }
    struct dvit_image empty = {0};
    unsigned char *data;
    size_t size;
    assert_fails(dvit_image_encode_png(&empty, &data, &size, &error), &error, DVIT_ERROR_ARGUMENT,
                 "empty image");
    assert_null(data);
}

static void png_is_written_whole_or_not(void **state)
{
    char folder[64], path[128];
    struct dvit_error error;
    struct dvit_image in = noise_image(40, 30, 6), back;
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/out.png", folder);
    assert_ok(dvit_image_write_png(path, &in, &error), &error);
    test_limit_file_size(1000);
    struct dvit_image larger = noise_image(80, 60, 7);
    enum dvit_status status = dvit_image_write_png(path, &larger, &error);
    test_limit_file_size(-1);
    assert_int_equal(status, DVIT_ERROR_IO);
    assert_int_equal(test_folder_count(folder), 1);
    assert_ok(dvit_image_load(&back, path, NULL, NULL, &error), &error);
    assert_true(images_equal(&in, &back));
    dvit_image_free(&back);
    snprintf(path, sizeof path, "%s/absent/out.png", folder);
    assert_fails(dvit_image_write_png(path, &in, &error), &error, DVIT_ERROR_NOT_FOUND,
                 "absent/out.png");
    dvit_image_free(&in);
    dvit_image_free(&larger);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_land_where_asked),
        cmocka_unit_test(fill_covers_all),
        cmocka_unit_test(polyline_skips_what_is_not_finite),
        cmocka_unit_test(images_are_pasted),
        cmocka_unit_test(smooth_images_keep_their_edges),
        cmocka_unit_test(text_is_drawn_and_anchored),
        cmocka_unit_test(any_bytes_are_text),
        cmocka_unit_test(sizes_out_of_range_are_named),
        cmocka_unit_test(failed_drawing_is_reported),
        cmocka_unit_test(png_round_trip),
        cmocka_unit_test(png_is_written_whole_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
