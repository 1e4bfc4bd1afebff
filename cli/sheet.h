/* A contact sheet: small pictures in rows. */
#ifndef DVIT_CLI_SHEET_H
#define DVIT_CLI_SHEET_H

#include "dvit/data.h"

/* Writes `count` images spread evenly over the data set as a PNG; unreadable ones leave a dark
 * tile. Reports errors; returns an enum cli_exit. */
int cli_sheet_write(const char *path, struct dvit_dataset *set, size_t count);

#endif
