/* UTF-8, and how foreign text is shown: the names that files, folders, archives and command lines
 * give to things may hold any bytes. */
#ifndef DVIT_BASE_UTF8_H
#define DVIT_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Decodes one character of a zero-terminated text: its bytes (≥ 1), *code = U+FFFD if invalid
 * (overlong, surrogate, beyond U+10FFFF, cut off), then one byte is taken. */
size_t dvit_utf8_decode(const char *text, unsigned long *code);

bool dvit_utf8_is_valid(const char *text);

/* Whether a character commands a terminal or a reader instead of being seen: controls (C0, DEL,
 * C1), line separators, and those that change the direction of the text around them. */
bool dvit_utf8_is_control(unsigned long code);

/* One character of a zero-terminated text as it may be shown: itself; a control as \n, \x1b or
 * \u202e; a byte that is no UTF-8 as \xff. Returns the bytes taken; *shown_bytes of `shown`, which
 * is terminated. */
enum { DVIT_UTF8_SHOWN = 8 };
size_t dvit_utf8_show(const char *text, char shown[DVIT_UTF8_SHOWN], size_t *shown_bytes);

/* The largest cut of at most `most` bytes that splits no character, for "%.*s". */
int dvit_utf8_cut(const char *text, size_t most);

/* dvit_text_display of dvit/status.h shows a whole text. What is shown is shown the same again. */

#endif
