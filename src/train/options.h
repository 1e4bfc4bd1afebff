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

/* DVIT_ERROR_MISMATCH, naming the first option that changes what is computed and differs. What
 * `saved` is silent about was not known to the version that wrote it. */
enum dvit_status dvit_train_options_compare(const json_t *saved,
                                            const struct dvit_train_options *now,
                                            struct dvit_error *error);

/* DVIT_ERROR_MISMATCH "the saved run has NAME …, this one …" unless the values are equal; numbers
 * by value, whatever their type. `saved` is foreign. */
enum dvit_status dvit_expect_same(const char *name, const json_t *saved, const json_t *now,
                                  struct dvit_error *error);

#endif
