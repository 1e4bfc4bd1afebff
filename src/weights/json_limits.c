/* Counting brackets and commas in one pass: nesting and the number of values are what costs memory
 * in a parsed JSON, far more than its text. Does not parse. */
#include "weights/json_limits.h"

#include <stdbool.h>

enum dvit_status dvit_json_check(const unsigned char *text, size_t size_bytes,
                                 const struct dvit_json_limits *limits, const char *what,
                                 struct dvit_error *error)
{
    bool in_string = false;
    int depth = 0;
    size_t commas = 0, containers = 0;
    for (size_t i = 0; i < size_bytes; i++) {
        unsigned char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            containers++;
            if (++depth > limits->nesting)
                return dvit_error_set(error, DVIT_ERROR_FORMAT,
                                      "%s nests deeper than %d levels at byte %zu", what,
                                      limits->nesting, i);
        } else if (c == '}' || c == ']') {
            depth--;
        } else if (c == ',') {
            commas++;
        }
        if (commas > limits->commas || containers > limits->containers)
            return dvit_error_set(error, DVIT_ERROR_LIMIT,
                                  "%s has more than %zu values or %zu objects and arrays", what,
                                  limits->commas, limits->containers);
    }
    return DVIT_OK;
}
