/* Results as JSON lines and CSV rows: the same values under the same names. */
#include "record.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "json_lines.h"
#include "print.h"

static struct cli_field *append(struct cli_record *record, const char *name)
{
    assert(record->count < CLI_MAX_FIELDS);
    struct cli_field *field = &record->fields[record->count++];
    field->name = name;
    return field;
}

void cli_record_text(struct cli_record *record, const char *name, const char *value)
{
    struct cli_field *field = append(record, name);
    field->type = FIELD_TEXT;
    field->is.text = value;
}

void cli_record_whole(struct cli_record *record, const char *name, long long value)
{
    struct cli_field *field = append(record, name);
    field->type = FIELD_WHOLE;
    field->is.whole = value;
}

void cli_record_real(struct cli_record *record, const char *name, double value)
{
    struct cli_field *field = append(record, name);
    field->type = FIELD_REAL;
    field->is.real = value;
}

void cli_record_ints(struct cli_record *record, const char *name, const int *values, int count)
{
    struct cli_field *field = append(record, name);
    field->type = FIELD_INTS;
    field->is.ints.values = values;
    field->is.ints.count = count;
}

static void print_json(const struct cli_record *record)
{
    struct cli_json json = cli_json_begin(stdout);
    for (int i = 0; i < record->count; i++) {
        const struct cli_field *field = &record->fields[i];
        if (field->type == FIELD_TEXT)
            cli_json_string(&json, field->name, field->is.text);
        else if (field->type == FIELD_WHOLE)
            cli_json_integer(&json, field->name, field->is.whole);
        else if (field->type == FIELD_REAL)
            cli_json_real(&json, field->name, field->is.real);
        else {
            cli_json_open(&json, field->name, '[');
            for (int k = 0; k < field->is.ints.count; k++)
                cli_json_integer(&json, NULL, field->is.ints.values[k]);
            cli_json_close(&json, ']');
        }
    }
    cli_json_end(&json);
}

/* A spreadsheet computes what begins so, commands included, wherever the text came from. */
static bool is_formula(const char *text)
{
    return *text && strchr("=+-@\t\r", *text) != NULL;
}

static void print_quoted(const char *text)
{
    if (is_formula(text))
        putchar('\'');
    if (!text[strcspn(text, ",\"\r\n")]) {
        cli_print("%s", text);
        return;
    }
    putchar('"');
    while (*text) {
        size_t plain = strcspn(text, "\"");
        cli_print("%.*s%s", (int)plain, text, text[plain] ? "\"\"" : "");
        text += plain + (text[plain] != 0);
    }
    putchar('"');
}

static void print_cell(const struct cli_field *field)
{
    char text[CLI_REAL_TEXT];
    if (field->type == FIELD_TEXT) {
        print_quoted(field->is.text ? field->is.text : "");
    } else if (field->type == FIELD_WHOLE) {
        printf("%lld", field->is.whole);
    } else if (field->type == FIELD_REAL) {
        fputs(cli_real_text(field->is.real, text) ? text : "", stdout);
    } else {
        for (int k = 0; k < field->is.ints.count; k++)
            printf("%s%d", k ? "/" : "", field->is.ints.values[k]);
    }
}

void cli_record_print(const struct cli_record *record, bool csv)
{
    if (!csv) {
        print_json(record);
        return;
    }
    for (int i = 0; i < record->count; i++) {
        fputs(i ? "," : "", stdout);
        print_cell(&record->fields[i]);
    }
    fputs("\n", stdout);
    fflush(stdout);
}

void cli_record_print_names(const struct cli_record *record)
{
    for (int i = 0; i < record->count; i++) {
        fputs(i ? "," : "", stdout);
        print_quoted(record->fields[i].name);
    }
    fputs("\n", stdout);
}
