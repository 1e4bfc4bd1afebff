/* Text from untrusted files: is it UTF-8, and how to show it in a message. */
#ifndef DVIT_WEIGHTS_TEXT_H
#define DVIT_WEIGHTS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Well-formed UTF-8 (Unicode table 3-7: no overlong forms, no surrogates, at most U+10FFFF). */
bool dvit_text_is_utf8(const void *text, size_t size_bytes);

/* Copies `source` [length] for display: quotes, backslashes, control characters and every non-ASCII
 * byte become \" \\ \n \xNN, so that nothing in it reaches a terminal as a command. Ends in "…"
 * when capacity (≥ 16) is too small; always terminated. Returns `text`. */
const char *dvit_text_escape(const char *source, size_t length, char *text, size_t capacity);

/* A terminated string escaped by value, for use as a printf argument: dvit_text_show(name).text. */
struct dvit_shown_text {
    char text[200];
};
struct dvit_shown_text dvit_text_show(const char *source);

#endif
