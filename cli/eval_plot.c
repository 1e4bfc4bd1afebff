/* Accuracy against cost and speed: gathers points into lines; the drawing is dvit_report's. */
#include "eval_plot.h"

#include <stdlib.h>
#include <string.h>

#include "dvit/report.h"

/* What one axis shows of the points; lines in the order of their first points. */
struct gathered {
    struct dvit_plot_line lines[DVIT_MAX_PLOT_LINES];
    int line_count;
    double *x, *y; /* [count], line by line */
};

struct by_x {
    double x, y;
};

static int compare(const void *a, const void *b)
{
    const struct by_x *p = a, *q = b;
    return (p->x > q->x) - (p->x < q->x);
}

/* The points of one line, ascending; returns how many. */
static int gather_line(const struct cli_plot_point *points, int count, const char *name, bool speed,
                       struct by_x *out)
{
    int found = 0;
    for (int i = 0; i < count; i++)
        if (strcmp(points[i].line, name) == 0)
            out[found++] =
                (struct by_x){speed ? points[i].images_per_s : points[i].gmacs, points[i].top1};
    qsort(out, (size_t)found, sizeof *out, compare);
    return found;
}

static bool is_first(const struct cli_plot_point *points, int index)
{
    for (int i = 0; i < index; i++)
        if (strcmp(points[i].line, points[index].line) == 0)
            return false;
    return true;
}

/* False if there are more lines than a plot takes. */
static bool gather(struct gathered *out, const struct cli_plot_point *points, int count, bool speed,
                   struct by_x *sorted)
{
    int at = 0;
    for (int i = 0; i < count; i++) {
        if (!is_first(points, i))
            continue;
        if (out->line_count == DVIT_MAX_PLOT_LINES)
            return false;
        int found = gather_line(points, count, points[i].line, speed, sorted);
        out->lines[out->line_count++] =
            (struct dvit_plot_line){points[i].line, out->x + at, out->y + at, found, NULL};
        for (int k = 0; k < found; k++, at++) {
            out->x[at] = sorted[k].x;
            out->y[at] = sorted[k].y;
        }
    }
    return true;
}

int cli_plot_write(const char *path, const struct cli_plot_point *points, int count)
{
    struct dvit_error error = {0};
    struct gathered cost = {0}, speed = {0};
    double *numbers = calloc((size_t)count * 6, sizeof *numbers);
    int code = CLI_EXIT_FAILURE;
    if (!numbers) {
        cli_error("out of memory");
        return code;
    }
    struct by_x *sorted = (struct by_x *)(void *)(numbers + 4 * count);
    cost.x = numbers;
    cost.y = numbers + count;
    speed.x = numbers + 2 * count;
    speed.y = numbers + 3 * count;
    if (!gather(&cost, points, count, false, sorted) ||
        !gather(&speed, points, count, true, sorted)) {
        cli_error("\"%s\" is not written: more than %d lines", path, DVIT_MAX_PLOT_LINES);
    } else {
        struct dvit_plot plots[2] = {
            {"Accuracy and cost", "GMACs per image", "top-1", true, cost.lines, cost.line_count},
            {"Accuracy and speed", "images/s", "top-1", true, speed.lines, speed.line_count}};
        code =
            dvit_report_plots(path, plots, 2, &error) == DVIT_OK ? CLI_EXIT_OK : cli_fail(&error);
    }
    free(numbers);
    return code;
}
