/* Malicious PyTorch files. Each ends in an error or in inert data, within a second, and never takes
 * more memory than twice the file + 64 MB. */
#include "test_util.h"

#include <unistd.h>

#include "hostile_file.h"

/* ---- pickles that call something: inert, and shown by name ---- */

#define STRING(size, text) "X" size "\0\0\0" text
#define IMPORT_OS          CALL("__builtin__\n__import__", STRING("\2", "os") "\x85")

static const struct {
    const char *pickle;
    size_t size_bytes;
    const char *shown; /* of the first value */
} calls[] = {
#define INERT(value, shown)                                                                        \
    {                                                                                              \
        PICKLE(value), sizeof PICKLE(value) - 1, shown                                             \
    }
    INERT(CALL("posix\nsystem", STRING("\x0b", "touch pwned") "\x85"), "posix.system"),
    INERT(CALL("os\nsystem", STRING("\x0b", "touch pwned") "\x85"), "os.system"),
    INERT(CALL("nt\nsystem", STRING("\4", "calc") "\x85"), "nt.system"),
    INERT(CALL("builtins\neval", STRING("\x11", "open('pwned','w')") "\x85"), "builtins.eval"),
    INERT(CALL("builtins\nexec", STRING("\x11", "open('pwned','w')") "\x85"), "builtins.exec"),
    INERT(CALL("__builtin__\ncompile", STRING("\1", "1") "\x85"), "__builtin__.compile"),
    INERT(CALL("subprocess\nPopen", STRING("\2", "sh") "\x85"), "subprocess.Popen"),
    INERT("csubprocess\nPopen\n" STRING("\2", "sh") "\x85\x81", "subprocess.Popen"),
    INERT(CALL("__builtin__\ngetattr", IMPORT_OS STRING("\6", "system") "\x86"),
          "__builtin__.getattr"),
    INERT(CALL("__builtin__\ngetattr", IMPORT_OS STRING("\6", "system") "\x86")
              STRING("\x0b", "touch pwned") "\x85R",
          "(computed)"),
    INERT(CALL("operator\nattrgetter", STRING("\6", "system") "\x85") IMPORT_OS "\x85R",
          "(computed)"),
    INERT(CALL("runpy\n_run_code", STRING("\1", "1") "}\x86"), "runpy._run_code"),
    INERT(CALL("torch\nload", STRING("\6", "/dev/0") "\x85"), "torch.load"),
    INERT(CALL("torch.hub\nload", STRING("\1", "x") "\x85"), "torch.hub.load"),
    INERT(CALL("pickle\nloads", STRING("\3", "(t.") "\x85"), "pickle.loads"),
    INERT(CALL("types\nCodeType", "(K\0K\0t"), "types.CodeType"),
    INERT(CALL("functools\nreduce", "cos\nsystem\n]\x86"), "functools.reduce"),
    INERT(CALL("shutil\nrmtree", STRING("\1", "/") "\x85"), "shutil.rmtree"),
    INERT(CALL("numpy.core.multiarray\nscalar", ")"), "numpy.core.multiarray.scalar"),
    INERT("cevil\nC\n)\x81}" STRING("\x0c", "__setstate__") "cos\nsystem\nsb", "evil.C"),
    INERT("cevil\nC\n)\x81}" STRING("\x09", "__class__") "cos\nsystem\nsb", "evil.C"),
    INERT("cos\nsystem\n", "os.system"),
    INERT("c\x1b[2J\n\x1b]0;\n", "\\x1b[2J.\\x1b]0;"), /* nothing that moves a cursor */
    INERT("K\1Q", "persistent id"),
    INERT(")Q", "persistent id"),
    INERT("(X\6\0\0\0moduletQ", "persistent id"),
    INERT("\x8a\xff"
          "................................................................"
          "................................................................"
          "................................................................"
          "...............................................................",
          "0x2e2e2e2e2e2e"),
    INERT(REBUILD "K\1Q"
                  "K\0))" HOOKS,
          "torch._utils._rebuild_tensor_v2"),
    INERT(TENSOR(STORAGE_OF("EvilStorage", TEXT1("0"), "K\x18"), "K\0", ")", ")"),
          "torch._utils._rebuild_tensor_v2"),
    INERT("ctorch._utils\n_rebuild_parameter\nK\1\x85R", "torch._utils._rebuild_parameter"),
};

static void test_calls_are_inert(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct bytes pickle = {0}, bytes;
        bytes_put(&pickle, calls[i].pickle, calls[i].size_bytes);
        struct dvit_torch_file *file = hostile_accept_pickle(&pickle, &bytes);
        size_t tensors, values;
        dvit_torch_file_tensors(file, &tensors);
        const struct dvit_stored_value *value = dvit_torch_file_values(file, &values);
        assert_int_equal(tensors, 0);
        assert_true(values >= 1);
        assert_string_equal(value->name, "w");
        if (strncmp(value->text, calls[i].shown, strlen(calls[i].shown)) != 0)
            fail_msg("case %zu shows \"%s\", expected \"%s\"", i, value->text, calls[i].shown);
        hostile_discard(file, &bytes);
        free(pickle.data);
    }
    assert_int_not_equal(access("pwned", F_OK), 0);
}

/* ---- tensors that lie about their storage ---- */

#define HUGE_INT  "\x8a\x08\0\0\0\0\0\0\0\x40" /* 2^62 */
#define MINUS_ONE "J\xff\xff\xff\xff"

static const struct {
    const char *pickle;
    size_t size_bytes;
    enum dvit_status code;
    const char *message;
} lies[] = {
#define LIE(value, code, message)                                                                  \
    {                                                                                              \
        PICKLE(value), sizeof PICKLE(value) - 1, code, message                                     \
    }
    LIE(TENSOR(STORAGE, "K\0", "K\x19\x85", "K\1\x85"), DVIT_ERROR_FORMAT,
        "tensor \"w\": shape [25] with strides [1] from element 0 reaches outside its storage of "
        "24 elements"),
    LIE(TENSOR(STORAGE, "K\x0c", "K\x0d\x85", "K\1\x85"), DVIT_ERROR_FORMAT, "reaches outside"),
    LIE(TENSOR(STORAGE, "K\x19", "K\0\x85", "K\1\x85"), DVIT_ERROR_FORMAT, "reaches outside"),
    LIE(TENSOR(STORAGE, HUGE_INT, "K\1\x85", "K\1\x85"), DVIT_ERROR_FORMAT, "reaches outside"),
    LIE(TENSOR(STORAGE, "K\0", "K\2K\2\x86", "K\x18K\1\x86"), DVIT_ERROR_FORMAT, "reaches outside"),
    LIE(TENSOR(STORAGE, "K\0", "K\2\x85", HUGE_INT "\x85"), DVIT_ERROR_FORMAT, "reaches outside"),
    LIE(TENSOR(STORAGE, "K\0", "K\3K\3\x86", HUGE_INT HUGE_INT "\x86"), DVIT_ERROR_FORMAT,
        "share a place"),
    LIE(TENSOR(STORAGE, "K\0", "K\5K\2\x86", HUGE_INT "K\1\x86"), DVIT_ERROR_FORMAT,
        "share a place"), /* 4 · 2^62 overflows */
    LIE(TENSOR(STORAGE, "K\0", "K\x18\x85", "K\0\x85"), DVIT_ERROR_FORMAT,
        "strides [0] of shape [24] let elements share a place"),
    LIE(TENSOR(STORAGE, "K\0", "K\xffK\xff\x86", "K\0K\0\x86"), DVIT_ERROR_FORMAT, "share a place"),
    LIE(TENSOR(STORAGE, "K\0", "K\4K\4\x86", "K\1K\1\x86"), DVIT_ERROR_FORMAT, "share a place"),
    LIE(TENSOR(STORAGE, "K\0", "K\4K\4\x86", "K\2K\1\x86"), DVIT_ERROR_FORMAT, "share a place"),
    LIE(TENSOR(STORAGE, MINUS_ONE, "K\1\x85", "K\1\x85"), DVIT_ERROR_FORMAT, "non-negative"),
    LIE(TENSOR(STORAGE, "K\0", MINUS_ONE "\x85", "K\1\x85"), DVIT_ERROR_FORMAT, "non-negative"),
    LIE(TENSOR(STORAGE, "K\0", "K\2\x85", MINUS_ONE "\x85"), DVIT_ERROR_FORMAT, "non-negative"),
    LIE(TENSOR(STORAGE, "K\0", "](K\2e", "K\1\x85"), DVIT_ERROR_FORMAT, "non-negative"),
    LIE(TENSOR(STORAGE, "K\0", "K\2\x85", ")"), DVIT_ERROR_FORMAT, "non-negative"),
    LIE(TENSOR(STORAGE, "K\0", "\x88\x85", "K\1\x85"), DVIT_ERROR_FORMAT, "non-negative"),
    LIE(TENSOR(STORAGE, "K\0", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t"),
        DVIT_ERROR_FORMAT, "rank at most 8"),
    LIE(TENSOR(STORAGE, "K\0", HUGE_INT "K\4\x86", "K\4K\1\x86"), DVIT_ERROR_LIMIT,
        "exceeds the address space"),
    LIE(TENSOR(STORAGE, "K\0", HUGE_INT "\x85", "K\1\x85"), DVIT_ERROR_LIMIT, "address space"),
    LIE(TENSOR(STORAGE_OF("FloatStorage", TEXT1("0"), "K\x19"), "K\0", "K\1\x85", "K\1\x85"),
        DVIT_ERROR_FORMAT, "has 96 bytes, a FloatStorage of 25 elements takes 100"),
    LIE(TENSOR(STORAGE_OF("FloatStorage", TEXT1("0"), "K\x17"), "K\0", "K\1\x85", "K\1\x85"),
        DVIT_ERROR_FORMAT, "has 96 bytes"),
    LIE(TENSOR(STORAGE_OF("DoubleStorage", TEXT1("0"), "K\x18"), "K\0", "K\1\x85", "K\1\x85"),
        DVIT_ERROR_FORMAT, "a DoubleStorage of 24 elements takes 192"),
    LIE(TENSOR(STORAGE_OF("FloatStorage", TEXT1("0"), HUGE_INT), "K\0", "K\1\x85", "K\1\x85"),
        DVIT_ERROR_LIMIT, "exceed the address space"),
    LIE(TENSOR(STORAGE_OF("FloatStorage", TEXT1("0"), MINUS_ONE), "K\0", "K\1\x85", "K\1\x85"),
        DVIT_ERROR_FORMAT, "storage \"0\" has no number of elements"),
    LIE(TENSOR(STORAGE_OF("FloatStorage", TEXT1("9"), "K\x18"), "K\0", "K\1\x85", "K\1\x85"),
        DVIT_ERROR_FORMAT, "there is no record \"data/9\""),
    LIE(TENSOR(STORAGE_OF("FloatStorage", STRING("\x0b", "../data.pkl"), "K\x18"), "K\0", ")", ")"),
        DVIT_ERROR_FORMAT, "there is no record \"data/../data.pkl\""),
    LIE(TENSOR(STORAGE_OF("FloatStorage", "K\0", "K\x18"), "K\0", ")", ")"), DVIT_ERROR_FORMAT,
        "is not (\"storage\", class, key, location, elements)"),
    LIE(TENSOR("(X\7\0\0\0storagetQ", "K\0", ")", ")"), DVIT_ERROR_FORMAT, "is not (\"storage\""),
    LIE(TENSOR("N", "K\0", ")", ")"), DVIT_ERROR_FORMAT,
        "the arguments of torch._utils._rebuild_tensor_v2 are not storage"),
    LIE("ctorch._utils\n_rebuild_tensor_v2\n)R", DVIT_ERROR_FORMAT, "are not storage, offset"),
    /* ---- names ---- */
    LIE("}"
        "K\1" TENSOR(STORAGE, "K\0", ")", ")") "s" TEXT1("1") TENSOR(STORAGE, "K\0", ")", ")") "s",
        DVIT_ERROR_FORMAT, "tensor \"w/1\" is there twice"),
    LIE("}" TEXT1("\0") "Ns", DVIT_ERROR_FORMAT, "holds a zero byte"),
    /* ---- contents ---- */
    LIE("]q\0h\0a", DVIT_ERROR_LIMIT, "nests deeper than 100 levels, or contains itself"),
    LIE("}q\0" TEXT1("a") "h\0s", DVIT_ERROR_LIMIT, "or contains itself"),
    LIE("cevil\nC\n)\x81q\0}" TEXT1("a") "h\0sb", DVIT_ERROR_LIMIT, "or contains itself"),
    LIE("\x8b\xff\xff\xff\x7f", DVIT_ERROR_UNSUPPORTED, "LONG4"),
    LIE("\x93", DVIT_ERROR_UNSUPPORTED, "STACK_GLOBAL"),
};

static void test_lies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct bytes pickle = {0};
        bytes_put(&pickle, lies[i].pickle, lies[i].size_bytes);
        hostile_refuse_pickle(&pickle, lies[i].code, lies[i].message);
        free(pickle.data);
    }
}

static void test_long_names(void **state)
{
    (void)state;
    struct bytes pickle = {0};
    bytes_literal(&pickle, "\x80\2}X\1\4\0\0");
    bytes_repeat(&pickle, "n", 1, 1025);
    bytes_literal(&pickle, "Ns.");
    hostile_refuse_pickle(&pickle, DVIT_ERROR_LIMIT, "makes a path of more than 1024 bytes");
    free(pickle.data);
    pickle = (struct bytes){0};
    bytes_literal(&pickle, "\x80\2}" TEXT1("w") REBUILD "(X\7\0\0\0storagectorch\nFloatStorage\nX");
    bytes_number(&pickle, 100000, 4);
    bytes_repeat(&pickle, "0", 1, 100000); /* a storage key */
    bytes_literal(&pickle, "X\3\0\0\0cpuK\x18tQK\0))" HOOKS "s.");
    hostile_refuse_pickle(&pickle, DVIT_ERROR_FORMAT, "there is no record \"data/000000");
    free(pickle.data);
}

/* Keys that are no texts: numbers as they read, others by their place. */
static void test_strange_keys(void **state)
{
    (void)state;
    static const char text[] = PICKLE("}(\x88K\0\x89K\1G\x3f\xf8\0\0\0\0\0\0K\2NK\3)K\4K\x07\x8f"
                                      "J\xfe\xff\xff\xffU\2\xff\0u");
    static const char *const names[] = {"w/true", "w/false", "w/1.5", "w/#3",
                                        "w/#4",   "w/7",     "w/-2"};
    static const char *const texts[] = {"0", "1", "2", "3", "4", "set()", "2 bytes"};
    struct bytes pickle = {0}, bytes;
    size_t count;
    bytes_put(&pickle, text, sizeof text - 1);
    struct dvit_torch_file *file = hostile_accept_pickle(&pickle, &bytes);
    const struct dvit_stored_value *values = dvit_torch_file_values(file, &count);
    assert_int_equal(count, 7);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(values[i].name, names[i]);
        assert_string_equal(values[i].text, texts[i]);
    }
    hostile_discard(file, &bytes);
    free(pickle.data);
}

/* ---- archives ---- */

static void refuse_archive(const struct zip_record *records, size_t count, enum dvit_status code,
                           const char *message)
{
    struct bytes bytes = {0};
    zip_build(&bytes, records, count, ZIP_WITH_ZIP64);
    hostile_refuse(&bytes, code, message);
    free(bytes.data);
}

static void test_archives(void **state)
{
    (void)state;
    const struct zip_record pickle = {.name = "a/data.pkl", .data = "\x80\2N.", .size_bytes = 4};
    struct zip_record records[2] = {pickle,
                                    {.name = "a/constants.pkl", .data = "", .size_bytes = 0}};
    refuse_archive(records, 2, DVIT_ERROR_UNSUPPORTED, "is a TorchScript archive");
    records[1].name = "a/code/__torch__.py";
    refuse_archive(records, 2, DVIT_ERROR_UNSUPPORTED, "is a TorchScript archive");
    records[1] = (struct zip_record){.name = "a/byteorder", .data = "big", .size_bytes = 3};
    refuse_archive(records, 2, DVIT_ERROR_UNSUPPORTED, "byte order is \"big\"");
    records[1] = (struct zip_record){.name = "a/x", .data = "", .size_bytes = 0, .method = 8};
    refuse_archive(records, 2, DVIT_ERROR_UNSUPPORTED, "is compressed");
    records[0] = (struct zip_record){.name = "a/data.pkl", .data = "\x80\2N.N", .size_bytes = 5};
    refuse_archive(records, 1, DVIT_ERROR_FORMAT, "data.pkl has 1 bytes after its STOP");
    records[0].name = "a/data.pk";
    refuse_archive(records, 1, DVIT_ERROR_UNSUPPORTED, "without data.pkl not one of torch.save");
}

/* ---- the legacy form ---- */

#define MAGIC                                                                                      \
    "\x80\2\x8a\x0al\xfc\x9c"                                                                      \
    "F\xf9 j\xa8P\x19."
#define VERSION "\x80\2M\xe9\3."
#define INFO    "\x80\2}X\x0d\0\0\0little_endian\x88s."
#define LEGACY_STORAGE(class, elements, view)                                                      \
    "(X\7\0\0\0storagectorch\n" class "\n" TEXT1("0") "X\3\0\0\0cpu" elements view "tQ"
#define LEGACY_TENSOR(class, elements, view)                                                       \
    PICKLE(TENSOR(LEGACY_STORAGE(class, elements, view), "K\0", "K\2\x85", "K\1\x85"))
#define FLOATS LEGACY_TENSOR("FloatStorage", "K\2", "N")
#define KEYS   "\x80\2](" TEXT1("0") "e."
#define TWO    "\2\0\0\0\0\0\0\0"
#define DATA   "\0\0\x80\x3f\0\0\0\x40"

static const struct {
    const char *file;
    size_t size_bytes;
    enum dvit_status code;
    const char *message;
} legacy[] = {
#define OLD(text, code, message)                                                                   \
    {                                                                                              \
        text, sizeof text - 1, code, message                                                       \
    }
    OLD(MAGIC VERSION INFO FLOATS KEYS TWO DATA, DVIT_OK, ""),
    OLD(MAGIC VERSION INFO LEGACY_TENSOR("FloatStorage", "K\2", "(X\1\0\0\0vK\0K\2t") KEYS TWO DATA,
        DVIT_OK, ""),
    OLD(MAGIC "\x80\2M\xe8\3.", DVIT_ERROR_UNSUPPORTED, "system info at byte 21: pickle"),
    OLD(MAGIC "\x80\2M\xe8\3." INFO FLOATS, DVIT_ERROR_UNSUPPORTED, "is not of version 1001"),
    OLD(MAGIC VERSION "\x80\2N." FLOATS, DVIT_ERROR_FORMAT, "system info is not a dict"),
    OLD(MAGIC VERSION "\x80\2}X\x0d\0\0\0little_endian\x89s." FLOATS, DVIT_ERROR_UNSUPPORTED,
        "byte order is not little"),
    OLD(MAGIC VERSION INFO FLOATS "\x80\2N." TWO DATA, DVIT_ERROR_FORMAT, "keys are not a list"),
    OLD(MAGIC VERSION INFO FLOATS "\x80\2](K\0e." TWO DATA, DVIT_ERROR_FORMAT, "key is not a text"),
    OLD(MAGIC VERSION INFO FLOATS "\x80\2].", DVIT_ERROR_FORMAT,
        "tensor \"w\": storage \"0\" is not in the file"),
    OLD(MAGIC VERSION INFO FLOATS "\x80\2](" TEXT1("1") "e." TWO DATA, DVIT_ERROR_UNSUPPORTED,
        "storage \"1\" is in the file but not in the object"),
    OLD(MAGIC VERSION INFO FLOATS "\x80\2](" TEXT1("0") TEXT1("0") "e." TWO DATA TWO DATA,
        DVIT_ERROR_FORMAT, "storage \"0\" is there twice"),
    OLD(MAGIC VERSION INFO FLOATS KEYS "\3\0\0\0\0\0\0\0" DATA, DVIT_ERROR_FORMAT,
        "has 3 elements, the object says 2"),
    OLD(MAGIC VERSION INFO FLOATS KEYS "\xff\xff\xff\xff\xff\xff\xff\xff" DATA, DVIT_ERROR_FORMAT,
        "has 18446744073709551615 elements"),
    OLD(MAGIC VERSION INFO FLOATS KEYS TWO "1234567", DVIT_ERROR_FORMAT, "ends outside the file"),
    OLD(MAGIC VERSION INFO FLOATS KEYS "\2\0", DVIT_ERROR_FORMAT, "before storage \"0\""),
    OLD(MAGIC VERSION INFO FLOATS KEYS TWO DATA "!", DVIT_ERROR_FORMAT, "1 bytes after the last"),
    OLD(MAGIC VERSION INFO LEGACY_TENSOR("OddStorage", "K\2", "N") KEYS TWO DATA,
        DVIT_ERROR_UNSUPPORTED, "storage \"0\" is of unknown class torch.OddStorage"),
    OLD(MAGIC VERSION INFO LEGACY_TENSOR("FloatStorage", "K\2", "(X\1\0\0\0vK\1K\2t") KEYS TWO DATA,
        DVIT_ERROR_FORMAT, "its view lies outside its 2 elements"),
    OLD(MAGIC VERSION INFO LEGACY_TENSOR("FloatStorage", "K\2", "(X\1\0\0\0vK\0K\1t") KEYS TWO DATA,
        DVIT_ERROR_FORMAT, "reaches outside its storage of 1 elements"),
    OLD(MAGIC VERSION INFO LEGACY_TENSOR("FloatStorage", "K\2", "K\1") KEYS TWO DATA,
        DVIT_ERROR_FORMAT, "its view lies outside"),
    OLD(MAGIC VERSION INFO "\x80\2(X\6\0\0\0moduletQ." KEYS, DVIT_ERROR_UNSUPPORTED,
        "whole pickled modules are not read"),
    OLD(MAGIC VERSION INFO "\x80\2" LEGACY_STORAGE("FloatStorage", "K\2", "N")
            LEGACY_STORAGE("HalfStorage", "K\2", "N") "\x86." KEYS TWO DATA,
        DVIT_ERROR_FORMAT, "storage \"0\" is described in two ways"),
};

static void test_legacy(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof legacy / sizeof *legacy; i++) {
        struct bytes bytes = {0};
        bytes_put(&bytes, legacy[i].file, legacy[i].size_bytes);
        if (legacy[i].code != DVIT_OK) {
            hostile_refuse(&bytes, legacy[i].code, legacy[i].message);
            free(bytes.data);
            continue;
        }
        struct dvit_error error;
        struct dvit_torch_file *file;
        size_t tensors;
        assert_ok(hostile_parse(&bytes, &file, &error), &error);
        assert_memory_equal(dvit_torch_file_tensors(file, &tensors)->data, DATA, 8);
        assert_int_equal(tensors, 1);
        hostile_discard(file, &bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_are_inert), cmocka_unit_test(test_lies),
        cmocka_unit_test(test_long_names),      cmocka_unit_test(test_strange_keys),
        cmocka_unit_test(test_archives),        cmocka_unit_test(test_legacy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
