/* Numbers in the "C" locale, which is made the calling thread's own for the call: setlocale would
 * change it for all threads of the program. Nothing is kept: that locale is built in, and newlocale
 * returns it without taking memory. */
#define _GNU_SOURCE
#include "base/decimal.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { FLOAT_DIGITS = 9, DOUBLE_DIGITS = 17 }; /* enough for any to be read back */

struct own_locale {
    locale_t c, before;
};

static struct own_locale enter(void)
{
    struct own_locale own = {.c = newlocale(LC_ALL_MASK, "C", (locale_t)0)};
    if (own.c)
        own.before = uselocale(own.c);
    return own;
}

static void leave(struct own_locale own)
{
    if (!own.c)
        return;
    uselocale(own.before);
    freelocale(own.c);
}

int dvit_decimal_format_list(char *text, size_t capacity, const char *format, va_list arguments)
{
    struct own_locale own = enter();
    int length = vsnprintf(text, capacity, format, arguments);
    leave(own);
    return length;
}

int dvit_decimal_format(char *text, size_t capacity, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = dvit_decimal_format_list(text, capacity, format, arguments);
    va_end(arguments);
    return length;
}

int dvit_decimal_print_list(char **text, const char *format, va_list arguments)
{
    struct own_locale own = enter();
    int length = vasprintf(text, format, arguments);
    leave(own);
    return length;
}

double dvit_decimal_parse(const char *text, char **end)
{
    struct own_locale own = enter();
    double value = strtod(text, end);
    leave(own);
    return value;
}

void dvit_decimal_shortest(char *text, size_t capacity, double value, int digits)
{
    struct own_locale own = enter();
    for (; digits <= DOUBLE_DIGITS; digits++) {
        snprintf(text, capacity, "%.*g", digits, value);
        if (!isfinite(value) || strtod(text, NULL) == value)
            break;
    }
    leave(own);
}

void dvit_decimal_shortest_float(char *text, size_t capacity, float value, int digits)
{
    struct own_locale own = enter();
    for (; digits <= FLOAT_DIGITS; digits++) {
        snprintf(text, capacity, "%.*g", digits, (double)value);
        if (!isfinite(value) || strtof(text, NULL) == value)
            break;
    }
    leave(own);
}
