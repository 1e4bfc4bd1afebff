/* Draws charts as inline SVG, styled by the page's classes (page_style.c).
 *
 * Coordinates are whole tenths of a unit, written without the C library's locale. Knows nothing of
 * training; tolerates whatever numbers it is given: none, one, constant, NaN, huge. */
#include "report/curves.h"

#include <math.h>

#include "report/axis.h"
#include "report/palette.h"

enum { LABEL_RISE = 6 /* of a point's label above it */ };
enum { MAX_BUCKETS = 300, MAX_DOTTED_POINTS = 40 };
enum { MIN_TREND_POINTS = 60, MIN_TREND_SHARE = 4, MAX_TREND_BUCKETS = 60 };

bool dvit_series_has_content(const struct dvit_series *series)
{
    for (size_t i = 0; i < series->count; i++)
        if (dvit_series_is_drawn(series, i) && dvit_series_y(series, i) != 0)
            return true;
    return false;
}

/* ---- lines ---- */

/* Writes one path: "M" begins a piece, "L" goes on; a piece of one point gets a dot. */
struct pen {
    struct dvit_markup *markup;
    const struct dvit_axis *x_axis, *y_axis;
    struct dvit_markup dots;
    double piece_x, piece_y; /* first point of the present piece */
    size_t piece_points;
    bool dot_all;
};

static void add_dot(struct pen *pen, double x, double y)
{
    dvit_markup_add(&pen->dots, "<circle");
    dvit_markup_position(&pen->dots, "cx", x, "cy", y);
    dvit_markup_add(&pen->dots, " r=\"2.6\"/>\n");
}

static void end_piece(struct pen *pen)
{
    if (pen->piece_points == 1 && !pen->dot_all)
        add_dot(pen, pen->piece_x, pen->piece_y);
    pen->piece_points = 0;
}

/* Goes on to a place in SVG units. */
static void visit_place(struct pen *pen, double x, double y)
{
    if (pen->piece_points++ == 0) {
        pen->piece_x = x;
        pen->piece_y = y;
    }
    dvit_markup_add(pen->markup, pen->piece_points == 1 ? "M" : "L");
    dvit_markup_number(pen->markup, x, 1);
    dvit_markup_add(pen->markup, " ");
    dvit_markup_number(pen->markup, y, 1);
    if (pen->dot_all)
        add_dot(pen, x, y);
}

static void visit(struct pen *pen, double value_x, double value_y)
{
    if (!dvit_point_is_drawn(value_x, value_y) || !dvit_axis_has(pen->x_axis, value_x) ||
        !dvit_axis_has(pen->y_axis, value_y)) {
        end_piece(pen);
        return;
    }
    visit_place(pen, dvit_axis_x(pen->x_axis, value_x), dvit_axis_y(pen->y_axis, value_y));
}

/* Of many points, the lowest and the highest of each bucket in their order: spikes survive, and so
 * do gaps. */
static void visit_bucket(struct pen *pen, const struct dvit_series *series, size_t first,
                         size_t end)
{
    size_t low = end, high = end;
    bool gap = false;
    for (size_t i = first; i < end; i++) {
        if (!dvit_series_is_drawn(series, i)) {
            gap = true;
            continue;
        }
        if (low == end || dvit_series_y(series, i) < dvit_series_y(series, low))
            low = i;
        if (high == end || dvit_series_y(series, i) > dvit_series_y(series, high))
            high = i;
    }
    if (low == end) {
        visit(pen, NAN, NAN);
        return;
    }
    size_t earlier = low < high ? low : high, later = low < high ? high : low;
    visit(pen, dvit_series_x(series, earlier), dvit_series_y(series, earlier));
    if (later != earlier)
        visit(pen, dvit_series_x(series, later), dvit_series_y(series, later));
    if (gap)
        visit(pen, NAN, NAN);
}

void dvit_markup_series_class(struct dvit_markup *markup, int colour)
{
    int round = colour / DVIT_SERIES_COLOURS;
    dvit_markup_format(markup, "s%d", colour % DVIT_SERIES_COLOURS);
    if (round % DVIT_SERIES_DASHES)
        dvit_markup_format(markup, " d%d", round % DVIT_SERIES_DASHES);
    if (round / DVIT_SERIES_DASHES % 2)
        dvit_markup_add(markup, " wide");
}

static void add_class(struct dvit_markup *markup, const struct dvit_series *series)
{
    dvit_markup_add(markup, "class=\"");
    dvit_markup_series_class(markup, series->colour);
    dvit_markup_add(markup, series->target ? " target\"" : "\"");
}

static bool has_trend(const struct dvit_series *series)
{
    return series->noisy && series->count >= MIN_TREND_POINTS;
}

static void add_series(struct dvit_markup *markup, const struct dvit_series *series, bool dotted,
                       const struct dvit_axis *x_axis, const struct dvit_axis *y_axis)
{
    size_t stride = series->count > 2 * MAX_BUCKETS ? series->count / MAX_BUCKETS + 1 : 1;
    struct pen pen = {.markup = markup, .x_axis = x_axis, .y_axis = y_axis};
    pen.dot_all = dotted && !series->target;
    dvit_markup_add(markup, has_trend(series) ? "<g opacity=\".28\" " : "<g ");
    add_class(markup, series);
    dvit_markup_add(markup, "><title>");
    dvit_markup_escape(markup, series->name);
    dvit_markup_add(markup, "</title><path d=\"");
    for (size_t i = 0; i < series->count; i += stride)
        visit_bucket(&pen, series, i, i + stride < series->count ? i + stride : series->count);
    end_piece(&pen);
    dvit_markup_add(markup, "\"/>\n");
    if (pen.dots.length)
        dvit_markup_add_bytes(markup, pen.dots.text, pen.dots.length);
    markup->failed = markup->failed || pen.dots.failed;
    dvit_markup_free(&pen.dots);
    dvit_markup_add(markup, "</g>\n");
}

static void add_labels(struct dvit_markup *markup, const struct dvit_series *series,
                       const struct dvit_axis *x_axis, const struct dvit_axis *y_axis)
{
    for (size_t i = 0; series->labels && i < series->count; i++) {
        if (!dvit_series_is_drawn(series, i))
            continue;
        dvit_markup_add(markup, "<text class=\"middle label\"");
        dvit_markup_position(markup, "x", dvit_axis_x(x_axis, dvit_series_x(series, i)), "y",
                             dvit_axis_y(y_axis, dvit_series_y(series, i)) - LABEL_RISE);
        dvit_markup_add(markup, ">");
        dvit_markup_escape(markup, series->labels[i]);
        dvit_markup_add(markup, "</text>\n");
    }
}

/* The means of equal shares of the values, as the axes show them: a value off the axis counts as
 * its edge. */
static void add_trend(struct dvit_markup *markup, const struct dvit_series *series,
                      const struct dvit_axis *x_axis, const struct dvit_axis *y_axis)
{
    struct pen pen = {.markup = markup, .x_axis = x_axis, .y_axis = y_axis};
    size_t buckets = series->count / MIN_TREND_SHARE;
    buckets = buckets < MAX_TREND_BUCKETS ? buckets : MAX_TREND_BUCKETS;
    dvit_markup_add(markup, "<g ");
    add_class(markup, series);
    dvit_markup_add(markup, "><path d=\"");
    for (size_t b = 0; b < buckets; b++) {
        double x = 0, y = 0, count = 0;
        for (size_t i = b * series->count / buckets; i < (b + 1) * series->count / buckets; i++) {
            double value_x = dvit_series_x(series, i), value_y = dvit_series_y(series, i);
            if (!dvit_series_is_drawn(series, i) || !dvit_axis_has(x_axis, value_x) ||
                !dvit_axis_has(y_axis, value_y))
                continue;
            x += dvit_axis_x(x_axis, value_x);
            y += dvit_axis_y(y_axis, value_y);
            count++;
        }
        if (count)
            visit_place(&pen, x / count, y / count);
        else
            visit(&pen, NAN, NAN);
    }
    dvit_markup_add(markup, "\"/></g>\n");
}

/* ---- the figure ---- */

/* The last drawn value, or NaN. */
static double last_value(const struct dvit_series *series)
{
    for (size_t i = series->count; i > 0; i--)
        if (dvit_series_is_drawn(series, i - 1))
            return dvit_series_y(series, i - 1);
    return NAN;
}

static void add_legend(struct dvit_markup *markup, const struct dvit_chart *chart)
{
    dvit_markup_add(markup, "<ul class=\"legend\">\n");
    for (size_t s = 0; s < chart->count; s++) {
        const struct dvit_series *series = &chart->series[s];
        double last = last_value(series);
        if (isnan(last))
            continue;
        dvit_markup_add(markup, "<li><svg width=\"34\" height=\"8\" aria-hidden=\"true\"><g ");
        add_class(markup, series);
        dvit_markup_add(markup, "><path d=\"M0 4L34 4\"/></g></svg> ");
        dvit_markup_escape(markup, series->name);
        dvit_markup_add(markup, " <b>");
        if (chart->percent)
            dvit_markup_format(markup, "%.4g %%", 100 * last);
        else
            dvit_markup_format(markup, "%.4g", last);
        dvit_markup_add(markup, "</b></li>\n");
    }
    dvit_markup_add(markup, "</ul>\n");
}

/* The farthest value of a series off the y axis; false where all are on it. */
static bool find_beyond(const struct dvit_series *series, const struct dvit_axis *axis,
                        size_t *farthest)
{
    bool found = false;
    for (size_t i = 0; i < series->count; i++) {
        double y = dvit_series_y(series, i);
        if (!dvit_series_is_drawn(series, i) || !dvit_axis_has(axis, y) ||
            !dvit_axis_is_beyond(axis, y))
            continue;
        if (!found || fabs(y) > fabs(dvit_series_y(series, *farthest)))
            *farthest = i;
        found = true;
    }
    return found;
}

/* Says what the axis does not show. */
static void add_beyond(struct dvit_markup *markup, const struct dvit_chart *chart,
                       const struct dvit_axis *axis)
{
    bool begun = false;
    size_t at = 0;
    for (size_t s = 0; s < chart->count; s++) {
        if (!find_beyond(&chart->series[s], axis, &at))
            continue;
        dvit_markup_add(markup, begun ? "; " : "<p class=\"note\">off the axis: ");
        begun = true;
        dvit_markup_escape(markup, chart->series[s].name);
        dvit_markup_format(markup, " reaches %.3g at ", dvit_series_y(&chart->series[s], at));
        dvit_markup_escape(markup, chart->x_label);
        dvit_markup_format(markup, " %.6g", dvit_series_x(&chart->series[s], at));
    }
    if (begun)
        dvit_markup_add(markup, "</p>\n");
}

/* A vertical line with its text, on the side where there is room. */
static void add_mark(struct dvit_markup *markup, const struct dvit_chart *chart,
                     const struct dvit_axis *axis)
{
    if (!chart->mark || !dvit_axis_has(axis, chart->mark_x) ||
        dvit_axis_is_beyond(axis, chart->mark_x))
        return;
    double x = dvit_axis_x(axis, chart->mark_x);
    bool left = x > DVIT_PLOT_LEFT + DVIT_PLOT_WIDTH / 2;
    dvit_markup_line(markup, "mark", x, DVIT_PLOT_TOP, x, DVIT_PLOT_TOP + DVIT_PLOT_HEIGHT);
    dvit_markup_add(markup, left ? "<text class=\"end name\"" : "<text class=\"name\"");
    dvit_markup_position(markup, "x", left ? x - 5 : x + 5, "y", DVIT_PLOT_TOP + 11);
    dvit_markup_add(markup, ">");
    dvit_markup_escape(markup, chart->mark);
    dvit_markup_add(markup, "</text>\n");
}

static void add_parts(const struct dvit_chart *chart, const struct dvit_axis *x_axis,
                      const struct dvit_axis *y_axis, struct dvit_markup *markup)
{
    size_t longest = 0;
    dvit_markup_y_axis(markup, y_axis, chart);
    dvit_markup_x_axis(markup, x_axis, chart);
    for (size_t s = 0; s < chart->count; s++)
        longest = chart->series[s].count > longest ? chart->series[s].count : longest;
    for (size_t s = 0; s < chart->count; s++)
        add_series(markup, &chart->series[s], longest <= MAX_DOTTED_POINTS, x_axis, y_axis);
    for (size_t s = 0; s < chart->count; s++)
        add_labels(markup, &chart->series[s], x_axis, y_axis);
    for (size_t s = 0; s < chart->count; s++)
        if (has_trend(&chart->series[s]))
            add_trend(markup, &chart->series[s], x_axis, y_axis);
    add_mark(markup, chart, x_axis);
}

void dvit_chart_add_drawing(const struct dvit_chart *chart, struct dvit_markup *markup)
{
    struct dvit_axis x_axis, y_axis;
    if (dvit_chart_find_axes(chart, &x_axis, &y_axis, &markup->failed))
        add_parts(chart, &x_axis, &y_axis, markup);
}

void dvit_chart_add_svg(const struct dvit_chart *chart, struct dvit_markup *markup)
{
    struct dvit_axis x_axis, y_axis;
    dvit_markup_add(markup, "<figure class=\"chart\">\n<figcaption>");
    dvit_markup_escape(markup, chart->title);
    dvit_markup_add(markup, "</figcaption>\n");
    if (!dvit_chart_find_axes(chart, &x_axis, &y_axis, &markup->failed)) {
        dvit_markup_add(markup, "<p class=\"note\">no values</p>\n</figure>\n");
        return;
    }
    dvit_markup_format(markup, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"",
                       DVIT_CHART_WIDTH, DVIT_CHART_HEIGHT);
    dvit_markup_escape(markup, chart->title);
    dvit_markup_add(markup, "\">\n");
    add_parts(chart, &x_axis, &y_axis, markup);
    dvit_markup_add(markup, "</svg>\n");
    add_legend(markup, chart);
    add_beyond(markup, chart, &y_axis);
    dvit_markup_add(markup, "</figure>\n");
}
