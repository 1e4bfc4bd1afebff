/* Writes JSON. Strings may hold any bytes (file names do): what is not UTF-8 becomes U+FFFD, so
 * that the line is always valid JSON, and controls of every kind are written as \u202e, so that a
 * terminal does not obey them. */
#include "json_lines.h"

#include <stdlib.h>
#include <string.h>

#include "dvit/status.h"

struct cli_json cli_json_begin(FILE *stream)
{
    fputc('{', stream);
    return (struct cli_json){.stream = stream};
}

void cli_json_end(struct cli_json *json)
{
    fputs("}\n", json->stream);
    fflush(json->stream);
}

/* Length of the UTF-8 sequence at `at` (shortest form, no surrogates), 0 where there is none. */
static int sequence_length(const unsigned char *at)
{
    static const struct {
        unsigned char first, last, low, high; /* of the lead byte, of the second byte */
        int length;
    } forms[] = {
        {0x01, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (at[0] < forms[i].first || at[0] > forms[i].last)
            continue;
        if (forms[i].length > 1 && (at[1] < forms[i].low || at[1] > forms[i].high))
            return 0;
        for (int j = 2; j < forms[i].length; j++)
            if ((at[j] & 0xc0) != 0x80)
                return 0;
        return forms[i].length;
    }
    return 0;
}

/* A character of `length` bytes that JSON may have as it is. */
static void write_character(FILE *stream, const unsigned char *at, int length)
{
    char character[5] = "", shown[16];
    memcpy(character, at, (size_t)length);
    dvit_text_display(shown, sizeof shown, character); /* \u202e is JSON's way, too */
    fputs(shown, stream);
}

static void write_string(FILE *stream, const char *text)
{
    fputc('"', stream);
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        int length = sequence_length(at);
        if (*at == '"' || *at == '\\')
            fprintf(stream, "\\%c", *at);
        else if (*at < ' ' || *at == 127)
            fprintf(stream, "\\u%04x", *at);
        else if (length == 0)
            fputs("\xef\xbf\xbd", stream);
        else
            write_character(stream, at, length);
        at += length ? length : 1;
    }
    fputc('"', stream);
}

static void begin_value(struct cli_json *json, const char *name)
{
    if (json->comma)
        fputs(", ", json->stream);
    json->comma = true;
    if (!name)
        return;
    write_string(json->stream, name);
    fputs(": ", json->stream);
}

void cli_json_open(struct cli_json *json, const char *name, char bracket)
{
    begin_value(json, name);
    fputc(bracket, json->stream);
    json->comma = false;
}

void cli_json_close(struct cli_json *json, char bracket)
{
    fputc(bracket, json->stream);
    json->comma = true;
}

void cli_json_string(struct cli_json *json, const char *name, const char *value)
{
    begin_value(json, name);
    if (value)
        write_string(json->stream, value);
    else
        fputs("null", json->stream);
}

void cli_json_bool(struct cli_json *json, const char *name, bool value)
{
    begin_value(json, name);
    fputs(value ? "true" : "false", json->stream);
}

void cli_json_integer(struct cli_json *json, const char *name, long long value)
{
    begin_value(json, name);
    fprintf(json->stream, "%lld", value);
}

bool cli_real_text(double value, char text[CLI_REAL_TEXT])
{
    bool finite = value - value == 0;
    snprintf(text, CLI_REAL_TEXT, "null");
    for (int digits = 15; finite && digits <= 17; digits++) {
        snprintf(text, CLI_REAL_TEXT, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return finite;
}

void cli_json_real(struct cli_json *json, const char *name, double value)
{
    char text[CLI_REAL_TEXT];
    begin_value(json, name);
    cli_real_text(value, text);
    fputs(text, json->stream);
}

void cli_json_float(struct cli_json *json, const char *name, float value)
{
    char text[40] = "null";
    begin_value(json, name);
    for (int digits = 6; value - value == 0 && digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    fputs(text, json->stream);
}
