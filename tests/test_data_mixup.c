/* Mixup and cutmix: batches mixed by timm with forced shares (tests/golden/augment/mixing.txt),
 * the distribution of shares and boxes, and the loader's batches. */
#include <math.h>

#include "data/mixup.h"
#include "image/augment.h"
#include "test_data_util.h"
#include "test_image_util.h"

enum { MAX_VALUES = 6 * 3 * 9 * 9, MAX_LABELS = 6, MAX_CLASSES = 7 };

/* ---- against timm ---- */

static void fill_pixels(float *pixels, int values, int seed)
{
    for (int i = 0; i < values; i++)
        pixels[i] = (float)noise_byte((uint32_t)i, (uint32_t)seed) / 60.0f - 2.0f;
}

static void check_line(const char *line)
{
    float pixels[MAX_VALUES], targets[MAX_LABELS * MAX_CLASSES];
    char share[64], smoothing[64];
    int is_cut, x, y, count, w, h, classes, seed, labels[MAX_LABELS], used;
    unsigned crc_pixels, crc_targets;
    assert_int_equal(sscanf(line, "%d %63s %d %d %d %d %d %d %63s %d %x %x%n", &is_cut, share, &x,
                            &y, &count, &w, &h, &classes, smoothing, &seed, &crc_pixels,
                            &crc_targets, &used),
                     12);
    for (int i = 0; i < count; i++) {
        int length;
        assert_int_equal(sscanf(line + used, "%d%n", &labels[i], &length), 1);
        used += length;
    }
    struct dvit_mix_draw draw = {.share = strtod(share, NULL)};
    if (is_cut)
        draw = dvit_mix_cut(draw.share, x, y, w, h);
    fill_pixels(pixels, count * 3 * w * h, seed);
    dvit_mix_pixels(&draw, pixels, count, w, h);
    dvit_mix_targets(&draw, targets, labels, count, classes, strtod(smoothing, NULL));
    if (crc32_of(pixels, (size_t)(count * 3 * w * h) * sizeof *pixels) != crc_pixels)
        fail_msg("pixels differ from timm's: %s", line);
    if (crc32_of(targets, (size_t)(count * classes) * sizeof *targets) != crc_targets)
        fail_msg("targets differ from timm's: %s", line);
}

static void forced_shares_give_timms_batches(void **state)
{
    char line[512];
    int lines = 0;
    FILE *file = fopen(source_path("tests/golden/augment/mixing.txt"), "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (line[0] != '#') {
            check_line(line);
            lines++;
        }
    fclose(file);
    assert_int_equal(lines, 60);
}

/* The middle of an odd batch is its own partner: it stays what it was. */
static void an_odd_batch_keeps_its_middle(void **state)
{
    enum { SIZE = 3 * 4 * 4 };
    float before[3 * SIZE], after[3 * SIZE], targets[3 * 2];
    static const int labels[3] = {0, 1, 1};
    struct dvit_mix_draw blend = {.share = .25}, cut = dvit_mix_cut(.5, 1, 2, 4, 4);
    fill_pixels(before, 3 * SIZE, 3);
    for (int i = 0; i < 2; i++) {
        memcpy(after, before, sizeof before);
        dvit_mix_pixels(i ? &cut : &blend, after, 3, 4, 4);
        assert_memory_equal(after + SIZE, before + SIZE, SIZE * sizeof *after);
        assert_memory_not_equal(after, before, SIZE * sizeof *after);
    }
    dvit_mix_targets(&blend, targets, labels, 3, 2, 0);
    assert_true(targets[0] == .25f && targets[1] == .75f); /* image 0 with image 2 */
    assert_true(targets[2] == 0 && targets[3] == 1);
    assert_true(targets[4] == .75f && targets[5] == .25f);
}

/* ---- distributions ---- */

enum { DRAWS = 40000 };

/* Moments 1 to 6 of Beta(a, a), to five standard errors. */
static void check_beta(double alpha)
{
    struct dvit_mixing mixing = {.mixup = alpha};
    double sums[13] = {0}, moments[13] = {1};
    for (int k = 1; k <= 12; k++)
        moments[k] = moments[k - 1] * (alpha + k - 1) / (2 * alpha + k - 1);
    for (uint32_t i = 0; i < DRAWS; i++) {
        struct dvit_rng rng = dvit_rng_stream(3, DVIT_RNG_MIX, 0, i);
        struct dvit_mix_draw draw = dvit_mix_draw(&mixing, 8, 8, &rng);
        assert_true(!draw.is_cut && draw.share >= 0 && draw.share <= 1);
        for (int k = 1; k <= 6; k++)
            sums[k] += pow(draw.share, k);
    }
    for (int k = 1; k <= 6; k++) {
        double error = sqrt((moments[2 * k] - moments[k] * moments[k]) / DRAWS);
        if (fabs(sums[k] / DRAWS - moments[k]) > 5 * error)
            fail_msg("Beta(%g): moment %d is %g, expected %g ± %g", alpha, k, sums[k] / DRAWS,
                     moments[k], error);
    }
}

static void shares_are_beta(void **state)
{
    static const double alphas[] = {DVIT_MIN_MIX_ALPHA, .1, .8, 1, 3, DVIT_MAX_MIX_ALPHA};
    for (size_t i = 0; i < sizeof alphas / sizeof *alphas; i++)
        check_beta(alphas[i]);
}

/* Beta(1, 1) is uniform: its centre is everywhere alike, and the box is what its share says. */
static void boxes_follow_the_share(void **state)
{
    struct dvit_mixing mixing = {.cutmix = 1};
    double corner = 0, whole = 0, share = 0;
    for (uint32_t i = 0; i < DRAWS; i++) {
        struct dvit_rng rng = dvit_rng_stream(4, DVIT_RNG_MIX, 0, i);
        struct dvit_mix_draw draw = dvit_mix_draw(&mixing, 64, 32, &rng);
        struct dvit_box box = draw.box;
        assert_true(draw.is_cut && box.x >= 0 && box.y >= 0 && box.width >= 0 && box.height >= 0);
        assert_true(box.x + box.width <= 64 && box.y + box.height <= 32);
        assert_true(draw.share == 1 - box.width * box.height / (64. * 32));
        corner += box.width && box.x == 0;
        whole += draw.share == 0;
        share += draw.share;
    }
    /* P(box touches the left edge) = E[√(1−λ)]/2 ≈ 1/3; E[area] = E[(1−λ)·(1−√(1−λ)/4)²] */
    assert_true(fabs(corner / DRAWS - 1. / 3) < .03);
    assert_true(fabs(1 - share / DRAWS - (.5 - .4 * .5 + 1. / 48)) < .02);
    assert_true(whole == 0 || whole / DRAWS < .01);
}

static void half_of_the_batches_are_cut(void **state)
{
    struct dvit_mixing both = {.mixup = .8, .cutmix = 1}, mix = {.mixup = .8}, cut = {.cutmix = 1};
    int cuts = 0;
    for (uint32_t i = 0; i < DRAWS; i++) {
        struct dvit_rng rng = dvit_rng_stream(5, DVIT_RNG_MIX, 0, i), same = rng, again = rng;
        cuts += dvit_mix_draw(&both, 8, 8, &rng).is_cut;
        assert_false(dvit_mix_draw(&mix, 8, 8, &same).is_cut);
        assert_true(dvit_mix_draw(&cut, 8, 8, &again).is_cut);
    }
    assert_true(fabs(cuts - DRAWS / 2.) < 5 * sqrt(DRAWS / 4.));
}

static void bad_alphas_are_named(void **state)
{
    struct dvit_error error;
    static const struct {
        struct dvit_mixing mixing;
        const char *part;
    } cases[] = {
        {{.mixup = -1}, "mixup alpha is -1, expected 0 or 0.001 to 100"},
        {{.mixup = 1e-9}, "mixup alpha is 1e-09"},
        {{.cutmix = 101}, "cutmix alpha is 101"},
        {{.cutmix = NAN}, "cutmix alpha is"},
        {{.mixup = 1, .label_smoothing = 1}, "label smoothing is 1, expected 0 to below 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_fails(dvit_mixing_check(&cases[i].mixing, &error), &error, DVIT_ERROR_ARGUMENT,
                     cases[i].part);
}

/* ---- through the loader ---- */

enum { SIDE = 16, AREA = SIDE * SIDE, IMAGES = 50, MAX_BATCH = 16 };

static struct dvit_loader *open_loader(struct dvit_dataset *set, int batch, int workers,
                                       int repeats, const struct dvit_augment *augment,
                                       const struct dvit_mixing *mixing)
{
    struct dvit_loader *loader;
    struct dvit_error error;
    struct dvit_loader_options options = dvit_loader_options_default();
    options.batch = batch;
    options.workers = workers;
    options.repeats = repeats;
    options.seed = 11;
    options.shuffle = true;
    options.augment = augment;
    options.mixing = mixing;
    assert_ok(dvit_preprocess_preset("native", SIDE, SIDE, &options.preprocess, &error), &error);
    assert_ok(dvit_loader_create(&loader, set, &options, &error), &error);
    return loader;
}

static const struct dvit_batch *next_batch(struct dvit_loader *loader)
{
    const struct dvit_batch *batch;
    struct dvit_error error;
    assert_ok(dvit_loader_next(loader, &batch, &error), &error);
    return batch;
}

static void start(struct dvit_loader *loader, uint64_t epoch, size_t first)
{
    struct dvit_error error;
    assert_ok(dvit_loader_start(loader, epoch, first, &error), &error);
}

static struct dvit_augment full_recipe(void)
{
    struct dvit_augment augment = dvit_augment_default(SIDE, SIDE);
    struct dvit_error error;
    assert_ok(dvit_policy_parse(&augment.policy, "rand-m9-mstd0.5-inc1", &error), &error);
    augment.erasing = .25;
    return augment;
}

/* The loader's batches are those without mixing, mixed by the draw of their epoch and number. */
static void the_loader_mixes_by_epoch_and_batch(void **state)
{
    struct dvit_augment augment = full_recipe();
    struct dvit_mixing mixing = {.mixup = .8, .cutmix = 1, .label_smoothing = .1};
    struct dvit_dataset *set = open_dataset("builtin:scenes,image=16,train=50", "train");
    struct dvit_loader *plain = open_loader(set, 8, 1, 1, &augment, NULL);
    struct dvit_loader *mixed = open_loader(set, 8, 2, 1, &augment, &mixing);
    static float pixels[8 * 3 * AREA], targets[8 * 8];
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        const struct dvit_batch *a, *b;
        start(plain, epoch, 0);
        start(mixed, epoch, 0);
        while ((a = next_batch(plain))) {
            b = next_batch(mixed);
            assert_non_null(b);
            assert_null(a->targets);
            assert_true(a->own_share == 1);
            struct dvit_rng rng = dvit_rng_stream(11, DVIT_RNG_MIX, epoch, (uint32_t)a->index);
            struct dvit_mix_draw draw = dvit_mix_draw(&mixing, SIDE, SIDE, &rng);
            size_t values = (size_t)a->count * 3 * AREA, entries = (size_t)a->count * 8;
            memcpy(pixels, a->pixels, values * sizeof *pixels);
            dvit_mix_pixels(&draw, pixels, a->count, SIDE, SIDE);
            dvit_mix_targets(&draw, targets, a->labels, a->count, 8, .1);
            assert_memory_equal(pixels, b->pixels, values * sizeof *pixels);
            assert_memory_equal(targets, b->targets, entries * sizeof *targets);
            assert_memory_equal(a->labels, b->labels, (size_t)a->count * sizeof *a->labels);
            assert_true(b->own_share == draw.share);
        }
        assert_null(next_batch(mixed));
    }
    dvit_loader_free(plain);
    dvit_loader_free(mixed);
    dvit_dataset_free(set);
}

/* Checksums of each batch of an epoch begun at `first`, with everything on. */
static int record(int workers, uint64_t epoch, size_t first, uint32_t sums[32])
{
    struct dvit_augment augment = full_recipe();
    struct dvit_mixing mixing = {.mixup = .8, .cutmix = 1, .label_smoothing = .1};
    struct dvit_dataset *set = open_dataset("builtin:scenes,image=16,train=50", "train");
    struct dvit_loader *loader = open_loader(set, 6, workers, 3, &augment, &mixing);
    const struct dvit_batch *batch;
    int count = 0;
    start(loader, 9, 2); /* somewhere else before */
    next_batch(loader);
    start(loader, epoch, first);
    while ((batch = next_batch(loader))) {
        size_t images = (size_t)batch->count;
        sums[count++] = crc32_of(batch->pixels, images * 3 * AREA * sizeof(float)) ^
                        crc32_of(batch->targets, images * 8 * sizeof(float)) ^
                        crc32_of(batch->indices, images * sizeof *batch->indices);
    }
    dvit_loader_free(loader);
    dvit_dataset_free(set);
    return count;
}

/* The whole recipe: any number of workers, and an epoch entered anywhere, give the same bits. */
static void workers_and_resuming_change_nothing(void **state)
{
    uint32_t expected[32], got[32], other[32];
    int count = record(0, 4, 0, expected);
    assert_int_equal(count, 9);
    for (int workers = 0; workers <= 4; workers++)
        for (int first = 0; first <= count; first += 3) {
            assert_int_equal(record(workers, 4, (size_t)first, got), count - first);
            assert_memory_equal(got, expected + first, (size_t)(count - first) * sizeof *got);
        }
    record(1, 5, 0, other);
    for (int i = 0; i < count; i++)
        assert_int_not_equal(other[i], expected[i]);
}

/* Three in a row are one image, each time another crop; the next epoch's are others again. */
static void repetitions_vary(void **state)
{
    struct dvit_augment augment = full_recipe();
    struct dvit_dataset *set = open_dataset("builtin:scenes,image=16,train=50", "train");
    struct dvit_loader *loader = open_loader(set, 10, 1, 3, &augment, NULL);
    const struct dvit_batch *batch;
    uint32_t order[64], sums[2][64];
    int seen[IMAGES] = {0};
    for (uint64_t epoch = 0; epoch < 2; epoch++) {
        int at = 0;
        start(loader, epoch, 0);
        while ((batch = next_batch(loader)))
            for (int i = 0; i < batch->count; i++, at++) {
                order[at] = batch->indices[i];
                sums[epoch][at] = crc32_of(batch->pixels + i * 3 * AREA, 3 * AREA * sizeof(float));
            }
        assert_int_equal(at, IMAGES);
        for (int i = 0; i < IMAGES; i++) {
            assert_int_equal(order[i], order[i - i % 3]);
            assert_true(i % 3 == 0 || sums[epoch][i] != sums[epoch][i - 1]);
            assert_int_equal(seen[order[i]] & 1 << epoch, i % 3 ? 1 << epoch : 0);
            seen[order[i]] |= 1 << epoch;
        }
    }
    for (int i = 0; i < IMAGES; i++)
        for (int k = 0; k < IMAGES; k++)
            assert_int_not_equal(sums[0][i], sums[1][k]);
    dvit_loader_free(loader);
    dvit_dataset_free(set);
}

static void bad_loader_options_are_named(void **state)
{
    struct dvit_dataset *set = open_dataset("builtin:scenes,image=16,train=50", "train");
    struct dvit_loader *loader;
    struct dvit_error error;
    struct dvit_mixing mixing = {.mixup = 500};
    struct dvit_loader_options options = dvit_loader_options_default();
    assert_ok(dvit_preprocess_preset("native", SIDE, SIDE, &options.preprocess, &error), &error);
    options.repeats = 0;
    assert_fails(dvit_loader_create(&loader, set, &options, &error), &error, DVIT_ERROR_ARGUMENT,
                 "repeats is 0, expected 1 … 64");
    options.repeats = 1;
    options.mixing = &mixing;
    assert_fails(dvit_loader_create(&loader, set, &options, &error), &error, DVIT_ERROR_ARGUMENT,
                 "mixup alpha is 500");
    assert_null(loader);
    dvit_dataset_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forced_shares_give_timms_batches),
        cmocka_unit_test(an_odd_batch_keeps_its_middle),
        cmocka_unit_test(shares_are_beta),
        cmocka_unit_test(boxes_follow_the_share),
        cmocka_unit_test(half_of_the_batches_are_cut),
        cmocka_unit_test(bad_alphas_are_named),
        cmocka_unit_test(the_loader_mixes_by_epoch_and_batch),
        cmocka_unit_test(workers_and_resuming_change_nothing),
        cmocka_unit_test(repetitions_vary),
        cmocka_unit_test(bad_loader_options_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
