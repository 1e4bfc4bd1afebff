/* The learning-rate schedule against its formula: linear warm-up whose last iteration and the next
 * both have the full rate, then half a cosine towards the minimum. */
#include "test_util.h"

#include <math.h>

#include "dvit/train.h"

static const double pi = 3.14159265358979323846;

static void expect_rate(double got, double expected)
{
    if (fabs(got - expected) > 1e-15 + 1e-12 * fabs(expected))
        fail_msg("rate %.17g, expected %.17g", got, expected);
}

static void warm_up_is_linear_and_ends_at_the_base(void **state)
{
    (void)state;
    expect_rate(dvit_schedule_rate(1e-3, 1e-6, 0, 5, 30), 0);
    expect_rate(dvit_schedule_rate(1e-3, 1e-6, 1, 5, 30), .25e-3);
    expect_rate(dvit_schedule_rate(1e-3, 1e-6, 3, 5, 30), .75e-3);
    expect_rate(dvit_schedule_rate(1e-3, 1e-6, 4, 5, 30), 1e-3);
    expect_rate(dvit_schedule_rate(1e-3, 1e-6, 5, 5, 30), 1e-3);
    assert_true(dvit_schedule_rate(1e-3, 1e-6, 6, 5, 30) < 1e-3);
}

static void cosine_is_half_way_and_never_quite_down(void **state)
{
    (void)state;
    expect_rate(dvit_schedule_rate(1e-3, 1e-5, 15, 5, 25), 1e-5 + .5 * (1e-3 - 1e-5));
    expect_rate(dvit_schedule_rate(1e-3, 1e-5, 24, 5, 25),
                1e-5 + .5 * (1e-3 - 1e-5) * (1 + cos(pi * 19 / 20)));
    assert_true(dvit_schedule_rate(1e-3, 1e-5, 24, 5, 25) > 1e-5);
    for (long it = 6; it < 25; it++)
        assert_true(dvit_schedule_rate(1e-3, 1e-5, it, 5, 25) <
                    dvit_schedule_rate(1e-3, 1e-5, it - 1, 5, 25));
}

static void short_warm_ups(void **state)
{
    (void)state;
    expect_rate(dvit_schedule_rate(.1, 0, 0, 0, 10), .1);
    expect_rate(dvit_schedule_rate(.1, 0, 5, 0, 10), .05);
    expect_rate(dvit_schedule_rate(.1, 0, 9, 0, 10), .05 * (1 + cos(pi * .9)));
    expect_rate(dvit_schedule_rate(.1, 0, 0, 1, 10), .1); /* it/(W−1) would be 0/0 */
    expect_rate(dvit_schedule_rate(.1, 0, 1, 1, 10), .1);
    expect_rate(dvit_schedule_rate(.1, 0, 0, 2, 10), 0);
    expect_rate(dvit_schedule_rate(.1, 0, 1, 2, 10), .1);
    expect_rate(dvit_schedule_rate(.1, 0, 2, 2, 10), .1);
}

static void warm_up_that_fills_the_run(void **state)
{
    (void)state;
    expect_rate(dvit_schedule_rate(.1, .01, 9, 10, 10), .1);
    expect_rate(dvit_schedule_rate(.1, .01, 9, 100, 10), .1 * 9 / 99);
    expect_rate(dvit_schedule_rate(.1, .01, 10, 10, 10), .1); /* no cosine to divide by 0 */
    expect_rate(dvit_schedule_rate(.1, .1, 7, 2, 10), .1);    /* min = base */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warm_up_is_linear_and_ends_at_the_base),
        cmocka_unit_test(cosine_is_half_way_and_never_quite_down),
        cmocka_unit_test(short_warm_ups),
        cmocka_unit_test(warm_up_that_fills_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
