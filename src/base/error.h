/* How dvit functions fail: two macros and one formatter.
 *
 * A function that can fail declares `enum dvit_status status = DVIT_OK;`, has one label `done:`
 * that releases what it owns, and returns `status`. */
#ifndef DVIT_BASE_ERROR_H
#define DVIT_BASE_ERROR_H

#include <stddef.h>
#include <string.h>

#include "dvit/status.h"

/* Fills *error (if not NULL) and returns `code`. Long messages end in "…". */
enum dvit_status dvit_error_set(struct dvit_error *error, enum dvit_status code, const char *format,
                                ...) __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the message already in *error; for callers that know the file's name. */
void dvit_error_prefix(struct dvit_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* An error that names the first of the pointers that is NULL, or DVIT_OK. `names`: "a, b". */
enum dvit_status dvit_error_require(struct dvit_error *error, const char *function,
                                    const char *names, const void *const *pointers, size_t count);

/* First in a public function: returns an error where one of these arguments is NULL. */
#define DVIT_REQUIRE(error, ...) DVIT_REQUIRE_AS(error, #__VA_ARGS__, __VA_ARGS__)
/* The same where the header calls them otherwise. */
#define DVIT_REQUIRE_AS(error, names, ...)                                                         \
    do {                                                                                           \
        const void *const required_[] = {__VA_ARGS__};                                             \
        enum dvit_status null_ = dvit_error_require((error), __func__, (names), required_,         \
                                                    sizeof required_ / sizeof *required_);         \
        if (null_ != DVIT_OK)                                                                      \
            return null_;                                                                          \
    } while (0)

/* Before it: what the function makes is NULL or zeroed on failure. */
#define DVIT_CLEAR(out)                                                                            \
    do {                                                                                           \
        if (out)                                                                                   \
            memset((out), 0, sizeof *(out));                                                       \
    } while (0)

/* What was refused stood in a file, not in an option: DVIT_ERROR_ARGUMENT becomes
 * DVIT_ERROR_FORMAT. Returns the status, also in *error. */
enum dvit_status dvit_error_of_file(enum dvit_status status, struct dvit_error *error);

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
