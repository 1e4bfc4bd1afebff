/* `dvit bench --train`: the speed of a training step. */
#ifndef DVIT_CLI_STEP_SPEED_H
#define DVIT_CLI_STEP_SPEED_H

#include "command_line.h"

/* Measures every model at every batch size and prints a table, or JSON. Returns an enum cli_exit.
 */
int cli_bench_training(const struct cli_options *options);

#endif
