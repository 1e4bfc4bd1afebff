/* `dvit bench --profile`: where the time of a batch goes, and how near each operator comes to what
 * this machine can do. An operator is bound by its products or by the memory that it moves,
 * whichever takes longer at the measured rate of that alone, products' at the operator's own
 * precision; its share of the limit is that ideal time over its own. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "print.h"
#include "record.h"

/* An operator, or the same one of all blocks. Seconds are of all threads together. */
struct part {
    char name[80], kind[32];
    const char *precision; /* of its products; NULL: it has none */
    int count;             /* operators */
    double seconds, macs, bytes;
};

/* One model at a precision, a keep ratio and a batch size. */
struct measured {
    const char *name;
    struct dvit_session_info info;
    int batch;
    struct dvit_profile profile;
    struct part *parts; /* [count]; the last one is what lies between operators */
    int count;
    struct cli_rates products; /* of all threads; at the session's precision, then at those that
                                  operators have beside it */
    double memory_gbytes;      /* per second, of all threads */
};

/* ---- arithmetic ---- */

/* Of a batch, as the caller waits for it. */
static double part_ms(const struct measured *m, const struct part *part)
{
    return 1e3 * part->seconds / m->info.threads / (double)m->profile.runs;
}

static double part_gflop(const struct measured *m, const struct part *part)
{
    return 2e-9 * part->macs / (double)m->profile.runs;
}

static double part_gbytes(const struct measured *m, const struct part *part)
{
    return 1e-9 * part->bytes / (double)m->profile.runs;
}

/* Of products as the operator's; NAN where it has none. */
static double products_rate(const struct measured *m, const struct part *part)
{
    for (int i = 0; part->precision && i < m->products.count; i++)
        if (strcmp(m->products.known[i].precision, part->precision) == 0)
            return m->products.known[i].gflops;
    return NAN;
}

static double products_s(const struct measured *m, const struct part *part)
{
    return part->precision ? part_gflop(m, part) / products_rate(m, part) : 0;
}

static double memory_s(const struct measured *m, const struct part *part)
{
    return part_gbytes(m, part) / m->memory_gbytes;
}

static bool is_bound_by_memory(const struct measured *m, const struct part *part)
{
    return memory_s(m, part) > products_s(m, part);
}

static double limit_share(const struct measured *m, const struct part *part)
{
    return 1e3 * fmax(products_s(m, part), memory_s(m, part)) / part_ms(m, part);
}

/* ---- rows ---- */

/* "blocks.3.attn.qkv" is "blocks.*.attn.qkv". */
static void general_name(char out[80], const char *name)
{
    size_t used = 0;
    for (const char *at = name; *at && used < 79;) {
        size_t length = strcspn(at, ".");
        bool number = length > 0 && strspn(at, "0123456789") == length;
        used += (size_t)snprintf(out + used, 80 - used, "%.*s%s", number ? 1 : (int)length,
                                 number ? "*" : at, at[length] ? "." : "");
        at += length + (at[length] != 0);
    }
    out[used < 79 ? used : 79] = 0;
}

static bool same_part(const struct part *a, const struct part *b)
{
    bool same = strcmp(a->name, b->name) == 0 && strcmp(a->kind, b->kind) == 0;
    return same && !a->precision == !b->precision &&
           (!a->precision || strcmp(a->precision, b->precision) == 0);
}

static void gather(struct measured *m, const struct dvit_session *session, bool by_layer)
{
    size_t rows = dvit_session_profile_rows(session);
    for (size_t i = 0; i < rows; i++) {
        struct dvit_profile_row row = dvit_session_profile_row(session, i);
        struct part part = {.precision = row.precision};
        if (by_layer)
            general_name(part.name, row.name);
        else
            snprintf(part.name, sizeof part.name, "%s", row.name);
        snprintf(part.kind, sizeof part.kind, "%s", row.kind);
        int at = 0;
        while (at < m->count && (!by_layer || !same_part(&m->parts[at], &part)))
            at++;
        if (at == m->count)
            m->parts[m->count++] = part;
        m->parts[at].count++;
        m->parts[at].seconds += row.seconds;
        m->parts[at].macs += row.macs;
        m->parts[at].bytes += row.bytes;
    }
}

static void print_part(const struct measured *m, const struct part *part, bool csv, bool first)
{
    struct cli_record record = {0};
    bool work = part->bytes > 0;
    cli_record_text(&record, "model", m->name);
    cli_record_text(&record, "precision", m->info.precision);
    cli_record_whole(&record, "batch", m->batch);
    cli_record_whole(&record, "threads", m->info.threads);
    cli_record_real(&record, "keep", m->info.keep);
    cli_record_text(&record, "operator", part->name);
    cli_record_text(&record, "kind", part->kind);
    cli_record_text(&record, "products", part->precision);
    cli_record_whole(&record, "count", part->count);
    cli_record_real(&record, "ms", part_ms(m, part));
    cli_record_real(&record, "share", part->seconds / (m->profile.seconds * m->info.threads));
    cli_record_real(&record, "gflop", part_gflop(m, part));
    cli_record_real(&record, "gbytes", part_gbytes(m, part));
    cli_record_real(&record, "gflops", 1e3 * part_gflop(m, part) / part_ms(m, part));
    cli_record_real(&record, "gbytes_per_s", 1e3 * part_gbytes(m, part) / part_ms(m, part));
    cli_record_text(&record, "bound_by",
                    !work                         ? NULL
                    : is_bound_by_memory(m, part) ? "memory"
                                                  : "products");
    cli_record_real(&record, "share_of_limit", work ? limit_share(m, part) : NAN);
    cli_record_real(&record, "matmul_gflops", products_rate(m, part));
    cli_record_real(&record, "memory_gbytes_per_s", m->memory_gbytes);
    if (csv && first)
        cli_record_print_names(&record);
    cli_record_print(&record, csv);
}

static void add_row(struct dvit_table *table, const struct measured *m, const struct part *part)
{
    bool work = part->bytes > 0, memory = work && is_bound_by_memory(m, part);
    double ms = part_ms(m, part);
    dvit_table_cell(table, "%s", part->name);
    dvit_table_cell(table, "%s", work ? part->kind : "");
    dvit_table_cell(table, "%s", part->precision ? part->precision : "");
    dvit_table_cell(table, "%d", part->count);
    dvit_table_cell(table, "%.3f", ms);
    dvit_table_cell(table, "%.1f %%", 100 * part->seconds / (m->profile.seconds * m->info.threads));
    if (work && memory)
        dvit_table_cell(table, "%.1f GB/s", 1e3 * part_gbytes(m, part) / ms);
    else if (work)
        dvit_table_cell(table, "%.1f GFLOP/s", 1e3 * part_gflop(m, part) / ms);
    else
        dvit_table_cell(table, "%s", "");
    dvit_table_cell(table, "%s", !work ? "" : memory ? "memory" : "products");
    if (work)
        dvit_table_cell(table, "%.0f %%", 100 * limit_share(m, part));
    else
        dvit_table_cell(table, "%s", "");
}

static void print_heading(const struct measured *m)
{
    double run_s = m->profile.seconds / (double)m->profile.runs;
    double gflops = 2e-9 * m->info.cost.macs * m->batch / run_s;
    cli_print_plain(m->name);
    cli_print(
        ", %s, keep ratio %g, batch %d, %d threads: %.3f ms, %.1f images/s, %.1f GFLOP/s (%.0f "
        "%% of matrix products alone)\nlimits measured: products",
        m->info.precision, m->info.keep, m->batch, m->info.threads, 1e3 * run_s, m->batch / run_s,
        gflops, 100 * gflops / m->products.known[0].gflops);
    for (int i = 0; i < m->products.count; i++)
        cli_print("%s %.1f GFLOP/s in %s", i ? "," : "", m->products.known[i].gflops,
                  m->products.known[i].precision);
    printf("; memory %.1f GB/s; means of %lld batches\n\n", m->memory_gbytes, m->profile.runs);
}

static int print_table(const struct measured *m)
{
    static const char *const headers[] = {"operator", "kind", "products", "count",   "ms",
                                          "share",    "rate", "bound by", "of limit"};
    struct dvit_table *table = cli_table_create(headers, 9, 3);
    if (!table)
        return CLI_EXIT_FAILURE;
    for (int i = 0; i < m->count; i++)
        add_row(table, m, &m->parts[i]);
    print_heading(m);
    return cli_table_print(table);
}

/* ---- measuring ---- */

/* What a run reads and writes. */
struct batch {
    float *pixels, *logits;
    int count;
};

static bool allocate(struct batch *batch, const struct dvit_config *config)
{
    size_t images = (size_t)batch->count, classes = (size_t)config->classes;
    size_t pixel_count = images * 3 * (size_t)config->image_width * (size_t)config->image_height;
    batch->pixels = calloc(pixel_count, sizeof *batch->pixels);
    batch->logits = calloc(images * classes, sizeof *batch->logits);
    if (batch->pixels && batch->logits)
        cli_fill_noise(batch->pixels, pixel_count);
    else
        cli_error("out of memory for %zu values of images", pixel_count);
    return batch->pixels && batch->logits;
}

/* Once at least. */
static enum dvit_status run_for(struct dvit_session *session, const struct batch *batch,
                                double seconds, struct dvit_error *error)
{
    double begin = cli_seconds();
    enum dvit_status status = DVIT_OK;
    do
        status = dvit_session_run(session, batch->pixels, batch->count, batch->logits, error);
    while (status == DVIT_OK && cli_seconds() - begin < seconds);
    return status;
}

/* The precisions of all products, the session's first; rates are not known yet. */
static void list_precisions(struct cli_rates *rates, const struct dvit_session *session)
{
    rates->known[rates->count++].precision = dvit_session_describe(session).precision;
    for (size_t i = 0; i < dvit_session_profile_rows(session); i++) {
        const char *precision = dvit_session_profile_row(session, i).precision;
        int at = 0;
        while (precision && at < rates->count && strcmp(rates->known[at].precision, precision) != 0)
            at++;
        if (precision && at == rates->count)
            rates->known[rates->count++].precision = precision;
    }
}

/* What bounds the runs: gflops [products.count] and *gbytes, by the session's threads. */
static enum dvit_status measure_limits(const struct measured *m, const struct dvit_model *model,
                                       double seconds, double *gflops, double *gbytes,
                                       struct dvit_error *error)
{
    size_t bytes = m->info.activation_bytes / (size_t)m->info.threads;
    enum dvit_status status = dvit_memory_rate(bytes, m->info.threads, seconds, gbytes, error);
    for (int i = 0; status == DVIT_OK && i < m->products.count; i++)
        status = dvit_matmul_rate(dvit_model_config(model), m->products.known[i].precision,
                                  m->info.threads, seconds, &gflops[i], error);
    return status;
}

/* The runs and what bounds them in turn, so that a change of the machine's clock or load meets them
 * alike. */
static int run_rounds(struct measured *m, struct dvit_session *session,
                      const struct dvit_model *model, const struct cli_options *options)
{
    struct dvit_error error = {0};
    struct batch batch = {.count = m->batch};
    double products[CLI_MAX_NUMBERS][CLI_MAX_ROUNDS], memory[CLI_MAX_ROUNDS];
    double seconds = options->seconds / options->rounds, gflops[CLI_MAX_NUMBERS] = {0};
    int code = allocate(&batch, dvit_model_config(model)) ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
    if (code == CLI_EXIT_OK && (run_for(session, &batch, 0, &error) != DVIT_OK || /* to warm up */
                                dvit_session_profile_begin(session, &error) != DVIT_OK))
        code = cli_fail(&error);
    if (code == CLI_EXIT_OK)
        list_precisions(&m->products, session);
    for (int r = 0; code == CLI_EXIT_OK && r < options->rounds; r++) {
        if (run_for(session, &batch, seconds, &error) != DVIT_OK ||
            measure_limits(m, model, seconds / 4, gflops, &memory[r], &error) != DVIT_OK)
            code = cli_fail(&error);
        for (int i = 0; i < m->products.count; i++)
            products[i][r] = gflops[i];
    }
    free(batch.pixels);
    free(batch.logits);
    if (code != CLI_EXIT_OK)
        return code;
    for (int i = 0; i < m->products.count; i++)
        m->products.known[i].gflops = cli_median(products[i], options->rounds);
    m->memory_gbytes = cli_median(memory, options->rounds);
    return CLI_EXIT_OK;
}

static int measure(struct measured *m, struct dvit_session *session, const struct dvit_model *model,
                   const struct cli_options *options)
{
    m->info = dvit_session_describe(session);
    int code = run_rounds(m, session, model, options);
    if (code != CLI_EXIT_OK)
        return code;
    m->profile = dvit_session_profile(session);
    m->parts = calloc(dvit_session_profile_rows(session), sizeof *m->parts);
    if (!m->parts) {
        cli_error("out of memory");
        return CLI_EXIT_FAILURE;
    }
    gather(m, session, strcmp(options->profile, "layer") == 0);
    return CLI_EXIT_OK;
}

static int profile_once(const char *name, const struct dvit_model *model,
                        const struct cli_options *options, double keep, int batch, int *printed)
{
    struct measured m = {.name = name, .batch = batch};
    struct dvit_session *session = NULL;
    int code = cli_session_create(&session, model, options, keep, batch);
    cli_progress("measuring %s, batch %d", name, batch);
    if (code == CLI_EXIT_OK)
        code = measure(&m, session, model, options);
    cli_progress_clear();
    if (code == CLI_EXIT_OK && (options->json || options->csv)) {
        for (int i = 0; i < m.count; i++)
            print_part(&m, &m.parts[i], options->csv, *printed == 0 && i == 0);
    } else if (code == CLI_EXIT_OK) {
        if (*printed)
            printf("\n");
        else
            cli_bench_print_machine(options,
                                    "a batch's time by operators; above 100 % of the memory's "
                                    "rate: from a nearer cache");
        code = print_table(&m);
    }
    *printed += 1;
    free(m.parts);
    dvit_session_free(session);
    return code;
}

static int profile_model(const char *name, const struct cli_options *options, int *printed)
{
    struct dvit_model *model = NULL;
    struct cli_keeps keeps = cli_bench_keeps(name, options);
    int code = cli_bench_open(&model, name, options, &keeps);
    for (int b = 0; b < options->batches.count; b++)
        for (int p = 0; p < options->precisions.count; p++)
            for (int k = 0; code == CLI_EXIT_OK && k < keeps.count; k++) {
                struct cli_options own = *options;
                own.precision = options->precisions.values[p];
                code = profile_once(name, model, &own, keeps.values[k], options->batches.values[b],
                                    printed);
            }
    dvit_model_free(model);
    return code;
}

int cli_bench_profile(const struct cli_options *options)
{
    int code = CLI_EXIT_OK, printed = 0;
    for (int i = 0; code == CLI_EXIT_OK && i < options->models.count; i++)
        code = profile_model(options->models.values[i], options, &printed);
    return code;
}
