/* The description of a model as JSON: what a weight file carries beside its tensors. */
#ifndef DVIT_WEIGHTS_MODEL_JSON_H
#define DVIT_WEIGHTS_MODEL_JSON_H

#include "base/error.h"
#include "dvit/config.h"

/* A JSON object as text (malloc'ed), or NULL when memory is out or a text is not UTF-8. */
char *dvit_config_to_json(const struct dvit_config *config);
char *dvit_preprocess_to_json(const struct dvit_preprocess *preprocess);
/* A JSON array of strings. */
char *dvit_labels_to_json(char *const *labels, int count);

/* Strict: every field must be there with its type; the result is checked as by dvit_config_check.
 */
enum dvit_status dvit_config_from_json(const char *text, struct dvit_config *config,
                                       struct dvit_error *error);
enum dvit_status dvit_preprocess_from_json(const char *text, struct dvit_preprocess *preprocess,
                                           struct dvit_error *error);
/* Exactly `count` labels; *out is an array that the caller frees, entries and all. */
enum dvit_status dvit_labels_from_json(const char *text, int count, char ***out,
                                       struct dvit_error *error);
void dvit_labels_free(char **labels, int count);

#endif
