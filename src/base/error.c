/* The error record: formatting only. What a message must contain is stated in dvit/status.h. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/decimal.h"

#define ELLIPSIS "\xe2\x80\xa6"

static void mark_truncation(char *message, size_t capacity, int wanted)
{
    if (wanted < 0 || (size_t)wanted < capacity)
        return;
    size_t cut = capacity - sizeof ELLIPSIS;
    while (cut > 0 && ((unsigned char)message[cut] & 0xC0) == 0x80)
        cut--; /* never split a UTF-8 sequence */
    memcpy(message + cut, ELLIPSIS, sizeof ELLIPSIS);
}

enum dvit_status dvit_error_set(struct dvit_error *error, enum dvit_status code, const char *format,
                                ...)
{
    if (error) {
        va_list args;
        va_start(args, format);
        error->status = code;
        int wanted = dvit_decimal_format_list(error->message, sizeof error->message, format, args);
        mark_truncation(error->message, sizeof error->message, wanted);
        va_end(args);
    }
    return code;
}

void dvit_error_prefix(struct dvit_error *error, const char *format, ...)
{
    if (!error)
        return;
    char text[sizeof error->message];
    va_list args;
    va_start(args, format);
    int used = dvit_decimal_format_list(text, sizeof text, format, args);
    va_end(args);
    if (used < 0 || (size_t)used >= sizeof text)
        return;
    size_t room = sizeof text - (size_t)used;
    int wanted = snprintf(text + used, room, ": %s", error->message);
    mark_truncation(text, sizeof text, used + wanted);
    memcpy(error->message, text, sizeof text);
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
