/* Looking at what a pickle holds: comparing values with what is expected, naming them for messages,
 * and the names of the instructions that are not understood. Makes and changes nothing. */
#include <stdio.h>
#include <string.h>

#include "weights/pickle.h"
#include "weights/text.h"

/* Instructions of other pickles, to be refused by name. */
static const struct {
    unsigned char opcode, protocol;
    const char *name;
} refused[] = {
    {'0', 0, "POP"},
    {'1', 0, "POP_MARK"},
    {'2', 0, "DUP"},
    {'F', 0, "FLOAT"},
    {'I', 0, "INT"},
    {'L', 0, "LONG"},
    {'P', 0, "PERSID"},
    {'S', 0, "STRING"},
    {'T', 1, "BINSTRING"},
    {'V', 0, "UNICODE"},
    {'d', 0, "DICT"},
    {'g', 0, "GET"},
    {'i', 0, "INST"},
    {'l', 0, "LIST"},
    {'o', 1, "OBJ"},
    {'p', 0, "PUT"},
    {0x80, 2, "PROTO"},
    {0x82, 2, "EXT1"},
    {0x83, 2, "EXT2"},
    {0x84, 2, "EXT4"},
    {0x8b, 2, "LONG4"},
    {'B', 3, "BINBYTES"},
    {'C', 3, "SHORT_BINBYTES"},
    {0x8c, 4, "SHORT_BINUNICODE"},
    {0x8d, 4, "BINUNICODE8"},
    {0x8e, 4, "BINBYTES8"},
    {0x90, 4, "ADDITEMS"},
    {0x91, 4, "FROZENSET"},
    {0x92, 4, "NEWOBJ_EX"},
    {0x93, 4, "STACK_GLOBAL"},
    {0x94, 4, "MEMOIZE"},
    {0x95, 4, "FRAME"},
    {0x96, 5, "BYTEARRAY8"},
    {0x97, 5, "NEXT_BUFFER"},
    {0x98, 5, "READONLY_BUFFER"},
};

const char *dvit_pickle_opcode_name(unsigned char opcode, int *protocol)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        *protocol = refused[i].protocol;
        if (refused[i].opcode == opcode)
            return refused[i].name;
    }
    return NULL;
}

bool dvit_value_is_global(const struct dvit_value *value, const char *module, const char *name)
{
    size_t first = strlen(module), second = strlen(name);
    return value && value->kind == DVIT_VALUE_GLOBAL && value->count == first + 1 + second &&
           memcmp(value->bytes, module, first) == 0 && value->bytes[first] == '\n' &&
           memcmp(value->bytes + first + 1, name, second) == 0;
}

bool dvit_value_is_text(const struct dvit_value *value, const char *text)
{
    size_t length = strlen(text);
    return value && value->kind == DVIT_VALUE_TEXT && value->count == length &&
           memcmp(value->bytes, text, length) == 0;
}

struct dvit_value_class dvit_value_class_show(const struct dvit_value *value)
{
    struct dvit_value_class shown;
    if (value->kind == DVIT_VALUE_OBJECT)
        value = value->items[DVIT_OBJECT_CLASS];
    if (value->kind != DVIT_VALUE_GLOBAL) { /* the result of a call, called again */
        snprintf(shown.text, sizeof shown.text, "(computed)");
        return shown;
    }
    const unsigned char *newline = memchr(value->bytes, '\n', value->count);
    size_t module = (size_t)(newline - value->bytes);
    char first[64], second[64];
    dvit_text_escape((const char *)value->bytes, module, first, sizeof first - 1);
    dvit_text_escape((const char *)newline + 1, value->count - module - 1, second, sizeof second);
    snprintf(shown.text, sizeof shown.text, "%.62s.%.63s", first, second);
    return shown;
}
