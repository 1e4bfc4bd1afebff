/* A growing UTF-8 text, and what must happen to foreign text before it may enter one.
 *
 * Adding cannot fail visibly: once memory is out, nothing more is added and dvit_markup_take
 * reports it, so that writers read as prose. */
#ifndef DVIT_REPORT_MARKUP_H
#define DVIT_REPORT_MARKUP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/utf8.h"

struct dvit_markup {
    char *text;              /* owned; zero-terminated where not NULL */
    size_t length, capacity; /* bytes */
    bool failed;
};

void dvit_markup_add_bytes(struct dvit_markup *markup, const void *bytes, size_t count);
/* Our own text, as it is. */
void dvit_markup_add(struct dvit_markup *markup, const char *text);
void dvit_markup_format(struct dvit_markup *markup, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Foreign text, controls and what is no UTF-8 escaped as dvit_utf8_show does. NULL adds nothing. */
void dvit_markup_clean(struct dvit_markup *markup, const char *text);
/* The same with & < > " ' escaped: safe in HTML text and in quoted attributes. */
void dvit_markup_escape(struct dvit_markup *markup, const char *text);
/* A finite number of at most 15 digits with `decimals` (0 … 9) places and a point, whatever the
 * process's locale: what SVG demands. */
void dvit_markup_number(struct dvit_markup *markup, double value, int decimals);
void dvit_markup_base64(struct dvit_markup *markup, const void *bytes, size_t count);
/* Hands the text over (never NULL on success; caller frees) and empties the markup. `what` names
 * the text in the error. */
enum dvit_status dvit_markup_take(struct dvit_markup *markup, const char *what, char **out,
                                  size_t *length, struct dvit_error *error);
void dvit_markup_free(struct dvit_markup *markup);

/* Columns that a terminal gives valid UTF-8: combining marks 0, East Asian wide 2, others 1. */
size_t dvit_utf8_columns(const char *text);

#endif
