/* The results of `dvit bench`: one row for a model at a precision, a keep ratio, a batch size and a
 * number of streams. */
#ifndef DVIT_CLI_BENCH_RESULTS_H
#define DVIT_CLI_BENCH_RESULTS_H

#include "bench.h"

struct cli_bench_row {
    const char *name; /* of the model */
    struct cli_lane *lane;
    double matmul_gflops;     /* rate of this machine's matrix products on the model's shapes */
    double base_images_per_s; /* of the first row measured with it */
    double top1;              /* NaN: not asked for */
};

/* An empty table with the columns of cli_bench_add_row; NULL after an error that was reported. */
struct dvit_table *cli_bench_table(bool with_accuracy);
void cli_bench_add_row(struct dvit_table *table, const struct cli_bench_row *row,
                       bool with_accuracy);
/* As a line of JSON or CSV; the first one of a CSV table after the names. */
void cli_bench_print_row(const struct cli_bench_row *row, bool csv, bool first);

#endif
