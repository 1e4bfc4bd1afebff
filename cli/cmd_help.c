/* `dvit help`: help on a command, the manual page, the completion script. */
#include <string.h>

#include "help.h"
#include "command_line.h"

int cli_cmd_help(const struct cli_options *options)
{
    if (options->man && options->completion) {
        cli_error("help: --man and --completion exclude each other");
        return CLI_EXIT_USAGE;
    }
    if (options->man) {
        cli_help_man(stdout);
        return CLI_EXIT_OK;
    }
    if (options->completion) {
        cli_help_completion(stdout);
        return CLI_EXIT_OK;
    }
    if (options->operand_count == 0) {
        cli_help_overview(stdout);
        return CLI_EXIT_OK;
    }
    int verb = cli_verb_find(options->operands[0]);
    if (verb < 0)
        return CLI_EXIT_USAGE;
    cli_help_verb(stdout, (enum cli_verb_id)verb);
    return CLI_EXIT_OK;
}
