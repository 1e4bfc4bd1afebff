/* Resize against Pillow's results of many sizes, and the identities between its variants. */
#include "test_image_util.h"

#include "image/resize.h"

static void check_resize(const char *line)
{
    int filter, width, height, to_width, to_height;
    unsigned seed, crc;
    assert_int_equal(sscanf(line, "%d %d %d %u %d %d %x", &filter, &width, &height, &seed,
                            &to_width, &to_height, &crc),
                     7);
    struct dvit_error error;
    struct dvit_image in = noise_image(width, height, seed), out;
    assert_ok(dvit_image_resize(&out, &in, to_width, to_height,
                                filter ? DVIT_FILTER_BICUBIC : DVIT_FILTER_BILINEAR, &error),
              &error);
    assert_int_equal(out.width, to_width);
    assert_int_equal(out.height, to_height);
    if (image_crc(&out) != crc)
        fail_msg("differs from Pillow: %s", line);
    dvit_image_free(&in);
    dvit_image_free(&out);
}

static void resize_is_pillows(void **state)
{
    assert_true(for_each_golden("resize.txt", check_resize) >= 200);
}

/* Cropping first and resizing then is what a box means; cropping after is what a window means. */
static void box_and_window_are_crops(void **state)
{
    struct dvit_rng rng = dvit_rng_stream(1, DVIT_RNG_TEST, 0, 0);
    struct dvit_error error;
    struct dvit_image in = noise_image(61, 47, 3);
    for (int i = 0; i < 300; i++) {
        struct dvit_box box = {.width = 1 + (int)dvit_rng_below(&rng, 61),
                               .height = 1 + (int)dvit_rng_below(&rng, 47)};
        box.x = (int)dvit_rng_below(&rng, (uint32_t)(62 - box.width));
        box.y = (int)dvit_rng_below(&rng, (uint32_t)(48 - box.height));
        int width = i % 5 ? 1 + (int)dvit_rng_below(&rng, 70) : box.width;
        int height = i % 7 ? 1 + (int)dvit_rng_below(&rng, 70) : box.height;
        struct dvit_box window = {.width = 1 + (int)dvit_rng_below(&rng, (uint32_t)width),
                                  .height = 1 + (int)dvit_rng_below(&rng, (uint32_t)height)};
        window.x = (int)dvit_rng_below(&rng, (uint32_t)(width - window.width) + 1);
        window.y = (int)dvit_rng_below(&rng, (uint32_t)(height - window.height) + 1);
        enum dvit_filter filter = i % 2 ? DVIT_FILTER_BICUBIC : DVIT_FILTER_BILINEAR;
        struct dvit_image part, all, expected, boxed, windowed;
        assert_ok(dvit_image_crop(&part, &in, box, &error), &error);
        assert_ok(dvit_image_resize(&all, &part, width, height, filter, &error), &error);
        assert_ok(dvit_image_crop(&expected, &all, window, &error), &error);
        assert_ok(dvit_image_resize_box(&boxed, &in, box, width, height, filter, &error), &error);
        assert_ok(
            dvit_image_resize_window(&windowed, &in, box, width, height, window, filter, &error),
            &error);
        assert_true(images_equal(&all, &boxed));
        assert_true(images_equal(&expected, &windowed));
        struct dvit_image *owned[] = {&part, &all, &expected, &boxed, &windowed};
        for (size_t k = 0; k < sizeof owned / sizeof *owned; k++)
            dvit_image_free(owned[k]);
    }
    dvit_image_free(&in);
}

/* One resize in Pillow 13's order, at a level. */
static void resize13(struct dvit_image *out, const struct dvit_image *in, struct dvit_box box,
                     int width, int height, struct dvit_box window, enum dvit_filter filter,
                     enum dvit_cpu cpu)
{
    struct dvit_error error;
    struct dvit_resizer resizer = dvit_resizer_begin(cpu);
    struct dvit_resize resize = {.box = box,
                                 .width = width,
                                 .height = height,
                                 .window = window,
                                 .filter = filter,
                                 .pillow13 = true};
    *out = (struct dvit_image){0};
    assert_ok(dvit_resizer_run(&resizer, out, in, &resize, &error), &error);
    dvit_resizer_free(&resizer);
}

static int other_orders; /* images that Pillow 12 makes otherwise */

static void check_resize13(const char *line)
{
    int filter, width, height, to_width, to_height;
    unsigned seed, crc;
    assert_int_equal(sscanf(line, "%d %d %d %u %d %d %x", &filter, &width, &height, &seed,
                            &to_width, &to_height, &crc),
                     7);
    struct dvit_error error;
    enum dvit_filter kernel = filter ? DVIT_FILTER_BICUBIC : DVIT_FILTER_BILINEAR;
    struct dvit_image in = noise_image(width, height, seed), out;
    const struct dvit_box box = {0, 0, width, height}, all = {0, 0, to_width, to_height};
    for (enum dvit_cpu cpu = DVIT_CPU_REFERENCE; cpu <= dvit_cpu_best(); cpu++) {
        resize13(&out, &in, box, to_width, to_height, all, kernel, cpu);
        if (image_crc(&out) != crc)
            fail_msg("differs from Pillow 13 at level %d: %s", (int)cpu, line);
        dvit_image_free(&out);
    }
    assert_ok(dvit_image_resize(&out, &in, to_width, to_height, kernel, &error), &error);
    if (image_crc(&out) != crc) {
        assert_true(height - to_height > 2 * (width - to_width) && height > to_height);
        other_orders++;
    }
    dvit_image_free(&out);
    dvit_image_free(&in);
}

static void the_newest_order_is_pillow_13s(void **state)
{
    other_orders = 0;
    assert_int_equal(for_each_golden("resize_pillow13.txt", check_resize13), 200);
    assert_true(other_orders >= 50);
}

static void box_and_window_are_crops_in_that_order_too(void **state)
{
    struct dvit_rng rng = dvit_rng_stream(2, DVIT_RNG_TEST, 0, 0);
    struct dvit_error error;
    struct dvit_image in = noise_image(31, 97, 4);
    for (int i = 0; i < 200; i++) {
        struct dvit_box box = {.width = 1 + (int)dvit_rng_below(&rng, 31),
                               .height = 1 + (int)dvit_rng_below(&rng, 97)};
        box.x = (int)dvit_rng_below(&rng, (uint32_t)(32 - box.width));
        box.y = (int)dvit_rng_below(&rng, (uint32_t)(98 - box.height));
        int width = 1 + (int)dvit_rng_below(&rng, 40), height = 1 + (int)dvit_rng_below(&rng, 40);
        struct dvit_box window = {.width = 1 + (int)dvit_rng_below(&rng, (uint32_t)width),
                                  .height = 1 + (int)dvit_rng_below(&rng, (uint32_t)height)};
        window.x = (int)dvit_rng_below(&rng, (uint32_t)(width - window.width) + 1);
        window.y = (int)dvit_rng_below(&rng, (uint32_t)(height - window.height) + 1);
        enum dvit_filter filter = i % 2 ? DVIT_FILTER_BICUBIC : DVIT_FILTER_BILINEAR;
        enum dvit_cpu cpu = i % 3 ? dvit_cpu_best() : DVIT_CPU_REFERENCE;
        struct dvit_image part, all, expected, got;
        assert_ok(dvit_image_crop(&part, &in, box, &error), &error);
        resize13(&all, &part, (struct dvit_box){0, 0, box.width, box.height}, width, height,
                 (struct dvit_box){0, 0, width, height}, filter, cpu);
        assert_ok(dvit_image_crop(&expected, &all, window, &error), &error);
        resize13(&got, &in, box, width, height, window, filter, cpu);
        assert_true(images_equal(&expected, &got));
        struct dvit_image *owned[] = {&part, &all, &expected, &got};
        for (size_t k = 0; k < sizeof owned / sizeof *owned; k++)
            dvit_image_free(owned[k]);
    }
    dvit_image_free(&in);
}

static void same_size_is_a_copy(void **state)
{
    struct dvit_error error;
    struct dvit_image in = noise_image(9, 4, 1), out;
    assert_ok(dvit_image_resize(&out, &in, 9, 4, DVIT_FILTER_BICUBIC, &error), &error);
    assert_true(images_equal(&in, &out));
    assert_ptr_not_equal(in.pixels, out.pixels);
    dvit_image_free(&in);
    dvit_image_free(&out);
}

/* A flat image stays flat whatever the weights round to. */
static void flat_stays_flat(void **state)
{
    struct dvit_error error;
    struct dvit_image in, out;
    assert_ok(dvit_image_create(&in, 67, 41, &error), &error);
    memset(in.pixels, 200, 3 * 67 * 41);
    assert_ok(dvit_image_resize(&out, &in, 23, 90, DVIT_FILTER_BICUBIC, &error), &error);
    for (size_t i = 0; i < 3 * 23 * 90; i++)
        assert_int_equal(out.pixels[i], 200);
    dvit_image_free(&in);
    dvit_image_free(&out);
}

static void bad_arguments_are_named(void **state)
{
    struct dvit_error error;
    struct dvit_image in = noise_image(9, 4, 1), out;
    enum dvit_filter filter = DVIT_FILTER_BICUBIC;
    assert_fails(dvit_image_resize(&out, &in, 0, 4, filter, &error), &error, DVIT_ERROR_ARGUMENT,
                 "0x4");
    assert_empty(&out);
    assert_fails(dvit_image_resize(&out, &in, 65536, 4, filter, &error), &error,
                 DVIT_ERROR_ARGUMENT, "65536x4");
    struct dvit_box boxes[] = {{-1, 0, 3, 3}, {0, -1, 3, 3}, {7, 0, 3, 3},         {0, 2, 3, 3},
                               {0, 0, 0, 3},  {0, 0, 3, -2}, {0x7fffffff, 0, 3, 3}};
    for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++) {
        assert_fails(dvit_image_resize_box(&out, &in, boxes[i], 4, 4, filter, &error), &error,
                     DVIT_ERROR_ARGUMENT, "the image has 9x4");
        assert_empty(&out);
        assert_fails(dvit_image_resize_window(&out, &in, (struct dvit_box){0, 0, 9, 4}, 9, 4,
                                              boxes[i], filter, &error),
                     &error, DVIT_ERROR_ARGUMENT, "the resized image has 9x4");
    }
    dvit_image_free(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resize_is_pillows),
        cmocka_unit_test(box_and_window_are_crops),
        cmocka_unit_test(same_size_is_a_copy),
        cmocka_unit_test(flat_stays_flat),
        cmocka_unit_test(the_newest_order_is_pillow_13s),
        cmocka_unit_test(box_and_window_are_crops_in_that_order_too),
        cmocka_unit_test(bad_arguments_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
