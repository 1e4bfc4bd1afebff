/* Damaged PyTorch files: every length that a file can be cut to, and a hundred thousand flipped
 * bits. Whatever is still accepted is read to its last element; the sanitizers watch. */
#include "test_util.h"

#include "base/rng.h"
#include "weight_goldens.h"
#include "weights/sharded.h"
#include "weights/torch_file.h"

enum { FLIPS = 100000, SEED = 11 };

/* Touches everything that an accepted file offers. */
static void use(const struct dvit_torch_file *file)
{
    size_t tensors, values;
    const struct dvit_tensor_view *views = dvit_torch_file_tensors(file, &tensors);
    const struct dvit_stored_value *stored = dvit_torch_file_values(file, &values);
    volatile unsigned sum = 0;
    for (size_t i = 0; i < tensors; i++) {
        const unsigned char *bytes = views[i].data;
        assert_int_equal(dvit_tensor_elements(&views[i]) * dvit_dtype_size(views[i].dtype),
                         views[i].size_bytes);
        for (size_t k = 0; k < views[i].size_bytes; k++)
            sum = sum + bytes[k];
        sum = sum + (unsigned)strlen(views[i].name);
    }
    for (size_t i = 0; i < values; i++)
        sum = sum + (unsigned)(strlen(stored[i].name) + strlen(stored[i].text));
}

static bool parse(const unsigned char *bytes, size_t size_bytes)
{
    struct dvit_torch_file *file;
    struct dvit_error error = {.message = ""};
    enum dvit_status status = dvit_torch_file_parse(&file, bytes, size_bytes, &error);
    if (status == DVIT_OK)
        use(file);
    else if (file || !error.message[0] || status == DVIT_ERROR_MEMORY)
        fail_msg("status %s, message \"%s\"", dvit_status_name(status), error.message);
    dvit_torch_file_free(file);
    return status == DVIT_OK;
}

static void test_every_truncation(void **state)
{
    (void)state;
    for (size_t f = 0; weight_goldens[f]; f++) {
        size_t size_bytes;
        unsigned char *bytes = weight_golden_read(weight_goldens[f], &size_bytes);
        assert_true(parse(bytes, size_bytes));
        for (size_t size = 0; size < size_bytes; size++) {
            unsigned char *part = malloc(size ? size : 1); /* exactly, for the sanitizer */
            memcpy(part, bytes, size);
            if (parse(part, size))
                fail_msg("%s: accepted when cut to %zu of %zu bytes", weight_goldens[f], size,
                         size_bytes);
            free(part);
        }
        free(bytes);
    }
}

static void test_flipped_bits(void **state)
{
    (void)state;
    size_t count = 0, accepted = 0, total = 0;
    while (weight_goldens[count])
        count++;
    for (size_t f = 0; f < count; f++) {
        size_t size_bytes;
        unsigned char *bytes = weight_golden_read(weight_goldens[f], &size_bytes);
        struct dvit_rng rng = dvit_rng_stream(SEED, DVIT_RNG_TEST, 0, (uint32_t)f);
        size_t flips = FLIPS / count + (f < FLIPS % count);
        for (size_t i = 0; i < flips; i++, total++) {
            uint32_t bit = dvit_rng_below(&rng, (uint32_t)(8 * size_bytes));
            bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
            accepted += parse(bytes, size_bytes);
            bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
        free(bytes);
    }
    assert_int_equal(total, FLIPS);
    assert_true(accepted > 0 && accepted < FLIPS); /* in payloads and times: harmless */
}

/* Flips several bits, so that two numbers that have to agree may lie together. */
static void test_damaged_twice(void **state)
{
    (void)state;
    for (size_t f = 0; weight_goldens[f]; f++) {
        size_t size_bytes;
        unsigned char *bytes = weight_golden_read(weight_goldens[f], &size_bytes);
        unsigned char *damaged = malloc(size_bytes);
        struct dvit_rng rng = dvit_rng_stream(SEED, DVIT_RNG_TEST, 1, (uint32_t)f);
        for (int i = 0; i < 1000; i++) {
            memcpy(damaged, bytes, size_bytes);
            for (int k = 0; k < 4; k++)
                damaged[dvit_rng_below(&rng, (uint32_t)size_bytes)] =
                    (unsigned char)dvit_rng_u32(&rng);
            parse(damaged, size_bytes);
        }
        free(damaged);
        free(bytes);
    }
}

static void test_damaged_index(void **state)
{
    (void)state;
    size_t size_bytes;
    unsigned char *bytes = weight_golden_read("model.safetensors.index.json", &size_bytes);
    struct dvit_shard_index *index;
    struct dvit_error error;
    for (size_t size = 0; size < size_bytes - 2; size++) { /* the end is a brace and a newline */
        assert_int_not_equal(dvit_shard_index_parse(&index, bytes, size, &error), DVIT_OK);
        assert_null(index);
    }
    struct dvit_rng rng = dvit_rng_stream(SEED, DVIT_RNG_TEST, 2, 0);
    for (int i = 0; i < 5000; i++) {
        uint32_t bit = dvit_rng_below(&rng, (uint32_t)(8 * size_bytes));
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        if (dvit_shard_index_parse(&index, bytes, size_bytes, &error) == DVIT_OK)
            for (size_t k = 0; k < dvit_shard_index_count(index); k++)
                assert_true(dvit_shard_index_row(index, k)->file <
                            dvit_shard_index_file_count(index));
        dvit_shard_index_free(index);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_damaged_twice),
        cmocka_unit_test(test_damaged_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
