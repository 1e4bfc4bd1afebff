/* One result as named values, for programs: a JSON object on a line, or a row of a CSV table. */
#ifndef DVIT_CLI_RECORD_H
#define DVIT_CLI_RECORD_H

#include <stdbool.h>

enum { CLI_MAX_FIELDS = 48 };

struct cli_field {
    const char *name;
    enum { FIELD_TEXT, FIELD_WHOLE, FIELD_REAL, FIELD_INTS } type;
    union {
        const char *text; /* borrowed; NULL: there is none */
        long long whole;
        double real; /* not finite: there is none */
        struct {
            const int *values; /* borrowed */
            int count;
        } ints;
    } is;
};

struct cli_record {
    int count;
    struct cli_field fields[CLI_MAX_FIELDS];
};

/* Values in the order in which they are shown; names are borrowed. */
void cli_record_text(struct cli_record *record, const char *name, const char *value);
void cli_record_whole(struct cli_record *record, const char *name, long long value);
void cli_record_real(struct cli_record *record, const char *name, double value);
void cli_record_ints(struct cli_record *record, const char *name, const int *values, int count);

/* Prints one line on standard output: JSON, an empty value as null, or CSV, an empty
 * value as nothing and several numbers as 137/96/67. */
void cli_record_print(const struct cli_record *record, bool csv);
/* The names as the first line of a CSV table. */
void cli_record_print_names(const struct cli_record *record);

#endif
