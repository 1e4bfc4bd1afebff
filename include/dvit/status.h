/* Status codes and the caller-owned error record every fallible dvit function fills.
 *
 * Contract: a function that can fail returns `enum dvit_status` and takes a `struct dvit_error *`
 * as its last argument, which may be NULL. On failure the record holds one sentence that says what
 * failed, which object, what was expected and what was found; out-parameters are NULL or untouched.
 * A pointer that is NULL where the function's comment does not allow it is DVIT_ERROR_ARGUMENT;
 * functions without a status return 0, NULL or a zeroed struct then, and where an index is out of
 * range. Functions that free accept NULL.
 * The library never prints, exits, or reads the environment. */
#ifndef DVIT_STATUS_H
#define DVIT_STATUS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DVIT_API __attribute__((visibility("default")))
#else
#define DVIT_API
#endif

enum dvit_status {
    DVIT_OK = 0,
    DVIT_ERROR_ARGUMENT,    /* an option or argument out of its documented range */
    DVIT_ERROR_MEMORY,      /* an allocation failed */
    DVIT_ERROR_IO,          /* the operating system refused a read, write or rename */
    DVIT_ERROR_NOT_FOUND,   /* a file, folder, tensor or preset does not exist */
    DVIT_ERROR_FORMAT,      /* a file's content is damaged or not what its format demands */
    DVIT_ERROR_LIMIT,       /* valid perhaps, but beyond a documented limit */
    DVIT_ERROR_MISMATCH,    /* two valid things that do not fit together (shapes, class counts) */
    DVIT_ERROR_UNSUPPORTED, /* understood, and not offered on this machine or in this build */
    DVIT_ERROR_NUMERIC,     /* a non-finite loss or gradient that could not be skipped */
    DVIT_ERROR_INTERRUPTED, /* stopped on request; state was saved */
    DVIT_STATUS_COUNT
};

struct dvit_error {
    enum dvit_status status;
    char message[1000]; /* UTF-8, always terminated, one line; names in it as dvit_text_display */
};

/* A short constant English name ("argument", "io", …); never NULL, also for unknown codes. */
DVIT_API const char *dvit_status_name(enum dvit_status status);

/* Text as a terminal, a log or a page may have it. Names of files, classes and tensors, and
 * whatever else comes from outside, may hold any bytes: control characters (C0, DEL, C1), line
 * separators and characters that reverse the text around them become \n, \x1b or \u202e, bytes that
 * are no UTF-8 \xff. Like snprintf: at most `capacity` bytes with the terminator, no part of a
 * character, and returns the bytes that all of it takes. Showing again changes nothing. */
DVIT_API size_t dvit_text_display(char *out, size_t capacity, const char *text);

/* The library's version, "MAJOR.MINOR.PATCH". */
DVIT_API const char *dvit_version(void);

#ifdef __cplusplus
}
#endif
#endif
