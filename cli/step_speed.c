/* `dvit bench --train`: a training step of each model and batch size, its rate, and the share of
 * this machine's matrix products that it reaches. A ratio below 1 measures a dynamic model with its
 * dense teacher, ratio 1 a dense one. */
#include "bench.h"

#include <stdio.h>

#include "print.h"
#include "record.h"

struct line {
    const char *name;
    const char *precision; /* wanted */
    double keep;
    int batch;
    struct dvit_step_speed speed;
    double matmul_gflops, peak_bytes;
};

static void print_line(const struct line *line, bool csv, bool first)
{
    struct cli_record record = {0};
    double gflops = line->speed.gflop / line->speed.step_s;
    cli_record_text(&record, "model", line->name);
    cli_record_real(&record, "keep", line->keep);
    cli_record_whole(&record, "batch", line->batch);
    cli_record_whole(&record, "threads", line->speed.threads);
    cli_record_text(&record, "precision", line->speed.bf16 ? "bf16" : "f32");
    cli_record_whole(&record, "steps", line->speed.steps);
    cli_record_real(&record, "step_ms", 1e3 * line->speed.step_s);
    cli_record_real(&record, "images_per_s", line->speed.images_per_s);
    cli_record_real(&record, "gflop", line->speed.gflop);
    cli_record_real(&record, "gflops", gflops);
    cli_record_real(&record, "matmul_gflops", line->matmul_gflops);
    cli_record_real(&record, "share_of_matmul_rate", gflops / line->matmul_gflops);
    cli_record_whole(&record, "memory_bytes", (long long)line->speed.memory_bytes);
    cli_record_whole(&record, "peak_memory_bytes", (long long)line->peak_bytes);
    if (csv && first)
        cli_record_print_names(&record);
    cli_record_print(&record, csv);
}

static void add_row(struct dvit_table *table, const struct line *line)
{
    double gflops = line->speed.gflop / line->speed.step_s;
    dvit_table_cell(table, "%s", line->name);
    dvit_table_cell(table, "%s", line->speed.bf16 ? "bf16" : "f32");
    dvit_table_cell(table, "%d", line->batch);
    dvit_table_cell(table, "%g", line->keep);
    dvit_table_cell(table, "%.0f", 1e3 * line->speed.step_s);
    dvit_table_cell(table, "%.2f", line->speed.images_per_s);
    dvit_table_cell(table, "%.1f", line->speed.gflop);
    dvit_table_cell(table, "%.1f", gflops);
    dvit_table_cell(table, "%.0f %%", 100 * gflops / line->matmul_gflops);
    dvit_table_cell(table, "%.0f", line->peak_bytes / (1 << 20));
}

/* A dense model, or a dynamic one made of it. */
static int open_models(struct dvit_model **dense, struct dvit_model **dynamic, const char *name,
                       double keep, const struct cli_options *options)
{
    struct dvit_error error = {0};
    *dynamic = NULL;
    int code = cli_model_open(dense, name, options, 0, true);
    if (code == CLI_EXIT_OK && keep < 1 &&
        dvit_model_sparsify(dynamic, *dense, options->stages ? options->stages : 3, NULL, keep,
                            options->seed, &error) != DVIT_OK)
        code = cli_fail(&error);
    return code;
}

static int measure(struct line *line, const struct cli_options *options)
{
    struct dvit_error error = {0};
    struct dvit_model *dense = NULL, *dynamic = NULL;
    bool dense_only = line->keep == 1;
    struct dvit_train_options train =
        dense_only ? dvit_train_options_dense() : dvit_train_options_sparsify();
    train.batch = line->batch;
    train.keep = line->keep;
    train.threads = options->threads;
    train.cpu = options->cpu;
    train.precision = line->precision;
    train.ema_decay = 0;
    train.seed = options->seed;
    cli_progress("measuring a training step of %s, batch %d", line->name, line->batch);
    int code = open_models(&dense, &dynamic, line->name, line->keep, options);
    if (code == CLI_EXIT_OK &&
        (dvit_train_measure(&line->speed, dense_only ? dense : dynamic, dense_only ? NULL : dense,
                            &train, options->seconds, &error) != DVIT_OK ||
         dvit_matmul_rate(dvit_model_config(dense), line->speed.bf16 ? "bf16" : "f32",
                          line->speed.threads, options->seconds / 2, &line->matmul_gflops,
                          &error) != DVIT_OK))
        code = cli_fail(&error);
    line->peak_bytes = cli_peak_bytes();
    cli_progress_clear();
    dvit_model_free(dynamic);
    dvit_model_free(dense);
    return code;
}

static int measure_and_print(struct line *line, const struct cli_options *options,
                             struct dvit_table *table, bool first)
{
    int code = measure(line, options);
    if (code != CLI_EXIT_OK)
        return code;
    if (options->json || options->csv)
        print_line(line, options->csv, first);
    else
        add_row(table, line);
    return CLI_EXIT_OK;
}

static int measure_model(const char *name, const struct cli_options *options,
                         struct dvit_table *table, int *printed)
{
    int code = CLI_EXIT_OK;
    for (int b = 0; b < options->batches.count; b++)
        for (int p = 0; code == CLI_EXIT_OK && p < options->precisions.count; p++) {
            struct line line = {.name = name,
                                .precision = options->precisions.values[p],
                                .keep = options->keeps.count ? options->keeps.values[0] : 0.7,
                                .batch = options->batches.values[b]};
            code = measure_and_print(&line, options, table, *printed == 0);
            *printed += 1;
        }
    return code;
}

int cli_bench_training(const struct cli_options *options)
{
    static const char *const headers[] = {"model",     "precision", "batch", "keep",
                                          "step ms",   "images/s",  "GFLOP", "GFLOP/s",
                                          "of matmul", "peak MiB"};
    struct dvit_table *table = cli_table_create(headers, 10, 2);
    int code = table ? CLI_EXIT_OK : CLI_EXIT_FAILURE, printed = 0;
    for (int i = 0; code == CLI_EXIT_OK && i < options->models.count; i++)
        code = measure_model(options->models.values[i], options, table, &printed);
    if (!table || options->json || options->csv || code != CLI_EXIT_OK) {
        dvit_table_free(table);
        return code;
    }
    struct dvit_machine machine = dvit_machine_describe();
    cli_print(
        "dvit %s on %s: matrix products %s; a step is forward, backward, teacher and update\n\n",
        dvit_version(), machine.processor, machine.backend);
    return cli_table_print(table);
}
