/* Packed weights kept in a folder: the same answers with them, one file for what is the same, and
 * another where anything differs; damaged files and those that others could write are replaced;
 * what cannot be kept is told, and the answer is the same. */
#define _DEFAULT_SOURCE /* truncate */
#include "random_model.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/file.h"
#include "dvit/infer.h"

enum { CLASSES = 6, STAGES = 2 };
static const char *const text = "vit:dim=48,depth=4,heads=3,patch=4,image=24,classes=6";

static void answer(const struct dvit_model *model, struct dvit_session_options options,
                   float *logits)
{
    struct dvit_session *session;
    struct dvit_error error;
    float *pixels = random_pixels(model, 1, 3);
    assert_ok(dvit_session_create(&session, model, &options, &error), &error);
    assert_ok(dvit_session_run(session, pixels, 1, logits, &error), &error);
    dvit_session_free(session);
    free(pixels);
}

static struct dvit_session_options keeping(const char *folder)
{
    return (struct dvit_session_options){
        .max_batch = 1, .threads = 2, .cpu = "auto", .packed_cache = folder};
}

/* Answers with the folder are those without. */
static void check(const struct dvit_model *model, struct dvit_session_options options)
{
    float with[CLASSES], without[CLASSES];
    answer(model, options, with);
    options.packed_cache = NULL;
    answer(model, options, without);
    assert_memory_equal(with, without, sizeof with);
}

static size_t files_in(const char *folder, char *first, size_t capacity)
{
    struct dvit_names names;
    struct dvit_error error;
    assert_ok(dvit_folder_list(folder, &names, &error), &error);
    size_t count = names.count;
    if (first && count)
        snprintf(first, capacity, "%s/%s", folder, names.items[0]);
    dvit_names_free(&names);
    return count;
}

static void what_is_kept_is_read_again(void **state)
{
    char root[32], folder[64], path[160];
    struct dvit_model *model = random_model(text, STAGES, 0.7, 1, 1);
    struct stat before, after;
    (void)state;
    test_folder_create(root);
    snprintf(folder, sizeof folder, "%s/a", root);
    check(model, keeping(folder));
    assert_int_equal(files_in(folder, path, sizeof path), 1);
    assert_int_equal(stat(path, &before), 0);
    check(model, keeping(folder));
    assert_int_equal(files_in(folder, NULL, 0), 1);
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino == after.st_ino); /* not written again */
    assert_true(unlink(path) == 0 && rmdir(folder) == 0);
    dvit_model_free(model);
    test_folder_remove(root);
}

/* Of the packed weights, so that a file which is read shows in the answer. */
static void overwrite(const char *path, long offset, const void *bytes, size_t count)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, offset < 0 ? SEEK_END : SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static void damaged_files_are_replaced(void **state)
{
    char folder[32], path[160];
    struct dvit_model *model = random_model(text, STAGES, 0.7, 1, 1);
    const unsigned char bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    (void)state;
    test_folder_create(folder);
    check(model, keeping(folder));
    assert_int_equal(files_in(folder, path, sizeof path), 1);
    const long places[] = {0, 8, 16, 24, 64, -8}; /* magic, numbers, first and last weights */
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct stat before, after;
        overwrite(path, places[i], bytes, sizeof bytes);
        assert_int_equal(stat(path, &before), 0);
        check(model, keeping(folder));
        assert_int_equal(stat(path, &after), 0);
        assert_true(before.st_ino != after.st_ino);
        assert_int_equal(files_in(folder, NULL, 0), 1);
    }
    struct stat whole;
    assert_int_equal(stat(path, &whole), 0);
    const off_t sizes[] = {0, 63, 64, whole.st_size - 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct stat after;
        assert_int_equal(truncate(path, sizes[i]), 0);
        check(model, keeping(folder));
        assert_int_equal(stat(path, &after), 0);
        assert_true(after.st_size == whole.st_size);
    }
    dvit_model_free(model);
    test_folder_remove(folder);
}

static void whatever_differs_has_its_own_file(void **state)
{
    char folder[32];
    struct dvit_model *model = random_model(text, STAGES, 0.7, 1, 1);
    struct dvit_session_options options;
    size_t count = 0;
    (void)state;
    test_folder_create(folder);
    check(model, keeping(folder));
    assert_int_equal(files_in(folder, NULL, 0), ++count);
    dvit_model_weights(model, model->parameters.count - 1)[0] += 1.0f;
    check(model, keeping(folder));
    assert_int_equal(files_in(folder, NULL, 0), ++count);
    options = keeping(folder);
    options.keep = 1;
    check(model, options);
    assert_int_equal(files_in(folder, NULL, 0), ++count);
    options = keeping(folder);
    if (dvit_cpu_can(dvit_cpu_best(), DVIT_PRECISION_BF16)) {
        options.precision = "bf16";
        check(model, options);
        assert_int_equal(files_in(folder, NULL, 0), ++count);
    }
    options = keeping(folder);
    options.threads = 1; /* changes nothing that is kept */
    options.max_batch = 7;
    check(model, options);
    assert_int_equal(files_in(folder, NULL, 0), count);
    dvit_model_free(model);
    test_folder_remove(folder);
}

/* The answer is right, and a note has these words. */
static void check_told(const struct dvit_model *model, const char *folder, const char *words)
{
    struct dvit_session *session;
    struct dvit_error error;
    struct dvit_session_options options = keeping(folder);
    check(model, options);
    assert_ok(dvit_session_create(&session, model, &options, &error), &error);
    const char *note = dvit_session_note(session, 0);
    if (words && (!note || !strstr(note, words)))
        fail_msg("the note is %s, expected in it: %s", note ? note : "none", words);
    if (!words && note)
        fail_msg("the note is %s, expected none", note);
    assert_null(dvit_session_note(session, 1));
    dvit_session_free(session);
}

static void what_cannot_be_kept_is_told(void **state)
{
    char folder[32], inner[64], path[160];
    struct dvit_model *model = random_model(text, STAGES, 0.7, 1, 1);
    struct dvit_error error;
    (void)state;
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/file", folder);
    assert_ok(dvit_file_replace(path, "x", 1, &error), &error);
    check_told(model, path, "not kept");
    test_assert_content(path, "x", 1);
    assert_int_equal(unlink(path), 0);
    snprintf(inner, sizeof inner, "%s/c", folder);
    check_told(model, inner, NULL);
    assert_int_equal(files_in(inner, path, sizeof path), 1);
    test_limit_file_size(100);
    assert_int_equal(unlink(path), 0);
    check_told(model, inner, "File too large");
    test_limit_file_size(-1);
    assert_int_equal(files_in(inner, NULL, 0), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    check_told(model, inner, "not kept");
    assert_true(unlink(path) == 0 && mkdir(path, 0700) == 0);
    check_told(model, inner, "not kept");
    assert_true(rmdir(path) == 0 && rmdir(inner) == 0);
    dvit_model_free(model);
    test_folder_remove(folder);
}

static void what_others_could_write_is_not_read(void **state)
{
    char folder[32], path[160];
    struct dvit_model *model = random_model(text, STAGES, 0.7, 1, 1);
    struct stat before, after;
    (void)state;
    test_folder_create(folder);
    check_told(model, folder, NULL);
    assert_int_equal(files_in(folder, path, sizeof path), 1);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(before.st_mode & (S_IWGRP | S_IWOTH), 0);
    assert_int_equal(chmod(path, 0664), 0);
    answer(model, keeping(folder), (float[CLASSES]){0}); /* makes it anew */
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_mode & (S_IWGRP | S_IWOTH), 0);
    check_told(model, folder, NULL);
    assert_int_equal(chmod(folder, 0777), 0);
    check_told(model, folder, "its folder may be written by others");
    assert_int_equal(chmod(folder, 0700), 0);
    dvit_model_free(model);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_is_read_again),
        cmocka_unit_test(damaged_files_are_replaced),
        cmocka_unit_test(whatever_differs_has_its_own_file),
        cmocka_unit_test(what_cannot_be_kept_is_told),
        cmocka_unit_test(what_others_could_write_is_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
