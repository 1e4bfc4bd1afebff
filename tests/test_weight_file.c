/* Weight files through their public face: every golden holds what PyTorch finds in it, sharded
 * models are put together, strangers are called by their names. */
#define _GNU_SOURCE
#include "test_util.h"

#include <unistd.h>

#include "torch_sample.h"
#include "weight_goldens.h"
#include "weights/file_bytes.h"
#include "weights/sharded.h"
#include "weights/weight_file.h"

static struct dvit_weight_file *open_golden(const char *name)
{
    struct dvit_weight_file *file;
    struct dvit_error error;
    char *path = weight_golden_path(name);
    assert_ok(dvit_weight_file_open(&file, path, &error), &error);
    free(path);
    return file;
}

/* ---- the same as torch.load ---- */

static void print_tensor(FILE *out, const struct dvit_weight_file *file, size_t index)
{
    struct dvit_error error;
    struct dvit_stored_tensor tensor = dvit_weight_file_tensor(file, index);
    const struct dvit_tensor_view *view = dvit_weight_file_view(file, index);
    float *values = calloc(tensor.elements + 1, sizeof *values);
    char shape[200];
    assert_non_null(values);
    assert_ok(dvit_weight_file_read(file, index, values, &error), &error);
    assert_int_equal(tensor.size_bytes, view->size_bytes);
    assert_ptr_equal(dvit_weight_file_find(file, tensor.name), view);
    dvit_shape_format(tensor.shape, tensor.rank, shape, sizeof shape);
    fprintf(out, "T %s %s %s", tensor.name, tensor.dtype, shape);
    for (size_t i = 0; i < tensor.elements; i++)
        fprintf(out, " %.9g", values[i]);
    fprintf(out, "\n");
    free(values);
}

static void print_value(FILE *out, const struct dvit_weight_file *file, size_t index)
{
    struct dvit_stored_value value = dvit_weight_file_value(file, index);
    assert_non_null(dvit_weight_file_find_value(file, value.name));
    fprintf(out, "V %s %s %s\n", value.name, value.kind, value.text);
}

/* The lines of expected.txt that begin with `kind`, from `text` to the next file's. */
static void expected_lines(FILE *out, const char *text, char kind)
{
    while (*text && *text != 'F') {
        const char *end = strchr(text, '\n') + 1;
        if (*text == kind)
            fwrite(text, 1, (size_t)(end - text), out);
        text = end;
    }
}

static void check_golden(const char *name, const char *format, const char *lines)
{
    struct dvit_weight_file *file = open_golden(name);
    char *got, *expected;
    size_t got_bytes, expected_bytes;
    FILE *out = open_memstream(&got, &got_bytes);
    assert_string_equal(dvit_weight_file_format(file), format);
    for (size_t i = 0; i < dvit_weight_file_tensor_count(file); i++)
        print_tensor(out, file, i);
    for (size_t i = 0; i < dvit_weight_file_value_count(file); i++)
        print_value(out, file, i);
    fclose(out);
    out = open_memstream(&expected, &expected_bytes);
    expected_lines(out, lines, 'T');
    expected_lines(out, lines, 'V');
    fclose(out);
    assert_string_equal(got, expected);
    free(got);
    free(expected);
    dvit_weight_file_free(file);
}

static void test_goldens(void **state)
{
    (void)state;
    size_t size_bytes, files = 0;
    char *text = (char *)weight_golden_read("expected.txt", &size_bytes);
    text = realloc(text, size_bytes + 1);
    text[size_bytes] = 0;
    for (char *line = text; *line; line = strchr(line, '\n') + 1) {
        char name[64], format[32];
        if (sscanf(line, "F %63s %31[^\n]", name, format) != 2)
            continue;
        check_golden(name, format, strchr(line, '\n') + 1);
        files++;
    }
    assert_int_equal(files, 10);
    free(text);
}

static void test_find(void **state)
{
    (void)state;
    struct dvit_weight_file *file = open_golden("checkpoint.pth");
    const struct dvit_stored_value *rate = dvit_weight_file_find_value(file, "args/base_rate");
    assert_non_null(rate);
    assert_string_equal(rate->kind, "float");
    assert_string_equal(rate->text, "0.7");
    assert_null(dvit_weight_file_find_value(file, "args/base"));
    assert_non_null(dvit_weight_file_find(file, "optimizer/state/0/exp_avg"));
    assert_null(dvit_weight_file_find(file, "model"));
    struct dvit_error error;
    float value;
    assert_fails(dvit_weight_file_read(file, 1000, &value, &error), &error, DVIT_ERROR_ARGUMENT,
                 "tensor 1000 of");
    dvit_weight_file_free(file);
    dvit_weight_file_free(NULL);
}

static void test_safetensors_metadata(void **state)
{
    (void)state;
    struct dvit_weight_file *file = open_golden("model-00001-of-00002.safetensors");
    assert_string_equal(dvit_weight_file_format(file), "safetensors");
    assert_int_equal(dvit_weight_file_value_count(file), 1);
    assert_string_equal(dvit_weight_file_find_value(file, "format")->text, "pt");
    assert_string_equal(dvit_weight_file_tensor(file, 0).name, "a.weight");
    dvit_weight_file_free(file);
}

/* ---- sharded models ---- */

/* A folder with the two golden shards and an index of the given text. */
static void make_sharded(char *folder, const char *index)
{
    struct dvit_error error;
    test_folder_create(folder);
    for (int i = 1; i <= 2; i++) {
        char name[64];
        size_t size_bytes;
        snprintf(name, sizeof name, "model-%05d-of-00002.safetensors", i);
        unsigned char *bytes = weight_golden_read(name, &size_bytes);
        char *path = dvit_path_join(folder, name);
        assert_ok(dvit_file_replace(path, bytes, size_bytes, &error), &error);
        free(path);
        free(bytes);
    }
    char *path = dvit_path_join(folder, "x.index.json");
    assert_ok(dvit_file_replace(path, index, strlen(index), &error), &error);
    free(path);
}

#define ONE "model-00001-of-00002.safetensors"
#define TWO "model-00002-of-00002.safetensors"

static void test_index_refused(void **state)
{
    (void)state;
    static const struct {
        const char *index;
        enum dvit_status code;
        const char *message;
    } cases[] = {
        {"{\"weight_map\":{\"a.weight\":\"" ONE "\",\"a.bias\":\"" TWO "\"}}", DVIT_ERROR_MISMATCH,
         "tensor \"b\" of \"" TWO "\" is not in the weight_map"},
        {"{\"weight_map\":{\"a.weight\":\"" ONE "\",\"a.bias\":\"" TWO "\",\"b\":\"" TWO
         "\",\"c\":\"" ONE "\"}}",
         DVIT_ERROR_MISMATCH, "tensor \"c\" is not in \"" ONE "\""},
        {"{\"weight_map\":{\"a.weight\":\"" TWO "\",\"a.bias\":\"" TWO "\",\"b\":\"" TWO "\"}}",
         DVIT_ERROR_MISMATCH, "tensor \"a.weight\" is not in \"" TWO "\""},
        {"{\"weight_map\":{\"a\":\"none.safetensors\"}}", DVIT_ERROR_NOT_FOUND, "none.safetensors"},
        {"{\"weight_map\":{\"a\":\"x.index.json\"}}", DVIT_ERROR_FORMAT, "is an index, expected a"},
        {"{\"weight_map\":{\"a\":\"../x\"}}", DVIT_ERROR_FORMAT,
         "\"../x\" is not the name of a file beside the index"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", DVIT_ERROR_FORMAT, "\"/etc/passwd\" is not"},
        {"{\"weight_map\":{\"a\":\"x\\\\y\"}}", DVIT_ERROR_FORMAT, "is not the name"},
        {"{\"weight_map\":{\"a\":\"..\"}}", DVIT_ERROR_FORMAT, "\"..\" is not the name"},
        {"{\"weight_map\":{\"a\":\"\"}}", DVIT_ERROR_FORMAT, "\"\" is not the name"},
        {"{\"weight_map\":{\"a\":1}}", DVIT_ERROR_FORMAT, "file of tensor \"a\" is not a string"},
        {"{\"weight_map\":{\"a\":\"x\",\"a\":\"y\"}}", DVIT_ERROR_FORMAT, "duplicate object key"},
        {"{\"weight_map\":[]}", DVIT_ERROR_FORMAT, "there is no \"weight_map\""},
        {"{\"hidden_size\":384}", DVIT_ERROR_FORMAT, "is JSON, but not the index of a sharded"},
        {"{\"weight_map\":", DVIT_ERROR_FORMAT, "index is not valid JSON"},
        {"{\"a\":[[[[[[[[[]]]]]]]]]}", DVIT_ERROR_FORMAT, "nests deeper than 8 levels"},
        {"{\"\xff\":1}", DVIT_ERROR_FORMAT, "index is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char folder[32];
        struct dvit_error error;
        struct dvit_weight_file *file = (void *)&error; /* anything but NULL */
        make_sharded(folder, cases[i].index);
        char *path = dvit_path_join(folder, "x.index.json");
        assert_fails(dvit_weight_file_open(&file, path, &error), &error, cases[i].code,
                     cases[i].message);
        assert_null(file);
        assert_memory_equal(error.message, "\"test-", 6);
        free(path);
        test_folder_remove(folder);
    }
}

/* "{"weight_map":{" and `count` entries of the given form, which gets the entry's number. */
static void refuse_large_index(const char *form, int count, enum dvit_status code,
                               const char *message)
{
    char *text;
    size_t size_bytes;
    struct dvit_error error;
    struct dvit_shard_index *index;
    FILE *out = open_memstream(&text, &size_bytes);
    fprintf(out, "{\"weight_map\":{");
    for (int i = 0; i < count; i++) {
        fprintf(out, "%s\"", i ? "," : "");
        fprintf(out, form, i);
        fprintf(out, "\"");
    }
    fprintf(out, "}}");
    fclose(out);
    assert_fails(dvit_shard_index_parse(&index, text, size_bytes, &error), &error, code, message);
    assert_null(index);
    free(text);
}

static void test_index_limits(void **state)
{
    (void)state;
    refuse_large_index("t%d\":\"f", 100001, DVIT_ERROR_LIMIT,
                       "weight_map has 100001 tensors, the limit is 100000");
    refuse_large_index("t%d\":\"f", 120000, DVIT_ERROR_LIMIT, "index has more than 110000 values");
    refuse_large_index("t%1$d\":\"f%1$d", 1001, DVIT_ERROR_LIMIT,
                       "weight_map names 1001 files, the limit is 1000");
    refuse_large_index("t%02000d\":\"f", 1, DVIT_ERROR_LIMIT, "name has 2001 bytes");
    refuse_large_index("t\":\"f%02000d", 1, DVIT_ERROR_FORMAT, "is not the name of a file");
    struct dvit_error error;
    struct dvit_shard_index *index;
    char *spaces = calloc(1, (size_t)DVIT_SHARD_MAX_INDEX + 1);
    assert_fails(dvit_shard_index_parse(&index, spaces, (size_t)DVIT_SHARD_MAX_INDEX + 1, &error),
                 &error, DVIT_ERROR_LIMIT, "index has 67108865 bytes");
    free(spaces);
}

static void test_index_without_folder(void **state)
{
    (void)state;
    char folder[32], before[1000];
    struct dvit_error error;
    struct dvit_weight_file *file;
    make_sharded(folder, " {\"weight_map\":{\"a.weight\":\"" ONE "\",\"a.bias\":\"" TWO
                         "\",\"b\":\"" TWO "\"}}");
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder), 0);
    enum dvit_status status = dvit_weight_file_open(&file, "x.index.json", &error);
    assert_int_equal(chdir(before), 0);
    assert_ok(status, &error);
    assert_int_equal(dvit_weight_file_tensor_count(file), 3);
    dvit_weight_file_free(file);
    test_folder_remove(folder);
}

/* ---- large files ---- */

/* A file beyond the limit of copies is mapped: all but its first page is a hole on the disk. */
static void test_large_file_is_mapped(void **state)
{
    (void)state;
    char folder[32], header[128];
    struct dvit_error error;
    struct dvit_weight_file *file;
    const unsigned long long data = (unsigned long long)DVIT_WEIGHTS_COPY_LIMIT + 4096;
    test_folder_create(folder);
    char *path = dvit_path_join(folder, "large.safetensors");
    int length = snprintf(header + 8, sizeof header - 8,
                          "{\"w\":{\"dtype\":\"U8\",\"shape\":[%llu],\"data_offsets\":[0,%llu]}}",
                          data, data);
    memset(header, 0, 8);
    header[0] = (char)length;
    assert_ok(dvit_file_replace(path, header, (size_t)length + 8, &error), &error);
    assert_int_equal(truncate(path, (off_t)(data + 8 + (unsigned long long)length)), 0);
    assert_ok(dvit_weight_file_open(&file, path, &error), &error);
    const unsigned char *bytes = dvit_weight_file_view(file, 0)->data;
    assert_int_equal(bytes[data - 1], 0);
    dvit_weight_file_free(file);
    assert_int_equal(truncate(path, (off_t)data), 0);
    assert_fails(dvit_weight_file_open(&file, path, &error), &error, DVIT_ERROR_FORMAT,
                 "large.safetensors");
    free(path);
    test_folder_remove(folder);
}

/* ---- what is no weight file ---- */

static void refuse_file(const void *bytes, size_t size_bytes, enum dvit_status code,
                        const char *message)
{
    char folder[32];
    struct dvit_error error;
    struct dvit_weight_file *file = (void *)&error; /* anything but NULL */
    test_folder_create(folder);
    char *path = dvit_path_join(folder, "model.pth");
    assert_ok(dvit_file_replace(path, bytes, size_bytes, &error), &error);
    assert_fails(dvit_weight_file_open(&file, path, &error), &error, code, message);
    assert_null(file);
    free(path);
    test_folder_remove(folder);
}

static void test_strangers(void **state)
{
    (void)state;
    static const struct {
        const char *begin;
        size_t size_bytes;
        enum dvit_status code;
        const char *message;
    } cases[] = {
        {"", 0, DVIT_ERROR_FORMAT, "is empty"},
        {"hello, world", 12, DVIT_ERROR_FORMAT, "is text, not a weight file that is known here"},
        {"\x89HDF\r\n\x1a\n....", 12, DVIT_ERROR_UNSUPPORTED, "is an HDF5 file (Keras)"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, DVIT_ERROR_UNSUPPORTED,
         "is a Git LFS pointer"},
        {"\x93NUMPY\1\0", 8, DVIT_ERROR_UNSUPPORTED, "is a NumPy array"},
        {"\x1f\x8b\x08", 3, DVIT_ERROR_UNSUPPORTED, "is compressed with gzip"},
        {"\x08\x07\x12\x07pytorch", 11, DVIT_ERROR_UNSUPPORTED, "is an ONNX model"},
        {"<!DOCTYPE html>", 15, DVIT_ERROR_UNSUPPORTED, "is a web page"},
        {"PK\5\6", 4, DVIT_ERROR_UNSUPPORTED, "is an empty zip archive"},
        {"\x80\2}q\0.", 6, DVIT_ERROR_UNSUPPORTED, "is a plain pickle of protocol 2"},
        {"\x80\4\x95", 3, DVIT_ERROR_UNSUPPORTED, "is a plain pickle of protocol 4"},
        {"PK\3\4", 4, DVIT_ERROR_FORMAT, "zip: 4 bytes"},
        {"\x08\x08:\x10graph", 8, DVIT_ERROR_UNSUPPORTED, "is an ONNX model"}, /* no producer */
        {"\x08\x0b\x12\x00:\x10", 6, DVIT_ERROR_UNSUPPORTED, "is an ONNX model"},
        {"\x08\x0c"
         "B\x04\n\0\x10\x15",
         8, DVIT_ERROR_UNSUPPORTED, "is an ONNX model"},
        {"\x1c\0\0\0TFL3", 8, DVIT_ERROR_UNSUPPORTED, "is a TensorFlow Lite model"},
        {"\x81\xa6"
         "params\x81\xa1"
         "a\xc0",
         11, DVIT_ERROR_UNSUPPORTED, "is MessagePack (flax"},
        {"\xde\0\x10\xa4"
         "head\xc0",
         9, DVIT_ERROR_UNSUPPORTED, "is MessagePack (flax"},
        {"lmgg\1\0\0\0", 8, DVIT_ERROR_UNSUPPORTED, "is a ggml file"},
        {"GGUF\3\0\0\0", 8, DVIT_ERROR_UNSUPPORTED, "is a GGUF file"},
        {"\xfd"
         "7zXZ\0",
         6, DVIT_ERROR_UNSUPPORTED, "is compressed with xz"},
        {"BZh91AY", 7, DVIT_ERROR_UNSUPPORTED, "is compressed with bzip2"},
        {"\x28\xb5\x2f\xfd....", 8, DVIT_ERROR_UNSUPPORTED, "is compressed with zstd"},
        {"%PDF-1.4", 8, DVIT_ERROR_UNSUPPORTED, "is a PDF document"},
        {"\xff\xd8\xff\xe0", 4, DVIT_ERROR_UNSUPPORTED, "is a JPEG image"},
        {"\n\n <HTML><body>", 16, DVIT_ERROR_UNSUPPORTED, "is a web page"},
        {"<?xml version='1.0'?><Error>", 28, DVIT_ERROR_UNSUPPORTED, "is a web page or XML"},
        {"{\"error\": \"not found\"}", 22, DVIT_ERROR_FORMAT, "is JSON"},
        {"[1, 2]", 6, DVIT_ERROR_UNSUPPORTED, "is JSON"},
        {"Invalid credentials\nretry", 25, DVIT_ERROR_FORMAT, "it begins \"Invalid credentials\""},
        {"caf\xc3\xa9", 5, DVIT_ERROR_FORMAT, "is text"},
        {"caf\xe9\x01\x02", 6, DVIT_ERROR_FORMAT, "is not a weight file that is known here"},
        {"\xff\0\0\0\0\0\0\0{", 9, DVIT_ERROR_FORMAT, "header of 255 bytes does not fit"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse_file(cases[i].begin, cases[i].size_bytes, cases[i].code, cases[i].message);
    unsigned char tar[512] = "sys_info";
    memcpy(tar + 257, "ustar", 5);
    refuse_file(tar, sizeof tar, DVIT_ERROR_UNSUPPORTED, "is a tar archive");
    unsigned char table[64] = {1, 2, 3};
    memcpy(table + 56, "\x57\xfb\x80\x8b\x24\x75\x47\xdb", 8);
    refuse_file(table, sizeof table, DVIT_ERROR_UNSUPPORTED, "is the index of a TensorFlow");
    struct dvit_weight_file *file;
    struct dvit_error error;
    assert_fails(dvit_weight_file_open(&file, "no/such/file", &error), &error, DVIT_ERROR_NOT_FOUND,
                 "no/such/file");
    assert_fails(dvit_weight_file_open(&file, ".", &error), &error, DVIT_ERROR_NOT_FOUND,
                 "\".\": is a folder without model.safetensors or pytorch_model.bin");
}

/* Archives are told apart by their members, before compression or any other check. */
static void test_strange_archives(void **state)
{
    (void)state;
    static const struct {
        const char *members[3];
        const char *message;
    } cases[] = {
        {{"cls.npy", "head/kernel.npy"}, "is a NumPy archive (.npz), as Google publishes its ViT"},
        {{"m/data.pkl", "m/code/__torch__/net.py"}, "is a TorchScript archive"},
        {{"m/data.pkl", "m/constants.pkl"}, "is a TorchScript archive"},
        {{"metadata.json", "config.json", "model.weights.h5"}, "is a Keras model (.keras)"},
        {{"x/model.safetensors"}, "is a zip archive with a safetensors file in it"},
        {{"model.pth"}, "is a zip archive with a PyTorch file in it"},
        {{"tf/saved_model.pb"}, "is a zipped TensorFlow model"},
        {{"readme.txt", "a/b.txt"}, "is a zip archive of other files (\"readme.txt\")"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (unsigned method = 0; method <= 8; method += 8) {
            struct zip_record records[3] = {{0}};
            struct bytes archive = {0};
            size_t count = 0;
            for (; count < 3 && cases[i].members[count]; count++)
                records[count] = (struct zip_record){.name = cases[i].members[count],
                                                     .data = "....",
                                                     .size_bytes = 4,
                                                     .method = method};
            zip_build(&archive, records, count, ZIP_NO_ZIP64);
            refuse_file(archive.data, archive.size_bytes, DVIT_ERROR_UNSUPPORTED, cases[i].message);
            free(archive.data);
        }
}

static void test_folders(void **state)
{
    (void)state;
    struct dvit_weight_file *file;
    struct dvit_error error;
    char folder[32];
    test_folder_create(folder);
    char *one = dvit_path_join(folder, "b.pth"), *two = dvit_path_join(folder, "a.npz");
    char *text = dvit_path_join(folder, "readme.md");
    assert_ok(dvit_file_replace(text, "x", 1, &error), &error);
    assert_fails(dvit_weight_file_open(&file, folder, &error), &error, DVIT_ERROR_NOT_FOUND,
                 "(or the .index.json of either)");
    assert_null(strstr(error.message, "readme"));
    assert_ok(dvit_file_replace(one, "x", 1, &error), &error);
    assert_fails(dvit_weight_file_open(&file, folder, &error), &error, DVIT_ERROR_NOT_FOUND,
                 "it holds \"b.pth\": name that file");
    assert_ok(dvit_file_replace(two, "x", 1, &error), &error);
    assert_fails(dvit_weight_file_open(&file, folder, &error), &error, DVIT_ERROR_NOT_FOUND,
                 "it holds \"a.npz\", \"b.pth\": name one of these files");
    free(one);
    free(two);
    free(text);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_safetensors_metadata),
        cmocka_unit_test(test_index_refused),
        cmocka_unit_test(test_index_limits),
        cmocka_unit_test(test_index_without_folder),
        cmocka_unit_test(test_large_file_is_mapped),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_strange_archives),
        cmocka_unit_test(test_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
