/* Labels that are not the folder's own ranks: class folders matched with given classes, and flat
 * folders with a list. */
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

static const char *const animals[] = {"dog", "ant", "crane", "crane", "bee"};
static const char *const animal_ids[] = {"n5", "n1", "n3", "n4", "n2"};
static const struct dvit_class_names named = {5, animals, NULL};
static const struct dvit_class_names with_ids = {5, animals, animal_ids};
static const struct dvit_class_names five = {5, NULL, NULL};

static enum dvit_status open_as(struct dvit_dataset **out, const struct dvit_class_names *classes,
                                const char *list, struct dvit_error *error)
{
    struct dvit_dataset_options options = dvit_dataset_options_default();
    char path[64];
    snprintf(path, sizeof path, "%s/%s", root, list ? list : "");
    options.classes = classes;
    options.labels_file = list ? path : NULL;
    return dvit_dataset_open(out, root, "val", &options, error);
}

static struct dvit_dataset *opened(const struct dvit_class_names *classes, const char *list)
{
    struct dvit_dataset *set;
    struct dvit_error error = {0};
    assert_ok(open_as(&set, classes, list, &error), &error);
    return set;
}

static void refused(const struct dvit_class_names *classes, const char *list,
                    enum dvit_status status, const char *text, const char *text2)
{
    struct dvit_dataset *set = (struct dvit_dataset *)1;
    struct dvit_error error = {0};
    assert_fails(open_as(&set, classes, list, &error), &error, status, text);
    if (!strstr(error.message, text2))
        fail_msg("message is: %s\nexpected in it: %s", error.message, text2);
    assert_null(set);
}

/* ------------------------------------------------------------------------- class folders --- */

static void make_class(const char *name, unsigned value)
{
    char folder[128];
    snprintf(folder, sizeof folder, "%s/val/%s", root, name);
    write_picture(folder, "1.JPEG", value);
}

static void check_labels(struct dvit_dataset *set, const int *labels, size_t count)
{
    assert_int_equal(dvit_dataset_size(set), count);
    for (size_t i = 0; i < count; i++) {
        struct dvit_sample sample;
        assert_int_equal(dvit_dataset_label(set, i), labels[i]);
        assert_int_equal(dvit_dataset_read(set, i, &sample, NULL), DVIT_OK);
        assert_int_equal(sample.label, labels[i]);
        dvit_sample_free(&sample);
    }
}

static void some_classes_by_name(void **state)
{
    make_class("ant", 1);
    make_class("bee", 2);
    make_class("dog", 3);
    struct dvit_dataset *plain = open_dataset(root, "val"), *set = opened(&named, NULL);
    check_labels(set, (const int[]){1, 4, 0}, 3);
    assert_int_equal(dvit_dataset_classes(set), 5);
    assert_string_equal(dvit_dataset_class_name(set, 2), "crane");
    assert_non_null(strstr(dvit_dataset_warning(set, 0), "3 of the model's 5 classes"));
    assert_null(dvit_dataset_warning(set, 1));
    assert_string_equal(dvit_dataset_fingerprint(set), dvit_dataset_fingerprint(plain));
    dvit_dataset_free(plain);
    dvit_dataset_free(set);
}

static void classes_by_id(void **state)
{
    for (int i = 1; i <= 5; i++) {
        char name[8];
        snprintf(name, sizeof name, "n%d", i);
        make_class(name, (unsigned)i);
    }
    struct dvit_dataset *set = opened(&with_ids, NULL);
    check_labels(set, (const int[]){1, 4, 2, 3, 0}, 5);
    assert_string_equal(dvit_dataset_class_name(set, 3), "crane");
    assert_null(dvit_dataset_warning(set, 0));
    dvit_dataset_free(set);
    const struct dvit_class_names ids_only = {5, NULL, animal_ids};
    set = opened(&ids_only, NULL);
    assert_string_equal(dvit_dataset_class_name(set, 3), "n4");
    check_labels(set, (const int[]){1, 4, 2, 3, 0}, 5);
    dvit_dataset_free(set);
}

static void classes_by_rank(void **state)
{
    for (char name[2] = "p"; name[0] < 'u'; name[0]++)
        make_class(name, 1);
    struct dvit_dataset *set = opened(&five, NULL);
    check_labels(set, (const int[]){0, 1, 2, 3, 4}, 5);
    assert_null(dvit_dataset_warning(set, 0));
    assert_string_equal(dvit_dataset_class_name(set, 1), "q");
    dvit_dataset_free(set);
    set = opened(&named, NULL); /* the names are known, and none is one of the folder's */
    check_labels(set, (const int[]){0, 1, 2, 3, 4}, 5);
    assert_non_null(strstr(dvit_dataset_warning(set, 0), "matched by rank, class 0 is \"p\""));
    dvit_dataset_free(set);
}

static void classes_that_do_not_fit(void **state)
{
    enum dvit_status mismatch = DVIT_ERROR_MISMATCH;
    make_class("ant", 1);
    make_class("cat", 1);
    refused(&five, NULL, mismatch, "has 2 classes, the model 5", "\"ant\"");
    refused(&named, NULL, mismatch, "has 2 classes, the model 5",
            "\"cat\" of the data set is none");
    make_class("bee", 1);
    make_class("dog", 1);
    make_class("eel", 1); /* as many as the model, and three are its own */
    refused(&named, NULL, mismatch, "has 5 classes, the model 5",
            "\"cat\" of the data set is none");
    remove_tree(under(root, "val"));
    make_class("ant", 1);
    make_class("crane", 1);
    refused(&named, NULL, mismatch, "\"crane\" of the data set is the name of several",
            "2 classes");
    remove_tree(under(root, "val/crane"));
    make_class("n1", 1);
    refused(&with_ids, NULL, mismatch, "\"ant\" and \"n1\" are both class 1", root);
    const struct dvit_class_names none = {0, NULL, NULL};
    refused(&none, NULL, DVIT_ERROR_ARGUMENT, "0 classes are given", "1 to");
}

static void an_empty_class_folder_is_warned_of(void **state)
{
    make_class("ant", 1);
    assert_ok(dvit_folder_create(under(root, "val/bee"), NULL), &(struct dvit_error){0});
    struct dvit_dataset *set = opened(&named, NULL);
    check_labels(set, (const int[]){1}, 1);
    assert_non_null(strstr(dvit_dataset_warning(set, 0), "1 of 2 classes have no images"));
    assert_non_null(strstr(dvit_dataset_warning(set, 1), "2 of the model's 5"));
    dvit_dataset_free(set);
}

/* Scenes are matched by the names of their shapes too. */
static void a_built_in_data_set_is_matched(void **state)
{
    struct dvit_dataset *own = open_dataset("builtin:scenes,classes=3,val=6", "val"), *set;
    struct dvit_dataset_options options = dvit_dataset_options_default();
    struct dvit_error error = {0};
    const char *names[4] = {"x", dvit_dataset_class_name(own, 2), dvit_dataset_class_name(own, 0),
                            dvit_dataset_class_name(own, 1)};
    const struct dvit_class_names turned = {4, names, NULL};
    options.classes = &turned;
    assert_ok(dvit_dataset_open(&set, "builtin:scenes,classes=3,val=6", "val", &options, &error),
              &error);
    check_labels(set, (const int[]){2, 3, 1, 2, 3, 1}, 6);
    dvit_dataset_free(set);
    options.labels_file = "list.txt";
    assert_fails(dvit_dataset_open(&set, "builtin:scenes", "val", &options, &error), &error,
                 DVIT_ERROR_ARGUMENT, "labels of its own");
    dvit_dataset_free(own);
}

/* --------------------------------------------------------------------------------- lists --- */

/* Four images: "a b.png", "c,d.ppm", "e.JPEG" and a name that is not UTF-8. */
static void make_flat(const char *folder)
{
    write_picture(under(root, folder), "\xff\xfe.bmp", 4);
    write_picture(under(root, folder), "a b.png", 1);
    write_picture(under(root, folder), "e.JPEG", 3);
    write_picture(under(root, folder), "c,d.ppm", 2);
    write_picture(under(root, folder), ".hidden.png", 9);
    write_bytes(under(root, folder), "readme.txt", "x", 1);
}

static void write_list(const char *text)
{
    write_bytes(root, "list.txt", text, strlen(text));
}

static void expect_labels(const struct dvit_class_names *classes, const char *text,
                          const int *labels)
{
    write_list(text);
    struct dvit_dataset *set = opened(classes, "list.txt");
    check_labels(set, labels, 4);
    dvit_dataset_free(set);
}

static void lists_in_order(void **state)
{
    const int labels[] = {3, 0, 2, 0};
    make_flat("val");
    expect_labels(&five, "3\n0\n2\n0\n", labels);
    expect_labels(&five, "3\r\n 0 \r\n2\r\n0", labels);   /* no last newline */
    expect_labels(&five, "3\n00\n2\n0\n\n \n\n", labels); /* blank lines at the end */
    expect_labels(&with_ids, "n4\ndog\n2\n0", labels);
    expect_labels(&five,
                  "\xef\xbb\xbf"
                  "3\r\n0\r\n2\r\n0\r\n",
                  labels); /* a byte-order mark */
    struct dvit_dataset *set = opened(&with_ids, "list.txt");
    assert_int_equal(dvit_dataset_classes(set), 5);
    assert_string_equal(dvit_dataset_class_name(set, 0), "dog");
    assert_non_null(strstr(dvit_dataset_item_name(set, 0), "/val/a b.png"));
    assert_non_null(strstr(dvit_dataset_item_name(set, 3), "/val/\xff\xfe.bmp"));
    struct dvit_sample sample;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(dvit_dataset_read(set, i, &sample, NULL), DVIT_OK);
        assert_int_equal(sample.image.pixels[0], i + 1);
        dvit_sample_free(&sample);
    }
    dvit_dataset_free(set);
}

static void lists_with_names(void **state)
{
    const int labels[] = {3, 0, 2, 1};
    make_flat("val");
    expect_labels(&five, "e.JPEG\t2\na b.png\t3\n\xff\xfe.bmp\t1\nc,d.ppm\t0\n", labels);
    expect_labels(&five, "e.JPEG,2\na b.png,3\n\xff\xfe.bmp,1\nc,d.ppm, 0\n", labels);
    expect_labels(&five, "e.JPEG 2\na b.png 3\n\xff\xfe.bmp  1\nc,d.ppm 0\n", labels);
    expect_labels(&five,
                  "\xef\xbb\xbf"
                  "e.JPEG,2\na b.png,3\n\xff\xfe.bmp,1\nc,d.ppm, 0\n",
                  labels);
    expect_labels(&with_ids, "e.JPEG n3\na b.png n4\n\xff\xfe.bmp ant\nc,d.ppm dog\n", labels);
}

/* Images beside the list, no folder of the split, no given classes: the list says how many. */
static void a_folder_without_splits(void **state)
{
    make_flat("");
    expect_labels(NULL, "6\n0\n6\n1", (const int[]){6, 0, 6, 1});
    struct dvit_dataset *set = opened(NULL, "list.txt");
    assert_int_equal(dvit_dataset_classes(set), 7);
    assert_string_equal(dvit_dataset_class_name(set, 6), "6");
    char before[17];
    strcpy(before, dvit_dataset_fingerprint(set));
    dvit_dataset_free(set);
    write_list("6\n0\n6\n2");
    set = opened(NULL, "list.txt");
    assert_string_not_equal(dvit_dataset_fingerprint(set), before);
    dvit_dataset_free(set);
}

static void lists_that_are_refused(void **state)
{
    static const struct {
        const char *text, *words, *words2;
        enum dvit_status status;
    } cases[] = {
        {"0\n1\n2\n", "has 3 lines for 4 images", "none for \"??.bmp\"", DVIT_ERROR_MISMATCH},
        {"", "has 0 lines for 4 images", "list.txt", DVIT_ERROR_MISMATCH},
        {"0\n1\n2\n3\n4\n", "line 5", "longer than the folder, which has 4", DVIT_ERROR_MISMATCH},
        {"0\n5\n2\n3\n", "line 2: class 5", "expected 0 to 4", DVIT_ERROR_FORMAT},
        {"0\n99999999999999999999\n", "line 2: class 9999", "expected 0 to 4", DVIT_ERROR_FORMAT},
        {"0\n-1\n", "line 2: class \"-1\"", "unknown", DVIT_ERROR_FORMAT},
        {"0\ncat\n", "line 2: class \"cat\" is unknown", "index from 0", DVIT_ERROR_FORMAT},
        {"0\n\033[31m\n", "line 2: class \"?[31m\"", "unknown", DVIT_ERROR_FORMAT},
        {"0\ncrane\n", "line 2: class \"crane\" is the name of several", "", DVIT_ERROR_FORMAT},
        {"0\n\n1\n2\n3\n", "line 2: is empty", "list.txt", DVIT_ERROR_FORMAT},
        {"0\n1 2\n", "line 2: class \"1 2\" is unknown", "", DVIT_ERROR_FORMAT},
        {"e.JPEG 1\n3\n", "line 2: \"3\"", "as in line 1", DVIT_ERROR_FORMAT},
        {"e.JPEG,\n", "line 1: no class", "", DVIT_ERROR_FORMAT},
        {"e.JPEG 1\ne.jpeg 1\n", "line 2: there is no image \"e.jpeg\"", "", DVIT_ERROR_MISMATCH},
        {"e.JPEG 1\nc,d.ppm 2\ne.JPEG 1\n", "line 3: \"e.JPEG\" had a class in line 1", "",
         DVIT_ERROR_FORMAT},
        {"e.JPEG 1\nc,d.ppm 2\n", "has 2 lines for 4 images", "\"a b.png\"", DVIT_ERROR_MISMATCH},
    };
    make_flat("val");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_list(cases[i].text);
        refused(&named, "list.txt", cases[i].status, cases[i].words, cases[i].words2);
    }
    write_bytes(root, "list.txt",
                "\xff\xfe"
                "0\0\n\0",
                6);
    refused(&named, "list.txt", DVIT_ERROR_FORMAT, "is UTF-16 text", "list.txt");
    write_bytes(root, "list.txt", "0\n1\0\n2\n3\n", 9);
    refused(&named, "list.txt", DVIT_ERROR_FORMAT, "not a text file", "list.txt");
    refused(&named, "none.txt", DVIT_ERROR_NOT_FOUND, "none.txt", "");
    refused(&named, "val", DVIT_ERROR_FORMAT, "val", "");
    refused(NULL, NULL, DVIT_ERROR_FORMAT, "4 images directly inside", "list of their labels");
    const struct dvit_class_names thousand = {1000, NULL, NULL};
    write_list("999\n1000\n");
    refused(&thousand, "list.txt", DVIT_ERROR_FORMAT, "line 2: class 1000, expected 0 to 999",
            "ILSVRC devkit");
}

static void a_list_needs_flat_images(void **state)
{
    make_class("ant", 1);
    write_list("0\n");
    refused(&named, "list.txt", DVIT_ERROR_FORMAT, "no images directly in the folder", "list.txt");
    write_bytes(under(root, "val"), "x.TIFF", "x", 1);
    refused(&named, "list.txt", DVIT_ERROR_FORMAT, "no images directly in the folder", "list.txt");
    write_picture(under(root, "val"), "y.png", 1);
    struct dvit_dataset *set = opened(&named, "list.txt"); /* train/ is not looked at */
    assert_int_equal(dvit_dataset_size(set), 1);
    assert_non_null(strstr(dvit_dataset_warning(set, 0), "1 files of kinds"));
    dvit_dataset_free(set);
}

/* Every truncation of a good list is either refused or good itself. */
static void truncated_lists(void **state)
{
    static const char text[] = "e.JPEG 2\na b.png 3\n\xff\xfe.bmp 1\nc,d.ppm 12\n";
    const struct dvit_class_names twenty = {20, NULL, NULL};
    make_flat("val");
    for (size_t size = 0; size < sizeof text; size++) {
        struct dvit_dataset *set = NULL;
        struct dvit_error error = {0};
        write_bytes(root, "list.txt", text, size);
        enum dvit_status status = open_as(&set, &twenty, "list.txt", &error);
        assert_int_equal(status == DVIT_OK, size >= sizeof text - 3);
        assert_int_equal(set != NULL, status == DVIT_OK);
        dvit_dataset_free(set);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(some_classes_by_name),
        TEST(classes_by_id),
        TEST(classes_by_rank),
        TEST(classes_that_do_not_fit),
        TEST(an_empty_class_folder_is_warned_of),
        TEST(a_built_in_data_set_is_matched),
        TEST(lists_in_order),
        TEST(lists_with_names),
        TEST(a_folder_without_splits),
        TEST(lists_that_are_refused),
        TEST(a_list_needs_flat_images),
        TEST(truncated_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
