/* `dvit bench --data`: the accuracy of what is measured, and the plot of both. */
#ifndef DVIT_CLI_BENCH_ACCURACY_H
#define DVIT_CLI_BENCH_ACCURACY_H

#include "bench_results.h"

/* The accuracies of one model. */
struct cli_accuracies {
    int count;
    struct {
        const char *precision; /* as asked for */
        double keep, top1;
    } known[CLI_MAX_NUMBERS * (CLI_MAX_NUMBERS + 1)];
};
/* Evaluates the model at every precision that can run and every keep ratio; refused: [precisions]
 * what cannot. Returns an enum cli_exit. */
int cli_bench_evaluate(struct cli_accuracies *out, const struct dvit_model *model, const char *name,
                       const struct cli_options *options, const struct cli_keeps *keeps,
                       const bool *refused);
/* NaN where it is not known. */
double cli_accuracy_find(const struct cli_accuracies *accuracies, const char *precision,
                         double keep);

/* The rows as points; zeroed memory has none. */
struct cli_bench_points {
    int count, capacity;
    struct cli_bench_point {
        char line[96], label[16];
        double images_per_s, top1;
    } * items;
};
/* Whether there was memory. */
bool cli_bench_add_point(struct cli_bench_points *points, const struct cli_bench_row *row,
                         const struct cli_options *options);
int cli_bench_plot(const struct cli_bench_points *points, const char *path);

#endif
