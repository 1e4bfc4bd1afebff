/* One JSON object per line on a stream. The caller's calls make the structure; names are only for
 * members of objects, NULL for elements of arrays. */
#ifndef DVIT_CLI_JSON_LINES_H
#define DVIT_CLI_JSON_LINES_H

#include <stdbool.h>
#include <stdio.h>

struct cli_json {
    FILE *stream;
    bool comma; /* the next value follows another one */
};

struct cli_json cli_json_begin(FILE *stream);
/* Ends the line and flushes it, so that a reader of a pipe sees each object at once. */
void cli_json_end(struct cli_json *json);

void cli_json_open(struct cli_json *json, const char *name, char bracket);        /* '{' or '[' */
void cli_json_close(struct cli_json *json, char bracket);                         /* '}' or ']' */
void cli_json_string(struct cli_json *json, const char *name, const char *value); /* NULL: null */
void cli_json_bool(struct cli_json *json, const char *name, bool value);
void cli_json_integer(struct cli_json *json, const char *name, long long value);
/* The shortest text that reads back as the same double; false, and "null", where it is not finite.
 */
enum { CLI_REAL_TEXT = 40 };
bool cli_real_text(double value, char text[CLI_REAL_TEXT]);
/* The shortest text that reads back as the same double; null where it is not finite. */
void cli_json_real(struct cli_json *json, const char *name, double value);
/* The same for a float, which needs fewer digits. */
void cli_json_float(struct cli_json *json, const char *name, float value);

#endif
