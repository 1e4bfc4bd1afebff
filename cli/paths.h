/* Whether what a command writes would destroy what it reads, or what a run folder holds. */
#ifndef DVIT_CLI_PATHS_H
#define DVIT_CLI_PATHS_H

#include "command_line.h"

/* Compares every output of the command line with every input, by the column `path` of the option
 * table and of the verbs. Links are followed. Reports the first conflict; nothing is written. */
enum cli_exit cli_paths_check(const struct cli_options *options);

/* Files by device and number, for outputs whose names only the command knows. */
struct cli_file_set {
    struct cli_file_id {
        unsigned long long device, number;
    } * items;
    size_t count;
};
/* Of the files that are there; false without memory. */
bool cli_file_set_create(struct cli_file_set *set, char *const *paths, size_t count);
bool cli_file_set_holds(const struct cli_file_set *set, const char *path);
void cli_file_set_free(struct cli_file_set *set);

#endif
