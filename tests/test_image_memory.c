/* Every allocation of our own fails once: each function says "out of memory", leaves its result
 * empty and loses nothing (the last by the leak checker). The codecs' and cairo's own allocations
 * are theirs. */
#include "failing_allocator.h"
#include "test_image_util.h"

#include "image/augment.h"
#include "image/draw.h"

static struct dvit_image input; /* made before anything fails */
static unsigned char *encoded;
static size_t encoded_size;

static enum dvit_status run_decode(struct dvit_image *out, struct dvit_error *error)
{
    struct dvit_decode_options options = dvit_decode_options_default();
    options.apply_orientation = true;
    return dvit_image_decode(out, encoded, encoded_size, &options, NULL, error);
}

static enum dvit_status run_resize(struct dvit_image *out, struct dvit_error *error)
{
    return dvit_image_resize(out, &input, 50, 60, DVIT_FILTER_BICUBIC, error);
}

static enum dvit_status run_preprocess(struct dvit_image *out, struct dvit_error *error)
{
    struct dvit_preprocess preprocess = {
        .fit = DVIT_FIT_CROP, .resize_side = 20, .crop_width = 30, .crop_height = 30};
    return dvit_preprocess_geometry(&preprocess, &input, out, error); /* padded: two steps */
}

static enum dvit_status run_augment(struct dvit_image *out, struct dvit_error *error)
{
    struct dvit_preprocess preprocess = {
        .fit = DVIT_FIT_CROP, .resize_side = 16, .crop_width = 16, .crop_height = 16};
    struct dvit_augment augment = dvit_augment_default(16, 16);
    struct dvit_rng rng = dvit_rng_stream(1, DVIT_RNG_TEST, 0, 0);
    struct dvit_image_room room = dvit_image_room_begin(dvit_cpu_best());
    augment.color_jitter = .4;
    enum dvit_status status = dvit_augment_run(&augment, &preprocess, &input, &rng, &room, error);
    *out = status == DVIT_OK ? room.cut : (struct dvit_image){0};
    if (status == DVIT_OK)
        room.cut = (struct dvit_image){0};
    dvit_image_room_free(&room);
    return status;
}

static enum dvit_status run_encode(struct dvit_image *out, struct dvit_error *error)
{
    unsigned char *data;
    size_t size;
    enum dvit_status status = dvit_image_encode_png(&input, &data, &size, error);
    assert_true((status == DVIT_OK) == (data != NULL));
    free(data);
    *out = (struct dvit_image){0};
    return status;
}

static char folder[64];

/* A failure leaves no file and no part of one. */
static enum dvit_status run_write(struct dvit_image *out, struct dvit_error *error)
{
    char path[128];
    snprintf(path, sizeof path, "%s/out.png", folder);
    *out = (struct dvit_image){0};
    enum dvit_status status = dvit_image_write_png(path, &input, error);
    if (status != DVIT_OK)
        allocations_until_failure = -1; /* the folder is listed below */
    if (status != DVIT_OK)
        assert_int_equal(test_folder_count(folder), 0);
    return status;
}

static enum dvit_status run_draw(struct dvit_image *out, struct dvit_error *error)
{
    struct dvit_canvas *canvas;
    *out = (struct dvit_image){0};
    enum dvit_status status = dvit_canvas_create(&canvas, 30, 20, error);
    if (status != DVIT_OK) {
        assert_null(canvas);
        return status;
    }
    (void)dvit_canvas_text_width(canvas, 9, false, "a");
    dvit_canvas_text(canvas, 3, 10, 9, 0x000000ff, DVIT_ANCHOR_LEFT, false, "b");
    status = dvit_canvas_snapshot(canvas, out, error);
    dvit_canvas_free(canvas);
    return status;
}

/* Lets allocation 0, 1, 2, … fail until the call gets through; at least `expected` of them. */
static void fail_each(enum dvit_status (*run)(struct dvit_image *, struct dvit_error *),
                      int expected)
{
    for (int i = 0;; i++) {
        struct dvit_error error = {0};
        struct dvit_image out;
        assert_true(i < 100);
        allocations_until_failure = i;
        enum dvit_status status = run(&out, &error);
        bool reached = allocations_until_failure < 0;
        allocations_until_failure = -1;
        if (!reached) {
            assert_int_equal(status, DVIT_OK);
            assert_true(i >= expected);
            dvit_image_free(&out);
            return;
        }
        assert_int_equal(status, DVIT_ERROR_MEMORY);
        assert_non_null(strstr(error.message, "out of memory"));
        assert_empty(&out);
    }
}

static void decoding(void **state)
{
    static const struct {
        const char *name;
        int allocations;
    } files[] = {{"exif_6.jpg", 2},   {"jpeg_cmyk.jpg", 2},  {"png_palette4.png", 2},
                 {"exif_png.png", 3}, {"exif_webp.webp", 2}, {"pnm_p5.pgm", 2},
                 {"bmp_24.bmp", 1}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        encoded = read_golden(files[i].name, &encoded_size);
        fail_each(run_decode, files[i].allocations);
        free(encoded);
    }
}

static void geometry(void **state)
{
    fail_each(run_resize, 2);
    fail_each(run_preprocess, 3);
    fail_each(run_augment, 3);
}

static void writing(void **state)
{
    fail_each(run_encode, 2);
    test_folder_create(folder);
    fail_each(run_write, 2);
    test_folder_remove(folder);
    fail_each(run_draw, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding),
        cmocka_unit_test(geometry),
        cmocka_unit_test(writing),
    };
    input = noise_image(40, 30, 1);
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    dvit_image_free(&input);
    return result;
}
