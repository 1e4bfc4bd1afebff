/* Folders as users have them: other names of splits, one level too deep, numbers as classes, names
 * in other spellings, files that are no images or are not said to be. */
#define _GNU_SOURCE
#include <unistd.h>

#include "data/name_compare.h"
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

/* A picture in each of the folders under the root. */
static void make(const char *const *folders)
{
    for (size_t i = 0; folders[i]; i++)
        write_picture(under(root, folders[i]), "1.ppm", (unsigned)i);
}

#define MAKE(...) make((const char *const[]){__VA_ARGS__, NULL})

static void start_again(void)
{
    remove_tree(root);
    assert_ok(dvit_folder_create(root, NULL), &(struct dvit_error){0});
}

static void has_warning(struct dvit_dataset *set, const char *part)
{
    const char *warning;
    for (size_t i = 0; (warning = dvit_dataset_warning(set, i)) != NULL; i++)
        if (strstr(warning, part))
            return;
    fail_msg("no warning has \"%s\"; the first is %s", part, dvit_dataset_warning(set, 0));
}

/* ---- splits ---- */

static void other_names_of_splits_are_taken(void **state)
{
    static const char *const names[][2] = {{"Training", "Testing"}, {"Train", "Val"},
                                           {"TRAIN", "TEST"},       {"training", "validation"},
                                           {"train", "valid"},      {"train", "test"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char folder[4][64];
        for (int j = 0; j < 4; j++)
            snprintf(folder[j], sizeof folder[j], "%s/%s", names[i][j / 2], j % 2 ? "dog" : "cat");
        MAKE(folder[0], folder[1], folder[2], folder[3]);
        struct dvit_dataset *train = open_dataset(root, "train"), *val = open_dataset(root, "val");
        assert_int_equal(dvit_dataset_classes(train), 2);
        assert_string_equal(dvit_dataset_class_name(val, 0), "cat");
        assert_non_null(strstr(dvit_dataset_item_name(train, 0), names[i][0]));
        assert_non_null(strstr(dvit_dataset_item_name(val, 0), names[i][1]));
        has_warning(val, names[i][1]);
        has_warning(val, "there is no val/");
        dvit_dataset_free(train);
        dvit_dataset_free(val);
        start_again();
    }
    MAKE("train/cat", "val/cat", "test/cat", "valid/cat"); /* the usual names come first */
    struct dvit_dataset *val = open_dataset(root, "val");
    assert_non_null(strstr(dvit_dataset_item_name(val, 0), "/val/"));
    assert_null(dvit_dataset_warning(val, 0));
    dvit_dataset_free(val);
}

static void splits_are_never_classes(void **state)
{
    enum dvit_status format = DVIT_ERROR_FORMAT;
    MAKE("cat", "dog", "test"); /* pictures without classes beside the class folders */
    expect_no_dataset(root, "train", format, "\"test\" is named like a split", "train/ and val/");
    start_again();
    MAKE("Train", "Val");
    expect_no_dataset(root, "train", format, "is named like a split", "train/ and val/");
    start_again();
    MAKE("seg_train/forest", "seg_train/sea", "seg_test/forest", "seg_test/sea");
    expect_no_dataset(root, "train", format, "\"seg_test\" is named like a split",
                      "train/ and val/");
    start_again();
    MAKE("Train/cat", "training/cat", "val/cat");
    expect_no_dataset(root, "train", DVIT_ERROR_MISMATCH, "\"Train\" and \"training\"",
                      "expected train/ and val/");
    start_again();
    MAKE("bullet_train", "test tube"); /* classes, by what they hold */
    dvit_dataset_free(open_dataset(root, "train"));
}

static void one_level_too_deep(void **state)
{
    enum dvit_status format = DVIT_ERROR_FORMAT;
    char path[64];
    MAKE("data/train/cat", "data/train/dog", "data/val/cat", "data/val/dog");
    snprintf(path, sizeof path, "name \"%s/data\"", root);
    expect_no_dataset(root, "train", format, "\"data\" holds train/ and val/", path);
    start_again();
    MAKE("images/train/a", "images/test/a", "labels/train/a");
    expect_no_dataset(root, "train", format, "\"images\" holds train/ and test/", "/images\"");
    start_again();
    MAKE("train/set/cat", "train/set/dog", "val/set/cat", "val/set/dog");
    expect_no_dataset(root, "val", format, "its only folder, \"set\", holds 2 folders",
                      "one level too deep");
    start_again();
    MAKE("train/cat/a", "train/cat/b", "train/dog", "val/cat/a", "val/dog");
    struct dvit_dataset *set = open_dataset(root, "train");
    has_warning(set, "class \"cat\" holds 2 sub-folders and no images beside them; taken as one "
                     "class (so are 1 of 2 classes)");
    dvit_dataset_free(set);
}

/* ---- numbers ---- */

static const struct dvit_class_names twelve = {12, NULL, NULL};

static enum dvit_status open_with(struct dvit_dataset **out, const struct dvit_class_names *classes,
                                  struct dvit_error *error)
{
    struct dvit_dataset_options options = dvit_dataset_options_default();
    options.classes = classes;
    return dvit_dataset_open(out, root, "val", &options, error);
}

static void make_numbers(int first, int count, const char *format)
{
    for (int i = first; i < first + count; i++) {
        char name[32], folder[128];
        snprintf(name, sizeof name, format, i);
        snprintf(folder, sizeof folder, "%s/val/%s", root, name);
        write_picture(folder, "1.ppm", (unsigned)i);
    }
}

static void check_numbers(struct dvit_dataset *set, int count)
{
    struct dvit_sample sample;
    assert_int_equal(dvit_dataset_size(set), count);
    for (int i = 0; i < count; i++) {
        assert_int_equal(dvit_dataset_read(set, (size_t)i, &sample, NULL), DVIT_OK);
        assert_int_equal(sample.label, sample.image.pixels[0]); /* the number of its folder */
        dvit_sample_free(&sample);
    }
}

static void numbers_from_0_are_indices(void **state)
{
    const char *names[12] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"};
    const struct dvit_class_names named = {12, names, NULL}, ten = {10, NULL, NULL};
    for (int padded = 0; padded < 2; padded++) {
        struct dvit_error error = {0};
        struct dvit_dataset *set;
        make_numbers(0, 12, padded ? "%03d" : "%d");
        set = open_dataset(root, "val");
        check_numbers(set, 12);
        assert_string_equal(dvit_dataset_class_name(set, 2), padded ? "002" : "2");
        dvit_dataset_free(set);
        assert_ok(open_with(&set, &twelve, &error), &error);
        check_numbers(set, 12);
        assert_null(dvit_dataset_warning(set, 0));
        dvit_dataset_free(set);
        assert_ok(open_with(&set, &named, &error), &error);
        check_numbers(set, 12);
        has_warning(set, "taken as the model's class indices: 0 is \"a\"");
        dvit_dataset_free(set);
        assert_fails(open_with(&set, &ten, &error), &error, DVIT_ERROR_MISMATCH,
                     "has 12 classes, numbered from 0; the model has 10");
        start_again();
    }
}

static void other_numbers_are_refused(void **state)
{
    const char *from_one[12] = {"12", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"};
    const struct dvit_class_names known = {12, from_one, NULL};
    struct dvit_error error = {0};
    struct dvit_dataset *set;
    make_numbers(1, 12, "%d");
    expect_no_dataset(root, "val", DVIT_ERROR_MISMATCH,
                      "12 class folders are whole numbers, 1 to 12", "expected 0 to 11");
    assert_fails(open_with(&set, &twelve, &error), &error, DVIT_ERROR_MISMATCH, "1 to 12");
    const char *names[12] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"};
    const struct dvit_class_names named = {12, names, NULL};
    assert_fails(open_with(&set, &named, &error), &error, DVIT_ERROR_MISMATCH, "1 to 12");
    assert_ok(open_with(&set, &known, &error), &error); /* these names are the model's own */
    assert_int_equal(dvit_dataset_label(set, 11), 0);
    dvit_dataset_free(set);
    start_again();
    MAKE("val/0", "val/2");
    expect_no_dataset(root, "val", DVIT_ERROR_MISMATCH, "0 to 2", "expected 0 to 1");
    start_again();
    MAKE("val/0", "val/00");
    expect_no_dataset(root, "val", DVIT_ERROR_MISMATCH, "0 to 00", "expected 0 to 1");
    start_again();
    MAKE("val/1", "val/2", "val/three"); /* names */
    dvit_dataset_free(open_dataset(root, "val"));
}

/* ---- spelling ---- */

static void names_are_compared(void **state)
{
    static const struct {
        const char *a, *b;
        enum dvit_name_difference difference;
    } cases[] = {
        {"dog", "dog", DVIT_NAMES_EQUAL},
        {"dog", "dogs", DVIT_NAMES_DIFFER},
        {"K\xc3\xa4se", "Ka\xcc\x88se", DVIT_NAMES_DIFFER_IN_FORM},
        {"\xe1\xbb\x87", "e\xcc\xa3\xcc\x82", DVIT_NAMES_DIFFER_IN_FORM}, /* two marks */
        {"\xea\xb0\x81", "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", DVIT_NAMES_DIFFER_IN_FORM},
        {"\xe3\x81\x8c", "\xe3\x81\x8b\xe3\x82\x99", DVIT_NAMES_DIFFER_IN_FORM}, /* kana */
        {"K\xc3\xa4se", "Kase", DVIT_NAMES_DIFFER},
        {"golden_Retriever", "Golden retriever", DVIT_NAMES_DIFFER_IN_CASE},
        {"\xc3\x84nte", "\xc3\xa4nte", DVIT_NAMES_DIFFER_IN_CASE},
        {"\xe4", "\xc3\xa4", DVIT_NAMES_DIFFER}, /* Latin-1 */
        {"", "a", DVIT_NAMES_DIFFER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(dvit_name_compare(cases[i].a, cases[i].b), cases[i].difference);
        assert_int_equal(dvit_name_compare(cases[i].b, cases[i].a), cases[i].difference);
    }
}

static void spelling_is_hinted(void **state)
{
    const char *names[2] = {"K\xc3\xa4se", "dog"}, *others[2] = {"Cat", "Dog"};
    const struct dvit_class_names model = {2, names, NULL}, capital = {2, others, NULL};
    struct dvit_error error = {0};
    struct dvit_dataset *set;
    MAKE("train/Ka\xcc\x88se", "train/dog", "val/K\xc3\xa4se", "val/dog");
    expect_no_dataset(root, "train", DVIT_ERROR_MISMATCH, "Unicode normalisation only", "train/");
    start_again();
    MAKE("train/Cat", "train/dog", "val/cat", "val/dog");
    expect_no_dataset(root, "train", DVIT_ERROR_MISMATCH, "\"Cat\" of train/ and \"cat\" of val/",
                      "upper and lower case");
    start_again();
    MAKE("val/Ka\xcc\x88se", "val/dog");
    assert_fails(open_with(&set, &model, &error), &error, DVIT_ERROR_MISMATCH,
                 "Unicode normalisation only");
    start_again();
    MAKE("val/cat", "val/dog"); /* as many classes as the model, and never matched by rank */
    assert_fails(open_with(&set, &capital, &error), &error, DVIT_ERROR_MISMATCH,
                 "differs from the model's \"Cat\" in upper and lower case");
}

static void names_must_be_utf8(void **state)
{
    MAKE("train/caf\xe9", "train/dog", "val/dog");
    expect_no_dataset(root, "train", DVIT_ERROR_FORMAT, "\"caf\\xe9\" is not UTF-8", "Latin-1");
}

/* With given classes train/ says nothing about the labels of val/. */
static void val_alone_is_read_for_given_classes(void **state)
{
    const char *names[3] = {"dog", "emu", "cat"};
    const struct dvit_class_names model = {3, names, NULL};
    struct dvit_error error = {0};
    struct dvit_dataset *set;
    MAKE("train/cat", "train/cow", "train/dog", "train/emu", "val/cat", "val/emu");
    assert_ok(open_with(&set, &model, &error), &error);
    assert_int_equal(dvit_dataset_label(set, 0), 2);
    assert_int_equal(dvit_dataset_label(set, 1), 1);
    dvit_dataset_free(set);
}

/* ---- files ---- */

static void what_is_an_image(void **state)
{
    static const struct {
        const char *name, *data;
        size_t size;
        enum dvit_file_kind kind;
    } cases[] = {
        {"a.JFIF", "x", 1, DVIT_FILE_IMAGE}, /* the name is enough */
        {"a.jpe", "x", 1, DVIT_FILE_IMAGE},
        {"a.gif", "x", 1, DVIT_FILE_IMAGE},
        {"a.tif", "II*\0", 4, DVIT_FILE_FOREIGN},
        {"a.HEIC", "x", 1, DVIT_FILE_FOREIGN},
        {"b.heic", "\xff\xd8\xff\xe0", 4, DVIT_FILE_IMAGE}, /* content decides */
        {"noext", "\xff\xd8\xff\xe0", 4, DVIT_FILE_IMAGE},
        {"image.bak", "P5 2 2 255 abcd", 15, DVIT_FILE_IMAGE},
        {"photo", "\0\0\0\30ftypheic", 12, DVIT_FILE_FOREIGN},
        {"a.svg", "<svg/>", 6, DVIT_FILE_FOREIGN},
        {"a.cr2", "II*\0\x10\0\0\0CR", 10, DVIT_FILE_FOREIGN},
        {"README", "BMW and P5", 10, DVIT_FILE_OTHER},
        {"P5", "P5 is a format", 14, DVIT_FILE_OTHER},
        {"labels.csv", "a,1", 3, DVIT_FILE_OTHER},
        {"empty", "", 0, DVIT_FILE_OTHER},
        {"Thumbs.db", "x", 1, DVIT_FILE_HIDDEN},
        {"._a.jpg", "x", 1, DVIT_FILE_HIDDEN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_bytes(root, cases[i].name, cases[i].data, cases[i].size);
        if (dvit_file_kind(under(root, cases[i].name)) != cases[i].kind)
            fail_msg("%s", cases[i].name);
    }
    assert_int_equal(dvit_file_kind(under(root, "none")), DVIT_FILE_OTHER);
    struct dvit_image_files files;
    struct dvit_error error = {0};
    assert_ok(dvit_image_files_list(&files, root, &error), &error);
    assert_int_equal(files.count, 11);
    assert_non_null(strstr(files.paths[0], "a.HEIC"));
    dvit_image_files_free(&files);
    assert_fails(dvit_image_files_list(&files, under(root, "none"), &error), &error,
                 DVIT_ERROR_NOT_FOUND, "none");
}

static void omissions_are_counted(void **state)
{
    MAKE("cat", "dog", "__MACOSX/cat", "cat/@eaDir");
    write_bytes(under(root, "cat"), "b.tif", "x", 1);
    write_bytes(under(root, "cat"), "c.TIF", "x", 1);
    write_bytes(under(root, "dog"), "d.heic", "x", 1);
    write_picture(root, "beside.ppm", 1);
    struct dvit_dataset *set = open_dataset(root, "val");
    assert_int_equal(dvit_dataset_classes(set), 2);
    assert_int_equal(dvit_dataset_size(set), 2);
    has_warning(set, "3 files of kinds that dvit does not read are passed over (2 .tif, 1 .heic)");
    has_warning(set, "1 images lie beside the class folders");
    dvit_dataset_free(set);
}

/* Each image counts once, however often it is read. */
static void grey16_is_counted(void **state)
{
    static const unsigned char
        data[] = {0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d,
                  0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01,
                  0x10, 0x00, 0x00, 0x00, 0x00, 0x6a, 0xee, 0x47, 0x16, 0x00, 0x00, 0x00,
                  0x0b, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x70, 0x60, 0x04, 0x00,
                  0x00, 0x84, 0x00, 0x42, 0x54, 0x28, 0x54, 0x71, 0x00, 0x00, 0x00, 0x00,
                  0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82}; /* a PNG file of one pixel,
                                                                      0x4001 */
    struct dvit_error error = {0};
    MAKE("cat");
    write_bytes(under(root, "cat"), "deep.png", data, sizeof data);
    struct dvit_dataset_options options = dvit_dataset_options_default();
    struct dvit_dataset *set;
    options.cache_bytes = 0;
    assert_ok(dvit_dataset_open(&set, root, "val", &options, &error), &error);
    for (size_t i = 0; i < 4; i++) {
        struct dvit_sample sample;
        assert_ok(dvit_dataset_read(set, i % 2, &sample, &error), &error);
        dvit_sample_free(&sample);
    }
    assert_int_equal(dvit_dataset_grey16(set), 1);
    assert_int_equal(dvit_dataset_rotated(set), 0);
    dvit_dataset_free(set);
}

#define IN_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_ROOT(other_names_of_splits_are_taken),
        IN_ROOT(splits_are_never_classes),
        IN_ROOT(one_level_too_deep),
        IN_ROOT(numbers_from_0_are_indices),
        IN_ROOT(other_numbers_are_refused),
        cmocka_unit_test(names_are_compared),
        IN_ROOT(spelling_is_hinted),
        IN_ROOT(names_must_be_utf8),
        IN_ROOT(val_alone_is_read_for_given_classes),
        IN_ROOT(what_is_an_image),
        IN_ROOT(omissions_are_counted),
        IN_ROOT(grey16_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
