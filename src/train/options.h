/* Training options as JSON: for config.json, and to tell whether a saved run is this run. */
#ifndef DVIT_TRAIN_OPTIONS_H
#define DVIT_TRAIN_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "dvit/train.h"

/* A text as JSON; paths and command lines may hold what is no UTF-8, which is escaped then. */
json_t *dvit_train_text_json(const char *text);

/* An object of all options but those of the caller's own doing (folder, command, seed, callbacks),
 * or only of those that a resumed run must have as they were: what a saved state may depend on.
 * NULL when memory is out. The caller's reference. */
json_t *dvit_train_options_json(const struct dvit_train_options *options, bool only_lasting);

/* Chooses the options that were left to fit a run of so many steps (DVIT_TRAIN_FIT). */
void dvit_train_options_fit(struct dvit_train_options *options, long total_steps);
/* Takes the saved values of those that were left to fit when the run was `asked` for. `saved` is
 * foreign: a value out of range is DVIT_ERROR_FORMAT. */
enum dvit_status dvit_train_options_take(struct dvit_train_options *options, const json_t *saved,
                                         const struct dvit_train_options *asked,
                                         struct dvit_error *error);

/* DVIT_ERROR_MISMATCH, naming the first option that changes what is computed and differs; epochs
 * may be more than before. What `saved` is silent about is DVIT_ERROR_FORMAT where it is to be
 * `complete`, and otherwise was not known to the version that wrote it. */
enum dvit_status dvit_train_options_compare(const json_t *saved,
                                            const struct dvit_train_options *now, bool complete,
                                            struct dvit_error *error);

/* What a user should know about options that do not fit the run, and about those that were chosen
 * to fit it. Sentence `index`, counted from 0; false beyond the last. */
struct dvit_train_plan {
    const struct dvit_train_options *asked, *used;
    long steps_per_epoch, total_steps, last_step;
    bool has_backbone_to_freeze; /* the model is dynamic, and its backbone is trained */
};
bool dvit_train_plan_note(const struct dvit_train_plan *plan, int index, char text[300]);

/* DVIT_ERROR_MISMATCH "the saved run has NAME …, this one …" unless the values are equal; numbers
 * by value, whatever their type. `saved` is foreign. */
enum dvit_status dvit_expect_same(const char *name, const json_t *saved, const json_t *now,
                                  struct dvit_error *error);

#endif
