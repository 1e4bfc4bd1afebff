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

/* The file that the name of a model stands for: that of the model that comes with dvit for its
 * name, where the working folder has no file called so; else `text` itself. Not to be freed. */
const char *cli_model_file(const char *text);
/* Whether it is there: a file, or a folder that is not called like a preset. */
bool cli_is_model_file(const char *text);

/* What the options say about reading the model called `name`. `keep` is the ratio it will run at, 0
 * for its own. Tensors that do not fit are told on standard error, in lines that begin with `name`.
 */
struct dvit_load_options cli_load_options(const struct cli_options *options, double keep,
                                          const char *name);

/* A model of random weights; of `load` what a shape can obey. */
enum dvit_status cli_model_create(struct dvit_model **out, const struct dvit_config *config,
                                  const struct dvit_load_options *load, struct dvit_error *error);

/* Reads a model file, of several models in it the one of --weights-key, or makes a model of a
 * preset or "vit:…" text. Silent but for load->problem. */
enum dvit_status cli_model_read(struct dvit_model **out, const char *text,
                                const struct cli_options *options,
                                const struct dvit_load_options *load, bool *is_random,
                                struct dvit_error *error);
/* Tells what the user should know about it: random weights, and what the library decided. */
void cli_model_tell(const struct dvit_model *model, const char *text,
                    const struct cli_options *options, bool is_random);
/* Gives a dense model that is asked for `keep` in (0, 1) `stages` random predictors, where it may
 * have them. */
int cli_model_prune(struct dvit_model **model, const char *text, const struct cli_options *options,
                    double keep, bool add_stages);
/* All three, errors reported; *out may stand also after a failure. Random weights may always have
 * random stages, those of a file only with `add_stages`. */
int cli_model_open(struct dvit_model **out, const char *text, const struct cli_options *options,
                   double keep, bool add_stages);

/* Opens one split, in silence. `side`: pixels of rendered scenes. */
int cli_dataset_open(struct dvit_dataset **out, const char *spec, const char *split, int side);
/* Prints the warnings of a data set that `former` (may be NULL) did not give yet. */
void cli_dataset_warn(const struct dvit_dataset *set, const struct dvit_dataset *former);
/* Warns where the two splits are the same images, and says whether they are. */
bool cli_dataset_warn_of_same(struct dvit_dataset *train, struct dvit_dataset *validation,
                              const char *spec);
/* Tells of images read so far whose pixels are not those of Pillow; `other` may be NULL. */
void cli_dataset_tell_grey16(const struct dvit_dataset *set, const struct dvit_dataset *other);

/* Tells which precision "auto" became. */
void cli_precision_tell(const struct dvit_session *session, const char *name,
                        const struct cli_options *options);

/* A session at `keep` and `max_batch` with the threads and kernel level of the options. */
int cli_session_create(struct dvit_session **out, const struct dvit_model *model,
                       const struct cli_options *options, double keep, int max_batch);

/* Whether a file can be made at `path`: its folder is there and writable, and it is no folder. */
int cli_check_file(const char *path);
/* Makes a folder and its parents where missing, and checks that it can be written to. */
int cli_make_folder(const char *path);

/* Prints `skipped` unreadable images: CLI_EXIT_SOME_FAILED, or CLI_EXIT_OK for none. */
int cli_skipped(size_t skipped, size_t total);

/* Prints how many of a model's answers are not finite: CLI_EXIT_SOME_FAILED, CLI_EXIT_FAILURE where
 * all are, or CLI_EXIT_OK for none. */
int cli_unanswered(const char *name, size_t unanswered, size_t images);

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

/* Bytes of `text` to show: all, or at most `room` without cutting a UTF-8 sequence. */
int cli_shown_bytes(const char *text, size_t room);
/* Text for a terminal: control characters, which file names may hold, become "?". */
void cli_print_plain(const char *text);

#endif
