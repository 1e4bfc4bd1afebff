/* A contact sheet of what training sees. */
#ifndef DVIT_CLI_AUGMENTED_SHEET_H
#define DVIT_CLI_AUGMENTED_SHEET_H

#include "dvit/data.h"
#include "command_line.h"

/* Writes the first batch of --count images as training with these options sees it, each under what
 * its label became, as the PNG --preview. Reports errors; returns an enum cli_exit. */
int cli_augmented_sheet_write(struct dvit_dataset *train, const struct cli_options *options);

#endif
