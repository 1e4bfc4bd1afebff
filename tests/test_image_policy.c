/* Augmentation policies: timm's texts, arguments and distributions (tests/golden/augment, made by
 * tools/reference/augment_goldens.py), colour jitter, random erasing. */
#include <math.h>

#include "test_image_util.h"

#include "image/augment.h"
#include "image/random_erasing.h"

static FILE *open_golden(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "tests/golden/augment/%s", name);
    FILE *file = fopen(source_path(path), "r");
    assert_non_null(file);
    return file;
}

static enum dvit_image_op op_called(const char *name)
{
    int op = 0;
    while (op < DVIT_OP_COUNT && strcmp(dvit_image_op_name((enum dvit_image_op)op), name) != 0)
        op++;
    assert_true(op < DVIT_OP_COUNT);
    return (enum dvit_image_op)op;
}

/* ---- texts ---- */

static struct dvit_policy parsed(const char *text)
{
    struct dvit_policy policy;
    struct dvit_error error;
    assert_ok(dvit_policy_parse(&policy, text, &error), &error);
    return policy;
}

static void texts_are_read(void **state)
{
    struct dvit_policy p = parsed("rand-m9-mstd0.5-inc1");
    assert_true(p.layers == 2 && p.probability == .5 && p.magnitude == 9 && p.deviation == .5);
    assert_true(p.increasing && !p.weighted && p.ceiling == 10 && !p.pairs);
    p = parsed("rand");
    assert_true(p.layers == 2 && p.probability == .5 && p.magnitude == 10 && p.deviation == 0);
    assert_true(!p.increasing);
    p = parsed("rand-p0.25-n15-mmax30-m25-mstd101-inc0"); /* any order */
    assert_true(p.layers == 15 && p.probability == .25 && p.magnitude == 25 && p.ceiling == 30);
    assert_true(isinf(p.deviation) && !p.increasing);
    assert_true(parsed("rand-mstd100").deviation == 100);
    p = parsed("rand-tweights-inc0");
    assert_true(p.weighted && p.increasing);
    p = parsed("original-mstd0.125");
    assert_true(p.pairs && p.layers == 2 && p.deviation == .125);
    assert_true(parsed("v0r").pairs != parsed("v0").pairs);
    assert_int_equal(parsed(NULL).layers, 0);
    assert_int_equal(parsed("").layers, 0);
    assert_int_equal(parsed("none").layers, 0);
}

static void bad_texts_are_refused_by_name(void **state)
{
    static const char *const cases[][2] = {
        {"random-m9", "\"random\" is not known"},
        {"Rand-m9", "\"Rand\" is not known"},
        {"augmix-m5", "\"augmix\" is not known"},
        {"3a", "\"3a\" is not known"},
        {"-m9", "\"\" is not known"},
        {"rand-w0", "\"w0\" is not known"},
        {"rand-m9-t3a", "\"t3a\" is not known"},
        {"rand-m9-", "\"\" is not known"},
        {"rand--m9", "\"\" is not known"},
        {"rand-m9-foo1", "\"foo1\" is not known"},
        {"rand-m9-foo1", "expected mN, nN"},
        {"rand-9", "\"9\" is not known"},
        {"v0-m9", "\"m9\" is not known; expected mstdX"},
        {"original-inc1", "\"inc1\" is not known"},
        {"rand-m", "\"m\" needs a whole number from 0 to 100"},
        {"rand-m9.5", "\"m9.5\" needs a whole number"},
        {"rand-m101", "\"m101\" needs a whole number from 0 to 100"},
        {"rand-m99999999999999999999", "needs a whole number from 0 to 100"},
        {"rand-n0", "\"n0\" needs a whole number from 1 to 15"},
        {"rand-n16", "\"n16\" needs"},
        {"rand-p1.5", "\"p1.5\" needs a number from 0 to 1"},
        {"rand-p0.5x", "\"p0.5x\" needs"},
        {"rand-p0..5", "\"p0..5\" needs"},
        {"rand-mstd1e3", "\"mstd1e3\" needs"},
        {"rand-mstdinf", "\"mstdinf\" is not known"},
        {"rand-mmax0", "\"mmax0\" needs a whole number from 1 to 100"},
        {"rand-inc2", "\"inc2\" needs a whole number from 0 to 1"},
        {"rand-inc", "\"inc\" needs"},
        {"rand-m9-inc1-m8", "\"m\" is given twice"},
    };
    struct dvit_error error;
    struct dvit_policy policy;
    char text[200];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_fails(dvit_policy_parse(&policy, cases[i][0], &error), &error, DVIT_ERROR_ARGUMENT,
                     cases[i][1]);
        assert_int_equal(policy.layers, 0);
    }
    memset(text, 'a', sizeof text);
    text[199] = 0;
    assert_fails(dvit_policy_parse(&policy, text, &error), &error, DVIT_ERROR_ARGUMENT,
                 "199 bytes, at most 127");
}

/* ---- arguments ---- */

static enum dvit_policy_scale scale_called(const char *name)
{
    static const char *const scales[] = {"plain", "increasing", "original"};
    int scale = 0;
    while (strcmp(scales[scale], name) != 0)
        assert_true(++scale < 3);
    return (enum dvit_policy_scale)scale;
}

static void tables_are_timms(void **state)
{
    char line[256], text[32], name[32], scale[32];
    double probability, magnitude;
    int pair, place, lines = 0;
    FILE *file = open_golden("tables.txt");
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%31s %d %d %31s %31s %lf %lf", text, &pair, &place, name,
                                scale, &probability, &magnitude),
                         7);
        const struct dvit_policy_step *step = &dvit_auto_augment_find(text)[pair][place];
        if (step->op != op_called(name) || step->scale != scale_called(scale) ||
            step->probability != probability || step->magnitude != magnitude)
            fail_msg("differs from timm: %s", line);
        lines++;
    }
    fclose(file);
    assert_int_equal(lines, 4 * DVIT_AUTO_AUGMENT_PAIRS * 2);
}

static void arguments_are_timms(void **state)
{
    char line[256], name[32], scale[32], magnitude[64], argument[64];
    int negative, lines = 0;
    FILE *file = open_golden("arguments.txt");
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#')
            continue;
        assert_int_equal(
            sscanf(line, "%31s %31s %63s %d %63s", name, scale, magnitude, &negative, argument), 5);
        double got = dvit_policy_argument(op_called(name), scale_called(scale),
                                          strtod(magnitude, NULL), negative);
        if (got != strtod(argument, NULL))
            fail_msg("argument is %a, expected %s", got, line);
        lines++;
    }
    fclose(file);
    assert_int_equal(lines, 528);
}

/* ---- distributions ---- */

struct statistics {
    double count, sum, squares, cubes, fourths;
};

static void note(struct statistics *s, double value)
{
    s->count++;
    s->sum += value;
    s->squares += value * value;
    s->cubes += value * value * value;
    s->fourths += value * value * value * value;
}

static double mean_of(const struct statistics *s)
{
    return s->count > 0 ? s->sum / s->count : 0;
}

static double deviation_of(const struct statistics *s)
{
    double mean = mean_of(s), variance = s->count > 0 ? s->squares / s->count - mean * mean : 0;
    return sqrt(variance > 0 ? variance : 0);
}

/* Standard error of the deviation of one draw, by the fourth moment: tails may be heavy. */
static double deviation_error(const struct statistics *s)
{
    double n = s->count, m = mean_of(s), d = deviation_of(s);
    double fourth =
        s->fourths / n - 4 * m * s->cubes / n + 6 * m * m * s->squares / n - 3 * m * m * m * m;
    double variance = fourth - d * d * d * d;
    return d > 0 && variance > 0 ? sqrt(variance) / (2 * d) : 0;
}

/* Five standard errors of the difference to timm's own sample, `other` draws large. */
static void assert_alike(const struct statistics *s, double other, double mean, double deviation,
                         const char *what)
{
    if (s->count < 2 && other < 2)
        return;
    double both = sqrt(1 / s->count + 1 / other), error = deviation * both;
    if (fabs(mean_of(s) - mean) > 5 * error + 1e-7)
        fail_msg("mean is %g, expected %g ± %g: %s", mean_of(s), mean, error, what);
    error = deviation_error(s) * both + 5 * deviation * both * both; /* second order: coins */
    if (fabs(deviation_of(s) - deviation) > 5 * error + 1e-6 * fabs(mean) + 1e-7)
        fail_msg("deviation is %g, expected %g ± %g: %s", deviation_of(s), deviation, error, what);
}

static void assert_rate(double got, double expected, double draws, double other, const char *what)
{
    double variance = expected > 1 ? expected : expected * (1 - expected / 16) + 1e-12;
    if (fabs(got - expected) > 5 * sqrt(variance * (1 / draws + 1 / other)))
        fail_msg("rate is %g, expected %g: %s", got, expected, what);
}

enum { POLICY_DRAWS = 150000, TIMM_POLICY_DRAWS = 150000 };

static void draw_policies(const char *text, struct statistics seen[DVIT_OP_COUNT])
{
    struct dvit_policy policy = parsed(text);
    memset(seen, 0, DVIT_OP_COUNT * sizeof *seen);
    for (uint32_t i = 0; i < POLICY_DRAWS; i++) {
        struct dvit_rng rng = dvit_rng_stream(5, DVIT_RNG_AUGMENT, 1, i);
        struct dvit_policy_draw draw = dvit_policy_draw(&policy, &rng);
        assert_in_range(draw.count, 0, policy.layers);
        for (int k = 0; k < draw.count; k++)
            note(&seen[draw.ops[k].op], draw.ops[k].argument);
    }
}

static void draws_are_distributed_as_timms(void **state)
{
    static struct statistics seen[DVIT_OP_COUNT];
    char line[256], text[64], name[32], last[64] = "";
    double per_image, mean, deviation;
    int lines = 0;
    FILE *file = open_golden("policies.txt");
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#')
            continue;
        assert_int_equal(
            sscanf(line, "%63s %31s %lf %lf %lf", text, name, &per_image, &mean, &deviation), 5);
        if (strcmp(text, last) != 0)
            draw_policies(text, seen);
        strcpy(last, text);
        struct statistics *s = &seen[op_called(name)];
        assert_rate(s->count / POLICY_DRAWS, per_image, POLICY_DRAWS, TIMM_POLICY_DRAWS, line);
        assert_alike(s, per_image * TIMM_POLICY_DRAWS, mean, deviation, line);
        lines++;
    }
    fclose(file);
    assert_int_equal(lines, 11 * DVIT_OP_COUNT);
}

/* With weights, no operation comes twice. */
static void weighted_draws_do_not_repeat(void **state)
{
    struct dvit_policy policy = parsed("rand-n15-p1-tweights");
    for (uint32_t i = 0; i < 500; i++) {
        struct dvit_rng rng = dvit_rng_stream(5, DVIT_RNG_TEST, 1, i);
        struct dvit_policy_draw draw = dvit_policy_draw(&policy, &rng);
        unsigned seen = 0;
        assert_int_equal(draw.count, DVIT_OP_COUNT);
        for (int k = 0; k < draw.count; k++)
            seen |= 1u << draw.ops[k].op;
        assert_int_equal(seen, (1u << DVIT_OP_COUNT) - 1);
    }
}

static void jitter_orders_and_factors(void **state)
{
    enum { DRAWS = 12000 };
    int orders[3][3] = {{0}}; /* [place][operation] */
    struct statistics factors[3] = {{0}};
    for (uint32_t i = 0; i < DRAWS; i++) {
        struct dvit_rng rng = dvit_rng_stream(6, DVIT_RNG_TEST, 0, i);
        struct dvit_policy_draw draw = dvit_jitter_draw(.4, &rng);
        assert_int_equal(draw.count, 3);
        for (int k = 0; k < 3; k++) {
            int op = (int)draw.ops[k].op - DVIT_OP_COLOR; /* colour, contrast, brightness */
            assert_in_range(op, 0, 2);
            orders[k][op]++;
            assert_true(draw.ops[k].argument >= .6 && draw.ops[k].argument < 1.4);
            note(&factors[op], draw.ops[k].argument);
        }
    }
    for (int k = 0; k < 3; k++) {
        for (int op = 0; op < 3; op++)
            assert_true(fabs(orders[k][op] - DRAWS / 3.) < 5 * sqrt(DRAWS * 2. / 9));
        assert_true(factors[k].count == DRAWS); /* each exactly once an image */
        assert_true(fabs(mean_of(&factors[k]) - 1) < .011);
        assert_true(fabs(deviation_of(&factors[k]) - .8 / sqrt(12)) < .006);
    }
    struct dvit_rng rng = dvit_rng_stream(6, DVIT_RNG_TEST, 1, 0);
    for (int i = 0; i < 1000; i++)
        for (int k = 0; k < 3; k++)
            assert_true(dvit_jitter_draw(1, &rng).ops[k].argument >= 0);
}

/* ---- the way of one image ---- */

/* A policy takes the place of colour jitter; the geometry's draws come first and stay the same. */
static void policy_or_jitter(void **state)
{
    struct dvit_augment augment = dvit_augment_default(32, 32);
    struct dvit_preprocess preprocess = {.crop_width = 32, .crop_height = 32};
    for (uint32_t i = 0; i < 50; i++) {
        struct dvit_rng plain = dvit_rng_stream(1, DVIT_RNG_TEST, 0, i), jitter = plain,
                        both = plain;
        augment.policy = (struct dvit_policy){0};
        augment.color_jitter = 0;
        struct dvit_augment_draw a = dvit_augment_draw(&augment, &preprocess, 32, 32, &plain);
        augment.color_jitter = .4;
        struct dvit_augment_draw b = dvit_augment_draw(&augment, &preprocess, 32, 32, &jitter);
        augment.policy = parsed("rand-p1-n1");
        struct dvit_augment_draw c = dvit_augment_draw(&augment, &preprocess, 32, 32, &both);
        assert_int_equal(a.policy.count, 0);
        assert_int_equal(b.policy.count, 3);
        assert_int_equal(c.policy.count, 1);
        assert_memory_equal(&a.box, &b.box, sizeof a.box);
        assert_memory_equal(&a.box, &c.box, sizeof a.box);
        assert_true(a.flip == b.flip && a.flip == c.flip);
    }
}

/* Forced operations run in their order, after the geometry, with the mean as fill. */
static void forced_operations_run_in_order(void **state)
{
    struct dvit_error error;
    struct dvit_preprocess preprocess;
    struct dvit_image in = noise_image(32, 32, 4), out, expected, spare = {0}, other;
    struct dvit_augment augment = dvit_augment_default(32, 32);
    struct dvit_augment_draw draw = {.box = {3, -2, 32, 32}, .flip = true, .policy = {.count = 3}};
    static const unsigned char fill[3] = {124, 116, 104};
    assert_ok(dvit_preprocess_preset("dynamicvit", 32, 32, &preprocess, &error), &error);
    assert_ok(dvit_augment_apply(&augment, &preprocess, &draw, &in, &expected, &error), &error);
    other = noise_image(32, 32, 1);
    const enum dvit_image_op ops[3] = {DVIT_OP_ROTATE, DVIT_OP_POSTERIZE, DVIT_OP_SHEAR_Y};
    const double arguments[3] = {-17.5, 3, .2};
    for (int k = 0; k < 3; k++) {
        draw.policy.ops[k].op = ops[k];
        draw.policy.ops[k].argument = arguments[k];
        dvit_image_op_run(ops[k], arguments[k], fill, &expected, &other);
    }
    assert_ok(dvit_augment_apply(&augment, &preprocess, &draw, &in, &out, &error), &error);
    for (int i = 0; i < 2; i++) { /* the second time with the room of the first */
        if (i)
            assert_ok(dvit_augment_apply(&augment, &preprocess, &draw, &in, &out, &error), &error);
        assert_ok(dvit_augment_operate(&preprocess, &draw, &out, &spare, &error), &error);
        assert_true(images_equal(&out, &expected));
        dvit_image_free(&out);
    }
    dvit_image_free(&in);
    dvit_image_free(&expected);
    dvit_image_free(&spare);
    dvit_image_free(&other);
}

static void bad_strengths_are_named(void **state)
{
    struct dvit_error error;
    struct dvit_augment good = dvit_augment_default(32, 32), bad = good;
    bad.color_jitter = 1.1;
    assert_fails(dvit_augment_check(&bad, &error), &error, DVIT_ERROR_ARGUMENT, "jitter is 1.1");
    bad = good;
    bad.erasing = NAN;
    assert_fails(dvit_augment_check(&bad, &error), &error, DVIT_ERROR_ARGUMENT,
                 "erasing probability is");
}

/* ---- erasing ---- */

enum { BOX_DRAWS = 20000, TIMM_BOX_DRAWS = 4000 };

static void check_erasing(const char *line)
{
    double probability, share, expected[4][2];
    struct statistics seen[4] = {{0}};
    int width, height;
    assert_int_equal(sscanf(line, "%d %d %lf %lf %lf %lf %lf %lf %lf %lf %lf %lf", &width, &height,
                            &probability, &share, &expected[0][0], &expected[0][1], &expected[1][0],
                            &expected[1][1], &expected[2][0], &expected[2][1], &expected[3][0],
                            &expected[3][1]),
                     12);
    for (uint32_t i = 0; i < BOX_DRAWS; i++) {
        struct dvit_rng rng = dvit_rng_stream(8, DVIT_RNG_TEST, (uint64_t)width, i);
        struct dvit_box box = dvit_erasing_draw(probability, width, height, &rng);
        if (box.width * box.height == 0)
            continue;
        assert_true(box.width < width && box.height < height && box.x >= 0 && box.y >= 0);
        assert_true(box.x + box.width <= width && box.y + box.height <= height);
        note(&seen[0], (double)box.width * box.height / ((double)width * height));
        note(&seen[1], log((double)box.height / box.width));
        note(&seen[2], (double)box.y / (height - box.height));
        note(&seen[3], (double)box.x / (width - box.width));
    }
    assert_rate(seen[0].count / BOX_DRAWS, share, BOX_DRAWS, TIMM_BOX_DRAWS, line);
    for (int k = 0; k < 4; k++)
        assert_alike(&seen[k], share * TIMM_BOX_DRAWS, expected[k][0], expected[k][1], line);
}

static void boxes_are_distributed_as_timms(void **state)
{
    char line[512];
    int lines = 0;
    FILE *file = open_golden("erasing.txt");
    while (fgets(line, sizeof line, file))
        if (line[0] != '#') {
            check_erasing(line);
            lines++;
        }
    fclose(file);
    assert_int_equal(lines, 6);
    struct dvit_rng rng = dvit_rng_stream(8, DVIT_RNG_TEST, 0, 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(dvit_erasing_draw(0, 32, 32, &rng).width, 0);
}

/* The box and nothing else becomes noise of mean 0 and deviation 1, another one in each channel. */
static void the_box_becomes_noise(void **state)
{
    enum { WIDTH = 70, HEIGHT = 50 };
    static float pixels[3][HEIGHT][WIDTH];
    struct dvit_box box = {7, 11, 60, 37};
    struct statistics seen = {0};
    double products = 0;
    struct dvit_rng rng = dvit_rng_stream(9, DVIT_RNG_TEST, 0, 0);
    for (int i = 0; i < 3 * WIDTH * HEIGHT; i++)
        (&pixels[0][0][0])[i] = 100;
    dvit_erasing_run(&pixels[0][0][0], WIDTH, HEIGHT, box, &rng);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++) {
                bool inside = x >= 7 && x < 67 && y >= 11 && y < 48;
                assert_true(inside == (pixels[c][y][x] != 100));
                if (!inside)
                    continue;
                note(&seen, (double)pixels[c][y][x]);
                products += (double)pixels[c][y][x] * (double)pixels[(c + 1) % 3][y][x];
            }
    assert_true(seen.count == 3 * 60 * 37);
    assert_true(fabs(mean_of(&seen)) < .06 && fabs(deviation_of(&seen) - 1) < .045);
    assert_true(fabs(products / seen.count) < .06);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_read),
        cmocka_unit_test(bad_texts_are_refused_by_name),
        cmocka_unit_test(tables_are_timms),
        cmocka_unit_test(arguments_are_timms),
        cmocka_unit_test(draws_are_distributed_as_timms),
        cmocka_unit_test(weighted_draws_do_not_repeat),
        cmocka_unit_test(jitter_orders_and_factors),
        cmocka_unit_test(policy_or_jitter),
        cmocka_unit_test(forced_operations_run_in_order),
        cmocka_unit_test(bad_strengths_are_named),
        cmocka_unit_test(boxes_are_distributed_as_timms),
        cmocka_unit_test(the_box_becomes_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
