/* Names compared character by character after their canonical decomposition. Marks are not put in
 * order: names of two normalisations have them in the same one, but for rare ones that carry
 * several, which are then told as different. */
#include "data/name_compare.h"

#include <stdint.h>
#include <string.h>

#include "base/utf8.h"
#include "data/decompositions.h"

#define BAD_TEXT 0xffffffffu
enum { MOST_PARTS = 4, REPLACEMENT = 0xfffd };

/* The character at *at, which moves on; 0 at the end, BAD_TEXT where it is not UTF-8. */
static uint32_t next_character(const char **at)
{
    unsigned long code;
    size_t bytes = dvit_utf8_decode(*at, &code);
    if (**at == 0)
        return 0;
    if (code == REPLACEMENT && bytes == 1)
        return BAD_TEXT;
    *at += bytes;
    return (uint32_t)code;
}

static const struct dvit_decomposition *find_decomposition(uint32_t character)
{
    size_t low = 0, high = sizeof dvit_decompositions / sizeof *dvit_decompositions;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct dvit_decomposition *entry = &dvit_decompositions[middle];
        if (entry->whole == character)
            return entry;
        if (entry->whole < character)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* A name read as decomposed characters. */
struct reader {
    const char *at;
    uint32_t parts[MOST_PARTS]; /* still to come of the last character, the next one last */
    int count;
};

static void push(struct reader *reader, uint32_t character)
{
    enum { FIRST = 0xac00, COUNT = 11172, VOWELS = 21, TAILS = 28 }; /* Hangul syllables */
    uint32_t syllable = character - FIRST;
    const struct dvit_decomposition *entry;
    if (character >= FIRST && syllable < COUNT) {
        if (syllable % TAILS)
            reader->parts[reader->count++] = 0x11a7 + syllable % TAILS;
        reader->parts[reader->count++] = 0x1161 + syllable / TAILS % VOWELS;
        reader->parts[reader->count++] = 0x1100 + syllable / TAILS / VOWELS;
        return;
    }
    while (character <= 0xffff && reader->count < MOST_PARTS - 1 &&
           (entry = find_decomposition(character)) != NULL) {
        if (entry->mark)
            reader->parts[reader->count++] = entry->mark;
        character = entry->base;
    }
    reader->parts[reader->count++] = character;
}

static uint32_t read_part(struct reader *reader)
{
    if (reader->count == 0) {
        uint32_t character = next_character(&reader->at);
        if (character == 0 || character == BAD_TEXT)
            return character;
        push(reader, character);
    }
    return reader->parts[--reader->count];
}

/* Letters of the alphabets with simple rules; what joins words is a blank. */
static uint32_t fold(uint32_t c)
{
    if (c == '_' || c == '-')
        return ' ';
    if ((c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xde) || (c >= 0x391 && c <= 0x3a9) ||
        (c >= 0x410 && c <= 0x42f))
        return c + 0x20;
    return c >= 0x400 && c <= 0x40f ? c + 0x50 : c;
}

enum dvit_name_difference dvit_name_compare(const char *a, const char *b)
{
    struct reader x = {.at = a}, y = {.at = b};
    enum dvit_name_difference found = DVIT_NAMES_DIFFER_IN_FORM;
    if (strcmp(a, b) == 0)
        return DVIT_NAMES_EQUAL;
    for (;;) {
        uint32_t p = read_part(&x), q = read_part(&y);
        if (p == BAD_TEXT || q == BAD_TEXT || fold(p) != fold(q))
            return DVIT_NAMES_DIFFER;
        if (p == 0)
            return found;
        if (p != q)
            found = DVIT_NAMES_DIFFER_IN_CASE;
    }
}

const char *dvit_name_find_near(const char *name, const char *const *names, size_t count,
                                size_t *nearest)
{
    enum dvit_name_difference best = DVIT_NAMES_DIFFER;
    for (size_t i = 0; names && i < count; i++) {
        enum dvit_name_difference difference = dvit_name_compare(name, names[i]);
        if (difference == DVIT_NAMES_EQUAL || difference >= best)
            continue;
        best = difference;
        *nearest = i;
    }
    if (best == DVIT_NAMES_DIFFER)
        return NULL;
    return best == DVIT_NAMES_DIFFER_IN_FORM
               ? "in Unicode normalisation only (NFC and NFD: macOS writes names so)"
               : "in upper and lower case, blanks or underscores only";
}
