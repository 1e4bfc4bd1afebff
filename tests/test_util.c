/* Scratch folders and a disk that fills up. */
#define _GNU_SOURCE
#include "test_util.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

char *test_folder_create(char *path)
{
    strcpy(path, "test-XXXXXX");
    assert_non_null(mkdtemp(path));
    return path;
}

void test_folder_remove(const char *path)
{
    struct dvit_names names;
    struct dvit_error error;
    assert_ok(dvit_folder_list(path, &names, &error), &error);
    for (size_t i = 0; i < names.count; i++) {
        char *file = dvit_path_join(path, names.items[i]);
        unlink(file);
        free(file);
    }
    dvit_names_free(&names);
    assert_int_equal(rmdir(path), 0);
}

size_t test_folder_count(const char *path)
{
    struct dvit_names names;
    struct dvit_error error;
    assert_ok(dvit_folder_list(path, &names, &error), &error);
    size_t count = names.count;
    dvit_names_free(&names);
    return count;
}

void test_assert_content(const char *path, const void *data, size_t size_bytes)
{
    unsigned char *found;
    size_t found_bytes;
    struct dvit_error error;
    assert_ok(dvit_file_read(path, (size_t)1 << 30, &found, &found_bytes, &error), &error);
    assert_int_equal(found_bytes, size_bytes);
    assert_memory_equal(found, data, size_bytes);
    free(found);
}

void test_limit_file_size(long bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < 0 ? limit.rlim_max : (rlim_t)bytes;
    signal(SIGXFSZ, bytes < 0 ? SIG_DFL : SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Asked by the leak checker, where there is one. It cannot follow what cairo and fontconfig keep
 * for the whole process: a few fonts, their addresses stored as offsets. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfontconfig\nleak:libcairo\n";
}
