/* Axes of a chart: which values they show, round ticks, and where a value lies. */
#ifndef DVIT_REPORT_AXIS_H
#define DVIT_REPORT_AXIS_H

#include <math.h>

#include "report/curves.h"

/* The chart in SVG units; about CSS pixels at its natural size. */
enum {
    DVIT_PLOT_LEFT = 46,
    DVIT_PLOT_RIGHT = 16,
    DVIT_PLOT_TOP = 20,
    DVIT_PLOT_BOTTOM = 38,
    DVIT_PLOT_WIDTH = DVIT_CHART_WIDTH - DVIT_PLOT_LEFT - DVIT_PLOT_RIGHT,
    DVIT_PLOT_HEIGHT = DVIT_CHART_HEIGHT - DVIT_PLOT_TOP - DVIT_PLOT_BOTTOM,
    DVIT_PLOT_BEYOND = 3 /* from the plot to a value that is off the axis */
};

struct dvit_axis {
    bool log;         /* equal factors are equal distances */
    double low, high; /* values, or their decimal logarithms */
    double step;      /* between ticks; of no meaning on a logarithmic axis */
    int exponent;     /* ticks are shown divided by 10^exponent … */
    const char *mark; /* … and followed by this ("k", "M" or ""), else it stands in the unit */
};

static inline double dvit_series_x(const struct dvit_series *series, size_t i)
{
    return series->x[i * series->stride];
}

static inline double dvit_series_y(const struct dvit_series *series, size_t i)
{
    return series->y[i * series->stride];
}

/* Whether both are finite, and so small that differences and squares stay finite. */
static inline bool dvit_point_is_drawn(double x, double y)
{
    return fabs(x) <= 1e100 && fabs(y) <= 1e100; /* false of NaN */
}

static inline bool dvit_series_is_drawn(const struct dvit_series *series, size_t i)
{
    return dvit_point_is_drawn(dvit_series_x(series, i), dvit_series_y(series, i));
}

/* The y values that a chart shows: all of them, or those without outliers (chart->robust).
 * *log: as logarithms, because they are spread over decades (chart->may_log). False where there are
 * no values. *failed is set where memory is out. */
bool dvit_chart_y_range(const struct dvit_chart *chart, double *low, double *high, bool *log,
                        bool *failed);

/* Both axes; false where nothing can be drawn. */
bool dvit_chart_find_axes(const struct dvit_chart *chart, struct dvit_axis *x_axis,
                          struct dvit_axis *y_axis, bool *failed);

/* Whether the axis has a place for a value: a logarithmic one has none for 0. */
bool dvit_axis_has(const struct dvit_axis *axis, double value);
/* That place in SVG units. A y beyond the axis lies DVIT_PLOT_BEYOND outside of the plot. */
double dvit_axis_x(const struct dvit_axis *axis, double value);
double dvit_axis_y(const struct dvit_axis *axis, double value);
/* Whether a y value is above or below all that the axis shows. */
bool dvit_axis_is_beyond(const struct dvit_axis *axis, double value);

/* x and y coordinate of an SVG element: ` x="…" y="…"` with the given attribute names. */
void dvit_markup_position(struct dvit_markup *markup, const char *x_name, double x,
                          const char *y_name, double y);
void dvit_markup_line(struct dvit_markup *markup, const char *class, double x0, double y0,
                      double x1, double y1);
void dvit_markup_x_axis(struct dvit_markup *markup, const struct dvit_axis *axis,
                        const struct dvit_chart *chart);
void dvit_markup_y_axis(struct dvit_markup *markup, const struct dvit_axis *axis,
                        const struct dvit_chart *chart);

#endif
