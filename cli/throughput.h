/* Speed of models side by side: measured in turn, in rounds, in one process, so that a change of
 * the machine's clock or load meets all of them alike. */
#ifndef DVIT_CLI_THROUGHPUT_H
#define DVIT_CLI_THROUGHPUT_H

#include "dvit/infer.h"

struct cli_lane {
    struct dvit_session *session; /* borrowed */
    const struct dvit_model *model;
    int batch;            /* images per run */
    double latency_s;     /* result: median time of a run */
    double images_per_s;  /* result: batch over latency */
    double round_s[1000]; /* time of a run in each round */
};

/* Measures `count` lanes in `rounds` (1 … 1000) rounds of together `seconds` per lane. What the
 * pixels show does not matter to the time. Reports errors; returns an enum cli_exit. */
int cli_lanes_measure(struct cli_lane *lanes, int count, int rounds, double seconds);

#endif
