/* Which values an axis shows. A run that diverged, or a few steps that did, must not press all
 * other curves flat: values far beyond the middle nine tenths of a series are off the axis, and so
 * is a series far beyond the others. Nothing is left out of the drawing for it: curves.c draws such
 * values at the edge and says how far they went. */
#include "report/axis.h"

#include <stdlib.h>

enum { MIN_DECADES = 2 }; /* from the least to the greatest value, for a logarithmic axis */

/* How far beyond others a value or a series may be: in multiples of their spread, or in decades. */
static const double value_reach = 3, series_reach = 10, series_reach_decades = 3;
static const double tail = 0.05; /* of the values at either end that do not count as usual */
static const double most_unlogged = 0.05; /* share of values ≤ 0 with a logarithmic axis */

struct range {
    double low, high;
    size_t count; /* of values */
};

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The drawn values of a series, or their logarithms where they have any. */
static size_t collect(const struct dvit_series *series, bool log, double *values)
{
    size_t count = 0;
    for (size_t i = 0; i < series->count; i++) {
        double y = dvit_series_y(series, i);
        if (dvit_series_is_drawn(series, i) && (!log || y > 0))
            values[count++] = log ? log10(y) : y;
    }
    return count;
}

/* The range of ascending values, without outliers where `robust`. */
static struct range usual_range(const double *values, size_t count, bool log, bool robust)
{
    struct range range = {.count = count};
    if (count == 0)
        return range;
    range.low = values[0];
    range.high = values[count - 1];
    if (!robust)
        return range;
    double low = values[(size_t)ceil(tail * (double)(count - 1))];
    double high = values[(size_t)floor((1 - tail) * (double)(count - 1))];
    double spread = fmax(fabs(high - low), log ? 0.5 : fabs(values[count / 2]));
    double least = fmin(low, high) - value_reach * spread;
    double most = fmax(low, high) + value_reach * spread;
    size_t first = 0, last = count - 1;
    while (spread > 0 && values[first] < least)
        first++;
    while (spread > 0 && values[last] > most)
        last--;
    range.low = values[first];
    range.high = values[last];
    return range;
}

/* All ranges as one; where `robust`, but for series far above the lower half of them. */
static struct range unite(const struct range *ranges, const double *highs, size_t used,
                          size_t count, bool log, bool robust)
{
    struct range all = {INFINITY, -INFINITY, 0};
    if (used == 0)
        return all;
    double base = highs[(used - 1) / 2], base_low = base;
    for (size_t s = 0; s < count; s++)
        if (ranges[s].count && ranges[s].high <= base)
            base_low = fmin(base_low, ranges[s].low);
    double limit =
        base + (log ? series_reach_decades : series_reach * fmax(base - base_low, fabs(base)));
    if (!robust)
        limit = INFINITY;
    for (size_t s = 0; s < count; s++) {
        if (!ranges[s].count)
            continue;
        all.count += ranges[s].count;
        if (ranges[s].low <= limit)
            all.low = fmin(all.low, ranges[s].low);
        if (ranges[s].high <= limit)
            all.high = fmax(all.high, ranges[s].high);
    }
    return all;
}

/* The range of the chart's values, or of their logarithms. */
static struct range find_usual(const struct dvit_chart *chart, bool log, bool *failed)
{
    struct range all = {INFINITY, -INFINITY, 0};
    size_t longest = 0, used = 0;
    for (size_t s = 0; s < chart->count; s++)
        longest = chart->series[s].count > longest ? chart->series[s].count : longest;
    double *values = malloc((longest + 1) * sizeof *values);
    double *highs = malloc((chart->count + 1) * sizeof *highs);
    struct range *ranges = calloc(chart->count + 1, sizeof *ranges);
    if (values && highs && ranges) {
        for (size_t s = 0; s < chart->count; s++) {
            size_t count = collect(&chart->series[s], log, values);
            if (count)
                qsort(values, count, sizeof *values, compare_doubles);
            ranges[s] = usual_range(values, count, log, chart->robust);
            if (count)
                highs[used++] = ranges[s].high;
        }
        if (used)
            qsort(highs, used, sizeof *highs, compare_doubles);
        all = unite(ranges, highs, used, chart->count, log, chart->robust);
    } else {
        *failed = true;
    }
    free(values);
    free(highs);
    free(ranges);
    return all;
}

static struct range find_all(const struct dvit_chart *chart)
{
    struct range all = {INFINITY, -INFINITY, 0};
    for (size_t s = 0; s < chart->count; s++)
        for (size_t i = 0; i < chart->series[s].count; i++) {
            if (!dvit_series_is_drawn(&chart->series[s], i))
                continue;
            all.low = fmin(all.low, dvit_series_y(&chart->series[s], i));
            all.high = fmax(all.high, dvit_series_y(&chart->series[s], i));
            all.count++;
        }
    return all;
}

bool dvit_chart_y_range(const struct dvit_chart *chart, double *low, double *high, bool *log,
                        bool *failed)
{
    struct range all = find_all(chart), logs = {0};
    *log = false;
    if (all.count && chart->may_log)
        logs = find_usual(chart, true, failed);
    if (logs.count && (double)(all.count - logs.count) <= most_unlogged * (double)all.count &&
        logs.high - logs.low >= MIN_DECADES) {
        *log = true;
        all = logs;
    } else if (all.count && chart->robust) {
        all = find_usual(chart, false, failed);
    }
    *low = all.low;
    *high = all.high;
    return all.low <= all.high;
}
