/* Writing PyTorch files: the bytes of the golden that PyTorch was seen to load, what the reader
 * finds in them, and what is refused before anything is written. */
#include "test_util.h"

#include "weight_goldens.h"
#include "weights/torch_write.h"
#include "weights/weight_file.h"

static const float six[6] = {0, 1, 2, 3, 4, 5};
static const uint16_t half[3] = {0x3c00, 0x4000, 0xc000}, brain[2] = {0x3f80, 0xc000};
static const int64_t minus_seven = -7;
static const unsigned char flags[2] = {1, 0};
static const struct dvit_safetensors_entry entries[] = {
    {"blocks.0.w", DVIT_DTYPE_F32, 2, {2, 3}, six}, {"h", DVIT_DTYPE_F16, 1, {3}, half},
    {"b", DVIT_DTYPE_BF16, 1, {2}, brain},          {"n", DVIT_DTYPE_I64, 0, {0}, &minus_seven},
    {"e", DVIT_DTYPE_F32, 2, {0, 70000}, NULL},     {"f", DVIT_DTYPE_BOOL, 1, {2}, flags},
};
static const struct dvit_safetensors_pair pairs[] = {{"dvit.config", "{\"a\":1}"},
                                                     {"note", "h\xc3\xa9"}};
enum { ENTRIES = 6, PAIRS = 2 };

static void test_golden(void **state)
{
    (void)state;
    char folder[32];
    struct dvit_error error;
    size_t size_bytes;
    unsigned char *golden = weight_golden_read("written.pth", &size_bytes);
    test_folder_create(folder);
    char *path = dvit_path_join(folder, "w.pth");
    assert_ok(dvit_torch_write(path, entries, ENTRIES, pairs, PAIRS, &error), &error);
    test_assert_content(path, golden, size_bytes);
    assert_int_equal(test_folder_count(folder), 1);
    free(path);
    free(golden);
    test_folder_remove(folder);
}

/* Every type that has a storage, payloads aligned, in the order given. */
static void test_read_back(void **state)
{
    (void)state;
    static const uint64_t words[16] = {1, 2, 3};
    static const enum dvit_dtype types[] = {
        DVIT_DTYPE_F64, DVIT_DTYPE_F32, DVIT_DTYPE_F16, DVIT_DTYPE_BF16, DVIT_DTYPE_I64,
        DVIT_DTYPE_I32, DVIT_DTYPE_I16, DVIT_DTYPE_I8,  DVIT_DTYPE_U8,   DVIT_DTYPE_BOOL};
    enum { COUNT = sizeof types / sizeof *types };
    struct dvit_safetensors_entry list[COUNT];
    char names[COUNT][8], folder[32];
    struct dvit_error error;
    struct dvit_weight_file *file;
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "t%d", COUNT - i);
        list[i] = (struct dvit_safetensors_entry){names[i], types[i], 3, {2, 1, 3}, words};
    }
    test_folder_create(folder);
    char *path = dvit_path_join(folder, "w.pth");
    assert_ok(dvit_torch_write(path, list, COUNT, NULL, 0, &error), &error);
    assert_ok(dvit_weight_file_open(&file, path, &error), &error);
    assert_int_equal(dvit_weight_file_tensor_count(file), COUNT);
    assert_int_equal(dvit_weight_file_value_count(file), 0);
    const unsigned char *first = dvit_weight_file_view(file, 0)->data;
    for (size_t i = 0; i < COUNT; i++) {
        const struct dvit_tensor_view *view = dvit_weight_file_view(file, i);
        assert_string_equal(view->name + strlen("model/"), names[i]);
        assert_int_equal(view->dtype, types[i]);
        assert_int_equal(view->size_bytes, 6 * dvit_dtype_size(types[i]));
        assert_memory_equal(view->data, words, view->size_bytes);
        assert_int_equal(((const unsigned char *)view->data - first) % 64, 0);
    }
    dvit_weight_file_free(file);
    free(path);
    test_folder_remove(folder);
}

static void refuse(const struct dvit_safetensors_entry *list, size_t count,
                   const struct dvit_safetensors_pair *texts, size_t text_count,
                   enum dvit_status code, const char *message)
{
    char folder[32];
    struct dvit_error error;
    test_folder_create(folder);
    char *path = dvit_path_join(folder, "w.pth");
    assert_fails(dvit_torch_write(path, list, count, texts, text_count, &error), &error, code,
                 message);
    assert_int_equal(test_folder_count(folder), 0);
    assert_non_null(strstr(error.message, "w.pth"));
    free(path);
    test_folder_remove(folder);
}

static void test_refused(void **state)
{
    (void)state;
    struct dvit_safetensors_entry bad = entries[0], twice[] = {entries[0], entries[0]};
    char longest[1026];
    memset(longest, 'n', sizeof longest);
    longest[1025] = 0;
    bad.dtype = DVIT_DTYPE_U64;
    refuse(&bad, 1, NULL, 0, DVIT_ERROR_UNSUPPORTED, "PyTorch files have no storage of U64");
    bad.dtype = DVIT_DTYPE_F32;
    bad.rank = 9;
    refuse(&bad, 1, NULL, 0, DVIT_ERROR_ARGUMENT, "rank 9, expected 0 to 8");
    bad.rank = 2;
    bad.data = NULL;
    refuse(&bad, 1, NULL, 0, DVIT_ERROR_ARGUMENT, "no data, expected 24 bytes");
    bad.data = six;
    bad.shape[0] = UINT64_C(1) << 62;
    refuse(&bad, 1, NULL, 0, DVIT_ERROR_LIMIT, "larger than 4 GiB");
    bad.shape[0] = 2;
    bad.name = "\xff";
    refuse(&bad, 1, NULL, 0, DVIT_ERROR_ARGUMENT, "name is not UTF-8");
    bad.name = longest;
    refuse(&bad, 1, NULL, 0, DVIT_ERROR_LIMIT, "name has 1025 bytes, the limit is 1024");
    refuse(twice, 2, NULL, 0, DVIT_ERROR_ARGUMENT, "tensor \"blocks.0.w\": given twice");
    refuse(entries, 70000, NULL, 0, DVIT_ERROR_LIMIT, "70000 tensors");
    static const struct dvit_safetensors_pair model = {"model", "x"}, broken = {"k", "\xff"};
    refuse(entries, 1, &model, 1, DVIT_ERROR_ARGUMENT, "entry \"model\": given twice");
    refuse(entries, 1, &broken, 1, DVIT_ERROR_ARGUMENT, "\"k\": its text is not UTF-8");
}

static void test_full_disk(void **state)
{
    (void)state;
    char folder[32];
    struct dvit_error error;
    test_folder_create(folder);
    char *path = dvit_path_join(folder, "w.pth");
    for (long limit = 0; limit < 2100; limit += 300) {
        test_limit_file_size(limit);
        enum dvit_status status = dvit_torch_write(path, entries, ENTRIES, pairs, PAIRS, &error);
        test_limit_file_size(-1);
        assert_int_equal(status, DVIT_ERROR_IO);
        assert_int_equal(test_folder_count(folder), 0);
    }
    free(path);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_read_back),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
