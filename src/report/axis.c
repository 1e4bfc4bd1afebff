/* Draws axes: linear ones with round ticks, logarithmic ones with powers of ten. */
#include "report/axis.h"

#include <stdio.h>

enum { MAX_DECADE_TICKS = 6 };

/* ---- ranges ---- */

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

/* Smallest and largest x of drawn points; false if there is none. */
static bool find_x_range(const struct dvit_chart *chart, double *low, double *high)
{
    *low = INFINITY;
    *high = -INFINITY;
    for (size_t s = 0; s < chart->count; s++)
        for (size_t i = 0; i < chart->series[s].count; i++) {
            double x = dvit_series_x(&chart->series[s], i);
            if (!dvit_series_is_drawn(&chart->series[s], i) || (chart->log_x && x <= 0))
                continue;
            *low = fmin(*low, x);
            *high = fmax(*high, x);
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
static void choose_notation(struct dvit_axis *axis, bool percent)
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
static void pad_measured(struct dvit_axis *axis)
{
    double pad = 0.05 * (axis->high - axis->low);
    axis->low = axis->low >= 0 ? fmax(0, axis->low - pad) : axis->low - pad;
    axis->high += pad;
}

static struct dvit_axis make_x_axis(const struct dvit_chart *chart, double low, double high)
{
    struct dvit_axis axis = {.low = low, .high = high, .mark = ""};
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

static struct dvit_axis make_y_axis(const struct dvit_chart *chart, double low, double high)
{
    struct dvit_axis axis = {.low = low, .high = high, .mark = ""};
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

static struct dvit_axis make_log_axis(double low, double high)
{
    double pad = 0.03 * (high - low);
    return (struct dvit_axis){.log = true, .low = low - pad, .high = high + pad, .mark = ""};
}

bool dvit_chart_find_axes(const struct dvit_chart *chart, struct dvit_axis *x_axis,
                          struct dvit_axis *y_axis, bool *failed)
{
    double x_low, x_high, y_low, y_high;
    bool log;
    if (!find_x_range(chart, &x_low, &x_high) ||
        !dvit_chart_y_range(chart, &y_low, &y_high, &log, failed))
        return false;
    if (chart->log_x && log10(x_high) - log10(x_low) >= 0.5)
        *x_axis = make_log_axis(log10(x_low), log10(x_high));
    else
        *x_axis = make_x_axis(chart, x_low, x_high);
    *y_axis = log ? make_log_axis(y_low, y_high) : make_y_axis(chart, y_low, y_high);
    return true;
}

bool dvit_axis_has(const struct dvit_axis *axis, double value)
{
    return !axis->log || value > 0;
}

static double share_of(const struct dvit_axis *axis, double value)
{
    double at = axis->log ? log10(value) : value;
    return (at - axis->low) / (axis->high - axis->low);
}

double dvit_axis_x(const struct dvit_axis *axis, double value)
{
    return DVIT_PLOT_LEFT + share_of(axis, value) * DVIT_PLOT_WIDTH;
}

double dvit_axis_y(const struct dvit_axis *axis, double value)
{
    double y = DVIT_PLOT_TOP + (1 - share_of(axis, value)) * DVIT_PLOT_HEIGHT;
    return fmin(fmax(y, DVIT_PLOT_TOP - DVIT_PLOT_BEYOND),
                DVIT_PLOT_TOP + DVIT_PLOT_HEIGHT + DVIT_PLOT_BEYOND);
}

bool dvit_axis_is_beyond(const struct dvit_axis *axis, double value)
{
    double share = share_of(axis, value);
    return share > 1 + 1e-9 || share < -1e-9;
}

/* ---- drawing ---- */

static void add_tick_value(struct dvit_markup *markup, const struct dvit_axis *axis, double value)
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

void dvit_markup_position(struct dvit_markup *markup, const char *x_name, double x,
                          const char *y_name, double y)
{
    dvit_markup_format(markup, " %s=\"", x_name);
    dvit_markup_number(markup, x, 1);
    dvit_markup_format(markup, "\" %s=\"", y_name);
    dvit_markup_number(markup, y, 1);
    dvit_markup_add(markup, "\"");
}

void dvit_markup_line(struct dvit_markup *markup, const char *class, double x0, double y0,
                      double x1, double y1)
{
    dvit_markup_format(markup, "<line class=\"%s\"", class);
    dvit_markup_position(markup, "x1", x0, "y1", y0);
    dvit_markup_position(markup, "x2", x1, "y2", y1);
    dvit_markup_add(markup, "/>\n");
}

static void begin_x_tick(struct dvit_markup *markup, double x)
{
    double bottom = DVIT_PLOT_TOP + DVIT_PLOT_HEIGHT;
    dvit_markup_line(markup, "axis", x, bottom, x, bottom + 4);
    dvit_markup_add(markup, "<text class=\"middle\"");
    dvit_markup_position(markup, "x", x, "y", bottom + 17);
    dvit_markup_add(markup, ">");
}

static void begin_y_tick(struct dvit_markup *markup, double y)
{
    dvit_markup_line(markup, "grid", DVIT_PLOT_LEFT, y, DVIT_PLOT_LEFT + DVIT_PLOT_WIDTH, y);
    dvit_markup_add(markup, "<text class=\"end\"");
    dvit_markup_position(markup, "x", DVIT_PLOT_LEFT - 7, "y", y + 4);
    dvit_markup_add(markup, ">");
}

/* factor · 10^exponent, on an axis from 0.001 to 10000 as it is, on others as a power. */
static void add_power(struct dvit_markup *markup, const struct dvit_axis *axis, int factor,
                      int exponent)
{
    if (exponent == 0 || (axis->low > -3.5 && axis->high < 4.5)) {
        dvit_markup_number(markup, factor * pow(10, exponent), exponent < 0 ? -exponent : 0);
        return;
    }
    if (factor != 1)
        dvit_markup_format(markup, "%d·", factor);
    dvit_markup_add(markup, "10");
    add_superscript(markup, exponent);
}

/* Ticks at powers of ten; where those are few, at 2 and 5 times them too. */
static void add_log_ticks(struct dvit_markup *markup, const struct dvit_axis *axis, bool of_x)
{
    static const int factors[] = {1, 2, 5};
    int first = (int)floor(axis->low), last = (int)ceil(axis->high);
    int stride = (last - first + MAX_DECADE_TICKS - 1) / MAX_DECADE_TICKS;
    int used = axis->high - axis->low < 2.2 ? 3 : 1;
    for (int exponent = first; exponent <= last; exponent++)
        for (int f = 0; f < used; f++) {
            double value = factors[f] * pow(10, exponent);
            if (exponent % stride != 0 || dvit_axis_is_beyond(axis, value))
                continue;
            if (of_x)
                begin_x_tick(markup, dvit_axis_x(axis, value));
            else
                begin_y_tick(markup, dvit_axis_y(axis, value));
            add_power(markup, axis, factors[f], exponent);
            dvit_markup_add(markup, "</text>\n");
        }
}

/* Small ticks at 2 … 9 times the powers of ten: an axis of which one sees that it is logarithmic.
 */
static void add_minor_ticks(struct dvit_markup *markup, const struct dvit_axis *axis)
{
    double bottom = DVIT_PLOT_TOP + DVIT_PLOT_HEIGHT;
    if (axis->high - axis->low > 2 * MAX_DECADE_TICKS)
        return;
    for (double exponent = floor(axis->low); exponent <= axis->high; exponent++)
        for (int factor = 2; factor < 10; factor++) {
            double value = factor * pow(10, exponent), x = dvit_axis_x(axis, value);
            if (!dvit_axis_is_beyond(axis, value))
                dvit_markup_line(markup, "axis", x, bottom, x, bottom + 2);
        }
}

static void add_linear_x_ticks(struct dvit_markup *markup, const struct dvit_axis *axis)
{
    double first = ceil(axis->low / axis->step - 1e-6);
    double last = floor(axis->high / axis->step + 1e-6);
    for (double i = first; i <= last; i++) {
        begin_x_tick(markup, dvit_axis_x(axis, i * axis->step));
        add_tick_value(markup, axis, i * axis->step);
        dvit_markup_add(markup, "</text>\n");
    }
}

void dvit_markup_x_axis(struct dvit_markup *markup, const struct dvit_axis *axis,
                        const struct dvit_chart *chart)
{
    double bottom = DVIT_PLOT_TOP + DVIT_PLOT_HEIGHT;
    dvit_markup_line(markup, "axis", DVIT_PLOT_LEFT, bottom, DVIT_PLOT_LEFT + DVIT_PLOT_WIDTH,
                     bottom);
    if (axis->log) {
        add_log_ticks(markup, axis, true);
        add_minor_ticks(markup, axis);
    } else {
        add_linear_x_ticks(markup, axis);
    }
    dvit_markup_add(markup, "<text class=\"end\"");
    dvit_markup_position(markup, "x", DVIT_PLOT_LEFT + DVIT_PLOT_WIDTH, "y", DVIT_CHART_HEIGHT - 4);
    dvit_markup_add(markup, ">");
    dvit_markup_escape(markup, chart->x_label);
    if (axis->exponent && !*axis->mark) {
        dvit_markup_add(markup, " ×10");
        add_superscript(markup, axis->exponent);
    }
    dvit_markup_add(markup, "</text>\n");
}

void dvit_markup_y_axis(struct dvit_markup *markup, const struct dvit_axis *axis,
                        const struct dvit_chart *chart)
{
    double first = round(axis->low / axis->step), last = round(axis->high / axis->step);
    if (axis->log)
        add_log_ticks(markup, axis, false);
    for (double i = first; !axis->log && i <= last; i++) {
        begin_y_tick(markup, dvit_axis_y(axis, i * axis->step));
        add_tick_value(markup, axis, i * axis->step);
        dvit_markup_add(markup, "</text>\n");
    }
    dvit_markup_format(markup, "<text x=\"4\" y=\"10\">");
    if (chart->percent && axis->exponent == -2) {
        dvit_markup_add(markup, *chart->unit ? "% " : "%");
    } else if (axis->exponent && !*axis->mark) {
        dvit_markup_add(markup, "×10");
        add_superscript(markup, axis->exponent);
        dvit_markup_add(markup, " ");
    }
    dvit_markup_escape(markup, chart->unit);
    if (axis->log)
        dvit_markup_add(markup, *chart->unit ? ", logarithmic" : "logarithmic");
    dvit_markup_add(markup, "</text>\n");
}
