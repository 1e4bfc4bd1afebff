/* Shows what dvit_train_find_rate found: as a table with bars, as JSON, as a chart. */
#define _POSIX_C_SOURCE 200809L /* open_memstream */
#include "rate_search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dvit/report.h"
#include "json_lines.h"
#include "print.h"
#include "workbench.h"

enum { BAR = 50, SHOWN = 34 };

static void write_json(FILE *stream, const struct dvit_rate_curve *curve)
{
    const char *const names[] = {"learning_rate", "loss", "smoothed_loss"};
    const double *const columns[] = {curve->rates, curve->losses, curve->smoothed};
    struct cli_json json = cli_json_begin(stream);
    for (int c = 0; c < 3; c++) {
        cli_json_open(&json, names[c], '[');
        for (int i = 0; i < curve->count; i++)
            cli_json_real(&json, NULL, columns[c][i]);
        cli_json_close(&json, ']');
    }
    if (curve->suggestion > 0)
        cli_json_real(&json, "suggestion", curve->suggestion);
    else
        cli_json_string(&json, "suggestion", NULL);
    cli_json_end(&json);
}

/* The loss of a full bar. The end of a search, where the loss leaves all bounds, must not shorten
 * all other bars to nothing. */
static double full_bar(const struct dvit_rate_curve *curve)
{
    double largest = 0;
    for (int i = 0; i < curve->count; i++)
        largest = fmax(largest, curve->smoothed[i]);
    return curve->count > 0 ? fmin(largest, 2 * curve->smoothed[0]) : 0;
}

/* The row of the rate nearest to the suggestion; −1 without one. */
static int suggested_row(const struct dvit_rate_curve *curve, int stride)
{
    int nearest = -1;
    for (int i = 0; curve->suggestion > 0 && i < curve->count; i += stride)
        if (nearest < 0 || fabs(log(curve->rates[i] / curve->suggestion)) <
                               fabs(log(curve->rates[nearest] / curve->suggestion)))
            nearest = i;
    return nearest;
}

/* One row for each third of the steps, a bar as long as the smoothed loss. The rates grow by equal
 * factors. */
static void print_curve(const struct dvit_rate_curve *curve)
{
    int stride = (DVIT_RATE_STEPS + SHOWN - 1) / SHOWN, marked = suggested_row(curve, stride);
    double full = full_bar(curve);
    printf("learning rate   smoothed loss\n");
    for (int i = 0; i < curve->count; i += stride) {
        double share = full > 0 ? fmax(curve->smoothed[i] / full, 0) : 0;
        int length = (int)(BAR * fmin(share, 1) + .5);
        printf("%13.2e  %14.4f  ", curve->rates[i], curve->smoothed[i]);
        for (int k = 0; k < length; k++)
            putchar('#');
        cli_print("%s%s\n", share > 1.01 ? ">" : "", i == marked ? "  <- suggested" : "");
    }
    if (curve->suggestion > 0)
        printf("suggested: --lr %.2g, a tenth of where the loss was lowest\n", curve->suggestion);
    else
        printf("the loss never fell: no suggestion\n");
}

static int write_numbers(const char *folder, const struct dvit_rate_curve *curve)
{
    struct dvit_error error = {0};
    char *path = cli_path(folder, "find_lr.json"), *text = NULL;
    size_t length = 0;
    FILE *stream = path ? open_memstream(&text, &length) : NULL;
    int code = CLI_EXIT_FAILURE;
    if (stream)
        write_json(stream, curve);
    if (!stream || fclose(stream) != 0)
        cli_error("out of memory");
    else if (dvit_report_text(path, text, length, &error) != DVIT_OK)
        code = cli_fail(&error);
    else
        code = CLI_EXIT_OK;
    free(path);
    free(text);
    return code;
}

static int write_chart(const char *folder, const struct dvit_rate_curve *curve)
{
    struct dvit_error error = {0};
    char mark[64];
    const struct dvit_plot_line lines[2] = {
        {"loss", curve->rates, curve->losses, curve->count, NULL},
        {"smoothed", curve->rates, curve->smoothed, curve->count, NULL}};
    const struct dvit_plot plot = {.title = "loss while the learning rate grows",
                                   .x_label = "learning rate",
                                   .unit = "loss",
                                   .lines = lines,
                                   .line_count = 2};
    const struct dvit_plot_axes axes = {.log_x = true,
                                        .fit_y = true,
                                        .mark_x = curve->suggestion,
                                        .mark = curve->suggestion > 0 ? mark : NULL};
    snprintf(mark, sizeof mark, "suggested: %.2g", curve->suggestion);
    char *path = cli_path(folder, "find_lr.svg");
    int code = CLI_EXIT_OK;
    if (!path) {
        cli_error("out of memory");
        code = CLI_EXIT_FAILURE;
    } else if (dvit_report_plots_on(path, &plot, &axes, 1, &error) != DVIT_OK) {
        code = cli_fail(&error);
    } else {
        cli_note("chart: %s", path);
    }
    free(path);
    return code;
}

int cli_find_rate(const struct dvit_model *model, const struct dvit_model *teacher,
                  struct cli_training_data *data, const struct dvit_train_options *train,
                  const struct cli_options *options)
{
    struct dvit_error error = {0};
    struct dvit_rate_curve curve;
    int code = CLI_EXIT_OK;
    cli_note("up to %d steps at growing learning rates; the model is not changed", DVIT_RATE_STEPS);
    if (dvit_train_find_rate(&curve, model, teacher, data->train, train, NULL, &error) != DVIT_OK)
        return cli_fail(&error);
    if (options->json)
        write_json(stdout, &curve);
    else
        print_curve(&curve);
    code = write_numbers(train->out, &curve);
    return code == CLI_EXIT_OK && curve.count > 0 ? write_chart(train->out, &curve) : code;
}
