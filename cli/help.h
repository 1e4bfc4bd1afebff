/* Help in its three shapes, all made from the tables of verbs, options and exit codes. */
#ifndef DVIT_CLI_HELP_H
#define DVIT_CLI_HELP_H

#include <stdio.h>

#include "cli.h"

void cli_help_overview(FILE *stream);
void cli_help_verb(FILE *stream, enum cli_verb_id verb);
void cli_help_man(FILE *stream);
void cli_help_completion(FILE *stream);

#endif
