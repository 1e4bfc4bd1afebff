/* The built-in scenes: the spec, determinism, masks, balance, independence of resolution. */
#include <pthread.h>

#include "test_data_util.h"

static void test_defaults(void **state)
{
    static const char *const names[] = {"disc", "square", "triangle", "cross",
                                        "ring", "star",   "diamond",  "bars"};
    struct dvit_dataset *train = open_dataset("builtin:scenes", "train");
    struct dvit_dataset *val = open_dataset("builtin:scenes", "val");
    assert_int_equal(dvit_dataset_size(train), 4000);
    assert_int_equal(dvit_dataset_size(val), 1000);
    assert_int_equal(dvit_dataset_classes(train), 8);
    for (int i = 0; i < 8; i++)
        assert_string_equal(dvit_dataset_class_name(train, i), names[i]);
    assert_null(dvit_dataset_class_name(train, 8));
    assert_null(dvit_dataset_class_name(train, -1));
    assert_string_equal(dvit_dataset_item_name(val, 17), "scenes/val/17");
    assert_null(dvit_dataset_item_name(val, 1000));
    assert_int_equal(dvit_dataset_label(val, 1000), -1);
    assert_true(dvit_dataset_has_masks(val));
    assert_null(dvit_dataset_warning(val, 0));
    assert_int_equal(dvit_dataset_rotated(val), 0);
    struct dvit_sample sample;
    assert_int_equal(dvit_dataset_read(val, 3, &sample, NULL), DVIT_OK);
    assert_int_equal(sample.image.width, 64);
    assert_int_equal(sample.image.height, 64);
    dvit_sample_free(&sample);
    assert_int_not_equal(dvit_dataset_read(val, 1000, &sample, NULL), DVIT_OK);
    dvit_dataset_free(train);
    dvit_dataset_free(val);
    dvit_dataset_free(NULL);
}

static void test_spec(void **state)
{
    struct dvit_dataset *set =
        open_dataset("builtin:scenes:classes=12,image=40,train=30,val=7,seed=5", "val");
    struct dvit_sample sample;
    assert_int_equal(dvit_dataset_size(set), 7);
    assert_int_equal(dvit_dataset_classes(set), 12);
    assert_int_equal(dvit_dataset_read(set, 0, &sample, NULL), DVIT_OK);
    assert_int_equal(sample.image.width, 40);
    dvit_sample_free(&sample);
    dvit_dataset_free(set);
    enum dvit_status argument = DVIT_ERROR_ARGUMENT;
    expect_no_dataset("builtin:scene", "val", argument, "builtin:scene\"", "builtin:scenes");
    expect_no_dataset("builtin:scenesX", "val", argument, "builtin:scenesX", "built in");
    expect_no_dataset("builtin:scenes,imag=64", "val", argument, "\"imag\"", "image, classes");
    expect_no_dataset("builtin:scenes,image=15", "val", argument, "image is \"15\"", "16 … 1024");
    expect_no_dataset("builtin:scenes,image=1025", "val", argument, "image", "16 … 1024");
    expect_no_dataset("builtin:scenes,classes=13", "val", argument, "classes", "2 … 12");
    expect_no_dataset("builtin:scenes,classes=1", "val", argument, "classes", "2 … 12");
    expect_no_dataset("builtin:scenes,train=0", "val", argument, "train", "1 … 10000000");
    expect_no_dataset("builtin:scenes,val=-1", "val", argument, "val", "\"-1\"");
    expect_no_dataset("builtin:scenes,seed=99999999999999999999", "val", argument, "seed", "0 …");
    expect_no_dataset("builtin:scenes,seed=1e3", "val", argument, "seed", "\"1e3\"");
    expect_no_dataset("builtin:scenes,image", "val", argument, "\"image\"", "key=value");
    expect_no_dataset("builtin:scenes,image=", "val", argument, "image is \"\"", "integer");
    expect_no_dataset("builtin:scenes,", "val", argument, "key=value", "keys");
    expect_no_dataset("builtin:scenes,seed=1,seed=1", "val", argument, "seed", "twice");
    expect_no_dataset("builtin:scenes", "test", argument, "\"test\"", "\"val\"");
    expect_no_dataset("", "val", argument, "no name", "builtin:scenes");
}

static void test_side_option(void **state)
{
    struct dvit_dataset_options options = dvit_dataset_options_default();
    struct dvit_dataset *set;
    struct dvit_sample sample;
    struct dvit_error error = {0};
    options.scene_side = 33;
    assert_ok(dvit_dataset_open(&set, "builtin:scenes", "val", &options, &error), &error);
    assert_ok(dvit_dataset_read(set, 0, &sample, &error), &error);
    assert_int_equal(sample.image.width, 33);
    dvit_sample_free(&sample);
    dvit_dataset_free(set);
    options.scene_side = 8;
    assert_int_equal(dvit_dataset_open(&set, "builtin:scenes", "val", &options, &error),
                     DVIT_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "scene_side is 8"));
}

static void read_both(const char *a, const char *split_a, const char *b, const char *split_b,
                      size_t index, bool expect_same)
{
    struct dvit_dataset *sets[2] = {open_dataset(a, split_a), open_dataset(b, split_b)};
    struct dvit_sample samples[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(dvit_dataset_read(sets[i], index, &samples[i], NULL), DVIT_OK);
    size_t area = (size_t)samples[0].image.width * (size_t)samples[0].image.height;
    bool same = memcmp(samples[0].image.pixels, samples[1].image.pixels, 3 * area) == 0 &&
                memcmp(samples[0].mask, samples[1].mask, area) == 0;
    assert_int_equal(same, expect_same);
    bool same_print =
        strcmp(dvit_dataset_fingerprint(sets[0]), dvit_dataset_fingerprint(sets[1])) == 0;
    assert_int_equal(same_print, expect_same);
    assert_int_equal(strlen(dvit_dataset_fingerprint(sets[0])), 16);
    for (int i = 0; i < 2; i++) {
        dvit_sample_free(&samples[i]);
        dvit_dataset_free(sets[i]);
    }
}

static void test_determinism(void **state)
{
    for (size_t index = 0; index < 9; index++) {
        read_both("builtin:scenes,seed=1", "val", "builtin:scenes:seed=1", "val", index, true);
        read_both("builtin:scenes,seed=1", "val", "builtin:scenes,seed=2", "val", index, false);
        read_both("builtin:scenes", "val", "builtin:scenes", "train", index, false);
    }
}

/* Twice read: the second time from the cache, which must hand out copies, not its own memory. */
static void test_cache(void **state)
{
    struct dvit_dataset *set = open_dataset("builtin:scenes", "val");
    struct dvit_sample first, second;
    assert_int_equal(dvit_dataset_read(set, 5, &first, NULL), DVIT_OK);
    assert_int_equal(dvit_dataset_read(set, 5, &second, NULL), DVIT_OK);
    assert_ptr_not_equal(first.image.pixels, second.image.pixels);
    assert_memory_equal(first.image.pixels, second.image.pixels, 64 * 64 * 3);
    assert_memory_equal(first.mask, second.mask, 64 * 64);
    memset(second.image.pixels, 0, 64 * 64 * 3);
    dvit_sample_free(&second);
    assert_int_equal(dvit_dataset_read(set, 5, &second, NULL), DVIT_OK);
    assert_memory_equal(first.image.pixels, second.image.pixels, 64 * 64 * 3);
    dvit_sample_free(&first);
    dvit_sample_free(&second);
    dvit_dataset_free(set);
}

/* Several threads meet at the same images while the cache fills, and runs out. */
static void *read_repeatedly(void *context)
{
    struct dvit_dataset *set = context;
    size_t wrong = 0;
    for (size_t i = 0; i < 200; i++) {
        struct dvit_sample sample;
        wrong += dvit_dataset_read(set, i % 20, &sample, NULL) != DVIT_OK ||
                 sample.image.width != 32 || sample.label != (int)(i % 20 % 8);
        dvit_sample_free(&sample);
    }
    return wrong ? set : NULL;
}

static void test_threads(void **state)
{
    struct dvit_dataset_options options = dvit_dataset_options_default();
    struct dvit_dataset *set;
    struct dvit_error error = {0};
    pthread_t threads[4];
    options.scene_side = 32;
    options.cache_bytes = 10 * 32 * 32 * 4; /* not quite ten of the twenty images */
    assert_ok(dvit_dataset_open(&set, "builtin:scenes", "val", &options, &error), &error);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_repeatedly, set), 0);
    for (int i = 0; i < 4; i++) {
        void *failed = set;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    dvit_dataset_free(set);
}

/* Masks: inside, of the promised size, around a vivid object; classes equally frequent. */
static void test_masks_and_balance(void **state)
{
    struct dvit_dataset *set = open_dataset("builtin:scenes,classes=12,train=1200", "train");
    int frequency[12] = {0};
    double mean = 0;
    for (size_t i = 0; i < 1200; i++) {
        struct dvit_sample sample;
        assert_int_equal(dvit_dataset_read(set, i, &sample, NULL), DVIT_OK);
        int count = 0, vivid = 0, left = 64, right = -1;
        for (int at = 0; at < 64 * 64; at++) {
            const unsigned char *p = sample.image.pixels + at * 3;
            int high = p[0] > p[1] ? p[0] : p[1], low = p[0] < p[1] ? p[0] : p[1];
            high = p[2] > high ? p[2] : high;
            low = p[2] < low ? p[2] : low;
            assert_in_range(sample.mask[at], 0, 1);
            if (sample.mask[at]) {
                count++;
                left = at % 64 < left ? at % 64 : left;
                right = at % 64 > right ? at % 64 : right;
                vivid += high - low > 140;
            } else {
                assert_true(high - low < 110); /* muted: no distractor is like an object */
            }
        }
        assert_in_range(count, 41, 410); /* 1 … 10 % of the image */
        assert_in_range(right - left + 1, 5, 24);
        assert_true(vivid * 20 > count); /* the fill, between outlines */
        assert_int_equal(sample.label, dvit_dataset_label(set, i));
        frequency[sample.label]++;
        mean += count / 1200.0;
        dvit_sample_free(&sample);
    }
    for (int i = 0; i < 12; i++)
        assert_int_equal(frequency[i], 100);
    assert_in_range((int)mean, 100, 250);
    dvit_dataset_free(set);
}

/* The same scene at 32 and 128: averaged down, the pictures agree. */
static void test_resolution(void **state)
{
    struct dvit_dataset *small = open_dataset("builtin:scenes,image=32", "val");
    struct dvit_dataset *large = open_dataset("builtin:scenes,image=128", "val");
    for (size_t i = 0; i < 16; i++) {
        struct dvit_sample a, b;
        assert_int_equal(dvit_dataset_read(small, i, &a, NULL), DVIT_OK);
        assert_int_equal(dvit_dataset_read(large, i, &b, NULL), DVIT_OK);
        double difference = 0;
        for (int at = 0; at < 32 * 32 * 3; at++) {
            int row = at / 3 / 32, column = at / 3 % 32, sum = 0;
            for (int k = 0; k < 16; k++)
                sum += b.image.pixels[((row * 4 + k / 4) * 128 + column * 4 + k % 4) * 3 + at % 3];
            difference += abs(sum / 16 - a.image.pixels[at]) / (32 * 32 * 3.0);
        }
        assert_true(difference < 4);
        dvit_sample_free(&a);
        dvit_sample_free(&b);
    }
    dvit_dataset_free(small);
    dvit_dataset_free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),    cmocka_unit_test(test_spec),
        cmocka_unit_test(test_side_option), cmocka_unit_test(test_determinism),
        cmocka_unit_test(test_cache),       cmocka_unit_test(test_masks_and_balance),
        cmocka_unit_test(test_resolution),  cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
