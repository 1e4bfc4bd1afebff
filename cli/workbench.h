/* What most commands begin with: opening models, data sets and sessions, and finding out early
 * whether results can be written. Each reports its own errors and returns an enum cli_exit. */
#ifndef DVIT_CLI_WORKBENCH_H
#define DVIT_CLI_WORKBENCH_H

#include "dvit/data.h"
#include "dvit/infer.h"
#include "dvit/report.h"
#include "command_line.h"

/* Whether the path names something that is not a folder. */
bool cli_is_file(const char *path);
bool cli_is_folder(const char *path);
/* folder/name; the caller frees. NULL without memory. */
char *cli_path(const char *folder, const char *name);

/* Opens a model file, preset or "vit:…" text and says so where the weights are random. A dense
 * model of random weights that is asked for `keep` in (0, 1) gets `stages` random predictors; with
 * `add_stages` also one from a file. */
int cli_model_open(struct dvit_model **out, const char *text, const struct cli_options *options,
                   double keep, bool add_stages);

/* Opens one split and prints the data set's warnings. `side`: pixels of rendered scenes. */
int cli_dataset_open(struct dvit_dataset **out, const char *spec, const char *split, int side,
                     bool warn);

/* A session at `keep` and `max_batch` with the threads and kernel level of the options. */
int cli_session_create(struct dvit_session **out, const struct dvit_model *model,
                       const struct cli_options *options, double keep, int max_batch);

/* Whether a file can be made at `path`: its folder is there and writable, and it is no folder. */
int cli_check_file(const char *path);
/* Makes a folder and its parents where missing, and checks that it can be written to. */
int cli_make_folder(const char *path);

/* Prints `skipped` unreadable images: CLI_EXIT_SOME_FAILED, or CLI_EXIT_OK for none. */
int cli_skipped(size_t skipped, size_t total);

/* Prints a table on standard output and frees it. */
int cli_table_print(struct dvit_table *table);
/* An empty table with columns right-aligned but for the first `left` ones; NULL after an error that
 * was reported. */
struct dvit_table *cli_table_create(const char *const *headers, int count, int left);

/* Patches kept per stage at the session's ratio: counts[stages of the session]. */
void cli_tokens(const struct dvit_session *session, const struct dvit_model *model,
                int counts[DVIT_MAX_STAGES]);
/* "137/96/67", "" for none. */
const char *cli_join_ints(const int *values, int count, char text[256]);

/* Text for a terminal: control characters, which file names may hold, become "?". */
void cli_print_plain(const char *text);

#endif
