/* Images that vanish or change while a training runs: one, a whole batch, an epoch, the validation
 * set. They are passed over, counted and told, or are an error where that was asked for; what was
 * saved stays good to go on from. */
#define _GNU_SOURCE
#include "run_bench.h"

#include <unistd.h>

enum { IMAGES = 10, VANISH_AT = 2 }; /* of each class; step */

static void image_path(const char *root, const char *split, int image, char path[96])
{
    snprintf(path, 96, "%s/%s/class%d/%d.ppm", root, split, image / IMAGES, image % IMAGES);
}

static void write_image(const char *root, const char *split, int image)
{
    struct dvit_error error;
    unsigned char data[13 + 16 * 16 * 3] = "P6 16 16 255\n";
    char path[96];
    for (size_t n = 13; n < sizeof data; n++)
        data[n] =
            (unsigned char)(n * (size_t)(image % IMAGES + 2) + 100 * (size_t)(image / IMAGES));
    image_path(root, split, image, path);
    assert_ok(dvit_file_replace(path, data, sizeof data, &error), &error);
}

static const char *const splits[2] = {"train", "val"};

/* Two classes of ten small images in each of train/ and val/. */
static void write_images(const char *root)
{
    struct dvit_error error;
    for (int s = 0; s < 2; s++)
        for (int image = 0; image < 2 * IMAGES; image++) {
            char path[96];
            snprintf(path, sizeof path, "%s/%s/class%d", root, splits[s], image / IMAGES);
            assert_ok(dvit_folder_create(path, &error), &error);
            write_image(root, splits[s], image);
        }
}

static void remove_images(const char *root)
{
    char path[96];
    for (int s = 0; s < 2; s++) {
        for (int k = 0; k < 2; k++) {
            snprintf(path, sizeof path, "%s/%s/class%d", root, splits[s], k);
            test_folder_remove(path);
        }
        snprintf(path, sizeof path, "%s/%s", root, splits[s]);
        assert_int_equal(rmdir(path), 0);
    }
    assert_int_equal(rmdir(root), 0);
}

/* ---- what happens at step VANISH_AT ---- */

static void change(struct train_run *run, const char *split, int image)
{
    char path[96];
    struct dvit_error error;
    image_path(run->data, split, image, path);
    if (image % 3 == 0) /* another file than it was */
        assert_ok(dvit_file_replace(path, "no image", 8, &error), &error);
    else
        unlink(path);
}

static void lose_five(struct train_run *run, long step)
{
    for (int image = 0; step == VANISH_AT && image < 5; image++)
        change(run, "train", 2 * image);
}

static void lose_all(struct train_run *run, long step)
{
    for (int image = 0; step == VANISH_AT && image < 2 * IMAGES; image++)
        change(run, "train", image);
}

static void lose_validation(struct train_run *run, long step)
{
    for (int image = 0; step == VANISH_AT && image < 7; image++)
        change(run, "val", image);
}

static void lose_all_validation(struct train_run *run, long step)
{
    for (int image = 0; step == VANISH_AT && image < 2 * IMAGES; image++)
        change(run, "val", image);
}

/* ---- runs ---- */

static struct dvit_dataset_options uncached(void)
{
    struct dvit_dataset_options options = dvit_dataset_options_default();
    options.cache_bytes = 0;
    return options;
}

static struct train_run image_run(const char *out, const char *images,
                                  void (*at_step)(struct train_run *, long))
{
    static struct dvit_dataset_options options;
    struct train_run run = run_create(out);
    options = uncached();
    run.data_options = &options;
    run.data = images;
    run.classes = 2;
    run.at_step = at_step;
    run.options.workers = 0; /* none is read ahead: what is lost is known */
    return run;
}

static void lost_images_are_told_once(void **state)
{
    (void)state;
    char images[32], out[32];
    for (int batch = 1; batch <= 4; batch += 3) { /* in one case all images of a batch */
        write_images(test_folder_create(images));
        struct train_run run = image_run(test_folder_create(out), images, lose_five);
        run.validate = false;
        run.options.batch = batch;
        assert_ok(run_train(&run), &run.error);
        assert_int_equal(run.told[DVIT_TRAIN_SKIPPED], 5);
        assert_non_null(strstr(run.skipped, "skipped image"));
        assert_non_null(strstr(run.skipped, images));
        assert_string_equal(run.finished, "done");
        struct run_file log = run_read(out, "log.jsonl");
        assert_non_null(memmem(log.data, log.size, "No such file", 12));
        free(log.data);
        run_free(&run);
        test_folder_remove(out);
        remove_images(images);
    }
}

static void lost_images_may_be_an_error(void **state)
{
    (void)state;
    char images[32], out[32];
    write_images(test_folder_create(images));
    struct train_run run = image_run(test_folder_create(out), images, lose_five);
    run.options.strict = true;
    run.options.checkpoint_every = 1;
    run_train(&run);
    assert_true(run.status == DVIT_ERROR_NOT_FOUND || run.status == DVIT_ERROR_FORMAT);
    assert_non_null(strstr(run.error.message, ".ppm"));
    for (int image = 0; image < 2 * IMAGES; image++)
        write_image(images, "train", image);
    run.options.resume = true;
    run.at_step = NULL;
    assert_ok(run_train(&run), &run.error);
    run_free(&run);
    test_folder_remove(out);
    remove_images(images);
}

/* With no image left the epoch ends and the next one is an error; with the images back the run goes
 * on from what it had. */
static void a_lost_data_set_ends_the_run(void **state)
{
    (void)state;
    char images[32], out[32];
    write_images(test_folder_create(images));
    struct train_run run = image_run(test_folder_create(out), images, lose_all);
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_FORMAT, "none of the 20 images");
    assert_int_equal(run.told[DVIT_TRAIN_STEP], VANISH_AT);
    assert_int_equal(run.told[DVIT_TRAIN_EVALUATED], 1);
    for (int image = 0; image < 2 * IMAGES; image++)
        write_image(images, "train", image);
    run.options.resume = true;
    run.at_step = NULL;
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.told[DVIT_TRAIN_SKIPPED], 0);
    assert_int_equal(run.told[DVIT_TRAIN_STEP], 2 * RUN_STEPS_PER_EPOCH);
    run_free(&run);
    test_folder_remove(out);
    remove_images(images);
}

static void lost_validation_images_are_counted(void **state)
{
    (void)state;
    char images[32], out[32];
    write_images(test_folder_create(images));
    struct train_run run = image_run(test_folder_create(out), images, lose_validation);
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.told[DVIT_TRAIN_SKIPPED], RUN_EPOCHS);
    assert_string_equal(run.skipped, "7 of 20 validation images, which could not be read");
    run_free(&run);
    test_folder_remove(out);
    remove_images(images);
}

/* What was trained is saved before it is evaluated. */
static void a_lost_validation_set_costs_no_step(void **state)
{
    (void)state;
    char images[32], out[32];
    write_images(test_folder_create(images));
    struct train_run run = image_run(test_folder_create(out), images, lose_all_validation);
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_FORMAT, "none of the 20 images");
    for (int image = 0; image < 2 * IMAGES; image++)
        write_image(images, "val", image);
    run.options.resume = true;
    run.at_step = NULL;
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.first_step, RUN_STEPS_PER_EPOCH + 1);
    assert_int_equal(run.told[DVIT_TRAIN_EVALUATED], RUN_EPOCHS);
    run_free(&run);
    test_folder_remove(out);
    remove_images(images);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lost_images_are_told_once),
        cmocka_unit_test(lost_images_may_be_an_error),
        cmocka_unit_test(a_lost_data_set_ends_the_run),
        cmocka_unit_test(lost_validation_images_are_counted),
        cmocka_unit_test(a_lost_validation_set_costs_no_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
