/* What the measurements of `dvit bench` share: models, keep ratios, the machine. */
#define _DEFAULT_SOURCE
#include "bench.h"
#include "print.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

struct cli_keeps cli_bench_keeps(const char *name, const struct cli_options *options)
{
    struct cli_keeps keeps = {.count = 1, .values = {1}};
    for (int i = 0; i < options->keeps.count; i++)
        if (options->keeps.values[i] < 1)
            keeps.values[keeps.count++] = options->keeps.values[i];
    if (options->keeps.count == 0 && !cli_is_model_file(name))
        keeps.values[keeps.count++] = 0.7;
    return keeps;
}

int cli_bench_open(struct dvit_model **out, const char *name, const struct cli_options *options,
                   struct cli_keeps *keeps)
{
    double pruned = keeps->count > 1 ? keeps->values[keeps->count - 1] : 0;
    int code = cli_model_open(out, name, options, pruned, true);
    if (code == CLI_EXIT_OK && options->keeps.count == 0 && keeps->count == 1 &&
        dvit_model_config(*out)->stages > 0 && dvit_model_config(*out)->keep < 1)
        keeps->values[keeps->count++] = dvit_model_config(*out)->keep;
    return code;
}

int cli_bench_rate(struct cli_rates *rates, const struct dvit_model *model,
                   const struct dvit_session *session, int threads, double seconds, double *gflops)
{
    struct dvit_error error = {0};
    const char *precision = dvit_session_describe(session).precision;
    for (int i = 0; i < rates->count; i++)
        if (strcmp(rates->known[i].precision, precision) == 0) {
            *gflops = rates->known[i].gflops;
            return CLI_EXIT_OK;
        }
    if (dvit_matmul_rate(dvit_model_config(model), precision, threads, seconds, gflops, &error) !=
        DVIT_OK)
        return cli_fail(&error);
    rates->known[rates->count].precision = precision;
    rates->known[rates->count++].gflops = *gflops;
    return CLI_EXIT_OK;
}

int cli_bench_threads(const struct cli_options *options)
{
    return options->threads ? options->threads : dvit_machine_describe().default_threads;
}

void cli_bench_print_machine(const struct cli_options *options, const char *how)
{
    struct dvit_machine machine = dvit_machine_describe();
    const char *level = strcmp(options->cpu, "auto") == 0 ? machine.best_cpu : options->cpu;
    cli_print("dvit %s on %s: %d threads, kernels %s, matrix products beside them %s\n%s\n\n",
              dvit_version(), machine.processor, cli_bench_threads(options), level, machine.backend,
              how);
}

double cli_peak_bytes(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? 1024.0 * (double)usage.ru_maxrss : 0;
}
