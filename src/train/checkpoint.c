/* Saving and restoring a trainer. Random numbers need no state: every draw is a function of the
 * seed and the step. The position in the data is a function of the step too. */
#define _GNU_SOURCE
#include "train/checkpoint.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/options.h"
#include "train/state_record.h"
#include "weights/model_file.h"
#include "weights/model_json.h"

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

enum dvit_status dvit_checkpoint_save(const struct dvit_trainer *t,
                                      const struct dvit_run_identity *identity, const char *path,
                                      struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_parameters *table = &t->model->parameters;
    struct dvit_model_metadata metadata = {0};
    struct part parts[PARTS];
    size_t count = 0;
    char *progress = dvit_state_record_text(t, identity);
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

/* ---- loading ---- */

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

/* What a step goes on from must be finite, unless the state says that it is not: then a rollback
 * follows. A mean of squares is never negative. */
static enum dvit_status check_values(const struct dvit_parameters *table, const char *prefix,
                                     const float *values, bool broken, struct dvit_error *error)
{
    bool squares = strcmp(prefix, "moment2.") == 0;
    for (size_t i = 0; i < table->count; i++)
        for (size_t k = 0; k < table->items[i].count; k++) {
            float value = values[table->items[i].offset + k];
            if ((broken || isfinite(value)) && !(squares && value < 0))
                continue;
            return dvit_error_set(error, DVIT_ERROR_FORMAT,
                                  "tensor \"%s%s\": value %zu is %g, expected a finite number%s",
                                  prefix, table->items[i].name, k, (double)value,
                                  squares ? " that is not negative" : "");
        }
    return DVIT_OK;
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
    DVIT_TRY(dvit_model_from_metadata(&saved, file, "model.", error));
    DVIT_TRY(dvit_state_record_read(&progress, t, identity, saved, text, error));
    DVIT_TRY(expect_same_model(saved, t->model, error));
    parts_of(t, parts);
    for (int i = 0; i < PARTS; i++) /* all of it must be readable before any of it is taken */
        if (parts[i].data) {
            DVIT_TRY(dvit_model_read(file, &t->model->parameters, parts[i].prefix, saved->weights,
                                     error));
            DVIT_TRY(check_values(&t->model->parameters, parts[i].prefix, saved->weights,
                                  progress.broken, error));
        }
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
