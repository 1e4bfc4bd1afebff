/* Bounds on JSON from untrusted files, checked before a parser spends memory on it. */
#ifndef DVIT_WEIGHTS_JSON_LIMITS_H
#define DVIT_WEIGHTS_JSON_LIMITS_H

#include <stddef.h>

#include "base/error.h"

struct dvit_json_limits {
    int nesting;
    size_t commas;     /* about the number of values */
    size_t containers; /* objects and arrays */
};

/* Strings are skipped; malformed JSON may pass and is the parser's to refuse. `what` names the text
 * in errors ("header"). */
enum dvit_status dvit_json_check(const unsigned char *text, size_t size_bytes,
                                 const struct dvit_json_limits *limits, const char *what,
                                 struct dvit_error *error);

#endif
