/* Shared by the tests: cmocka, assertions about enum dvit_status that print the message, and
 * scratch folders. Tests run in the build folder and leave nothing behind. */
#ifndef DVIT_TEST_UTIL_H
#define DVIT_TEST_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "dvit/status.h"

/* The call succeeded; otherwise its message is shown. */
#define assert_ok(expression, error)                                                               \
    do {                                                                                           \
        if ((expression) != DVIT_OK)                                                               \
            fail_msg("%s: %s", #expression, (error)->message);                                     \
    } while (0)

/* The call failed with `code`, and its message contains `part`. */
#define assert_fails(expression, error, code, part)                                                \
    do {                                                                                           \
        (error)->message[0] = 0;                                                                   \
        enum dvit_status got_ = (expression);                                                      \
        if (got_ != (code) || (error)->status != got_)                                             \
            fail_msg("%s: %s (%s), expected %s", #expression, dvit_status_name(got_),              \
                     (error)->message, dvit_status_name(code));                                    \
        if (!strstr((error)->message, (part)))                                                     \
            fail_msg("%s: message is: %s\nexpected in it: %s", #expression, (error)->message,      \
                     (part));                                                                      \
    } while (0)

/* A new folder "test-XXXXXX" in the working folder; `path` holds at least 32 bytes. */
char *test_folder_create(char *path);
/* Removes a folder made by test_folder_create with the files in it. */
void test_folder_remove(const char *path);
/* Number of names in a folder. */
size_t test_folder_count(const char *path);
/* Asserts that the file holds exactly these bytes. */
void test_assert_content(const char *path, const void *data, size_t size_bytes);

/* Lets no file grow beyond `bytes`, as a full disk does (writes fail with EFBIG); bytes < 0 lifts
 * the limit. */
void test_limit_file_size(long bytes);

#endif
