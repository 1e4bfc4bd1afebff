/* Charts: round ticks, points where the axes say, awkward numbers, noise and its trend. */
#include "html_check.h"

#include <math.h>

#include "report/curves.h"

static struct dvit_error error;

/* ---- charts ---- */

static char *chart_of(const double *x, const double *y, size_t count)
{
    struct dvit_series series = {.name = "<run> & co", .x = x, .y = y, .count = count, .stride = 1};
    struct dvit_chart chart = {
        .title = "Loss", .x_label = "step", .unit = "", .series = &series, .count = 1};
    struct dvit_markup markup = {0};
    char *text;
    dvit_chart_add_svg(&chart, &markup);
    assert_ok(dvit_markup_take(&markup, "chart", &text, NULL, &error), &error);
    assert_well_formed(text);
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    return text;
}

static void ticks_are_round(void **state)
{
    assert_float_equal(dvit_tick_step(0, 1, 4), 0.25, 1e-12);
    assert_float_equal(dvit_tick_step(0, 3000, 5), 1000, 1e-9);
    assert_float_equal(dvit_tick_step(0.62, 0.71, 4), 0.025, 1e-12);
    assert_float_equal(dvit_tick_step(-7, 9, 4), 5, 1e-12);
    assert_float_equal(dvit_tick_step(0, 2e-6, 4), 5e-7, 1e-15);
}

/* The plot's corners in SVG units are (46, 20) and (384, 192). */
static void chart_puts_points_where_axes_say(void **state)
{
    char *text = chart_of((double[]){0, 50, 100}, (double[]){0, 4, 1}, 3);
    assert_has(text, "<path d=\"M46.0 192.0L215.0 20.0L384.0 149.0\"/>");
    assert_has(text, "<text class=\"end\" x=\"39.0\" y=\"24.0\">4</text>");
    assert_has(text, "<text class=\"end\" x=\"39.0\" y=\"196.0\">0</text>");
    assert_has(text, "<text class=\"middle\" x=\"384.0\" y=\"209.0\">100</text>");
    assert_has(text, "&lt;run&gt; &amp; co <b>1</b>");
    assert_int_equal(count_of(text, "<circle"), 3);
    free(text);
}

static void chart_survives_few_points(void **state)
{
    char *text = chart_of(NULL, NULL, 0);
    assert_has(text, "no values");
    free(text);
    text = chart_of((double[]){7}, (double[]){0.5}, 1); /* y axis .45 … .55, x axis 0 … 7 */
    assert_has(text, "<path d=\"M384.0 106.0\"/>");
    assert_int_equal(count_of(text, "<circle"), 1);
    free(text);
    text = chart_of((double[]){0}, (double[]){0}, 1);
    assert_has(text, "<path d=\"M46.0 192.0\"/>");
    free(text);
    text = chart_of((double[]){10, 20}, (double[]){3, 3}, 2); /* constant: 2.7 … 3.3 */
    assert_has(text, "L384.0 ");
    assert_has(text, ">2.6</text>");
    free(text);
    text = chart_of((double[]){5, 5}, (double[]){1, 2}, 2); /* one abscissa */
    assert_int_equal(count_of(text, "<circle"), 2);
    free(text);
}

static void chart_leaves_gaps(void **state)
{
    double x[] = {0, 1, 2, 3, 4, 5}, y[] = {1, 2, NAN, 3, INFINITY, 1e200};
    char *text = chart_of(x, y, 6);
    assert_int_equal(count_of(text, "M"), 3); /* two pieces, and the legend's swatch */
    free(text);
    double only_nan[] = {NAN, NAN};
    text = chart_of(x, only_nan, 2);
    assert_has(text, "no values");
    free(text);
    enum { MANY = 5000 };
    static double long_x[MANY], long_y[MANY];
    for (int i = 0; i < MANY; i++) {
        long_x[i] = i;
        long_y[i] = i == 1234 ? 9 : i % 2;
    }
    long_y[4000] = NAN;
    text = chart_of(long_x, long_y, MANY);
    assert_true(count_of(text, "L") < 700);
    assert_has(text, " 37.2L"); /* the spike of 9 on an axis to 10 */
    free(text);
}

static void chart_notation_suits_magnitudes(void **state)
{
    char *text = chart_of((double[]){0, 20000}, (double[]){1e-5, 4e-4}, 2);
    assert_has(text, ">×10⁻⁴ </text>");
    assert_has(text, ">20k</text>");
    free(text);
    text = chart_of((double[]){0, 1}, (double[]){-1e100, 1e100}, 2);
    assert_has(text, "×10¹⁰⁰");
    free(text);
    text = chart_of((double[]){0, 1}, (double[]){1e-300, 1e-290}, 2);
    free(text);
}

/* A chart of the values k·(−1)^i + i/100, whose trend is i/100. */
static char *noisy_chart(size_t count, bool noisy)
{
    double x[100], y[100];
    for (size_t i = 0; i < count; i++) {
        x[i] = (double)i;
        y[i] = (double)i / 100 + (i % 2 ? .5 : -.5);
    }
    struct dvit_series series = {
        .name = "loss", .x = x, .y = y, .count = count, .stride = 1, .noisy = noisy};
    struct dvit_chart chart = {
        .title = "Loss", .x_label = "step", .unit = "nats", .series = &series, .count = 1};
    struct dvit_markup markup = {0};
    char *text;
    dvit_chart_add_svg(&chart, &markup);
    assert_ok(dvit_markup_take(&markup, "chart", &text, NULL, &error), &error);
    assert_well_formed(text);
    return text;
}

static void chart_of_noise_has_a_trend(void **state)
{
    char *text = noisy_chart(100, true);
    assert_int_equal(count_of(text, "opacity"), 1);
    assert_int_equal(count_of(text, "<path"), 3); /* values, trend, the legend's swatch */
    const char *trend = strstr(strstr(text, "<path") + 1, "<path");
    double before = 1e9, x, y;
    int points = 0, used;
    for (trend += 9; sscanf(trend, "%*1[ML]%lf %lf%n", &x, &y, &used) == 2; trend += used) {
        assert_true(y < before); /* it rises steadily: no noise is left */
        before = y;
        points++;
    }
    assert_int_equal(points, 25);
    free(text);
    text = noisy_chart(100, false);
    assert_int_equal(count_of(text, "<path"), 2);
    assert_null(strstr(text, "opacity"));
    free(text);
    text = noisy_chart(20, true); /* too few for one */
    assert_int_equal(count_of(text, "<path"), 2);
    free(text);
}

static void chart_of_shares_ends_at_all_of_them(void **state)
{
    const double x[] = {1, 2}, y[] = {1, 1};
    struct dvit_series series = {.name = "top 5", .x = x, .y = y, .count = 2, .stride = 1};
    struct dvit_chart chart = {.title = "Accuracy", .x_label = "step", .unit = ""};
    struct dvit_markup markup = {0};
    char *text;
    chart.percent = true;
    chart.series = &series;
    chart.count = 1;
    dvit_chart_add_svg(&chart, &markup);
    assert_ok(dvit_markup_take(&markup, "chart", &text, NULL, &error), &error);
    assert_has(text, ">100</text>");
    assert_null(strstr(text, ">105</text>"));
    free(text);
}

/* ---- what the axes show ---- */

enum { MANY = 40 };

static char *robust_chart(const struct dvit_series *series, size_t count)
{
    struct dvit_chart chart = {.title = "Loss",
                               .x_label = "step",
                               .unit = "nats",
                               .series = series,
                               .count = count,
                               .may_log = true,
                               .robust = true};
    struct dvit_markup markup = {0};
    char *text;
    dvit_chart_add_svg(&chart, &markup);
    assert_ok(dvit_markup_take(&markup, "chart", &text, NULL, &error), &error);
    assert_well_formed(text);
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    return text;
}

static struct dvit_series series_of(const char *name, const double *x, const double *y)
{
    return (struct dvit_series){.name = name, .x = x, .y = y, .count = MANY, .stride = 1};
}

/* The y coordinates of the first path of the chart's n-th group of lines. */
static void y_range(const char *chart, int n, double *least, double *most)
{
    double x, y;
    int used;
    const char *path = chart;
    for (int i = 0; i <= n; i++)
        path = strstr(path, "</title><path d=\"") + 17;
    *least = 1e9;
    *most = -1e9;
    for (; sscanf(path, "%*1[ML]%lf %lf%n", &x, &y, &used) == 2; path += used) {
        *least = fmin(*least, y);
        *most = fmax(*most, y);
    }
}

static void values_over_decades_have_a_logarithmic_axis(void **state)
{
    double x[MANY], y[MANY], least, most;
    for (int i = 0; i < MANY; i++) {
        x[i] = i;
        y[i] = pow(10, 2 - i / 10.0); /* 100 … 0.0126 */
    }
    struct dvit_series series = series_of("loss", x, y);
    char *text = robust_chart(&series, 1);
    assert_has(text, "nats, logarithmic");
    assert_has(text, ">0.1</text>");
    assert_has(text, ">100</text>");
    assert_null(strstr(text, ">50</text>"));
    const char *path = strstr(text, "</title><path d=\"");
    double at[3];
    assert_int_equal(sscanf(path + 17, "M%*f %lfL%*f %lfL%*f %lf", &at[0], &at[1], &at[2]), 3);
    assert_true(fabs(at[2] - 2 * at[1] + at[0]) < .15); /* equal factors, equal distances */
    free(text);
    y[3] = 0; /* has no place there */
    text = robust_chart(&series, 1);
    assert_has(text, "logarithmic");
    y_range(text, 0, &least, &most);
    assert_true(least > 15 && most < 196);
    free(text);
    for (int i = 0; i < MANY; i += 2)
        y[i] = 0; /* too many of those */
    text = robust_chart(&series, 1);
    assert_null(strstr(text, "logarithmic"));
    free(text);
}

static void outliers_do_not_flatten_a_curve(void **state)
{
    double x[MANY], y[MANY], least, most;
    for (int i = 0; i < MANY; i++) {
        x[i] = i;
        y[i] = 2.3 - i * .03;
    }
    y[17] = 4e5;
    struct dvit_series series = series_of("<loss>", x, y);
    char *text = robust_chart(&series, 1);
    assert_has(text, "off the axis: &lt;loss&gt; reaches 4e+05 at step 17</p>");
    assert_null(strstr(text, "logarithmic"));
    assert_has(text, ">2.5</text>");
    y_range(text, 0, &least, &most);
    assert_true(least == 17 && most > 150); /* at the edge; the rest fills the plot */
    free(text);
    y[17] = 2;
    text = robust_chart(&series, 1);
    assert_null(strstr(text, "off the axis"));
    free(text);
    for (int i = 0; i < MANY; i++)
        y[i] = i < 2 ? 7 : .5; /* how a loss begins is no outlier */
    y[0] = 1.5;
    y[1] = 1.1;
    text = robust_chart(&series, 1);
    assert_null(strstr(text, "off the axis"));
    free(text);
}

static void a_diverged_run_does_not_flatten_the_others(void **state)
{
    double x[MANY], good[MANY], better[MANY], diverged[MANY], least, most;
    for (int i = 0; i < MANY; i++) {
        x[i] = i;
        good[i] = 2.3 - i * .04;
        better[i] = 2.3 - i * .05;
        diverged[i] = i < 5 ? 2.3 : 1e9 * i;
    }
    diverged[30] = NAN;
    const struct dvit_series series[] = {series_of("good", x, good), series_of("bad", x, diverged),
                                         series_of("better", x, better)};
    char *text = robust_chart(series, 3);
    assert_has(text, "off the axis: bad reaches 3.9e+10 at step 39</p>");
    y_range(text, 0, &least, &most);
    assert_true(most - least > 50);
    free(text);
}

static void short_and_constant_series_are_whole(void **state)
{
    static const double values[][4] = {{1, 1, 1, 1}, {0, 0, 0, 0}, {0, 0, 0, 3}, {1, 2, 3, 4}};
    const double x[] = {0, 1, 2, 3};
    for (int i = 0; i < 4; i++)
        for (size_t count = 1; count <= 4; count++) {
            struct dvit_series series = {
                .name = "a", .x = x, .y = values[i], .count = count, .stride = 1};
            char *text = robust_chart(&series, 1);
            assert_null(strstr(text, "off the axis"));
            free(text);
        }
}

/* Every one of the most runs that a page shows has looks of its own. */
static void series_are_told_apart(void **state)
{
    enum { RUNS = 64 };
    char *classes[RUNS];
    for (int i = 0; i < RUNS; i++) {
        struct dvit_markup markup = {0};
        dvit_markup_series_class(&markup, i);
        assert_ok(dvit_markup_take(&markup, "class", &classes[i], NULL, &error), &error);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(classes[i], classes[k]);
    }
    for (int i = 0; i < RUNS; i++)
        free(classes[i]);
}

/* A value that is missing is a gap, also where many values share a place. */
static void long_charts_leave_gaps(void **state)
{
    enum { STEPS = 6000 };
    static double x[STEPS], y[STEPS];
    for (int i = 0; i < STEPS; i++) {
        x[i] = i;
        y[i] = i == 3000 ? NAN : 1 + i % 2;
    }
    char *text = chart_of(x, y, STEPS);
    assert_int_equal(count_of(text, "M"), 3); /* two pieces, and the legend's swatch */
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticks_are_round),
        cmocka_unit_test(chart_puts_points_where_axes_say),
        cmocka_unit_test(chart_survives_few_points),
        cmocka_unit_test(chart_leaves_gaps),
        cmocka_unit_test(chart_of_noise_has_a_trend),
        cmocka_unit_test(chart_of_shares_ends_at_all_of_them),
        cmocka_unit_test(chart_notation_suits_magnitudes),
        cmocka_unit_test(values_over_decades_have_a_logarithmic_axis),
        cmocka_unit_test(outliers_do_not_flatten_a_curve),
        cmocka_unit_test(a_diverged_run_does_not_flatten_the_others),
        cmocka_unit_test(short_and_constant_series_are_whole),
        cmocka_unit_test(series_are_told_apart),
        cmocka_unit_test(long_charts_leave_gaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
