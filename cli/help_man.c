/* Prints the manual page as troff and the completion script for bash. */
#include "help.h"

#include <string.h>

#include "command_line.h"

/* ---- troff ---- */

/* A word to be typed: its dashes are ASCII, not typographic. */
static void print_word(FILE *stream, const char *word)
{
    for (; *word; word++)
        fprintf(stream, "%s%c", *word == '-' ? "\\" : "", *word);
}

/* One character of valid UTF-8 (the tables hold no other) beyond ASCII, which troff takes by its
 * number only; returns its length. */
static size_t print_wide(FILE *stream, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t length = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    unsigned long code = at[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++)
        code = code << 6 | (at[i] & 0x3fu);
    fprintf(stream, "\\[u%04lX]", code);
    return length;
}

/* Text with what troff would obey made harmless; '\n' ends a paragraph. */
static void print_text(FILE *stream, const char *text)
{
    bool line_start = true;
    for (; *text; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            fputs("\\&", stream);
        line_start = *text == '\n';
        if ((unsigned char)*text >= 0x80)
            text += print_wide(stream, text) - 1;
        else if (*text == '\\')
            fputs("\\e", stream);
        else if (*text == '-')
            fputs("\\-", stream);
        else if (*text == '\n' && text[1])
            fputs("\n.PP\n", stream);
        else if (*text != '\n')
            fputc(*text, stream);
    }
}

static void print_option(FILE *stream, const struct cli_option *option, enum cli_verb_id verb)
{
    char fallback[64], range[96], text[768];
    fputs(".TP\n\\fB\\-\\-", stream);
    print_word(stream, option->name);
    if (option->argument) {
        fputs("\\fR \\fI", stream);
        print_text(stream, option->argument);
    }
    fputs("\\fR\n", stream);
    cli_option_default(option, verb, fallback);
    cli_option_range(option, range);
    snprintf(text, sizeof text, "%s.%s%s%s%s%s%s%s", option->help, *range ? " Range: " : "", range,
             *range ? "." : "", *fallback ? " Default: " : "", fallback, *fallback ? "." : "",
             option->required >> verb & 1 ? " Required." : "");
    print_text(stream, text);
    fputc('\n', stream);
}

static void print_command(FILE *stream, enum cli_verb_id id)
{
    const struct cli_verb *verb = &cli_verbs[id];
    fprintf(stream, ".SS \"dvit %s [OPTIONS]%s", verb->name, *verb->operands ? " " : "");
    print_text(stream, verb->operands);
    fputs("\"\n", stream);
    print_text(stream, verb->description);
    fputc('\n', stream);
    const struct cli_option *option;
    for (size_t i = 0; (option = cli_option_at(i)) != NULL; i++)
        if (option->verbs >> id & 1)
            print_option(stream, option, id);
}

void cli_help_man(FILE *stream)
{
    fprintf(stream, ".TH DVIT 1 \"\" \"dvit %s\" \"User Commands\"\n", dvit_version());
    fputs(".SH NAME\ndvit \\- dynamic vision transformers: learned token pruning for images\n"
          ".SH SYNOPSIS\n\\fBdvit\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n"
          ".SH DESCRIPTION\n"
          "A vision transformer cuts an image into patches, most of which do not decide the\n"
          "class. dvit trains such models, trains them to tell which patches matter, and runs\n"
          "them on those alone. Results go to standard output, progress and messages to standard\n"
          "error. Options are written \\fB\\-\\-name\\fR \\fIvalue\\fR or\n"
          "\\fB\\-\\-name=\\fR\\fIvalue\\fR; \\fB\\-\\-\\fR ends them.\n.SH COMMANDS\n",
          stream);
    for (int verb = 0; verb < VERB_COUNT; verb++)
        print_command(stream, (enum cli_verb_id)verb);
    fputs(
        ".SH MODELS\nA model is a file: one that dvit wrote, or a checkpoint of DynamicViT, DeiT,\n"
        "timm, Hugging Face or LV\\-ViT (PyTorch or safetensors; a Hugging Face model's\n"
        "config.json is looked for beside it). Or it is one of these presets:\n",
        stream);
    for (size_t i = 0; dvit_config_preset_name(i); i++) {
        fputs(i ? ", " : "", stream);
        print_word(stream, dvit_config_preset_name(i));
    }
    fputs(",\nor a text like vit:dim=192,depth=6,heads=3,patch=4,image=32,classes=10. Presets and\n"
          "texts are dense models with random weights.\n.SH EXIT STATUS\n",
          stream);
    for (int code = 0; code < CLI_EXIT_COUNT; code++) {
        fprintf(stream, ".TP\n%d\n", code);
        print_text(stream, cli_exit_table[code]);
        fputc('\n', stream);
    }
    fputs(".SH EXAMPLES\n.nf\n", stream);
    for (int verb = 0; verb < VERB_COUNT; verb++) {
        print_text(stream, cli_verbs[verb].example);
        fputc('\n', stream);
    }
    fputs(".fi\n", stream);
}

/* ---- bash ---- */

static void print_verbs(FILE *stream)
{
    for (int verb = 0; verb < VERB_COUNT; verb++)
        fprintf(stream, "%s ", cli_verbs[verb].name);
}

/* What may follow an option: words of a choice, presets and files, files, or nothing. */
static void print_values(FILE *stream, const struct cli_option *option, enum cli_verb_id verb)
{
    fprintf(stream, "    '%s --%s')\n        ", cli_verbs[verb].name, option->name);
    if (option->type == OPTION_CHOICE || option->type == OPTION_CHOICES) {
        fputs("COMPREPLY=($(compgen -W '", stream);
        for (const char *at = option->choices; *at; at++)
            fputc(*at == '|' ? ' ' : *at, stream);
        fputs("' -- \"$word\"))\n", stream);
    } else if (option->type == OPTION_TEXT || option->type == OPTION_TEXTS) {
        fputs("compopt -o filenames\n        COMPREPLY=($(compgen -f", stream);
        if (strcmp(option->name, "data") == 0)
            fputs(" -W builtin:scenes", stream);
        if (strcmp(option->name, "model") == 0) {
            fputs(" -W '", stream);
            for (size_t i = 0; dvit_config_preset_name(i); i++)
                fprintf(stream, "%s ", dvit_config_preset_name(i));
            fputc('\'', stream);
        }
        fputs(" -- \"$word\"))\n", stream);
    }
    fputs("        return;;\n", stream);
}

void cli_help_completion(FILE *stream)
{
    const struct cli_option *option;
    fputs("# Completion of dvit for bash; made by `dvit help --completion`.\n_dvit()\n{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    local verb=${COMP_WORDS[1]}\n    COMPREPLY=()\n"
          "    if ((COMP_CWORD == 1)) || [[ $verb == help && $word != -* ]]; then\n"
          "        COMPREPLY=($(compgen -W '",
          stream);
    print_verbs(stream);
    fputs("--help --version' -- \"$word\"))\n        return\n    fi\n"
          "    case \"$verb $previous\" in\n",
          stream);
    for (int verb = 0; verb < VERB_COUNT; verb++)
        for (size_t i = 0; (option = cli_option_at(i)) != NULL; i++)
            if ((option->verbs >> verb & 1) && option->argument)
                print_values(stream, option, (enum cli_verb_id)verb);
    fputs("    esac\n    if [[ $word != -* ]]; then\n        compopt -o filenames\n"
          "        COMPREPLY=($(compgen -f -- \"$word\"))\n        return\n    fi\n"
          "    case $verb in\n",
          stream);
    for (int verb = 0; verb < VERB_COUNT; verb++) {
        fprintf(stream, "    %s) COMPREPLY=($(compgen -W '", cli_verbs[verb].name);
        for (size_t i = 0; (option = cli_option_at(i)) != NULL; i++)
            if (option->verbs >> verb & 1)
                fprintf(stream, "--%s ", option->name);
        fputs("' -- \"$word\"));;\n", stream);
    }
    fputs("    esac\n}\ncomplete -F _dvit dvit\n", stream);
}
