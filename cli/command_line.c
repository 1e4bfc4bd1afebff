/* Reads a command line by the table of options: strictly, naming bounds, never clamping.
 *
 * It knows types and ranges only; what options mean together is checked by the commands. */
#include "command_line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hints.h"

enum { MAX_WORD = 64 };

/* ---- the table ---- */

static bool has_verb(const struct cli_option *option, enum cli_verb_id verb)
{
    return (option->verbs >> verb & 1) != 0;
}

/* The row of an option as `verb` knows it; past the last row where there is none. */
static size_t index_of(const char *name, size_t length, enum cli_verb_id verb)
{
    size_t i = 0;
    for (const struct cli_option *option; (option = cli_option_at(i)) != NULL; i++)
        if (has_verb(option, verb) && strlen(option->name) == length &&
            memcmp(option->name, name, length) == 0)
            break;
    return i;
}

const struct cli_option *cli_option_find(const char *name, size_t length, enum cli_verb_id verb)
{
    return cli_option_at(index_of(name, length, verb));
}

/* ---- numbers ---- */

static bool parse_whole(const char *text, size_t length, long long *value)
{
    char copy[MAX_WORD];
    if (length == 0 || length >= sizeof copy || strspn(text, "+-0123456789") < length)
        return false;
    memcpy(copy, text, length);
    copy[length] = 0;
    char *end = NULL;
    errno = 0;
    *value = strtoll(copy, &end, 10);
    return *end == 0 && end != copy && errno == 0;
}

static bool parse_real(const char *text, size_t length, double *value)
{
    char copy[MAX_WORD];
    if (length == 0 || length >= sizeof copy || strspn(text, "+-.eE0123456789") < length)
        return false;
    memcpy(copy, text, length);
    copy[length] = 0;
    char *end = NULL;
    errno = 0;
    *value = strtod(copy, &end);
    return *end == 0 && end != copy &&
           (errno == 0 || *value == 0); /* too small to tell from 0 is 0 */
}

static bool parse_seed(const char *text, uint64_t *value)
{
    if (!*text || strlen(text) > 20 || strspn(text, "0123456789") != strlen(text))
        return false;
    errno = 0;
    *value = strtoull(text, NULL, 10);
    return errno == 0;
}

static bool in_range(const struct cli_option *option, double value)
{
    return (option->above_min ? value > option->min : value >= option->min) &&
           (option->below_max ? value < option->max : value <= option->max);
}

const char *cli_option_range(const struct cli_option *option, char text[96])
{
    text[0] = 0;
    switch (option->type) {
    case OPTION_INT:
    case OPTION_INTS:
    case OPTION_SIZE:
    case OPTION_REAL:
    case OPTION_SPAN:
    case OPTION_REALS:
        if (option->above_min || option->below_max)
            snprintf(text, 96, "%s %.10g, %s %.10g%s%s", option->above_min ? "above" : "at least",
                     option->min, option->below_max ? "below" : "at most", option->max,
                     option->word ? ", or " : "", option->word ? option->word : "");
        else
            snprintf(text, 96, "%.10g to %.10g%s%s", option->min, option->max,
                     option->word ? ", or " : "", option->word ? option->word : "");
        break;
    case OPTION_CHOICE:
    case OPTION_CHOICES:
        snprintf(text, 96, "%s of %s", option->type == OPTION_CHOICE ? "one" : "some",
                 option->choices);
        break;
    case OPTION_SEED:
        snprintf(text, 96, "0 to 18446744073709551615");
        break;
    default:
        break;
    }
    return text;
}

static bool bad_value(const struct cli_option *option, const char *text, const char *kind)
{
    char range[96];
    cli_option_range(option, range);
    cli_error("--%s is \"%s\", expected %s%s%s", option->name, text, kind,
              *range && *kind ? ", " : "", range);
    return false;
}

/* One number of the option's type into *value; reports a mistake. */
static bool read_number(const struct cli_option *option, const char *text, size_t length,
                        double *value)
{
    bool whole =
        option->type == OPTION_INT || option->type == OPTION_INTS || option->type == OPTION_SIZE;
    long long integer = 0;
    char shown[MAX_WORD];
    snprintf(shown, sizeof shown, "%.*s", length < MAX_WORD ? (int)length : MAX_WORD - 1, text);
    if (whole ? !parse_whole(text, length, &integer) : !parse_real(text, length, value))
        return bad_value(option, shown, whole ? "a whole number" : "a number");
    if (whole)
        *value = (double)integer;
    if (!in_range(option, *value))
        return bad_value(option, shown, whole ? "a whole number" : "a number");
    return true;
}

/* "0.7" is one number, "0.5..1" everything between two. */
static bool read_span(const struct cli_option *option, const char *text, struct cli_span *field)
{
    const char *dots = strstr(text, "..");
    size_t length = dots ? (size_t)(dots - text) : strlen(text);
    struct cli_span span;
    if (!read_number(option, text, length, &span.low))
        return false;
    span.high = span.low;
    if (dots && !read_number(option, dots + 2, strlen(dots + 2), &span.high))
        return false;
    if (span.high < span.low)
        return bad_value(option, text, "the lower number first");
    *field = span;
    return true;
}

/* "384" is a square, "384x256" width by height. */
static bool read_size(const struct cli_option *option, const char *text, struct cli_size *field)
{
    size_t length = strcspn(text, "x");
    const char *rest = text[length] ? text + length + 1 : text;
    double width = 0, height = 0;
    if (!read_number(option, text, length, &width) ||
        !read_number(option, rest, strlen(rest), &height))
        return false;
    *field = (struct cli_size){(int)width, (int)height};
    return true;
}

static bool read_list(const struct cli_option *option, const char *text, void *field)
{
    struct cli_ints *ints = option->type == OPTION_INTS ? field : NULL;
    struct cli_reals *reals = option->type == OPTION_REALS ? field : NULL;
    int count = 0;
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        double value = 0;
        if (count == CLI_MAX_NUMBERS) {
            cli_error("--%s has too many numbers, expected at most %d", option->name,
                      CLI_MAX_NUMBERS);
            return false;
        }
        if (!read_number(option, at, length, &value))
            return false;
        if (ints)
            ints->values[count++] = (int)value;
        else
            reals->values[count++] = value;
        at += length;
        if (!*at)
            break;
    }
    *(ints ? &ints->count : &reals->count) = count;
    return true;
}

static bool read_text(const struct cli_option *option, const char *text, void *field)
{
    if (!*text)
        return bad_value(option, text, "a text that is not empty");
    if (option->type == OPTION_TEXT) {
        *(const char **)field = text;
        return true;
    }
    struct cli_texts *texts = field;
    if (texts->count == CLI_MAX_TEXTS) {
        cli_error("--%s is given too often, expected at most %d times", option->name,
                  CLI_MAX_TEXTS);
        return false;
    }
    texts->values[texts->count++] = text;
    return true;
}

static bool is_choice(const struct cli_option *option, const char *text, size_t length)
{
    for (const char *at = option->choices;; at++) {
        size_t word = strcspn(at, "|");
        if (word == length && memcmp(at, text, length) == 0)
            return true;
        at += word;
        if (!*at)
            return false;
    }
}

static bool read_choice(const struct cli_option *option, const char *text, const char **field)
{
    if (!is_choice(option, text, strlen(text)))
        return bad_value(option, text, "");
    *field = text;
    return true;
}

static bool read_choices(const struct cli_option *option, const char *text, struct cli_words *field)
{
    struct cli_words words = {0};
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        if (!is_choice(option, at, length) || length >= sizeof words.values[0])
            return bad_value(option, text, "");
        if (words.count == CLI_MAX_NUMBERS) {
            cli_error("--%s has too many words, expected at most %d", option->name,
                      CLI_MAX_NUMBERS);
            return false;
        }
        memcpy(words.values[words.count++], at, length); /* the rest is zero */
        at += length;
        if (!*at)
            break;
    }
    *field = words;
    return true;
}

static bool set_value(struct cli_options *options, const struct cli_option *option,
                      const char *text)
{
    void *field = (char *)options + option->field;
    double value = 0;
    switch (option->type) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return true;
    case OPTION_FLAG_NO:
        *(bool *)field = false;
        return true;
    case OPTION_INT:
        if (option->word && strcmp(text, option->word) == 0) {
            *(int *)field = CLI_WORD;
            return true;
        }
        if (!read_number(option, text, strlen(text), &value))
            return false;
        *(int *)field = (int)value;
        return true;
    case OPTION_REAL:
        if (option->word && strcmp(text, option->word) == 0) {
            *(double *)field = CLI_WORD;
            return true;
        }
        return read_number(option, text, strlen(text), field);
    case OPTION_SPAN:
        return read_span(option, text, field);
    case OPTION_SIZE:
        return read_size(option, text, field);
    case OPTION_SEED:
        return parse_seed(text, field) || bad_value(option, text, "a whole number");
    case OPTION_TEXT:
    case OPTION_TEXTS:
        return read_text(option, text, field);
    case OPTION_CHOICE:
        return read_choice(option, text, field);
    case OPTION_CHOICES:
        return read_choices(option, text, field);
    case OPTION_INTS:
    case OPTION_REALS:
        return read_list(option, text, field);
    }
    return false;
}

/* ---- defaults ---- */

void cli_options_default(struct cli_options *options, enum cli_verb_id verb)
{
    *options = (struct cli_options){.verb = verb, .exif = true};
    options->train =
        verb == VERB_SPARSIFY ? dvit_train_options_sparsify() : dvit_train_options_dense();
    options->keep_span = (struct cli_span){options->train.keep, options->train.keep};
    const struct cli_option *option;
    for (size_t i = 0; (option = cli_option_at(i)) != NULL; i++)
        if (has_verb(option, verb) && option->default_text)
            set_value(options, option, option->default_text);
}

const char *cli_option_default(const struct cli_option *option, enum cli_verb_id verb,
                               char text[64])
{
    struct cli_options options;
    text[0] = 0;
    if (option->default_text) {
        snprintf(text, 64, "%s", option->default_text);
        return text;
    }
    /* fields of the training options always have a value; elsewhere 0 means "not given" */
    bool training = option->field >= offsetof(struct cli_options, train) &&
                    option->field < offsetof(struct cli_options, train) + sizeof options.train;
    if (!training && option->type != OPTION_SPAN)
        return text;
    cli_options_default(&options, verb);
    const void *field = (const char *)&options + option->field;
    if (option->type == OPTION_INT)
        snprintf(text, 64, "%d", *(const int *)field);
    else if (option->type == OPTION_REAL)
        snprintf(text, 64, "%.10g", *(const double *)field);
    else if (option->type == OPTION_SPAN)
        snprintf(text, 64, "%.10g", ((const struct cli_span *)field)->low);
    return text;
}

/* ---- parsing ---- */

/* Reads the option at arguments[*at] and advances *at over a value of its own. */
static bool parse_option(struct cli_options *options, int count, char **arguments, int *at,
                         bool *given)
{
    const char *name = arguments[*at] + 2;
    size_t length = strcspn(name, "=");
    const char *value = name[length] ? name + length + 1 : NULL;
    size_t index = index_of(name, length, options->verb);
    const struct cli_option *option = cli_option_at(index);
    if (!option) {
        option = cli_hint_option(name, length, options->verb);
        if (!option)
            return false;
        index = index_of(option->name, strlen(option->name), options->verb);
        if (options->read_as_count < CLI_MAX_READ_AS)
            options->read_as[options->read_as_count++] =
                (struct cli_read_as){name, (int)length, option->name};
    }
    if (option->type == OPTION_TEXTS && !given[index])
        ((struct cli_texts *)((char *)options + option->field))->count = 0; /* not the default */
    given[index] = true;
    if (!option->argument) {
        if (value) {
            cli_error("--%s takes no value, got \"%s\"", option->name, value);
            return false;
        }
        return set_value(options, option, NULL);
    }
    if (!value && *at + 1 >= count) {
        cli_error("--%s needs a value: --%s %s", option->name, option->name, option->argument);
        return false;
    }
    return set_value(options, option, value ? value : arguments[++*at]);
}

static bool check_required(enum cli_verb_id verb, const bool *given)
{
    const struct cli_option *option;
    for (size_t i = 0; (option = cli_option_at(i)) != NULL; i++)
        if ((option->required >> verb & 1) && !given[i]) {
            cli_error("%s: --%s %s is missing, as in: %s", cli_verbs[verb].name, option->name,
                      option->argument, cli_verbs[verb].example);
            return false;
        }
    return true;
}

static bool check_operands(const struct cli_options *options)
{
    const struct cli_verb *verb = &cli_verbs[options->verb];
    if (options->operand_count > verb->max_operands) {
        cli_error("%s: unexpected \"%s\"; see `dvit %s --help`", verb->name,
                  options->operands[verb->max_operands], verb->name);
        return false;
    }
    if (options->operand_count < verb->min_operands) {
        cli_error("%s: %s is missing, as in: %s", verb->name, verb->operands, verb->example);
        return false;
    }
    return true;
}

/* Operands that stand for an option go into it, as `dvit info MODEL` for --model. */
static bool place_operands(struct cli_options *options, bool *given)
{
    const struct cli_verb *verb = &cli_verbs[options->verb];
    if (!verb->operand_option)
        return true;
    size_t index = index_of(verb->operand_option, strlen(verb->operand_option), options->verb);
    const struct cli_option *option = cli_option_at(index);
    void *field = (char *)options + option->field;
    for (int i = 0; i < options->operand_count; i++) {
        if (given[index] && option->type == OPTION_TEXT) {
            cli_error("%s: \"%s\" and --%s %s exclude each other", verb->name, options->operands[i],
                      option->name, *(const char *const *)field);
            return false;
        }
        if (!given[index] && option->type == OPTION_TEXTS)
            ((struct cli_texts *)field)->count = 0; /* not the default */
        given[index] = true;
        if (!set_value(options, option, options->operands[i]))
            return false;
    }
    options->operand_count = 0;
    return true;
}

/* `dvit classify MODEL IMAGE…`: what is plainly a model and not an image. */
static bool place_leading_model(struct cli_options *options, bool *given)
{
    size_t index = index_of("model", 5, VERB_CLASSIFY);
    if (options->verb != VERB_CLASSIFY || options->operand_count == 0 || given[index] ||
        !cli_names_model(options->operands[0]))
        return true;
    options->model = options->operands[0];
    given[index] = true;
    options->operands++;
    options->operand_count--;
    if (!options->quiet)
        cli_note("\"%s\" is read as --model", options->model);
    return check_operands(options);
}

enum cli_exit cli_options_parse(struct cli_options *options, enum cli_verb_id verb, int count,
                                char **arguments)
{
    bool given[CLI_MAX_OPTIONS] = {false};
    bool only_operands = false;
    cli_options_default(options, verb);
    options->operands = arguments;
    for (int at = 0; at < count; at++) {
        char *word = arguments[at];
        if (!only_operands && strcmp(word, "--") == 0) {
            only_operands = true;
        } else if (!only_operands && strcmp(word, "-h") == 0) {
            options->help = true;
        } else if (!only_operands && (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)) {
            options->version = true;
        } else if (!only_operands && word[0] == '-' && word[1] == '-') {
            if (!parse_option(options, count, arguments, &at, given))
                return CLI_EXIT_USAGE;
        } else if (!only_operands && word[0] == '-' && word[1]) {
            cli_hint_dash(word, verb);
            return CLI_EXIT_USAGE;
        } else {
            arguments[options->operand_count++] = word;
        }
    }
    if (options->help || options->version)
        return CLI_EXIT_OK;
    if (!check_operands(options) || !place_leading_model(options, given) ||
        !place_operands(options, given) || !check_required(verb, given) ||
        !cli_preprocess_compose(options))
        return CLI_EXIT_USAGE;
    for (int i = 0; !options->quiet && i < options->read_as_count; i++)
        cli_note("--%.*s is read as --%s", options->read_as[i].length, options->read_as[i].word,
                 options->read_as[i].option);
    return CLI_EXIT_OK;
}
