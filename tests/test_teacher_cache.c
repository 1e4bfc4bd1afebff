/* Kept answers of a teacher: what is kept is what is read, damage and lies cost time only, and a
 * training has the same bits with them, without them, and after any trouble with their file. */
#include "run_bench.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "random_model.h"
#include "train/teacher_cache.h"
#include "train/trainer.h"

enum { KEPT = 5, LOGITS = 3, COMPARED = 7, HEADER = 2048, RECORD = 16 + 4 * (LOGITS + COMPARED) };

static const struct dvit_teacher_answers answers = {"key\n", KEPT, LOGITS, COMPARED};

static struct dvit_teacher_cache *open_cache(const char *folder)
{
    struct dvit_error error;
    struct dvit_teacher_cache *cache = NULL;
    assert_ok(dvit_teacher_cache_open(&cache, folder, &answers, 1e9, &error), &error);
    return cache;
}

static void fill(float *values, size_t count, int image)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (float)image + (float)i / 8;
}

static void keep(struct dvit_teacher_cache *cache, int image)
{
    float logits[LOGITS], compared[COMPARED];
    fill(logits, LOGITS, image);
    fill(compared, COMPARED, -image);
    dvit_teacher_cache_write(cache, (uint32_t)image, 100 + (uint64_t)image, logits, compared);
}

/* Whether the image is there; if so, it must be what was kept. */
static bool is_kept(struct dvit_teacher_cache *cache, int image)
{
    float logits[LOGITS], compared[COMPARED], expected[LOGITS + COMPARED];
    if (!dvit_teacher_cache_read(cache, (uint32_t)image, 100 + (uint64_t)image, logits, compared))
        return false;
    fill(expected, LOGITS, image);
    fill(expected + LOGITS, COMPARED, -image);
    assert_memory_equal(logits, expected, sizeof logits);
    assert_memory_equal(compared, expected + LOGITS, sizeof compared);
    return true;
}

static int count_kept(struct dvit_teacher_cache *cache)
{
    int count = 0;
    for (int i = 0; i < KEPT; i++)
        count += is_kept(cache, i);
    return count;
}

/* The one file of the folder. */
static char *file_of(const char *folder)
{
    struct dvit_names names;
    struct dvit_error error;
    assert_ok(dvit_folder_list(folder, &names, &error), &error);
    assert_int_equal(names.count, 1);
    char *path = dvit_path_join(folder, names.items[0]);
    dvit_names_free(&names);
    return path;
}

/* ---- the file ---- */

static void what_is_kept_is_read(void **state)
{
    (void)state;
    char folder[32];
    float logits[LOGITS], compared[COMPARED];
    struct dvit_teacher_cache *cache = open_cache(test_folder_create(folder));
    assert_int_equal(count_kept(cache), 0);
    keep(cache, 3);
    keep(cache, 1);
    assert_true(!is_kept(cache, 0) && is_kept(cache, 1) && !is_kept(cache, 2) && is_kept(cache, 3));
    assert_false(dvit_teacher_cache_read(cache, 3, 104, logits, compared)); /* other pixels */
    assert_false(dvit_teacher_cache_read(cache, KEPT, 103, logits, compared));
    dvit_teacher_cache_write(cache, KEPT, 1, logits, compared);
    struct dvit_teacher_cache *second = open_cache(folder); /* of another run, at the same time */
    assert_true(is_kept(second, 3));
    keep(second, 0);
    assert_true(is_kept(cache, 0));
    dvit_teacher_cache_close(second);
    dvit_teacher_cache_close(cache);
    cache = open_cache(folder);
    assert_int_equal(count_kept(cache), 3);
    assert_int_equal(dvit_teacher_cache_count(cache).found, 3);
    assert_int_equal(dvit_teacher_cache_count(cache).missing, 2);
    dvit_teacher_cache_close(cache);
    dvit_teacher_cache_close(NULL);
    test_folder_remove(folder);
}

static void other_answers_have_another_file(void **state)
{
    (void)state;
    char folder[32];
    struct dvit_error error;
    struct dvit_teacher_answers others[4] = {answers, answers, answers, answers};
    others[0].key = "another key\n";
    others[1].images++;
    others[2].classes++;
    others[3].compared = 0;
    struct dvit_teacher_cache *cache = open_cache(test_folder_create(folder));
    keep(cache, 2);
    dvit_teacher_cache_close(cache);
    for (size_t i = 0; i < 4; i++) {
        assert_ok(dvit_teacher_cache_open(&cache, folder, &others[i], 1e9, &error), &error);
        assert_false(i != 2 && i != 3 && is_kept(cache, 2));
        dvit_teacher_cache_close(cache);
        assert_int_equal(test_folder_count(folder), 2 + i);
    }
    test_folder_remove(folder);
}

/* A byte anywhere changed, or the file cut anywhere: an answer is right or it is none. */
static void damage_is_noticed(void **state)
{
    (void)state;
    char folder[32];
    struct dvit_error error;
    struct run_file file;
    struct dvit_teacher_cache *cache = open_cache(test_folder_create(folder));
    for (int i = 0; i < KEPT; i++)
        keep(cache, i);
    dvit_teacher_cache_close(cache);
    char *path = file_of(folder);
    assert_ok(dvit_file_read(path, 1 << 20, &file.data, &file.size, &error), &error);
    assert_int_equal(file.size, HEADER + KEPT * RECORD);
    for (size_t at = 64; at < file.size; at += at < HEADER ? 97 : 1) { /* 64: beyond the magic */
        file.data[at] ^= 0x10;
        assert_ok(dvit_file_replace(path, file.data, file.size, &error), &error);
        cache = open_cache(folder);
        assert_int_equal(count_kept(cache), at < HEADER ? 0 : KEPT - 1);
        keep(cache, 4); /* and goes on to be of use */
        assert_true(is_kept(cache, 4));
        dvit_teacher_cache_close(cache);
        file.data[at] ^= 0x10;
    }
    for (size_t size = 0; size < file.size; size += size < HEADER - 1 ? 409 : 7) {
        if (size > 0 && size < 64)
            continue;
        assert_ok(dvit_file_replace(path, file.data, size, &error), &error);
        cache = open_cache(folder);
        size_t whole = size < HEADER ? 0 : (size - HEADER) / RECORD;
        assert_int_equal(count_kept(cache), whole);
        dvit_teacher_cache_close(cache);
    }
    free(file.data);
    free(path);
    test_folder_remove(folder);
}

static void what_is_not_a_cache_stays_as_it_is(void **state)
{
    (void)state;
    char folder[32];
    static const char mine[] = "my thesis";
    struct dvit_error error;
    struct dvit_teacher_cache *cache = open_cache(test_folder_create(folder));
    dvit_teacher_cache_close(cache);
    char *path = file_of(folder);
    assert_ok(dvit_file_replace(path, mine, sizeof mine, &error), &error);
    assert_fails(dvit_teacher_cache_open(&cache, folder, &answers, 1e9, &error), &error,
                 DVIT_ERROR_FORMAT, "not a file of a teacher's answers");
    assert_null(cache);
    test_assert_content(path, mine, sizeof mine);
    remove(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_fails(dvit_teacher_cache_open(&cache, folder, &answers, 1e9, &error), &error,
                 DVIT_ERROR_IO, "is not a regular file");
    remove(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_not_equal(dvit_teacher_cache_open(&cache, folder, &answers, 1e9, &error), DVIT_OK);
    rmdir(path);
    free(path);
    test_folder_remove(folder);
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    char folder[32], long_key[3000];
    struct dvit_error error;
    struct dvit_teacher_cache *cache;
    struct dvit_teacher_answers huge = answers;
    test_folder_create(folder);
    assert_fails(
        dvit_teacher_cache_open(&cache, folder, &answers, HEADER + KEPT * RECORD - 1, &error),
        &error, DVIT_ERROR_LIMIT, "5 images takes");
    assert_int_equal(test_folder_count(folder), 0);
    huge.images = SIZE_MAX / 2;
    huge.compared = SIZE_MAX / 2;
    assert_fails(dvit_teacher_cache_open(&cache, folder, &huge, INFINITY, &error), &error,
                 DVIT_ERROR_LIMIT, "limit");
    memset(long_key, 'k', sizeof long_key - 1);
    long_key[sizeof long_key - 1] = 0;
    huge = answers;
    huge.key = long_key;
    assert_fails(dvit_teacher_cache_open(&cache, folder, &huge, 1e9, &error), &error,
                 DVIT_ERROR_LIMIT, "description");
    test_folder_remove(folder);
}

/* What fits stays of use; the rest is told once and not tried again. */
static void a_full_disk_ends_the_writing(void **state)
{
    (void)state;
    char folder[32], news[DVIT_TEACHER_CACHE_NEWS];
    struct dvit_teacher_cache *cache = open_cache(test_folder_create(folder));
    assert_true(dvit_teacher_cache_news(cache, news));
    assert_non_null(strstr(news, "0.00233 MB when all 5 images"));
    assert_false(dvit_teacher_cache_news(cache, news));
    test_limit_file_size(HEADER + 2 * RECORD + 5);
    for (int i = 0; i < KEPT; i++)
        keep(cache, i);
    test_limit_file_size(-1);
    assert_int_equal(count_kept(cache), 2);
    keep(cache, 4);
    assert_false(is_kept(cache, 4));
    assert_true(dvit_teacher_cache_news(cache, news));
    assert_non_null(strstr(news, "cannot keep more"));
    assert_false(dvit_teacher_cache_news(cache, news));
    dvit_teacher_cache_close(cache);
    cache = open_cache(folder); /* the next run tries again */
    keep(cache, 4);
    assert_int_equal(count_kept(cache), 3);
    dvit_teacher_cache_close(cache);
    test_folder_remove(folder);
}

/* ---- fingerprints ---- */

static void every_bit_counts(void **state)
{
    (void)state;
    unsigned char bytes[77];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 37);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        uint64_t hash = dvit_hash(1, bytes, size);
        assert_true(hash == dvit_hash(1, bytes, size));
        assert_true(hash != dvit_hash(2, bytes, size));
        if (size > 0)
            assert_true(hash != dvit_hash(1, bytes, size - 1));
        for (size_t bit = 0; bit < 8 * size; bit++) {
            bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_true(hash != dvit_hash(1, bytes, size));
            bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
    }
    const unsigned char zeros[64] = {0};
    for (size_t size = 1; size <= sizeof zeros; size++)
        assert_true(dvit_hash(1, zeros, size) != dvit_hash(1, zeros, size - 1));
}

/* ---- trainings ---- */

static struct train_run still_run(const char *out, const char *cache)
{
    struct train_run run = run_create(out);
    run.dynamic = true;
    run.options.augment = false;
    run.options.cache_teacher = cache;
    return run;
}

static void expect_same_run(struct train_run *run, const struct run_result *whole, int notes)
{
    char folder[32];
    run->options.out = test_folder_create(folder);
    assert_ok(run_train(run), &run->error);
    assert_int_equal(run->told[DVIT_TRAIN_NOTED], notes);
    assert_int_equal(run->told[DVIT_TRAIN_SKIPPED], 0);
    run_assert_same(folder, whole);
    test_folder_remove(folder);
}

/* No cache, an empty one, a full one, a cut one, none possible, a full disk, a stop on the way. */
static void a_training_has_the_same_bits(void **state)
{
    const char *precision = *state;
    char folder[32], kept[32], blocked[64];
    struct dvit_error error;
    struct run_file file;
    struct train_run run = still_run(test_folder_create(folder), NULL);
    run.options.precision = precision;
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.told[DVIT_TRAIN_NOTED], 0);
    struct run_result whole = run_keep(folder);
    run.options.cache_teacher = test_folder_create(kept);
    expect_same_run(&run, &whole, 1);
    char *path = file_of(kept);
    assert_ok(dvit_file_read(path, 1 << 20, &file.data, &file.size, &error), &error);
    expect_same_run(&run, &whole, 1);
    test_assert_content(path, file.data, file.size); /* nothing was written: all was found */
    assert_ok(dvit_file_replace(path, file.data, file.size / 2, &error), &error);
    expect_same_run(&run, &whole, 1);
    /* stopped and gone on with */
    run.options.out = test_folder_create(blocked);
    run.stop_at = 7;
    assert_int_equal(run_train(&run), DVIT_ERROR_INTERRUPTED);
    run.stop_at = 0;
    run.options.resume = true;
    assert_ok(run_train(&run), &run.error);
    run_assert_same(blocked, &whole);
    run.options.resume = false;
    test_folder_remove(blocked);
    /* a folder that cannot be, as on a disk without permission */
    snprintf(blocked, sizeof blocked, "%s/%s", path, "folder");
    run.options.cache_teacher = blocked;
    expect_same_run(&run, &whole, 1);
    free(file.data);
    free(path);
    run_forget(&whole);
    run_free(&run);
    test_folder_remove(kept);
    test_folder_remove(folder);
}

static void what_cannot_be_kept_is_refused(void **state)
{
    (void)state;
    char folder[32], kept[32];
    struct train_run run = still_run(test_folder_create(folder), test_folder_create(kept));
    run.options.augment = true;
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_ARGUMENT, "augmentation");
    run.options.augment = false;
    run.options.cache_limit_gb = 1e-6;
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_LIMIT, "limit is 1e-06 GB");
    run.options.cache_limit_gb = 0;
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_ARGUMENT, "teacher's answers");
    run.options.cache_limit_gb = 16;
    run.options.weight_kl = run.options.weight_token = 0;
    assert_fails(run_train(&run), &run.error, DVIT_ERROR_ARGUMENT, "no teacher's answers");
    assert_int_equal(test_folder_count(kept), 0);
    assert_int_equal(test_folder_count(folder), 0);
    run_free(&run);
    test_folder_remove(kept);
    test_folder_remove(folder);
}

/* ---- what a file is of ---- */

enum { SHOWN = 6, SHOWN_CLASSES = 4 };

/* Trains one micro-batch of the images and tells how many answers were found. */
static uint64_t found_with(const char *folder, uint64_t teacher_seed, const char *precision,
                           float brightness, double token)
{
    struct dvit_train_options options = dvit_train_options_sparsify();
    struct dvit_error error;
    struct dvit_trainer *trainer = NULL;
    struct dvit_dataset *data = NULL;
    const char *text = "vit:dim=8,depth=2,heads=2,patch=4,image=8,classes=4";
    struct dvit_model *student = random_model(text, 1, .7, 1, 1);
    struct dvit_model *teacher = random_model(text, 0, 1, teacher_seed, 1);
    float *pixels = random_pixels(student, SHOWN, 3);
    const uint32_t indices[SHOWN] = {9, 4, 0, 11, 7, 2};
    const int labels[SHOWN] = {0, 1, 2, 3, 0, 1};
    pixels[1000] += brightness; /* of the last image but one */
    options.batch = SHOWN;
    options.threads = 2;
    options.augment = false;
    options.precision = precision;
    options.cpu = "reference";
    options.weight_token = token;
    options.cache_teacher = folder;
    assert_ok(dvit_dataset_open(&data, "builtin:scenes,image=16,classes=4,train=12,val=4", "train",
                                NULL, &error),
              &error);
    assert_ok(dvit_trainer_create(&trainer, student, teacher, &options, 1, 1, &error), &error);
    assert_ok(dvit_teacher_keep(&trainer->teacher, &options, data, &student->preprocess, &error),
              &error);
    struct dvit_micro_batch batch = {
        .images = SHOWN, .pixels = pixels, .labels = labels, .indices = indices};
    assert_ok(dvit_trainer_micro(trainer, &batch, &error), &error);
    struct dvit_teacher_cache_counts counts = dvit_teacher_cache_count(trainer->teacher.cache);
    assert_int_equal(counts.found + counts.missing, SHOWN);
    dvit_trainer_free(trainer);
    dvit_dataset_free(data);
    dvit_model_free(student);
    dvit_model_free(teacher);
    free(pixels);
    return counts.found;
}

static void answers_are_of_one_teacher_to_the_same_pixels(void **state)
{
    (void)state;
    char folder[32];
    test_folder_create(folder);
    assert_int_equal(found_with(folder, 5, "f32", 0, .5), 0);
    assert_int_equal(found_with(folder, 5, "f32", 0, .5), SHOWN);
    assert_int_equal(found_with(folder, 5, "f32", 1, .5), SHOWN - 1); /* an image was changed */
    assert_int_equal(found_with(folder, 5, "f32", 1, .5), SHOWN);
    assert_int_equal(found_with(folder, 6, "f32", 1, .5), 0);
    assert_int_equal(found_with(folder, 5, "bf16", 1, .5), 0);
    assert_int_equal(found_with(folder, 5, "f32", 1, 0), 0);
    assert_int_equal(found_with(folder, 5, "f32", 1, .5), SHOWN);
    assert_int_equal(test_folder_count(folder), 4);
    test_folder_remove(folder);
}

int main(void)
{
    static char f32[] = "f32", automatic[] = "auto";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_is_read),
        cmocka_unit_test(other_answers_have_another_file),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(what_is_not_a_cache_stays_as_it_is),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(a_full_disk_ends_the_writing),
        cmocka_unit_test(every_bit_counts),
        cmocka_unit_test_prestate(a_training_has_the_same_bits, f32),
        cmocka_unit_test_prestate(a_training_has_the_same_bits, automatic),
        cmocka_unit_test(what_cannot_be_kept_is_refused),
        cmocka_unit_test(answers_are_of_one_teacher_to_the_same_pixels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
