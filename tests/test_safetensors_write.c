/* Writing safetensors: the reference's bytes, round trips, refusals, and that a full disk or memory
 * that runs out leaves the previous file. */
#include "test_util.h"

#include <jansson.h>

#include "safetensors_sample.h"
#include "weights/safetensors.h"

/* Allocation failures: the linker sends malloc and calloc of the code under test here. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static long allocations_left = -1; /* −1: unlimited */

static int allocation_fails(void)
{
    return allocations_left >= 0 && allocations_left-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return allocation_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return allocation_fails() ? NULL : __real_calloc(count, size);
}

static void test_python_layout(void **state)
{
    char folder[32], path[64];
    struct dvit_error error;
    snprintf(path, sizeof path, "%s/m", test_folder_create(folder));
    assert_ok(dvit_safetensors_write(path, python_entries, 2, NULL, 0, &error), &error);
    test_assert_content(path, python_file, PYTHON_BYTES);
    test_folder_remove(folder);
}

static void read_back(const char *path, const struct dvit_safetensors_entry *entries, size_t count)
{
    struct dvit_safetensors *file;
    struct dvit_error error;
    assert_ok(dvit_safetensors_load(&file, path, &error), &error);
    assert_int_equal(dvit_safetensors_count(file), count);
    for (size_t i = 0; i < count; i++) {
        const struct dvit_tensor_view *view = dvit_safetensors_find(file, entries[i].name);
        assert_non_null(view);
        assert_int_equal(view->dtype, entries[i].dtype);
        assert_int_equal(view->rank, entries[i].rank);
        assert_memory_equal(view->shape, entries[i].shape, sizeof view->shape);
        if (view->size_bytes)
            assert_memory_equal(view->data, entries[i].data, view->size_bytes);
    }
    assert_string_equal(dvit_safetensors_metadata(file, "config"), "{\"dim\":192,\"n\":\"\t\"}");
    assert_string_equal(dvit_safetensors_metadata(file, "format"), "pt");
    dvit_safetensors_free(file);
}

static void test_round_trip(void **state)
{
    static const struct dvit_safetensors_pair metadata[] = {
        {"labels", "[\"\xc3\xa9\"]"}, {"config", "{\"dim\":192,\"n\":\"\t\"}"}, {"format", "pt"}};
    static const struct dvit_safetensors_pair reversed[] = {
        {"config", "{\"dim\":192,\"n\":\"\t\"}"}, {"labels", "[\"\xc3\xa9\"]"}};
    unsigned char data[64];
    char names[DVIT_DTYPE_COUNT][16], folder[32], first[64], second[64];
    struct dvit_safetensors_entry entries[DVIT_DTYPE_COUNT + 2], again[DVIT_DTYPE_COUNT + 2];
    size_t count = 0;
    struct dvit_error error;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(37 * i);
    for (; count < DVIT_DTYPE_COUNT; count++) {
        snprintf(names[count], sizeof names[count], "t\"\\%zu\n\xe2\x82\xac", 20 - count);
        entries[count] =
            (struct dvit_safetensors_entry){names[count], (enum dvit_dtype)count, 2, {2, 3}, data};
    }
    entries[count++] = (struct dvit_safetensors_entry){"", DVIT_DTYPE_F32, 0, {0}, data};
    entries[count++] = (struct dvit_safetensors_entry){"empty", DVIT_DTYPE_I8, 2, {0, 7}, NULL};
    for (size_t i = 0; i < count; i++)
        again[i] = entries[count - 1 - i];
    test_folder_create(folder);
    snprintf(first, sizeof first, "%s/first", folder);
    snprintf(second, sizeof second, "%s/second", folder);
    assert_ok(dvit_safetensors_write(first, entries, count, metadata, 3, &error), &error);
    read_back(first, entries, count);

    struct dvit_safetensors *file;
    assert_ok(dvit_safetensors_load(&file, first, &error), &error);
    for (size_t i = 0; i < count; i++) { /* what was loaded, in another order */
        const struct dvit_tensor_view *view = dvit_safetensors_find(file, again[i].name);
        again[i].data = view->data;
        assert_int_equal((uintptr_t)view->data % dvit_dtype_size(view->dtype), 0);
    }
    assert_ok(dvit_safetensors_write(second, again, count, reversed, 2, &error), &error);
    dvit_safetensors_free(file);
    unsigned char *bytes;
    size_t size_bytes;
    assert_ok(dvit_file_read(first, 1 << 20, &bytes, &size_bytes, &error), &error);
    test_assert_content(second, bytes, size_bytes);
    free(bytes);
    test_folder_remove(folder);
}

/* Whatever the header's length, the data begin at a multiple of 8 and the header is padded by less
 * than that. */
static void test_alignment(void **state)
{
    char folder[32], path[64];
    struct dvit_error error;
    snprintf(path, sizeof path, "%s/m", test_folder_create(folder));
    for (int length = 0; length < 8; length++) {
        struct dvit_safetensors_pair pair = {"k", &"1234567"[7 - length]};
        unsigned char *bytes;
        size_t size_bytes;
        assert_ok(dvit_safetensors_write(path, python_entries, 2, &pair, 1, &error), &error);
        assert_ok(dvit_file_read(path, 1000, &bytes, &size_bytes, &error), &error);
        assert_int_equal(bytes[0] % 8, 0);
        size_t end = 8 + (size_t)bytes[0];
        assert_int_equal(size_bytes, end + 12);
        while (bytes[end - 1] == ' ')
            end--;
        assert_int_equal(bytes[end - 1], '}');
        assert_in_range(8 + (size_t)bytes[0] - end, 0, 7);
        free(bytes);
    }
    test_folder_remove(folder);
}

static void refuse_write(const struct dvit_safetensors_entry *entries, size_t count,
                         const struct dvit_safetensors_pair *metadata, size_t metadata_count,
                         enum dvit_status code, const char *message)
{
    char folder[32], path[64];
    struct dvit_error error;
    snprintf(path, sizeof path, "%s/m", test_folder_create(folder));
    assert_fails(dvit_safetensors_write(path, entries, count, metadata, metadata_count, &error),
                 &error, code, message);
    assert_memory_equal(error.message, "\"test-", 6);
    assert_int_equal(test_folder_count(folder), 0);
    test_folder_remove(folder);
}

static void test_write_refused(void **state)
{
    static const struct {
        struct dvit_safetensors_entry entry;
        enum dvit_status code;
        const char *message;
    } cases[] = {
        {{"\xff", DVIT_DTYPE_U8, 1, {1}, "x"}, DVIT_ERROR_ARGUMENT, "\"\\xff\": name is not UTF-8"},
        {{"__metadata__", DVIT_DTYPE_U8, 1, {1}, "x"}, DVIT_ERROR_ARGUMENT, "name is reserved"},
        {{"a", DVIT_DTYPE_COUNT, 1, {1}, "x"}, DVIT_ERROR_ARGUMENT, "\"a\": type 13 of rank 1"},
        {{"a", DVIT_DTYPE_U8, 9, {1}, "x"}, DVIT_ERROR_ARGUMENT, "\"a\": type 11 of rank 9"},
        {{"a", DVIT_DTYPE_U8, 1, {1}, NULL}, DVIT_ERROR_ARGUMENT, "\"a\": no data, expected 1"},
        {{"a", DVIT_DTYPE_F32, 2, {UINT64_MAX, 0}, "x"}, DVIT_ERROR_LIMIT, "address space"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse_write(&cases[i].entry, 1, NULL, 0, cases[i].code, cases[i].message);
    static const struct dvit_safetensors_entry twice[] = {{"a", DVIT_DTYPE_U8, 1, {1}, "x"},
                                                          {"a", DVIT_DTYPE_F16, 1, {1}, "xy"}};
    refuse_write(twice, 2, NULL, 0, DVIT_ERROR_ARGUMENT, "tensor \"a\": given twice");
    char name[1026];
    memset(name, 'n', 1025);
    name[1025] = 0;
    struct dvit_safetensors_entry longest = {name, DVIT_DTYPE_U8, 1, {1}, "x"};
    refuse_write(&longest, 1, NULL, 0, DVIT_ERROR_LIMIT, "name has 1025 bytes");
    static const struct dvit_safetensors_pair pairs[] = {{"k", "1"}, {"k", "2"}, {"u", "\x80"}};
    refuse_write(NULL, 0, pairs, 2, DVIT_ERROR_ARGUMENT, "metadata \"k\": given twice");
    refuse_write(NULL, 0, pairs + 2, 1, DVIT_ERROR_ARGUMENT, "metadata \"u\" is not UTF-8");
    struct dvit_error error;
    assert_fails(dvit_safetensors_write("no-such-folder/m", NULL, 0, NULL, 0, &error), &error,
                 DVIT_ERROR_NOT_FOUND, "\"no-such-folder/m\": cannot create");
}

/* A disk that is full after any number of bytes: the previous file stays, nothing is left over. */
static void test_write_failure(void **state)
{
    enum { ELEMENTS = 5000 };
    static float weights[ELEMENTS]; /* larger than the stream's buffer: write and flush both fail */
    const struct dvit_safetensors_entry large = {"w", DVIT_DTYPE_F32, 1, {ELEMENTS}, weights};
    char folder[32], path[64];
    struct dvit_error error;
    snprintf(path, sizeof path, "%s/m", test_folder_create(folder));
    assert_ok(dvit_safetensors_write(path, python_entries, 2, NULL, 0, &error), &error);
    for (long limit = 0; limit < PYTHON_BYTES; limit += 7) {
        test_limit_file_size(limit);
        enum dvit_status status = dvit_safetensors_write(path, python_entries, 1, NULL, 0, &error);
        enum dvit_status large_status = dvit_safetensors_write(path, &large, 1, NULL, 0, NULL);
        test_limit_file_size(-1);
        assert_int_equal(large_status, DVIT_ERROR_IO);
        if (status == DVIT_OK) /* one entry fits below this limit: put the old file back */
            assert_ok(dvit_safetensors_write(path, python_entries, 2, NULL, 0, &error), &error);
        else
            assert_non_null(strstr(error.message, "File too large"));
        test_assert_content(path, python_file, PYTHON_BYTES);
        assert_int_equal(test_folder_count(folder), 1);
    }
    test_folder_remove(folder);
}

static void assert_ok_or_memory(enum dvit_status status, const struct dvit_error *error)
{
    if (status == DVIT_OK)
        return;
    /* jansson reports memory that runs out inside a string as a syntax error. */
    if (status == DVIT_ERROR_FORMAT && strstr(error->message, "not valid JSON"))
        return;
    if (status != DVIT_ERROR_MEMORY || !strstr(error->message, "out of memory"))
        fail_msg("%s: %s", dvit_status_name(status), error->message);
}

/* Each allocation fails once: an error, nothing leaked, nothing half built. */
static void test_allocation_failure(void **state)
{
    char folder[32], path[64];
    struct dvit_error error;
    enum dvit_status status = DVIT_ERROR_MEMORY;
    snprintf(path, sizeof path, "%s/m", test_folder_create(folder));
    json_set_alloc_funcs(__wrap_malloc, free);
    long attempts = 0;
    for (; status != DVIT_OK; attempts++) {
        allocations_left = attempts;
        status = dvit_safetensors_write(path, python_entries, 2, NULL, 0, &error);
        allocations_left = -1;
        assert_ok_or_memory(status, &error);
        assert_int_equal(test_folder_count(folder), status == DVIT_OK);
    }
    assert_true(attempts > 10);
    status = DVIT_ERROR_MEMORY;
    for (attempts = 0; status != DVIT_OK; attempts++) {
        struct dvit_safetensors *file;
        allocations_left = attempts;
        status = dvit_safetensors_load(&file, path, &error);
        allocations_left = -1;
        assert_ok_or_memory(status, &error);
        assert_int_equal(status == DVIT_OK, file != NULL);
        dvit_safetensors_free(file);
    }
    assert_true(attempts > 10);
    json_set_alloc_funcs(malloc, free);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_python_layout), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_alignment),     cmocka_unit_test(test_write_refused),
        cmocka_unit_test(test_write_failure), cmocka_unit_test(test_allocation_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
