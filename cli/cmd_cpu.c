/* `dvit cpu`: what dvit uses of this machine. */
#include <stdio.h>

#include "dvit/infer.h"
#include "json_lines.h"
#include "command_line.h"
#include "print.h"

int cli_cmd_cpu(const struct cli_options *options)
{
    struct dvit_machine machine = dvit_machine_describe();
    if (!options->json) {
        cli_print("processor        %s\nkernels          %s\nmatrix products  %s\n"
                  "precisions       f32%s%s\ndefault threads  %d\nversion          dvit %s\n",
                  machine.processor, machine.best_cpu, machine.backend, machine.bf16 ? " bf16" : "",
                  machine.int8 ? " int8" : "", machine.default_threads, dvit_version());
        return CLI_EXIT_OK;
    }
    struct cli_json json = cli_json_begin(stdout);
    cli_json_string(&json, "processor", machine.processor);
    cli_json_string(&json, "cpu", machine.best_cpu);
    cli_json_string(&json, "backend", machine.backend);
    cli_json_open(&json, "precisions", '[');
    cli_json_string(&json, NULL, "f32");
    if (machine.bf16)
        cli_json_string(&json, NULL, "bf16");
    if (machine.int8)
        cli_json_string(&json, NULL, "int8");
    cli_json_close(&json, ']');
    cli_json_integer(&json, "threads", machine.default_threads);
    cli_json_string(&json, "version", dvit_version());
    cli_json_end(&json);
    return CLI_EXIT_OK;
}
