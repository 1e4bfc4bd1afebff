/* From image to network input: presets, exact parity with Pillow and numpy, crops, turns. */
#include <math.h>

#include "test_image_util.h"

static void check_preprocess(const char *line)
{
    char preset[32];
    int width, height, to_width, to_height;
    unsigned seed, crc;
    assert_int_equal(sscanf(line, "%31s %d %d %u %d %d %x", preset, &width, &height, &seed,
                            &to_width, &to_height, &crc),
                     7);
    struct dvit_error error;
    struct dvit_preprocess preprocess;
    struct dvit_image in = noise_image(width, height, seed), geometry;
    assert_ok(dvit_preprocess_preset(preset, to_width, to_height, &preprocess, &error), &error);
    size_t bytes = 3 * (size_t)to_width * (size_t)to_height * sizeof(float);
    float *out = malloc(bytes), *again = malloc(bytes);
    assert_true(out && again);
    memset(out, 0xff, bytes); /* NaN */
    assert_ok(dvit_preprocess_run(&preprocess, &in, out, &error), &error);
    if (crc32_of(out, bytes) != crc)
        fail_msg("differs from Pillow and numpy: %s", line);
    assert_ok(dvit_preprocess_geometry(&preprocess, &in, &geometry, &error), &error);
    assert_int_equal(geometry.width, to_width);
    assert_int_equal(geometry.height, to_height);
    dvit_preprocess_normalise(&preprocess, &geometry, again);
    assert_memory_equal(out, again, bytes);
    free(out);
    free(again);
    dvit_image_free(&geometry);
    dvit_image_free(&in);
}

static void preprocess_is_exact(void **state)
{
    assert_true(for_each_golden("preprocess.txt", check_preprocess) >= 100);
}

static void other_filters_and_squashed_crops_are_the_steps_they_name(void **state)
{
    (void)state;
    struct dvit_error error;
    struct dvit_image in = noise_image(61, 37, 5), squashed, expected, got;
    const struct dvit_preprocess bilinear_crop = {.fit = DVIT_FIT_SQUASH,
                                                  .resize_side = 36,
                                                  .crop_width = 32,
                                                  .crop_height = 28,
                                                  .bilinear = true};
    const struct dvit_preprocess bilinear = {
        .fit = DVIT_FIT_SQUASH, .crop_width = 32, .crop_height = 28, .bilinear = true};
    struct dvit_box box = dvit_image_centre_box(36, 36, 32, 28);
    assert_ok(dvit_image_resize(&squashed, &in, 36, 36, DVIT_FILTER_BILINEAR, &error), &error);
    assert_ok(dvit_image_crop(&expected, &squashed, box, &error), &error);
    assert_ok(dvit_preprocess_geometry(&bilinear_crop, &in, &got, &error), &error);
    assert_memory_equal(got.pixels, expected.pixels, 3 * 32 * 28);
    dvit_image_free(&got);
    dvit_image_free(&expected);
    dvit_image_free(&squashed);
    assert_ok(dvit_image_resize(&expected, &in, 32, 28, DVIT_FILTER_BILINEAR, &error), &error);
    assert_ok(dvit_preprocess_geometry(&bilinear, &in, &got, &error), &error);
    assert_memory_equal(got.pixels, expected.pixels, 3 * 32 * 28);
    dvit_image_free(&got);
    dvit_image_free(&expected);
    dvit_image_free(&in);
}

/* A preset, settings, or both, as a text. */
static void settings_change_what_they_name(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name;
        enum dvit_fit fit;
        int side;
        float mean[3], std;
        bool bilinear, pillow13;
    } good[] = {
        {"timm", "timm", DVIT_FIT_CROP, 248, {0.485f, 0.456f, 0.406f}, 0.229f, false, false},
        {"augreg", "augreg", DVIT_FIT_CROP, 248, {0.5f, 0.5f, 0.5f}, 0.5f, false, false},
        {"augreg:resize=pillow13",
         "custom",
         DVIT_FIT_CROP,
         248,
         {0.5f, 0.5f, 0.5f},
         0.5f,
         false,
         true},
        {":mean=0.5,std=0.25",
         "custom",
         DVIT_FIT_CROP,
         256,
         {0.5f, 0.5f, 0.5f},
         0.25f,
         false,
         false},
        {":mean=0.1/0.2/0.3",
         "custom",
         DVIT_FIT_CROP,
         256,
         {0.1f, 0.2f, 0.3f},
         0.229f,
         false,
         false},
        {"native:crop=0.95,interpolation=bilinear",
         "custom",
         DVIT_FIT_CROP,
         235,
         {0.485f, 0.456f, 0.406f},
         0.229f,
         true,
         false},
        {":crop=0.875",
         "dynamicvit",
         DVIT_FIT_CROP,
         256,
         {0.485f, 0.456f, 0.406f},
         0.229f,
         false,
         false}, /* what it was */
        {"", "dynamicvit", DVIT_FIT_CROP, 256, {0.485f, 0.456f, 0.406f}, 0.229f, false, false},
    };
    static const char *const bad[][2] = {
        {"augreg2", "unknown preprocessing \"augreg2\""},
        {":std=0", "std 0 of channel 0"},
        {":std=-1", "std -1"},
        {":std=1e-30", "positive std of 0.001 to 10"},
        {":std=nan", "std nan"},
        {":std=inf", "std inf"},
        {":mean=123.675", "mean 123.675"},
        {":mean=0.5/0.5", "expected one number or three"},
        {":mean=0.5/0.5/0.5/0.5", "expected one number or three"},
        {":mean=", "expected one number or three"},
        {":mean=0.5x", "expected one number or three"},
        {":crop=0", "a share of 0.1 to 1"},
        {":crop=1.5", "a share of 0.1 to 1"},
        {"none:crop=0.9", "resizes and crops nothing"},
        {":interpolation=lanczos", "bilinear or bicubic"},
        {":resize=pillow14", "pillow12 or pillow13"},
        {":scale=2", "unknown setting \"scale\""},
        {":mean", "unknown setting \"mean\""},
    };
    struct dvit_preprocess before, p;
    struct dvit_error error;
    assert_ok(dvit_preprocess_preset("dynamicvit", 224, 224, &before, &error), &error);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        p = before;
        assert_ok(dvit_preprocess_change(&p, good[i].text, &error), &error);
        assert_string_equal(p.name, good[i].name);
        assert_int_equal(p.fit, good[i].fit);
        assert_int_equal(p.resize_side, good[i].side);
        assert_memory_equal(p.mean, good[i].mean, sizeof p.mean);
        assert_true(p.std[0] == good[i].std && p.bilinear == good[i].bilinear &&
                    p.pillow13 == good[i].pillow13);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        p = before;
        assert_false(dvit_preprocess_change(&p, bad[i][0], &error) == DVIT_OK);
        assert_non_null(strstr(error.message, bad[i][1]));
        assert_memory_equal(&p, &before, sizeof p);
    }
    /* at 32 pixels and below images of the network's size pass unchanged */
    assert_ok(dvit_preprocess_preset("augreg", 32, 32, &p, &error), &error);
    assert_int_equal(p.resize_side, 32);
}

/* Both orders of passes reach the network's input. */
static void the_order_of_passes_is_a_setting(void **state)
{
    (void)state;
    struct dvit_error error;
    struct dvit_preprocess p;
    struct dvit_image in = noise_image(40, 200, 0), out;
    assert_ok(dvit_preprocess_preset("native", 32, 32, &p, &error), &error);
    p.fit = DVIT_FIT_SQUASH;
    for (int newest = 0; newest < 2; newest++) { /* the first lines of the tables of goldens */
        p.pillow13 = newest;
        assert_ok(dvit_preprocess_geometry(&p, &in, &out, &error), &error);
        assert_true((image_crc(&out) == 0xbb6f64bd) == (newest == 1));
        dvit_image_free(&out);
    }
    dvit_image_free(&in);
}

/* From a file of each kind to the network's input, as it is stored and turned as EXIF says. */
static void check_prepared(const char *line)
{
    char name[64], preset[32];
    int side;
    unsigned crc[2];
    assert_int_equal(sscanf(line, "%63s %31s %d %x %x", name, preset, &side, &crc[0], &crc[1]), 5);
    struct dvit_error error;
    struct dvit_preprocess preprocess;
    struct dvit_decode_options options = dvit_decode_options_default();
    size_t bytes = 3 * (size_t)side * (size_t)side * sizeof(float);
    float *out = malloc(bytes);
    assert_non_null(out);
    assert_ok(dvit_preprocess_preset(preset, side, side, &preprocess, &error), &error);
    for (int turned = 0; turned < 2; turned++) {
        struct dvit_image image;
        options.apply_orientation = turned;
        assert_ok(dvit_image_load(&image, golden_path(name), &options, NULL, &error), &error);
        memset(out, 0xff, bytes); /* NaN */
        assert_ok(dvit_preprocess_run(&preprocess, &image, out, &error), &error);
        if (crc32_of(out, bytes) != crc[turned])
            fail_msg("differs from Pillow and numpy (turned: %d): %s", turned, line);
        dvit_image_free(&image);
    }
    free(out);
}

static void files_are_prepared_exactly(void **state)
{
    assert_int_equal(for_each_golden("prepared.txt", check_prepared), 92);
}

static void check_crop(const char *line)
{
    int width, height, to_width, to_height;
    unsigned seed, crc;
    assert_int_equal(
        sscanf(line, "%d %d %u %d %d %x", &width, &height, &seed, &to_width, &to_height, &crc), 6);
    struct dvit_error error;
    struct dvit_image in = noise_image(width, height, seed), out;
    struct dvit_box box = dvit_image_centre_box(width, height, to_width, to_height);
    assert_ok(dvit_image_crop(&out, &in, box, &error), &error);
    if (image_crc(&out) != crc)
        fail_msg("differs from a centre crop: %s", line);
    dvit_image_free(&in);
    dvit_image_free(&out);
}

static void centre_crop_is_exact(void **state)
{
    assert_int_equal(for_each_golden("crop.txt", check_crop), 100);
}

static void presets_are_the_papers(void **state)
{
    static const struct {
        const char *name;
        int width, height;
        enum dvit_fit fit;
        int resize_side;
    } cases[] = {
        {"dynamicvit", 224, 224, DVIT_FIT_CROP, 256}, {"dynamicvit", 32, 32, DVIT_FIT_CROP, 32},
        {"dynamicvit", 33, 33, DVIT_FIT_CROP, 37},    {"dynamicvit", 384, 384, DVIT_FIT_SQUASH, 0},
        {"dynamicvit", 160, 160, DVIT_FIT_CROP, 182}, {"dynamicvit", 64, 96, DVIT_FIT_CROP, 109},
        {"timm", 224, 224, DVIT_FIT_CROP, 248},       {"timm", 384, 384, DVIT_FIT_CROP, 384},
        {"timm", 288, 288, DVIT_FIT_CROP, 320},       {"none", 28, 20, DVIT_FIT_NONE, 0},
    };
    struct dvit_error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dvit_preprocess p;
        assert_ok(
            dvit_preprocess_preset(cases[i].name, cases[i].width, cases[i].height, &p, &error),
            &error);
        assert_string_equal(p.name, cases[i].name);
        assert_int_equal(p.fit, cases[i].fit);
        assert_int_equal(p.resize_side, cases[i].resize_side);
        assert_int_equal(p.crop_width, cases[i].width);
        assert_int_equal(p.crop_height, cases[i].height);
        assert_true(p.mean[0] == 0.485f && p.mean[1] == 0.456f && p.mean[2] == 0.406f);
        assert_true(p.std[0] == 0.229f && p.std[1] == 0.224f && p.std[2] == 0.225f);
    }
    struct dvit_preprocess p;
    assert_fails(dvit_preprocess_preset("tim", 224, 224, &p, &error), &error, DVIT_ERROR_NOT_FOUND,
                 "unknown preprocessing \"tim\"");
    assert_fails(dvit_preprocess_preset("timm", 0, 224, &p, &error), &error, DVIT_ERROR_ARGUMENT,
                 "0x224");
    assert_fails(dvit_preprocess_preset("timm", 224, 8193, &p, &error), &error, DVIT_ERROR_ARGUMENT,
                 "1 to 8192");
}

/* At the network's own size, a small image's pixels pass unchanged. */
/* What the network sees of an image of 300x200 pixels, and of images that a crop reaches beyond. */
static void regions_are_where_crops_are_cut(void **state)
{
    static const struct {
        enum dvit_fit fit;
        int side, width, height;
        struct dvit_region want;
    } cases[] = {
        {DVIT_FIT_CROP, 32, 300, 200, {50, 0, 200, 200}}, /* 48x32, of which 8 … 40 */
        {DVIT_FIT_CROP, 40, 200, 300, {20, 70, 160, 160}},
        {DVIT_FIT_CROP, 32, 32, 32, {0, 0, 32, 32}},
        {DVIT_FIT_CROP, 16, 32, 32, {-16, -16, 64, 64}},
        {DVIT_FIT_SQUASH, 0, 300, 200, {0, 0, 300, 200}},
        {DVIT_FIT_NONE, 0, 32, 32, {0, 0, 32, 32}},
    };
    struct dvit_error error;
    struct dvit_region got;
    struct dvit_preprocess how = {.crop_width = 32, .crop_height = 32};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct dvit_region *want = &cases[i].want;
        how.fit = cases[i].fit;
        how.resize_side = cases[i].side;
        assert_ok(dvit_preprocess_region(&how, cases[i].width, cases[i].height, &got, &error),
                  &error);
        assert_true(fabs(got.x - want->x) < 1e-9 && fabs(got.y - want->y) < 1e-9);
        assert_true(fabs(got.width - want->width) < 1e-9);
        assert_true(fabs(got.height - want->height) < 1e-9);
    }
    assert_fails(dvit_preprocess_region(&how, 33, 32, &got, &error), &error, DVIT_ERROR_MISMATCH,
                 "33x32");
}

static void small_images_pass_unchanged(void **state)
{
    struct dvit_error error;
    struct dvit_preprocess p;
    struct dvit_image in = noise_image(32, 32, 5), out;
    assert_ok(dvit_preprocess_preset("dynamicvit", 32, 32, &p, &error), &error);
    assert_ok(dvit_preprocess_geometry(&p, &in, &out, &error), &error);
    assert_true(images_equal(&in, &out));
    dvit_image_free(&in);
    dvit_image_free(&out);
}

static void none_demands_the_size(void **state)
{
    struct dvit_error error;
    struct dvit_preprocess p;
    float out[3];
    struct dvit_image in = noise_image(31, 32, 5), fitted;
    assert_ok(dvit_preprocess_preset("none", 32, 32, &p, &error), &error);
    assert_fails(dvit_preprocess_geometry(&p, &in, &fitted, &error), &error, DVIT_ERROR_MISMATCH,
                 "image has 31x32 pixels, preprocessing \"none\" expects exactly 32x32");
    assert_empty(&fitted);
    assert_fails(dvit_preprocess_run(&p, &in, out, &error), &error, DVIT_ERROR_MISMATCH, "31x32");
    p.fit = (enum dvit_fit)7;
    assert_fails(dvit_preprocess_run(&p, &in, out, &error), &error, DVIT_ERROR_ARGUMENT,
                 "fit is 7");
    dvit_image_free(&in);
}

/* The resized strip would have sixteen million columns; only the crop's are made. */
static void extreme_aspect_ratios_fit(void **state)
{
    struct dvit_error error;
    struct dvit_preprocess p;
    struct dvit_image in = noise_image(65500, 1, 5), out;
    assert_ok(dvit_preprocess_preset("dynamicvit", 224, 224, &p, &error), &error);
    assert_ok(dvit_preprocess_geometry(&p, &in, &out, &error), &error);
    assert_int_equal(out.width, 224);
    assert_int_equal(out.height, 224);
    for (int y = 1; y < 224; y++) /* one row was stretched over all */
        assert_memory_equal(out.pixels, out.pixels + y * 672, 672);
    dvit_image_free(&in);
    dvit_image_free(&out);
}

static void short_side_rounds_down(void **state)
{
    static const int cases[][5] = {
        {500, 375, 256, 341, 256}, {375, 500, 256, 256, 341}, {7, 7, 3, 3, 3},
        {3, 10, 256, 256, 853},    {1, 1, 224, 224, 224},     {1000, 999, 256, 256, 256},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int width, height;
        dvit_image_short_side(cases[i][0], cases[i][1], cases[i][2], &width, &height);
        assert_int_equal(width, cases[i][3]);
        assert_int_equal(height, cases[i][4]);
    }
}

static unsigned char pixel(const struct dvit_image *image, int x, int y)
{
    return image->pixels[3 * (y * image->width + x)];
}

static void crops_outside_are_black(void **state)
{
    struct dvit_error error;
    struct dvit_image in, out;
    assert_ok(dvit_image_create(&in, 2, 2, &error), &error);
    memset(in.pixels, 9, 12);
    assert_ok(dvit_image_crop(&out, &in, (struct dvit_box){-1, 1, 4, 3}, &error), &error);
    for (int y = 0; y < 3; y++)
        for (int x = 0; x < 4; x++)
            assert_int_equal(pixel(&out, x, y), y == 0 && (x == 1 || x == 2) ? 9 : 0);
    dvit_image_free(&out);
    struct dvit_box away[] = {{2, 0, 2, 2},           {0, -5, 2, 2},
                              {-2, -2, 2, 2},         {0x7fffffff, 0, 2, 2},
                              {-0x7fffffff, 1, 2, 2}, {0, 0x7ffffff0, 2, 99}};
    for (size_t i = 0; i < sizeof away / sizeof *away; i++) {
        assert_ok(dvit_image_crop(&out, &in, away[i], &error), &error);
        for (int k = 0; k < 3 * out.width * out.height; k++)
            assert_int_equal(out.pixels[k], 0);
        dvit_image_free(&out);
    }
    assert_fails(dvit_image_crop(&out, &in, (struct dvit_box){0, 0, 0, 1}, &error), &error,
                 DVIT_ERROR_ARGUMENT, "0x1");
    dvit_image_free(&in);
}

static void flip_swaps_left_and_right(void **state)
{
    for (int width = 1; width <= 6; width++) {
        struct dvit_error error;
        struct dvit_image in = noise_image(width, 3, 4), flipped, oriented;
        assert_ok(dvit_image_copy(&flipped, &in, &error), &error);
        dvit_image_flip(&flipped);
        for (int y = 0; y < 3; y++)
            for (int x = 0; x < width; x++)
                assert_memory_equal(in.pixels + 3 * (y * width + x),
                                    flipped.pixels + 3 * (y * width + width - 1 - x), 3);
        assert_ok(dvit_image_orient(&oriented, &in, 2, &error), &error);
        assert_true(images_equal(&flipped, &oriented));
        dvit_image_free(&in);
        dvit_image_free(&flipped);
        dvit_image_free(&oriented);
    }
}

/* Each turn and the one that undoes it; the exact pixels are Pillow's in test_image_decode.c. */
static void turns_undo_each_other(void **state)
{
    static const int inverse[9] = {0, 1, 2, 3, 4, 5, 8, 7, 6};
    struct dvit_error error;
    struct dvit_image in = noise_image(5, 3, 4), turned, back;
    for (int o = 1; o <= 8; o++) {
        assert_ok(dvit_image_orient(&turned, &in, o, &error), &error);
        assert_ok(dvit_image_orient(&back, &turned, inverse[o], &error), &error);
        assert_true(images_equal(&in, &back));
        assert_true(o == 1 || !images_equal(&in, &turned));
        dvit_image_free(&turned);
        dvit_image_free(&back);
    }
    assert_fails(dvit_image_orient(&turned, &in, 9, &error), &error, DVIT_ERROR_ARGUMENT,
                 "orientation is 9");
    dvit_image_free(&in);
}

static void create_checks_its_sides(void **state)
{
    struct dvit_error error;
    struct dvit_image image;
    int bad[][2] = {{0, 1}, {1, 0}, {-1, 1}, {65536, 1}, {1, 65536}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_fails(dvit_image_create(&image, bad[i][0], bad[i][1], &error), &error,
                     DVIT_ERROR_ARGUMENT, "1 to 65535");
        assert_empty(&image);
    }
    dvit_image_free(&image);
    dvit_image_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(preprocess_is_exact),
        cmocka_unit_test(settings_change_what_they_name),
        cmocka_unit_test(the_order_of_passes_is_a_setting),
        cmocka_unit_test(files_are_prepared_exactly),
        cmocka_unit_test(other_filters_and_squashed_crops_are_the_steps_they_name),
        cmocka_unit_test(centre_crop_is_exact),
        cmocka_unit_test(presets_are_the_papers),
        cmocka_unit_test(none_demands_the_size),
        cmocka_unit_test(regions_are_where_crops_are_cut),
        cmocka_unit_test(small_images_pass_unchanged),
        cmocka_unit_test(extreme_aspect_ratios_fit),
        cmocka_unit_test(short_side_rounds_down),
        cmocka_unit_test(crops_outside_are_black),
        cmocka_unit_test(flip_swaps_left_and_right),
        cmocka_unit_test(turns_undo_each_other),
        cmocka_unit_test(create_checks_its_sides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
