/* How dvit functions fail: two macros and one formatter.
 *
 * A function that can fail declares `enum dvit_status status = DVIT_OK;`, has one label `done:`
 * that releases what it owns, and returns `status`. */
#ifndef DVIT_BASE_ERROR_H
#define DVIT_BASE_ERROR_H

#include "dvit/status.h"

/* Fills *error (if not NULL) and returns `code`. Long messages end in "…". */
enum dvit_status dvit_error_set(struct dvit_error *error, enum dvit_status code, const char *format,
                                ...) __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the message already in *error; for callers that know the file's name. */
void dvit_error_prefix(struct dvit_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Set the error and leave through `done`. */
#define DVIT_FAIL(error, code, ...)                                                                \
    do {                                                                                           \
        status = dvit_error_set((error), (code), __VA_ARGS__);                                     \
        goto done;                                                                                 \
    } while (0)

/* Leave through `done` if the expression fails; the callee has filled the error. */
#define DVIT_TRY(expression)                                                                       \
    do {                                                                                           \
        status = (expression);                                                                     \
        if (status != DVIT_OK)                                                                     \
            goto done;                                                                             \
    } while (0)

#endif
