/* The record of a state: progress, options and identity of the run, as JSON. One that is read is
 * foreign: every number has a bound, and what does not fit is named. */
#define _GNU_SOURCE
#include "train/state_record.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "train/options.h"
#include "weights/text.h"

/* The options with what "auto" came to. */
static struct dvit_train_options resolved_options(const struct dvit_trainer *t)
{
    struct dvit_train_options options = t->options;
    options.precision = t->bf16 ? "bf16" : "f32";
    return options;
}

char *dvit_state_record_text(const struct dvit_trainer *t, const struct dvit_run_identity *identity)
{
    const struct dvit_progress *p = &t->progress;
    struct dvit_train_options options = resolved_options(t);
    json_t *root = json_pack(
        "{s:I, s:I, s:I, s:I, s:f, s:I, s:I, s:s, s:I, s:s?, s:s?, s:I, s:b, s:b, s:b, s:o}",
        "step", (json_int_t)p->step, "adam_step", (json_int_t)p->adam_step, "bad_steps",
        (json_int_t)p->bad_steps, "bad_in_row", (json_int_t)p->bad_in_row, "best_top1",
        p->best_top1, "seed", (json_int_t)t->options.seed, "steps_per_epoch",
        (json_int_t)identity->steps_per_epoch, "data", identity->data, "images",
        (json_int_t)identity->images, "teacher", identity->teacher, "teacher_model",
        identity->teacher_model, "rollbacks", (json_int_t)p->rollbacks, "unevaluated",
        p->unevaluated, "good", p->good, "broken", !dvit_trainer_is_finite(t), "options",
        dvit_train_options_json(&options, true));
    char *text = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(root);
    return text;
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

/* How two sets of training images differ, as far as the state tells: their number, the names of
 * their classes, or else the images themselves. */
static enum dvit_status refuse_data(const struct dvit_trainer *t, const struct dvit_model *saved,
                                    const struct dvit_run_identity *identity, json_int_t images,
                                    struct dvit_error *error)
{
    static const char start[] = "the saved run used other training data";
    int before = saved->config.classes, now = t->model->config.classes;
    if (before != now)
        return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                              "%s: %d classes, now %d; it cannot be resumed", start, before, now);
    if (images >= 0 && images != (json_int_t)identity->images)
        return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                              "%s: %lld images, now %zu; it cannot be resumed", start,
                              (long long)images, identity->images);
    for (int k = 0; k < now; k++) {
        const char *had = dvit_model_label(saved, k), *has = dvit_model_label(t->model, k);
        if (strcmp(had, has) != 0)
            return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                                  "%s: class %d was \"%s\", now it is \"%s\"; it cannot be resumed",
                                  start, k, dvit_text_show(had).text, dvit_text_show(has).text);
    }
    return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                          "%s: as many images of the same classes, but with other names, sizes or "
                          "labels; it cannot be resumed",
                          start);
}

static enum dvit_status check_teacher(const struct dvit_run_identity *identity, const json_t *root,
                                      struct dvit_error *error)
{
    const json_t *saved = json_object_get(root, "teacher");
    const char *before = json_string_value(saved), *now = identity->teacher;
    const char *name = json_string_value(json_object_get(root, "teacher_model"));
    if (!saved) /* of an earlier version */
        return DVIT_OK;
    if (!json_is_null(saved) && !before)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "training state: \"teacher\" is not a text");
    if (!before && !now)
        return DVIT_OK;
    if (!before || !now)
        return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                              "the saved run had %s teacher, this one has %s: it cannot be resumed",
                              before ? "a" : "no", now ? "one" : "none");
    if (strcmp(before, now) == 0)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                          "the saved run had another teacher (\"%s\", now \"%s\" with other "
                          "weights): it cannot be resumed",
                          dvit_text_show(name ? name : "unknown").text,
                          identity->teacher_model ? identity->teacher_model : "unknown");
}

/* States of earlier versions have a few options beside the counters, and no "options". */
static enum dvit_status check_identity(struct dvit_trainer *t, const struct dvit_model *saved,
                                       const struct dvit_run_identity *identity, const json_t *root,
                                       struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const json_t *saved_options = json_object_get(root, "options");
    const json_t *images = json_object_get(root, "images");
    const char *data = json_string_value(json_object_get(root, "data"));
    DVIT_TRY(expect_same_number("seed", json_integer_value(json_object_get(root, "seed")),
                                (json_int_t)t->options.seed, error));
    if (saved_options)
        DVIT_TRY(dvit_train_options_take(&t->options, saved_options, &t->asked, error));
    struct dvit_train_options options = resolved_options(t);
    DVIT_TRY(dvit_train_options_compare(saved_options ? saved_options : root, &options,
                                        saved_options != NULL, error));
    t->saved_epochs = (int)json_integer_value(json_object_get(saved_options, "epochs"));
    if (strcmp(data, identity->data) != 0)
        DVIT_TRY(refuse_data(t, saved, identity, images ? json_integer_value(images) : -1, error));
    DVIT_TRY(expect_same_number("steps per epoch",
                                json_integer_value(json_object_get(root, "steps_per_epoch")),
                                identity->steps_per_epoch, error));
    DVIT_TRY(check_teacher(identity, root, error));
done:
    return status;
}

/* ---- bounds ---- */

struct counter {
    const char *name;
    json_int_t value, most;
};

static enum dvit_status check_counters(const struct counter *counters, size_t count,
                                       struct dvit_error *error)
{
    for (size_t i = 0; i < count; i++)
        if (counters[i].value < 0 || counters[i].value > counters[i].most)
            return dvit_error_set(
                error, DVIT_ERROR_FORMAT, "training state: \"%s\" is %lld, expected 0 to %lld",
                counters[i].name, (long long)counters[i].value, (long long)counters[i].most);
    return DVIT_OK;
}

/* What a run with these steps can have come to. */
static enum dvit_status check_progress(const struct dvit_trainer *t, json_int_t step,
                                       json_int_t adam_step, json_int_t bad_steps,
                                       json_int_t bad_in_row, json_int_t rollbacks, double best,
                                       struct dvit_error *error)
{
    const struct counter counters[] = {
        {"step", step, t->total_steps},
        {"bad_steps", bad_steps, step},
        {"adam_step", adam_step, step},
        {"bad_in_row", bad_in_row, bad_steps},
        {"rollbacks", rollbacks, DVIT_MAX_ROLLBACKS},
    };
    enum dvit_status status = check_counters(counters, sizeof counters / sizeof *counters, error);
    if (status == DVIT_OK && adam_step + bad_steps > step)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "training state: %lld steps made and %lld skipped, expected at most "
                              "%lld in all",
                              (long long)adam_step, (long long)bad_steps, (long long)step);
    if (status == DVIT_OK && best != -1 && !(best >= 0 && best <= 1))
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "training state: \"best_top1\" is %g, expected 0 to 1, or -1 before "
                              "the first evaluation",
                              best);
    return status;
}

/* ---- reading ---- */

enum dvit_status dvit_state_record_read(struct dvit_progress *out, struct dvit_trainer *t,
                                        const struct dvit_run_identity *identity,
                                        const struct dvit_model *saved, const char *text,
                                        struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    json_error_t problem;
    json_int_t step, adam_step, bad_steps, bad_in_row, seed, steps_per_epoch, rollbacks = 0;
    json_int_t images;
    int batch, accumulate, unevaluated = 0, good = 0,
                           broken = 0; /* older states lack what has a value here */
    double best;
    const char *data, *optimizer;
    json_t *teacher, *teacher_model, *options = NULL;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &problem);
    if (!root || json_unpack_ex(root, &problem, JSON_STRICT,
                                "{s:I, s:I, s:I, s:I, s:F, s:I, s:I, s:s, s?I, s?b, s?b, s?o, s?o, "
                                "s?b, s?o, s?I, s?i, s?i, s?s}",
                                "step", &step, "adam_step", &adam_step, "bad_steps", &bad_steps,
                                "bad_in_row", &bad_in_row, "best_top1", &best, "seed", &seed,
                                "steps_per_epoch", &steps_per_epoch, "data", &data, "rollbacks",
                                &rollbacks, "unevaluated", &unevaluated, "good", &good, "teacher",
                                &teacher, "teacher_model", &teacher_model, "broken", &broken,
                                "options", &options, "images", &images, "batch", &batch,
                                "accumulate", &accumulate, "optimizer", &optimizer) != 0)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "training state: %s",
                  dvit_text_show(problem.text).text);
    if (options && !json_is_object(options))
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "training state: \"options\" is not an object");
    DVIT_TRY(check_identity(t, saved, identity, root, error));
    DVIT_TRY(check_progress(t, step, adam_step, bad_steps, bad_in_row, rollbacks, best, error));
    *out = (struct dvit_progress){
        .step = (long)step,
        .adam_step = (long)adam_step,
        .bad_steps = (long)bad_steps,
        .bad_in_row = (long)bad_in_row,
        .best_top1 = best,
        .rollbacks = (long)rollbacks,
        .unevaluated = unevaluated && step > 0,
        .good = good && !broken,
        .broken = broken,
    };
done:
    json_decref(root);
    return status;
}
