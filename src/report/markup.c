/* Growing text and the treatment of foreign text.
 *
 * Knows UTF-8, the five characters that HTML reserves, and base64; knows nothing of tables, charts
 * or pages. Terminal widths come from a short table of ranges instead of wcwidth(), whose answer
 * would depend on the process's locale. */
#include "report/markup.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"

/* Room for `more` bytes and the terminator. */
static bool reserve(struct dvit_markup *markup, size_t more)
{
    if (markup->failed || more >= SIZE_MAX / 2 - markup->length) {
        markup->failed = true;
        return false;
    }
    size_t need = markup->length + more + 1;
    if (need <= markup->capacity)
        return true;
    size_t capacity = markup->capacity ? markup->capacity : 256;
    while (capacity < need)
        capacity *= 2;
    char *text = realloc(markup->text, capacity);
    if (!text) {
        markup->failed = true;
        return false;
    }
    markup->text = text;
    markup->capacity = capacity;
    return true;
}

void dvit_markup_add_bytes(struct dvit_markup *markup, const void *bytes, size_t count)
{
    if (!reserve(markup, count))
        return;
    if (count)
        memcpy(markup->text + markup->length, bytes, count);
    markup->length += count;
    markup->text[markup->length] = 0;
}

void dvit_markup_add(struct dvit_markup *markup, const char *text)
{
    dvit_markup_add_bytes(markup, text, strlen(text));
}

void dvit_markup_format(struct dvit_markup *markup, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = dvit_decimal_format_list(NULL, 0, format, arguments);
    if (length < 0)
        markup->failed = true;
    else if (reserve(markup, (size_t)length)) {
        dvit_decimal_format_list(markup->text + markup->length, (size_t)length + 1, format, again);
        markup->length += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
}

static const char *entity(unsigned long code)
{
    switch (code) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static void add_foreign(struct dvit_markup *markup, const char *text, bool escape)
{
    if (!text)
        return;
    for (size_t length, shown_bytes; *text; text += length) {
        char shown[DVIT_UTF8_SHOWN];
        unsigned long code;
        dvit_utf8_decode(text, &code);
        length = dvit_utf8_show(text, shown, &shown_bytes);
        const char *replacement = escape ? entity(code) : NULL;
        if ((code & 0xfffe) == 0xfffe) /* noncharacters: not in HTML */
            replacement = "\xef\xbf\xbd";
        if (replacement)
            dvit_markup_add(markup, replacement);
        else
            dvit_markup_add_bytes(markup, shown, shown_bytes);
    }
}

void dvit_markup_clean(struct dvit_markup *markup, const char *text)
{
    add_foreign(markup, text, false);
}

void dvit_markup_escape(struct dvit_markup *markup, const char *text)
{
    add_foreign(markup, text, true);
}

void dvit_markup_number(struct dvit_markup *markup, double value, int decimals)
{
    long long unit = 1;
    for (int i = 0; i < decimals; i++)
        unit *= 10;
    long long scaled = llround(fmin(fmax(value * (double)unit, -1e15), 1e15));
    long long rest = llabs(scaled);
    dvit_markup_format(markup, "%s%lld", scaled < 0 ? "-" : "", rest / unit);
    if (decimals > 0)
        dvit_markup_format(markup, ".%0*lld", decimals, rest % unit);
}

void dvit_markup_base64(struct dvit_markup *markup, const void *bytes, size_t count)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = bytes;
    if (count > SIZE_MAX / 4 || !reserve(markup, (count + 2) / 3 * 4)) {
        markup->failed = true;
        return;
    }
    char *out = markup->text + markup->length;
    for (size_t i = 0; i < count; i += 3) {
        unsigned second = i + 1 < count ? in[i + 1] : 0;
        unsigned third = i + 2 < count ? in[i + 2] : 0;
        unsigned word = (unsigned)in[i] << 16 | second << 8 | third;
        *out++ = digits[word >> 18];
        *out++ = digits[word >> 12 & 63];
        *out++ = i + 1 < count ? digits[word >> 6 & 63] : '=';
        *out++ = i + 2 < count ? digits[word & 63] : '=';
    }
    *out = 0;
    markup->length = (size_t)(out - markup->text);
}

enum dvit_status dvit_markup_take(struct dvit_markup *markup, const char *what, char **out,
                                  size_t *length, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    *out = NULL;
    if (!reserve(markup, 0))
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "%s: out of memory after %zu bytes", what,
                  markup->length);
    markup->text[markup->length] = 0;
    *out = markup->text;
    if (length)
        *length = markup->length;
    *markup = (struct dvit_markup){0};
done:
    dvit_markup_free(markup);
    return status;
}

void dvit_markup_free(struct dvit_markup *markup)
{
    free(markup->text);
    *markup = (struct dvit_markup){0};
}

struct range {
    unsigned long first, last;
};

static bool is_in(unsigned long code, const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    return false;
}

size_t dvit_utf8_columns(const char *text)
{
    /* The blocks of combining marks and joiners, and of East Asian width W and F (Unicode 15,
     * whole blocks: good enough to align a table). */
    static const struct range none[] = {{0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd},
                                        {0x064b, 0x065f}, {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff},
                                        {0x200b, 0x200f}, {0x2060, 0x2064}, {0x20d0, 0x20ff},
                                        {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}};
    static const struct range two[] = {{0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},
                                       {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},
                                       {0xff00, 0xff60},   {0xffe0, 0xffe6},   {0x1f300, 0x1f64f},
                                       {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};
    size_t columns = 0;
    unsigned long code;
    for (size_t length; *text; text += length) {
        length = dvit_utf8_decode(text, &code);
        if (is_in(code, none, sizeof none / sizeof *none))
            continue;
        columns += is_in(code, two, sizeof two / sizeof *two) ? 2 : 1;
    }
    return columns;
}
