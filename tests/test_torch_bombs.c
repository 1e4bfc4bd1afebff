/* PyTorch files that describe more than they hold, or hold more than is sensible: each ends in an
 * error or in inert data, within a second, and never takes more memory than twice the file + 64 MB.
 */
#include "test_util.h"

#include "hostile_file.h"

enum { LARGE = 64 << 20 };

/* Thirty lists or dicts, each holding the one before it ten times; all of them in a tuple. */
static void refuse_laugh(const char *first, size_t first_bytes, bool is_dict, const char *message)
{
    struct bytes pickle = {0};
    bytes_literal(&pickle, "\x80\2(");
    bytes_put(&pickle, first, first_bytes);
    bytes_literal(&pickle, "q\0");
    for (int level = 0; level < 30; level++) {
        bytes_put(&pickle, is_dict ? "}(" : "](", 2);
        for (int i = 0; i < 10; i++) {
            char item[] = {'K', (char)i, 'h', 0};
            bytes_put(&pickle, is_dict ? item : item + 2, is_dict ? 4 : 2);
        }
        bytes_put(&pickle, is_dict ? "uq\0" : "eq\0", 3);
    }
    bytes_literal(&pickle, "t.");
    hostile_refuse_pickle(&pickle, DVIT_ERROR_LIMIT, message);
    free(pickle.data);
}

static void test_billion_laughs(void **state)
{
    (void)state;
    static const char tensor[] = TENSOR(STORAGE, "K\0", ")", ")");
    refuse_laugh("N", 1, false, "has more than");
    refuse_laugh("N", 1, true, "has more than");
    refuse_laugh("]", 1, false, "has more than");
    refuse_laugh("}", 1, true, "has more than");
    refuse_laugh(tensor, sizeof tensor - 1, false, "has more than 100000 tensors");
    refuse_laugh(tensor, sizeof tensor - 1, true, "has more than 100000 tensors");
}

/* One text of 8 MB under many names. */
static void test_shared_texts(void **state)
{
    (void)state;
    struct bytes pickle = {0};
    bytes_literal(&pickle, "\x80\2}(K\0X\0\0\x80\0");
    bytes_repeat(&pickle, "t", 1, 8 << 20);
    bytes_literal(&pickle, "q\0");
    for (int i = 1; i < 200; i++) {
        char item[] = {'K', (char)i, 'h', 0};
        bytes_put(&pickle, item, 4);
    }
    bytes_literal(&pickle, "u.");
    hostile_refuse_pickle(&pickle, DVIT_ERROR_LIMIT, "describes more than a file of its size may");
    free(pickle.data);
}

/* A thousand transposed views of one storage of 1 MB. */
static void test_views_of_one_storage(void **state)
{
    (void)state;
    enum { SIDE = 512 };
    struct bytes pickle = {0}, bytes = {0};
    float *values = calloc((size_t)SIDE * SIDE, sizeof *values);
    bytes_literal(&pickle, "\x80\2](" TENSOR(STORAGE_OF("FloatStorage", TEXT1("0"), "J\0\0\4\0"),
                                             "K\0", "M\0\2M\0\2\x86", "K\1M\0\2\x86") "q\0");
    bytes_repeat(&pickle, "h\0", 2, 999);
    bytes_literal(&pickle, "e.");
    torch_zip_build(&bytes, &pickle, values, (size_t)SIDE * SIDE * sizeof *values);
    hostile_refuse(&bytes, DVIT_ERROR_LIMIT, "describes more than a file of its size may");
    free(values);
    free(bytes.data);
    free(pickle.data);
}

/* Two million numbers, sixteen in each list. */
static void test_many_values(void **state)
{
    (void)state;
    struct bytes pickle = {0};
    bytes_literal(&pickle, "\x80\2}(K\0](");
    bytes_repeat(&pickle, "K\1", 2, 16);
    bytes_literal(&pickle, "eq\0");
    for (uint32_t i = 1; i < 125000; i++) {
        bytes_literal(&pickle, "J");
        bytes_number(&pickle, i, 4);
        bytes_literal(&pickle, "h\0");
    }
    bytes_literal(&pickle, "u.");
    hostile_refuse_pickle(&pickle, DVIT_ERROR_LIMIT, "describes more than a file of its size may");
    free(pickle.data);
}

/* Long names for 90,000 tensors that are one. */
static void test_shared_tensor(void **state)
{
    (void)state;
    struct bytes pickle = {0};
    bytes_literal(&pickle, "\x80\2}X\xe8\3\0\0");
    bytes_repeat(&pickle, "n", 1, 1000);
    bytes_literal(&pickle, "](" TENSOR(STORAGE, "K\0", ")", ")") "q\0");
    bytes_repeat(&pickle, "h\0", 2, 90000);
    bytes_literal(&pickle, "es.");
    hostile_refuse_pickle(&pickle, DVIT_ERROR_LIMIT, "describes more than a file of its size may");
    free(pickle.data);
}

/* ---- large pickles ---- */

static void refuse_large(const char *head, size_t head_bytes, const char *piece, size_t piece_bytes,
                         const char *message)
{
    struct bytes pickle = {0};
    bytes_literal(&pickle, "\x80\2");
    bytes_put(&pickle, head, head_bytes);
    bytes_repeat(&pickle, piece, piece_bytes, (LARGE - 100) / piece_bytes);
    hostile_refuse_pickle(&pickle, DVIT_ERROR_LIMIT, message);
    free(pickle.data);
}

static void test_large_pickles(void **state)
{
    (void)state;
    char lists[1 + 1000 + 1] = "(", tuples[1 + 1000 + 1] = "(";
    memset(lists + 1, ']', 1000);
    lists[1001] = 'e';
    memset(tuples + 1, ')', 1000);
    tuples[1001] = 'e';
    refuse_large("", 0, "}", 1, "more than 1048576 values on the stack");
    refuse_large("", 0, "(", 1, "more than 1048576 open marks");
    refuse_large("N", 1, "\x85", 1, "describes more than a file of its size may");
    refuse_large("]", 1, lists, sizeof lists, "describes more than a file of its size may");
    refuse_large("]", 1, tuples, sizeof tuples, "describes more than a file of its size may");
    refuse_large("]", 1, "Na", 2, "describes more than a file of its size may");
    refuse_large("}", 1, "NNs", 3, "describes more than a file of its size may");
    refuse_large("]", 1, "cC\nC\n)Ra", 8, "describes more than a file of its size may");
    refuse_large("N", 1, "Q", 1, "describes more than a file of its size may");
}

static void test_large_and_inert(void **state)
{
    (void)state;
    struct bytes pickle = {0}, bytes;
    bytes_literal(&pickle, "\x80\2N");
    bytes_repeat(&pickle, "q\0", 2, (LARGE - 100) / 2); /* the same entry again and again */
    bytes_literal(&pickle, ".");
    struct dvit_torch_file *file = hostile_accept_pickle(&pickle, &bytes);
    hostile_discard(file, &bytes);
    free(pickle.data);
    pickle = (struct bytes){0};
    bytes_literal(&pickle, "\x80\2N");
    for (uint32_t i = 0; i < 4096; i++) { /* a page of the memo each */
        bytes_literal(&pickle, "r");
        bytes_number(&pickle, 1024 * i, 4);
    }
    bytes_literal(&pickle, ".");
    file = hostile_accept_pickle(&pickle, &bytes);
    hostile_discard(file, &bytes);
    free(pickle.data);
}

static void test_longer_than_the_limit(void **state)
{
    (void)state;
    struct bytes pickle = {0};
    bytes_literal(&pickle, "\x80\2N");
    bytes_repeat(&pickle, "q\0", 2, LARGE / 2);
    bytes_literal(&pickle, ".");
    hostile_refuse_pickle(&pickle, DVIT_ERROR_LIMIT, "pickle: longer than 67108864 bytes");
    free(pickle.data);
}

static void test_deep(void **state)
{
    (void)state;
    struct bytes pickle = {0};
    bytes_literal(&pickle, "\x80\2N");
    bytes_repeat(&pickle, "\x85", 1, 1000000);
    bytes_literal(&pickle, ".");
    hostile_refuse_pickle(&pickle, DVIT_ERROR_LIMIT, "nests deeper than 100 levels");
    free(pickle.data);
}

static void test_many_records(void **state)
{
    (void)state;
    enum { COUNT = 60000 };
    struct zip_record *records = calloc(COUNT, sizeof *records);
    char(*names)[32] = calloc(COUNT, sizeof *names);
    struct bytes bytes = {0};
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "a/data/%zu", i * 7919 % COUNT);
        records[i] = (struct zip_record){.name = names[i], .data = "", .size_bytes = 0};
    }
    records[0] = (struct zip_record){.name = "a/data.pkl", .data = "\x80\2N.", .size_bytes = 4};
    zip_build(&bytes, records, COUNT, ZIP_WITH_ZIP64);
    struct dvit_error error;
    struct dvit_torch_file *file;
    assert_ok(hostile_parse(&bytes, &file, &error), &error);
    hostile_discard(file, &bytes);
    free(names);
    free(records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_billion_laughs),
        cmocka_unit_test(test_shared_texts),
        cmocka_unit_test(test_views_of_one_storage),
        cmocka_unit_test(test_many_values),
        cmocka_unit_test(test_shared_tensor),
        cmocka_unit_test(test_large_pickles),
        cmocka_unit_test(test_large_and_inert),
        cmocka_unit_test(test_longer_than_the_limit),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_many_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
