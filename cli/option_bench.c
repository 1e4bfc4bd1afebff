/* Options of measuring speed. */
#include "option_rows.h"

static const struct cli_option rows[] = {
    /* ---- measuring ---- */
    {.name = "seconds",
     .argument = "X",
     .type = OPTION_REAL,
     .min = 0,
     .above_min = true,
     .max = 3600,
     .default_text = "2",
     .field = FIELD(seconds),
     .help = "measuring time for each speed, all rounds together",
     .verbs = ON(EVAL) | ON(BENCH)},
    {.name = "rounds",
     .argument = "N",
     .type = OPTION_INT,
     .min = 1,
     .max = 1000,
     .default_text = "7",
     .field = FIELD(rounds),
     .help = "rounds in which the speeds are measured in turn; the median counts",
     .verbs = ON(EVAL) | ON(BENCH)},
    TOGGLE(
        "train", bench_train,
        "measure a training step instead (keep 1: of a dense model; else of a dynamic one with its "
        "teacher), in --precision",
        ON(BENCH)),
};

CLI_OPTION_GROUP(cli_options_bench);
