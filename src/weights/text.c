/* UTF-8 validation and escaping for messages. Display is pure ASCII apart from the final "…": what
 * a hostile file calls its tensors must not move a cursor or reorder a line. No decoding, no case,
 * no normalisation. */
#include "weights/text.h"

#include <stdio.h>
#include <string.h>

#define ELLIPSIS "\xe2\x80\xa6"

/* Length of the sequence that starts at s, of at most `left` bytes, or 0 if it is ill-formed. */
static size_t sequence_length(const unsigned char *s, size_t left)
{
    unsigned char low = 0x80, high = 0xBF; /* bounds of the second byte */
    size_t length;
    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xC2 && s[0] <= 0xDF)
        length = 2;
    else if (s[0] >= 0xE0 && s[0] <= 0xEF)
        length = 3;
    else if (s[0] >= 0xF0 && s[0] <= 0xF4)
        length = 4;
    else
        return 0;
    if (s[0] == 0xE0)
        low = 0xA0; /* below: overlong */
    if (s[0] == 0xED)
        high = 0x9F; /* above: surrogates */
    if (s[0] == 0xF0)
        low = 0x90; /* below: overlong */
    if (s[0] == 0xF4)
        high = 0x8F; /* above: beyond U+10FFFF */
    if (length > left || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if (s[i] < 0x80 || s[i] > 0xBF)
            return 0;
    return length;
}

bool dvit_text_is_utf8(const void *text, size_t size_bytes)
{
    const unsigned char *bytes = text;
    for (size_t i = 0; i < size_bytes;) {
        size_t length = sequence_length(bytes + i, size_bytes - i);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

/* One byte for display in at most 4 characters plus the terminator. */
static void escape_byte(unsigned char byte, char out[5])
{
    static const char special[] = "\"\\\n\r\t", letter[] = "\"\\nrt";
    const char *found = byte ? strchr(special, byte) : NULL;
    if (found)
        snprintf(out, 5, "\\%c", letter[found - special]);
    else if (byte < 0x20 || byte >= 0x7F)
        snprintf(out, 5, "\\x%02x", byte);
    else
        snprintf(out, 5, "%c", byte);
}

const char *dvit_text_escape(const char *source, size_t length, char *text, size_t capacity)
{
    size_t used = 0, limit = capacity - sizeof ELLIPSIS; /* always room for the mark */
    for (size_t i = 0; i < length; i++) {
        char shown[5];
        escape_byte((unsigned char)source[i], shown);
        size_t width = strlen(shown);
        if (used + width > limit) {
            memcpy(text + used, ELLIPSIS, sizeof ELLIPSIS);
            return text;
        }
        memcpy(text + used, shown, width);
        used += width;
    }
    text[used] = 0;
    return text;
}

struct dvit_shown_text dvit_text_show(const char *source)
{
    struct dvit_shown_text shown;
    dvit_text_escape(source, strlen(source), shown.text, sizeof shown.text);
    return shown;
}
