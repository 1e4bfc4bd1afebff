/* The details of an evaluation, as tables and as JSON. Counts come from the library. */
#include "eval_details.h"

#include <stdio.h>
#include <stdlib.h>

#include "workbench.h"

enum { SHOWN_CONFUSIONS = 20, SHOWN_UNREAD = 10 };

/* Per-class counts [classes] and the confusions; freed by the caller, also after a failure. */
struct details {
    struct dvit_class_counts *classes;
    struct dvit_confusion *confusions;
    size_t confusion_count, shown;
};

static int make_details(struct details *details, const struct dvit_evaluation *evaluation)
{
    struct dvit_error error = {0};
    *details = (struct details){0};
    details->classes = calloc((size_t)evaluation->classes, sizeof *details->classes);
    if (!details->classes) {
        cli_error("out of memory for %d classes", evaluation->classes);
        return CLI_EXIT_FAILURE;
    }
    dvit_evaluation_class_counts(evaluation, details->classes);
    if (dvit_evaluation_confusions(evaluation, &details->confusions, &details->confusion_count,
                                   &error) != DVIT_OK)
        return cli_fail(&error);
    details->shown = details->confusion_count < SHOWN_CONFUSIONS ? details->confusion_count
                                                                 : (size_t)SHOWN_CONFUSIONS;
    return CLI_EXIT_OK;
}

static void free_details(struct details *details)
{
    free(details->classes);
    free(details->confusions);
}

static double share(size_t part, size_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

static int print_classes(const struct dvit_evaluation *evaluation, const struct details *details)
{
    static const char *const headers[] = {"class", "index", "images", "top-1 %", "top-5 %"};
    bool top5 = evaluation->classes > DVIT_PREDICTION_TOP; /* else all are right by it */
    struct dvit_table *table = cli_table_create(headers, top5 ? 5 : 4, 1);
    int empty = 0;
    if (!table)
        return CLI_EXIT_FAILURE;
    for (int k = 0; k < evaluation->classes; k++) {
        const struct dvit_class_counts *counts = &details->classes[k];
        empty += counts->images == 0;
        if (counts->images == 0)
            continue;
        dvit_table_cell(table, "%s", evaluation->class_names[k]);
        dvit_table_cell(table, "%d", k);
        dvit_table_cell(table, "%zu", counts->images);
        dvit_table_cell(table, "%.2f", 100 * share(counts->top1, counts->images));
        if (top5)
            dvit_table_cell(table, "%.2f", 100 * share(counts->top5, counts->images));
    }
    int code = cli_table_print(table);
    if (empty)
        printf("%d of %d classes have no images here\n", empty, evaluation->classes);
    return code;
}

static int print_confusions(const struct dvit_evaluation *evaluation, const struct details *details)
{
    static const char *const headers[] = {"class", "answered as", "images", "of the class %"};
    if (details->shown == 0)
        return CLI_EXIT_OK;
    struct dvit_table *table = cli_table_create(headers, 4, 2);
    if (!table)
        return CLI_EXIT_FAILURE;
    printf("\nthe most frequent of %zu confusions\n", details->confusion_count);
    for (size_t i = 0; i < details->shown; i++) {
        const struct dvit_confusion *pair = &details->confusions[i];
        dvit_table_cell(table, "%s", evaluation->class_names[pair->label]);
        dvit_table_cell(table, "%s", evaluation->class_names[pair->answer]);
        dvit_table_cell(table, "%zu", pair->images);
        dvit_table_cell(table, "%.2f",
                        100 * share(pair->images, details->classes[pair->label].images));
    }
    return cli_table_print(table);
}

int cli_print_details(const struct dvit_evaluation *evaluation)
{
    struct details details;
    int code = make_details(&details, evaluation);
    if (code == CLI_EXIT_OK)
        code = print_classes(evaluation, &details);
    if (code == CLI_EXIT_OK)
        code = print_confusions(evaluation, &details);
    free_details(&details);
    return code;
}

static void json_class(struct cli_json *json, const struct dvit_evaluation *evaluation, int class,
                       const struct dvit_class_counts *counts)
{
    cli_json_open(json, NULL, '{');
    cli_json_integer(json, "class", class);
    cli_json_string(json, "label", evaluation->class_names[class]);
    cli_json_integer(json, "images", (long long)counts->images);
    cli_json_real(json, "top1", share(counts->top1, counts->images));
    cli_json_real(json, "top5", share(counts->top5, counts->images));
    cli_json_close(json, '}');
}

int cli_json_details(struct cli_json *json, const struct dvit_evaluation *evaluation)
{
    struct details details;
    int code = make_details(&details, evaluation);
    cli_json_open(json, "per_class", '[');
    for (int k = 0; code == CLI_EXIT_OK && k < evaluation->classes; k++)
        if (details.classes[k].images > 0)
            json_class(json, evaluation, k, &details.classes[k]);
    cli_json_close(json, ']');
    cli_json_open(json, "confusions", '[');
    for (size_t i = 0; code == CLI_EXIT_OK && i < details.shown; i++) {
        const struct dvit_confusion *pair = &details.confusions[i];
        cli_json_open(json, NULL, '{');
        cli_json_integer(json, "class", pair->label);
        cli_json_string(json, "label", evaluation->class_names[pair->label]);
        cli_json_integer(json, "answer", pair->answer);
        cli_json_string(json, "answer_label", evaluation->class_names[pair->answer]);
        cli_json_integer(json, "images", (long long)pair->images);
        cli_json_close(json, '}');
    }
    cli_json_close(json, ']');
    free_details(&details);
    return code;
}

void cli_note_unread(const struct dvit_evaluation *evaluation)
{
    size_t shown = evaluation->skipped < SHOWN_UNREAD ? evaluation->skipped : SHOWN_UNREAD;
    for (size_t i = 0; evaluation->unread && i < shown; i++)
        cli_note("left out: %s", evaluation->unread[i].message);
    if (evaluation->skipped > shown)
        cli_note("left out: %zu more; --predictions FILE names them all",
                 evaluation->skipped - shown);
}
