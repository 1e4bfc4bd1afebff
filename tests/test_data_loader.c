/* The loader: order, independence of workers, resume, gaps, errors. */
#include <math.h>

#include "image/augment.h"
#include "test_data_util.h"

/* Everything an epoch delivered, end to end. */
struct record {
    size_t images, batches;
    uint32_t indices[2048];
    int labels[2048];
    int counts[256];                  /* per batch */
    size_t positions[256];            /* batch.index */
    unsigned char red[2048];          /* of the first pixel, where pictures are wanted */
    uint64_t pixels, masks, pictures; /* hashes */
};

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (bytes[i] + 1u)) * 0x100000001b3u;
    return hash;
}

static void record_epoch(struct dvit_loader *loader, uint64_t epoch, size_t first,
                         struct record *out)
{
    const struct dvit_batch *batch;
    struct dvit_error error = {0};
    *out = (struct record){.images = 0};
    assert_ok(dvit_loader_start(loader, epoch, first, &error), &error);
    for (;;) {
        assert_ok(dvit_loader_next(loader, &batch, &error), &error);
        if (!batch)
            break;
        size_t count = (size_t)batch->count, area = (size_t)(batch->width * batch->height);
        assert_in_range(count, 1, 2048 - out->images);
        memcpy(out->indices + out->images, batch->indices, count * sizeof *batch->indices);
        memcpy(out->labels + out->images, batch->labels, count * sizeof *batch->labels);
        out->pixels = hash_bytes(out->pixels, batch->pixels, count * 3 * area * sizeof(float));
        if (batch->masks)
            out->masks = hash_bytes(out->masks, batch->masks, count * area);
        if (batch->pictures)
            out->pictures = hash_bytes(out->pictures, batch->pictures, count * 3 * area);
        for (size_t i = 0; batch->pictures && i < count; i++) {
            unsigned char red = batch->pictures[i * 3 * area];
            out->red[out->images + i] = red;
            assert_true(fabs(batch->pixels[i * 3 * area] - (red / 255.0 - .485) / .229) < 1e-5);
        }
        out->counts[out->batches] = batch->count;
        out->positions[out->batches++] = batch->index;
        out->images += count;
    }
    assert_ok(dvit_loader_next(loader, &batch, &error), &error); /* the end stays the end */
    assert_null(batch);
}

static struct dvit_loader_options options_for(int side)
{
    struct dvit_loader_options options = dvit_loader_options_default();
    struct dvit_error error = {0};
    assert_ok(dvit_preprocess_preset("dynamicvit", side, side, &options.preprocess, &error),
              &error);
    return options;
}

static struct dvit_loader *make_loader(struct dvit_dataset *set,
                                       const struct dvit_loader_options *options)
{
    struct dvit_loader *loader;
    struct dvit_error error = {0};
    assert_ok(dvit_loader_create(&loader, set, options, &error), &error);
    return loader;
}

static void assert_same(const struct record *a, const struct record *b)
{
    assert_int_equal(a->images, b->images);
    assert_memory_equal(a->indices, b->indices, a->images * sizeof *a->indices);
    assert_memory_equal(a->labels, b->labels, a->images * sizeof *a->labels);
    assert_true(a->pixels == b->pixels);
    assert_true(a->masks == b->masks);
    assert_true(a->pictures == b->pictures);
}

/* 0, 1 and 3 workers, any look-ahead, any batch size: the same bytes, augmented or not. */
static void test_worker_invariance(void **state)
{
    static const int workers[] = {0, 1, 3, 3}, ahead[] = {1, 2, 1, 5}, batch[] = {16, 16, 7, 50};
    static struct record expected, got;
    struct dvit_augment augment = dvit_augment_default(48, 48);
    for (int augmented = 0; augmented < 2; augmented++) {
        for (int i = 0; i < 4; i++) {
            struct dvit_dataset *set = open_dataset("builtin:scenes,train=203", "train");
            struct dvit_loader_options options = options_for(48);
            options.batch = batch[i];
            options.workers = workers[i];
            options.ahead = ahead[i];
            options.seed = 9;
            options.shuffle = true;
            options.augment = augmented ? &augment : NULL;
            options.want_masks = !augmented;
            options.want_pictures = true;
            struct dvit_loader *loader = make_loader(set, &options);
            for (uint64_t epoch = 0; epoch < 3; epoch++)
                record_epoch(loader, epoch, 0, i ? &got : &expected);
            if (i)
                assert_same(&expected, &got);
            assert_int_equal(expected.images, 203);
            assert_int_equal((i ? got : expected).batches, dvit_loader_batches(loader));
            dvit_loader_free(loader);
            dvit_dataset_free(set);
        }
    }
}

static void check_permutation(const struct record *record, size_t images)
{
    unsigned char seen[2048] = {0};
    assert_int_equal(record->images, images);
    for (size_t i = 0; i < images; i++) {
        assert_true(record->indices[i] < images);
        assert_int_equal(seen[record->indices[i]]++, 0);
        assert_int_equal(record->labels[i], record->indices[i] % 8); /* as scenes are labelled */
    }
}

static void test_shuffle(void **state)
{
    static struct record first, second, again;
    struct dvit_dataset *set = open_dataset("builtin:scenes,train=101", "train");
    struct dvit_loader_options options = options_for(64);
    options.batch = 10;
    struct dvit_loader *loader = make_loader(set, &options);
    record_epoch(loader, 0, 0, &first);
    for (uint32_t i = 0; i < 101; i++)
        assert_int_equal(first.indices[i], i); /* default: in order */
    assert_int_equal(first.counts[10], 1);
    dvit_loader_free(loader);

    options.shuffle = true;
    loader = make_loader(set, &options);
    record_epoch(loader, 0, 0, &first);
    record_epoch(loader, 1, 0, &second);
    check_permutation(&first, 101);
    check_permutation(&second, 101);
    assert_memory_not_equal(first.indices, second.indices, 101 * sizeof(uint32_t));
    record_epoch(loader, 0, 0, &again); /* epochs may be revisited */
    assert_same(&first, &again);
    dvit_loader_free(loader);

    options.seed = 1;
    loader = make_loader(set, &options);
    record_epoch(loader, 0, 0, &second);
    assert_memory_not_equal(first.indices, second.indices, 101 * sizeof(uint32_t));
    dvit_loader_free(loader);
    dvit_dataset_free(set);
}

/* Entering an epoch at batch k gives the tail of the whole epoch. */
static void test_resume(void **state)
{
    static struct record whole, tail;
    struct dvit_augment augment = dvit_augment_default(32, 32);
    struct dvit_dataset *set = open_dataset("builtin:scenes,train=75,image=32", "train");
    struct dvit_loader_options options = options_for(32);
    options.batch = 10;
    options.workers = 2;
    options.shuffle = true;
    options.augment = &augment;
    struct dvit_loader *loader = make_loader(set, &options);
    const struct dvit_batch *batch;
    struct dvit_error error = {0};
    record_epoch(loader, 4, 0, &whole);
    for (size_t first = 0; first <= 8; first++) {
        record_epoch(loader, 4, first, &tail);
        assert_int_equal(tail.batches, 8 - first);
        if (tail.batches)
            assert_int_equal(tail.positions[0], first);
        assert_memory_equal(tail.indices, whole.indices + first * 10,
                            tail.images * sizeof *tail.indices);
    }
    /* pixels of one batch, reached from the start, directly, and after an abandoned epoch */
    uint64_t hashes[3];
    for (int way = 0; way < 3; way++) {
        if (way == 2) {
            assert_ok(dvit_loader_start(loader, 7, 0, &error), &error);
            assert_ok(dvit_loader_next(loader, &batch, &error), &error);
        }
        size_t first = way == 0 ? 0 : 5;
        assert_ok(dvit_loader_start(loader, 4, first, &error), &error);
        do
            assert_ok(dvit_loader_next(loader, &batch, &error), &error);
        while (batch->index < 5);
        hashes[way] = hash_bytes(0, batch->pixels, 10 * 3 * 32 * 32 * sizeof(float));
    }
    assert_true(hashes[0] == hashes[1] && hashes[1] == hashes[2]);
    assert_fails(dvit_loader_start(loader, 0, 9, &error), &error, DVIT_ERROR_ARGUMENT,
                 "an epoch has 8");
    dvit_loader_free(loader);
    dvit_dataset_free(set);
}

/* Epochs as short as the ring, entered again and again, some abandoned: nothing of the one before
 * may be taken for the new. */
static void test_restart(void **state)
{
    static struct record expected[4], got;
    struct dvit_dataset *set = open_dataset("builtin:scenes,train=37,image=32", "train");
    struct dvit_loader_options options = options_for(32);
    options.batch = 20;
    options.shuffle = true;
    for (int workers = 0; workers < 4; workers++) {
        const struct dvit_batch *batch;
        struct dvit_error error = {0};
        options.workers = workers;
        struct dvit_loader *loader = make_loader(set, &options);
        for (uint64_t i = 0; i < 40; i++) {
            uint64_t epoch = i * i % 7 % 4;
            bool reference = workers == 0 && !expected[epoch].images;
            record_epoch(loader, epoch, 0, reference ? &expected[epoch] : &got);
            if (!reference)
                assert_same(&expected[epoch], &got);
            assert_ok(dvit_loader_start(loader, i + 9, 0, &error), &error);
            if (i % 2)
                assert_ok(dvit_loader_next(loader, &batch, &error), &error);
        }
        dvit_loader_free(loader);
    }
    dvit_dataset_free(set);
}

/* Pixels are the data set's, prepared; masks and pictures in the same geometry. */
static void test_content(void **state)
{
    struct dvit_dataset *set = open_dataset("builtin:scenes,val=9", "val");
    struct dvit_loader_options options = options_for(64);
    struct dvit_error error = {0};
    const struct dvit_batch *batch;
    static float expected[3 * 64 * 64];
    options.want_masks = options.want_pictures = true;
    static const enum dvit_fit fits[] = {DVIT_FIT_NONE, DVIT_FIT_CROP, DVIT_FIT_SQUASH};
    for (int cropped = 0; cropped < 3; cropped++) {
        options.preprocess.fit = fits[cropped];
        options.preprocess.resize_side = cropped ? 73 : 0;
        struct dvit_loader *loader = make_loader(set, &options);
        assert_ok(dvit_loader_start(loader, 0, 0, &error), &error);
        assert_ok(dvit_loader_next(loader, &batch, &error), &error);
        assert_int_equal(batch->count, 9);
        for (size_t i = 0; i < 9; i++) {
            struct dvit_sample sample;
            size_t area = 64 * 64, covered = 0;
            assert_ok(dvit_dataset_read(set, i, &sample, &error), &error);
            assert_ok(dvit_preprocess_run(&options.preprocess, &sample.image, expected, &error),
                      &error);
            assert_memory_equal(batch->pixels + i * 3 * area, expected, sizeof expected);
            for (size_t p = 0; p < area; p++)
                covered += batch->masks[i * area + p];
            assert_true(covered > 20);
            if (cropped) /* 73 → 64: the object is larger, shifted and perhaps cut */
                assert_memory_not_equal(batch->masks + i * area, sample.mask, area);
            else
                assert_memory_equal(batch->masks + i * area, sample.mask, area);
            if (!cropped)
                assert_memory_equal(batch->pictures + i * 3 * area, sample.image.pixels, 3 * area);
            dvit_sample_free(&sample);
        }
        dvit_loader_free(loader);
    }
    dvit_dataset_free(set);
}

static void test_limit_and_drop_last(void **state)
{
    static struct record record;
    struct dvit_dataset *set = open_dataset("builtin:scenes,val=50", "val");
    struct dvit_loader_options options = options_for(64);
    options.batch = 8;
    options.limit = 21;
    options.shuffle = true;
    struct dvit_loader *loader = make_loader(set, &options);
    record_epoch(loader, 0, 0, &record);
    check_permutation(&record, 21);
    assert_int_equal(record.batches, 3);
    dvit_loader_free(loader);
    options.drop_last = true;
    loader = make_loader(set, &options);
    record_epoch(loader, 0, 0, &record);
    assert_int_equal(record.images, 16);
    dvit_loader_free(loader);
    options.batch = 22;
    struct dvit_error error = {0};
    assert_fails(dvit_loader_create(&loader, set, &options, &error), &error, DVIT_ERROR_ARGUMENT,
                 "21 images do not fill one batch of 22");
    assert_null(loader);
    dvit_dataset_free(set);
}

/* ----------------------------------------------------------------------- unreadable images --- */

static char root[32];

/* 12 images of two classes; of class "a", 00 is text, 01 is empty; of "b" 04 is cut short. */
static int make_damaged(void **state)
{
    char a[64], b[64], name[16];
    test_folder_create(root);
    snprintf(a, sizeof a, "%s/a", root);
    snprintf(b, sizeof b, "%s/b", root);
    for (unsigned i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "%02u.ppm", i);
        write_picture(a, name, i);
        write_picture(b, name, 10 + i);
    }
    write_bytes(a, "00.jpg", "this is not a picture", 21);
    remove(under(root, "a/00.ppm"));
    write_bytes(a, "01.ppm", "", 0);
    write_bytes(b, "04.ppm", "P6\n4 4\n255\nshort", 16);
    return 0;
}

static int remove_damaged(void **state)
{
    remove_tree(root);
    return 0;
}

static struct dvit_loader_options tiny_options(void)
{
    struct dvit_loader_options options = options_for(32);
    options.preprocess.fit = DVIT_FIT_NONE;
    options.preprocess.crop_width = options.preprocess.crop_height = 4;
    options.batch = 2;
    return options;
}

static void test_skips(void **state)
{
    static const uint32_t expected[] = {2, 3, 4, 5, 6, 7, 8, 9, 11};
    static struct record record;
    struct dvit_dataset *set = open_dataset(root, "val");
    for (int workers = 0; workers < 4; workers += 3) {
        struct dvit_loader_options options = tiny_options();
        struct dvit_skip skip;
        options.workers = workers;
        options.want_pictures = true;
        struct dvit_loader *loader = make_loader(set, &options);
        assert_int_equal(dvit_loader_batches(loader), 6);
        for (uint64_t epoch = 0; epoch < 3; epoch++) {
            record_epoch(loader, epoch, 0, &record);
            assert_int_equal(record.images, 9);
            assert_int_equal(record.batches, 5); /* the first had none */
            assert_int_equal(record.positions[0], 1);
            assert_int_equal(record.counts[4], 1);
            assert_memory_equal(record.indices, expected, sizeof expected);
            for (size_t i = 0; i < 9; i++) { /* what was moved up is still the image itself */
                assert_int_equal(record.labels[i], expected[i] / 6);
                assert_int_equal(record.red[i], expected[i] % 6 + 10 * (expected[i] / 6));
            }
            assert_int_equal(dvit_loader_skipped_count(loader), 3); /* once each */
        }
        assert_true(dvit_loader_skipped(loader, 0, &skip));
        assert_int_equal(skip.index, 0);
        assert_non_null(strstr(skip.name, "a/00.jpg"));
        assert_non_null(strstr(skip.message, "a/00.jpg"));
        assert_true(dvit_loader_skipped(loader, 1, &skip));
        assert_non_null(strstr(skip.name, "a/01.ppm"));
        assert_true(dvit_loader_skipped(loader, 2, &skip));
        assert_int_equal(skip.index, 10);
        assert_false(dvit_loader_skipped(loader, 3, &skip));
        dvit_loader_free(loader);
    }
    dvit_dataset_free(set);
}

static void test_strict(void **state)
{
    struct dvit_dataset *set = open_dataset(root, "val");
    for (int workers = 0; workers < 4; workers += 3) {
        struct dvit_loader_options options = tiny_options();
        struct dvit_error error = {0};
        const struct dvit_batch *batch;
        options.workers = workers;
        options.strict = true;
        struct dvit_loader *loader = make_loader(set, &options);
        assert_fails(dvit_loader_next(loader, &batch, &error), &error, DVIT_ERROR_ARGUMENT,
                     "no epoch");
        assert_ok(dvit_loader_start(loader, 0, 0, &error), &error);
        assert_fails(dvit_loader_next(loader, &batch, &error), &error, DVIT_ERROR_FORMAT,
                     "a/00.jpg");
        assert_null(batch);
        assert_fails(dvit_loader_next(loader, &batch, &error), &error, DVIT_ERROR_ARGUMENT,
                     "no epoch");
        assert_ok(dvit_loader_start(loader, 0, 1, &error), &error);
        for (int i = 1; i < 5; i++) {
            assert_ok(dvit_loader_next(loader, &batch, &error), &error);
            assert_int_equal(batch->count, 2);
        }
        assert_fails(dvit_loader_next(loader, &batch, &error), &error, DVIT_ERROR_FORMAT,
                     "b/04.ppm");
        dvit_loader_free(loader);
    }
    dvit_dataset_free(set);
}

/* An epoch without any usable image is an error that says why. */
static void test_nothing_usable(void **state)
{
    struct dvit_dataset *set = open_dataset(root, "val");
    struct dvit_loader_options options = tiny_options();
    struct dvit_error error = {0};
    const struct dvit_batch *batch;
    options.preprocess.crop_width = options.preprocess.crop_height = 8;
    options.limit = 9;
    struct dvit_loader *loader = make_loader(set, &options);
    assert_ok(dvit_loader_start(loader, 0, 0, &error), &error);
    assert_fails(dvit_loader_next(loader, &batch, &error), &error, DVIT_ERROR_FORMAT,
                 "none of the 9 images");
    assert_int_equal(dvit_loader_skipped_count(loader), 9);
    struct dvit_skip skip;
    assert_true(dvit_loader_skipped(loader, 3, &skip));
    assert_non_null(strstr(skip.message, "a/03.ppm")); /* geometry errors are named, too */
    assert_ok(dvit_loader_start(loader, 0, 5, &error), &error);
    assert_ok(dvit_loader_next(loader, &batch, &error),
              &error); /* entered at its end: no verdict */
    dvit_loader_free(loader);
    dvit_dataset_free(set);
}

static void expect_no_loader(struct dvit_dataset *set, struct dvit_loader_options options,
                             enum dvit_status status, const char *text)
{
    struct dvit_loader *loader = (struct dvit_loader *)1;
    struct dvit_error error = {0};
    assert_fails(dvit_loader_create(&loader, set, &options, &error), &error, status, text);
    assert_null(loader);
}

static void test_option_errors(void **state)
{
    struct dvit_dataset *set = open_dataset(root, "val");
    struct dvit_dataset *scenes = open_dataset("builtin:scenes,val=4", "val");
    struct dvit_loader_options good = options_for(64), bad;
    struct dvit_augment augment = dvit_augment_default(64, 64);
#define EXPECT(change, status, text) (bad = good, change, expect_no_loader(set, bad, status, text))
    EXPECT(bad.batch = 0, DVIT_ERROR_ARGUMENT, "batch is 0, expected 1 … 4096");
    EXPECT(bad.batch = 4097, DVIT_ERROR_ARGUMENT, "4096");
    EXPECT(bad.workers = 65, DVIT_ERROR_ARGUMENT, "workers is 65, expected 0 … 64");
    EXPECT(bad.workers = -1, DVIT_ERROR_ARGUMENT, "workers");
    EXPECT(bad.ahead = 0, DVIT_ERROR_ARGUMENT, "ahead is 0");
    EXPECT(bad.preprocess.crop_width = 0, DVIT_ERROR_ARGUMENT, "crop_width is 0");
    EXPECT(bad.preprocess.resize_side = 0, DVIT_ERROR_ARGUMENT, "resize_side is 0");
    EXPECT(bad.preprocess.std[1] = 0, DVIT_ERROR_ARGUMENT, "std");
    EXPECT(bad.want_masks = true, DVIT_ERROR_MISMATCH, "masks");
    EXPECT((bad.batch = 4096, bad.ahead = 64, bad.preprocess.crop_width = 8192,
            bad.preprocess.crop_height = 8192),
           DVIT_ERROR_MEMORY, "GB of memory");
    bad = good;
    bad.want_masks = true;
    bad.augment = &augment;
    expect_no_loader(scenes, bad, DVIT_ERROR_ARGUMENT, "augment");
    dvit_loader_free(NULL);
    dvit_dataset_free(scenes);
    dvit_dataset_free(set);
}

/* Freed in the middle of an epoch, and with workers still at work. */
static void test_abandon(void **state)
{
    struct dvit_dataset *set = open_dataset("builtin:scenes,val=200", "val");
    for (int i = 0; i < 10; i++) {
        struct dvit_loader_options options = options_for(64);
        struct dvit_error error = {0};
        const struct dvit_batch *batch;
        options.batch = 7;
        options.workers = 3;
        options.ahead = 4;
        struct dvit_loader *loader = make_loader(set, &options);
        assert_ok(dvit_loader_start(loader, 0, 0, &error), &error);
        for (int k = 0; k < i; k++)
            assert_ok(dvit_loader_next(loader, &batch, &error), &error);
        dvit_loader_free(loader);
    }
    dvit_dataset_free(set);
}

#define DAMAGED(name) cmocka_unit_test_setup_teardown(name, make_damaged, remove_damaged)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worker_invariance),
        cmocka_unit_test(test_shuffle),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_content),
        cmocka_unit_test(test_limit_and_drop_last),
        DAMAGED(test_skips),
        DAMAGED(test_strict),
        DAMAGED(test_nothing_usable),
        DAMAGED(test_option_errors),
        cmocka_unit_test(test_abandon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
