/* `dvit bench --start`: from a model file to its first answer, and what that takes in memory. Every
 * sample is a process of its own that reads the file (warm in the page cache), makes a session and
 * runs one batch; all rows are measured in turn, and medians are shown. */
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "record.h"

struct sample {
    double load_s, session_s, answer_s; /* one after another; their sum is the start */
    double peak_bytes;
    int threads;
    char precision[16];
    double keep;
};

/* A file at a precision, a keep ratio and a batch size. */
struct row {
    const char *name, *precision;
    double keep; /* 0: the model's own */
    int batch;
    struct sample *samples; /* [rounds] */
};

static int first_answer(struct dvit_session *session, const struct dvit_config *config, int batch)
{
    struct dvit_error error = {0};
    size_t pixel_count =
        (size_t)batch * 3 * (size_t)config->image_width * (size_t)config->image_height;
    float *pixels = calloc(pixel_count, sizeof *pixels);
    float *logits = calloc((size_t)batch * (size_t)config->classes, sizeof *logits);
    int code = CLI_EXIT_FAILURE;
    if (!pixels || !logits)
        cli_error("out of memory for %zu values of images", pixel_count);
    else
        code = dvit_session_run(session, pixels, batch, logits, &error) == DVIT_OK
                   ? CLI_EXIT_OK
                   : cli_fail(&error);
    if (code == CLI_EXIT_OK && !dvit_logits_finite(logits, config->classes))
        cli_note("warning: the first answer's logits are not finite");
    free(pixels);
    free(logits);
    return code;
}

static int start_once(const struct row *row, const struct cli_options *options,
                      struct sample *sample)
{
    struct cli_options own = *options;
    struct dvit_model *model = NULL;
    struct dvit_session *session = NULL;
    own.precision = row->precision;
    cli_set_quiet(true);
    double start = cli_seconds();
    int code = cli_model_open(&model, row->name, &own, row->keep, true);
    double loaded = cli_seconds();
    if (code == CLI_EXIT_OK)
        code = cli_session_create(&session, model, &own, row->keep, row->batch);
    double made = cli_seconds();
    if (code == CLI_EXIT_OK)
        code = first_answer(session, dvit_model_config(model), row->batch);
    double answered = cli_seconds();
    if (code == CLI_EXIT_OK) {
        struct dvit_session_info info = dvit_session_describe(session);
        *sample = (struct sample){.load_s = loaded - start,
                                  .session_s = made - loaded,
                                  .answer_s = answered - made,
                                  .threads = info.threads,
                                  .keep = info.keep};
        snprintf(sample->precision, sizeof sample->precision, "%s", info.precision);
    }
    dvit_session_free(session);
    dvit_model_free(model);
    return code;
}

/* Runs start_once in a child, whose peak memory is its own. */
static int measure(const struct row *row, const struct cli_options *options, struct sample *sample)
{
    struct rusage usage;
    int ends[2], status = 0;
    if (pipe(ends) != 0) {
        cli_error("cannot make a pipe");
        return CLI_EXIT_FAILURE;
    }
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        int code = start_once(row, options, sample);
        if (code == CLI_EXIT_OK && write(ends[1], sample, sizeof *sample) != sizeof *sample)
            code = CLI_EXIT_FAILURE;
        _exit(code);
    }
    close(ends[1]);
    ssize_t got = child > 0 ? read(ends[0], sample, sizeof *sample) : 0;
    close(ends[0]);
    if (child < 0 || wait4(child, &status, 0, &usage) < 0) {
        cli_error("cannot start a process");
        return CLI_EXIT_FAILURE;
    }
    sample->peak_bytes = 1024.0 * (double)usage.ru_maxrss;
    if (WIFEXITED(status) && WEXITSTATUS(status) != CLI_EXIT_OK)
        return WEXITSTATUS(status);
    if (!WIFEXITED(status) || got != sizeof *sample) {
        cli_error("the process that was measured ended early");
        return CLI_EXIT_FAILURE;
    }
    return CLI_EXIT_OK;
}

/* ---- rows ---- */

static double median_of(const struct row *row, int rounds, size_t field)
{
    double values[CLI_MAX_ROUNDS];
    for (int r = 0; r < rounds; r++)
        memcpy(&values[r], (const char *)&row->samples[r] + field, sizeof *values);
    return cli_median(values, rounds);
}

struct medians {
    double load_s, session_s, answer_s, peak_bytes;
};

static struct medians medians_of(const struct row *row, int rounds)
{
    return (struct medians){median_of(row, rounds, offsetof(struct sample, load_s)),
                            median_of(row, rounds, offsetof(struct sample, session_s)),
                            median_of(row, rounds, offsetof(struct sample, answer_s)),
                            median_of(row, rounds, offsetof(struct sample, peak_bytes))};
}

static void print_row(const struct row *row, const struct cli_options *options, bool first)
{
    struct medians m = medians_of(row, options->rounds);
    struct cli_record record = {0};
    cli_record_text(&record, "model", row->name);
    cli_record_text(&record, "precision", row->samples[0].precision);
    cli_record_real(&record, "keep", row->samples[0].keep);
    cli_record_whole(&record, "batch", row->batch);
    cli_record_whole(&record, "threads", row->samples[0].threads);
    cli_record_whole(&record, "starts", options->rounds);
    cli_record_real(&record, "load_ms", 1e3 * m.load_s);
    cli_record_real(&record, "session_ms", 1e3 * m.session_s);
    cli_record_real(&record, "answer_ms", 1e3 * m.answer_s);
    cli_record_real(&record, "start_ms", 1e3 * (m.load_s + m.session_s + m.answer_s));
    cli_record_whole(&record, "peak_resident_bytes", (long long)m.peak_bytes);
    if (options->csv && first)
        cli_record_print_names(&record);
    cli_record_print(&record, options->csv);
}

static int print_table(const struct row *rows, int count, const struct cli_options *options)
{
    static const char *const headers[] = {"model",        "precision", "keep",
                                          "batch",        "read ms",   "pack ms",
                                          "first run ms", "start ms",  "peak MB"};
    struct dvit_table *table = cli_table_create(headers, 9, 2);
    char how[160];
    if (!table)
        return CLI_EXIT_FAILURE;
    snprintf(how, sizeof how,
             "from a file to the first answer: medians of %d processes each, in turn, files in the "
             "page cache",
             options->rounds);
    cli_bench_print_machine(options, how);
    for (int i = 0; i < count; i++) {
        struct medians m = medians_of(&rows[i], options->rounds);
        dvit_table_cell(table, "%s", rows[i].name);
        dvit_table_cell(table, "%s", rows[i].samples[0].precision);
        dvit_table_cell(table, "%g", rows[i].samples[0].keep);
        dvit_table_cell(table, "%d", rows[i].batch);
        dvit_table_cell(table, "%.1f", 1e3 * m.load_s);
        dvit_table_cell(table, "%.1f", 1e3 * m.session_s);
        dvit_table_cell(table, "%.1f", 1e3 * m.answer_s);
        dvit_table_cell(table, "%.1f", 1e3 * (m.load_s + m.session_s + m.answer_s));
        dvit_table_cell(table, "%.1f", m.peak_bytes / 1e6);
    }
    return cli_table_print(table);
}

static int show(const struct row *rows, int count, const struct cli_options *options)
{
    if (!options->json && !options->csv)
        return print_table(rows, count, options);
    for (int i = 0; i < count; i++)
        print_row(&rows[i], options, i == 0);
    return CLI_EXIT_OK;
}

/* ---- the command ---- */

static int list_rows(struct row *rows, struct sample *samples, const struct cli_options *options)
{
    int count = 0, keeps = options->keeps.count ? options->keeps.count : 1;
    for (int m = 0; m < options->models.count; m++)
        for (int p = 0; p < options->precisions.count; p++)
            for (int k = 0; k < keeps; k++)
                for (int b = 0; b < options->batches.count; b++, count++)
                    rows[count] =
                        (struct row){.name = options->models.values[m],
                                     .precision = options->precisions.values[p],
                                     .keep = options->keeps.count ? options->keeps.values[k] : 0,
                                     .batch = options->batches.values[b],
                                     .samples = samples + (size_t)count * (size_t)options->rounds};
    return count;
}

static int measure_rows(struct row *rows, int count, const struct cli_options *options)
{
    int code = CLI_EXIT_OK;
    for (int r = -1; r < options->rounds; r++) /* one round to warm up */
        for (int i = 0; code == CLI_EXIT_OK && i < count; i++)
            code = measure(&rows[i], options, &rows[i].samples[r < 0 ? 0 : r]);
    return code;
}

int cli_bench_start(const struct cli_options *options)
{
    for (int i = 0; i < options->models.count; i++)
        if (!cli_is_model_file(options->models.values[i])) {
            cli_error("bench: --start reads files, and there is no file \"%s\"; `dvit convert` "
                      "writes one of a preset",
                      options->models.values[i]);
            return CLI_EXIT_USAGE;
        }
    size_t most = (size_t)options->models.count * (size_t)options->precisions.count *
                  (size_t)(options->keeps.count ? options->keeps.count : 1) *
                  (size_t)options->batches.count;
    struct row *rows = calloc(most, sizeof *rows);
    struct sample *samples = calloc(most * (size_t)options->rounds, sizeof *samples);
    int code = CLI_EXIT_FAILURE;
    if (rows && samples) {
        int count = list_rows(rows, samples, options);
        code = measure_rows(rows, count, options);
        if (code == CLI_EXIT_OK)
            code = show(rows, count, options);
    } else {
        cli_error("out of memory");
    }
    free(rows);
    free(samples);
    return code;
}
