/* Every allocation of an evaluation and of its files failed once: an error or an image less, never
 * a crash, never a leak (the latter under the address sanitizer), never half a file. */
#include "failing_allocator.h"
#include "dvit/eval.h"
#include "test_data_util.h"

struct bench {
    char root[32], matrix[64], table[64];
    struct dvit_model *model;
    struct dvit_session *session;
};

/* Opens, evaluates and writes both files; *images are those that were answered. */
static enum dvit_status use(const struct bench *bench, size_t *images, struct dvit_error *error)
{
    struct dvit_evaluate_options options = {.batch = 2, .want_predictions = true};
    struct dvit_dataset *set = NULL;
    struct dvit_evaluation result = {0};
    struct dvit_evaluated row = {"model", 1, &result};
    enum dvit_status status =
        dvit_dataset_open_for(&set, bench->model, bench->root, "val", NULL, error);
    if (status == DVIT_OK)
        status =
            dvit_evaluate(bench->session, bench->model, set, &options, NULL, NULL, &result, error);
    *images = result.images;
    if (status == DVIT_OK)
        status = dvit_evaluation_write_confusion(bench->matrix, &result, error);
    if (status == DVIT_OK)
        status = dvit_predictions_write(bench->table, set, &row, 1, error);
    dvit_evaluation_free(&result);
    dvit_dataset_free(set);
    return status;
}

static void make_bench(struct bench *bench)
{
    static const char *const labels[] = {"b", "a", "c"};
    struct dvit_session_options options = dvit_session_options_default();
    struct dvit_error error = {0};
    test_folder_create(bench->root);
    write_picture(under(bench->root, "val/a"), "1.ppm", 1);
    write_picture(under(bench->root, "val/b"), "2.ppm", 200);
    write_picture(under(bench->root, "val/b"), "3, with a comma.ppm", 90);
    write_bytes(under(bench->root, "val/b"), "bad.ppm", "P6 9", 4);
    snprintf(bench->matrix, sizeof bench->matrix, "%s/c.csv", bench->root);
    snprintf(bench->table, sizeof bench->table, "%s/p.csv", bench->root);
    assert_ok(dvit_model_open(&bench->model, "vit:dim=8,depth=1,heads=1,patch=8,image=16,classes=3",
                              NULL, 1, NULL, &error),
              &error);
    assert_ok(dvit_model_set_labels(bench->model, labels, 3, &error), &error);
    options.max_batch = 2;
    options.threads = 1;
    assert_ok(dvit_session_create(&bench->session, bench->model, &options, &error), &error);
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    struct bench bench;
    struct dvit_error error = {0};
    size_t images = 0;
    long failures = 0;
    make_bench(&bench);
    assert_ok(use(&bench, &images, &error), &error);
    assert_int_equal(images, 3);
    for (long at = 0; at < 2000; at++) {
        remove(bench.matrix);
        remove(bench.table);
        allocations_until_failure = at;
        enum dvit_status status = use(&bench, &images, &error);
        bool unused = allocations_until_failure >= 0;
        allocations_until_failure = -1;
        assert_true(status == DVIT_OK || status == DVIT_ERROR_MEMORY);
        assert_int_equal(dvit_file_exists(bench.table), status == DVIT_OK);
        assert_int_equal(test_folder_count(bench.root),
                         1 + dvit_file_exists(bench.matrix) + dvit_file_exists(bench.table));
        failures += status != DVIT_OK;
        if (unused)
            break;
    }
    assert_int_equal(images, 3);
    assert_true(failures > 20);
    dvit_session_free(bench.session);
    dvit_model_free(bench.model);
    remove_tree(bench.root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_fails_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
