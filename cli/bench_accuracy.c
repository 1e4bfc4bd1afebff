/* Accuracy beside speed. A data set is opened for each model, whose class indices its labels are;
 * every precision and keep ratio then sees the same images, in a session of its own. */
#include "bench_accuracy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dvit/eval.h"
#include "dvit/report.h"
#include "image_list.h"

enum { BATCH = 32 };

static int open_data(struct dvit_dataset **out, const struct dvit_model *model,
                     const struct cli_options *options)
{
    struct dvit_error error = {0};
    struct dvit_dataset_options data = dvit_dataset_options_default();
    const char *warning;
    data.scene_side = dvit_model_config(model)->image_width;
    data.labels_file = options->labels_file;
    if (dvit_dataset_open_for(out, model, options->data, options->split, &data, &error) != DVIT_OK)
        return cli_fail(&error);
    for (size_t i = 0; (warning = dvit_dataset_warning(*out, i)) != NULL; i++)
        cli_note("warning: %s", warning);
    return CLI_EXIT_OK;
}

static int evaluate(double *top1, const struct dvit_model *model, const char *name,
                    struct dvit_dataset *set, const struct cli_options *options, double keep)
{
    struct dvit_error error = {0};
    struct dvit_session *session = NULL;
    struct dvit_evaluation evaluation = {0};
    struct cli_counter counter = {.what = name};
    struct dvit_evaluate_options evaluate = {
        .batch = BATCH, .workers = cli_readers(options), .limit = (size_t)options->limit};
    int code = cli_session_create(&session, model, options, keep, BATCH);
    if (code == CLI_EXIT_OK && dvit_evaluate(session, model, set, &evaluate, cli_progress_count,
                                             &counter, &evaluation, &error) != DVIT_OK)
        code = cli_fail(&error);
    cli_progress_clear();
    if (evaluation.skipped)
        cli_note("warning: %zu images could not be read and are left out", evaluation.skipped);
    if (evaluation.unanswered)
        cli_note("warning: no answer to %zu of %zu images: the model's logits are not finite; they "
                 "count as wrong",
                 evaluation.unanswered, evaluation.images);
    *top1 = evaluation.top1;
    dvit_evaluation_free(&evaluation);
    dvit_session_free(session);
    return code;
}

int cli_bench_evaluate(struct cli_accuracies *out, const struct dvit_model *model, const char *name,
                       const struct cli_options *options, const struct cli_keeps *keeps,
                       const bool *refused)
{
    struct dvit_dataset *set = NULL;
    int code = open_data(&set, model, options);
    out->count = 0;
    for (int p = 0; p < options->precisions.count; p++)
        for (int k = 0; code == CLI_EXIT_OK && k < keeps->count && !refused[p]; k++) {
            struct cli_options own = *options;
            own.precision = options->precisions.values[p];
            double top1 = NAN;
            code = evaluate(&top1, model, name, set, &own, keeps->values[k]);
            out->known[out->count].precision = own.precision;
            out->known[out->count].keep = keeps->values[k];
            out->known[out->count++].top1 = top1;
        }
    dvit_dataset_free(set);
    return code;
}

double cli_accuracy_find(const struct cli_accuracies *accuracies, const char *precision,
                         double keep)
{
    for (int i = 0; i < accuracies->count; i++)
        if (accuracies->known[i].keep == keep &&
            strcmp(accuracies->known[i].precision, precision) == 0)
            return accuracies->known[i].top1;
    return NAN;
}

/* What the row's points have in common, and no more than tells them from others. */
static void name_line(char line[96], const struct cli_bench_row *row,
                      const struct cli_options *options)
{
    struct dvit_session_info info = dvit_session_describe(row->lane->sessions[0]);
    const char *slash = strrchr(row->name, '/');
    char batch[32] = "", streams[32] = "";
    if (options->batches.count > 1)
        snprintf(batch, sizeof batch, ", batch %d", row->lane->batch);
    if (options->streams.count > 1)
        snprintf(streams, sizeof streams, ", %d streams", row->lane->streams);
    if (options->models.count > 1)
        snprintf(line, 96, "%.40s %s%s%s", slash ? slash + 1 : row->name, info.precision, batch,
                 streams);
    else
        snprintf(line, 96, "%s%s%s", info.precision, batch, streams);
}

bool cli_bench_add_point(struct cli_bench_points *points, const struct cli_bench_row *row,
                         const struct cli_options *options)
{
    if (points->count == points->capacity) {
        int capacity = 2 * points->capacity + 16;
        struct cli_bench_point *grown =
            realloc(points->items, (size_t)capacity * sizeof *points->items);
        if (!grown)
            return false;
        points->items = grown;
        points->capacity = capacity;
    }
    struct cli_bench_point *point = &points->items[points->count++];
    name_line(point->line, row, options);
    snprintf(point->label, sizeof point->label, "%g",
             dvit_session_describe(row->lane->sessions[0]).keep);
    point->images_per_s = row->lane->images_per_s;
    point->top1 = row->top1;
    return true;
}

/* The points of one line, in the order of the rows; returns how many. */
static int gather_line(const struct cli_bench_points *points, const char *name, double *x,
                       double *y, const char **labels)
{
    int found = 0;
    for (int i = 0; i < points->count; i++)
        if (strcmp(points->items[i].line, name) == 0) {
            x[found] = points->items[i].images_per_s;
            y[found] = points->items[i].top1;
            labels[found++] = points->items[i].label;
        }
    return found;
}

static bool is_first(const struct cli_bench_points *points, int index)
{
    for (int i = 0; i < index; i++)
        if (strcmp(points->items[i].line, points->items[index].line) == 0)
            return false;
    return true;
}

static int draw(const struct cli_bench_points *points, const char *path, double *x, double *y,
                const char **labels)
{
    struct dvit_error error = {0};
    struct dvit_plot_line lines[DVIT_MAX_PLOT_LINES];
    struct dvit_plot plot = {
        "Accuracy and speed at each keep ratio", "images/s", "top-1", true, lines, 0};
    for (int i = 0, at = 0; i < points->count; i++) {
        if (!is_first(points, i))
            continue;
        if (plot.line_count == DVIT_MAX_PLOT_LINES) {
            cli_error("\"%s\" is not written: more than %d lines", path, DVIT_MAX_PLOT_LINES);
            return CLI_EXIT_FAILURE;
        }
        const char *name = points->items[i].line;
        int found = gather_line(points, name, x + at, y + at, labels + at);
        lines[plot.line_count++] =
            (struct dvit_plot_line){name, x + at, y + at, found, labels + at};
        at += found;
    }
    return dvit_report_plots(path, &plot, 1, &error) == DVIT_OK ? CLI_EXIT_OK : cli_fail(&error);
}

int cli_bench_plot(const struct cli_bench_points *points, const char *path)
{
    size_t count = (size_t)points->count + 1;
    double *numbers = calloc(2 * count, sizeof *numbers);
    const char **labels = calloc(count, sizeof *labels);
    int code = CLI_EXIT_FAILURE;
    if (numbers && labels)
        code = draw(points, path, numbers, numbers + count, labels);
    else
        cli_error("out of memory");
    free(numbers);
    free(labels);
    return code;
}
