/* The table of precisions: sessions of one model at one keep ratio, compared image by image. */
#include "precision_table.h"

#include <stdio.h>

#include "dvit/quantize.h"
#include "image_list.h"
#include "json_lines.h"
#include "print.h"
#include "workbench.h"

enum { PRECISIONS = 3, SHARES_TEXT = 256 };
static const char *const precisions[PRECISIONS] = {"f32", "bf16", "int8"}; /* the base first */

/* One keep ratio's rows. */
struct rows {
    int count;
    struct dvit_session *sessions[PRECISIONS];
    struct dvit_comparison results[PRECISIONS];
};

/* What cannot run for want of hardware or calibration is left out, and said once. */
static int open_sessions(struct rows *rows, const struct cli_precision_table *table,
                         const struct cli_options *options, double keep, bool tell)
{
    for (int i = 0; i < PRECISIONS; i++) {
        struct dvit_error error = {0};
        struct dvit_session_options session = {.keep = keep,
                                               .max_batch = options->batch,
                                               .threads = options->threads,
                                               .cpu = options->cpu,
                                               .precision = precisions[i]};
        enum dvit_status status =
            dvit_session_create(&rows->sessions[rows->count], table->model, &session, &error);
        bool not_to_be_had = status == DVIT_ERROR_UNSUPPORTED || status == DVIT_ERROR_MISMATCH;
        if (status == DVIT_OK)
            rows->count++;
        else if (i == 0 || !not_to_be_had)
            return cli_fail(&error);
        else if (tell)
            cli_note("without %s: %s", precisions[i], error.message);
    }
    return CLI_EXIT_OK;
}

static const char *shares_text(const struct dvit_comparison *result, char text[SHARES_TEXT])
{
    size_t used = 0;
    text[0] = 0;
    for (int s = 0; s < result->stages && used < SHARES_TEXT - 16; s++)
        used += (size_t)snprintf(text + used, SHARES_TEXT - used, "%s%.2f", s ? "/" : "",
                                 100 * result->other_kept[s]);
    return text;
}

static void print_json(const struct cli_precision_table *table, const struct rows *rows)
{
    for (int i = 0; i < rows->count; i++) {
        const struct dvit_comparison *result = &rows->results[i];
        struct dvit_session_info info = dvit_session_describe(rows->sessions[i]);
        struct cli_json json = cli_json_begin(stdout);
        cli_json_string(&json, "model", table->name);
        cli_json_real(&json, "keep", info.keep);
        cli_json_string(&json, "precision", info.precision);
        cli_json_integer(&json, "images", (long long)result->images);
        cli_json_integer(&json, "unanswered", (long long)result->unanswered);
        if (table->labelled)
            cli_json_real(&json, "top1", result->top1);
        cli_json_real(&json, "agreement", result->agreement);
        cli_json_open(&json, "other_kept", '[');
        for (int s = 0; s < result->stages; s++)
            cli_json_real(&json, NULL, result->other_kept[s]);
        cli_json_close(&json, ']');
        cli_json_end(&json);
    }
}

static void add_rows(struct dvit_table *shown, const struct cli_precision_table *table,
                     const struct rows *rows)
{
    for (int i = 0; i < rows->count; i++) {
        const struct dvit_comparison *result = &rows->results[i];
        struct dvit_session_info info = dvit_session_describe(rows->sessions[i]);
        char text[SHARES_TEXT];
        dvit_table_cell(shown, "%s", info.precision);
        dvit_table_cell(shown, "%g", info.keep);
        if (table->labelled) {
            dvit_table_cell(shown, "%.2f", 100 * result->top1);
            dvit_table_cell(shown, "%+.2f", 100 * (result->top1 - rows->results[0].top1));
        }
        dvit_table_cell(shown, "%.2f", 100 * result->agreement);
        dvit_table_cell(shown, "%s", shares_text(result, text));
    }
}

static int run_keep(const struct cli_precision_table *table, const struct cli_options *options,
                    double keep, bool tell, struct dvit_table *shown, struct dvit_comparison *base,
                    int *unanswered)
{
    struct dvit_error error = {0};
    struct rows rows = {0};
    struct cli_counter counter = {.what = table->name};
    const struct dvit_compare_options compare = {.batch = options->batch,
                                                 .workers = cli_readers(options),
                                                 .strict = options->strict,
                                                 .limit = (size_t)options->limit,
                                                 .seed = options->seed};
    int code = open_sessions(&rows, table, options, keep, tell);
    if (code == CLI_EXIT_OK &&
        dvit_compare_sessions(rows.sessions, rows.count, table->model, table->set, &compare,
                              cli_progress_count, &counter, rows.results, &error) != DVIT_OK)
        code = cli_fail(&error);
    cli_progress_clear();
    *base = rows.results[0];
    for (int i = 0; i < rows.count; i++) {
        const struct dvit_comparison *result = &rows.results[i];
        int failed = cli_unanswered(dvit_session_describe(rows.sessions[i]).precision,
                                    result->unanswered, result->images);
        *unanswered = failed != CLI_EXIT_OK ? failed : *unanswered;
    }
    if (code == CLI_EXIT_OK && options->json)
        print_json(table, &rows);
    else if (code == CLI_EXIT_OK)
        add_rows(shown, table, &rows);
    for (int i = 0; i < rows.count; i++)
        dvit_session_free(rows.sessions[i]);
    return code;
}

int cli_precision_table_print(const struct cli_precision_table *table,
                              const struct cli_options *options)
{
    static const char *const headers[] = {"precision",   "keep",         "top-1 %",
                                          "against f32", "same class %", "other patches kept %"};
    static const char *const bare[] = {"precision", "keep", "same class %", "other patches kept %"};
    struct dvit_table *shown =
        table->labelled ? cli_table_create(headers, 6, 1) : cli_table_create(bare, 4, 1);
    int code = shown ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
    struct dvit_comparison base = {0};
    int unanswered = CLI_EXIT_OK;
    for (int i = 0; code == CLI_EXIT_OK && i < table->keep_count; i++)
        code = run_keep(table, options, table->keeps[i], i == 0, shown, &base, &unanswered);
    if (code == CLI_EXIT_OK && !options->json) {
        cli_print_plain(table->name);
        cli_print(", %zu image%s%s; class and kept patches beside those of f32\n\n", base.images,
                  base.images == 1 ? "" : "s", table->which ? table->which : "");
        code = cli_table_print(shown);
    } else {
        dvit_table_free(shown);
    }
    if (code == CLI_EXIT_OK)
        code = unanswered;
    return code == CLI_EXIT_OK ? cli_skipped(base.skipped, base.images + base.skipped) : code;
}
