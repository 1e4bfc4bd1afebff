/* Plots as files: points where the axes say, a legend for all, and what is refused. */
#include "html_check.h"

#include <math.h>

#include "dvit/report.h"

static struct dvit_error error;

static char *written(const struct dvit_plot *plots, int count)
{
    char folder[32], path[64];
    unsigned char *bytes;
    size_t size;
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/plots.svg", folder);
    assert_ok(dvit_report_plots(path, plots, count, &error), &error);
    assert_ok(dvit_file_read(path, 1 << 20, &bytes, &size, &error), &error);
    char *text = calloc(size + 1, 1);
    memcpy(text, bytes, size);
    free(bytes);
    test_folder_remove(folder);
    assert_well_formed(text);
    return text;
}

/* x from .02 to .06: the axis is .018 … .062, 338 units wide from 46; not from 0. */
static void points_are_where_the_axes_say(void **state)
{
    const struct dvit_plot_line lines[] = {
        {"<learned>", (double[]){.02, .04, .06}, (double[]){.5, .6, .7}, 3, NULL},
        {"random", (double[]){.04}, (double[]){.55}, 1, NULL},
    };
    const struct dvit_plot plots[2] = {{"Cost & more", "GMACs", "top-1", true, lines, 2},
                                       {"Speed", "images/s", "top-1", true, lines, 2}};
    char *text = written(plots, 2);
    (void)state;
    assert_has(text, "Cost &amp; more</text>");
    assert_has(text, "M61.4 192.0L215.0 106.0L368.6 20.0");
    assert_int_equal(count_of(text, "<path"), 2 * 2 + 2);
    assert_int_equal(count_of(text, "<circle"), 2 * 4 + 2); /* points, and the legend's */
    assert_int_equal(count_of(text, "class=\"name\""), 2);
    assert_has(text, "&lt;learned&gt;</text>");
    assert_has(text, ">% top-1</text>");
    assert_null(strstr(text, "nan"));
    free(text);
}

static void a_point_alone_is_drawn(void **state)
{
    const struct dvit_plot_line line = {"one", (double[]){3}, (double[]){.5}, 1, NULL};
    const struct dvit_plot_line gap = {"none", (double[]){3}, (double[]){NAN}, 1, NULL};
    char *text = written(&(struct dvit_plot){"A", "x", "", false, &line, 1}, 1);
    (void)state;
    assert_int_equal(count_of(text, "<circle"), 2);
    free(text);
    text = written(&(struct dvit_plot){"A", "x", "", false, &gap, 1}, 1);
    assert_int_equal(count_of(text, "<circle"), 1);
    free(text);
}

/* The last point is a gap and has no label. */
static void labels_stand_above_their_points(void **state)
{
    const struct dvit_plot_line line = {"one", (double[]){.06, .02, .04}, (double[]){.7, .5, NAN},
                                        3, (const char *const[]){"1", "<0.7>", "gap"}};
    char *text = written(&(struct dvit_plot){"A", "x", "", true, &line, 1}, 1);
    (void)state;
    assert_has(text, "M368.6 20.0L61.4 192.0\"");
    assert_has(text, "<text class=\"middle label\" x=\"368.6\" y=\"14.0\">1</text>");
    assert_has(text, "<text class=\"middle label\" x=\"61.4\" y=\"186.0\">&lt;0.7&gt;</text>");
    assert_null(strstr(text, ">gap<"));
    free(text);
}

/* x over six decades, and what stands at one of them; y without its outlier. */
static void axes_may_be_logarithmic_and_marked(void **state)
{
    double x[13], y[13];
    for (int i = 0; i < 13; i++) {
        x[i] = pow(10, -6 + i / 2.0);
        y[i] = i == 12 ? 1e6 : 2 - i * .1;
    }
    const struct dvit_plot_line line = {"loss", x, y, 13, NULL};
    const struct dvit_plot plot = {"Rate", "rate", "loss", false, &line, 1};
    const struct dvit_plot_axes axes = {
        .log_x = true, .fit_y = true, .mark_x = 1e-3, .mark = "<best> 0.001"};
    char folder[32], path[64];
    unsigned char *bytes;
    size_t size;
    (void)state;
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/plots.svg", folder);
    assert_ok(dvit_report_plots_on(path, &plot, &axes, 1, &error), &error);
    assert_ok(dvit_file_read(path, 1 << 20, &bytes, &size, &error), &error);
    char *text = calloc(size + 1, 1);
    memcpy(text, bytes, size);
    free(bytes);
    test_folder_remove(folder);
    assert_well_formed(text);
    assert_has(text, ">10⁻⁴</text>");
    assert_has(text, "<line class=\"mark\" x1=\"215.0\" y1=\"20.0\" x2=\"215.0\" y2=\"192.0\"/>");
    assert_has(text, "&lt;best&gt; 0.001</text>");
    assert_has(text, " 17.0\"/>"); /* the outlier, at the edge */
    free(text);
}

static void nothing_is_refused(void **state)
{
    const struct dvit_plot_line line = {"one", (double[]){3}, (double[]){.5}, 1, NULL};
    struct dvit_plot plot = {"A", "x", "", false, &line, 0};
    (void)state;
    assert_fails(dvit_report_plots("plots.svg", &plot, 1, &error), &error, DVIT_ERROR_ARGUMENT,
                 "0 lines, expected 1 to 21");
    plot.line_count = DVIT_MAX_PLOT_LINES + 1;
    assert_fails(dvit_report_plots("plots.svg", &plot, 1, &error), &error, DVIT_ERROR_ARGUMENT,
                 "22 lines");
    plot.line_count = 1;
    assert_fails(dvit_report_plots("plots.svg", &plot, 0, &error), &error, DVIT_ERROR_ARGUMENT,
                 "0 plots");
    assert_fails(dvit_report_plots("no/folder/plots.svg", &plot, 1, &error), &error,
                 DVIT_ERROR_NOT_FOUND, "no/folder");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_are_where_the_axes_say),
        cmocka_unit_test(a_point_alone_is_drawn),
        cmocka_unit_test(labels_stand_above_their_points),
        cmocka_unit_test(axes_may_be_logarithmic_and_marked),
        cmocka_unit_test(nothing_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
