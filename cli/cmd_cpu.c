/* `dvit cpu`: what dvit uses of this machine. */
#include <stdio.h>
#include <string.h>

#include "dvit/infer.h"
#include "json_lines.h"
#include "command_line.h"
#include "print.h"

/* What the best level is made of. */
static const char *level_note(const struct dvit_machine *machine)
{
    bool products = strcmp(machine->backend, "none") != 0;
    if (strcmp(machine->best_cpu, "reference") == 0)
        return " (plain C with double sums, the definition: slow)";
    if (strcmp(machine->best_cpu, "baseline") == 0)
        return products ? " (what every processor has: no AVX2)"
                        : " (no AVX2, and matrix products in plain C are slow: build with oneDNN)";
    return "";
}

/* What multiplies at that level. */
static const char *products_of(const struct dvit_machine *machine)
{
    bool plain =
        strcmp(machine->best_cpu, "reference") == 0 || strcmp(machine->backend, "none") == 0;
    return plain ? "plain C" : machine->backend;
}

static bool has_own_products(const struct dvit_machine *machine)
{
    return strcmp(machine->best_cpu, "reference") != 0 &&
           strcmp(machine->best_cpu, "baseline") != 0;
}

int cli_cmd_cpu(const struct cli_options *options)
{
    struct dvit_machine machine = dvit_machine_describe();
    if (!options->json) {
        cli_print("processor        %s\nkernels          %s%s\nmatrix products  %s%s\n"
                  "precisions       f32%s%s\ndefault threads  %d\nversion          dvit %s\n",
                  machine.processor, machine.best_cpu, level_note(&machine),
                  has_own_products(&machine) ? "dvit's own, else " : "", products_of(&machine),
                  machine.bf16 ? " bf16" : "", machine.int8 ? " int8" : "", machine.default_threads,
                  dvit_version());
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
