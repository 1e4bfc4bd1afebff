/* The error record: formatting only. What a message must contain is stated in dvit/status.h. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/decimal.h"
#include "base/utf8.h"

#define ELLIPSIS "\xe2\x80\xa6"

enum { FORMATTED = 4096 /* bytes of a message before it is cut */ };

/* The names in a message come from outside: it is shown as dvit_text_display does. */
static void show(struct dvit_error *error, const char *formatted)
{
    size_t capacity = sizeof error->message;
    if (dvit_text_display(error->message, capacity, formatted) < capacity)
        return;
    size_t cut = (size_t)dvit_utf8_cut(error->message, capacity - sizeof ELLIPSIS);
    memcpy(error->message + cut, ELLIPSIS, sizeof ELLIPSIS);
}

enum dvit_status dvit_error_set(struct dvit_error *error, enum dvit_status code, const char *format,
                                ...)
{
    if (error) {
        char text[FORMATTED] = "";
        va_list args;
        va_start(args, format);
        error->status = code;
        dvit_decimal_format_list(text, sizeof text, format, args);
        show(error, text);
        va_end(args);
    }
    return code;
}

void dvit_error_prefix(struct dvit_error *error, const char *format, ...)
{
    if (!error)
        return;
    char text[FORMATTED];
    va_list args;
    va_start(args, format);
    int used = dvit_decimal_format_list(text, sizeof text, format, args);
    va_end(args);
    if (used < 0 || (size_t)used >= sizeof error->message)
        return;
    snprintf(text + used, sizeof text - (size_t)used, ": %s", error->message);
    show(error, text);
}

enum dvit_status dvit_error_require(struct dvit_error *error, const char *function,
                                    const char *names, const void *const *pointers, size_t count)
{
    for (size_t i = 0; i < count; i++, names += strcspn(names, ",")) {
        names += strspn(names, ", ");
        if (!pointers[i])
            return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "%s: %.*s is NULL", function,
                                  (int)strcspn(names, ","), names);
    }
    return DVIT_OK;
}

enum dvit_status dvit_error_of_file(enum dvit_status status, struct dvit_error *error)
{
    if (status != DVIT_ERROR_ARGUMENT)
        return status;
    if (error)
        error->status = DVIT_ERROR_FORMAT;
    return DVIT_ERROR_FORMAT;
}

static const char *const status_names[] = {
    [DVIT_OK] = "ok",
    [DVIT_ERROR_ARGUMENT] = "argument",
    [DVIT_ERROR_MEMORY] = "memory",
    [DVIT_ERROR_IO] = "io",
    [DVIT_ERROR_NOT_FOUND] = "not found",
    [DVIT_ERROR_FORMAT] = "format",
    [DVIT_ERROR_LIMIT] = "limit",
    [DVIT_ERROR_MISMATCH] = "mismatch",
    [DVIT_ERROR_UNSUPPORTED] = "unsupported",
    [DVIT_ERROR_NUMERIC] = "numeric",
    [DVIT_ERROR_INTERRUPTED] = "interrupted",
};
_Static_assert(sizeof status_names / sizeof *status_names == DVIT_STATUS_COUNT,
               "every status has a name");

const char *dvit_status_name(enum dvit_status status)
{
    return (unsigned)status < DVIT_STATUS_COUNT ? status_names[status] : "unknown";
}

const char *dvit_version(void)
{
    return DVIT_VERSION;
}
