/* Reading safetensors: what is accepted, what is refused and in which words, and that nothing a
 * file says can reach outside it. */
#define _GNU_SOURCE
#include "test_util.h"

#include <unistd.h>

#include "base/rng.h"
#include "safetensors_sample.h"
#include "weights/safetensors.h"

/* A file image in a block of exactly its size, so that the sanitizer sees every step outside. */
struct image {
    unsigned char *bytes;
    size_t size_bytes;
};

static struct image image_make(const char *header, size_t header_bytes, size_t data_bytes)
{
    struct image image = {.size_bytes = 8 + header_bytes + data_bytes};
    image.bytes = malloc(image.size_bytes);
    assert_non_null(image.bytes);
    for (int i = 0; i < 8; i++)
        image.bytes[i] = (unsigned char)((uint64_t)header_bytes >> 8 * i);
    memcpy(image.bytes + 8, header, header_bytes);
    for (size_t i = 0; i < data_bytes; i++)
        image.bytes[8 + header_bytes + i] = (unsigned char)(i + 1);
    return image;
}

static void refuse_bytes(const void *bytes, size_t size_bytes, enum dvit_status code,
                         const char *message)
{
    struct dvit_error error;
    struct dvit_safetensors *file = (void *)&error; /* anything but NULL */
    assert_fails(dvit_safetensors_parse(&file, bytes, size_bytes, "m.safetensors", &error), &error,
                 code, message);
    assert_memory_equal(error.message, "\"m.safetensors\": ", 17);
    assert_null(file);
    assert_int_equal(dvit_safetensors_parse(&file, bytes, size_bytes, "m", NULL), code);
}

static void refuse(const char *header, size_t data_bytes, enum dvit_status code,
                   const char *message)
{
    struct image image = image_make(header, strlen(header), data_bytes);
    refuse_bytes(image.bytes, image.size_bytes, code, message);
    free(image.bytes);
}

static struct dvit_safetensors *accept(const struct image *image)
{
    struct dvit_safetensors *file;
    struct dvit_error error;
    assert_ok(dvit_safetensors_parse(&file, image->bytes, image->size_bytes, "m", &error), &error);
    return file;
}

static void test_prefix_refused(void **state)
{
    unsigned char eight[8] = {0};
    for (size_t size = 0; size < 8; size++)
        refuse_bytes(eight, size, DVIT_ERROR_FORMAT, "a safetensors file has at least 8");
    refuse_bytes(eight, 8, DVIT_ERROR_FORMAT, "header is empty");
    eight[0] = 1;
    refuse_bytes(eight, 8, DVIT_ERROR_FORMAT,
                 "header of 1 bytes does not fit in a file of 8 bytes");
    memset(eight, 0xFF, sizeof eight);
    refuse_bytes(eight, 8, DVIT_ERROR_LIMIT,
                 "header length is 18446744073709551615 bytes, the limit is 100000000");
    memcpy(eight, "\x01\xe1\xf5\x05\0\0\0\0", 8); /* 100,000,001 */
    refuse_bytes(eight, 8, DVIT_ERROR_LIMIT, "header length is 100000001 bytes");
}

struct refusal {
    const char *header;
    size_t data_bytes;
    enum dvit_status code;
    const char *message;
};

static void test_header_refused(void **state)
{
    static const struct refusal cases[] = {
        {"{\"\xff\":1}", 0, DVIT_ERROR_FORMAT, "header is not UTF-8"},
        {"{\"\xc0\x80\":1}", 0, DVIT_ERROR_FORMAT, "header is not UTF-8"},
        {"{\"\xed\xa0\x80\":1}", 0, DVIT_ERROR_FORMAT, "header is not UTF-8"},
        {" {}", 0, DVIT_ERROR_FORMAT, "header starts with byte 0x20, expected '{'"},
        {"[]", 0, DVIT_ERROR_FORMAT, "header starts with byte 0x5b"},
        {"{", 0, DVIT_ERROR_FORMAT, "header is not valid JSON at byte 1"},
        {"{} x", 0, DVIT_ERROR_FORMAT, "end of file expected"},
        {"{\"a\\u0000\":1}", 0, DVIT_ERROR_FORMAT, "not valid JSON"},
        {"{\"a\":[[[1]]]}", 0, DVIT_ERROR_FORMAT, "nests deeper than 3 levels at byte 7"},
        {"{\"a\":1,\"a\":1}", 0, DVIT_ERROR_FORMAT, "duplicate object key near '\\\"a\\\"'"},
        {"{\"a\":1,\"\\u0061\":1}", 0, DVIT_ERROR_FORMAT, "duplicate object key"},
        {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}", 0, DVIT_ERROR_FORMAT,
         "duplicate object key"},
        {"{\"__metadata__\":1}", 0, DVIT_ERROR_FORMAT, "__metadata__ is not an object"},
        {"{\"__metadata__\":{\"k\":1}}", 0, DVIT_ERROR_FORMAT,
         "__metadata__ \"k\" is not a string"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, DVIT_ERROR_FORMAT, "duplicate object key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].header, cases[i].data_bytes, cases[i].code, cases[i].message);
    struct image trailing = image_make("{}\0", 3, 0);
    refuse_bytes(trailing.bytes, trailing.size_bytes, DVIT_ERROR_FORMAT, "not valid JSON");
    free(trailing.bytes);
}

static void test_entry_refused(void **state)
{
    static const struct refusal cases[] = {
        {"{\"a\":[]}", 0, DVIT_ERROR_FORMAT, "tensor \"a\": entry is not an object"},
        {"{\"a\":{\"shape\":[],\"data_offsets\":[0,0]}}", 0, DVIT_ERROR_FORMAT,
         "tensor \"a\": \"dtype\" is missing"},
        {"{\"a\":{\"dtype\":1,\"shape\":[],\"data_offsets\":[0,0]}}", 0, DVIT_ERROR_FORMAT,
         "tensor \"a\": \"dtype\" is not a string"},
        {"{\"a\":{\"dtype\":\"C64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8,
         DVIT_ERROR_UNSUPPORTED, "tensor \"a\": dtype \"C64\" is not supported (supported: F64"},
        {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
         DVIT_ERROR_UNSUPPORTED, "dtype \"F8_E4M3\""},
        {"{\"a\":{\"dtype\":\"\\n\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
         DVIT_ERROR_UNSUPPORTED, "dtype \"\\n\""},
        {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,0]}}", 0, DVIT_ERROR_FORMAT,
         "tensor \"a\": \"shape\" is missing"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":3,\"data_offsets\":[0,0]}}", 0, DVIT_ERROR_FORMAT,
         "tensor \"a\": \"shape\" is not an array"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4,-1],\"data_offsets\":[0,0]}}", 0, DVIT_ERROR_FORMAT,
         "tensor \"a\": \"shape\"[1] is not a non-negative integer"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1.0],\"data_offsets\":[0,1]}}", 1, DVIT_ERROR_FORMAT,
         "\"shape\"[0] is not a non-negative integer"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[\"1\"],\"data_offsets\":[0,1]}}", 1,
         DVIT_ERROR_FORMAT, "\"shape\"[0] is not a non-negative integer"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[99999999999999999999],\"data_offsets\":[0,1]}}", 1,
         DVIT_ERROR_FORMAT, "too big integer"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1,
         DVIT_ERROR_LIMIT, "tensor \"a\": \"shape\" has 9 numbers, the limit is 8"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[]}}", 0, DVIT_ERROR_FORMAT,
         "tensor \"a\": \"data_offsets\" is missing"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0]}}", 0, DVIT_ERROR_FORMAT,
         "tensor \"a\": \"data_offsets\" has 1 numbers, expected 2"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1,1]}}", 1, DVIT_ERROR_LIMIT,
         "\"data_offsets\" has 3 numbers, the limit is 2"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[-1,0]}}", 1, DVIT_ERROR_FORMAT,
         "\"data_offsets\"[0] is not a non-negative integer"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"scale\":1}}", 1,
         DVIT_ERROR_FORMAT, "tensor \"a\": unknown key \"scale\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].header, cases[i].data_bytes, cases[i].code, cases[i].message);
}

#define ONE(shape, offsets)                                                                        \
    "{\"a\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(first, second)                                                                         \
    "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" first                               \
    "},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" second "}}"

static void test_extent_refused(void **state)
{
    static const struct refusal cases[] = {
        {ONE("[1]", "[4,0]"), 4, DVIT_ERROR_FORMAT, "data_offsets [4,0] end before they begin"},
        {ONE("[1]", "[4,8]"), 8, DVIT_ERROR_FORMAT,
         "tensor \"a\": data begins at 4, expected 0 (a hole)"},
        {TWO("[0,4]", "[5,9]"), 9, DVIT_ERROR_FORMAT,
         "tensor \"b\": data begins at 5, expected 4 (a hole)"},
        {TWO("[3,7]", "[0,4]"), 7, DVIT_ERROR_FORMAT,
         "tensor \"a\": data begins at 3, expected 4 (an overlap)"},
        {TWO("[0,4]", "[0,4]"), 4, DVIT_ERROR_FORMAT,
         "tensor \"b\": data begins at 0, expected 4 (an overlap)"},
        {ONE("[4294967296,4294967296]", "[0,4]"), 4, DVIT_ERROR_LIMIT,
         "tensor \"a\": shape [4294967296,4294967296] exceeds the address space"},
        {ONE("[4611686018427387904]", "[0,0]"), 0, DVIT_ERROR_LIMIT, "exceeds the address space"},
        {ONE("[0,4294967296,4294967296]", "[0,0]"), 0, DVIT_ERROR_LIMIT, "exceeds the address"},
        {ONE("[4294967296,4294967296,0]", "[0,0]"), 0, DVIT_ERROR_LIMIT, "exceeds the address"},
        {ONE("[2,3]", "[0,20]"), 20, DVIT_ERROR_FORMAT,
         "tensor \"a\": shape [2,3] of F32 takes 24 bytes, data_offsets hold 20"},
        {ONE("[]", "[0,0]"), 0, DVIT_ERROR_FORMAT, "shape [] of F32 takes 4 bytes"},
        {ONE("[2]", "[0,8]"), 7, DVIT_ERROR_FORMAT,
         "header describes 8 bytes of data, the file holds 7"},
        {ONE("[2]", "[0,8]"), 9, DVIT_ERROR_FORMAT,
         "header describes 8 bytes of data, the file holds 9"},
        {"{}", 1, DVIT_ERROR_FORMAT, "header describes 0 bytes of data, the file holds 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].header, cases[i].data_bytes, cases[i].code, cases[i].message);
}

/* A header of `count` copies of "prefix<i>suffix", separated by commas, between open and close. */
static struct image image_repeat(const char *open, const char *prefix, const char *suffix,
                                 const char *close, size_t count)
{
    size_t capacity = strlen(open) + strlen(close) + 1;
    capacity += count * (strlen(prefix) + strlen(suffix) + 12);
    char *header = malloc(capacity);
    assert_non_null(header);
    size_t used = (size_t)snprintf(header, capacity, "%s", open);
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(header + used, capacity - used, "%s%s%zu%s", i ? "," : "", prefix,
                                 i, suffix);
    used += (size_t)snprintf(header + used, capacity - used, "%s", close);
    struct image image = image_make(header, used, 0);
    free(header);
    return image;
}

static void test_caps(void **state)
{
    static const char entry[] = "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";
    struct image image = image_repeat("{", "\"t", entry, "}", DVIT_SAFETENSORS_MAX_TENSORS);
    struct dvit_safetensors *file = accept(&image);
    assert_int_equal(dvit_safetensors_count(file), DVIT_SAFETENSORS_MAX_TENSORS);
    assert_string_equal(dvit_safetensors_find(file, "t99999")->name, "t99999");
    dvit_safetensors_free(file);
    free(image.bytes);

    image = image_repeat("{", "\"t", entry, "}", DVIT_SAFETENSORS_MAX_TENSORS + 1);
    refuse_bytes(image.bytes, image.size_bytes, DVIT_ERROR_LIMIT,
                 "has 100001 tensors, the limit is 100000");
    free(image.bytes);

    image = image_repeat("{\"__metadata__\":{", "\"k", "\":\"\"", "}}",
                         DVIT_SAFETENSORS_MAX_METADATA + 1);
    refuse_bytes(image.bytes, image.size_bytes, DVIT_ERROR_LIMIT,
                 "__metadata__ has 100001 entries, the limit is 100000");
    free(image.bytes);

    image = image_repeat("{\"a\":[", "", "", "]}", 1300000);
    refuse_bytes(image.bytes, image.size_bytes, DVIT_ERROR_LIMIT, "header has more than 1200000");
    free(image.bytes);

    image = image_repeat("{", "\"", "\":{}", "}", 400001);
    refuse_bytes(image.bytes, image.size_bytes, DVIT_ERROR_LIMIT, "or 400000 objects and arrays");
    free(image.bytes);
}

static void test_names(void **state)
{
    char header[1400], name[1026];
    static const char format[] = "{\"%s\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}";
    memset(name, 'n', sizeof name);
    name[1024] = 0;
    snprintf(header, sizeof header, format, name);
    struct image image = image_make(header, strlen(header), 0);
    struct dvit_safetensors *file = accept(&image);
    assert_non_null(dvit_safetensors_find(file, name));
    assert_null(dvit_safetensors_find(file, "n"));
    dvit_safetensors_free(file);
    free(image.bytes);

    name[1024] = 'n';
    name[1025] = 0;
    snprintf(header, sizeof header, format, name);
    refuse(header, 0, DVIT_ERROR_LIMIT, "n\xe2\x80\xa6\": name has 1025 bytes, the limit is 1024");

    /* A terminal escape, a quote and a right-to-left override never reach the message as such. */
    refuse("{\"\\u001b[2J\\\"\xe2\x80\xae\":[]}", 0, DVIT_ERROR_FORMAT,
           "tensor \"\\x1b[2J\\\"\\xe2\\x80\\xae\": entry is not an object");
}

/* Legal and unusual: metadata in the middle, trailing white space, a scalar, empty tensors sharing
 * an offset with a full one, data at odd addresses. */
static void test_legal(void **state)
{
    static const char header[] = "{\"z\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
                                 "\"__metadata__\":{\"format\":\"pt\",\"k\":\"\xc3\xa9\"}, "
                                 "\"s\":{\"data_offsets\":[3,7],\"shape\":[],\"dtype\":\"F32\"},"
                                 "\"e\":{\"dtype\":\"F64\",\"shape\":[0,5],\"data_offsets\":[3,3]},"
                                 "\"h\":{\"dtype\":\"I16\",\"shape\":[1,1,1,1,1,1,1,2],"
                                 "\"data_offsets\":[7,11]}} \n\t ";
    struct image image = image_make(header, strlen(header), 11);
    struct dvit_safetensors *file = accept(&image);
    static const char *const order[] = {"z", "e", "s", "h"};
    assert_int_equal(dvit_safetensors_count(file), 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(dvit_safetensors_view(file, i)->name, order[i]);
        assert_ptr_equal(dvit_safetensors_find(file, order[i]), dvit_safetensors_view(file, i));
    }
    const struct dvit_tensor_view *view = dvit_safetensors_find(file, "s");
    assert_int_equal(view->rank, 0);
    assert_int_equal(dvit_tensor_elements(view), 1);
    assert_memory_equal(view->data, "\4\5\6\7", 4);
    assert_int_equal(dvit_safetensors_find(file, "e")->size_bytes, 0);
    view = dvit_safetensors_find(file, "h");
    assert_int_equal(view->shape[7], 2);
    int64_t values[2];
    struct dvit_error error;
    assert_ok(dvit_tensor_to_i64(view, values, &error), &error);
    assert_int_equal(values[1], 0x0B0A);
    assert_string_equal(dvit_safetensors_metadata(file, "k"), "\xc3\xa9");
    assert_null(dvit_safetensors_metadata(file, "none"));
    assert_null(dvit_safetensors_find(file, "__metadata__"));
    dvit_safetensors_free(file);
    free(image.bytes);

    image = image_make("{}", 2, 0);
    file = accept(&image);
    assert_int_equal(dvit_safetensors_count(file), 0);
    assert_null(dvit_safetensors_find(file, "a"));
    assert_null(dvit_safetensors_metadata(file, "format"));
    dvit_safetensors_free(file);
    free(image.bytes);
    dvit_safetensors_free(NULL);
}

static struct image python_image(void)
{
    struct image image = {malloc(PYTHON_BYTES), PYTHON_BYTES};
    assert_non_null(image.bytes);
    memcpy(image.bytes, python_file, PYTHON_BYTES);
    return image;
}

static void test_python_layout(void **state)
{
    struct dvit_error error;
    struct image image = python_image();
    struct dvit_safetensors *file = accept(&image);
    float values[2];
    assert_ok(dvit_tensor_to_f32(dvit_safetensors_find(file, "a"), values, &error), &error);
    assert_true(values[0] == 1.0f && values[1] == -2.0f);
    assert_ok(dvit_tensor_to_f32(dvit_safetensors_find(file, "b"), values, &error), &error);
    assert_true(values[0] == 0.5f && values[1] == -2.0f);
    dvit_safetensors_free(file);
    free(image.bytes);
}

static void test_truncation(void **state)
{
    for (size_t size = 0; size < PYTHON_BYTES; size++) {
        unsigned char *part = malloc(size + !size);
        assert_non_null(part);
        memcpy(part, python_file, size);
        refuse_bytes(part, size, DVIT_ERROR_FORMAT, "");
        free(part);
    }
}

/* Reads everything a file offers, so that a view outside the block is seen by the sanitizer. */
static size_t touch(const struct dvit_safetensors *file, const struct image *image)
{
    size_t total = 0;
    for (size_t i = 0; i < dvit_safetensors_count(file); i++) {
        const struct dvit_tensor_view *view = dvit_safetensors_view(file, i);
        const unsigned char *data = view->data;
        assert_true(data >= image->bytes &&
                    data + view->size_bytes <= image->bytes + image->size_bytes);
        assert_int_equal(view->size_bytes,
                         dvit_tensor_elements(view) * dvit_dtype_size(view->dtype));
        assert_ptr_equal(dvit_safetensors_find(file, view->name), view);
        for (size_t j = 0; j < view->size_bytes; j++)
            total += data[j];
    }
    return total;
}

static void test_bit_flips(void **state)
{
    struct dvit_rng rng = dvit_rng_stream(1, DVIT_RNG_TEST, 0, 0);
    size_t accepted = 0, refused = 0, total = 0;
    for (int i = 0; i < 20000; i++) {
        struct image image = python_image();
        for (uint32_t flips = 1 + dvit_rng_below(&rng, 3); flips > 0; flips--) {
            uint32_t bit = dvit_rng_below(&rng, 8 * PYTHON_BYTES);
            image.bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        }
        struct dvit_safetensors *file;
        struct dvit_error error = {.message = ""};
        if (dvit_safetensors_parse(&file, image.bytes, image.size_bytes, "m", &error) == DVIT_OK) {
            total += touch(file, &image);
            dvit_safetensors_free(file);
            accepted++;
        } else {
            assert_null(file);
            assert_true(strlen(error.message) > 10);
            refused++;
        }
        free(image.bytes);
    }
    assert_true(accepted > 100 && refused > 10000 && total > 0); /* both paths were exercised */
}

static void test_load_refused(void **state)
{
    char folder[32], path[64];
    struct dvit_safetensors *file;
    struct dvit_error error;
    test_folder_create(folder);
    assert_fails(dvit_safetensors_load(&file, folder, &error), &error, DVIT_ERROR_FORMAT,
                 "not a regular file");
    snprintf(path, sizeof path, "%s/m", folder);
    assert_fails(dvit_safetensors_load(&file, path, &error), &error, DVIT_ERROR_NOT_FOUND,
                 "cannot open");
    assert_ok(dvit_file_replace(path, "not weights at all", 18, &error), &error);
    assert_fails(dvit_safetensors_load(&file, path, &error), &error, DVIT_ERROR_LIMIT,
                 "/m\": header length is");
    assert_null(file);
    test_folder_remove(folder);
}

/* Above the copy limit the file is mapped; a sparse one costs no disk. */
static void test_large_file(void **state)
{
    static const char header[] = "{\"w\":{\"dtype\":\"U8\",\"shape\":[600000000],"
                                 "\"data_offsets\":[0,600000000]}}";
    char folder[32], path[64];
    struct dvit_safetensors *file;
    struct dvit_error error;
    snprintf(path, sizeof path, "%s/m", test_folder_create(folder));
    struct image image = image_make(header, strlen(header), 0);
    assert_ok(dvit_file_replace(path, image.bytes, image.size_bytes, &error), &error);
    assert_int_equal(truncate(path, (off_t)image.size_bytes + 600000000), 0);
    assert_ok(dvit_safetensors_load(&file, path, &error), &error);
    const unsigned char *data = dvit_safetensors_find(file, "w")->data;
    assert_int_equal(data[0] + data[599999999], 0);
    dvit_safetensors_free(file);
    assert_int_equal(truncate(path, (off_t)image.size_bytes + 600000001), 0);
    assert_fails(dvit_safetensors_load(&file, path, &error), &error, DVIT_ERROR_FORMAT,
                 "header describes 600000000 bytes");
    free(image.bytes);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefix_refused), cmocka_unit_test(test_header_refused),
        cmocka_unit_test(test_entry_refused),  cmocka_unit_test(test_extent_refused),
        cmocka_unit_test(test_caps),           cmocka_unit_test(test_names),
        cmocka_unit_test(test_legal),          cmocka_unit_test(test_python_layout),
        cmocka_unit_test(test_truncation),     cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_load_refused),   cmocka_unit_test(test_large_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
