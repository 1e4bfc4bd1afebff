/* Which charts a report shows of its runs, from their logs.
 *
 * A group is a set of quantities with one unit. Of one run, a group is one chart with a line per
 * quantity; of several runs, each quantity is a chart of its own with a line per run, so that
 * colours always mean one thing in a chart. */
#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "report/curves.h"

enum source { FROM_STEPS, FROM_EVALUATIONS };

struct quantity {
    enum source source;
    int column;
    const char *title; /* of its chart among several runs */
    const char *name;  /* of its line in a group's chart */
};

struct group {
    const char *title; /* of the chart of one run */
    const char *unit;
    bool percent, from_zero, noisy;
    int count;
    struct quantity quantities[2];
};

enum { GROUPS_BEFORE_KEEP = 2 }; /* loss and accuracy come first: what is asked first */

/* A group of one quantity of the step records. */
#define STEPS(title, unit, from_zero, noisy, column, name)                                         \
    {                                                                                              \
        title, unit, false, from_zero, noisy, 1,                                                   \
        {                                                                                          \
            {                                                                                      \
                FROM_STEPS, column, title, name                                                    \
            }                                                                                      \
        }                                                                                          \
    }

static const struct group groups[] = {
    STEPS("Loss", "", false, true, DVIT_STEP_LOSS, "loss"),
    {"Validation accuracy",
     "",
     true,
     false,
     false,
     2,
     {{FROM_EVALUATIONS, DVIT_EVALUATION_TOP1, "Validation accuracy, top 1", "top 1"},
      {FROM_EVALUATIONS, DVIT_EVALUATION_EMA_TOP1, "Validation accuracy, top 1 of averaged weights",
       "top 1, averaged weights"}}},
    {"Validation accuracy, top 5",
     "",
     true,
     false,
     false,
     1,
     {{FROM_EVALUATIONS, DVIT_EVALUATION_TOP5, "Validation accuracy, top 5", "top 5"}}},
    {"Validation loss",
     "nats",
     false,
     false,
     false,
     1,
     {{FROM_EVALUATIONS, DVIT_EVALUATION_LOSS, "Validation loss", "loss"}}},
    STEPS("Loss: classification", "nats", false, true, DVIT_STEP_LOSS_CLS, "classification"),
    STEPS("Loss: keep ratio", "", true, true, DVIT_STEP_LOSS_RATIO, "ratio"),
    STEPS("Loss: KL from the teacher", "nats", true, true, DVIT_STEP_LOSS_KL, "KL"),
    STEPS("Loss: token distillation", "", true, true, DVIT_STEP_LOSS_TOKEN, "token"),
    STEPS("Loss: auxiliary head", "nats", true, true, DVIT_STEP_LOSS_AUX, "auxiliary"),
    STEPS("Learning rate", "", true, false, DVIT_STEP_RATE, "rate"),
    STEPS("Learning rate of the backbone", "", true, false, DVIT_STEP_BACKBONE_RATE, "rate"),
    STEPS("Gradient norm", "", true, true, DVIT_STEP_GRADIENT_NORM, "norm"),
    STEPS("Throughput", "images/s", true, true, DVIT_STEP_IMAGES_PER_S, "training"),
};

/* What is being put together: lines with the memory behind them. */
struct draft {
    struct dvit_series *series; /* [capacity] */
    struct dvit_markup *names;  /* [capacity] owned texts */
    double *targets;            /* [capacity][2][2]: x and y of a horizontal line's ends */
    size_t count, capacity;
};

static enum dvit_status draft_create(struct draft *draft, size_t capacity, struct dvit_error *error)
{
    draft->series = calloc(capacity, sizeof *draft->series);
    draft->names = calloc(capacity, sizeof *draft->names);
    draft->targets = calloc(capacity, 4 * sizeof *draft->targets);
    draft->capacity = capacity;
    if (!draft->series || !draft->names || !draft->targets)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "charts: out of memory");
    return DVIT_OK;
}

static void draft_clear(struct draft *draft)
{
    for (size_t i = 0; i < draft->count; i++)
        dvit_markup_free(&draft->names[i]);
    draft->count = 0;
}

static void draft_free(struct draft *draft)
{
    draft_clear(draft);
    free(draft->series);
    free(draft->names);
    free(draft->targets);
}

/* A new line; its name is written into the returned markup before the chart is drawn. */
static struct dvit_series *add_line(struct draft *draft, int colour, struct dvit_markup **name)
{
    size_t index = draft->count++;
    draft->names[index] = (struct dvit_markup){0};
    draft->series[index] = (struct dvit_series){.colour = colour};
    *name = &draft->names[index];
    return &draft->series[index];
}

static void set_values(struct dvit_series *series, const struct dvit_records *records, int column)
{
    series->x = records->values; /* column 0 is the step in both kinds */
    series->y = records->values ? records->values + column : NULL;
    series->count = records->count;
    series->stride = (size_t)records->columns;
}

static void add_label(struct dvit_markup *markup, const struct dvit_page_run *run)
{
    dvit_markup_add_bytes(markup, run->label, run->label_length);
}

static void add_quantity(struct draft *draft, const struct dvit_page_run *run,
                         const struct quantity *quantity, bool noisy, int colour, bool by_run)
{
    struct dvit_markup *name;
    struct dvit_series *series = add_line(draft, colour, &name);
    set_values(series, quantity->source == FROM_STEPS ? &run->log.steps : &run->log.evaluations,
               quantity->column);
    series->noisy = noisy;
    if (!dvit_series_has_content(series)) {
        draft->count--; /* a dense run among dynamic ones has no keep ratio's loss */
        return;
    }
    if (by_run)
        add_label(name, run);
    else
        dvit_markup_add(name, quantity->name);
}

static void draw(struct draft *draft, struct dvit_chart *chart, struct dvit_markup *markup)
{
    chart->x_label = "step";
    chart->series = draft->series;
    chart->count = draft->count;
    for (size_t i = 0; i < draft->count; i++) {
        markup->failed = markup->failed || draft->names[i].failed;
        draft->series[i].name = draft->names[i].text ? draft->names[i].text : "";
    }
    if (!markup->failed && draft->count)
        dvit_chart_add_svg(chart, markup);
    draft_clear(draft);
}

/* Losses, norms and rates may be spread over decades. A rate is what was asked for, never an
 * outlier. */
static void choose_axis(const struct group *group, struct dvit_chart *chart)
{
    int column = group->quantities[0].column;
    bool of_steps = group->quantities[0].source == FROM_STEPS;
    bool rate = of_steps && (column == DVIT_STEP_RATE || column == DVIT_STEP_BACKBONE_RATE);
    chart->robust = !group->percent && !rate;
    chart->may_log = !group->percent && !(of_steps && column == DVIT_STEP_IMAGES_PER_S);
}

static void add_group(const struct group *group, const struct dvit_page_run *runs, size_t count,
                      struct draft *draft, struct dvit_markup *markup)
{
    struct dvit_chart chart = {.title = group->title, .unit = group->unit};
    chart.percent = group->percent;
    chart.from_zero = group->from_zero;
    choose_axis(group, &chart);
    for (int q = 0; q < group->count; q++) {
        const struct quantity *quantity = &group->quantities[q];
        for (size_t r = 0; r < count; r++)
            add_quantity(draft, &runs[r], quantity, group->noisy, count > 1 ? (int)r : q,
                         count > 1);
        if (count > 1) {
            chart.title = quantity->title;
            draw(draft, &chart, markup);
        }
    }
    if (count == 1)
        draw(draft, &chart, markup);
}

/* The kept share of one stage of one run, and what inference keeps, or the target, as a dashed line
 * of the same colour. */
static void add_stage(struct draft *draft, const struct dvit_page_run *run, int stage, int colour,
                      bool by_run)
{
    const struct dvit_records *steps = &run->log.steps;
    struct dvit_markup *name;
    if (stage >= run->log.stages || !steps->count)
        return;
    double *ends = draft->targets + 4 * draft->count;
    struct dvit_series *share = add_line(draft, colour, &name);
    set_values(share, steps, DVIT_STEP_KEEP + stage);
    share->noisy = true;
    if (by_run)
        add_label(name, run);
    else
        dvit_markup_format(name, "stage %d", stage + 1);
    bool counted = stage < run->kept_stages;
    if (!counted && isnan(run->keep))
        return;
    ends[0] = steps->values[0];
    ends[1] = steps->values[(steps->count - 1) * (size_t)steps->columns];
    ends[2] = ends[3] =
        counted ? (double)run->kept[stage] / run->patches : pow(run->keep, stage + 1);
    struct dvit_series *target = add_line(draft, colour, &name);
    target->x = ends;
    target->y = ends + 2;
    target->count = 2;
    target->stride = 1;
    target->target = true;
    if (counted)
        dvit_markup_format(name, "inference: %d of %d", run->kept[stage], run->patches);
    else
        dvit_markup_add(name, "target");
}

static void add_keep_charts(const struct dvit_page_run *runs, size_t count, struct draft *draft,
                            struct dvit_markup *markup)
{
    struct dvit_chart chart = {.title = "Patches kept in training", .unit = "", .percent = true};
    char title[64];
    for (int stage = 0; stage < DVIT_MAX_STAGES; stage++) {
        for (size_t r = 0; r < count; r++)
            add_stage(draft, &runs[r], stage, count > 1 ? (int)r : stage, count > 1);
        if (count > 1) {
            snprintf(title, sizeof title, "Patches kept in training, after stage %d", stage + 1);
            chart.title = title;
            draw(draft, &chart, markup);
        }
    }
    if (count == 1)
        draw(draft, &chart, markup);
}

enum dvit_status dvit_page_add_charts(const struct dvit_page_run *runs, size_t count,
                                      struct dvit_markup *markup, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct draft draft = {0};
    /* The fullest charts: stages with their targets of one run, or one line and target per run. */
    size_t most = count > DVIT_MAX_STAGES ? count : DVIT_MAX_STAGES;
    DVIT_TRY(draft_create(&draft, 2 * most, error));
    dvit_markup_add(markup, "<div class=\"charts\">\n");
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        if (g == GROUPS_BEFORE_KEEP)
            add_keep_charts(runs, count, &draft, markup);
        add_group(&groups[g], runs, count, &draft, markup);
    }
    dvit_markup_add(markup, "</div>\n");
done:
    draft_free(&draft);
    return status;
}
