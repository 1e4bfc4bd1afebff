/* What to say of words that dvit does not know. */
#ifndef DVIT_CLI_HINTS_H
#define DVIT_CLI_HINTS_H

#include "command_line.h"

/* The option of `verb` that an unknown name (length bytes) means, "_" for "-" or a synonym; NULL
 * after an error that says what to write instead. */
const struct cli_option *cli_hint_option(const char *name, size_t length, enum cli_verb_id verb);

/* Reports an option with one dash. */
void cli_hint_dash(const char *word, enum cli_verb_id verb);

/* Whether an operand is a model's by its name, or a run folder. */
bool cli_names_model(const char *operand);

/* Reports an unknown command. */
void cli_hint_command(const char *name);

#endif
