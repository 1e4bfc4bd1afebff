/* `dvit cpu`: what dvit uses of this machine. */
#include <stdio.h>

#include "dvit/infer.h"
#include "json_lines.h"
#include "command_line.h"

int cli_cmd_cpu(const struct cli_options *options)
{
    struct dvit_machine machine = dvit_machine_describe();
    if (!options->json) {
        printf("processor        %s\nkernels          %s\nmatrix products  %s\n"
               "default threads  %d\nversion          dvit %s\n",
               machine.processor, machine.best_cpu, machine.backend, machine.default_threads,
               dvit_version());
        return CLI_EXIT_OK;
    }
    struct cli_json json = cli_json_begin(stdout);
    cli_json_string(&json, "processor", machine.processor);
    cli_json_string(&json, "cpu", machine.best_cpu);
    cli_json_string(&json, "backend", machine.backend);
    cli_json_integer(&json, "threads", machine.default_threads);
    cli_json_string(&json, "version", dvit_version());
    cli_json_end(&json);
    return CLI_EXIT_OK;
}
