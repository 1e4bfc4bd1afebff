/* Plots in a file of their own: charts side by side over one legend, as SVG that a browser or a
 * Markdown page shows. What a chart looks like is curves.c's; here are the sheet, its colours,
 * light and dark, and the legend. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "dvit/report.h"
#include "report/curves.h"
#include "report/palette.h"

/* In SVG units. */
enum { MARGIN = 16, TITLE = 30, GAP = 24, ROW = 22, KEY = 38, COLUMN = 190, DROP = 12 };

static const char rules[] =
    "text{font:13px system-ui,-apple-system,\"Segoe UI\",Roboto,\"DejaVu Sans\",sans-serif;"
    "fill:#5f6772}\n"
    ".title{font-weight:600;font-size:15px}\n"
    ".title,.name{fill:#1a1d21}\n"
    ".label{font-size:11px}\n"
    ".paper{fill:#fff}\n"
    ".end{text-anchor:end}\n"
    ".middle{text-anchor:middle}\n"
    ".axis{stroke:#5f6772}\n"
    ".grid{stroke:#e1e4e8}\n"
    "path{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}"
    "\n" DVIT_SERIES_DASH_RULES ".mark{stroke:#1a1d21;stroke-dasharray:3 3}\n"
    "@media(prefers-color-scheme:dark){text{fill:#9aa3ad}.title,.name{fill:#e6e8eb}"
    ".paper{fill:#14171a}.mark{stroke:#e6e8eb}.axis{stroke:#9aa3ad}.grid{stroke:#30363d}}\n";

static void add_style(struct dvit_markup *markup)
{
    static const char *const colours[DVIT_SERIES_COLOURS] = DVIT_SERIES_PALETTE;
    dvit_markup_add(markup, "<style>\n");
    dvit_markup_add(markup, rules);
    for (int i = 0; i < DVIT_SERIES_COLOURS; i++)
        dvit_markup_format(markup, ".s%d path{stroke:%s}.s%d circle{fill:%s}\n", i, colours[i], i,
                           colours[i]);
    dvit_markup_add(markup, "</style>\n");
}

static enum dvit_status check(const struct dvit_plot *plots, int count, struct dvit_error *error)
{
    if (count < 1 || count > DVIT_MAX_PLOTS)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "%d plots, expected 1 to %d", count,
                              DVIT_MAX_PLOTS);
    for (int p = 0; p < count; p++)
        if (plots[p].line_count < 1 || plots[p].line_count > DVIT_MAX_PLOT_LINES)
            return dvit_error_set(
                error, DVIT_ERROR_ARGUMENT, "plot \"%s\" has %d lines, expected 1 to %d",
                plots[p].title ? plots[p].title : "", plots[p].line_count, DVIT_MAX_PLOT_LINES);
    for (int p = 0; p < count; p++) {
        if (!plots[p].lines || !plots[p].title || !plots[p].x_label || !plots[p].unit)
            return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                                  "plot %d has NULL for a text or lines", p);
        for (int i = 0; i < plots[p].line_count; i++)
            if (!plots[p].lines[i].name || !plots[p].lines[i].x || !plots[p].lines[i].y ||
                plots[p].lines[i].count < 0)
                return dvit_error_set(
                    error, DVIT_ERROR_ARGUMENT,
                    "plot \"%s\": line %d has NULL for name, x or y, or %d points", plots[p].title,
                    i, plots[p].lines[i].count);
    }
    return DVIT_OK;
}

static void add_plot(struct dvit_markup *markup, const struct dvit_plot *plot,
                     const struct dvit_plot_axes *axes, int left)
{
    struct dvit_series series[DVIT_MAX_PLOT_LINES];
    struct dvit_chart chart = {.title = plot->title,
                               .x_label = plot->x_label,
                               .unit = plot->unit,
                               .percent = plot->percent,
                               .measured_x = true,
                               .log_x = axes->log_x,
                               .may_log = axes->fit_y,
                               .robust = axes->fit_y,
                               .mark_x = axes->mark_x,
                               .mark = axes->mark,
                               .series = series,
                               .count = (size_t)plot->line_count};
    for (int i = 0; i < plot->line_count; i++)
        series[i] = (struct dvit_series){.name = plot->lines[i].name,
                                         .x = plot->lines[i].x,
                                         .y = plot->lines[i].y,
                                         .count = (size_t)plot->lines[i].count,
                                         .labels = plot->lines[i].labels,
                                         .stride = 1,
                                         .colour = i};
    dvit_markup_format(markup, "<text class=\"title\" x=\"%d\" y=\"%d\">", left, MARGIN + 12);
    dvit_markup_escape(markup, plot->title);
    dvit_markup_format(markup, "</text>\n<g transform=\"translate(%d %d)\">\n", left,
                       MARGIN + TITLE);
    dvit_chart_add_drawing(&chart, markup);
    dvit_markup_add(markup, "</g>\n");
}

/* The names of the first plot's lines; all plots have the same. */
static void add_legend(struct dvit_markup *markup, const struct dvit_plot *plot, int top,
                       int columns)
{
    for (int i = 0; i < plot->line_count; i++) {
        int x = MARGIN + i % columns * COLUMN, y = top + i / columns * ROW;
        dvit_markup_add(markup, "<g class=\"");
        dvit_markup_series_class(markup, i);
        dvit_markup_format(markup,
                           "\"><path d=\"M%d %dL%d %d\"/><circle cx=\"%d\" cy=\"%d\" "
                           "r=\"2.6\"/></g><text class=\"name\" x=\"%d\" y=\"%d\">",
                           x, y, x + KEY - 6, y, x + (KEY - 6) / 2, y, x + KEY, y + 4);
        dvit_markup_escape(markup, plot->lines[i].name);
        dvit_markup_add(markup, "</text>\n");
    }
}

enum dvit_status dvit_report_text(const char *path, const char *text, size_t length,
                                  struct dvit_error *error)
{
    DVIT_REQUIRE(error, path);
    if (length > 0)
        DVIT_REQUIRE(error, text);
    return dvit_file_replace(path, text, length, error);
}

enum dvit_status dvit_report_plots(const char *path, const struct dvit_plot *plots, int count,
                                   struct dvit_error *error)
{
    DVIT_REQUIRE(error, path, plots);
    static const struct dvit_plot_axes usual[DVIT_MAX_PLOTS];
    return dvit_report_plots_on(path, plots, usual, count, error);
}

enum dvit_status dvit_report_plots_on(const char *path, const struct dvit_plot *plots,
                                      const struct dvit_plot_axes *axes, int count,
                                      struct dvit_error *error)
{
    DVIT_REQUIRE(error, path, plots, axes);
    enum dvit_status status = DVIT_OK;
    struct dvit_markup markup = {0};
    char *text = NULL;
    size_t length = 0;
    DVIT_TRY(check(plots, count, error));
    int width = 2 * MARGIN + count * DVIT_CHART_WIDTH + (count - 1) * GAP;
    int columns = (width - 2 * MARGIN) / COLUMN;
    int top = MARGIN + TITLE + DVIT_CHART_HEIGHT + DROP + ROW / 2;
    int height = top + (plots[0].line_count + columns - 1) / columns * ROW + MARGIN / 2;
    dvit_markup_format(&markup,
                       "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                       "viewBox=\"0 0 %d %d\">\n",
                       width, height, width, height);
    add_style(&markup);
    dvit_markup_format(&markup, "<rect class=\"paper\" width=\"%d\" height=\"%d\"/>\n", width,
                       height);
    for (int p = 0; p < count; p++)
        add_plot(&markup, &plots[p], &axes[p], MARGIN + p * (DVIT_CHART_WIDTH + GAP));
    add_legend(&markup, &plots[0], top, columns);
    dvit_markup_add(&markup, "</svg>\n");
    DVIT_TRY(dvit_markup_take(&markup, "plots", &text, &length, error));
    DVIT_TRY(dvit_file_replace(path, text, length, error));
done:
    free(text);
    dvit_markup_free(&markup);
    return status;
}
