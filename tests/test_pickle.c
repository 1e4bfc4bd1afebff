/* The pickle machine: which instructions there are, what each makes, and where it stops. */
#include "test_util.h"

#include "torch_sample.h"
#include "weights/pickle.h"

enum { PLENTY = 1 << 20 };

struct run {
    struct dvit_pool pool;
    struct dvit_pickle pickle;
    unsigned char *exact; /* the sanitizer sees every step outside */
};

static enum dvit_status start(struct run *run, const void *data, size_t size_bytes, size_t limit,
                              struct dvit_error *error)
{
    *run = (struct run){.pool = {.limit_bytes = limit}};
    run->exact = malloc(size_bytes ? size_bytes : 1);
    memcpy(run->exact, data, size_bytes);
    return dvit_pickle_read(&run->pickle, run->exact, size_bytes, &run->pool, error);
}

static void stop(struct run *run)
{
    dvit_pool_free(&run->pool);
    free(run->exact);
}

static const struct dvit_value *accept(struct run *run, const void *data, size_t size_bytes)
{
    struct dvit_error error;
    assert_ok(start(run, data, size_bytes, PLENTY, &error), &error);
    return run->pickle.root;
}
#define accept_literal(run, literal) accept(run, literal, sizeof(literal) - 1)

static void refuse(const void *data, size_t size_bytes, size_t limit, enum dvit_status code,
                   const char *message)
{
    struct dvit_error error;
    struct run run;
    assert_fails(start(&run, data, size_bytes, limit, &error), &error, code, message);
    assert_null(run.pickle.root);
    stop(&run);
}

static void test_constants(void **state)
{
    (void)state;
    struct run run;
    assert_int_equal(accept_literal(&run, "\x80\2N.")->kind, DVIT_VALUE_NONE);
    stop(&run);
    const struct dvit_value *value = accept_literal(&run, "\x80\2\x88.");
    assert_int_equal(value->kind, DVIT_VALUE_BOOL);
    assert_int_equal(value->integer, 1);
    stop(&run);
    assert_int_equal(accept_literal(&run, "\x80\2\x89.")->integer, 0);
    stop(&run);
    value = accept_literal(&run, "\x80\2).");
    assert_int_equal(value->kind, DVIT_VALUE_TUPLE);
    assert_int_equal(value->count, 0);
    stop(&run);
    assert_int_equal(accept_literal(&run, "\x80\2].")->kind, DVIT_VALUE_LIST);
    stop(&run);
    assert_int_equal(accept_literal(&run, "\x80\2}.")->kind, DVIT_VALUE_DICT);
    stop(&run);
    assert_int_equal(accept_literal(&run, "\x80\2\x8f.")->kind, DVIT_VALUE_SET);
    stop(&run);
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *pickle;
        size_t size_bytes;
        int64_t value;
    } cases[] = {
        {"\x80\2K\xff.", 5, 255},
        {"\x80\2M\x01\x02.", 6, 513},
        {"\x80\2J\xfb\xff\xff\xff.", 8, -5},
        {"\x80\2J\xff\xff\xff\x7f.", 8, INT32_MAX},
        {"\x80\2\x8a\0.", 5, 0},
        {"\x80\2\x8a\1\xff.", 6, -1},
        {"\x80\2\x8a\2\xff\0.", 7, 255},
        {"\x80\2\x8a\x08\0\0\0\0\0\0\0\x80.", 13, INT64_MIN},
    };
    struct run run;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct dvit_value *value = accept(&run, cases[i].pickle, cases[i].size_bytes);
        assert_int_equal(value->kind, DVIT_VALUE_INT);
        assert_true(value->integer == cases[i].value);
        stop(&run);
    }
    const struct dvit_value *value =
        accept_literal(&run, "\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.");
    assert_int_equal(value->kind, DVIT_VALUE_BIG);
    assert_int_equal(value->count, 10);
    assert_memory_equal(value->bytes, "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
    stop(&run);
    value = accept_literal(&run, "\x80\2G\x3f\xe6\x66\x66\x66\x66\x66\x66.");
    assert_int_equal(value->kind, DVIT_VALUE_FLOAT);
    assert_true(value->real == 0.7);
    stop(&run);
}

static void test_texts(void **state)
{
    (void)state;
    struct run run;
    const struct dvit_value *value = accept_literal(&run, "\x80\2X\3\0\0\0h\xc3\xa9.");
    assert_int_equal(value->kind, DVIT_VALUE_TEXT);
    assert_true(dvit_value_is_text(value, "h\xc3\xa9"));
    assert_false(dvit_value_is_text(value, "h"));
    stop(&run);
    assert_true(dvit_value_is_text(accept_literal(&run, "\x80\2U\2hi."), "hi"));
    stop(&run);
    value = accept_literal(&run, "\x80\2U\2h\xff."); /* Python 2's bytes */
    assert_int_equal(value->kind, DVIT_VALUE_BYTES);
    assert_int_equal(value->count, 2);
    stop(&run);
}

static void test_containers(void **state)
{
    (void)state;
    struct run run;
    const struct dvit_value *value = accept_literal(&run, "\x80\2](K\1K\2eK\3a.");
    assert_int_equal(value->kind, DVIT_VALUE_LIST);
    assert_int_equal(value->count, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(value->items[i]->integer, i + 1);
    stop(&run);
    value = accept_literal(&run, "\x80\2}(K\1K\2K\3K\4uK\5K\6s.");
    assert_int_equal(value->kind, DVIT_VALUE_DICT);
    assert_int_equal(value->count, 3);
    for (int i = 0; i < 6; i++)
        assert_int_equal(value->items[i]->integer, i + 1);
    stop(&run);
}

static void test_tuples(void **state)
{
    (void)state;
    static const struct {
        const char *pickle;
        size_t count;
    } cases[] = {{"\x80\2(t.", 0},
                 {"\x80\2(NNNNt.", 4},
                 {"\x80\2N\x85.", 1},
                 {"\x80\2NN\x86.", 2},
                 {"\x80\2NNN\x87.", 3}};
    struct run run;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct dvit_value *value = accept(&run, cases[i].pickle, strlen(cases[i].pickle));
        assert_int_equal(value->kind, DVIT_VALUE_TUPLE);
        assert_int_equal(value->count, cases[i].count);
        stop(&run);
    }
}

static void test_memo(void **state)
{
    (void)state;
    struct run run;
    const struct dvit_value *value =
        accept_literal(&run, "\x80\2]q\7(h\7K\1r\xff\xff\x3f\0j\xff\xff\x3f\0e.");
    assert_int_equal(value->count, 3);
    assert_ptr_equal(value->items[0], value); /* the list contains itself */
    assert_ptr_equal(value->items[1], value->items[2]);
    stop(&run);
}

static void test_objects(void **state)
{
    (void)state;
    struct run run;
    const struct dvit_value *value =
        accept_literal(&run, "\x80\2cos\nsystem\nX\2\0\0\0ls\x85R}X\1\0\0\0aK\1sb.");
    assert_int_equal(value->kind, DVIT_VALUE_OBJECT);
    assert_true(dvit_value_is_global(value->items[DVIT_OBJECT_CLASS], "os", "system"));
    assert_false(dvit_value_is_global(value->items[DVIT_OBJECT_CLASS], "os", "syste"));
    assert_false(dvit_value_is_global(value, "os", "system"));
    assert_true(dvit_value_is_text(value->items[DVIT_OBJECT_ARGS]->items[0], "ls"));
    assert_int_equal(value->items[DVIT_OBJECT_STATE]->kind, DVIT_VALUE_DICT);
    assert_null(value->items[DVIT_OBJECT_CONTENT]);
    assert_string_equal(dvit_value_class_show(value).text, "os.system");
    stop(&run);
}

static void test_content_of_objects(void **state)
{
    (void)state;
    struct run run;
    const struct dvit_value *value = accept_literal(&run, "\x80\2cm\nC\n)\x81K\1K\2s.");
    assert_int_equal(value->items[DVIT_OBJECT_CONTENT]->kind, DVIT_VALUE_DICT);
    stop(&run);
    value = accept_literal(&run, "\x80\2cm\nC\n)\x81K\1a.");
    assert_int_equal(value->items[DVIT_OBJECT_CONTENT]->kind, DVIT_VALUE_LIST);
    stop(&run);
    refuse("\x80\2cm\nC\n)\x81K\1aK\1K\2s.", 19, PLENTY, DVIT_ERROR_FORMAT, "is not a dict");
}

static void test_ordered_dict(void **state)
{
    (void)state;
    struct run run;
    const struct dvit_value *value =
        accept_literal(&run, "\x80\2ccollections\nOrderedDict\n)RK\1K\2s}b.");
    assert_int_equal(value->kind, DVIT_VALUE_DICT);
    assert_int_equal(value->count, 1);
    stop(&run);
    /* As Python 2 wrote it. */
    value = accept_literal(&run, "\x80\2ccollections\nOrderedDict\n](](K\1K\2e](K\3K\4ee\x85R.");
    assert_int_equal(value->kind, DVIT_VALUE_DICT);
    assert_int_equal(value->count, 2);
    assert_int_equal(value->items[3]->integer, 4);
    stop(&run);
    value = accept_literal(&run, "\x80\2ccollections\nOrderedDict\nK\1\x85R.");
    assert_int_equal(value->kind, DVIT_VALUE_OBJECT);
    stop(&run);
}

static void test_persistent(void **state)
{
    (void)state;
    struct run run;
    const struct dvit_value *value = accept_literal(&run, "\x80\2K\1QK\2Q\x86.");
    const struct dvit_value *first = value->items[0], *second = value->items[1];
    assert_int_equal(first->kind, DVIT_VALUE_PERSISTENT);
    assert_int_equal(first->items[0]->integer, 1);
    assert_ptr_equal(run.pickle.persistent, second);
    assert_ptr_equal(second->items[1], first);
    assert_null(first->items[1]);
    stop(&run);
}

static void test_stops_where_it_ends(void **state)
{
    (void)state;
    struct run run;
    accept_literal(&run, "\x80\2N.\x80\2K\1.");
    assert_int_equal(run.pickle.size_bytes, 4);
    stop(&run);
}

/* After a pickle's head, each byte is an instruction of the list in the format's description, or
 * refused. */
static void test_instructions(void **state)
{
    (void)state;
    static const unsigned char known[] =
        ".cRba]e}su(t\x85\x86\x87N\x88\x89)\x8fJKM\x8aGXUQhjqr\x81";
    for (int opcode = 0; opcode < 256; opcode++) {
        /* A little of everything on the stack, and operands that are never reached. */
        unsigned char pickle[64] = {0x80, 2, '}', '}', '(', 'N', 'N', (unsigned char)opcode};
        struct dvit_error error = {.message = ""};
        struct run run;
        enum dvit_status status = start(&run, pickle, sizeof pickle, PLENTY, &error);
        bool is_known = opcode != 0 && memchr(known, opcode, sizeof known - 1);
        bool is_refused = strstr(error.message, "is refused") || strstr(error.message, "unknown");
        bool at_opcode = strstr(error.message, "at byte 7") != NULL;
        assert_true(status != DVIT_OK);
        if (is_known == (is_refused && at_opcode))
            fail_msg("opcode 0x%02x: %s", opcode, error.message);
        stop(&run);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *pickle;
        size_t size_bytes;
        enum dvit_status code;
        const char *message;
    } cases[] = {
        {"", 0, DVIT_ERROR_UNSUPPORTED, "does not begin with its protocol"},
        {"(lp0\n.", 6, DVIT_ERROR_UNSUPPORTED, "does not begin with its protocol"},
        {"\x80\3N.", 4, DVIT_ERROR_UNSUPPORTED, "protocol 3; protocol 2 is read"},
        {"\x80\4\x95", 3, DVIT_ERROR_UNSUPPORTED, "protocol 4; protocol 2 is read"},
        {"\x80\2\x95", 3, DVIT_ERROR_UNSUPPORTED, "FRAME (of protocol 4) at byte 2 is refused"},
        {"\x80\2\x80\2", 4, DVIT_ERROR_UNSUPPORTED, "PROTO (of protocol 2) at byte 2"},
        {"\x80\2N0.", 5, DVIT_ERROR_UNSUPPORTED, "POP (of protocol 0) at byte 3"},
        {"\x80\2\x8b", 3, DVIT_ERROR_UNSUPPORTED, "LONG4 (of protocol 2)"},
        {"\x80\2N", 3, DVIT_ERROR_FORMAT, "ends at byte 3 without STOP"},
        {"\x80\2.", 3, DVIT_ERROR_FORMAT, "stops with 0 values and 0 marks"},
        {"\x80\2NN.", 5, DVIT_ERROR_FORMAT, "stops with 2 values and 0 marks"},
        {"\x80\2(N.", 5, DVIT_ERROR_FORMAT, "stops with 1 values and 1 marks"},
        {"\x80\2t.", 4, DVIT_ERROR_FORMAT, "down to a mark, there is none"},
        {"\x80\2e.", 4, DVIT_ERROR_FORMAT, "down to a mark, there is none"},
        {"\x80\2N\x86.", 5, DVIT_ERROR_FORMAT, "takes 2 values from a stack of 1"},
        {"\x80\2N(\x85.", 6, DVIT_ERROR_FORMAT, "takes 1 values from a stack of 0"}, /* the mark */
        {"\x80\2](](e.", 8, DVIT_ERROR_FORMAT, "stops with"},
        {"\x80\2(Ne.", 5, DVIT_ERROR_FORMAT, "takes 1 values from a stack of 0"},
        {"\x80\2}(Nu.", 6, DVIT_ERROR_FORMAT, "sets a key without a value"},
        {"\x80\2NNa.", 5, DVIT_ERROR_FORMAT, "adds items to what is not a list"},
        {"\x80\2]NNs.", 6, DVIT_ERROR_FORMAT, "adds items to what is not a dict"},
        {"\x80\2)Na.", 5, DVIT_ERROR_FORMAT, "adds items to what is not a list"},
        {"\x80\2h\0.", 5, DVIT_ERROR_FORMAT, "memo entry 0 was never set"},
        {"\x80\2j\xff\xff\xff\xff.", 8, DVIT_ERROR_FORMAT, "memo entry 4294967295 was never set"},
        {"\x80\2Nr\0\0\x40\0.", 9, DVIT_ERROR_LIMIT, "memo entry 4194304, the limit is 4194304"},
        {"\x80\2q\0.", 5, DVIT_ERROR_FORMAT, "takes 1 values from a stack of 0"},
        {"\x80\2cos\nsystem", 12, DVIT_ERROR_FORMAT, "does not end within"},
        {"\x80\2c\n\n.", 6, DVIT_ERROR_FORMAT, "the bytes at 3 are not a name"},
        {"\x80\2cm\n\xff\n.", 8, DVIT_ERROR_FORMAT, "the bytes at 5 are not a name"},
        {"\x80\2N)R.", 6, DVIT_ERROR_FORMAT, "makes an object of what is not a class"},
        {"\x80\2ca\nb\nNR.", 10, DVIT_ERROR_FORMAT, "arguments that are not a tuple"},
        {"\x80\2NNb.", 6, DVIT_ERROR_FORMAT, "gives a state to what is not an object"},
        {"\x80\2\x8a\x09N.", 6, DVIT_ERROR_FORMAT, "inside the operand at byte 4"},
        {"\x80\2X\xff\xff\xff\xff.", 8, DVIT_ERROR_LIMIT, "a text of 4294967295 bytes"},
        {"\x80\2X\1\0\0\0", 7, DVIT_ERROR_FORMAT, "inside the operand"},
        {"\x80\2G\0.", 5, DVIT_ERROR_FORMAT, "inside the operand"},
        {"\x80\2\xff.", 4, DVIT_ERROR_FORMAT, "unknown opcode 0xff at byte 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].pickle, cases[i].size_bytes, PLENTY, cases[i].code, cases[i].message);
}

static void test_long_names(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    bytes_literal(&bytes, "\x80\2c");
    bytes_repeat(&bytes, "m", 1, 513);
    bytes_literal(&bytes, "\nn\n.");
    refuse(bytes.data, bytes.size_bytes, PLENTY, DVIT_ERROR_LIMIT, "does not end within 512 bytes");
    free(bytes.data);
}

static void refuse_many(const char *head, const char *piece, size_t times, size_t limit,
                        const char *message)
{
    struct bytes bytes = {0};
    bytes_literal(&bytes, "\x80\2");
    bytes_put(&bytes, head, strlen(head));
    bytes_repeat(&bytes, piece, strlen(piece), times);
    refuse(bytes.data, bytes.size_bytes, limit, DVIT_ERROR_LIMIT, message);
    free(bytes.data);
}

static void test_limits(void **state)
{
    (void)state;
    refuse_many("", "N", (1 << 20) + 1, 64 << 20, "more than 1048576 values on the stack");
    refuse_many("", "(", (1 << 20) + 1, 64 << 20, "more than 1048576 open marks");
    refuse_many("", "]", 1 << 20, PLENTY, "takes more than 1048576 bytes of memory");
    refuse_many("]", "Na", 1 << 20, PLENTY, "takes more than 1048576 bytes of memory");
    refuse_many("N", "\x85", 1 << 20, PLENTY, "takes more than 1048576 bytes of memory");
}

/* Nothing recurses: a million levels are as good as one. */
static void test_depth(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    struct run run;
    struct dvit_error error;
    bytes_literal(&bytes, "\x80\2N");
    bytes_repeat(&bytes, "\x85", 1, 1000000);
    bytes_literal(&bytes, ".");
    assert_ok(start(&run, bytes.data, bytes.size_bytes, 64 << 20, &error), &error);
    size_t depth = 0;
    for (const struct dvit_value *v = run.pickle.root; v->kind == DVIT_VALUE_TUPLE; v = v->items[0])
        depth++;
    assert_int_equal(depth, 1000000);
    stop(&run);
    free(bytes.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constants),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_containers),
        cmocka_unit_test(test_tuples),
        cmocka_unit_test(test_memo),
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_content_of_objects),
        cmocka_unit_test(test_ordered_dict),
        cmocka_unit_test(test_persistent),
        cmocka_unit_test(test_stops_where_it_ends),
        cmocka_unit_test(test_instructions),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
