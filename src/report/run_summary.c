/* The table of a page's runs: how far each came, how good it became, when, and how it ended. */
#define _POSIX_C_SOURCE 200809L /* gmtime_r */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/decimal.h"
#include "report/page.h"
#include "report/table.h"

/* The last finite value of a column, or NaN. */
static double column_last(const struct dvit_records *records, int column)
{
    for (size_t i = records->count; i > 0; i--) {
        double value = records->values[(i - 1) * (size_t)records->columns + (size_t)column];
        if (isfinite(value))
            return value;
    }
    return NAN;
}

/* Top-1 of the better of the trained and the averaged weights, as the trainer chooses. */
static double top_1(const double *evaluation)
{
    return fmax(evaluation[DVIT_EVALUATION_TOP1], evaluation[DVIT_EVALUATION_EMA_TOP1]);
}

/* The row with the best top-1, or NULL. */
static const double *best_evaluation(const struct dvit_records *records)
{
    const double *best = NULL;
    for (size_t i = 0; i < records->count; i++) {
        const double *row = records->values + i * (size_t)records->columns;
        if (isfinite(top_1(row)) && (!best || top_1(row) > top_1(best)))
            best = row;
    }
    return best;
}

static void add_number_cell(struct dvit_table *table, const char *format, double value)
    __attribute__((format(printf, 2, 0)));
static void add_number_cell(struct dvit_table *table, const char *format, double value)
{
    char text[400]; /* the largest double in "%.1f" has 310 digits */
    dvit_decimal_format(text, sizeof text, format, value);
    dvit_table_cell(table, "%s", isfinite(value) ? text : "–");
}

/* UTC, so that a page is the same wherever it is made. */
static void format_time(char text[32], double time_s)
{
    struct tm parts;
    time_t seconds = isfinite(time_s) ? (time_t)time_s : 0;
    if (!isfinite(time_s) || !gmtime_r(&seconds, &parts) ||
        !strftime(text, 32, "%Y-%m-%d %H:%M", &parts))
        snprintf(text, 32, "–");
}

void dvit_page_add_time(struct dvit_markup *markup, double time_s)
{
    char text[32];
    format_time(text, time_s);
    dvit_markup_add(markup, text);
}

static void add_duration_cell(struct dvit_table *table, const struct dvit_logged_run *log)
{
    long seconds = (long)log->trained_s;
    if (isnan(log->first_s))
        dvit_table_cell(table, "–");
    else if (seconds < 60)
        dvit_table_cell(table, "%ld s", seconds);
    else if (seconds < 3600)
        dvit_table_cell(table, "%ld min %ld s", seconds / 60, seconds % 60);
    else if (seconds < 48 * 3600)
        dvit_table_cell(table, "%ld h %ld min", seconds / 3600, seconds / 60 % 60);
    else
        dvit_table_cell(table, "%ld d %ld h", seconds / 86400, seconds / 3600 % 24);
}

/* After the last stage: the count of inference, or the share of training where that is all that
 * the folder states. */
static void add_kept_cell(struct dvit_table *table, const struct dvit_page_run *run)
{
    const struct dvit_logged_run *log = &run->log;
    double share = log->stages ? column_last(&log->steps, DVIT_STEP_KEEP + log->stages - 1) : NAN;
    int kept = run->kept_stages ? run->kept[run->kept_stages - 1] : 0;
    if (kept)
        dvit_table_cell(table, "%d of %d (%.0f %%)", kept, run->patches,
                        100.0 * kept / run->patches);
    else if (isfinite(share))
        dvit_table_cell(table, "%.1f %% in training", 100 * share);
    else
        dvit_table_cell(table, "–");
}

static const char *end_of(const struct dvit_page_run *run)
{
    return run->log.finished ? run->log.finished
                             : "no end was recorded: it is still running, or was killed";
}

static void add_run_row(struct dvit_table *table, const struct dvit_page_run *run)
{
    const struct dvit_logged_run *log = &run->log;
    const double *best = best_evaluation(&log->evaluations);
    char started[32];
    dvit_table_cell(table, "%.*s", (int)run->label_length, run->label);
    double done = column_last(&log->steps, DVIT_STEP_STEP);
    if (isfinite(done) && isfinite(log->total_steps))
        dvit_table_cell(table, "%.0f of %.0f", done, log->total_steps);
    else
        add_number_cell(table, "%.0f", done);
    add_number_cell(table, "%.2f %%", best ? 100 * top_1(best) : NAN);
    add_number_cell(table, "%.0f", best ? best[DVIT_EVALUATION_STEP] : NAN);
    add_number_cell(table, "%.4g", column_last(&log->steps, DVIT_STEP_LOSS));
    add_kept_cell(table, run);
    add_number_cell(table, "%.4g", run->images_per_s);
    add_number_cell(table, "%.0f", column_last(&log->steps, DVIT_STEP_BAD_STEPS));
    dvit_table_cell(table, "%zu", log->skipped);
    format_time(started, log->first_s);
    dvit_table_cell(table, "%s", started);
    add_duration_cell(table, log);
    const char *end = end_of(run);
    dvit_table_cell(table, "%.*s", (int)strcspn(end, ":;"), end);
}

/* Why it ended, where that is more than a few words. */
static void add_end(const struct dvit_page_run *run, struct dvit_markup *markup)
{
    struct dvit_markup label = {0};
    const char *end = end_of(run);
    if (!end[strcspn(end, ":;")])
        return;
    dvit_markup_add_bytes(&label, run->label, run->label_length);
    markup->failed = markup->failed || label.failed;
    dvit_markup_add(markup, "<p class=\"note\"><b>");
    dvit_markup_escape(markup, label.text);
    dvit_markup_add(markup, "</b>: ");
    dvit_markup_escape(markup, end);
    dvit_markup_add(markup, ".</p>\n");
    dvit_markup_free(&label);
}

/* Lines of the log that could not be read. */
static void add_damage(const struct dvit_page_run *run, struct dvit_markup *markup)
{
    size_t damaged = run->log.damaged;
    if (!damaged)
        return;
    dvit_markup_add(markup, "<p class=\"note\">");
    dvit_markup_escape(markup, run->folder);
    dvit_markup_format(markup, "/log.jsonl: %zu %s could not be read and %s left out.</p>\n",
                       damaged, damaged == 1 ? "line" : "lines", damaged == 1 ? "was" : "were");
}

void dvit_page_add_table(const struct dvit_table *table, struct dvit_markup *markup)
{
    dvit_markup_add(markup, DVIT_PAGE_SCROLL);
    dvit_table_add_html(table, markup);
    dvit_markup_add(markup, "</div>\n");
}

enum dvit_status dvit_page_add_summary(const struct dvit_page_run *runs, int count,
                                       struct dvit_markup *markup, struct dvit_error *error)
{
    static const struct dvit_table_column columns[] = {
        {"Run", DVIT_ALIGN_LEFT},         {"Steps", DVIT_ALIGN_RIGHT},
        {"Best top 1", DVIT_ALIGN_RIGHT}, {"at step", DVIT_ALIGN_RIGHT},
        {"Last loss", DVIT_ALIGN_RIGHT},  {"Patches kept", DVIT_ALIGN_RIGHT},
        {"Images/s", DVIT_ALIGN_RIGHT},   {"Bad steps", DVIT_ALIGN_RIGHT},
        {"Skipped", DVIT_ALIGN_RIGHT},    {"Started (UTC)", DVIT_ALIGN_LEFT},
        {"Duration", DVIT_ALIGN_RIGHT},   {"How it ended", DVIT_ALIGN_LEFT},
    };
    enum dvit_status status = DVIT_OK;
    struct dvit_table *table = NULL;
    bool counted = false;
    DVIT_TRY(
        dvit_table_create(&table, NULL, columns, (int)(sizeof columns / sizeof *columns), error));
    for (int i = 0; i < count; i++) {
        add_run_row(table, &runs[i]);
        counted = counted || runs[i].kept_stages;
    }
    DVIT_TRY(dvit_table_check(table, error));
    dvit_page_add_table(table, markup);
    if (counted)
        dvit_markup_add(markup,
                        "<p class=\"note\">Patches kept: by inference, after the last stage. "
                        "Training draws its decisions, so its shares, in the charts, "
                        "differ.</p>\n");
    for (int i = 0; i < count; i++) {
        add_end(&runs[i], markup);
        add_damage(&runs[i], markup);
    }
done:
    dvit_table_free(table);
    return status;
}
