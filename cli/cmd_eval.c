/* `dvit eval`: accuracy, cost and speed of models at keep ratios over a data set, in one table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dvit/eval.h"
#include "eval_details.h"
#include "eval_plot.h"
#include "image_list.h"
#include "json_lines.h"
#include "precision_table.h"
#include "print.h"
#include "throughput.h"
#include "workbench.h"

/* One row of the table: a model at a keep ratio. */
struct entry {
    const char *name;
    const struct dvit_model *model;
    struct dvit_session *session;
    struct dvit_evaluation result;
};

struct job {
    const struct cli_options *options;
    struct dvit_model **models; /* [options->models.count] */
    struct dvit_dataset *set;
    const struct dvit_model *set_for; /* the model whose class indices the labels of `set` are */
    bool told_of_turns;
    struct entry *entries; /* [count] */
    int count;
    struct cli_lane *lanes; /* [count] */
};

/* Labels are indices of one model's classes, and rendered scenes come in one model's size: the data
 * set is opened for each model. */
static int open_data(struct job *job, const struct dvit_model *model)
{
    struct dvit_error error = {0};
    struct dvit_dataset_options options = dvit_dataset_options_default();
    struct dvit_dataset *set = NULL;
    if (job->set_for == model)
        return CLI_EXIT_OK;
    options.scene_side = dvit_model_config(model)->image_width;
    options.orient = job->options->orient;
    options.labels_file = job->options->labels_file;
    if (dvit_dataset_open_for(&set, model, job->options->data, job->options->split, &options,
                              &error) != DVIT_OK)
        return cli_fail(&error);
    cli_dataset_warn(set, job->set);
    dvit_dataset_free(job->set);
    job->set = set;
    job->set_for = model;
    return CLI_EXIT_OK;
}

static void tell_turns(struct job *job)
{
    size_t turned = dvit_dataset_rotated(job->set);
    if (turned == 0 || job->options->orient || job->told_of_turns)
        return;
    cli_note("warning: %zu images ask for a turn (EXIF orientation) and were read as stored; "
             "--exif turns them",
             turned);
    job->told_of_turns = true;
}

static int evaluate_entry(struct job *job, struct entry *entry)
{
    struct dvit_error error = {0};
    struct dvit_evaluate_options options = {.batch = job->options->batch,
                                            .workers = cli_readers(job->options),
                                            .strict = job->options->strict,
                                            .limit = (size_t)job->options->limit,
                                            .want_predictions = true};
    struct cli_counter counter = {.what = entry->name};
    int code = open_data(job, entry->model);
    if (code != CLI_EXIT_OK)
        return code;
    enum dvit_status status = dvit_evaluate(entry->session, entry->model, job->set, &options,
                                            cli_progress_count, &counter, &entry->result, &error);
    cli_progress_clear();
    if (status == DVIT_OK)
        tell_turns(job);
    return status == DVIT_OK ? CLI_EXIT_OK : cli_fail(&error);
}

static int open_model_entries(struct job *job, int model_index)
{
    const struct cli_options *options = job->options;
    const char *name = options->models.values[model_index];
    int keeps = options->keeps.count ? options->keeps.count : 1;
    double pruned = 0; /* some ratio below 1, if any */
    for (int i = 0; i < options->keeps.count; i++)
        pruned = options->keeps.values[i] < 1 ? options->keeps.values[i] : pruned;
    int code = cli_model_open(&job->models[model_index], name, options, pruned, false);
    for (int i = 0; code == CLI_EXIT_OK && i < keeps; i++) {
        struct entry *entry = &job->entries[job->count];
        *entry = (struct entry){.name = name, .model = job->models[model_index]};
        code =
            cli_session_create(&entry->session, entry->model, options,
                               options->keeps.count ? options->keeps.values[i] : 0, options->batch);
        if (code != CLI_EXIT_OK)
            break;
        cli_precision_tell(entry->session, name, options);
        job->count++;
    }
    return code;
}

/* The speed of the models alone, all entries in turn. */
static int measure_speeds(struct job *job)
{
    for (int i = 0; i < job->count; i++)
        job->lanes[i] = (struct cli_lane){.sessions = {job->entries[i].session},
                                          .streams = 1,
                                          .model = job->entries[i].model,
                                          .batch = job->options->batch};
    cli_progress("measuring speed");
    int code =
        cli_lanes_measure(job->lanes, job->count, job->options->rounds, job->options->seconds);
    cli_progress_clear();
    for (int i = 0; code == CLI_EXIT_OK && i < job->count; i++)
        job->entries[i].result.model_images_per_s = job->lanes[i].images_per_s;
    return code;
}

static void json_shares(struct cli_json *json, const char *name, const double *shares, int count)
{
    cli_json_open(json, name, '[');
    for (int i = 0; i < count; i++)
        cli_json_real(json, NULL, shares[i]);
    cli_json_close(json, ']');
}

static int print_json(const struct job *job, const struct entry *entry)
{
    const struct dvit_evaluation *result = &entry->result;
    struct dvit_session_info info = dvit_session_describe(entry->session);
    int tokens[DVIT_MAX_STAGES], stages = dvit_session_stages(entry->session);
    cli_tokens(entry->session, entry->model, tokens);
    struct cli_json json = cli_json_begin(stdout);
    cli_json_string(&json, "model", entry->name);
    cli_json_string(&json, "data", job->options->data);
    cli_json_string(&json, "split", job->options->split);
    cli_json_real(&json, "keep", info.keep);
    cli_json_string(&json, "mode", stages ? "pruned" : "dense");
    cli_json_integer(&json, "images", (long long)result->images);
    cli_json_integer(&json, "skipped", (long long)result->skipped);
    cli_json_integer(&json, "unanswered", (long long)result->unanswered);
    cli_json_real(&json, "top1", result->top1);
    cli_json_real(&json, "top5", result->top5);
    cli_json_real(&json, "loss", result->loss);
    cli_json_real(&json, "images_per_s", result->images_per_s);
    cli_json_real(&json, "model_images_per_s", result->model_images_per_s);
    cli_json_real(&json, "speed_up",
                  result->model_images_per_s / job->entries[0].result.model_images_per_s);
    cli_json_real(&json, "gmacs", info.cost.macs / 1e9);
    cli_json_real(&json, "gmacs_published", info.cost.macs_published / 1e9);
    cli_json_open(&json, "tokens", '[');
    for (int s = 0; s < stages; s++)
        cli_json_integer(&json, NULL, tokens[s]);
    cli_json_close(&json, ']');
    json_shares(&json, "kept_share", result->kept_share, stages);
    if (result->has_masks)
        json_shares(&json, "object_kept_share", result->object_kept_share, stages);
    cli_json_integer(&json, "batch", job->options->batch);
    cli_json_integer(&json, "threads", info.threads);
    cli_json_string(&json, "precision", info.precision);
    int code = job->options->per_class ? cli_json_details(&json, &entry->result) : CLI_EXIT_OK;
    cli_json_end(&json);
    return code;
}

static void add_shares(struct dvit_table *table, const double *shares, int count)
{
    char text[256] = "";
    size_t used = 0;
    for (int i = 0; i < count && used < 240; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%.1f", i ? "/" : "",
                                 100 * shares[i]);
    dvit_table_cell(table, "%s", text);
}

/* Where no model has more classes than that, all are right by it. */
static bool shows_top5(const struct job *job)
{
    for (int i = 0; i < job->count; i++)
        if (dvit_model_config(job->entries[i].model)->classes > DVIT_PREDICTION_TOP)
            return true;
    return false;
}

static void add_row(struct dvit_table *table, const struct job *job, const struct entry *entry)
{
    const struct dvit_evaluation *result = &entry->result;
    struct dvit_session_info info = dvit_session_describe(entry->session);
    int tokens[DVIT_MAX_STAGES], stages = dvit_session_stages(entry->session);
    char text[256];
    cli_tokens(entry->session, entry->model, tokens);
    dvit_table_cell(table, "%s", entry->name);
    dvit_table_cell(table, "%g", info.keep);
    dvit_table_cell(table, "%.2f", 100 * result->top1);
    if (shows_top5(job))
        dvit_table_cell(table, "%.2f", 100 * result->top5);
    if (result->unanswered < result->images)
        dvit_table_cell(table, "%.4f", result->loss);
    else
        dvit_table_cell(table, "-");
    dvit_table_cell(table, "%.4g", info.cost.macs / 1e9);
    dvit_table_cell(table, "%.4g", info.cost.macs_published / 1e9);
    dvit_table_cell(table, "%s", stages ? cli_join_ints(tokens, stages, text) : "all");
    dvit_table_cell(table, "%.1f", result->model_images_per_s);
    dvit_table_cell(table, "%.2fx",
                    result->model_images_per_s / job->entries[0].result.model_images_per_s);
    add_shares(table, result->kept_share, stages);
    add_shares(table, result->object_kept_share, result->has_masks ? stages : 0);
}

static int print_table(const struct job *job)
{
    static const char *const headers[] = {
        "model",     "keep",    "top-1 %",  "top-5 %",  "loss",           "GMACs",
        "published", "patches", "images/s", "speed-up", "patches kept %", "object kept %"};
    enum { HEADERS = sizeof headers / sizeof *headers, TOP5 = 3 };
    const char *shown[HEADERS];
    int count = 0;
    for (int i = 0; i < HEADERS; i++)
        if (i != TOP5 || shows_top5(job))
            shown[count++] = headers[i];
    struct dvit_table *table = cli_table_create(shown, count, 1);
    struct dvit_session_info info = dvit_session_describe(job->entries[0].session);
    if (!table)
        return CLI_EXIT_FAILURE;
    printf("%zu images of \"", job->entries[0].result.images);
    cli_print_plain(job->options->data);
    cli_print("\" (%s); images/s of the model alone at batch %d on %d threads in %s, medians of %d "
              "rounds in turn\n\n",
              job->options->split, job->options->batch, info.threads, info.precision,
              job->options->rounds);
    for (int i = 0; i < job->count; i++)
        add_row(table, job, &job->entries[i]);
    return cli_table_print(table);
}

static int print_results(const struct job *job)
{
    int code = CLI_EXIT_OK;
    if (job->options->json) {
        for (int i = 0; code == CLI_EXIT_OK && i < job->count; i++)
            code = print_json(job, &job->entries[i]);
        return code;
    }
    code = print_table(job);
    for (int i = 0; code == CLI_EXIT_OK && job->options->per_class && i < job->count; i++) {
        const struct entry *entry = &job->entries[i];
        printf("\n");
        cli_print_plain(entry->name);
        printf(" at keep ratio %g\n", dvit_session_describe(entry->session).keep);
        code = cli_print_details(&entry->result);
    }
    return code;
}

/* What can be known to fail is said before the work. */
static int check_files(const struct cli_options *options)
{
    struct dvit_error error = {0};
    int code = CLI_EXIT_OK;
    if (options->confusion && (options->models.count > 1 || options->keeps.count > 1)) {
        cli_error("eval: --confusion is one matrix, give one --model and one --keep");
        return CLI_EXIT_USAGE;
    }
    if (options->predictions && dvit_predictions_check(options->predictions, &error) != DVIT_OK)
        return cli_fail(&error);
    if (options->predictions)
        code = cli_check_file(options->predictions);
    if (code == CLI_EXIT_OK && options->confusion)
        code = cli_check_file(options->confusion);
    if (code == CLI_EXIT_OK && options->plot)
        code = cli_check_file(options->plot);
    return code;
}

static int write_predictions(const struct job *job)
{
    struct dvit_error error = {0};
    struct dvit_evaluated *evaluated = calloc((size_t)job->count, sizeof *evaluated);
    if (!evaluated) {
        cli_error("out of memory");
        return CLI_EXIT_FAILURE;
    }
    for (int i = 0; i < job->count; i++)
        evaluated[i] =
            (struct dvit_evaluated){.model = job->entries[i].name,
                                    .keep = dvit_session_describe(job->entries[i].session).keep,
                                    .evaluation = &job->entries[i].result};
    enum dvit_status status =
        dvit_predictions_write(job->options->predictions, job->set, evaluated, job->count, &error);
    free(evaluated);
    return status == DVIT_OK ? CLI_EXIT_OK : cli_fail(&error);
}

static int write_files(const struct job *job)
{
    struct dvit_error error = {0};
    int code = job->options->predictions ? write_predictions(job) : CLI_EXIT_OK;
    if (code == CLI_EXIT_OK && job->options->confusion &&
        dvit_evaluation_write_confusion(job->options->confusion, &job->entries[0].result, &error) !=
            DVIT_OK)
        code = cli_fail(&error);
    return code;
}

/* The name of an entry's line. */
static const char *line_of(const struct job *job, const struct entry *entry)
{
    if (strcmp(job->options->plot_by, "model") == 0)
        return entry->name;
    return dvit_session_stages(entry->session)
               ? dvit_pruning_name(dvit_model_config(entry->model)->pruning)
               : "dense";
}

static int write_plot(const struct job *job)
{
    struct cli_plot_point *points = calloc((size_t)job->count, sizeof *points);
    if (!points) {
        cli_error("out of memory");
        return CLI_EXIT_FAILURE;
    }
    for (int i = 0; i < job->count; i++) {
        const struct entry *entry = &job->entries[i];
        points[i] =
            (struct cli_plot_point){.line = line_of(job, entry),
                                    .gmacs = dvit_session_describe(entry->session).cost.macs / 1e9,
                                    .images_per_s = entry->result.model_images_per_s,
                                    .top1 = entry->result.top1};
    }
    int code = cli_plot_write(job->options->plot, points, job->count);
    free(points);
    return code;
}

/* Whether an option asks for what a comparison of precisions does not make. */
static int check_comparison(const struct cli_options *options)
{
    if (!options->plot && !options->predictions && !options->confusion && !options->per_class)
        return CLI_EXIT_OK;
    cli_error("eval: --compare-precisions makes its own table, without --plot, --predictions, "
              "--confusion and --per-class");
    return CLI_EXIT_USAGE;
}

static int compare_precisions(struct job *job)
{
    static const double own[1] = {0};
    const struct cli_options *options = job->options;
    int code = check_comparison(options);
    for (int i = 0; code == CLI_EXIT_OK && i < options->models.count; i++) {
        const char *name = options->models.values[i];
        struct cli_precision_table table = {.name = name, .labelled = true};
        table.keeps = options->keeps.count ? options->keeps.values : own;
        table.keep_count = options->keeps.count ? options->keeps.count : 1;
        code = cli_model_open(&job->models[i], name, options, 0, false);
        if (code == CLI_EXIT_OK)
            code = open_data(job, job->models[i]);
        table.model = job->models[i];
        table.set = job->set;
        if (code == CLI_EXIT_OK && i > 0 && !options->json)
            putchar('\n');
        if (code == CLI_EXIT_OK)
            code = cli_precision_table_print(&table, options);
    }
    return code;
}

static int run_job(struct job *job)
{
    int code = check_files(job->options);
    for (int i = 0; code == CLI_EXIT_OK && i < job->options->models.count; i++)
        code = open_model_entries(job, i);
    for (int i = 0; code == CLI_EXIT_OK && i < job->count; i++)
        code = evaluate_entry(job, &job->entries[i]);
    if (code == CLI_EXIT_OK)
        code = write_files(job);
    if (code == CLI_EXIT_OK)
        code = measure_speeds(job);
    if (code == CLI_EXIT_OK && job->options->plot)
        code = write_plot(job);
    if (code == CLI_EXIT_OK)
        code = print_results(job);
    if (code != CLI_EXIT_OK)
        return code;
    const struct dvit_evaluation *result = &job->entries[0].result;
    cli_note_unread(result);
    for (int i = 0; i < job->count; i++) {
        const struct entry *entry = &job->entries[i];
        int failed = cli_unanswered(entry->name, entry->result.unanswered, entry->result.images);
        code = failed == CLI_EXIT_FAILURE || code == CLI_EXIT_OK ? failed : code;
    }
    int skipped = cli_skipped(result->skipped, result->images + result->skipped);
    return code == CLI_EXIT_OK ? skipped : code;
}

int cli_cmd_eval(const struct cli_options *options)
{
    struct job job = {.options = options};
    size_t models = (size_t)options->models.count;
    size_t entries = models * (size_t)(options->keeps.count ? options->keeps.count : 1);
    int code = CLI_EXIT_FAILURE;
    job.models = calloc(models, sizeof(struct dvit_model *));
    job.entries = calloc(entries, sizeof *job.entries);
    job.lanes = calloc(entries, sizeof *job.lanes);
    if (job.models && job.entries && job.lanes)
        code = options->compare_precisions ? compare_precisions(&job) : run_job(&job);
    else
        cli_error("out of memory");
    for (int i = 0; i < job.count; i++) {
        dvit_session_free(job.entries[i].session);
        dvit_evaluation_free(&job.entries[i].result);
    }
    for (size_t i = 0; job.models && i < models; i++)
        dvit_model_free(job.models[i]);
    cli_dataset_tell_grey16(job.set, NULL);
    dvit_dataset_free(job.set);
    free(job.models);
    free(job.entries);
    free(job.lanes);
    return code;
}
