/* Options of measuring speed. */
#include "option_rows.h"

static const struct cli_option rows[] = {
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
    {.name = "streams",
     .argument = "N[,N…]",
     .type = OPTION_INTS,
     .min = 1,
     .max = 64,
     .default_text = "1",
     .field = FIELD(streams),
     .help = "sessions that run at once, sharing --threads evenly; each runs batches of its own",
     .verbs = ON(BENCH)},
    {.name = "precision",
     .argument = "TYPE[,TYPE…]",
     .type = OPTION_CHOICES,
     .choices = "f32|bf16|int8|auto",
     .default_text = "f32",
     .field = FIELD(precisions),
     .help =
         "as of `dvit eval`; int8 needs a calibrated model. One that cannot be run is told, the "
         "others are measured",
     .verbs = ON(BENCH)},
    TEXT("data", "SPEC", data,
         "also the accuracy of every precision and keep ratio, over a data set named as for `dvit "
         "eval`",
         ON(BENCH)),
    TEXT("plot", "FILE.svg", plot,
         "draw accuracy against speed, a point for each keep ratio, a line for each precision; "
         "needs --data",
         ON(BENCH)),
    {.name = "profile",
     .argument = "BY",
     .type = OPTION_CHOICE,
     .choices = "layer|operator",
     .field = FIELD(profile),
     .help = "measure where the time goes instead: a row for each operator, or (layer) one for "
             "the same operator of all blocks",
     .verbs = ON(BENCH)},
    TOGGLE("start", bench_start,
           "measure the start instead: a process of its own reads each file and gives a first "
           "answer, --rounds times",
           ON(BENCH)),
    TOGGLE("train", bench_train,
           "measure a training step instead (keep 1: of a dense model; else of a dynamic one with "
           "its teacher)",
           ON(BENCH)),
};

CLI_OPTION_GROUP(cli_options_bench);
