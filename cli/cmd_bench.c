/* `dvit bench`: speed of the dense and the pruned path of the same weights, side by side. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_lines.h"
#include "step_speed.h"
#include "throughput.h"
#include "workbench.h"

/* One model at one batch size: lane 0 is the dense path, the others are pruned. */
struct contest {
    const char *name;
    const struct dvit_model *model;
    int batch;
    int count;
    struct cli_lane *lanes; /* [count] */
    double matmul_gflops;   /* rate of this machine's matrix products on the model's shapes */
};

static double gflops_of(const struct cli_lane *lane)
{
    return 2 * dvit_session_describe(lane->session).cost.macs * lane->images_per_s / 1e9;
}

static void print_json(const struct contest *contest)
{
    for (int i = 0; i < contest->count; i++) {
        const struct cli_lane *lane = &contest->lanes[i];
        struct dvit_session_info info = dvit_session_describe(lane->session);
        int tokens[DVIT_MAX_STAGES];
        cli_tokens(lane->session, lane->model, tokens);
        struct cli_json json = cli_json_begin(stdout);
        cli_json_string(&json, "model", contest->name);
        cli_json_string(&json, "mode", dvit_session_stages(lane->session) ? "pruned" : "dense");
        cli_json_integer(&json, "batch", lane->batch);
        cli_json_integer(&json, "threads", info.threads);
        cli_json_string(&json, "precision", info.precision);
        cli_json_real(&json, "keep", info.keep);
        cli_json_open(&json, "tokens", '[');
        for (int s = 0; s < dvit_session_stages(lane->session); s++)
            cli_json_integer(&json, NULL, tokens[s]);
        cli_json_close(&json, ']');
        cli_json_real(&json, "images_per_s", lane->images_per_s);
        cli_json_real(&json, "latency_ms", 1e3 * lane->latency_s);
        cli_json_real(&json, "gmacs", info.cost.macs / 1e9);
        cli_json_real(&json, "gflops", gflops_of(lane));
        cli_json_real(&json, "share_of_matmul_rate", gflops_of(lane) / contest->matmul_gflops);
        cli_json_real(&json, "speed_up", lane->images_per_s / contest->lanes[0].images_per_s);
        cli_json_string(&json, "cpu", info.cpu);
        cli_json_string(&json, "backend", info.backend);
        cli_json_end(&json);
    }
}

static void add_rows(struct dvit_table *table, const struct contest *contest)
{
    for (int i = 0; i < contest->count; i++) {
        const struct cli_lane *lane = &contest->lanes[i];
        struct dvit_session_info info = dvit_session_describe(lane->session);
        int tokens[DVIT_MAX_STAGES];
        char text[256];
        cli_tokens(lane->session, lane->model, tokens);
        dvit_table_cell(table, "%s", contest->name);
        dvit_table_cell(table, "%s", dvit_session_stages(lane->session) ? "pruned" : "dense");
        dvit_table_cell(table, "%d", lane->batch);
        dvit_table_cell(table, "%g", info.keep);
        dvit_table_cell(table, "%s",
                        cli_join_ints(tokens, dvit_session_stages(lane->session), text));
        dvit_table_cell(table, "%.3f", info.cost.macs / 1e9);
        dvit_table_cell(table, "%.1f", lane->images_per_s);
        dvit_table_cell(table, "%.2f", 1e3 * lane->latency_s);
        dvit_table_cell(table, "%.1f", gflops_of(lane));
        dvit_table_cell(table, "%.0f %%", 100 * gflops_of(lane) / contest->matmul_gflops);
        dvit_table_cell(table, "%.2fx", lane->images_per_s / contest->lanes[0].images_per_s);
    }
}

static void print_machine(const struct cli_options *options, struct dvit_session_info info)
{
    struct dvit_machine machine = dvit_machine_describe();
    printf("dvit %s on %s: %d threads, kernels %s, matrix products %s, %s\n"
           "medians of %d rounds, %g s per line\n\n",
           dvit_version(), machine.processor, info.threads, info.cpu, info.backend, info.precision,
           options->rounds, options->seconds);
}

static int open_lanes(struct contest *contest, const struct cli_options *options,
                      const struct cli_reals *keeps)
{
    int code = CLI_EXIT_OK;
    for (int i = 0; code == CLI_EXIT_OK && i <= keeps->count; i++) {
        double keep = i == 0 ? 1 : keeps->values[i - 1];
        if (i > 0 && keep == 1)
            continue; /* the dense path is lane 0 */
        struct cli_lane *lane = &contest->lanes[contest->count];
        *lane = (struct cli_lane){.model = contest->model, .batch = contest->batch};
        code = cli_session_create(&lane->session, contest->model, options, keep, contest->batch);
        contest->count += code == CLI_EXIT_OK;
    }
    return code;
}

static int run_contest(const char *name, const struct dvit_model *model, int batch,
                       const struct cli_options *options, const struct cli_reals *keeps,
                       struct dvit_table *table)
{
    struct dvit_error error = {0};
    struct contest contest = {.name = name, .model = model, .batch = batch};
    contest.lanes = calloc(CLI_MAX_NUMBERS + 1, sizeof *contest.lanes);
    if (!contest.lanes) {
        cli_error("out of memory");
        return CLI_EXIT_FAILURE;
    }
    cli_progress("measuring %s, batch %d", name, batch);
    int code = open_lanes(&contest, options, keeps);
    if (code == CLI_EXIT_OK)
        code = cli_lanes_measure(contest.lanes, contest.count, options->rounds, options->seconds);
    struct dvit_session_info info = {0};
    if (code == CLI_EXIT_OK) {
        info = dvit_session_describe(contest.lanes[0].session);
        if (dvit_matmul_rate(dvit_model_config(model), strcmp(info.precision, "bf16") == 0,
                             info.threads, options->seconds / 2, &contest.matmul_gflops,
                             &error) != DVIT_OK)
            code = cli_fail(&error);
    }
    cli_progress_clear();
    if (code == CLI_EXIT_OK && options->json) {
        print_json(&contest);
    } else if (code == CLI_EXIT_OK) {
        if (dvit_table_rows(table) == 0)
            print_machine(options, info);
        add_rows(table, &contest);
    }
    for (int i = 0; i < contest.count; i++)
        dvit_session_free(contest.lanes[i].session);
    free(contest.lanes);
    return code;
}

/* Keep ratios to measure beside the dense path: those given, else the model's own, else 0.7 for
 * random weights, else none. */
static struct cli_reals choose_keeps(const char *name, const struct cli_options *options)
{
    struct cli_reals keeps = options->keeps;
    if (keeps.count == 0 && !cli_is_model_file(name))
        keeps = (struct cli_reals){.count = 1, .values = {0.7}};
    return keeps;
}

static int bench_model(const char *name, const struct cli_options *options,
                       struct dvit_table *table)
{
    struct dvit_model *model = NULL;
    struct cli_reals keeps = choose_keeps(name, options);
    double pruned = 0; /* some ratio below 1, if any */
    for (int i = 0; i < keeps.count; i++)
        pruned = keeps.values[i] < 1 ? keeps.values[i] : pruned;
    int code = cli_model_open(&model, name, options, pruned, true);
    if (code == CLI_EXIT_OK && keeps.count == 0 && dvit_model_config(model)->stages > 0)
        keeps = (struct cli_reals){.count = 1, .values = {dvit_model_config(model)->keep}};
    for (int i = 0; code == CLI_EXIT_OK && i < options->batches.count; i++)
        code = run_contest(name, model, options->batches.values[i], options, &keeps, table);
    dvit_model_free(model);
    return code;
}

int cli_cmd_bench(const struct cli_options *options)
{
    if (options->bench_train)
        return cli_bench_training(options);
    static const char *const headers[] = {"model",   "mode",      "batch",    "keep",
                                          "patches", "GMACs",     "images/s", "latency ms",
                                          "GFLOP/s", "of matmul", "speed-up"};
    struct dvit_table *table = cli_table_create(headers, 11, 2);
    int code = table ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
    for (int i = 0; code == CLI_EXIT_OK && i < options->models.count; i++)
        code = bench_model(options->models.values[i], options, table);
    if (table && (options->json || dvit_table_rows(table) == 0)) {
        dvit_table_free(table);
        return code;
    }
    int printed = table ? cli_table_print(table) : CLI_EXIT_FAILURE;
    return code == CLI_EXIT_OK ? printed : code;
}
