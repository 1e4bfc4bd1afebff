/* Shows what was measured: as a table, JSON lines or CSV. */
#include "bench_results.h"

#include <math.h>

#include "record.h"

static struct dvit_session_info info_of(const struct cli_bench_row *row)
{
    return dvit_session_describe(row->lane->sessions[0]);
}

static double gflops_of(const struct cli_bench_row *row)
{
    return 2 * info_of(row).cost.macs * row->lane->images_per_s / 1e9;
}

struct dvit_table *cli_bench_table(bool with_accuracy)
{
    static const char *const headers[] = {
        "model",   "precision", "batch",    "streams", "keep",        "patches",
        "GMACs",   "images/s",  "p50 ms",   "p90 ms",  "p99 ms",      "max ms",
        "GFLOP/s", "of matmul", "speed-up", "weights", "activations", "top-1 %"};
    return cli_table_create(headers, with_accuracy ? 18 : 17, 2);
}

void cli_bench_add_row(struct dvit_table *table, const struct cli_bench_row *row,
                       bool with_accuracy)
{
    const struct cli_lane *lane = row->lane;
    struct dvit_session_info info = info_of(row);
    int tokens[DVIT_MAX_STAGES], stages = dvit_session_stages(lane->sessions[0]);
    char text[256];
    cli_tokens(lane->sessions[0], lane->model, tokens);
    dvit_table_cell(table, "%s", row->name);
    dvit_table_cell(table, "%s", info.precision);
    dvit_table_cell(table, "%d", lane->batch);
    dvit_table_cell(table, "%d × %d", lane->streams, info.threads);
    dvit_table_cell(table, "%g", info.keep);
    dvit_table_cell(table, "%s", stages ? cli_join_ints(tokens, stages, text) : "all");
    dvit_table_cell(table, "%.3f", info.cost.macs / 1e9);
    dvit_table_cell(table, "%.1f", lane->images_per_s);
    dvit_table_cell(table, "%.2f", 1e3 * lane->times.p50_s);
    dvit_table_cell(table, "%.2f", 1e3 * lane->times.p90_s);
    dvit_table_cell(table, "%.2f", 1e3 * lane->times.p99_s);
    dvit_table_cell(table, "%.2f", 1e3 * lane->times.max_s);
    dvit_table_cell(table, "%.1f", gflops_of(row));
    dvit_table_cell(table, "%.0f %%", 100 * gflops_of(row) / row->matmul_gflops);
    dvit_table_cell(table, "%.2fx", lane->images_per_s / row->base_images_per_s);
    dvit_table_cell(table, "%.1f MB", lane->streams * (double)info.weight_bytes / 1e6);
    dvit_table_cell(table, "%.1f MB", lane->streams * (double)info.activation_bytes / 1e6);
    if (with_accuracy)
        dvit_table_cell(table, "%.2f", 100 * row->top1);
}

void cli_bench_print_row(const struct cli_bench_row *row, bool csv, bool first)
{
    const struct cli_lane *lane = row->lane;
    struct dvit_session_info info = info_of(row);
    int tokens[DVIT_MAX_STAGES], stages = dvit_session_stages(lane->sessions[0]);
    struct cli_record record = {0};
    cli_tokens(lane->sessions[0], lane->model, tokens);
    cli_record_text(&record, "model", row->name);
    cli_record_text(&record, "mode", stages ? "pruned" : "dense");
    cli_record_text(&record, "precision", info.precision);
    cli_record_whole(&record, "batch", lane->batch);
    cli_record_whole(&record, "streams", lane->streams);
    cli_record_whole(&record, "threads", info.threads);
    cli_record_real(&record, "keep", info.keep);
    cli_record_ints(&record, "tokens", tokens, stages);
    cli_record_real(&record, "images_per_s", lane->images_per_s);
    cli_record_real(&record, "latency_ms", 1e3 * lane->latency_s);
    cli_record_whole(&record, "runs", (long long)lane->times.runs);
    cli_record_real(&record, "p50_ms", 1e3 * lane->times.p50_s);
    cli_record_real(&record, "p90_ms", 1e3 * lane->times.p90_s);
    cli_record_real(&record, "p99_ms", 1e3 * lane->times.p99_s);
    cli_record_real(&record, "max_ms", 1e3 * lane->times.max_s);
    cli_record_real(&record, "gmacs", info.cost.macs / 1e9);
    cli_record_real(&record, "gflops", gflops_of(row));
    cli_record_real(&record, "matmul_gflops", row->matmul_gflops);
    cli_record_real(&record, "share_of_matmul_rate", gflops_of(row) / row->matmul_gflops);
    cli_record_real(&record, "speed_up", lane->images_per_s / row->base_images_per_s);
    cli_record_whole(&record, "weight_bytes", lane->streams * (long long)info.weight_bytes);
    cli_record_whole(&record, "activation_bytes", lane->streams * (long long)info.activation_bytes);
    cli_record_whole(&record, "peak_resident_bytes", (long long)cli_peak_bytes());
    cli_record_real(&record, "top1", row->top1);
    cli_record_text(&record, "cpu", info.cpu);
    cli_record_text(&record, "backend", info.backend);
    if (csv && first)
        cli_record_print_names(&record);
    cli_record_print(&record, csv);
}
