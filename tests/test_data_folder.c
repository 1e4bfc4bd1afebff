/* Folders of images and CIFAR files: what is accepted, named and refused. */
#define _GNU_SOURCE
#include <unistd.h>

#include "test_data_util.h"

static char root[32];

static int make_root(void **state)
{
    test_folder_create(root);
    return 0;
}

static int remove_root(void **state)
{
    remove_tree(root);
    return 0;
}

static int read_grey(struct dvit_dataset *set, size_t index)
{
    struct dvit_sample sample;
    struct dvit_error error = {0};
    assert_ok(dvit_dataset_read(set, index, &sample, &error), &error);
    assert_null(sample.mask);
    assert_int_equal(sample.label, dvit_dataset_label(set, index));
    int value = sample.image.pixels[0];
    dvit_sample_free(&sample);
    return value;
}

static void make_split(const char *split)
{
    char folder[128];
    snprintf(folder, sizeof folder, "%s/%s/zebra", root, split);
    write_picture(folder, "b.PPM", 30);
    write_picture(folder, "a.jpg", 20);
    snprintf(folder, sizeof folder, "%s/%s/ant", root, split);
    write_picture(folder, "one.WebP", 10);
    write_picture(folder, ".hidden.png", 99);
    write_bytes(folder, "readme.txt", "no", 2);
    snprintf(folder, sizeof folder, "%s/%s/ant/deeper", root, split);
    write_picture(folder, "two.pgm", 11);
    snprintf(folder, sizeof folder, "%s/%s/.git", root, split);
    write_picture(folder, "x.png", 99);
}

static void check_split(struct dvit_dataset *set)
{
    static const int values[] = {11, 10, 20, 30}; /* byte order: "deeper" before "one.WebP" */
    static const int labels[] = {0, 0, 1, 1};
    assert_int_equal(dvit_dataset_classes(set), 2);
    assert_string_equal(dvit_dataset_class_name(set, 0), "ant");
    assert_string_equal(dvit_dataset_class_name(set, 1), "zebra");
    assert_int_equal(dvit_dataset_size(set), 4);
    assert_false(dvit_dataset_has_masks(set));
    for (int pass = 0; pass < 2; pass++) /* decoded, then from the cache */
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(dvit_dataset_label(set, i), labels[i]);
            assert_int_equal(read_grey(set, i), values[i]);
        }
}

static void test_train_and_val(void **state)
{
    make_split("train");
    make_split("val");
    struct dvit_dataset *train = open_dataset(root, "train");
    struct dvit_dataset *val = open_dataset(under(root, ""), "val"); /* trailing slash */
    check_split(train);
    check_split(val);
    assert_string_equal(dvit_dataset_fingerprint(train), dvit_dataset_fingerprint(val));
    assert_non_null(strstr(dvit_dataset_item_name(train, 0), "/train/ant/deeper/two.pgm"));
    assert_null(dvit_dataset_warning(train, 0));
    dvit_dataset_free(train);
    dvit_dataset_free(val);
}

static void test_classes_directly(void **state)
{
    make_split("x");
    struct dvit_dataset *train = open_dataset(under(root, "x"), "train");
    struct dvit_dataset *val = open_dataset(under(root, "x"), "val");
    check_split(train);
    check_split(val);
    dvit_dataset_free(train);
    dvit_dataset_free(val);
}

/* The same name, another label or another size: another fingerprint; another place: the same. */
static void test_fingerprint(void **state)
{
    char first[17];
    make_split("x");
    make_split("y");
    struct dvit_dataset *set = open_dataset(under(root, "x"), "val");
    strcpy(first, dvit_dataset_fingerprint(set));
    dvit_dataset_free(set);
    set = open_dataset(under(root, "y"), "val");
    assert_string_equal(dvit_dataset_fingerprint(set), first);
    dvit_dataset_free(set);
    write_bytes(under(root, "y/ant"), "one.WebP", "longer than before", 18);
    set = open_dataset(under(root, "y"), "val");
    assert_string_not_equal(dvit_dataset_fingerprint(set), first);
    dvit_dataset_free(set);
}

static void test_cache_budget(void **state)
{
    struct dvit_dataset_options options = dvit_dataset_options_default();
    struct dvit_error error;
    static const size_t budgets[] = {0, 1, 150, 300};
    make_split("x");
    for (size_t i = 0; i < 4; i++) {
        struct dvit_dataset *set;
        options.cache_bytes = budgets[i];
        assert_ok(dvit_dataset_open(&set, under(root, "x"), "val", &options, &error), &error);
        check_split(set);
        dvit_dataset_free(set);
    }
}

static void test_folder_errors(void **state)
{
    enum dvit_status format = DVIT_ERROR_FORMAT, mismatch = DVIT_ERROR_MISMATCH;
    expect_no_dataset(under(root, "none"), "train", DVIT_ERROR_NOT_FOUND, "/none\"", "no such");
    expect_no_dataset(root, "train", format, root, "empty");
    write_picture(root, "a.png", 1);
    expect_no_dataset(root, "train", format, "no class folders", "1 images");
    expect_no_dataset(under(root, "a.png"), "train", format, "is a file", "folder");
    write_bytes(under(root, "train/ant"), "a.txt", "x", 1);
    write_bytes(under(root, "train/ant"), "a.TIFF", "x", 1);
    expect_no_dataset(root, "train", format, "no images", "1 files of unsupported");
    write_picture(under(root, "train/ant"), "a.png", 1);
    expect_no_dataset(root, "val", DVIT_ERROR_NOT_FOUND, "no val", root);
    assert_ok(dvit_folder_create(under(root, "val"), NULL), &(struct dvit_error){0});
    expect_no_dataset(root, "val", mismatch, "1 classes and val/ 0", "\"ant\"");
    write_picture(under(root, "val/bee"), "a.png", 1);
    expect_no_dataset(root, "val", mismatch, "\"ant\" in train/", "\"bee\" in val/");
    expect_no_dataset(root, "train", mismatch, "\"ant\" in train/", "\"bee\" in val/");
    write_picture(under(root, "val/ant"), "a.png", 1);
    expect_no_dataset(root, "train", mismatch, "\"(none)\" in train/", "\"bee\" in val/");
}

static void test_warnings(void **state)
{
    make_split("x");
    write_bytes(under(root, "x/ant"), "u.TIFF", "x", 1);
    write_bytes(under(root, "x/ant"), "v.tif", "x", 1);
    assert_ok(dvit_folder_create(under(root, "x/bee"), NULL), &(struct dvit_error){0});
    struct dvit_dataset *set = open_dataset(under(root, "x"), "val");
    assert_int_equal(dvit_dataset_classes(set), 3);
    assert_int_equal(dvit_dataset_size(set), 4);
    assert_non_null(strstr(dvit_dataset_warning(set, 0), "2 files of kinds"));
    assert_non_null(strstr(dvit_dataset_warning(set, 0), "u.TIFF"));
    assert_non_null(strstr(dvit_dataset_warning(set, 1), "1 of 3 classes"));
    assert_non_null(strstr(dvit_dataset_warning(set, 1), "bee"));
    assert_null(dvit_dataset_warning(set, 2));
    dvit_dataset_free(set);
}

/* What a link leads to is read; where it leads to nothing, or back, that is told at once. */
static void test_links(void **state)
{
    make_split("x");
    char dead[128], loop[128], other[128];
    snprintf(dead, sizeof dead, "%s/x/ant/dead.png", root);
    snprintf(loop, sizeof loop, "%s/x/ant/deeper/loop", root);
    snprintf(other, sizeof other, "%s/x/cow", root);
    assert_int_equal(symlink("nowhere", dead), 0);
    assert_int_equal(symlink("../../ant", loop), 0);
    assert_int_equal(symlink("zebra", other), 0);
    struct dvit_dataset *set = open_dataset(under(root, "x"), "val");
    assert_int_equal(dvit_dataset_size(set), 6);
    assert_int_equal(dvit_dataset_classes(set), 3);
    assert_non_null(strstr(dvit_dataset_warning(set, 0), "1 links lead to nothing"));
    assert_non_null(strstr(dvit_dataset_warning(set, 0), "dead.png"));
    assert_non_null(strstr(dvit_dataset_warning(set, 1), "1 links lead back"));
    assert_non_null(strstr(dvit_dataset_warning(set, 1), "deeper/loop"));
    assert_null(dvit_dataset_warning(set, 2));
    dvit_dataset_free(set);
    remove(dead); /* before the tree is removed */
    remove(loop);
    remove(other);
}

/* The smallest JPEG, 8×8 grey in one block, with EXIF orientation 6. Returns its size. */
static size_t make_turned_jpeg(unsigned char *out)
{
    static const unsigned char head[] = {
        0xFF, 0xD8,                                       /* SOI */
        0xFF, 0xE1, 0,    34,   'E', 'x', 'i', 'f', 0, 0, /* APP1 */
        'I',  'I',  42,   0,    8,   0,   0,   0,         /* TIFF, little endian */
        1,    0,    0x12, 0x01, 3,   0,   1,   0,   0, 0,
        6,    0,    0,    0,    0,   0,   0,   0, /* orientation = 6 */
        0xFF, 0xDB, 0,    67,   0};               /* DQT, all ones */
    static const unsigned char tail[] = {
        0xFF, 0xC0, 0, 11, 8,    0, 8, 0, 8,  1, 1,    0x11, 0, /* SOF0 8×8 grey */
        0xFF, 0xC4, 0, 20, 0x00, 1, 0, 0, 0,  0, 0,    0,    0,
        0,    0,    0, 0,  0,    0, 0, 0, 0, /* DC: "0" → 0 */
        0xFF, 0xC4, 0, 20, 0x10, 1, 0, 0, 0,  0, 0,    0,    0,
        0,    0,    0, 0,  0,    0, 0, 0, 0,           /* AC: "0" → EOB */
        0xFF, 0xDA, 0, 8,  1,    1, 0, 0, 63, 0, 0x3F, /* SOS, one block */
        0xFF, 0xD9};
    memcpy(out, head, sizeof head);
    memset(out + sizeof head, 1, 64);
    memcpy(out + sizeof head + 64, tail, sizeof tail);
    return sizeof head + 64 + sizeof tail;
}

static void test_rotated(void **state)
{
    unsigned char file[512];
    size_t size = make_turned_jpeg(file);
    make_split("x");
    write_bytes(under(root, "x/ant"), "turned.jpg", file, size);
    struct dvit_dataset_options options = dvit_dataset_options_default();
    struct dvit_dataset *set;
    struct dvit_error error = {0};
    options.cache_bytes = 0; /* every read decodes */
    assert_ok(dvit_dataset_open(&set, under(root, "x"), "val", &options, &error), &error);
    assert_int_equal(dvit_dataset_rotated(set), 0);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < 5; i++)
            read_grey(set, i);
    assert_int_equal(dvit_dataset_rotated(set), 1);
    dvit_dataset_free(set);
}

/* ------------------------------------------------------------------------------------ CIFAR --- */

/* `count` records: label of record i is (first + i) mod 10, planes are label, label+50, label+100.
 */
static unsigned char *make_records(size_t count, int first, size_t label_bytes)
{
    size_t record = label_bytes + 3072;
    unsigned char *data = malloc(count * record);
    for (size_t i = 0; i < count; i++) {
        int label = (first + (int)i) % 10;
        unsigned char *at = data + i * record;
        memset(at, 77, label_bytes); /* the coarse label is not looked at */
        at[label_bytes - 1] = (unsigned char)label;
        for (int plane = 0; plane < 3; plane++)
            memset(at + label_bytes + plane * 1024, label + 50 * plane, 1024);
        at[label_bytes + 1] = 201; /* red of the second pixel */
    }
    return data;
}

static void write_records(const char *name, size_t count, int first, size_t label_bytes,
                          size_t missing_bytes)
{
    unsigned char *data = make_records(count, first, label_bytes);
    write_bytes(root, name, data, count * (label_bytes + 3072) - missing_bytes);
    free(data);
}

static void check_record(struct dvit_dataset *set, size_t index, int label)
{
    struct dvit_sample sample;
    assert_int_equal(dvit_dataset_read(set, index, &sample, NULL), DVIT_OK);
    assert_int_equal(sample.image.width, 32);
    assert_int_equal(sample.image.height, 32);
    assert_int_equal(sample.label, label);
    for (int plane = 0; plane < 3; plane++)
        assert_int_equal(sample.image.pixels[plane], label + 50 * plane);
    assert_int_equal(sample.image.pixels[3], 201);
    dvit_sample_free(&sample);
}

static void test_cifar10(void **state)
{
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%d.bin", i + 1);
        write_records(name, 3, i, 1, 0);
    }
    write_records("test_batch.bin", 2, 8, 1, 0);
    struct dvit_dataset *train = open_dataset(root, "train");
    assert_int_equal(dvit_dataset_size(train), 15);
    assert_int_equal(dvit_dataset_classes(train), 10);
    assert_string_equal(dvit_dataset_class_name(train, 3), "3");
    assert_string_equal(dvit_dataset_item_name(train, 4), "data_batch_2.bin/1");
    for (size_t i = 0; i < 15; i++)
        check_record(train, i, (int)(i / 3 + i % 3));
    assert_null(dvit_dataset_warning(train, 0));
    dvit_dataset_free(train);
    write_bytes(root, "batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n", 21);
    struct dvit_dataset *val = open_dataset(root, "val");
    assert_int_equal(dvit_dataset_size(val), 2);
    assert_string_equal(dvit_dataset_class_name(val, 9), "j");
    check_record(val, 1, 9);
    dvit_dataset_free(val);
    remove(under(root, "data_batch_4.bin"));
    train = open_dataset(root, "train");
    assert_int_equal(dvit_dataset_size(train), 12);
    assert_non_null(strstr(dvit_dataset_warning(train, 0), "data_batch_4.bin"));
    dvit_dataset_free(train);
}

static void test_cifar100(void **state)
{
    write_records("train.bin", 3, 4, 2, 0);
    write_records("test.bin", 2, 8, 2, 0);
    struct dvit_dataset *set = open_dataset(root, "train");
    assert_int_equal(dvit_dataset_size(set), 3);
    assert_int_equal(dvit_dataset_classes(set), 100);
    check_record(set, 2, 6);
    dvit_dataset_free(set);
}

static void test_cifar_errors(void **state)
{
    enum dvit_status format = DVIT_ERROR_FORMAT;
    write_records("test_batch.bin", 2, 8, 1, 1);
    expect_no_dataset(root, "val", format, "test_batch.bin", "has 6145 bytes, expected a multiple");
    expect_no_dataset(root, "train", DVIT_ERROR_NOT_FOUND, "no data_batch_1.bin", root);
    write_bytes(root, "test_batch.bin", "", 0);
    expect_no_dataset(root, "val", format, "test_batch.bin", "has 0 bytes");
    unsigned char *data = make_records(2, 0, 1);
    data[3073] = 10;
    write_bytes(root, "test_batch.bin", data, 2 * 3073);
    free(data);
    expect_no_dataset(root, "val", format, "record 1 has label 10", "0 … 9");
    write_records("test_batch.bin", 2, 8, 1, 0);
    write_bytes(root, "batches.meta.txt", "a\nb\n", 4);
    expect_no_dataset(root, "val", format, "batches.meta.txt", "names 2 classes, expected 10");
}

/* Files as they are given: any order, any name, twice, missing. */
static void test_files(void **state)
{
    static const int values[] = {7, 9, 7};
    struct dvit_error error = {0};
    struct dvit_dataset *set = NULL, *none = (struct dvit_dataset *)1;
    char paths[4][64];
    const char *list[4];
    static const char *const names[4] = {"z.jpg", "a.txt", "z.jpg", "none.png"};
    for (int i = 0; i < 4; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%s", root, names[i]);
        list[i] = paths[i];
    }
    write_picture(root, "z.jpg", 7);
    write_picture(root, "a.txt", 9);
    assert_ok(dvit_dataset_open_files(&set, list, 4, NULL, &error), &error);
    assert_int_equal(dvit_dataset_size(set), 4);
    assert_int_equal(dvit_dataset_classes(set), 1);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(dvit_dataset_item_name(set, i), paths[i]);
        assert_int_equal(read_grey(set, i), values[i]);
    }
    struct dvit_sample sample;
    assert_int_equal(dvit_dataset_read(set, 3, &sample, &error), DVIT_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "none.png"));
    dvit_dataset_free(set);
    assert_int_equal(dvit_dataset_open_files(&none, list, 0, NULL, &error), DVIT_ERROR_ARGUMENT);
    assert_null(none);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_train_and_val), TEST(test_classes_directly), TEST(test_fingerprint),
        TEST(test_cache_budget),  TEST(test_folder_errors),    TEST(test_warnings),
        TEST(test_links),         TEST(test_rotated),          TEST(test_cifar10),
        TEST(test_cifar100),      TEST(test_cifar_errors),     TEST(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
