/* Every allocation of our own fails once: tables, pictures and pages say "out of memory", leave
 * their result empty and lose nothing (the last by the leak checker). The allocations of cairo,
 * libpng and jansson are theirs. */
#include "failing_allocator.h"
#include "test_util.h"

#include "dvit/report.h"

static unsigned char pixels[16 * 16 * 3];
static const struct dvit_image image = {16, 16, pixels};
static char folder[64], page[128];

static enum dvit_status make_table(struct dvit_table **table, struct dvit_error *error)
{
    static const struct dvit_table_column columns[] = {{"Model", DVIT_ALIGN_LEFT},
                                                       {"Top 1", DVIT_ALIGN_RIGHT}};
    enum dvit_status status = dvit_table_create(table, "Results", columns, 2, error);
    assert_true((status == DVIT_OK) == (*table != NULL));
    for (int i = 0; status == DVIT_OK && i < 20; i++) { /* twice as much as the first block */
        dvit_table_cell(*table, "model %d", i);
        dvit_table_row(*table, (const char *[]){"dense", "97 %"});
    }
    return status;
}

static enum dvit_status run_text(struct dvit_error *error)
{
    struct dvit_table *table;
    char *text = NULL;
    enum dvit_status status = make_table(&table, error);
    if (status == DVIT_OK) {
        status = dvit_table_text(table, &text, error);
        assert_true((status == DVIT_OK) == (text != NULL));
    }
    free(text);
    dvit_table_free(table);
    return status;
}

static enum dvit_status run_gallery(struct dvit_error *error)
{
    static const int kept[] = {1, 2};
    static const int *const stages[] = {kept};
    static const int counts[] = {2};
    struct dvit_overlay overlay = {&image, 2, 2, 1, stages, counts, "caption", "note"};
    struct dvit_overlay overlays[] = {overlay, overlay};
    struct dvit_image picture;
    enum dvit_status status = dvit_report_gallery(&picture, overlays, 2, NULL, error);
    assert_true((status == DVIT_OK) == (picture.pixels != NULL));
    dvit_image_free(&picture);
    return status;
}

static enum dvit_status run_page(struct dvit_error *error)
{
    struct dvit_table *table;
    enum dvit_status status = make_table(&table, error);
    struct dvit_report report = {
        .title = "Report",
        .tables = (const struct dvit_table *const[]){table},
        .table_count = 1,
        .runs = (const struct dvit_report_run[]){{folder, NULL}, {folder, "again"}},
        .run_count = 2,
        .pictures = (const struct dvit_report_picture[]){{&image, "picture"}},
        .picture_count = 1};
    if (status == DVIT_OK)
        status = dvit_report_html(page, &report, error);
    allocations_until_failure = -1;
    assert_true((status == DVIT_OK) == dvit_file_exists(page));
    dvit_table_free(table);
    return status;
}

/* Runs with the first, the second, … allocation failing until none does. */
static void fail_each(enum dvit_status (*run)(struct dvit_error *error))
{
    struct dvit_error error;
    for (int failing = 0;; failing++) {
        assert_true(failing < 5000);
        allocations_until_failure = failing;
        enum dvit_status status = run(&error);
        allocations_until_failure = -1;
        if (status == DVIT_OK) {
            assert_true(failing > 3);
            return;
        }
        if (status != DVIT_ERROR_MEMORY || !strstr(error.message, "memory"))
            fail_msg("allocation %d: %s", failing, error.message);
    }
}

static void tables_survive_failing_allocations(void **state)
{
    fail_each(run_text);
}

static void galleries_survive_failing_allocations(void **state)
{
    fail_each(run_gallery);
}

static void pages_survive_failing_allocations(void **state)
{
    static const char log[] = "{\"event\":\"step\",\"step\":10,\"loss\":NaN,\"keep\":[0.7]}\n"
                              "{\"event\":\"step\",\"step\":20,\"loss\":2,\"keep\":[0.6]}\n"
                              "{\"event\":\"evaluated\",\"step\":20,\"top1\":0.5}\n";
    static const char config[] = "{\"options\":{\"keep\":0.7}}";
    struct dvit_error error;
    char path[128];
    test_folder_create(folder);
    snprintf(page, sizeof page, "%s/page.html", folder);
    snprintf(path, sizeof path, "%s/log.jsonl", folder);
    assert_ok(dvit_file_replace(path, log, sizeof log - 1, &error), &error);
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_ok(dvit_file_replace(path, config, sizeof config - 1, &error), &error);
    fail_each(run_page);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_survive_failing_allocations),
        cmocka_unit_test(galleries_survive_failing_allocations),
        cmocka_unit_test(pages_survive_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
