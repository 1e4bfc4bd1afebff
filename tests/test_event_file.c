/* TensorBoard event files: byte for byte against an encoder in Python, read back by another reader,
 * and whole whatever the disk does. */
#define _GNU_SOURCE
#include "event_reader.h"

#include "train/event_file.h"

static struct dvit_error error;
static char folder[32];

static int make_folder(void **state)
{
    test_folder_create(folder);
    return 0;
}

static int remove_folder(void **state)
{
    test_folder_remove(folder);
    return 0;
}

static void checksums_match_published_vectors(void **state)
{
    unsigned char data[32]; /* RFC 3720, B.4 */
    memset(data, 0, sizeof data);
    assert_int_equal(dvit_crc32c(data, 32), 0x8a9136aa);
    memset(data, 0xff, sizeof data);
    assert_int_equal(dvit_crc32c(data, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        data[i] = (unsigned char)i;
    assert_int_equal(dvit_crc32c(data, 32), 0x46dd794e);
    assert_int_equal(dvit_crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(dvit_crc32c(NULL, 0), 0);
}

/* ---- goldens ---- */

static void assert_golden(const struct dvit_event_file *file, const char *name)
{
    char path[600];
    unsigned char *data;
    size_t size;
    snprintf(path, sizeof path, "%s/tests/golden/events/%s.tfevents", getenv("DVIT_SOURCE_ROOT"),
             name);
    assert_ok(dvit_file_read(path, 1 << 20, &data, &size, &error), &error);
    test_assert_content(file->records.path, data, size);
    free(data);
}

static struct dvit_event_file begin(long first_step)
{
    struct dvit_event_file file;
    assert_ok(dvit_event_file_create(&file, folder, 1.7e9, first_step, &error), &error);
    return file;
}

static void beginnings_are_as_stored(void **state)
{
    struct dvit_event_file file = begin(0), resumed = begin(301);
    assert_golden(&file, "begin");
    assert_golden(&resumed, "resumed");
    dvit_event_file_close(&file);
    dvit_event_file_close(&resumed);
    dvit_event_file_close(&resumed);
}

static void add_scalars(struct dvit_event_file *file)
{
    const struct dvit_event_scalar first = {"loss/total", 2.5f};
    const struct dvit_event_scalar second[] = {
        {"loss/total", -.1f}, {"keep/stage_1", .7f}, {"rate/lr", 1e-30f}};
    assert_ok(dvit_event_file_add_scalars(file, 1700000001.5, 10, &first, 1, &error), &error);
    assert_ok(dvit_event_file_add_scalars(file, 1700000001.75, 11, NULL, 0, &error), &error);
    assert_ok(dvit_event_file_add_scalars(file, 1700000002.25, 123456789012, second, 3, &error),
              &error);
}

static void scalars_are_as_stored(void **state)
{
    struct dvit_event_file file = begin(0);
    add_scalars(&file);
    assert_golden(&file, "scalars");
    dvit_event_file_close(&file);
}

static void pictures_are_as_stored(void **state)
{
    struct dvit_event_file file = begin(0);
    unsigned char png[768];
    for (size_t i = 0; i < sizeof png; i++)
        png[i] = (unsigned char)i;
    struct dvit_event_picture picture = {"kept/patches", 200, 7, png, sizeof png};
    assert_ok(dvit_event_file_add_picture(&file, 1.7e9 + 3, 300, &picture, &error), &error);
    assert_golden(&file, "picture");
    picture.png_bytes = (size_t)1 << 40; /* refused before it is read */
    assert_fails(dvit_event_file_add_picture(&file, 1, 1, &picture, &error), &error,
                 DVIT_ERROR_LIMIT, "1099511627776");
    assert_golden(&file, "picture");
    dvit_event_file_close(&file);
}

/* ---- reading back ---- */

static void what_is_written_is_read(void **state)
{
    struct dvit_event_file file = begin(5);
    add_scalars(&file);
    struct read_events events = events_in(folder, 0);
    assert_int_equal(event_file_count(folder), 1);
    assert_false(events.cut);
    assert_int_equal(events.count, 6);
    assert_string_equal(events.items[0].version, "brain.Event:2");
    assert_true(events.items[0].time == 1.7e9);
    assert_int_equal(events.items[1].start, 1);
    assert_int_equal(events.items[1].step, 5);
    assert_string_equal(events.items[4].tag, "keep/stage_1");
    assert_true(events.items[4].value == .7f);
    assert_int_equal(events.items[4].step, 123456789012);
    free(events.items);
    dvit_event_file_close(&file);
}

/* A reader of a file cut anywhere finds the records before the cut. */
static void cut_files_are_read_up_to_the_cut(void **state)
{
    struct dvit_event_file file = begin(0);
    unsigned char *data;
    size_t size, most = 0;
    add_scalars(&file);
    assert_ok(dvit_file_read(file.records.path, 1 << 20, &data, &size, &error), &error);
    for (size_t length = 0; length <= size; length++) {
        struct read_events events = events_of(data, length);
        assert_true(events.count >= most);
        most = events.count;
        free(events.items);
    }
    assert_int_equal(most, 6);
    free(data);
    dvit_event_file_close(&file);
}

/* ---- disks and folders ---- */

static void a_full_disk_leaves_whole_records(void **state)
{
    const struct dvit_event_scalar scalar = {"loss/total", 1};
    struct dvit_event_file file = begin(0);
    size_t before = strlen(file.records.path);
    assert_ok(dvit_event_file_add_scalars(&file, 1, 1, &scalar, 1, &error), &error);
    for (long room = 0; room < 40; room += 13) { /* of a record of 50 bytes */
        struct read_events whole = events_in(folder, 0);
        unsigned char *data;
        size_t size;
        assert_ok(dvit_file_read(file.records.path, 1 << 20, &data, &size, &error), &error);
        test_limit_file_size((long)size + room);
        assert_fails(dvit_event_file_add_scalars(&file, 1, 2, &scalar, 1, &error), &error,
                     DVIT_ERROR_IO, "cannot write");
        test_limit_file_size(-1);
        test_assert_content(file.records.path, data, size);
        assert_ok(dvit_event_file_add_scalars(&file, 1, 3, &scalar, 1, &error), &error);
        struct read_events more = events_in(folder, 0);
        assert_false(more.cut);
        assert_int_equal(more.count, whole.count + 1);
        free(whole.items);
        free(more.items);
        free(data);
    }
    assert_int_equal(strlen(file.records.path), before);
    dvit_event_file_close(&file);
}

static void a_file_is_never_continued(void **state)
{
    struct dvit_event_file first = begin(0), second = begin(0), third = begin(0);
    assert_int_equal(event_file_count(folder), 3);
    assert_string_not_equal(first.records.path, second.records.path);
    assert_golden(&first, "begin");
    dvit_event_file_close(&first);
    dvit_event_file_close(&second);
    dvit_event_file_close(&third);
}

static void a_folder_that_is_none_is_named(void **state)
{
    struct dvit_event_file file;
    assert_fails(dvit_event_file_create(&file, "no-such-folder", 1, 0, &error), &error,
                 DVIT_ERROR_NOT_FOUND, "no-such-folder");
    assert_null(file.records.path);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums_match_published_vectors),
        in_folder(beginnings_are_as_stored),
        in_folder(scalars_are_as_stored),
        in_folder(pictures_are_as_stored),
        in_folder(what_is_written_is_read),
        in_folder(cut_files_are_read_up_to_the_cut),
        in_folder(a_full_disk_leaves_whole_records),
        in_folder(a_file_is_never_continued),
        cmocka_unit_test(a_folder_that_is_none_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
