/* Errors about unknown words, with the next thing to try: a synonym, another command's option, the
 * nearest name. */
#include "hints.h"

#include <string.h>

#include "dvit/train.h"
#include "synonyms.h"
#include "workbench.h"

enum { MAX_DISTANCE = 3, MAX_WORD = 64 };

static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t row[MAX_WORD + 1];
    if (a_length > MAX_WORD || b_length > MAX_WORD)
        return MAX_DISTANCE + 1;
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b_length];
}

const char *cli_nearest(const char *word, size_t length, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    size_t nearest_distance = MAX_DISTANCE + 1;
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(word, length, names[i], strlen(names[i]));
        /* a word that shares nothing with the name is no slip of the finger */
        if (distance < nearest_distance && distance < length && distance < strlen(names[i])) {
            nearest = names[i];
            nearest_distance = distance;
        }
    }
    return nearest;
}

static int shown_length(size_t length)
{
    return length < MAX_WORD ? (int)length : MAX_WORD;
}

/* A command that has the option; −1: none. */
static int verb_with(const char *name, size_t length)
{
    for (int verb = 0; verb < VERB_COUNT; verb++)
        if (cli_option_find(name, length, (enum cli_verb_id)verb))
            return verb;
    return -1;
}

static void report_nearest(const char *name, size_t length, enum cli_verb_id verb)
{
    const char *names[CLI_MAX_OPTIONS];
    size_t count = 0;
    const struct cli_option *option;
    for (size_t i = 0; (option = cli_option_at(i)) != NULL; i++)
        if (option->verbs >> verb & 1)
            names[count++] = option->name;
    const char *nearest = cli_nearest(name, length, names, count);
    const char *own = cli_verbs[verb].name;
    int shown = shown_length(length), other = verb_with(name, length);
    if (other >= 0)
        cli_error("%s: unknown option --%.*s (it is an option of `dvit %s`); see `dvit %s --help`",
                  own, shown, name, cli_verbs[other].name, own);
    else if (nearest)
        cli_error("%s: unknown option --%.*s; did you mean --%s?", own, shown, name, nearest);
    else
        cli_error("%s: unknown option --%.*s; see `dvit %s --help`", own, shown, name, own);
}

/* A word of the table that this command does not read as an option. */
static void report_synonym(const char *name, size_t length, const struct cli_synonym *synonym,
                           enum cli_verb_id verb)
{
    const char *own = cli_verbs[verb].name;
    int shown = shown_length(length);
    if (synonym->advice) {
        cli_error("%s: unknown option --%.*s; %s", own, shown, name, synonym->advice);
        return;
    }
    int other = verb_with(synonym->option, strlen(synonym->option));
    cli_error("%s: unknown option --%.*s (in dvit --%s, an option of `dvit %s`); see `dvit %s "
              "--help`",
              own, shown, name, synonym->option, cli_verbs[other].name, own);
}

/* The name as dvit writes names: "_" as "-", small letters. */
static size_t normalise(const char *name, size_t length, char out[MAX_WORD])
{
    for (size_t i = 0; i < length && i < MAX_WORD; i++)
        out[i] = name[i] == '_'                     ? '-'
                 : name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a')
                                                    : name[i];
    return length < MAX_WORD ? length : 0;
}

const struct cli_option *cli_hint_option(const char *name, size_t length, enum cli_verb_id verb)
{
    char word[MAX_WORD];
    size_t size = normalise(name, length, word);
    const struct cli_option *option = cli_option_find(word, size, verb);
    if (option)
        return option;
    const struct cli_synonym *synonym = cli_synonym_find(word, size, verb);
    if (synonym && synonym->option && !synonym->advice)
        option = cli_option_find(synonym->option, strlen(synonym->option), verb);
    if (option)
        return option;
    if (synonym)
        report_synonym(name, length, synonym, verb);
    else
        report_nearest(name, length, verb);
    return NULL;
}

void cli_hint_dash(const char *word, enum cli_verb_id verb)
{
    const char *own = cli_verbs[verb].name, *name = word + 1;
    size_t length = strcspn(name, "=");
    const struct cli_synonym *synonym = cli_synonym_find(name, length, verb);
    int shown = shown_length(length);
    if (cli_option_find(name, length, verb))
        cli_error("%s: unknown option -%.*s; options begin with two dashes: --%.*s", own, shown,
                  name, shown, name);
    else if (synonym && synonym->advice)
        cli_error("%s: unknown option -%.*s; %s", own, shown, name, synonym->advice);
    else if (synonym)
        cli_error("%s: unknown option -%.*s; options begin with two dashes: --%s", own, shown, name,
                  synonym->option);
    else
        cli_error("%s: unknown option %s; options begin with two dashes", own, word);
}

bool cli_names_model(const char *operand)
{
    static const char *const endings[] = {".safetensors", ".pth", ".pt", ".bin", ".pth.tar"};
    size_t length = strlen(operand);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t end = strlen(endings[i]);
        if (length > end && strcmp(operand + length - end, endings[i]) == 0)
            return true;
    }
    return cli_is_folder(operand) && dvit_run_exists(operand);
}

void cli_hint_command(const char *name)
{
    const char *names[VERB_COUNT], *command = cli_synonym_command(name);
    for (int verb = 0; verb < VERB_COUNT; verb++)
        names[verb] = cli_verbs[verb].name;
    const char *nearest = cli_nearest(name, strlen(name), names, VERB_COUNT);
    if (command)
        cli_error("unknown command \"%s\"; in dvit that is `dvit %s`", name, command);
    else if (nearest)
        cli_error("unknown command \"%s\"; did you mean \"%s\"?", name, nearest);
    else
        cli_error("unknown command \"%s\"; see `dvit --help`", name);
}
