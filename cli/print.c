/* Prints: the one way of text to standard output and standard error. What stands for a %s may come
 * from a file, a folder or the command line, and is shown as dvit_text_display does: nothing in a
 * name moves a cursor. Formats are our own, and may have newlines. */
#define _POSIX_C_SOURCE 200809L /* open_memstream */
#include "print.h"

#include <stdlib.h>
#include <string.h>

#include "workbench.h"

/* One conversion: "%" flags width precision length letter. */
struct conversion {
    char text[64];        /* with numbers instead of asterisks */
    int width, precision; /* −1: none */
    bool left;
    char length; /* 'l', 'L' for ll, 'z', or 0 */
    char letter;
};

static int read_number(const char **at, va_list *arguments, int none)
{
    int number = none;
    if (**at == '*') {
        number = va_arg(*arguments, int);
        ++*at;
        return number;
    }
    while (**at >= '0' && **at <= '9')
        number = (number < 0 ? 0 : number) * 10 + *(*at)++ - '0';
    return number;
}

/* From behind the "%". */
static const char *read_conversion(const char *at, va_list *arguments, struct conversion *found)
{
    char flags[8];
    size_t count = strspn(at, "-+ #0'");
    count = count < sizeof flags ? count : sizeof flags - 1;
    memcpy(flags, at, count);
    flags[count] = 0;
    at += count;
    *found = (struct conversion){.precision = -1};
    found->width = read_number(&at, arguments, 0);
    if (*at == '.') {
        at++;
        found->precision = read_number(&at, arguments, 0);
    }
    found->left = strchr(flags, '-') != NULL || found->width < 0;
    found->width = abs(found->width);
    const char *length = "";
    if (at[0] == 'l' && at[1] == 'l')
        found->length = 'L', length = "ll", at += 2;
    else if (*at == 'l' || *at == 'z')
        found->length = *at, length = *at == 'l' ? "l" : "z", at++;
    found->letter = *at;
    if (found->precision >= 0)
        snprintf(found->text, sizeof found->text, "%%%s%.0d.%d%s%c", flags, found->width,
                 found->precision, length, found->letter);
    else
        snprintf(found->text, sizeof found->text, "%%%s%.0d%s%c", flags, found->width, length,
                 found->letter);
    return *at ? at + 1 : at;
}

static void put_text(FILE *stream, const struct conversion *how, const char *text)
{
    text = text ? text : "(none)";
    size_t length =
        how->precision >= 0 ? (size_t)cli_shown_bytes(text, (size_t)how->precision) : strlen(text);
    char *part = strndup(text, length);
    size_t size = part ? dvit_text_display(NULL, 0, part) : 0;
    char *shown = part ? malloc(size + 1) : NULL;
    if (shown) {
        dvit_text_display(shown, size + 1, part);
        fprintf(stream, how->left ? "%-*s" : "%*s", how->width, shown);
    }
    free(shown);
    free(part);
}

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* each is one conversion, of a literal */
#endif

static void put_whole(FILE *stream, const struct conversion *how, va_list *arguments)
{
    if (how->length == 'L')
        fprintf(stream, how->text, va_arg(*arguments, long long));
    else if (how->length == 'l')
        fprintf(stream, how->text, va_arg(*arguments, long));
    else if (how->length == 'z')
        fprintf(stream, how->text, va_arg(*arguments, size_t));
    else
        fprintf(stream, how->text, va_arg(*arguments, int));
}

static void put_conversion(FILE *stream, const struct conversion *how, va_list *arguments)
{
    switch (how->letter) {
    case '%':
        fputc('%', stream);
        break;
    case 's':
        put_text(stream, how, va_arg(*arguments, const char *));
        break;
    case 'c':
        fprintf(stream, how->text, va_arg(*arguments, int));
        break;
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        put_whole(stream, how, arguments);
        break;
    default: /* a floating-point number */
        fprintf(stream, how->text, va_arg(*arguments, double));
    }
}

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

void cli_print_list(FILE *stream, const char *format, va_list arguments)
{
    va_list rest;
    va_copy(rest, arguments);
    while (*format) {
        size_t plain = strcspn(format, "%");
        fwrite(format, 1, plain, stream);
        format += plain;
        if (!*format)
            break;
        struct conversion found;
        format = read_conversion(format + 1, &rest, &found);
        put_conversion(stream, &found, &rest);
    }
    va_end(rest);
}

void cli_print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    cli_print_list(stdout, format, arguments);
    va_end(arguments);
}

void cli_print_prepared(const char *text)
{
    fputs(text, stdout);
}

char *cli_text_list(const char *format, va_list arguments)
{
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    if (!stream)
        return NULL;
    cli_print_list(stream, format, arguments);
    if (fclose(stream) == 0)
        return text;
    free(text);
    return NULL;
}

void cli_text(char *out, size_t capacity, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = cli_text_list(format, arguments);
    va_end(arguments);
    size_t length = text ? (size_t)cli_shown_bytes(text, capacity - 1) : 0;
    if (length)
        memcpy(out, text, length);
    out[length] = 0;
    free(text);
}
