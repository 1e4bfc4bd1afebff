/* The table of options: every fact about an option is in its row and nowhere else.
 *
 * Parsing, `--help`, the man page and the shell completion are walks over it. The rows stand in
 * groups, a file each (option_*.c), which are told in this order; those common to most commands are
 * here. */
#include "option_rows.h"

static const struct cli_option rows[] = {
    /* ---- common ---- */
    {.name = "seed",
     .argument = "N",
     .type = OPTION_SEED,
     .default_text = "0",
     .field = FIELD(seed),
     .help = "seed of everything random: the same seed gives the same bits",
     .verbs = TRAINING | RUNNING | ON(CONVERT) | ON(DATA) | ON(QUANTIZE)},
    {.name = "threads",
     .argument = "N",
     .type = OPTION_INT,
     .max = 256,
     .default_text = "0",
     .field = FIELD(threads),
     .help = "computing threads; 0 is what affinity and container quota allow",
     .verbs = TRAINING | RUNNING | ON(QUANTIZE)},
    WHOLE("workers", "N", 0, 64, train.workers,
          "threads that read images ahead; 0 reads between the steps", TRAINING),
    {.name = "workers",
     .argument = "N",
     .type = OPTION_INT,
     .max = 64,
     .word = "auto",
     .default_text = "auto",
     .field = FIELD(workers),
     .help = "threads that read images ahead: auto = one per computing thread, 0 = between batches",
     .verbs = ON(EVAL) | ON(CLASSIFY) | ON(BENCH) | ON(QUANTIZE)},
    {.name = "cpu",
     .argument = "LEVEL",
     .type = OPTION_CHOICE,
     .choices = "auto|reference|baseline|avx2|avx512",
     .default_text = "auto",
     .field = FIELD(cpu),
     .help = "highest kernel level to use; reference is the plain C definition, slow, baseline the "
             "best "
             "that a processor without AVX2 has",
     .verbs = TRAINING | RUNNING | ON(QUANTIZE)},
    TOGGLE("strict", strict, "an image that cannot be read is an error, not skipped and counted",
           TRAINING | ON(EVAL) | ON(QUANTIZE)),
    TOGGLE("json", json, "results as one JSON object per line",
           TRAINING | ON(EVAL) | ON(CLASSIFY) | ON(INFO) | ON(CONVERT) | ON(DIFF) | ON(BENCH) |
               ON(CPU) | ON(DATA) | ON(QUANTIZE)),
    TOGGLE("csv", csv, "results as a CSV table, with the names that --json has", ON(BENCH)),
    TOGGLE("man", man, "print the manual page (troff)", ON(HELP)),
    TOGGLE("completion", completion, "print the completion script for bash", ON(HELP)),
    TOGGLE("quiet", quiet, "no progress and no notes on standard error; errors stay",
           TRAINING | RUNNING | ON(CONVERT) | ON(DIFF) | ON(DATA) | ON(QUANTIZE)),
    TOGGLE("help", help, "print this help", (1u << VERB_COUNT) - 1),
};

static const struct cli_option_group common = {rows, sizeof(rows) / sizeof(*rows)};
static const struct cli_option_group *const groups[] = {
    &cli_options_models, &cli_options_training,  &cli_options_answers,
    &cli_options_bench,  &cli_options_precision, &common};
static_assert(sizeof(rows) / sizeof(*rows) <= CLI_MAX_GROUP, "split this file");
static_assert(sizeof(groups) / sizeof(*groups) * CLI_MAX_GROUP <= CLI_MAX_OPTIONS,
              "raise CLI_MAX_OPTIONS");

const struct cli_option *cli_option_at(size_t index)
{
    for (size_t g = 0; g < sizeof(groups) / sizeof(*groups); g++) {
        if (index < groups[g]->count)
            return &groups[g]->rows[index];
        index -= groups[g]->count;
    }
    return NULL;
}
