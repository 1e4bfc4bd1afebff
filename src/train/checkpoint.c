/* Saving and restoring a trainer. Random numbers need no state: every draw is a function of the
 * seed and the step. The position in the data is a function of the step too. */
#define _GNU_SOURCE
#include "train/checkpoint.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/model_file.h"

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

static char *progress_text(const struct dvit_trainer *t, const struct dvit_run_identity *identity)
{
    const struct dvit_progress *p = &t->progress;
    json_t *root = json_pack(
        "{s:I, s:I, s:I, s:I, s:f, s:I, s:i, s:i, s:I, s:s, s:I, s:b, s:b, s:s}", "step",
        (json_int_t)p->step, "adam_step", (json_int_t)p->adam_step, "bad_steps",
        (json_int_t)p->bad_steps, "bad_in_row", (json_int_t)p->bad_in_row, "best_top1",
        p->best_top1, "seed", (json_int_t)t->options.seed, "batch", t->options.batch, "accumulate",
        t->options.accumulate, "steps_per_epoch", (json_int_t)identity->steps_per_epoch, "data",
        identity->data, "rollbacks", (json_int_t)p->rollbacks, "unevaluated", p->unevaluated,
        "good", p->good, "optimizer", dvit_optimizer_name(t->optimizer));
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

static enum dvit_status expect_same(const char *what, long long stored, long long now,
                                    struct dvit_error *error)
{
    if (stored == now)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                          "the saved run has %s %lld, this one %lld: it cannot be resumed", what,
                          stored, now);
}

static enum dvit_status read_progress(const struct dvit_trainer *t,
                                      const struct dvit_run_identity *identity, const char *text,
                                      struct dvit_progress *out, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    json_error_t problem;
    json_int_t step, adam_step, bad_steps, bad_in_row, seed, steps_per_epoch, rollbacks = 0;
    int batch, accumulate, unevaluated = 0, good = 0; /* older states lack what has a value here */
    const char *optimizer = dvit_optimizer_name(DVIT_OPTIMIZER_ADAMW);
    double best;
    const char *data;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &problem);
    if (!root ||
        json_unpack_ex(root, &problem, JSON_STRICT,
                       "{s:I, s:I, s:I, s:I, s:F, s:I, s:i, s:i, s:I, s:s, s?I, s?b, s?b, s?s}",
                       "step", &step, "adam_step", &adam_step, "bad_steps", &bad_steps,
                       "bad_in_row", &bad_in_row, "best_top1", &best, "seed", &seed, "batch",
                       &batch, "accumulate", &accumulate, "steps_per_epoch", &steps_per_epoch,
                       "data", &data, "rollbacks", &rollbacks, "unevaluated", &unevaluated, "good",
                       &good, "optimizer", &optimizer) != 0)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "training state: %s", problem.text);
    DVIT_TRY(expect_same("seed", seed, (long long)t->options.seed, error));
    DVIT_TRY(expect_same("batch", batch, t->options.batch, error));
    DVIT_TRY(expect_same("accumulation", accumulate, t->options.accumulate, error));
    DVIT_TRY(expect_same("steps per epoch", steps_per_epoch, identity->steps_per_epoch, error));
    if (strcmp(optimizer, dvit_optimizer_name(t->optimizer)) != 0)
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH,
                  "the saved run has optimizer %.20s, this one %s: it cannot be resumed", optimizer,
                  dvit_optimizer_name(t->optimizer));
    if (strcmp(data, identity->data) != 0)
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH,
                  "the saved run used other data (fingerprint %.20s, now %.20s): it cannot be "
                  "resumed",
                  data, identity->data);
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
    if (saved->parameters.count != t->model->parameters.count ||
        saved->parameters.floats != t->model->parameters.floats)
        DVIT_FAIL(error, DVIT_ERROR_MISMATCH,
                  "the saved run trains a model of %zu parameters, this one of %zu: it cannot be "
                  "resumed",
                  saved->parameters.total, t->model->parameters.total);
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
