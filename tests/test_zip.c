/* Stored zip archives: what is found in honest ones, and that lying ones are refused by name. */
#include "test_util.h"

#include "torch_sample.h"
#include "weights/zip.h"

static const struct zip_record honest[] = {
    {.name = "top/data.pkl", .data = "pickle", .size_bytes = 6},
    {.name = "top/data/0", .data = "0123456789", .size_bytes = 10},
    {.name = "top/empty", .data = "", .size_bytes = 0},
};

static struct dvit_zip *accept(const struct bytes *bytes)
{
    struct dvit_error error;
    struct dvit_zip *zip;
    assert_ok(dvit_zip_open(&zip, bytes->data, bytes->size_bytes, &error), &error);
    return zip;
}

static void refuse_bytes(const struct bytes *bytes, enum dvit_status code, const char *message)
{
    struct dvit_error error;
    struct dvit_zip *zip = (void *)&error; /* anything but NULL */
    unsigned char *exact =
        malloc(bytes->size_bytes + 1); /* the sanitizer sees every step outside */
    memcpy(exact, bytes->data, bytes->size_bytes);
    exact = realloc(exact, bytes->size_bytes ? bytes->size_bytes : 1);
    assert_fails(dvit_zip_open(&zip, exact, bytes->size_bytes, &error), &error, code, message);
    assert_null(zip);
    free(exact);
}

static void test_found(void **state)
{
    (void)state;
    for (int zip64 = ZIP_NO_ZIP64; zip64 <= ZIP_WITH_ZIP64; zip64++) {
        struct bytes bytes = {0};
        zip_build(&bytes, honest, 3, zip64);
        struct dvit_zip *zip = accept(&bytes);
        assert_int_equal(dvit_zip_count(zip), 3);
        const struct dvit_zip_entry *entry = dvit_zip_find(zip, "data/0", 6);
        assert_non_null(entry);
        assert_int_equal(entry->size_bytes, 10);
        assert_memory_equal(entry->data, "0123456789", 10);
        assert_int_equal(dvit_zip_find(zip, "empty", 5)->size_bytes, 0);
        assert_null(dvit_zip_find(zip, "data/", 5));
        assert_null(dvit_zip_find(zip, "top/data.pkl", 12));
        assert_memory_equal(dvit_zip_entry(zip, 0)->name, "data.pkl", 8); /* by name */
        dvit_zip_free(zip);
        free(bytes.data);
    }
    dvit_zip_free(NULL);
}

static void test_no_entries(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    zip_build(&bytes, NULL, 0, ZIP_NO_ZIP64);
    struct dvit_zip *zip = accept(&bytes);
    assert_int_equal(dvit_zip_count(zip), 0);
    assert_null(dvit_zip_find(zip, "data.pkl", 8));
    dvit_zip_free(zip);
    free(bytes.data);
}

static void test_zip64_fields(void **state)
{
    (void)state;
    struct zip_record records[] = {honest[0], honest[1]};
    struct bytes bytes = {0};
    records[1].zip64 = true;
    zip_build(&bytes, records, 2, ZIP_WITH_ZIP64);
    struct dvit_zip *zip = accept(&bytes);
    assert_int_equal(dvit_zip_find(zip, "data/0", 6)->size_bytes, 10);
    assert_memory_equal(dvit_zip_find(zip, "data/0", 6)->data, "0123456789", 10);
    dvit_zip_free(zip);
    free(bytes.data);
}

struct lie {
    struct zip_record records[2];
    enum dvit_status code;
    const char *message;
};

#define GOOD                                                                                       \
    {                                                                                              \
        .name = "t/a", .data = "abc", .size_bytes = 3                                              \
    }
#define BAD(...)                                                                                   \
    {                                                                                              \
        .data = "xyz", .size_bytes = 3, __VA_ARGS__                                                \
    }

static void test_lies(void **state)
{
    (void)state;
    static const struct lie lies[] = {
        {{GOOD, BAD(.name = "t/b", .method = 8)},
         DVIT_ERROR_UNSUPPORTED,
         "record \"t/b\" is compressed (method 8)"},
        {{GOOD, BAD(.name = "t/b", .flags = 1)}, DVIT_ERROR_UNSUPPORTED, "\"t/b\" is encrypted"},
        {{GOOD, BAD(.name = "t/b", .flags = 0x40)}, DVIT_ERROR_UNSUPPORTED, "unknown flags 0x0040"},
        {{GOOD, BAD(.name = "t/a")}, DVIT_ERROR_FORMAT, "record \"a\" is there twice"},
        {{GOOD, BAD(.name = "u/a")},
         DVIT_ERROR_FORMAT,
         "\"u/a\" is not below the top folder \"t/\""},
        {{GOOD, BAD(.name = "a")}, DVIT_ERROR_FORMAT, "\"a\" is not below a top folder"},
        {{GOOD, BAD(.name = "/a")}, DVIT_ERROR_FORMAT, "not below a top folder"},
        {{GOOD, BAD(.name = "t/../x")}, DVIT_ERROR_FORMAT, "\"t/../x\" climbs out of its folder"},
        {{GOOD, BAD(.name = "t/./x")}, DVIT_ERROR_FORMAT, "climbs out"},
        {{GOOD, BAD(.name = "../x")}, DVIT_ERROR_FORMAT, "climbs out"},
        {{GOOD, BAD(.name = "t/x/..")}, DVIT_ERROR_FORMAT, "climbs out"},
        {{GOOD, BAD(.name = "t\\x")}, DVIT_ERROR_FORMAT, "is not a record's name"},
        {{GOOD, BAD(.name = "t/\xff")}, DVIT_ERROR_FORMAT, "is not a record's name"},
        {{GOOD, BAD(.name = "t/b", .local_name = "t/c")},
         DVIT_ERROR_FORMAT,
         "disagree on its name"},
        {{GOOD, BAD(.name = "t/b", .local_name = "t/bb")}, DVIT_ERROR_FORMAT, "on its name"},
        {{GOOD, BAD(.name = "t/b", .local_method = 8)},
         DVIT_ERROR_FORMAT,
         "disagree on its method"},
        {{GOOD, BAD(.name = "t/b", .local_flags = 0x800)}, DVIT_ERROR_FORMAT, "on its flags"},
        {{GOOD, BAD(.name = "t/b", .local_size = 2)}, DVIT_ERROR_FORMAT, "on its size"},
        {{GOOD, BAD(.name = "t/b", .local_crc = 7)}, DVIT_ERROR_FORMAT, "on its checksum"},
        {{GOOD, BAD(.name = "t/b", .size_claim = 4)},
         DVIT_ERROR_FORMAT,
         "record \"t/b\" of 4 bytes does not fit before the directory"},
        {{GOOD, BAD(.name = "t/b", .size_claim = UINT32_MAX)},
         DVIT_ERROR_FORMAT,
         "damaged ZIP64 field"},
        {{BAD(.name = "t/a", .size_claim = 20), BAD(.name = "t/b")},
         DVIT_ERROR_FORMAT,
         "records \"a\" and \"b\" overlap"},
        {{GOOD, BAD(.name = "t/b", .offset_plus_one = 1)},
         DVIT_ERROR_FORMAT,
         "disagree on its name"},
        {{GOOD, BAD(.name = "t/b", .offset_plus_one = 2)},
         DVIT_ERROR_FORMAT,
         "no local header at byte 1"},
        {{GOOD, BAD(.name = "t/b", .offset_plus_one = UINT32_MAX - 1)},
         DVIT_ERROR_FORMAT,
         "no local header at byte 4294967293"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct bytes bytes = {0};
        zip_build(&bytes, lies[i].records, 2, ZIP_WITH_ZIP64);
        refuse_bytes(&bytes, lies[i].code, lies[i].message);
        free(bytes.data);
    }
}

/* With bit 3 the sizes stand in the directory alone. */
static void test_descriptor(void **state)
{
    (void)state;
    static const struct zip_record record = {.name = "t/b",
                                             .data = "xyz",
                                             .size_bytes = 3,
                                             .flags = 8,
                                             .local_size = 77,
                                             .local_crc = 9};
    struct bytes bytes = {0};
    zip_build(&bytes, &record, 1, ZIP_WITH_ZIP64);
    struct dvit_zip *zip = accept(&bytes);
    assert_int_equal(dvit_zip_find(zip, "b", 1)->size_bytes, 3);
    dvit_zip_free(zip);
    free(bytes.data);
}

/* One number of the end records changed at a time, by its distance from the end. */
static void test_end_records(void **state)
{
    (void)state;
    static const struct {
        size_t from_end;
        unsigned char value;
        enum dvit_status code;
        const char *message;
    } cases[] = {
        {1, 1, DVIT_ERROR_FORMAT, "does not end with an end record"}, /* comment length */
        {22, 0, DVIT_ERROR_FORMAT, "does not end with an end record"},
        {18, 1, DVIT_ERROR_UNSUPPORTED, "spans several disks"},
        {16, 1, DVIT_ERROR_UNSUPPORTED, "spans several disks"},
        {12, 9, DVIT_ERROR_UNSUPPORTED, "spans several disks"}, /* entries here and in all */
        {10, 9, DVIT_ERROR_FORMAT, "ZIP64 record and end record disagree"},
        {6, 9, DVIT_ERROR_FORMAT, "ZIP64 record and end record disagree"},
        {22 + 4, 2, DVIT_ERROR_UNSUPPORTED, "spans several disks"},
        {22 + 12, 1, DVIT_ERROR_FORMAT, "damaged ZIP64 record"},
        {22 + 5, 0x70, DVIT_ERROR_FORMAT, "does not lie before its locator"},
        {22 + 16, 1, DVIT_ERROR_UNSUPPORTED, "spans several disks"},
        {22 + 20 + 52, 1, DVIT_ERROR_FORMAT, "damaged ZIP64 record"},
        {22 + 20 + 40, 1, DVIT_ERROR_UNSUPPORTED, "spans several disks"},
        {22 + 20 + 32, 1, DVIT_ERROR_FORMAT, "ZIP64 record and end record disagree"},
        {22 + 20 + 24, 1, DVIT_ERROR_FORMAT, "ZIP64 record and end record disagree"},
        {22 + 20 + 8, 1, DVIT_ERROR_FORMAT, "ZIP64 record and end record disagree"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes bytes = {0};
        zip_build(&bytes, honest, 3, ZIP_WITH_ZIP64);
        bytes.data[bytes.size_bytes - cases[i].from_end] = cases[i].value;
        refuse_bytes(&bytes, cases[i].code, cases[i].message);
        free(bytes.data);
    }
}

/* Numbers that agree with each other and not with the archive. */
static void test_directory(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    zip_build(&bytes, honest, 3, ZIP_NO_ZIP64);
    unsigned char *end = bytes.data + bytes.size_bytes - 22;
    end[8] = end[10] = 2;
    refuse_bytes(&bytes, DVIT_ERROR_FORMAT, "directory of 2 entries ends at byte");
    end[8] = end[10] = 4;
    refuse_bytes(&bytes, DVIT_ERROR_FORMAT, "4 entries do not fit in a directory of");
    end[8] = end[10] = end[9] = end[11] = 0xff;
    refuse_bytes(&bytes, DVIT_ERROR_FORMAT, "65535 entries do not fit in a directory of");
    end[8] = end[10] = 3;
    end[9] = end[11] = 0;
    end[16] ^= 1;
    refuse_bytes(&bytes, DVIT_ERROR_FORMAT, "does not end at");
    end[16] ^= 1;
    unsigned char *directory = end - 169;
    directory[2] = 3; /* a local header's signature */
    refuse_bytes(&bytes, DVIT_ERROR_FORMAT, "no directory entry at byte");
    directory[2] = 1;
    directory[30] = 0xff; /* length of the extra field */
    refuse_bytes(&bytes, DVIT_ERROR_FORMAT, "ends outside it");
    directory[30] = 0;
    end[15] = 0x7f;
    refuse_bytes(&bytes, DVIT_ERROR_FORMAT, "does not end at");
    free(bytes.data);
    struct bytes many = {0};
    zip_build(&many, NULL, 0, ZIP_WITH_ZIP64);
    unsigned char *end64 = many.data;
    memcpy(end64 + 24, "\xa1\x86\x01", 3); /* 100,001 */
    memcpy(end64 + 32, "\xa1\x86\x01", 3);
    memset(many.data + many.size_bytes - 14, 0xff, 4);
    refuse_bytes(&many, DVIT_ERROR_LIMIT, "100001 entries, the limit is 100000");
    free(many.data);
}

static void test_every_truncation(void **state)
{
    (void)state;
    for (int zip64 = ZIP_NO_ZIP64; zip64 <= ZIP_WITH_ZIP64; zip64++) {
        struct bytes bytes = {0};
        zip_build(&bytes, honest, 3, zip64);
        for (size_t size = 0; size < bytes.size_bytes; size++) {
            struct bytes part = {bytes.data, size, 0};
            refuse_bytes(&part, DVIT_ERROR_FORMAT, "zip: ");
        }
        free(bytes.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),        cmocka_unit_test(test_no_entries),
        cmocka_unit_test(test_zip64_fields), cmocka_unit_test(test_lies),
        cmocka_unit_test(test_descriptor),   cmocka_unit_test(test_end_records),
        cmocka_unit_test(test_directory),    cmocka_unit_test(test_every_truncation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
