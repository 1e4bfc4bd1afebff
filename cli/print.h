/* Printing results: no other file of the command prints a text that is not its own. */
#ifndef DVIT_CLI_PRINT_H
#define DVIT_CLI_PRINT_H

#include <stdarg.h>
#include <stdio.h>

#include "cli.h"

/* printf to standard output, with every %s shown as dvit_text_display does and cut at whole
 * characters where it has a precision. Conversions: s d i u x X o c a e f g, lengths l ll z. */
void cli_print(const char *format, ...) CLI_PRINTF(1, 2);
void cli_print_list(FILE *stream, const char *format, va_list arguments);
/* Several lines that were prepared with the same care, as dvit_table_text's are. */
void cli_print_prepared(const char *text);

/* The same as a text (malloc'ed), or NULL without memory. */
char *cli_text_list(const char *format, va_list arguments);
/* The same into `out`, cut at whole characters. */
void cli_text(char *out, size_t capacity, const char *format, ...) CLI_PRINTF(3, 4);

#endif
