/* Random crops and flips: forced draws give known pixels, free draws have the right distribution.
 */
#include <math.h>

#include "test_image_util.h"

#include "image/augment.h"

static struct dvit_preprocess preset(int width, int height)
{
    struct dvit_preprocess preprocess;
    struct dvit_error error;
    assert_ok(dvit_preprocess_preset("dynamicvit", width, height, &preprocess, &error), &error);
    return preprocess;
}

static void defaults_follow_the_size(void **state)
{
    struct dvit_augment small = dvit_augment_default(32, 32), large = dvit_augment_default(33, 32);
    assert_int_equal(small.crop, DVIT_AUGMENT_CROP_PADDED);
    assert_int_equal(small.padding, 4);
    assert_int_equal(large.crop, DVIT_AUGMENT_CROP_RESIZED);
    assert_true(large.scale_low == 0.08 && large.scale_high == 1.0);
    assert_true(large.ratio_low == 0.75 && large.ratio_high == 4.0 / 3.0);
    assert_int_equal(large.attempts, 10);
    assert_int_equal(large.filter, DVIT_FILTER_BICUBIC);
    assert_true(large.flip_probability == 0.5);
    assert_int_equal(dvit_augment_check(&small, NULL), DVIT_OK);
    assert_int_equal(dvit_augment_check(&large, NULL), DVIT_OK);
}

static void forced_draws_are_crop_resize_flip(void **state)
{
    struct dvit_error error;
    struct dvit_augment augment = dvit_augment_default(64, 48);
    struct dvit_preprocess preprocess = preset(64, 48);
    struct dvit_image in = noise_image(90, 70, 2), part, expected, out;
    struct dvit_augment_draw draw = {.box = {11, 7, 50, 61}, .flip = true};
    assert_ok(dvit_image_crop(&part, &in, draw.box, &error), &error);
    assert_ok(dvit_image_resize(&expected, &part, 64, 48, DVIT_FILTER_BICUBIC, &error), &error);
    dvit_image_flip(&expected);
    assert_ok(dvit_augment_apply(&augment, &preprocess, &draw, &in, &out, &error), &error);
    assert_true(images_equal(&expected, &out));
    dvit_image_free(&out);
    draw.flip = false;
    dvit_image_flip(&expected);
    assert_ok(dvit_augment_apply(&augment, &preprocess, &draw, &in, &out, &error), &error);
    assert_true(images_equal(&expected, &out));
    dvit_image_free(&out);
    draw.box.x = 41; /* reaches outside */
    assert_fails(dvit_augment_apply(&augment, &preprocess, &draw, &in, &out, &error), &error,
                 DVIT_ERROR_ARGUMENT, "the image has 90x70");
    assert_empty(&out);
    dvit_image_free(&in);
    dvit_image_free(&part);
    dvit_image_free(&expected);
}

/* Every one of the 9 × 9 windows of a padded image, against an image that was really padded. */
static void padded_windows_are_exact(void **state)
{
    struct dvit_error error;
    struct dvit_augment augment = dvit_augment_default(8, 6);
    struct dvit_preprocess preprocess = preset(8, 6);
    struct dvit_image in = noise_image(8, 6, 2), padded, expected, out;
    assert_ok(dvit_image_crop(&padded, &in, (struct dvit_box){-4, -4, 16, 14}, &error), &error);
    for (int y = -4; y <= 4; y++)
        for (int x = -4; x <= 4; x++) {
            struct dvit_augment_draw draw = {.box = {x, y, 8, 6}};
            struct dvit_box window = {x + 4, y + 4, 8, 6};
            assert_ok(dvit_image_crop(&expected, &padded, window, &error), &error);
            assert_ok(dvit_augment_apply(&augment, &preprocess, &draw, &in, &out, &error), &error);
            assert_true(images_equal(&expected, &out));
            dvit_image_free(&expected);
            dvit_image_free(&out);
        }
    dvit_image_free(&in);
    dvit_image_free(&padded);
}

/* An image of another size first gets the evaluation geometry. */
static void padded_crop_of_another_size(void **state)
{
    struct dvit_error error;
    struct dvit_augment augment = dvit_augment_default(8, 8);
    struct dvit_preprocess preprocess = preset(8, 8);
    struct dvit_image in = noise_image(20, 16, 2), expected, out;
    struct dvit_augment_draw draw = {.box = {0, 0, 8, 8}};
    assert_ok(dvit_preprocess_geometry(&preprocess, &in, &expected, &error), &error);
    assert_ok(dvit_augment_apply(&augment, &preprocess, &draw, &in, &out, &error), &error);
    assert_true(images_equal(&expected, &out));
    dvit_image_free(&out);
    augment.crop = DVIT_AUGMENT_CROP_NONE;
    assert_ok(dvit_augment_apply(&augment, &preprocess, &draw, &in, &out, &error), &error);
    assert_true(images_equal(&expected, &out));
    dvit_image_free(&in);
    dvit_image_free(&out);
    dvit_image_free(&expected);
}

/* On an image so large that rounding and rejection hardly matter (only tall or wide boxes of nearly
 * the whole area are rejected), area and ratio are uniform and log-uniform. */
static void resized_crop_distribution(void **state)
{
    enum { DRAWS = 20000, SIDE = 4000 };
    struct dvit_augment augment = dvit_augment_default(224, 224);
    struct dvit_preprocess preprocess = preset(224, 224);
    augment.scale_high = 0.5; /* nothing is rejected: √(.5·4/3) < 1 */
    double area = 0, area2 = 0, ratio = 0, ratio2 = 0, left = 0, top = 0, flips = 0;
    for (uint32_t i = 0; i < DRAWS; i++) {
        struct dvit_rng rng = dvit_rng_stream(3, DVIT_RNG_AUGMENT, 0, i);
        struct dvit_augment_draw draw = dvit_augment_draw(&augment, &preprocess, SIDE, SIDE, &rng);
        assert_true(draw.box.x >= 0 && draw.box.x + draw.box.width <= SIDE);
        assert_true(draw.box.y >= 0 && draw.box.y + draw.box.height <= SIDE);
        double a = (double)draw.box.width * draw.box.height / ((double)SIDE * SIDE);
        double r = log((double)draw.box.width / draw.box.height);
        assert_true(a > 0.0799 && a < 0.5005 && fabs(r) < log(4.0 / 3) + 0.002);
        area += a, area2 += a * a, ratio += r, ratio2 += r * r, flips += draw.flip;
        left += (double)draw.box.x / (SIDE - draw.box.width);
        top += (double)draw.box.y / (SIDE - draw.box.height);
    }
    double mean = area / DRAWS, deviation = sqrt(area2 / DRAWS - mean * mean);
    assert_true(fabs(mean - 0.29) < 0.003); /* 3.5 standard errors */
    assert_true(fabs(deviation - 0.42 / sqrt(12)) < 0.002);
    assert_true(fabs(ratio / DRAWS) < 0.005);
    assert_true(fabs(sqrt(ratio2 / DRAWS) - log(4.0 / 3) / sqrt(3)) < 0.003);
    assert_true(fabs(left / DRAWS - 0.5) < 0.008 && fabs(top / DRAWS - 0.5) < 0.008);
    assert_true(fabs(flips / DRAWS - 0.5) < 0.013);
}

static void padded_crop_distribution(void **state)
{
    enum { DRAWS = 16200 };
    struct dvit_augment augment = dvit_augment_default(32, 32);
    struct dvit_preprocess preprocess = preset(32, 32);
    int counts[9][9] = {{0}};
    struct dvit_rng rng = dvit_rng_stream(4, DVIT_RNG_AUGMENT, 0, 0);
    for (int i = 0; i < DRAWS; i++) {
        struct dvit_augment_draw draw = dvit_augment_draw(&augment, &preprocess, 32, 32, &rng);
        assert_int_equal(draw.box.width, 32);
        assert_in_range(draw.box.x + 4, 0, 8);
        assert_in_range(draw.box.y + 4, 0, 8);
        counts[draw.box.y + 4][draw.box.x + 4]++;
    }
    double expected = DRAWS / 81.0, chi2 = 0;
    for (int i = 0; i < 81; i++)
        chi2 += pow(counts[i / 9][i % 9] - expected, 2) / expected;
    assert_true(chi2 > 40 && chi2 < 130); /* 80 degrees of freedom: far tails */
}

/* When no try can fit, the largest centred box with an allowed ratio is taken. */
static void fallback_is_centred(void **state)
{
    static const int cases[][6] = {
        /* image, box */
        {1000, 10, 493, 0, 13, 10},
        {10, 1000, 0, 493, 10, 13},
        {1, 400, 0, 199, 1, 1},
        {400, 1, 199, 0, 1, 1},
    };
    struct dvit_augment augment = dvit_augment_default(224, 224);
    struct dvit_preprocess preprocess = preset(224, 224);
    augment.scale_low = 1.0; /* the whole area cannot have an allowed ratio */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int *c = cases[i];
        struct dvit_rng rng = dvit_rng_stream(5, DVIT_RNG_AUGMENT, 0, (uint32_t)i);
        struct dvit_augment_draw draw = dvit_augment_draw(&augment, &preprocess, c[0], c[1], &rng);
        assert_int_equal(draw.box.x, c[2]);
        assert_int_equal(draw.box.y, c[3]);
        assert_int_equal(draw.box.width, c[4]);
        assert_int_equal(draw.box.height, c[5]);
    }
}

/* Images of all small sizes: a draw always fits, and running it always works. */
static void tiny_images_work(void **state)
{
    struct dvit_error error;
    struct dvit_augment augment = dvit_augment_default(40, 40);
    struct dvit_preprocess preprocess = preset(40, 40);
    for (int width = 1; width <= 9; width++)
        for (int height = 1; height <= 9; height++) {
            struct dvit_image in = noise_image(width, height, 1);
            struct dvit_rng rng =
                dvit_rng_stream(6, DVIT_RNG_AUGMENT, 0, (uint32_t)(width * 10 + height));
            struct dvit_image_room room = dvit_image_room_begin(dvit_cpu_best());
            assert_ok(dvit_augment_run(&augment, &preprocess, &in, &rng, &room, &error), &error);
            assert_int_equal(room.cut.width, 40);
            assert_int_equal(room.cut.height, 40);
            dvit_image_free(&in);
            dvit_image_room_free(&room);
        }
}

static void the_same_stream_gives_the_same_image(void **state)
{
    struct dvit_error error;
    struct dvit_augment augment = dvit_augment_default(40, 40);
    struct dvit_preprocess preprocess = preset(40, 40);
    struct dvit_image in = noise_image(60, 50, 1), first, again;
    struct dvit_image_room room = dvit_image_room_begin(dvit_cpu_best());
    struct dvit_rng rng = dvit_rng_stream(7, DVIT_RNG_AUGMENT, 2, 3), same = rng;
    struct dvit_rng next = dvit_rng_stream(7, DVIT_RNG_AUGMENT, 2, 4);
    assert_ok(dvit_augment_run(&augment, &preprocess, &in, &rng, &room, &error), &error);
    assert_ok(dvit_image_copy(&first, &room.cut, &error), &error);
    assert_ok(dvit_augment_run(&augment, &preprocess, &in, &same, &room, &error), &error);
    assert_ok(dvit_image_copy(&again, &room.cut, &error), &error);
    assert_ok(dvit_augment_run(&augment, &preprocess, &in, &next, &room, &error), &error);
    assert_true(images_equal(&first, &again));
    assert_false(images_equal(&first, &room.cut));
    dvit_image_room_free(&room);
    dvit_image_free(&in);
    dvit_image_free(&first);
    dvit_image_free(&again);
}

static void bad_settings_are_named(void **state)
{
    struct dvit_error error;
    struct dvit_augment good = dvit_augment_default(224, 224), bad = good;
    bad.scale_low = 0;
    assert_fails(dvit_augment_check(&bad, &error), &error, DVIT_ERROR_ARGUMENT, "scale is 0 to 1");
    bad = good;
    bad.scale_high = NAN;
    assert_fails(dvit_augment_check(&bad, &error), &error, DVIT_ERROR_ARGUMENT, "scale is");
    bad = good;
    bad.ratio_low = 2;
    assert_fails(dvit_augment_check(&bad, &error), &error, DVIT_ERROR_ARGUMENT, "ratio is 2 to");
    bad = good;
    bad.attempts = 0;
    assert_fails(dvit_augment_check(&bad, &error), &error, DVIT_ERROR_ARGUMENT, "attempts is 0");
    bad = good;
    bad.padding = -1;
    assert_fails(dvit_augment_check(&bad, &error), &error, DVIT_ERROR_ARGUMENT, "padding is -1");
    bad = good;
    bad.flip_probability = 1.5;
    assert_fails(dvit_augment_check(&bad, &error), &error, DVIT_ERROR_ARGUMENT,
                 "flip probability is 1.5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_follow_the_size),
        cmocka_unit_test(forced_draws_are_crop_resize_flip),
        cmocka_unit_test(padded_windows_are_exact),
        cmocka_unit_test(padded_crop_of_another_size),
        cmocka_unit_test(resized_crop_distribution),
        cmocka_unit_test(padded_crop_distribution),
        cmocka_unit_test(fallback_is_centred),
        cmocka_unit_test(tiny_images_work),
        cmocka_unit_test(the_same_stream_gives_the_same_image),
        cmocka_unit_test(bad_settings_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
