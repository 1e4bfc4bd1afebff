/* Prints help for a terminal: text wrapped at 80 columns. */
#include "help.h"

#include <string.h>

#include "command_line.h"

enum { COLUMNS = 80, OPTION_INDENT = 26 };

/* Columns of the first `bytes` bytes: UTF-8 continuation bytes take none. */
static int columns_of(const char *text, size_t bytes)
{
    int columns = 0;
    for (size_t i = 0; i < bytes; i++)
        columns += ((unsigned char)text[i] & 0xc0) != 0x80;
    return columns;
}

/* Prints `text` word by word from column `at`, further lines at `indent`; '\n' in the text begins
 * a new line. Ends with a newline. */
static void print_wrapped(FILE *stream, const char *text, int at, int indent)
{
    while (*text) {
        size_t length = strcspn(text, " \n");
        int width = columns_of(text, length);
        if (at > indent && at + 1 + width > COLUMNS) {
            fprintf(stream, "\n%*s", indent, "");
            at = indent;
        } else if (at > indent) {
            fputc(' ', stream);
            at++;
        }
        fwrite(text, 1, length, stream);
        at += width;
        text += length;
        if (*text == '\n' && text[1]) {
            fprintf(stream, "\n%*s", indent, "");
            at = indent;
        }
        text += *text != 0;
    }
    fputc('\n', stream);
}

static void print_exit_codes(FILE *stream)
{
    fputs("\nExit codes:\n", stream);
    for (int code = 0; code < CLI_EXIT_COUNT; code++)
        fprintf(stream, "  %d  %s\n", code, cli_exit_table[code]);
}

void cli_help_overview(FILE *stream)
{
    fputs("usage: dvit COMMAND [OPTIONS]\n\n"
          "Dynamic vision transformers: train a dense model, learn which patches matter, and\n"
          "answer faster without the others.\n\nCommands:\n",
          stream);
    for (int verb = 0; verb < VERB_COUNT; verb++)
        fprintf(stream, "  %-10s %s\n", cli_verbs[verb].name, cli_verbs[verb].summary);
    fputs("\n`dvit COMMAND --help` tells a command's options, `dvit --version` the version.\n",
          stream);
    print_exit_codes(stream);
}

static void print_option(FILE *stream, const struct cli_option *option, enum cli_verb_id verb)
{
    char head[96], text[512], fallback[64], range[96];
    snprintf(head, sizeof head, "  --%s%s%s", option->name, option->argument ? " " : "",
             option->argument ? option->argument : "");
    int at = columns_of(head, strlen(head));
    fputs(head, stream);
    if (at + 2 > OPTION_INDENT)
        fprintf(stream, "\n%*s", OPTION_INDENT, "");
    else
        fprintf(stream, "%*s", OPTION_INDENT - at, "");
    cli_option_default(option, verb, fallback);
    cli_option_range(option, range);
    bool required = (option->required >> verb & 1) != 0;
    snprintf(text, sizeof text, "%s%s%s%s%s%s%s%s", option->help, *range ? " (" : "", range,
             *range ? ")" : "", *fallback ? " [" : "", fallback, *fallback ? "]" : "",
             required ? " [required]" : "");
    print_wrapped(stream, text, OPTION_INDENT, OPTION_INDENT);
}

static void print_presets(FILE *stream)
{
    char text[512] = "Presets:";
    for (size_t i = 0; dvit_config_preset_name(i); i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, " %s", dvit_config_preset_name(i));
    }
    fputc('\n', stream);
    print_wrapped(stream, text, 0, 0);
}

void cli_help_verb(FILE *stream, enum cli_verb_id id)
{
    const struct cli_verb *verb = &cli_verbs[id];
    fprintf(stream, "usage: dvit %s [OPTIONS]%s%s\n\n", verb->name, *verb->operands ? " " : "",
            verb->operands);
    print_wrapped(stream, verb->description, 0, 0);
    if (verb->operand_option)
        fprintf(stream, "\n%s stands for --%s.\n", verb->operands, verb->operand_option);
    fputs("\nOptions: (range) [default]\n", stream);
    const struct cli_option *option;
    for (size_t i = 0; (option = cli_option_at(i)) != NULL; i++)
        if (option->verbs >> id & 1)
            print_option(stream, option, id);
    if (cli_option_find("model", 5, id))
        print_presets(stream);
    fprintf(stream, "\nExample:\n  %s\n", verb->example);
    print_exit_codes(stream);
}
