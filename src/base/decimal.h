/* Numbers as text, with a decimal point whatever the program's locale: a program that has called
 * setlocale may have a comma there. Everything in src/ that prints or reads floating-point numbers
 * does it through these; tools/house/check_numbers.py sees to it. */
#ifndef DVIT_BASE_DECIMAL_H
#define DVIT_BASE_DECIMAL_H

#include <stdarg.h>
#include <stddef.h>

/* snprintf, vsnprintf and vasprintf. */
int dvit_decimal_format(char *text, size_t capacity, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int dvit_decimal_format_list(char *text, size_t capacity, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));
int dvit_decimal_print_list(char **text, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

/* strtod. */
double dvit_decimal_parse(const char *text, char **end);

/* The shortest of the forms with at least `digits` significant digits that read back to the same
 * number; `capacity` of 32 holds each. */
void dvit_decimal_shortest(char *text, size_t capacity, double value, int digits);
void dvit_decimal_shortest_float(char *text, size_t capacity, float value, int digits);

#endif
