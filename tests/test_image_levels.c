/* The loops over pixels: every vector level gives the bits of plain C, on sizes odd, extreme and
 * tiny, from and into memory that ends where no page is. */
#define _DEFAULT_SOURCE
#include "test_image_util.h"
#include "test_kernels_guard.h"

#include "image/room.h"

/* An image whose last byte, or first one, touches an unmapped page. */
struct guarded_image {
    struct guarded memory;
    struct dvit_image image;
};

static struct guarded_image guard_image(int width, int height, enum guard_side side)
{
    size_t bytes = 3 * (size_t)width * (size_t)height, floats = (bytes + 3) / 4;
    struct guarded_image guarded = {.memory = guard_new(floats, side)};
    unsigned char *pixels = (unsigned char *)guarded.memory.data;
    pixels += side == GUARD_AFTER ? 4 * floats - bytes : 0;
    guarded.image = (struct dvit_image){width, height, pixels};
    return guarded;
}

static void fill_noise(struct dvit_image *image, uint32_t seed)
{
    uint32_t bytes = 3 * (uint32_t)image->width * (uint32_t)image->height;
    for (uint32_t i = 0; i < bytes; i++) /* half of it at the ends of the range, where sums clip */
        image->pixels[i] = i / 64 % 2 ? noise_byte(i, seed) : (noise_byte(i, seed) & 1) * 255;
}

/* The resize at each level of this machine, against plain C. */
static void check_levels(int width, int height, const struct dvit_resize *resize, uint32_t seed)
{
    struct dvit_error error;
    for (int side = 0; side < GUARD_SIDES; side++) {
        struct guarded_image in = guard_image(width, height, side);
        struct dvit_resizer plain = dvit_resizer_begin(DVIT_CPU_REFERENCE);
        struct dvit_image expected = {0};
        fill_noise(&in.image, seed);
        assert_ok(dvit_resizer_run(&plain, &expected, &in.image, resize, &error), &error);
        for (int cpu = DVIT_CPU_REFERENCE + 1; cpu <= (int)dvit_cpu_best(); cpu++) {
            struct guarded_image out =
                guard_image(resize->window.width, resize->window.height, side);
            unsigned char *pixels = out.image.pixels;
            struct dvit_resizer resizer = dvit_resizer_begin((enum dvit_cpu)cpu);
            assert_ok(dvit_resizer_run(&resizer, &out.image, &in.image, resize, &error), &error);
            assert_ptr_equal(out.image.pixels, pixels);
            if (!images_equal(&expected, &out.image))
                fail_msg("%s: %dx%d to %dx%d differs from plain C",
                         dvit_cpu_name((enum dvit_cpu)cpu), resize->box.width, resize->box.height,
                         resize->width, resize->height);
            dvit_resizer_free(&resizer);
            guard_free(&out.memory);
        }
        dvit_image_free(&expected);
        dvit_resizer_free(&plain);
        guard_free(&in.memory);
    }
}

static struct dvit_resize whole(int width, int height, int to_width, int to_height,
                                enum dvit_filter filter)
{
    return (struct dvit_resize){
        .box = {0, 0, width, height},
        .width = to_width,
        .height = to_height,
        .window = {0, 0, to_width, to_height},
        .filter = filter,
    };
}

static void levels_agree_on_extremes(void **state)
{
    static const int sizes[][4] = {
        {1, 1, 1, 1},    {1, 1, 7, 5},       {7, 5, 1, 1},     {1, 900, 3, 2},   {900, 1, 2, 3},
        {2000, 3, 1, 3}, {3, 2000, 3, 1},    {1, 40, 1, 13},   {40, 1, 13, 1},   {2, 2, 300, 1},
        {5, 5, 224, 64}, {500, 37, 341, 25}, {64, 48, 64, 31}, {64, 48, 31, 48}, {33, 17, 32, 16},
        {1500, 9, 7, 9}, {4, 4, 3, 3},       {16, 21, 5, 22},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int filter = DVIT_FILTER_BILINEAR; filter <= DVIT_FILTER_BICUBIC; filter++) {
            const int *s = sizes[i];
            struct dvit_resize resize = whole(s[0], s[1], s[2], s[3], (enum dvit_filter)filter);
            check_levels(s[0], s[1], &resize, (uint32_t)i);
        }
}

static int draw_side(struct dvit_rng *rng, int most)
{
    return 1 + (int)dvit_rng_below(rng, (uint32_t)most);
}

/* A part of a random length in `size`: its length, and where it begins. */
static int draw_part(struct dvit_rng *rng, int size, int *start)
{
    int length = draw_side(rng, size);
    *start = (int)dvit_rng_below(rng, (uint32_t)(size - length) + 1);
    return length;
}

static void levels_agree_on_boxes_and_windows(void **state)
{
    struct dvit_rng rng = dvit_rng_stream(2, DVIT_RNG_TEST, 0, 0);
    for (uint32_t i = 0; i < 200; i++) {
        int width = draw_side(&rng, 150), height = draw_side(&rng, 60);
        struct dvit_resize resize = whole(width, height, draw_side(&rng, 120), draw_side(&rng, 90),
                                          (enum dvit_filter)(i % 2));
        resize.box.width = draw_part(&rng, width, &resize.box.x);
        resize.box.height = draw_part(&rng, height, &resize.box.y);
        if (i % 5 == 0)
            resize.width = resize.box.width;
        if (i % 7 == 0)
            resize.height = resize.box.height;
        resize.window.width = draw_part(&rng, resize.width, &resize.window.x);
        resize.window.height = draw_part(&rng, resize.height, &resize.window.y);
        resize.mirrored = i % 3 == 0;
        check_levels(width, height, &resize, i);
    }
}

/* A mirrored resize is the mirror of the resize, also where a pass is skipped. */
static void mirrored_is_flipped(void **state)
{
    struct dvit_error error;
    struct dvit_image in = noise_image(37, 21, 5);
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++)
        for (int to = 0; to < 3; to++) {
            struct dvit_resizer resizer = dvit_resizer_begin((enum dvit_cpu)cpu);
            struct dvit_image plain = {0}, mirrored = {0};
            struct dvit_resize resize =
                whole(37, 21, to == 0 ? 37 : 18 + to, to == 1 ? 21 : 11, DVIT_FILTER_BICUBIC);
            resize.window.x = 1;
            resize.window.width -= 3;
            assert_ok(dvit_resizer_run(&resizer, &plain, &in, &resize, &error), &error);
            resize.mirrored = true;
            assert_ok(dvit_resizer_run(&resizer, &mirrored, &in, &resize, &error), &error);
            assert_false(images_equal(&plain, &mirrored));
            dvit_image_flip(&mirrored);
            assert_true(images_equal(&plain, &mirrored));
            dvit_resizer_free(&resizer);
            dvit_image_free(&plain);
            dvit_image_free(&mirrored);
        }
    dvit_image_free(&in);
}

/* What a resizer and an image keep from one use to the next shows in nothing. */
static void kept_memory_does_not_show(void **state)
{
    static const int sides[] = {300, 20, 299, 1, 64, 300};
    struct dvit_error error;
    struct dvit_resizer kept = dvit_resizer_begin(dvit_cpu_best());
    struct dvit_image out = {0};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        struct dvit_image in = noise_image(sides[i], 301 - sides[i], (uint32_t)i), fresh;
        struct dvit_resize resize =
            whole(sides[i], 301 - sides[i], 32 + (int)i / 4, 24, DVIT_FILTER_BICUBIC);
        const unsigned char *before = out.pixels;
        assert_ok(dvit_resizer_run(&kept, &out, &in, &resize, &error), &error);
        if (i == 1 || i == 2)
            assert_ptr_equal(out.pixels, before);
        assert_ok(dvit_image_resize(&fresh, &in, resize.width, 24, DVIT_FILTER_BICUBIC, &error),
                  &error);
        assert_true(images_equal(&fresh, &out));
        dvit_image_free(&in);
        dvit_image_free(&fresh);
    }
    dvit_image_free(&out);
    dvit_resizer_free(&kept);
}

static void check_normalise(int width, const struct dvit_pixel_scale *scale)
{
    size_t pixels = (size_t)width;
    for (int side = 0; side < GUARD_SIDES; side++) {
        struct guarded_image in = guard_image(width, 1, side);
        struct guarded expected = guard_new(3 * pixels, side);
        for (uint32_t i = 0; i < 3 * pixels; i++)
            in.image.pixels[i] = (unsigned char)(i / 3); /* every value of every channel */
        dvit_pixel_loops_select(DVIT_CPU_REFERENCE)
            .normalise(expected.data, in.image.pixels, pixels, scale);
        for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
            struct guarded out = guard_new(3 * pixels, side);
            dvit_pixel_loops_select((enum dvit_cpu)cpu)
                .normalise(out.data, in.image.pixels, pixels, scale);
            assert_memory_equal(out.data, expected.data, 3 * pixels * sizeof *out.data);
            guard_free(&out);
        }
        guard_free(&expected);
        guard_free(&in.memory);
    }
}

/* Also where the vector way cannot be exact: deviations whose inverse is not a number to work with,
 * and means for which quotients are tiny. */
static void levels_agree_on_values(void **state)
{
    static const float scales[][2] = {{.485f, .229f}, {.5f, .5f},     {0, 1},      {.1f, 3.4e38f},
                                      {.5f, 1e-45f},  {-7, 1.2e-38f}, {1e30f, 3.f}};
    static const int widths[] = {1, 15, 16, 17, 255, 256, 777};
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
        float mean[3], std[3];
        struct dvit_pixel_scale scale;
        for (int c = 0; c < 3; c++) {
            mean[c] = scales[s][0] * (float)(1 + c);
            std[c] = scales[s][1] / (float)(1 + c);
        }
        dvit_pixel_scale_fill(&scale, mean, std);
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
            check_normalise(widths[w], &scale);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_agree_on_extremes),
        cmocka_unit_test(levels_agree_on_boxes_and_windows),
        cmocka_unit_test(mirrored_is_flipped),
        cmocka_unit_test(kept_memory_does_not_show),
        cmocka_unit_test(levels_agree_on_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
