/* Shared by the tests of data sets and the loader: scratch trees of small images. */
#ifndef DVIT_TEST_DATA_UTIL_H
#define DVIT_TEST_DATA_UTIL_H

#include "dvit/data.h"
#include "test_util.h"

/* A 4×4 PPM file (any extension) whose pixels are all `value`. */
static inline void write_picture(const char *folder, const char *name, unsigned value)
{
    struct dvit_error error;
    unsigned char file[11 + 48];
    char *path = dvit_path_join(folder, name);
    memcpy(file, "P6\n4 4\n255\n", 11);
    memset(file + 11, (int)value, 48);
    assert_ok(dvit_folder_create(folder, &error), &error);
    assert_ok(dvit_file_replace(path, file, sizeof file, &error), &error);
    free(path);
}

static inline void write_bytes(const char *folder, const char *name, const void *data, size_t size)
{
    struct dvit_error error;
    char *path = dvit_path_join(folder, name);
    assert_ok(dvit_folder_create(folder, &error), &error);
    assert_ok(dvit_file_replace(path, data, size, &error), &error);
    free(path);
}

static inline void remove_tree(const char *path)
{
    struct dvit_names names = {0};
    if (!dvit_folder_exists(path)) {
        remove(path);
        return;
    }
    assert_int_equal(dvit_folder_list(path, &names, NULL), DVIT_OK);
    for (size_t i = 0; i < names.count; i++) {
        char *inner = dvit_path_join(path, names.items[i]);
        remove_tree(inner);
        free(inner);
    }
    dvit_names_free(&names);
    assert_int_equal(remove(path), 0);
}

/* "root/inner" in a buffer that the next call reuses. */
static inline const char *under(const char *root, const char *inner)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", root, inner);
    return path;
}

/* Opens and expects failure with `status` and every given text in the message. */
static inline void expect_no_dataset(const char *spec, const char *split, enum dvit_status status,
                                     const char *text, const char *text2)
{
    struct dvit_dataset *dataset = (struct dvit_dataset *)1;
    struct dvit_error error = {0};
    enum dvit_status got = dvit_dataset_open(&dataset, spec, split, NULL, &error);
    if (got != status || !strstr(error.message, text) || !strstr(error.message, text2))
        print_error("\"%s\": status %d, message: %s\n", spec, got, error.message);
    assert_int_equal(got, status);
    assert_int_equal(error.status, status);
    assert_null(dataset);
    assert_non_null(strstr(error.message, text));
    assert_non_null(strstr(error.message, text2));
}

static inline struct dvit_dataset *open_dataset(const char *spec, const char *split)
{
    struct dvit_dataset *dataset;
    struct dvit_error error = {0};
    assert_ok(dvit_dataset_open(&dataset, spec, split, NULL, &error), &error);
    return dataset;
}

#endif
