/* One chart as inline SVG: axes with round ticks, a legend, lines over a common x axis. */
#ifndef DVIT_REPORT_CURVES_H
#define DVIT_REPORT_CURVES_H

#include <stdbool.h>
#include <stddef.h>

#include "report/markup.h"

struct dvit_series {
    const char *name; /* foreign text */
    const double *x;  /* [count], in the order in which points are joined */
    const double *y;  /* [count]; what is not finite, or beyond ±1e100, is a gap */
    size_t count;
    size_t stride;             /* doubles from one value to the next in x and in y */
    int colour;                /* ≥ 0; beyond the palette it begins anew with another dash */
    bool target;               /* drawn dashed, without dots, named "target" in the legend */
    const char *const *labels; /* [count]: foreign texts, one above each point; NULL: none */
    bool noisy; /* of many values, also their trend: the values step back behind it */
};

struct dvit_chart {
    const char *title;
    const char *x_label;
    const char *unit; /* may be "" */
    bool percent;     /* values are shares, shown as per cent */
    bool from_zero;   /* the y axis includes 0 */
    bool measured_x;  /* x is no count of steps: its axis begins where it likes, in any fractions */
    bool log_x;       /* x is positive and shown by its logarithm */
    bool may_log;     /* y is shown by its logarithm where it is positive and spread over decades */
    bool robust;      /* a few values, or a series, far beyond the others do not stretch the y axis:
                         they are drawn at its edge, and a note says so */
    double mark_x;    /* with `mark`: a vertical line here … */
    const char *mark; /* … with this foreign text; NULL: none */
    const struct dvit_series *series;
    size_t count;
};

/* The classes of a series' lines: "s2", "s2 d1" where the palette begins anew, "s2 d1 wide". */
void dvit_markup_series_class(struct dvit_markup *markup, int colour);

/* Whether there is a value to draw that is not 0. */
bool dvit_series_has_content(const struct dvit_series *series);
/* Width and height of a drawing, in SVG units. */
enum { DVIT_CHART_WIDTH = 400, DVIT_CHART_HEIGHT = 230 };

/* Axes and lines alone, as elements of an <svg> of that size; nothing where there are no values. */
void dvit_chart_add_drawing(const struct dvit_chart *chart, struct dvit_markup *markup);
/* A <figure>; a chart without finite values says so. */
void dvit_chart_add_svg(const struct dvit_chart *chart, struct dvit_markup *markup);

/* Distance of round ticks: the smallest 1, 2, 2.5 or 5 · 10^k that divides low … high (low < high)
 * into at most `wanted` intervals. */
double dvit_tick_step(double low, double high, int wanted);

#endif
