/* Random streams: Philox against its authors' vectors, streams pinned forever (checkpoints depend
 * on them), and every distribution's moments. All draws are fixed by seeds, so nothing here is
 * flaky; tolerances are about five standard errors. */
#include "test_util.h"

#include <math.h>

#include "base/rng.h"

enum { DRAWS = 200000 };

static struct dvit_rng stream(uint32_t index)
{
    return dvit_rng_stream(7, DVIT_RNG_TEST, 0, index);
}

/* Random123, tests/kat_vectors, the three "philox4x32 10" lines: counter, key, result. */
static void test_known_answers(void **state)
{
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dvit_rng rng = {.used = 4};
        memcpy(rng.counter, cases[i].counter, sizeof rng.counter);
        memcpy(rng.key, cases[i].key, sizeof rng.key);
        for (int j = 0; j < 4; j++)
            assert_int_equal(dvit_rng_u32(&rng), cases[i].expected[j]);
    }
}

/* Computed with a separate implementation of the keying described in rng.c. */
static void test_streams_pinned(void **state)
{
    static const uint32_t zero[5] = {0x9a747482, 0x1afe48ab, 0xd26c0443, 0x72cc483a, 0x16ef40b3};
    static const uint32_t other[5] = {0x6149f51e, 0xdf7eb45b, 0xffabd3e6, 0xe2310672, 0xb9db1cda};
    struct dvit_rng a = dvit_rng_stream(0, DVIT_RNG_INIT, 0, 0);
    struct dvit_rng b = dvit_rng_stream(0x123456789abcdef0, DVIT_RNG_GUMBEL, 0x500000007, 11);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(dvit_rng_u32(&a), zero[i]);
        assert_int_equal(dvit_rng_u32(&b), other[i]);
    }
    assert_int_equal(DVIT_RNG_INIT, 1);
    assert_int_equal(DVIT_RNG_SHUFFLE, 2);
    assert_int_equal(DVIT_RNG_AUGMENT, 3);
    assert_int_equal(DVIT_RNG_GUMBEL, 4);
    assert_int_equal(DVIT_RNG_DROP_PATH, 5);
    assert_int_equal(DVIT_RNG_SCENE, 6);
    assert_int_equal(DVIT_RNG_BENCH_INPUT, 7);
    assert_int_equal(DVIT_RNG_TEST, 8);
    assert_int_equal(DVIT_RNG_MIX, 9);
    assert_int_equal(DVIT_RNG_KEEP, 10);
}

static uint64_t first_words(struct dvit_rng rng)
{
    uint64_t high = dvit_rng_u32(&rng);
    return high << 32 | dvit_rng_u32(&rng);
}

/* Streams that differ in one coordinate share no draw; the same coordinates give the same draws. */
static void test_streams_differ(void **state)
{
    uint64_t words[6] = {
        first_words(dvit_rng_stream(1, DVIT_RNG_TEST, 2, 3)),
        first_words(dvit_rng_stream(2, DVIT_RNG_TEST, 2, 3)),
        first_words(dvit_rng_stream(1 | (uint64_t)1 << 32, DVIT_RNG_TEST, 2, 3)),
        first_words(dvit_rng_stream(1, DVIT_RNG_MIX, 2, 3)),
        first_words(dvit_rng_stream(1, DVIT_RNG_TEST, 2 | (uint64_t)1 << 32, 3)),
        first_words(dvit_rng_stream(1, DVIT_RNG_TEST, 2, 4)),
    };
    assert_true(words[0] == first_words(dvit_rng_stream(1, DVIT_RNG_TEST, 2, 3)));
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < i; j++)
            assert_true(words[i] != words[j]);
}

struct moments {
    double mean, variance, least, most;
};

static struct moments measure(double (*draw)(struct dvit_rng *), uint32_t index)
{
    struct dvit_rng rng = stream(index);
    struct moments m = {.least = HUGE_VAL, .most = -HUGE_VAL};
    double sum = 0, squares = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = draw(&rng);
        sum += x;
        squares += x * x;
        m.least = fmin(m.least, x);
        m.most = fmax(m.most, x);
    }
    m.mean = sum / DRAWS;
    m.variance = squares / DRAWS - m.mean * m.mean;
    return m;
}

static void assert_near(double value, double expected, double tolerance)
{
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%g, expected %g within %g", value, expected, tolerance);
}

static void test_uniform(void **state)
{
    struct moments m = measure(dvit_rng_uniform, 0);
    assert_near(m.mean, 0.5, 0.0035);
    assert_near(m.variance, 1.0 / 12, 0.001);
    assert_true(m.least >= 0 && m.least < 1e-4 && m.most < 1 && m.most > 1 - 1e-4);
    struct dvit_rng rng = stream(1);
    for (int i = 0; i < 1000; i++) {
        double x = dvit_rng_range(&rng, -3, 5);
        assert_true(x >= -3 && x < 5);
    }
}

static void test_normal(void **state)
{
    struct moments m = measure(dvit_rng_normal, 2);
    assert_near(m.mean, 0, 0.012);
    assert_near(m.variance, 1, 0.016);
    struct dvit_rng rng = stream(3);
    int inside = 0; /* one deviation: 68.27 % */
    double third = 0, fourth = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = dvit_rng_normal(&rng);
        inside += fabs(x) < 1;
        third += x * x * x;
        fourth += x * x * x * x;
    }
    assert_near((double)inside / DRAWS, 0.682689, 0.0053);
    assert_near(third / DRAWS, 0, 0.044);
    assert_near(fourth / DRAWS, 3, 0.11);
}

static double draw_wide(struct dvit_rng *rng)
{
    return dvit_rng_truncated_normal(rng, 1.0);
}

static double draw_narrow(struct dvit_rng *rng)
{
    return dvit_rng_truncated_normal(rng, 0.02);
}

static void test_truncated_normal(void **state)
{
    struct moments m = measure(draw_wide, 4);
    assert_near(m.mean, 0, 0.01);
    assert_near(m.variance, 0.773741, 0.011); /* 1 − 2·2·φ(2)/(Φ(2) − Φ(−2)) */
    assert_true(m.least >= -2 && m.most <= 2 && m.most > 1.99);
    m = measure(draw_narrow, 5); /* the bound is absolute: no effect at initialisation's 0.02 */
    assert_near(m.variance, 0.0004, 0.0000065);
    assert_true(m.most > 0.06);
}

static void test_gumbel(void **state)
{
    struct moments m = measure(dvit_rng_gumbel, 6);
    assert_near(m.mean, 0.577216, 0.0145);
    assert_near(m.variance, 1.644934, 0.04);
}

/* The ends of the uniform draw: every distribution stays finite. */
static void test_extremes(void **state)
{
    static double (*const draws[])(struct dvit_rng *) = {dvit_rng_uniform, dvit_rng_normal,
                                                         dvit_rng_gumbel};
    for (size_t i = 0; i < sizeof draws / sizeof *draws; i++) {
        struct dvit_rng low = {.block = {0}, .used = 0}, high = {.used = 0};
        memset(high.block, 0xFF, sizeof high.block);
        assert_true(isfinite(draws[i](&low)));
        assert_true(isfinite(draws[i](&high)));
    }
    struct dvit_rng high = {.used = 0};
    memset(high.block, 0xFF, sizeof high.block);
    assert_true(dvit_rng_uniform(&high) < 1.0);
}

/* Σ (observed − expected)² / expected over equally likely cells. */
static double chi_square(const uint32_t *counts, int cells, double expected)
{
    double sum = 0;
    for (int i = 0; i < cells; i++)
        sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    return sum;
}

static void test_below(void **state)
{
    struct dvit_rng rng = stream(7);
    uint32_t counts[10] = {0}, thirds[3] = {0};
    for (int i = 0; i < DRAWS; i++)
        counts[dvit_rng_below(&rng, 10)]++;
    assert_true(chi_square(counts, 10, DRAWS / 10.0) < 30); /* 9 degrees: p = 0.0004 */
    /* Without rejection this bound would give one value of three twice as often as the others. */
    for (int i = 0; i < DRAWS; i++)
        thirds[dvit_rng_below(&rng, 3u << 30) % 3]++;
    assert_true(chi_square(thirds, 3, DRAWS / 3.0) < 20);
    for (int i = 0; i < 100; i++)
        assert_int_equal(dvit_rng_below(&rng, 1), 0);
    uint32_t highest = 0;
    for (int i = 0; i < 1000; i++) {
        uint32_t x = dvit_rng_below(&rng, UINT32_MAX);
        assert_true(x < UINT32_MAX);
        highest = x > highest ? x : highest;
    }
    assert_true(highest > 0xF0000000u);
}

static void test_permutation(void **state)
{
    enum { LARGEST = 1000, REPEATS = 48000 };
    struct dvit_rng rng = stream(8);
    uint32_t order[LARGEST], counts[256] = {0};
    unsigned char seen[LARGEST];
    for (uint32_t count = 0; count <= LARGEST; count += count < 10 ? 1 : 99) {
        memset(order, 0xFF, sizeof order);
        memset(seen, 0, sizeof seen);
        dvit_rng_permutation(&rng, order, count);
        for (uint32_t i = 0; i < count; i++) {
            assert_true(order[i] < count && !seen[order[i]]);
            seen[order[i]] = 1;
        }
        if (count < LARGEST)
            assert_int_equal(order[count], UINT32_MAX); /* nothing written past the end */
    }
    for (int i = 0; i < REPEATS; i++) {
        dvit_rng_permutation(&rng, order, 4);
        counts[order[0] << 6 | order[1] << 4 | order[2] << 2 | order[3]]++;
    }
    uint32_t orders[24], found = 0;
    for (int i = 0; i < 256; i++)
        if (counts[i] && found < 24)
            orders[found++] = counts[i];
    assert_int_equal(found, 24);
    assert_true(chi_square(orders, 24, REPEATS / 24.0) < 56); /* 23 degrees: p = 0.0001 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),  cmocka_unit_test(test_streams_pinned),
        cmocka_unit_test(test_streams_differ), cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_normal),         cmocka_unit_test(test_truncated_normal),
        cmocka_unit_test(test_gumbel),         cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_below),          cmocka_unit_test(test_permutation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
