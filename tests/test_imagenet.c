/* The built-in class names: complete, in order, found by identifier, and those of the shared table
 * where that is at hand. */
#include "dvit/labels.h"
#include "test_util.h"

static void classes_are_found_by_identifier(void **state)
{
    (void)state;
    for (int i = 0; i < DVIT_IMAGENET_CLASSES; i++) {
        const char *wnid = dvit_imagenet_wnid(i);
        assert_int_equal(strlen(wnid), 9);
        assert_int_equal(strspn(wnid + 1, "0123456789"), 8);
        assert_int_equal(dvit_imagenet_class(wnid), i);
        assert_true(strlen(dvit_imagenet_label(i)) > 1);
        if (i)
            assert_true(strcmp(dvit_imagenet_wnid(i - 1), wnid) < 0);
    }
    assert_string_equal(dvit_imagenet_label(0), "tench");
    assert_string_equal(dvit_imagenet_label(207), "golden retriever");
    assert_string_equal(dvit_imagenet_label(999), "toilet tissue");
}

static void other_texts_are_no_class(void **state)
{
    (void)state;
    static const char *const others[] = {"",           "n",          "n00000000", "n99999999",
                                         "n0144076",   "n014407640", "N01440764", "tench",
                                         "n01440764 ", "\xff\xff"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(dvit_imagenet_class(others[i]), -1);
    assert_null(dvit_imagenet_wnid(-1));
    assert_null(dvit_imagenet_wnid(1000));
    assert_null(dvit_imagenet_label(-1));
    assert_null(dvit_imagenet_label(1000));
}

static void classes_are_those_of_the_table(void **state)
{
    (void)state;
    const char *root = getenv("DVIT_SOURCE_ROOT");
    char path[512], expected[256], line[256];
    snprintf(path, sizeof path, "%s/../shared/data/imagenet1k_classes.tsv", root ? root : "..");
    FILE *table = fopen(path, "r");
    if (!table)
        skip();
    for (int i = 0; i < DVIT_IMAGENET_CLASSES; i++) {
        assert_non_null(fgets(line, sizeof line, table));
        snprintf(expected, sizeof expected, "%d\t%s\t%s\n", i, dvit_imagenet_wnid(i),
                 dvit_imagenet_label(i));
        assert_string_equal(line, expected);
    }
    assert_null(fgets(line, sizeof line, table));
    assert_int_equal(fclose(table), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_are_found_by_identifier),
        cmocka_unit_test(other_texts_are_no_class),
        cmocka_unit_test(classes_are_those_of_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
