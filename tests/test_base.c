/* Status and messages, the arena, processor levels, files and folders. */
#define _GNU_SOURCE
#include "test_util.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/utf8.h"

#define ELLIPSIS "\xe2\x80\xa6"

/* The linker sends calloc of the code under test here. */
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

static int allocation_fails;

void *__wrap_calloc(size_t count, size_t size)
{
    return allocation_fails ? NULL : __real_calloc(count, size);
}

static void test_error_message(void **state)
{
    struct dvit_error error;
    assert_int_equal(dvit_error_set(&error, DVIT_ERROR_IO, "%s has %d", "x", 3), DVIT_ERROR_IO);
    assert_int_equal(error.status, DVIT_ERROR_IO);
    assert_string_equal(error.message, "x has 3");
    dvit_error_prefix(&error, "\"%s\"", "file");
    assert_string_equal(error.message, "\"file\": x has 3");
    assert_int_equal(error.status, DVIT_ERROR_IO);
    assert_int_equal(dvit_error_set(NULL, DVIT_ERROR_LIMIT, "x"), DVIT_ERROR_LIMIT);
    dvit_error_prefix(NULL, "x");
    for (int i = 0; i < DVIT_STATUS_COUNT; i++)
        assert_true(strlen(dvit_status_name((enum dvit_status)i)) > 1);
    assert_string_equal(dvit_status_name(DVIT_STATUS_COUNT), "unknown");
    assert_string_equal(dvit_status_name((enum dvit_status) - 1), "unknown");
    int parts[3];
    assert_int_equal(sscanf(dvit_version(), "%d.%d.%d", parts, parts + 1, parts + 2), 3);
}

static void assert_cut(const char *message, size_t least)
{
    size_t length = strlen(message);
    assert_in_range(length, least, 999);
    assert_string_equal(message + length - 3, ELLIPSIS);
}

/* What does not fit ends in "…", and no character is cut in two. */
static void test_error_truncation(void **state)
{
    struct dvit_error error;
    char text[3000];
    memset(text, 'x', sizeof text);
    text[999] = 0;
    dvit_error_set(&error, DVIT_ERROR_IO, "%s", text);
    assert_string_equal(error.message, text); /* exactly fits */
    text[999] = 'x';
    text[1000] = 0;
    dvit_error_set(&error, DVIT_ERROR_IO, "%s", text);
    assert_cut(error.message, 999);
    for (int shift = 0; shift < 4; shift++) { /* four-byte characters at every alignment */
        memset(text, 'x', (size_t)shift);
        for (size_t i = (size_t)shift; i + 4 < sizeof text; i += 4)
            memcpy(text + i, "\xf0\x9f\x98\x80", 5);
        dvit_error_set(&error, DVIT_ERROR_IO, "%s", text);
        assert_cut(error.message, 995);
        assert_int_equal((strlen(error.message) - 3 - (size_t)shift) % 4, 0);
        dvit_error_prefix(&error, "%s", "prefix");
        assert_cut(error.message, 993);
        assert_memory_equal(error.message, "prefix: ", 8);
    }
    dvit_error_prefix(&error, "%s", text); /* a prefix that leaves no room is left out */
    assert_memory_equal(error.message, "prefix: ", 8);
}

struct parts {
    char *bytes;
    double *numbers;
    int *none;
    float *rest;
};

static void assert_shown(const char *text, const char *shown)
{
    char out[200];
    struct dvit_error error;
    assert_int_equal(dvit_text_display(out, sizeof out, text), strlen(shown));
    assert_string_equal(out, shown);
    assert_int_equal(dvit_text_display(out, sizeof out, shown), strlen(shown)); /* once is enough */
    assert_string_equal(out, shown);
    dvit_error_set(&error, DVIT_ERROR_IO, "%s", text);
    assert_string_equal(error.message, shown);
    dvit_error_prefix(&error, "%s", text);
    snprintf(out, sizeof out, "%s: %s", shown, shown);
    assert_string_equal(error.message, out);
}

/* Controls of every kind and bytes that are no text, each in its own form; all else as it is. */
static void test_text_display(void **state)
{
    (void)state;
    assert_shown("", "");
    assert_shown("plain \"quoted\" \\x", "plain \"quoted\" \\x");
    assert_shown("caf\xc3\xa9 \xe9\x87\x91 \xf0\x9f\x90\x9f",
                 "caf\xc3\xa9 \xe9\x87\x91 \xf0\x9f\x90\x9f");
    assert_shown("\x1b[31m\n\r\t\x01\x7f", "\\x1b[31m\\n\\r\\t\\x01\\x7f");
    assert_shown("\xc2\x9b"
                 "2J \xc2\xa0",
                 "\\u009b2J \xc2\xa0");
    assert_shown("\xe2\x80\xae \xe2\x81\xa6 \xe2\x80\x8f \xd8\x9c \xe2\x80\xa8",
                 "\\u202e \\u2066 \\u200f \\u061c \\u2028");
    assert_shown("caf\xe9.png \xc0\xaf \xed\xa0\x80 \xe2\x82",
                 "caf\\xe9.png \\xc0\\xaf \\xed\\xa0\\x80 \\xe2\\x82");
    char out[8] = "xxxxxxx";
    assert_int_equal(dvit_text_display(out, 6, "abc\xc3\xa9\xc3\xa9"), 7);
    assert_string_equal(out, "abc\xc3\xa9");
    assert_int_equal(dvit_text_display(out, 5, "abc\xc3\xa9"), 5);
    assert_string_equal(out, "abc");
    assert_int_equal(dvit_text_display(NULL, 0, "a\n"), 3);
    assert_int_equal(dvit_utf8_cut("abc\xc3\xa9", 4), 3);
    assert_int_equal(dvit_utf8_cut("abc\xc3\xa9", 5), 5);
    assert_true(dvit_utf8_is_valid("\xc3\xa9"));
    assert_false(dvit_utf8_is_valid("\xe9"));
}

static void layout(struct parts *parts, struct dvit_arena *arena)
{
    parts->bytes = dvit_arena_take(arena, 3, 1);
    parts->numbers = dvit_arena_take(arena, 9, sizeof *parts->numbers);
    parts->none = dvit_arena_take(arena, 0, sizeof *parts->none);
    parts->rest = dvit_arena_take(arena, 16, sizeof *parts->rest);
}

static void test_arena(void **state)
{
    struct dvit_arena arena = {0};
    struct dvit_error error;
    struct parts parts;
    layout(&parts, &arena);
    assert_null(parts.bytes);
    assert_null(parts.rest);
    assert_int_equal(arena.used_bytes, 64 + 128 + 0 + 64);
    assert_ok(dvit_arena_commit(&arena, "parts", &error), &error);
    assert_int_equal(arena.size_bytes, 256);
    layout(&parts, &arena);
    assert_int_equal((uintptr_t)parts.bytes % DVIT_ALIGNMENT, 0);
    assert_ptr_equal(parts.numbers, parts.bytes + 64);
    assert_ptr_equal(parts.rest, parts.bytes + 192);
    for (int i = 0; i < 256; i++)
        assert_int_equal(parts.bytes[i], 0);
    memset(parts.bytes, 1, 256);                /* all of it is ours */
    assert_null(dvit_arena_take(&arena, 1, 1)); /* more than was measured */
    dvit_arena_free(&arena);
    assert_null(arena.base);
    dvit_arena_free(&arena);
    assert_int_equal(dvit_align_up(0), 0);
    assert_int_equal(dvit_align_up(1), 64);
    assert_int_equal(dvit_align_up(64), 64);
}

static void test_arena_refused(void **state)
{
    struct dvit_error error;
    struct dvit_arena product = {0}, sum = {0}, empty = {0}, lost = {0};
    dvit_arena_take(&product, SIZE_MAX / 4, 8);
    assert_fails(dvit_arena_commit(&product, "weights", &error), &error, DVIT_ERROR_LIMIT,
                 "weights: size exceeds the address space");
    dvit_arena_take(&sum, SIZE_MAX / 2, 1);
    assert_false(sum.overflow);
    dvit_arena_take(&sum, SIZE_MAX / 2, 1);
    assert_true(sum.overflow);
    dvit_arena_take(&lost, 100, 4);
    allocation_fails = 1;
    assert_fails(dvit_arena_commit(&lost, "saved", &error), &error, DVIT_ERROR_MEMORY,
                 "saved: out of memory for 448 bytes");
    allocation_fails = 0;
    assert_null(lost.base);
    assert_ok(dvit_arena_commit(&empty, "nothing", &error), &error);
    dvit_arena_free(&empty);
}

static void test_cpu(void **state)
{
    struct dvit_error error;
    enum dvit_cpu best = dvit_cpu_best(), cpu;
    assert_ok(dvit_cpu_parse("auto", &cpu, &error), &error);
    assert_int_equal(cpu, best);
    for (int i = 0; i < DVIT_CPU_COUNT; i++) {
        const char *name = dvit_cpu_name((enum dvit_cpu)i);
        if (i > (int)best) {
            assert_fails(dvit_cpu_parse(name, &cpu, &error), &error, DVIT_ERROR_UNSUPPORTED,
                         "is above what this machine has");
            continue;
        }
        assert_ok(dvit_cpu_parse(name, &cpu, &error), &error);
        assert_int_equal(cpu, i);
    }
    assert_fails(dvit_cpu_parse("AVX2", &cpu, &error), &error, DVIT_ERROR_ARGUMENT,
                 "unknown cpu level \"AVX2\", expected auto, reference, baseline, avx2 or avx512");
    assert_fails(dvit_cpu_parse("", &cpu, &error), &error, DVIT_ERROR_ARGUMENT, "\"\"");
    assert_string_equal(dvit_cpu_name(DVIT_CPU_COUNT), "unknown");
    char text[100], small[5];
    memset(small, 'x', sizeof small);
    dvit_cpu_describe(text, sizeof text);
    dvit_cpu_describe(small, sizeof small);
    assert_true(strlen(text) > 0 && !strchr(text, '\n'));
    assert_int_equal(small[4], 0);
    assert_memory_equal(small, text, 4);
}

static void test_clock(void **state)
{
    double start = dvit_clock_seconds();
    usleep(20000);
    double seconds = dvit_clock_seconds() - start;
    assert_true(seconds >= 0.02 && seconds < 10);
}

static void test_file_read(void **state)
{
    char folder[32], path[64];
    unsigned char *data = (void *)folder; /* anything but NULL */
    size_t size = 1;
    struct dvit_error error;
    snprintf(path, sizeof path, "%s/f", test_folder_create(folder));
    assert_fails(dvit_file_read(path, 10, &data, &size, &error), &error, DVIT_ERROR_NOT_FOUND,
                 "/f\": cannot open: No such file");
    assert_null(data);
    assert_int_equal(size, 0);
    assert_ok(dvit_file_replace(path, "", 0, &error), &error);
    assert_ok(dvit_file_read(path, 0, &data, &size, &error), &error);
    assert_int_equal(size, 0);
    assert_int_equal(data[0], 0);
    free(data);
    assert_ok(dvit_file_replace(path, "a\0bcd", 5, &error), &error);
    assert_ok(dvit_file_read(path, 5, &data, &size, &error), &error);
    assert_int_equal(size, 5);
    assert_memory_equal(data, "a\0bcd\0", 6); /* one more byte, 0 */
    free(data);
    assert_fails(dvit_file_read(path, 4, &data, &size, &error), &error, DVIT_ERROR_LIMIT,
                 "has 5 bytes, the limit is 4");
    assert_null(data);
    assert_fails(dvit_file_read(folder, 10, &data, &size, &error), &error, DVIT_ERROR_FORMAT,
                 "is not a regular file");
    assert_fails(dvit_file_read("/dev/zero", 10, &data, &size, &error), &error, DVIT_ERROR_FORMAT,
                 "is not a regular file");
    snprintf(path, sizeof path, "%s/f/g", folder);
    assert_fails(dvit_file_read(path, 10, &data, &size, &error), &error, DVIT_ERROR_NOT_FOUND,
                 "Not a directory");
    snprintf(path, sizeof path, "%s/pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0); /* without a writer: opening it must not wait */
    assert_fails(dvit_file_read(path, 10, &data, &size, &error), &error, DVIT_ERROR_FORMAT,
                 "is not a regular file");
    test_folder_remove(folder);
}

static void test_file_replace(void **state)
{
    char folder[32], path[64], other[128];
    struct dvit_error error;
    struct dvit_file_writer writer = {0};
    dvit_file_abandon(&writer); /* legal on a zeroed writer */
    snprintf(path, sizeof path, "%s/f", test_folder_create(folder));
    assert_false(dvit_file_exists(path));
    assert_ok(dvit_file_replace(path, "old", 3, &error), &error);
    assert_true(dvit_file_exists(path));

    assert_ok(dvit_file_begin(&writer, path, &error), &error);
    assert_ok(dvit_file_write(&writer, "ne", 2, &error), &error);
    assert_ok(dvit_file_write(&writer, NULL, 0, &error), &error);
    fflush(writer.stream);
    test_assert_content(path, "old", 3); /* until commit */
    assert_int_equal(test_folder_count(folder), 2);
    dvit_file_abandon(&writer);
    test_assert_content(path, "old", 3);
    assert_int_equal(test_folder_count(folder), 1);

    /* Another process's leftover of the same name is stepped over, not overwritten. */
    snprintf(other, sizeof other, "%s.%ld-0.tmp", path, (long)getpid());
    assert_ok(dvit_file_replace(other, "theirs", 6, &error), &error);
    assert_ok(dvit_file_begin(&writer, path, &error), &error);
    assert_ok(dvit_file_write(&writer, "ne", 2, &error), &error);
    assert_ok(dvit_file_write(&writer, "w", 1, &error), &error);
    assert_ok(dvit_file_commit(&writer, &error), &error);
    dvit_file_abandon(&writer); /* legal after commit */
    test_assert_content(path, "new", 3);
    test_assert_content(other, "theirs", 6);
    assert_int_equal(test_folder_count(folder), 2);
    test_folder_remove(folder);
}

/* A disk that is full after any number of bytes: an error, the old content, no leftover. */
static void test_file_disk_full(void **state)
{
    enum { LARGE = 100000 };
    static unsigned char large[LARGE];
    char folder[32], path[64];
    struct dvit_error error;
    snprintf(path, sizeof path, "%s/f", test_folder_create(folder));
    assert_ok(dvit_file_replace(path, "old", 3, &error), &error);
    static const long limits[] = {0, 1, 4095, 4096, 65536, LARGE - 1};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        test_limit_file_size(limits[i]);
        enum dvit_status status = dvit_file_replace(path, large, LARGE, &error);
        test_limit_file_size(-1);
        assert_int_equal(status, DVIT_ERROR_IO);
        assert_non_null(strstr(error.message, "/f\": cannot write: File too large"));
        test_assert_content(path, "old", 3);
        assert_int_equal(test_folder_count(folder), 1);
    }
    test_limit_file_size(LARGE);
    enum dvit_status status = dvit_file_replace(path, large, LARGE, &error);
    test_limit_file_size(-1);
    assert_ok(status, &error);
    test_assert_content(path, large, LARGE);
    test_folder_remove(folder);
}

static void test_file_refused(void **state)
{
    char folder[32], path[64];
    struct dvit_error error;
    struct dvit_file_writer writer;
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/none/f", folder);
    assert_fails(dvit_file_begin(&writer, path, &error), &error, DVIT_ERROR_NOT_FOUND,
                 "/none/f\": cannot create: No such file");
    assert_null(writer.stream);
    assert_null(writer.path);
    snprintf(path, sizeof path, "%s/taken", folder);
    assert_ok(dvit_folder_create(path, &error), &error);
    assert_fails(dvit_file_replace(path, "x", 1, &error), &error, DVIT_ERROR_IO,
                 "/taken\": cannot rename into place");
    assert_int_equal(test_folder_count(folder), 1);
    assert_int_equal(rmdir(path), 0);
    test_folder_remove(folder);
}

/* A pipe, and a link to a device: both stay. */
static void test_file_special(void **state)
{
    char folder[32], pipe[64], link[64];
    struct stat info;
    struct dvit_error error;
    test_folder_create(folder);
    snprintf(pipe, sizeof pipe, "%s/pipe", folder);
    snprintf(link, sizeof link, "%s/link", folder);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(symlink("/dev/null", link), 0);
    const char *const places[] = {pipe, link};
    for (size_t i = 0; i < 2; i++) {
        assert_fails(dvit_file_replace(places[i], "x", 1, &error), &error, DVIT_ERROR_IO,
                     "is not a regular file");
        assert_fails(dvit_file_duplicate("/dev/null", places[i], &error), &error, DVIT_ERROR_IO,
                     "is not a regular file");
        assert_int_equal(stat(places[i], &info), 0);
        assert_false(S_ISREG(info.st_mode));
    }
    assert_int_equal(test_folder_count(folder), 2);
    test_folder_remove(folder);
}

static void test_folder(void **state)
{
    char folder[32], path[64], file[64];
    struct dvit_error error;
    struct dvit_names names;
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/a/b/", folder);
    assert_false(dvit_folder_exists(path));
    assert_ok(dvit_folder_create(path, &error), &error);
    assert_ok(dvit_folder_create(path, &error), &error); /* already there */
    assert_true(dvit_folder_exists(path));
    assert_false(dvit_file_exists(path));
    static const char *const items[] = {"b", "a", "Z", "\xc3\xa9", "10", "9"};
    static const char *const sorted[] = {"10", "9", "Z", "a", "b", "\xc3\xa9"};
    for (int i = 0; i < 6; i++) {
        snprintf(file, sizeof file, "%s%s", path, items[i]);
        assert_ok(dvit_file_replace(file, "", 0, &error), &error);
    }
    assert_ok(dvit_folder_list(path, &names, &error), &error);
    assert_int_equal(names.count, 6);
    for (int i = 0; i < 6; i++)
        assert_string_equal(names.items[i], sorted[i]);
    dvit_names_free(&names);
    dvit_names_free(&names);
    assert_false(dvit_folder_exists(file));
    assert_fails(dvit_folder_create(file, &error), &error, DVIT_ERROR_IO,
                 "exists and is not a folder");
    assert_fails(dvit_folder_list(file, &names, &error), &error, DVIT_ERROR_NOT_FOUND,
                 "cannot open the folder: Not a directory");
    assert_fails(dvit_folder_create("", &error), &error, DVIT_ERROR_ARGUMENT, "is empty");
    test_folder_remove(path);
    snprintf(path, sizeof path, "%s/a", folder);
    test_folder_remove(path);
    assert_fails(dvit_folder_list(path, &names, &error), &error, DVIT_ERROR_NOT_FOUND,
                 "cannot open the folder: No such file");
    assert_int_equal(names.count, 0);
    test_folder_remove(folder);
}

static void test_path_join(void **state)
{
    static const char *const cases[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}};
    for (int i = 0; i < 4; i++) {
        char *path = dvit_path_join(cases[i][0], cases[i][1]);
        assert_string_equal(path, cases[i][2]);
        free(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_message), cmocka_unit_test(test_error_truncation),
        cmocka_unit_test(test_text_display),  cmocka_unit_test(test_arena),
        cmocka_unit_test(test_arena_refused), cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_clock),         cmocka_unit_test(test_file_read),
        cmocka_unit_test(test_file_replace),  cmocka_unit_test(test_file_disk_full),
        cmocka_unit_test(test_file_refused),  cmocka_unit_test(test_file_special),
        cmocka_unit_test(test_folder),        cmocka_unit_test(test_path_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
