/* Every allocation of opening, loading and closing failed once: an error or a skip, never a crash,
 * never a leak (the latter under the address sanitizer). */
#include "failing_allocator.h"
#include "image/augment.h"
#include "test_data_util.h"

/* How data sets are opened. */
static const char *labels_file;
static const struct dvit_class_names *classes;
static const char *files[2]; /* instead of a spec, where there is one */
static bool varied;          /* by all that training does to images */

/* One epoch over `spec`, twice; the images it delivered are added to *images. */
static enum dvit_status use(const char *spec, bool masks, size_t *images, struct dvit_error *error)
{
    struct dvit_dataset_options opening = dvit_dataset_options_default();
    opening.labels_file = labels_file;
    opening.classes = classes;
    struct dvit_loader_options options = dvit_loader_options_default();
    struct dvit_dataset *set = NULL;
    struct dvit_loader *loader = NULL;
    const struct dvit_batch *batch = NULL;
    enum dvit_status status = dvit_preprocess_preset("timm", 16, 16, &options.preprocess, error);
    if (status == DVIT_OK)
        status = files[0] ? dvit_dataset_open_files(&set, files, 2, &opening, error)
                          : dvit_dataset_open(&set, spec, "val", &opening, error);
    options.workers = 0;
    options.batch = 4;
    options.want_masks = masks;
    struct dvit_augment augment = dvit_augment_default(16, 16);
    struct dvit_mixing mixing = {.mixup = 1};
    if (status == DVIT_OK && varied) {
        status = dvit_policy_parse(&augment.policy, "rand-p1", error);
        options.augment = &augment;
        options.mixing = &mixing;
    }
    if (status == DVIT_OK)
        status = dvit_loader_create(&loader, set, &options, error);
    for (uint64_t epoch = 0; status == DVIT_OK && epoch < 2; epoch++) {
        status = dvit_loader_start(loader, epoch, 0, error);
        do {
            if (status == DVIT_OK)
                status = dvit_loader_next(loader, &batch, error);
            *images += status == DVIT_OK && batch ? (size_t)batch->count : 0;
        } while (status == DVIT_OK && batch);
    }
    dvit_loader_free(loader);
    dvit_dataset_free(set);
    return status;
}

static void sweep(const char *spec, bool masks)
{
    struct dvit_error error = {0};
    size_t expected = 0;
    assert_ok(use(spec, masks, &expected, &error), &error);
    assert_true(expected >= 2);
    long failures = 0, skips = 0;
    for (long at = 0; at < 5000; at++) {
        size_t images = 0;
        allocations_until_failure = at;
        enum dvit_status status = use(spec, masks, &images, &error);
        bool unused = allocations_until_failure >= 0;
        allocations_until_failure = -1;
        if (unused) {
            assert_int_equal(images, expected);
            break;
        }
        if (status != DVIT_OK)
            assert_int_equal(status, DVIT_ERROR_MEMORY);
        failures += status != DVIT_OK;
        skips += status == DVIT_OK && images < expected;
    }
    assert_true(failures > 5);
    assert_true(skips > 0);
}

static void test_scenes(void **state)
{
    sweep("builtin:scenes,image=16,val=6", true);
    varied = true;
    sweep("builtin:scenes,image=16,val=6", false);
    varied = false;
}

static void test_folder(void **state)
{
    char root[32], folder[64];
    test_folder_create(root);
    snprintf(folder, sizeof folder, "%s/val/a", root);
    write_picture(folder, "0.ppm", 1);
    write_picture(folder, "1.ppm", 2);
    write_bytes(folder, "2.tif", "x", 1);
    char first[128], second[128];
    snprintf(first, sizeof first, "%s/1.ppm", folder);
    snprintf(second, sizeof second, "%s/0.ppm", folder);
    files[0] = first;
    files[1] = second;
    sweep("a list", false);
    files[0] = NULL;
    snprintf(folder, sizeof folder, "%s/train/a", root);
    write_picture(folder, "0.ppm", 1);
    sweep(root, false);
    remove_tree(root);
}

static void test_cifar(void **state)
{
    char root[32];
    static unsigned char records[3 * 3073];
    test_folder_create(root);
    write_bytes(root, "test_batch.bin", records, sizeof records);
    write_bytes(root, "batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n", 20);
    sweep(root, false);
    remove_tree(root);
}

/* Some of given classes, and labels from a list. */
static void test_given_classes(void **state)
{
    static const char *const names[] = {"b", "a", "c"};
    static const struct dvit_class_names three = {3, names, NULL};
    char root[32], folder[64], list[64];
    test_folder_create(root);
    snprintf(folder, sizeof folder, "%s/val/a", root);
    write_picture(folder, "0.ppm", 1);
    write_picture(folder, "1.ppm", 2);
    classes = &three;
    sweep(root, false);
    write_bytes(root, "list.txt", "a\n2\n", 4);
    snprintf(list, sizeof list, "%s/list.txt", root);
    labels_file = list;
    sweep(folder, false);
    classes = NULL;
    write_bytes(root, "list.txt", "0\n2\n", 4);
    sweep(folder, false);
    labels_file = NULL;
    remove_tree(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scenes),
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_cifar),
        cmocka_unit_test(test_given_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
