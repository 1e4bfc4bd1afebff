/* What the commands of `dvit` share: exit codes, the verbs, messages.
 *
 * Results go to standard output, everything else to standard error. The command line stands on the
 * public headers alone. */
#ifndef DVIT_CLI_H
#define DVIT_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "dvit/status.h"

struct cli_options;

/* The name of the model that comes with dvit, wherever a model is asked for. */
#define CLI_SHIPPED_MODEL "cifar10"

/* What the process returns; the meanings are told once, in cli_exit_table. */
enum cli_exit {
    CLI_EXIT_OK = 0,
    CLI_EXIT_FAILURE,
    CLI_EXIT_USAGE,
    CLI_EXIT_SOME_FAILED,
    CLI_EXIT_INTERRUPTED,
    CLI_EXIT_DIFFERENT,
    CLI_EXIT_COUNT
};
extern const char *const cli_exit_table[CLI_EXIT_COUNT];

enum cli_verb_id {
    VERB_TRAIN,
    VERB_SPARSIFY,
    VERB_EVAL,
    VERB_CLASSIFY,
    VERB_INFO,
    VERB_CONVERT,
    VERB_QUANTIZE,
    VERB_DIFF,
    VERB_BENCH,
    VERB_CPU,
    VERB_DATA,
    VERB_REPORT,
    VERB_HELP,
    VERB_COUNT
};

struct cli_verb {
    const char *name;
    const char *operands; /* as shown after the options, "" where none are taken */
    int min_operands;
    int max_operands;
    const char *operand_option; /* the option that operands stand for, as for --model; or NULL */
    int first_path, other_path; /* enum cli_path of the operands */
    const char *summary;        /* one line */
    const char *description;    /* paragraphs, each ending in a newline */
    const char *example;        /* one command */
    int (*run)(const struct cli_options *options); /* returns an enum cli_exit */
};
/* Indexed by enum cli_verb_id. */
extern const struct cli_verb cli_verbs[VERB_COUNT];

/* The verb called `name`, or −1 after an error that suggests the nearest. */
int cli_verb_find(const char *name);

int cli_cmd_train(const struct cli_options *options);
int cli_cmd_sparsify(const struct cli_options *options);
int cli_cmd_eval(const struct cli_options *options);
int cli_cmd_classify(const struct cli_options *options);
int cli_cmd_info(const struct cli_options *options);
int cli_cmd_convert(const struct cli_options *options);
int cli_cmd_quantize(const struct cli_options *options);
int cli_cmd_diff(const struct cli_options *options);
int cli_cmd_bench(const struct cli_options *options);
int cli_cmd_cpu(const struct cli_options *options);
int cli_cmd_data(const struct cli_options *options);
int cli_cmd_report(const struct cli_options *options);
int cli_cmd_help(const struct cli_options *options);

/* The exit code of a library status. */
enum cli_exit cli_exit_of(enum dvit_status status);

#if defined(__GNUC__)
#define CLI_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define CLI_PRINTF(text, first)
#endif

/* "dvit: error: …" on standard error, after closing an open progress line. */
void cli_error(const char *format, ...) CLI_PRINTF(1, 2);
/* Prints the library's error and returns its exit code. */
int cli_fail(const struct dvit_error *error);
/* "dvit: …" on standard error; cli_set_quiet(true) silences notes and progress, never errors. */
void cli_note(const char *format, ...) CLI_PRINTF(1, 2);
void cli_set_quiet(bool quiet);
/* Whether the command has --batch, for the hint of cli_fail where memory is short. */
void cli_set_batches(bool batches);
/* "dvit: …" on standard error, also when quiet: what an error that follows consists of. */
void cli_detail(const char *format, ...) CLI_PRINTF(1, 2);

/* Whether progress is rewritten in place because standard error is a terminal. */
bool cli_progress_live(void);
/* One line of progress: rewritten in place on a terminal, a plain line elsewhere. */
void cli_progress(const char *format, ...) CLI_PRINTF(1, 2);
/* Wipes a rewritten line, so that a result or a message starts on a clean one. */
void cli_progress_clear(void);
/* "images 120/400" for the callbacks that count: on a terminal ten times a second, elsewhere only
 * every ten seconds. context is a struct cli_counter. */
struct cli_counter {
    const char *what;
    double started_s, shown_s; /* 0 before the first call */
};
void cli_progress_count(void *context, size_t done, size_t total);

/* Monotonic time in seconds. */
double cli_seconds(void);
/* "3:07" or "2:05:33". */
const char *cli_duration(double seconds, char text[32]);

#endif
