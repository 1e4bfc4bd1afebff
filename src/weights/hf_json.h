/* Reading single fields of Hugging Face's JSON files, with errors that name file and field. */
#ifndef DVIT_WEIGHTS_HF_JSON_H
#define DVIT_WEIGHTS_HF_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* The object in `text` [size_bytes], with bounds on nesting and count. Release with json_decref;
 * *out is NULL on failure, which is FORMAT or LIMIT. */
enum dvit_status dvit_hf_json(const void *text, size_t size_bytes, const char *file, json_t **out,
                              struct dvit_error *error);

/* Field `key` of an object, or `missing` where it is absent or null. Another type, or a whole
 * number outside 1 … 2^24, is a FORMAT error. */
enum dvit_status dvit_hf_whole(const json_t *object, const char *file, const char *key, int missing,
                               int *out, struct dvit_error *error);
enum dvit_status dvit_hf_number(const json_t *object, const char *file, const char *key,
                                double missing, double *out, struct dvit_error *error);
enum dvit_status dvit_hf_flag(const json_t *object, const char *file, const char *key, bool missing,
                              bool *out, struct dvit_error *error);

/* Three numbers, or one for all three channels. */
enum dvit_status dvit_hf_channels(const json_t *object, const char *file, const char *key,
                                  double missing, double out[3], struct dvit_error *error);

/* A whole number that is there; `what` stands for it in errors. */
enum dvit_status dvit_hf_whole_value(const json_t *value, const char *file, const char *what,
                                     int *out, struct dvit_error *error);

#endif
