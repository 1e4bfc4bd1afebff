/* A growing list of sentences. Knows neither who writes nor who reads them. */
#include "models/notes.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/decimal.h"

enum dvit_status dvit_notes_add(struct dvit_notes *notes, struct dvit_error *error,
                                const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = dvit_decimal_print_list(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "notes: out of memory");
    size_t shown = dvit_text_display(NULL, 0, text);
    if (shown > (size_t)length) { /* a name in it has control characters */
        char *escaped = malloc(shown + 1);
        if (escaped)
            dvit_text_display(escaped, shown + 1, text);
        free(text);
        text = escaped;
    }
    if (!text)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "notes: out of memory");
    char **items = realloc(notes->items, (notes->count + 1) * sizeof *items);
    if (!items) {
        free(text);
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "notes: out of memory");
    }
    notes->items = items;
    notes->items[notes->count++] = text;
    return DVIT_OK;
}

void dvit_notes_free(struct dvit_notes *notes)
{
    for (size_t i = 0; i < notes->count; i++)
        free(notes->items[i]);
    free(notes->items);
    *notes = (struct dvit_notes){0};
}
