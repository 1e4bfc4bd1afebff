/* What other programs of the field call dvit's options and commands. */
#ifndef DVIT_CLI_SYNONYMS_H
#define DVIT_CLI_SYNONYMS_H

#include "command_line.h"

struct cli_synonym {
    const char *word;   /* without dashes, "_" as "-" */
    const char *option; /* of dvit, read as such where the command has it; NULL: only advice */
    const char *advice; /* what to do instead; NULL where the option is the same thing */
};

/* Row `index` of the table, NULL beyond the last one. */
const struct cli_synonym *cli_synonym_at(size_t index);
/* What `word` (length bytes) means to `verb`: a row whose option the command has, else one that
 * gives advice, else any row of the word; NULL if there is none. */
const struct cli_synonym *cli_synonym_find(const char *word, size_t length, enum cli_verb_id verb);

/* The command that another program's word stands for, or NULL. */
const char *cli_synonym_command(const char *word);

#endif
