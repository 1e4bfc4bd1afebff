/* Every allocation of opening weight files and of writing one failed once: an error, no crash, no
 * leak (the latter under the address sanitizer), nothing left on the disk. */
#include "failing_allocator.h"
#include "test_util.h"

#include "weight_goldens.h"
#include "weights/torch_write.h"
#include "weights/weight_file.h"

static void check_opening(const char *name)
{
    char *path = weight_golden_path(name);
    struct dvit_error error;
    struct dvit_weight_file *file;
    enum dvit_status status = DVIT_ERROR_MEMORY;
    long count = 0;
    for (; status != DVIT_OK; count++) {
        file = (void *)&error; /* anything but NULL */
        allocations_until_failure = count;
        status = dvit_weight_file_open(&file, path, &error);
        allocations_until_failure = -1;
        if (status == DVIT_OK)
            break;
        if (status != DVIT_ERROR_MEMORY || file || !strstr(error.message, name))
            fail_msg("%s, allocation %ld: %s (%s)", name, count, error.message,
                     dvit_status_name(status));
    }
    assert_true(count > 3);
    dvit_weight_file_free(file);
    free(path);
}

static void test_opening(void **state)
{
    (void)state;
    for (size_t i = 0; weight_goldens[i]; i++)
        check_opening(weight_goldens[i]);
    check_opening("model-00001-of-00002.safetensors");
}

/* Of a sharded model the shard is named, or the index. */
static void test_opening_shards(void **state)
{
    (void)state;
    char *path = weight_golden_path("model.safetensors.index.json");
    struct dvit_error error;
    struct dvit_weight_file *file = NULL;
    long count = 0;
    for (; !file; count++) {
        allocations_until_failure = count;
        enum dvit_status status = dvit_weight_file_open(&file, path, &error);
        allocations_until_failure = -1;
        if (status != DVIT_OK && (status != DVIT_ERROR_MEMORY || !strstr(error.message, "model")))
            fail_msg("allocation %ld: %s", count, error.message);
    }
    assert_true(count > 10);
    dvit_weight_file_free(file);
    free(path);
}

static void test_writing(void **state)
{
    (void)state;
    static const float data[2] = {1, 2};
    static const struct dvit_safetensors_entry entry = {"w", DVIT_DTYPE_F32, 1, {2}, data};
    static const struct dvit_safetensors_pair pair = {"key", "value"};
    char folder[32];
    struct dvit_error error;
    enum dvit_status status = DVIT_ERROR_MEMORY;
    test_folder_create(folder);
    char *path = dvit_path_join(folder, "w.pth");
    for (long count = 0; status != DVIT_OK; count++) {
        allocations_until_failure = count;
        status = dvit_torch_write(path, &entry, 1, &pair, 1, &error);
        allocations_until_failure = -1;
        assert_true(status == DVIT_OK || status == DVIT_ERROR_MEMORY);
        assert_int_equal(test_folder_count(folder), status == DVIT_OK);
    }
    free(path);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opening),
        cmocka_unit_test(test_opening_shards),
        cmocka_unit_test(test_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
