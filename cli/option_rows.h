/* Words in which the rows of the option table are written; for the files that hold them alone. */
#ifndef DVIT_CLI_OPTION_ROWS_H
#define DVIT_CLI_OPTION_ROWS_H

#include <assert.h>

#include "command_line.h"

/* A group of rows. The table is the groups one after another, in the order of option_table.c. */
struct cli_option_group {
    const struct cli_option *rows;
    size_t count;
};
extern const struct cli_option_group cli_options_models;
extern const struct cli_option_group cli_options_training;
extern const struct cli_option_group cli_options_answers;
extern const struct cli_option_group cli_options_bench;
extern const struct cli_option_group cli_options_precision;

/* Ends a file of `rows`. */
#define CLI_OPTION_GROUP(name)                                                                     \
    static_assert(sizeof(rows) / sizeof(*rows) <= CLI_MAX_GROUP, "split this file");               \
    const struct cli_option_group name = {rows, sizeof(rows) / sizeof(*rows)}

#define FIELD(member) offsetof(struct cli_options, member)
#define ON(verb)      (1u << VERB_##verb)
#define TRAINING      (ON(TRAIN) | ON(SPARSIFY))
#define RUNNING       (ON(EVAL) | ON(CLASSIFY) | ON(INFO) | ON(BENCH) | ON(REPORT))
#define AUGMENTING    (TRAINING | ON(DATA))
#define LOADING                                                                                    \
    (TRAINING | ON(EVAL) | ON(CLASSIFY) | ON(INFO) | ON(BENCH) | ON(CONVERT) | ON(QUANTIZE))
#define COUNTS     2147483647.0
#define PRECISIONS "f32|bf16|int8|auto"
#define PRECISION_HELP                                                                             \
    "matrix products: bf16 needs AVX-512 BF16; int8, of the stem and the blocks, needs AVX-512 "   \
    "VNNI and a model of `dvit quantize`; auto is int8 for such a model, else bf16, as far as "    \
    "the "                                                                                         \
    "processor has them, and f32 otherwise; all else stays f32"
#define TOGGLE(word, member, text, on)                                                             \
    {                                                                                              \
        .name = word, .type = OPTION_FLAG, .field = FIELD(member), .help = text, .verbs = on       \
    }
#define PATH(word, shown, member, names, text, on)                                                 \
    {                                                                                              \
        .name = word, .argument = shown, .type = OPTION_TEXT, .path = names,                       \
        .field = FIELD(member), .help = text, .verbs = on                                          \
    }

#define NUMBER(kind, word, shown, low, high, member, text, on)                                     \
    {                                                                                              \
        .name = word, .argument = shown, .type = kind, .min = low, .max = high,                    \
        .field = FIELD(member), .help = text, .verbs = on                                          \
    }
/* Bounds included, no default of their own. */
#define WHOLE(word, shown, low, high, member, text, on)                                            \
    NUMBER(OPTION_INT, word, shown, low, high, member, text, on)
#define REAL(word, shown, low, high, member, text, on)                                             \
    NUMBER(OPTION_REAL, word, shown, low, high, member, text, on)

/* A number that is left to fit the run where nothing, or "auto", is given. */
#define FITTED(kind, word_, low, high, below, member, text, on)                                    \
    {                                                                                              \
        .name = word_, .argument = kind == OPTION_INT ? "N" : "X", .type = kind, .min = low,       \
        .max = high, .below_max = below, .word = "auto", .default_text = "auto",                   \
        .field = FIELD(member), .help = text, .verbs = on                                          \
    }

#endif
