/* The report page: reads the run folders and puts tables, charts, pictures and settings together in
 * one HTML file that needs nothing else.
 *
 * Every element is closed as XML demands, so that a small checker can prove the page well-formed.
 * What a chart or a table looks like is decided in their own files. */
#include "dvit/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "base/file.h"
#include "report/page.h"
#include "report/table.h"

enum { MAX_CONFIG_BYTES = 4 << 20 };

/* ---- run folders ---- */

static void set_label(struct dvit_page_run *run, const struct dvit_report_run *source)
{
    run->label = source->label ? source->label : source->folder;
    run->label_length = strlen(run->label);
    if (source->label)
        return;
    while (run->label_length > 1 && run->label[run->label_length - 1] == '/')
        run->label_length--;
    size_t start = run->label_length;
    while (start > 0 && run->label[start - 1] != '/')
        start--;
    run->label += start;
    run->label_length -= start;
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Median of the finite images_per_s, NaN without any. */
static enum dvit_status measure_rate(struct dvit_page_run *run, struct dvit_error *error)
{
    const struct dvit_records *steps = &run->log.steps;
    double *values = malloc((steps->count + 1) * sizeof *values);
    size_t count = 0;
    if (!values)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", run->folder);
    for (size_t i = 0; i < steps->count; i++) {
        double value = steps->values[i * DVIT_STEP_COLUMNS + DVIT_STEP_IMAGES_PER_S];
        if (isfinite(value))
            values[count++] = value;
    }
    if (count)
        qsort(values, count, sizeof *values, compare_doubles);
    run->images_per_s = count ? 0.5 * values[count / 2] + 0.5 * values[(count - 1) / 2] : NAN;
    free(values);
    return DVIT_OK;
}

static enum dvit_status read_run(struct dvit_page_run *run, const struct dvit_report_run *source,
                                 struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    char *path = NULL;
    run->folder = source->folder;
    run->keep = NAN;
    set_label(run, source);
    DVIT_TRY(dvit_logged_run_read(&run->log, source->folder, error));
    DVIT_TRY(measure_rate(run, error));
    path = dvit_path_join(source->folder, "config.json");
    if (!path)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", source->folder);
    if (!dvit_file_exists(path))
        goto done;
    DVIT_TRY(dvit_file_read(path, MAX_CONFIG_BYTES, &run->config, &run->config_bytes, error));
    run->keep = dvit_page_read_keep(run->config, run->config_bytes);
    dvit_page_read_kept(run);
done:
    free(path);
    return status;
}

static void free_runs(struct dvit_page_run *runs, int count)
{
    for (int i = 0; runs && i < count; i++) {
        dvit_logged_run_free(&runs[i].log);
        free(runs[i].config);
    }
    free(runs);
}

/* ---- the page ---- */

/* When the runs were trained: the page's own date would make two pages of the same runs differ. */
static void add_date(const struct dvit_page_run *runs, int count, struct dvit_markup *markup)
{
    double first = INFINITY, last = -INFINITY;
    for (int i = 0; i < count; i++) {
        first = fmin(first, runs[i].log.first_s); /* NaN does not count */
        last = fmax(last, runs[i].log.last_s);
    }
    if (!(first <= last && first >= 0))
        return;
    dvit_markup_add(markup, "<p class=\"subtitle\">trained from ");
    dvit_page_add_time(markup, first);
    dvit_markup_add(markup, " to ");
    dvit_page_add_time(markup, last);
    dvit_markup_add(markup, " UTC</p>\n");
}

static void add_head(const struct dvit_report *report, const struct dvit_page_run *runs,
                     struct dvit_markup *markup)
{
    const char *title = report->title ? report->title : "dvit report";
    dvit_markup_add(markup,
                    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                    "img-src data:; style-src 'unsafe-inline'\"/>\n"
                    "<link rel=\"icon\" href=\"data:,\"/>\n<title>");
    dvit_markup_escape(markup, title);
    dvit_markup_add(markup, "</title>\n<style>\n");
    dvit_page_add_style(markup);
    dvit_markup_add(markup, "</style>\n</head>\n<body>\n<main>\n<header>\n<h1>");
    dvit_markup_escape(markup, title);
    dvit_markup_add(markup, "</h1>\n");
    if (report->subtitle) {
        dvit_markup_add(markup, "<p class=\"subtitle\">");
        dvit_markup_escape(markup, report->subtitle);
        dvit_markup_add(markup, "</p>\n");
    }
    add_date(runs, report->run_count, markup);
    dvit_markup_add(markup, "</header>\n");
}

static enum dvit_status add_tables(const struct dvit_report *report, struct dvit_markup *markup,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    for (int i = 0; i < report->table_count; i++) {
        DVIT_TRY(dvit_table_check(report->tables[i], error));
        dvit_page_add_table(report->tables[i], markup);
    }
done:
    return status;
}

static enum dvit_status add_picture(const struct dvit_report_picture *picture,
                                    struct dvit_markup *markup, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    unsigned char *png = NULL;
    size_t size;
    DVIT_TRY(dvit_image_encode_png(picture->image, &png, &size, error));
    dvit_markup_format(markup, "<figure class=\"picture\"><img width=\"%d\" height=\"%d\" alt=\"",
                       picture->image->width, picture->image->height);
    dvit_markup_escape(markup, picture->caption);
    dvit_markup_add(markup, "\" src=\"data:image/png;base64,");
    dvit_markup_base64(markup, png, size);
    dvit_markup_add(markup, "\"/>");
    if (picture->caption) {
        dvit_markup_add(markup, "<figcaption>");
        dvit_markup_escape(markup, picture->caption);
        dvit_markup_add(markup, "</figcaption>");
    }
    dvit_markup_add(markup, "</figure>\n");
done:
    free(png);
    return status;
}

static void add_configurations(const struct dvit_page_run *runs, int count,
                               struct dvit_markup *markup)
{
    dvit_markup_add(markup, "<section>\n<h2>Configuration</h2>\n");
    for (int i = 0; i < count; i++) {
        dvit_markup_add(markup, "<details><summary>");
        dvit_markup_escape(markup, runs[i].folder);
        dvit_markup_add(markup, "</summary>\n");
        if (runs[i].config)
            dvit_page_add_settings(runs[i].config, runs[i].config_bytes, markup);
        else
            dvit_markup_add(markup, "<p class=\"note\">The folder has no config.json.</p>\n");
        dvit_markup_add(markup, "</details>\n");
    }
    dvit_markup_add(markup, "</section>\n");
}

static enum dvit_status add_page(const struct dvit_report *report, const struct dvit_page_run *runs,
                                 struct dvit_markup *markup, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    add_head(report, runs, markup);
    DVIT_TRY(add_tables(report, markup, error));
    if (report->run_count) {
        dvit_markup_add(markup, "<section>\n<h2>Training</h2>\n");
        DVIT_TRY(dvit_page_add_summary(runs, report->run_count, markup, error));
        DVIT_TRY(dvit_page_add_charts(runs, (size_t)report->run_count, markup, error));
        dvit_markup_add(markup, "</section>\n");
        DVIT_TRY(dvit_page_add_kept(runs, (size_t)report->run_count, markup, error));
    }
    if (report->picture_count) {
        dvit_markup_add(markup, "<section>\n<h2>Pictures</h2>\n");
        for (int i = 0; i < report->picture_count; i++)
            DVIT_TRY(add_picture(&report->pictures[i], markup, error));
        dvit_markup_add(markup, "</section>\n");
    }
    if (report->run_count) {
        DVIT_TRY(dvit_page_add_environment(runs, (size_t)report->run_count, markup, error));
        add_configurations(runs, report->run_count, markup);
    }
    dvit_markup_format(markup, "<footer><p class=\"note\">dvit %s</p></footer>\n", dvit_version());
    dvit_markup_add(markup, "</main>\n</body>\n</html>\n");
done:
    return status;
}

static enum dvit_status check_report(const struct dvit_report *report, struct dvit_error *error)
{
    if (report->run_count < 0 || report->run_count > DVIT_MAX_REPORT_RUNS)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "report of %d runs, expected 0 … %d",
                              report->run_count, DVIT_MAX_REPORT_RUNS);
    if (report->table_count < 0 || report->table_count > DVIT_MAX_REPORT_ITEMS ||
        report->picture_count < 0 || report->picture_count > DVIT_MAX_REPORT_ITEMS)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "report of %d tables and %d pictures, expected 0 … %d of each",
                              report->table_count, report->picture_count, DVIT_MAX_REPORT_ITEMS);
    bool whole = (report->runs || !report->run_count) && (report->tables || !report->table_count) &&
                 (report->pictures || !report->picture_count);
    for (int i = 0; whole && i < report->run_count; i++)
        whole = report->runs[i].folder != NULL;
    for (int i = 0; whole && i < report->table_count; i++)
        whole = report->tables[i] != NULL;
    for (int i = 0; whole && i < report->picture_count; i++)
        whole = report->pictures[i].image != NULL;
    if (!whole)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "report of %d runs, %d tables and %d pictures, of which one is NULL",
                              report->run_count, report->table_count, report->picture_count);
    return DVIT_OK;
}

enum dvit_status dvit_report_html(const char *path, const struct dvit_report *report,
                                  struct dvit_error *error)
{
    DVIT_REQUIRE(error, path, report);
    enum dvit_status status = DVIT_OK;
    struct dvit_markup markup = {0};
    struct dvit_page_run *runs = NULL;
    char *text = NULL;
    size_t length;
    DVIT_TRY(check_report(report, error));
    runs = calloc((size_t)report->run_count + 1, sizeof *runs);
    if (!runs)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "report: out of memory");
    for (int i = 0; i < report->run_count; i++)
        DVIT_TRY(read_run(&runs[i], &report->runs[i], error));
    DVIT_TRY(add_page(report, runs, &markup, error));
    DVIT_TRY(dvit_markup_take(&markup, "report", &text, &length, error));
    DVIT_TRY(dvit_file_replace(path, text, length, error));
done:
    free(text);
    dvit_markup_free(&markup);
    free_runs(runs, report->run_count);
    return status;
}
