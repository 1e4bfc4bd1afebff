/* Decoding and showing UTF-8. No case, no normalisation, no locale. */
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

#include "dvit/status.h"

size_t dvit_utf8_decode(const char *text, unsigned long *code)
{
    static const unsigned long smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *at = (const unsigned char *)text;
    size_t length = at[0] < 0x80             ? 1
                    : (at[0] & 0xe0) == 0xc0 ? 2
                    : (at[0] & 0xf0) == 0xe0 ? 3
                    : (at[0] & 0xf8) == 0xf0 ? 4
                                             : 0;
    *code = 0xfffd;
    if (length == 1)
        *code = at[0];
    if (length <= 1)
        return 1;
    unsigned long value = at[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 1; /* also at the terminator */
        value = value << 6 | (at[i] & 0x3f);
    }
    if (value < smallest[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 1;
    *code = value;
    return length;
}

bool dvit_utf8_is_valid(const char *text)
{
    unsigned long code;
    for (size_t length; *text; text += length) {
        length = dvit_utf8_decode(text, &code);
        if (length == 1 && (unsigned char)*text >= 0x80)
            return false;
    }
    return true;
}

bool dvit_utf8_is_control(unsigned long code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x061c || code == 0x200e ||
           code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

size_t dvit_utf8_show(const char *text, char shown[DVIT_UTF8_SHOWN], size_t *shown_bytes)
{
    static const char special[] = "\n\r\t", letter[] = "nrt";
    unsigned long code;
    size_t length = dvit_utf8_decode(text, &code);
    unsigned char first = (unsigned char)*text;
    const char *found = first ? strchr(special, first) : NULL;
    if (found)
        *shown_bytes = (size_t)snprintf(shown, DVIT_UTF8_SHOWN, "\\%c", letter[found - special]);
    else if ((length == 1 && first >= 0x80) || first < 0x20 || first == 0x7f)
        *shown_bytes = (size_t)snprintf(shown, DVIT_UTF8_SHOWN, "\\x%02x", first);
    else if (dvit_utf8_is_control(code))
        *shown_bytes = (size_t)snprintf(shown, DVIT_UTF8_SHOWN, "\\u%04lx", code & 0xffff);
    else {
        memcpy(shown, text, length);
        shown[length] = 0;
        *shown_bytes = length;
    }
    return length;
}

int dvit_utf8_cut(const char *text, size_t most)
{
    size_t cut = 0;
    unsigned long code;
    for (size_t length; text[cut]; cut += length) {
        length = dvit_utf8_decode(text + cut, &code);
        if (cut + length > most)
            break;
    }
    return (int)cut;
}

size_t dvit_text_display(char *out, size_t capacity, const char *text)
{
    size_t used = 0, needed = 0, shown_bytes;
    bool fits = true;
    capacity = out ? capacity : 0;
    text = text ? text : "";
    for (size_t length; *text; text += length) {
        char shown[DVIT_UTF8_SHOWN];
        length = dvit_utf8_show(text, shown, &shown_bytes);
        needed += shown_bytes;
        fits = fits && used + shown_bytes < capacity;
        if (!fits)
            continue;
        memcpy(out + used, shown, shown_bytes);
        used += shown_bytes;
    }
    if (capacity)
        out[used] = 0;
    return needed;
}
