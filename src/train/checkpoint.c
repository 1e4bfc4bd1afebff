/* Saving and restoring a trainer. Random numbers need no state: every draw is a function of the
 * seed and the step. The position in the data is a function of the step too. */
#define _GNU_SOURCE
#include "train/checkpoint.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/options.h"
#include "weights/model_file.h"
#include "weights/model_json.h"
#include "weights/text.h"

static const char training_key[] = "dvit.training";

/* The arrays of a trainer that a state holds, each under a prefix; NULL data: not held. */
enum { PARTS = 4 };
struct part {
    const char *prefix;
    float *data;
};
static void parts_of(const struct dvit_trainer *t, struct part parts[PARTS])
{
    parts[0] = (struct part){"model.", t->model->weights};
    parts[1] = (struct part){"moment1.", t->moment1};
    parts[2] = (struct part){"moment2.", t->moment2};
    parts[3] = (struct part){"average.", t->average ? t->average->weights : NULL};
}

/* The options with what "auto" came to. */
static struct dvit_train_options resolved_options(const struct dvit_trainer *t)
{
    struct dvit_train_options options = t->options;
    options.precision = t->bf16 ? "bf16" : "f32";
    return options;
}

static char *progress_text(const struct dvit_trainer *t, const struct dvit_run_identity *identity)
{
    const struct dvit_progress *p = &t->progress;
    struct dvit_train_options options = resolved_options(t);
    json_t *root = json_pack(
        "{s:I, s:I, s:I, s:I, s:f, s:I, s:I, s:s, s:s?, s:I, s:b, s:b, s:o}", "step",
        (json_int_t)p->step, "adam_step", (json_int_t)p->adam_step, "bad_steps",
        (json_int_t)p->bad_steps, "bad_in_row", (json_int_t)p->bad_in_row, "best_top1",
        p->best_top1, "seed", (json_int_t)t->options.seed, "steps_per_epoch",
        (json_int_t)identity->steps_per_epoch, "data", identity->data, "teacher", identity->teacher,
        "rollbacks", (json_int_t)p->rollbacks, "unevaluated", p->unevaluated, "good", p->good,
        "options", dvit_train_options_json(&options, true));
    char *text = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(root);
    return text;
}

enum dvit_status dvit_checkpoint_save(const struct dvit_trainer *t,
                                      const struct dvit_run_identity *identity, const char *path,
                                      struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_parameters *table = &t->model->parameters;
    struct dvit_model_metadata metadata = {0};
    struct part parts[PARTS];
    size_t count = 0;
    char *progress = progress_text(t, identity);
    struct dvit_safetensors_entry *entries = calloc(PARTS * table->count, sizeof *entries);
    char(*names)[96] = calloc(PARTS * table->count, sizeof *names);
    if (!progress || !entries || !names)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    DVIT_TRY(dvit_model_metadata_create(&metadata, t->model, error));
    parts_of(t, parts);
    for (int i = 0; i < PARTS; i++) {
        if (!parts[i].data)
            continue;
        dvit_model_entries(table, parts[i].data, parts[i].prefix, entries + count, names + count);
        count += table->count;
    }
    struct dvit_safetensors_pair pairs[4] = {
        metadata.pairs[0], metadata.pairs[1], metadata.pairs[2], {training_key, progress}};
    DVIT_TRY(dvit_safetensors_write(path, entries, count, pairs, 4, error));
done:
    dvit_model_metadata_free(&metadata);
    free(progress);
    free(entries);
    free(names);
    return status;
}

/* ---- is the saved run this run? ---- */

static enum dvit_status expect_same_number(const char *what, json_int_t saved, json_int_t now,
                                           struct dvit_error *error)
{
    json_t *before = json_integer(saved), *present = json_integer(now);
    enum dvit_status status = dvit_expect_same(what, before, present, error);
    json_decref(before);
    json_decref(present);
    return status;
}

/* Every key of two objects that dvit made of the same kind of thing. */
static enum dvit_status expect_same_object(const char *what, char *saved_text, char *now_text,
                                           const char *const *but, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    json_t *saved = saved_text ? json_loads(saved_text, 0, NULL) : NULL;
    json_t *now = now_text ? json_loads(now_text, 0, NULL) : NULL;
    if (!saved || !now)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "training state: out of memory");
    for (void *at = json_object_iter(now); at; at = json_object_iter_next(now, at)) {
        const char *key = json_object_iter_key(at);
        char name[96];
        if (strcmp(key, but[0]) == 0 || strcmp(key, but[1]) == 0)
            continue;
        snprintf(name, sizeof name, "%s %s", what, key);
        DVIT_TRY(
            dvit_expect_same(name, json_object_get(saved, key), json_object_iter_value(at), error));
    }
done:
    json_decref(saved);
    json_decref(now);
    free(saved_text);
    free(now_text);
    return status;
}

/* A name computes nothing, and the keep ratio is one of the options. */
static enum dvit_status expect_same_model(const struct dvit_model *saved,
                                          const struct dvit_model *now, struct dvit_error *error)
{
    static const char *const but[2] = {"name", "keep"};
    enum dvit_status status = expect_same_object("model", dvit_config_to_json(&saved->config),
                                                 dvit_config_to_json(&now->config), but, error);
    if (status != DVIT_OK)
        return status;
    return expect_same_object("preprocessing", dvit_preprocess_to_json(&saved->preprocess),
                              dvit_preprocess_to_json(&now->preprocess), but, error);
}

/* States of earlier versions have a few options beside the counters, and no "options". */
static enum dvit_status check_identity(const struct dvit_trainer *t,
                                       const struct dvit_run_identity *identity, const json_t *root,
                                       struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_train_options options = resolved_options(t);
    const json_t *saved_options = json_object_get(root, "options");
    const json_t *teacher = json_object_get(root, "teacher");
    const char *data = json_string_value(json_object_get(root, "data"));
    json_t *now_teacher = identity->teacher ? json_string(identity->teacher) : json_null();
    DVIT_TRY(expect_same_number("seed", json_integer_value(json_object_get(root, "seed")),
                                (json_int_t)t->options.seed, error));
    DVIT_TRY(dvit_train_options_compare(saved_options ? saved_options : root, &options, error));
    DVIT_TRY(expect_same_number("steps per epoch",
                                json_integer_value(json_object_get(root, "steps_per_epoch")),
                                identity->steps_per_epoch, error));
    if (strcmp(data, identity->data) != 0)
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH,
                  "the saved run used other data (fingerprint %s, now %s): it cannot be resumed",
                  dvit_text_show(data).text, identity->data);
    if (teacher)
        DVIT_TRY(dvit_expect_same("teacher (fingerprint)", teacher, now_teacher, error));
done:
    json_decref(now_teacher);
    return status;
}

static enum dvit_status read_progress(const struct dvit_trainer *t,
                                      const struct dvit_run_identity *identity, const char *text,
                                      struct dvit_progress *out, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    json_error_t problem;
    json_int_t step, adam_step, bad_steps, bad_in_row, seed, steps_per_epoch, rollbacks = 0;
    int batch, accumulate, unevaluated = 0, good = 0; /* older states lack what has a value here */
    double best;
    const char *data, *optimizer;
    json_t *teacher, *options = NULL, *root = json_loads(text, JSON_REJECT_DUPLICATES, &problem);
    if (!root || json_unpack_ex(
                     root, &problem, JSON_STRICT,
                     "{s:I, s:I, s:I, s:I, s:F, s:I, s:I, s:s, s?I, s?b, s?b, s?o, s?o, s?i, "
                     "s?i, s?s}",
                     "step", &step, "adam_step", &adam_step, "bad_steps", &bad_steps, "bad_in_row",
                     &bad_in_row, "best_top1", &best, "seed", &seed, "steps_per_epoch",
                     &steps_per_epoch, "data", &data, "rollbacks", &rollbacks, "unevaluated",
                     &unevaluated, "good", &good, "teacher", &teacher, "options", &options, "batch",
                     &batch, "accumulate", &accumulate, "optimizer", &optimizer) != 0)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "training state: %s", problem.text);
    if (options && !json_is_object(options))
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "training state: \"options\" is not an object");
    DVIT_TRY(check_identity(t, identity, root, error));
    if (step < 0 || adam_step < 0 || adam_step > step || bad_steps < 0 || bad_in_row < 0 ||
        rollbacks < 0 || rollbacks > DVIT_MAX_ROLLBACKS)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "training state: impossible counters");
    *out = (struct dvit_progress){
        .step = (long)step,
        .adam_step = (long)adam_step,
        .bad_steps = (long)bad_steps,
        .bad_in_row = (long)bad_in_row,
        .best_top1 = best,
        .rollbacks = (long)rollbacks,
        .unevaluated = unevaluated,
        .good = good,
    };
done:
    json_decref(root);
    return status;
}

/* ---- loading ---- */

enum dvit_status dvit_checkpoint_load(struct dvit_trainer *t,
                                      const struct dvit_run_identity *identity, const char *path,
                                      struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_progress progress;
    struct dvit_model *saved = NULL; /* for its configuration, and as a place to read into first */
    struct dvit_safetensors *file = NULL;
    struct part parts[PARTS];
    status = dvit_safetensors_load(&file, path, error);
    if (status != DVIT_OK)
        return status;
    const char *text = dvit_safetensors_metadata(file, training_key);
    if (!text)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "no \"%s\" in the metadata: not a training state",
                  training_key);
    DVIT_TRY(read_progress(t, identity, text, &progress, error));
    DVIT_TRY(dvit_model_from_metadata(&saved, file, "model.", error));
    DVIT_TRY(expect_same_model(saved, t->model, error));
    parts_of(t, parts);
    for (int i = 0; i < PARTS; i++) /* all of it must be readable before any of it is taken */
        if (parts[i].data)
            DVIT_TRY(dvit_model_read(file, &t->model->parameters, parts[i].prefix, saved->weights,
                                     error));
    for (int i = 0; i < PARTS; i++)
        if (parts[i].data)
            DVIT_TRY(dvit_model_read(file, &t->model->parameters, parts[i].prefix, parts[i].data,
                                     error));
    t->progress = progress;
done:
    if (status != DVIT_OK)
        dvit_error_prefix(error, "\"%s\"", path);
    dvit_safetensors_free(file);
    dvit_model_free(saved);
    return status;
}
