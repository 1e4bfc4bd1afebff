/* UTF-8 validation and escaping for messages. Display is pure ASCII apart from the final "…": what
 * a hostile file calls its tensors must not move a cursor or reorder a line. No decoding, no case,
 * no normalisation. */
#include "weights/text.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

#define ELLIPSIS "\xe2\x80\xa6"

bool dvit_text_is_utf8(const void *text, size_t size_bytes)
{
    const unsigned char *bytes = text;
    for (size_t i = 0; i < size_bytes;) {
        char sequence[5] = {0}; /* the text is not terminated */
        size_t left = size_bytes - i;
        memcpy(sequence, bytes + i, left < 4 ? left : 4);
        unsigned long code;
        size_t length = dvit_utf8_decode(sequence, &code);
        if (length == 1 && bytes[i] >= 0x80)
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
