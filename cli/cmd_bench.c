/* `dvit bench`: speed of the dense and the pruned path of the same weights, at every precision,
 * batch size and number of streams, side by side. Profile, start and training step have files of
 * their own. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_accuracy.h"

/* One model at one batch size: what is measured in turn. */
struct contest {
    const char *name;
    const struct dvit_model *model;
    int batch, count;
    struct cli_lane *lanes;     /* [count] */
    struct cli_bench_row *rows; /* [count] */
};

struct bench {
    const struct cli_options *options;
    struct dvit_table *table;
    int printed;                   /* rows */
    bool refused[CLI_MAX_NUMBERS]; /* precisions that the model in hand cannot run in */
    struct cli_keeps keeps;        /* of the model in hand */
    struct cli_accuracies accuracies;
    struct cli_bench_points points;
};

/* ---- what is measured in turn ---- */

static struct cli_options options_of_lane(const struct cli_options *options, const char *precision,
                                          int streams)
{
    struct cli_options own = *options;
    own.precision = precision;
    own.threads = cli_bench_threads(options) / streams;
    return own;
}

static int open_lane(struct contest *contest, const struct bench *bench, const char *precision,
                     double keep, int streams)
{
    struct cli_options own = options_of_lane(bench->options, precision, streams);
    struct cli_lane *lane = &contest->lanes[contest->count];
    struct cli_bench_row *row = &contest->rows[contest->count++];
    *lane = (struct cli_lane){.model = contest->model, .batch = contest->batch};
    *row = (struct cli_bench_row){.name = contest->name,
                                  .lane = lane,
                                  .top1 = cli_accuracy_find(&bench->accuracies, precision, keep)};
    int code = CLI_EXIT_OK;
    for (; code == CLI_EXIT_OK && lane->streams < streams; lane->streams += code == CLI_EXIT_OK)
        code = cli_session_create(&lane->sessions[lane->streams], contest->model, &own, keep,
                                  contest->batch);
    return code;
}

static int open_lanes(struct contest *contest, const struct bench *bench)
{
    const struct cli_options *options = bench->options;
    int code = CLI_EXIT_OK;
    for (int p = 0; p < options->precisions.count; p++)
        for (int k = 0; k < bench->keeps.count && !bench->refused[p]; k++)
            for (int s = 0; code == CLI_EXIT_OK && s < options->streams.count; s++)
                code = open_lane(contest, bench, options->precisions.values[p],
                                 bench->keeps.values[k], options->streams.values[s]);
    return code;
}

static int measure(struct contest *contest, const struct cli_options *options)
{
    struct cli_rates rates = {0};
    int code = cli_lanes_measure(contest->lanes, contest->count, options->rounds, options->seconds);
    for (int i = 0; code == CLI_EXIT_OK && i < contest->count; i++) {
        struct cli_bench_row *row = &contest->rows[i];
        row->base_images_per_s = contest->lanes[0].images_per_s;
        code =
            cli_bench_rate(&rates, contest->model, row->lane->sessions[0],
                           cli_bench_threads(options), options->seconds / 2, &row->matmul_gflops);
    }
    return code;
}

static int show(const struct contest *contest, struct bench *bench)
{
    const struct cli_options *options = bench->options;
    for (int i = 0; i < contest->count; i++) {
        const struct cli_bench_row *row = &contest->rows[i];
        if (options->json || options->csv)
            cli_bench_print_row(row, options->csv, bench->printed == 0);
        else
            cli_bench_add_row(bench->table, row, options->data != NULL);
        bench->printed++;
        if (options->plot && !cli_bench_add_point(&bench->points, row, options)) {
            cli_error("out of memory");
            return CLI_EXIT_FAILURE;
        }
    }
    return CLI_EXIT_OK;
}

static void close_contest(struct contest *contest)
{
    for (int i = 0; i < contest->count; i++)
        for (int s = 0; s < contest->lanes[i].streams; s++)
            dvit_session_free(contest->lanes[i].sessions[s]);
    free(contest->lanes);
    free(contest->rows);
}

static int run_contest(const char *name, const struct dvit_model *model, int batch,
                       struct bench *bench)
{
    const struct cli_options *options = bench->options;
    size_t most = (size_t)options->precisions.count * (size_t)options->streams.count *
                  (size_t)bench->keeps.count;
    struct contest contest = {.name = name, .model = model, .batch = batch};
    contest.lanes = calloc(most, sizeof *contest.lanes);
    contest.rows = calloc(most, sizeof *contest.rows);
    int code = contest.lanes && contest.rows ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
    if (code != CLI_EXIT_OK)
        cli_error("out of memory");
    cli_progress("measuring %s, batch %d", name, batch);
    if (code == CLI_EXIT_OK)
        code = open_lanes(&contest, bench);
    if (code == CLI_EXIT_OK && contest.count > 0)
        code = measure(&contest, options);
    cli_progress_clear();
    if (code == CLI_EXIT_OK)
        code = show(&contest, bench);
    close_contest(&contest);
    return code;
}

/* ---- a model ---- */

/* Finds out which precisions cannot be run, before anything is measured: each is told once. */
static int try_precisions(struct bench *bench, const struct dvit_model *model)
{
    int code = CLI_EXIT_OK;
    for (int p = 0; p < bench->options->precisions.count; p++) {
        struct cli_options own =
            options_of_lane(bench->options, bench->options->precisions.values[p], 1);
        struct dvit_session *session = NULL;
        int refusal = cli_session_create(&session, model, &own, 1, 1);
        bench->refused[p] = refusal != CLI_EXIT_OK;
        code = bench->refused[p] ? refusal : code;
        dvit_session_free(session);
    }
    return code;
}

static int bench_model(const char *name, struct bench *bench)
{
    const struct cli_options *options = bench->options;
    struct dvit_model *model = NULL;
    bench->keeps = cli_bench_keeps(name, options);
    bench->accuracies.count = 0;
    int code = cli_bench_open(&model, name, options, &bench->keeps);
    int refusal = code == CLI_EXIT_OK ? try_precisions(bench, model) : code;
    if (code == CLI_EXIT_OK && options->data)
        code = cli_bench_evaluate(&bench->accuracies, model, name, options, &bench->keeps,
                                  bench->refused);
    for (int i = 0; code == CLI_EXIT_OK && i < options->batches.count; i++)
        code = run_contest(name, model, options->batches.values[i], bench);
    dvit_model_free(model);
    return code == CLI_EXIT_OK ? refusal : code;
}

/* ---- the command ---- */

/* What the other measurements have no place for is not passed over in silence. */
static int check_kind(const struct cli_options *options)
{
    int kinds = (options->profile != NULL) + options->bench_start + options->bench_train;
    const struct cli_ints *streams = &options->streams;
    if (kinds > 1)
        cli_error("bench: --profile, --start and --train are measured one at a time");
    else if (kinds == 1 && options->data)
        cli_error(
            "bench: --data goes with the speed alone, not with --profile, --start or --train");
    else if (kinds == 1 && (streams->count > 1 || streams->values[0] > 1))
        cli_error("bench: --profile, --start and --train measure one stream");
    else
        return CLI_EXIT_OK;
    return CLI_EXIT_USAGE;
}

static int check(const struct cli_options *options)
{
    int threads = cli_bench_threads(options);
    if (check_kind(options) != CLI_EXIT_OK)
        return CLI_EXIT_USAGE;
    if (options->json && options->csv) {
        cli_error("bench: --json and --csv are two forms of the result, give one");
        return CLI_EXIT_USAGE;
    }
    if (options->plot && !options->data) {
        cli_error("bench: --plot needs --data, to know the accuracy");
        return CLI_EXIT_USAGE;
    }
    for (int i = 0; i < options->streams.count; i++)
        if (threads % options->streams.values[i] != 0) {
            cli_error("bench: %d threads cannot be shared evenly by %d streams; see --threads",
                      threads, options->streams.values[i]);
            return CLI_EXIT_USAGE;
        }
    return options->plot ? cli_check_file(options->plot) : CLI_EXIT_OK;
}

static int print_table(struct bench *bench)
{
    char how[160];
    if (bench->printed == 0)
        return CLI_EXIT_OK;
    snprintf(how, sizeof how,
             "medians of %d rounds in turn, %g s per line; percentiles of all runs of a batch; "
             "streams × threads of each",
             bench->options->rounds, bench->options->seconds);
    cli_bench_print_machine(bench->options, how);
    int code = cli_table_print(bench->table);
    bench->table = NULL;
    printf("\nmost memory that the process held, all lines side by side: %.0f MB\n",
           cli_peak_bytes() / 1e6);
    return code;
}

/* All models, whatever becomes of one: the first failure is the command's. */
static int measure_speed(const struct cli_options *options)
{
    struct bench *bench = calloc(1, sizeof *bench);
    int code = CLI_EXIT_OK;
    if (!bench) {
        cli_error("out of memory");
        return CLI_EXIT_FAILURE;
    }
    bench->options = options;
    bench->table = cli_bench_table(options->data != NULL);
    code = bench->table ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
    for (int i = 0; bench->table && i < options->models.count; i++) {
        int own = bench_model(options->models.values[i], bench);
        code = code == CLI_EXIT_OK ? own : code;
    }
    int written = CLI_EXIT_OK;
    if (bench->points.count > 0)
        written = cli_bench_plot(&bench->points, options->plot);
    if (bench->table && written == CLI_EXIT_OK && !options->json && !options->csv)
        written = print_table(bench);
    dvit_table_free(bench->table);
    free(bench->points.items);
    free(bench);
    return code == CLI_EXIT_OK ? written : code;
}

int cli_cmd_bench(const struct cli_options *options)
{
    int code = check(options);
    if (code != CLI_EXIT_OK)
        return code;
    if (options->bench_train)
        return cli_bench_training(options);
    if (options->bench_start)
        return cli_bench_start(options);
    return options->profile ? cli_bench_profile(options) : measure_speed(options);
}
