/* What the measurements of `dvit bench` share. */
#ifndef DVIT_CLI_BENCH_H
#define DVIT_CLI_BENCH_H

#include "throughput.h"
#include "workbench.h"

/* Keep ratios to measure a model at: 1 where it is dense, those given, the model's own, 0.7 for
 * random weights. The dense path comes first. */
struct cli_keeps {
    int count;
    double values[CLI_MAX_NUMBERS + 1];
};
struct cli_keeps cli_bench_keeps(const char *name, const struct cli_options *options);
/* Opens a model that can run at them; where none were given, *keeps learns the model's own. */
int cli_bench_open(struct dvit_model **out, const char *name, const struct cli_options *options,
                   struct cli_keeps *keeps);

/* The rate of matrix products alone at a session's precision, by `threads` threads; asked once for
 * each precision of a model. Returns an enum cli_exit. */
struct cli_rates {
    int count;
    struct {
        const char *precision;
        double gflops;
    } known[CLI_MAX_NUMBERS];
};
int cli_bench_rate(struct cli_rates *rates, const struct dvit_model *model,
                   const struct dvit_session *session, int threads, double seconds, double *gflops);

/* The threads of all streams together. */
int cli_bench_threads(const struct cli_options *options);
/* First lines of a table: dvit, the machine and `how` it was measured. */
void cli_bench_print_machine(const struct cli_options *options, const char *how);
/* The largest resident size of this process so far, in bytes. */
double cli_peak_bytes(void);

/* The other things that can be measured. Each prints and returns an enum cli_exit. */
int cli_bench_profile(const struct cli_options *options);
int cli_bench_start(const struct cli_options *options);
int cli_bench_training(const struct cli_options *options);

#endif
