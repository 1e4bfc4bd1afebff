/* Draws charts as inline SVG, styled by the page's classes (page_style.c).
 *
 * Coordinates are whole tenths of a unit, written without the C library's locale. Knows nothing of
 * training; tolerates whatever numbers it is given: none, one, constant, NaN, huge. */
#include "report/curves.h"

#include <math.h>
#include <stdio.h>

#include "report/palette.h"

/* The chart in SVG units; about CSS pixels at its natural size. */
enum {
    WIDTH = DVIT_CHART_WIDTH,
    HEIGHT = DVIT_CHART_HEIGHT,
    LEFT = 46,
    RIGHT = 16,
    TOP = 20,
    BOTTOM = 38,
    LABEL_RISE = 6 /* of a point's label above it */
};
enum { PLOT_WIDTH = WIDTH - LEFT - RIGHT, PLOT_HEIGHT = HEIGHT - TOP - BOTTOM };
enum { MAX_BUCKETS = 300, MAX_DOTTED_POINTS = 40 };
enum { MIN_TREND_POINTS = 60, MIN_TREND_SHARE = 4, MAX_TREND_BUCKETS = 60 };

static const double largest_drawn = 1e100; /* differences and squares stay finite */

struct axis {
    double low, high;
    double step;      /* between ticks */
    int exponent;     /* ticks are shown divided by 10^exponent … */
    const char *mark; /* … and followed by this ("k", "M" or ""), else it stands in the unit */
};

static bool is_drawn(double x, double y)
{
    return isfinite(x) && isfinite(y) && fabs(x) <= largest_drawn && fabs(y) <= largest_drawn;
}

static double x_at(const struct dvit_series *series, size_t i)
{
    return series->x[i * series->stride];
}

static double y_at(const struct dvit_series *series, size_t i)
{
    return series->y[i * series->stride];
}

bool dvit_series_has_content(const struct dvit_series *series)
{
    for (size_t i = 0; i < series->count; i++)
        if (is_drawn(x_at(series, i), y_at(series, i)) && y_at(series, i) != 0)
            return true;
    return false;
}

/* ---- axes ---- */

double dvit_tick_step(double low, double high, int wanted)
{
    static const double steps[] = {1, 2, 2.5, 5, 10};
    double raw = (high - low) / wanted;
    double magnitude = pow(10, floor(log10(raw)));
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (raw <= steps[i] * magnitude * 1.0001)
            return steps[i] * magnitude;
    return 10 * magnitude;
}

/* Smallest and largest drawn value; false if there is none. */
static bool find_range(const struct dvit_chart *chart, bool of_x, double *low, double *high)
{
    *low = INFINITY;
    *high = -INFINITY;
    for (size_t s = 0; s < chart->count; s++)
        for (size_t i = 0; i < chart->series[s].count; i++) {
            double x = x_at(&chart->series[s], i), y = y_at(&chart->series[s], i);
            if (!is_drawn(x, y))
                continue;
            *low = fmin(*low, of_x ? x : y);
            *high = fmax(*high, of_x ? x : y);
        }
    return *low <= *high;
}

/* A range too narrow to divide, such as a constant's, becomes one that can be. */
static void widen(double *low, double *high)
{
    double size = fmax(fabs(*low), fabs(*high));
    if (*high - *low > 1e-9 * size && size > 1e-100)
        return;
    double pad = size > 1e-100 ? 0.1 * size : 1;
    bool negative = *low < 0;
    *low -= pad;
    *high += pad;
    if (!negative && *low < 0)
        *low = 0;
}

/* How ticks are written: 12000 as "12k", 0.0004 as "4" under "×10⁻⁴". */
static void choose_notation(struct axis *axis, bool percent)
{
    double size = fmax(fabs(axis->low), fabs(axis->high));
    axis->mark = "";
    axis->exponent = percent ? -2 : 0;
    if (percent && size < 100)
        return;
    if (size >= 1e9 || size < 0.02) {
        axis->exponent = (int)floor(log10(size) + 1e-9);
    } else if (size >= 1e6) {
        axis->exponent = 6;
        axis->mark = "M";
    } else if (size >= 1e4) {
        axis->exponent = 3;
        axis->mark = "k";
    }
}

/* Room for dots beside the lowest and the highest value. */
static void pad_measured(struct axis *axis)
{
    double pad = 0.05 * (axis->high - axis->low);
    axis->low = axis->low >= 0 ? fmax(0, axis->low - pad) : axis->low - pad;
    axis->high += pad;
}

static struct axis make_x_axis(const struct dvit_chart *chart, double low, double high)
{
    struct axis axis = {low, high, 0, 0, ""};
    if (axis.low >= 0 && !chart->measured_x)
        axis.low = 0; /* runs begin at step 0 */
    widen(&axis.low, &axis.high);
    if (chart->measured_x)
        pad_measured(&axis);
    axis.step = dvit_tick_step(axis.low, axis.high, 5);
    if (axis.high >= 1 && axis.step < 1 && !chart->measured_x)
        axis.step = 1; /* there is no half a step */
    choose_notation(&axis, false);
    return axis;
}

static struct axis make_y_axis(const struct dvit_chart *chart, double low, double high)
{
    struct axis axis = {low, high, 0, 0, ""};
    if (chart->from_zero) {
        axis.low = fmin(axis.low, 0);
        axis.high = fmax(axis.high, 0);
    }
    widen(&axis.low, &axis.high);
    axis.step = dvit_tick_step(axis.low, axis.high, 4);
    axis.low = floor(axis.low / axis.step + 1e-6) * axis.step;
    axis.high = ceil(axis.high / axis.step - 1e-6) * axis.step;
    if (chart->percent && high <= 1)
        axis.high = fmin(axis.high, 1); /* there is no share beyond */
    choose_notation(&axis, chart->percent);
    return axis;
}

static double to_x(const struct axis *axis, double value)
{
    return LEFT + (value - axis->low) / (axis->high - axis->low) * PLOT_WIDTH;
}

static double to_y(const struct axis *axis, double value)
{
    return TOP + (axis->high - value) / (axis->high - axis->low) * PLOT_HEIGHT;
}

static void add_tick_value(struct dvit_markup *markup, const struct axis *axis, double value)
{
    double scale = pow(10, -axis->exponent);
    double step = axis->step * scale;
    int decimals = 0;
    while (decimals < 9 && fabs(step - round(step)) > 1e-6 * step) {
        step *= 10;
        decimals++;
    }
    if (fabs(value) < 1e-6 * axis->step)
        value = 0; /* no "-0" */
    dvit_markup_number(markup, value * scale, decimals);
    dvit_markup_add(markup, axis->mark);
}

static void add_superscript(struct dvit_markup *markup, int exponent)
{
    static const char *const digits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
    char plain[16];
    snprintf(plain, sizeof plain, "%d", exponent);
    for (const char *at = plain; *at; at++)
        dvit_markup_add(markup, *at == '-' ? "⁻" : digits[*at - '0']);
}

/* x and y coordinate of an SVG element: ` x="…" y="…"` with the given attribute names. */
static void add_position(struct dvit_markup *markup, const char *x_name, double x,
                         const char *y_name, double y)
{
    dvit_markup_format(markup, " %s=\"", x_name);
    dvit_markup_number(markup, x, 1);
    dvit_markup_format(markup, "\" %s=\"", y_name);
    dvit_markup_number(markup, y, 1);
    dvit_markup_add(markup, "\"");
}

static void add_line(struct dvit_markup *markup, const char *class, double x0, double y0, double x1,
                     double y1)
{
    dvit_markup_format(markup, "<line class=\"%s\"", class);
    add_position(markup, "x1", x0, "y1", y0);
    add_position(markup, "x2", x1, "y2", y1);
    dvit_markup_add(markup, "/>\n");
}

static void add_x_axis(struct dvit_markup *markup, const struct axis *axis, const char *label)
{
    double bottom = TOP + PLOT_HEIGHT;
    add_line(markup, "axis", LEFT, bottom, LEFT + PLOT_WIDTH, bottom);
    double first = ceil(axis->low / axis->step - 1e-6);
    double last = floor(axis->high / axis->step + 1e-6);
    for (double i = first; i <= last; i++) {
        double x = to_x(axis, i * axis->step);
        add_line(markup, "axis", x, bottom, x, bottom + 4);
        dvit_markup_add(markup, "<text class=\"middle\"");
        add_position(markup, "x", x, "y", bottom + 17);
        dvit_markup_add(markup, ">");
        add_tick_value(markup, axis, i * axis->step);
        dvit_markup_add(markup, "</text>\n");
    }
    dvit_markup_add(markup, "<text class=\"end\"");
    add_position(markup, "x", LEFT + PLOT_WIDTH, "y", HEIGHT - 4);
    dvit_markup_add(markup, ">");
    dvit_markup_escape(markup, label);
    if (axis->exponent && !*axis->mark) {
        dvit_markup_add(markup, " ×10");
        add_superscript(markup, axis->exponent);
    }
    dvit_markup_add(markup, "</text>\n");
}

static void add_y_axis(struct dvit_markup *markup, const struct axis *axis,
                       const struct dvit_chart *chart)
{
    double first = round(axis->low / axis->step), last = round(axis->high / axis->step);
    for (double i = first; i <= last; i++) {
        double y = to_y(axis, i * axis->step);
        add_line(markup, "grid", LEFT, y, LEFT + PLOT_WIDTH, y);
        dvit_markup_add(markup, "<text class=\"end\"");
        add_position(markup, "x", LEFT - 7, "y", y + 4);
        dvit_markup_add(markup, ">");
        add_tick_value(markup, axis, i * axis->step);
        dvit_markup_add(markup, "</text>\n");
    }
    dvit_markup_format(markup, "<text x=\"4\" y=\"10\">");
    if (chart->percent && axis->exponent == -2)
        dvit_markup_add(markup, *chart->unit ? "% " : "%");
    else if (axis->exponent && !*axis->mark) {
        dvit_markup_add(markup, "×10");
        add_superscript(markup, axis->exponent);
        dvit_markup_add(markup, " ");
    }
    dvit_markup_escape(markup, chart->unit);
    dvit_markup_add(markup, "</text>\n");
}

/* ---- lines ---- */

/* Writes one path: "M" begins a piece, "L" goes on; a piece of one point gets a dot. */
struct pen {
    struct dvit_markup *markup;
    const struct axis *x_axis, *y_axis;
    struct dvit_markup dots;
    double piece_x, piece_y; /* first point of the present piece */
    size_t piece_points;
    bool dot_all;
};

static void add_dot(struct pen *pen, double x, double y)
{
    dvit_markup_add(&pen->dots, "<circle");
    add_position(&pen->dots, "cx", x, "cy", y);
    dvit_markup_add(&pen->dots, " r=\"2.6\"/>\n");
}

static void end_piece(struct pen *pen)
{
    if (pen->piece_points == 1 && !pen->dot_all)
        add_dot(pen, pen->piece_x, pen->piece_y);
    pen->piece_points = 0;
}

static void visit(struct pen *pen, double value_x, double value_y)
{
    if (!is_drawn(value_x, value_y)) {
        end_piece(pen);
        return;
    }
    double x = to_x(pen->x_axis, value_x), y = to_y(pen->y_axis, value_y);
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

/* Of many points, the lowest and the highest of each bucket in their order: spikes survive. */
static void visit_bucket(struct pen *pen, const struct dvit_series *series, size_t first,
                         size_t end)
{
    size_t low = end, high = end;
    for (size_t i = first; i < end; i++) {
        if (!is_drawn(x_at(series, i), y_at(series, i)))
            continue;
        if (low == end || y_at(series, i) < y_at(series, low))
            low = i;
        if (high == end || y_at(series, i) > y_at(series, high))
            high = i;
    }
    if (low == end) {
        visit(pen, NAN, NAN);
        return;
    }
    size_t earlier = low < high ? low : high, later = low < high ? high : low;
    visit(pen, x_at(series, earlier), y_at(series, earlier));
    if (later != earlier)
        visit(pen, x_at(series, later), y_at(series, later));
}

/* "s2 d1": colour 2, second use of the palette. */
static void add_class(struct dvit_markup *markup, const struct dvit_series *series)
{
    int round = series->colour / DVIT_SERIES_COLOURS % 3;
    dvit_markup_format(markup, "class=\"s%d", series->colour % DVIT_SERIES_COLOURS);
    if (series->target)
        dvit_markup_add(markup, " target");
    else if (round)
        dvit_markup_format(markup, " d%d", round);
    dvit_markup_add(markup, "\"");
}

static bool has_trend(const struct dvit_series *series)
{
    return series->noisy && series->count >= MIN_TREND_POINTS;
}

static void add_series(struct dvit_markup *markup, const struct dvit_series *series, bool dotted,
                       const struct axis *x_axis, const struct axis *y_axis)
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
                       const struct axis *x_axis, const struct axis *y_axis)
{
    for (size_t i = 0; series->labels && i < series->count; i++) {
        if (!is_drawn(x_at(series, i), y_at(series, i)))
            continue;
        dvit_markup_add(markup, "<text class=\"middle label\"");
        add_position(markup, "x", to_x(x_axis, x_at(series, i)), "y",
                     to_y(y_axis, y_at(series, i)) - LABEL_RISE);
        dvit_markup_add(markup, ">");
        dvit_markup_escape(markup, series->labels[i]);
        dvit_markup_add(markup, "</text>\n");
    }
}

/* The means of equal shares of the values, each at the mean of its x. */
static void add_trend(struct dvit_markup *markup, const struct dvit_series *series,
                      const struct axis *x_axis, const struct axis *y_axis)
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
            if (!is_drawn(x_at(series, i), y_at(series, i)))
                continue;
            x += x_at(series, i);
            y += y_at(series, i);
            count++;
        }
        visit(&pen, count ? x / count : NAN, count ? y / count : NAN);
    }
    dvit_markup_add(markup, "\"/></g>\n");
}

/* ---- the figure ---- */

/* The last drawn value, or NaN. */
static double last_value(const struct dvit_series *series)
{
    for (size_t i = series->count; i > 0; i--)
        if (is_drawn(x_at(series, i - 1), y_at(series, i - 1)))
            return y_at(series, i - 1);
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
        dvit_markup_add(markup, "<li><svg width=\"22\" height=\"8\" aria-hidden=\"true\"><g ");
        add_class(markup, series);
        dvit_markup_add(markup, "><path d=\"M0 4L22 4\"/></g></svg> ");
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

static bool find_axes(const struct dvit_chart *chart, struct axis *x_axis, struct axis *y_axis)
{
    double x_low, x_high, y_low, y_high;
    if (!find_range(chart, true, &x_low, &x_high) || !find_range(chart, false, &y_low, &y_high))
        return false;
    *x_axis = make_x_axis(chart, x_low, x_high);
    *y_axis = make_y_axis(chart, y_low, y_high);
    return true;
}

void dvit_chart_add_drawing(const struct dvit_chart *chart, struct dvit_markup *markup)
{
    struct axis x_axis, y_axis;
    size_t longest = 0;
    if (!find_axes(chart, &x_axis, &y_axis))
        return;
    add_y_axis(markup, &y_axis, chart);
    add_x_axis(markup, &x_axis, chart->x_label);
    for (size_t s = 0; s < chart->count; s++)
        longest = chart->series[s].count > longest ? chart->series[s].count : longest;
    for (size_t s = 0; s < chart->count; s++)
        add_series(markup, &chart->series[s], longest <= MAX_DOTTED_POINTS, &x_axis, &y_axis);
    for (size_t s = 0; s < chart->count; s++)
        add_labels(markup, &chart->series[s], &x_axis, &y_axis);
    for (size_t s = 0; s < chart->count; s++)
        if (has_trend(&chart->series[s]))
            add_trend(markup, &chart->series[s], &x_axis, &y_axis);
}

void dvit_chart_add_svg(const struct dvit_chart *chart, struct dvit_markup *markup)
{
    struct axis x_axis, y_axis;
    dvit_markup_add(markup, "<figure class=\"chart\">\n<figcaption>");
    dvit_markup_escape(markup, chart->title);
    dvit_markup_add(markup, "</figcaption>\n");
    if (!find_axes(chart, &x_axis, &y_axis)) {
        dvit_markup_add(markup, "<p class=\"note\">no values</p>\n</figure>\n");
        return;
    }
    dvit_markup_format(markup, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH,
                       HEIGHT);
    dvit_markup_escape(markup, chart->title);
    dvit_markup_add(markup, "\">\n");
    dvit_chart_add_drawing(chart, markup);
    dvit_markup_add(markup, "</svg>\n");
    add_legend(markup, chart);
    dvit_markup_add(markup, "</figure>\n");
}
