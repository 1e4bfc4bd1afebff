/* Speed of models side by side: measured in turn, in rounds, in one process, so that a change of
 * the machine's clock or load meets all of them alike. */
#ifndef DVIT_CLI_THROUGHPUT_H
#define DVIT_CLI_THROUGHPUT_H

#include "dvit/infer.h"

enum { CLI_MAX_STREAMS = 64, CLI_MAX_ROUNDS = 1000 };

/* Of all runs of a lane: the time that so many of 100 runs did not exceed (nearest rank). */
struct cli_percentiles {
    size_t runs;
    double p50_s, p90_s, p99_s, max_s;
};

struct cli_lane {
    struct dvit_session *sessions[CLI_MAX_STREAMS]; /* borrowed; all run at once */
    int streams;                                    /* sessions that there are, at least 1 */
    const struct dvit_model *model;
    int batch;                    /* images per run */
    double latency_s;             /* result: mean time of a run, the median over the rounds */
    double images_per_s;          /* result: of all streams, streams × batch over latency_s */
    struct cli_percentiles times; /* result */
};

/* Measures `count` lanes in `rounds` (1 … CLI_MAX_ROUNDS) rounds of together `seconds` per lane.
 * What the pixels show does not matter to the time. Reports errors; returns an enum cli_exit. */
int cli_lanes_measure(struct cli_lane *lanes, int count, int rounds, double seconds);

/* About what prepared photographs are, −2 … 2. */
void cli_fill_noise(float *values, size_t count);
/* The middle of `count` values, which are sorted by this; of an even number, the mean of two. */
double cli_median(double *values, int count);

#endif
