/* Training options: defaults, and one row per field with its range, its name in files and messages,
 * and whether a run that goes on must have it as it was. */
#include "train/options.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "base/utf8.h"
#include "image/policy.h"
#include "train/trainer.h"
#include "weights/text.h"

struct dvit_train_options dvit_train_options_dense(void)
{
    return (struct dvit_train_options){
        .epochs = 30,
        .batch = 64,
        .accumulate = 1,
        .workers = 1,
        .precision = "f32",
        .cpu = "auto",
        .learning_rate = 1e-3,
        .backbone_lr_scale = 1,
        .min_learning_rate = 1e-6,
        .warmup_epochs = DVIT_TRAIN_FIT,
        .layer_decay = 1,
        .weight_decay = .05,
        .weight_decay_end = -1,
        .beta1 = .9,
        .beta2 = .999,
        .adam_eps = 1e-8,
        .momentum = .9,
        .ema_decay = DVIT_TRAIN_FIT,
        .label_smoothing = .1,
        .augment = true,
        .flip = true,
        .repeats = 1,
        .keep = 1,
        .weight_cls = 1,
        .weight_ratio = 2,
        .weight_kl = .5,
        .weight_aux = .5,
        .cache_limit_gb = 16,
        .max_bad_steps = 20,
        .max_rollbacks = 3,
        .log_every = 10,
        .tensorboard = true,
    };
}

struct dvit_train_options dvit_train_options_sparsify(void)
{
    struct dvit_train_options options = dvit_train_options_dense();
    options.backbone_lr_scale = .01;
    options.backbone_freeze_epochs = DVIT_TRAIN_FIT;
    options.freeze_embeddings = true;
    options.keep = .7;
    options.weight_token = .5;
    return options;
}

static const char *const optimizer_names[] = {
    [DVIT_OPTIMIZER_ADAMW] = "adamw",
    [DVIT_OPTIMIZER_LAMB] = "lamb",
    [DVIT_OPTIMIZER_SGD] = "sgd",
};

const char *dvit_optimizer_name(enum dvit_optimizer optimizer)
{
    return optimizer_names[optimizer];
}

enum dvit_status dvit_optimizer_parse(const char *name, enum dvit_optimizer *out,
                                      struct dvit_error *error)
{
    *out = DVIT_OPTIMIZER_ADAMW;
    if (!name)
        return DVIT_OK;
    for (size_t i = 0; i < sizeof optimizer_names / sizeof *optimizer_names; i++)
        if (strcmp(name, optimizer_names[i]) == 0) {
            *out = (enum dvit_optimizer)i;
            return DVIT_OK;
        }
    return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                          "unknown optimizer \"%.40s\", expected adamw, lamb or sgd", name);
}

/* ---- what a run is asked for, one row per option ---- */

enum kind { WHOLE, REAL, FLAG, TEXT };
enum bound { CLOSED, HALF_OPEN, OPEN_BELOW }; /* [low, high], [low, high), (low, high] */

/* Whether a run that goes on must have it as before: it changes what is computed, or from which
 * images. What only says how fast, how often saved or how long may change. */
enum when_resumed {
    MAY_CHANGE,
    STAYS,
    GROWS, /* the run is extended */
    FITS, /* stays; DVIT_TRAIN_FIT leaves the value to the run, and when resumed to the saved one */
};

struct field {
    const char *key;  /* in config.json and saved states */
    const char *name; /* in messages */
    size_t offset;
    enum kind kind;
    enum when_resumed resumed;
    double low, high; /* of numbers */
    enum bound bound;
    const char *absent; /* what a text says that is NULL */
};

#define AT(field) offsetof(struct dvit_train_options, field)

static const struct field fields[] = {
    {"epochs", "epochs", AT(epochs), WHOLE, GROWS, 1, 100000, CLOSED, NULL},
    {"batch", "batch", AT(batch), WHOLE, STAYS, 1, 4096, CLOSED, NULL},
    {"accumulate", "accumulate", AT(accumulate), WHOLE, STAYS, 1, 1024, CLOSED, NULL},
    {"threads", "threads", AT(threads), WHOLE, MAY_CHANGE, 0, DVIT_MAX_THREADS, CLOSED, NULL},
    {"workers", "workers", AT(workers), WHOLE, MAY_CHANGE, 0, 64, CLOSED, NULL},
    {"precision", "precision", AT(precision), TEXT, STAYS, 0, 0, CLOSED, "f32"},
    {"learning_rate", "learning rate", AT(learning_rate), REAL, STAYS, 0, 100, OPEN_BELOW, NULL},
    {"backbone_lr_scale", "backbone learning-rate scale", AT(backbone_lr_scale), REAL, STAYS, 0,
     100, CLOSED, NULL},
    {"min_learning_rate", "minimum learning rate", AT(min_learning_rate), REAL, STAYS, 0, 100,
     CLOSED, NULL},
    {"warmup_epochs", "warm-up epochs", AT(warmup_epochs), REAL, FITS, 0, 100000, CLOSED, NULL},
    {"backbone_freeze_epochs", "backbone freeze epochs", AT(backbone_freeze_epochs), REAL, FITS, 0,
     100000, CLOSED, NULL},
    {"freeze_backbone", "frozen backbone", AT(freeze_backbone), FLAG, STAYS, 0, 1, CLOSED, NULL},
    {"freeze_embeddings", "frozen embeddings", AT(freeze_embeddings), FLAG, STAYS, 0, 1, CLOSED,
     NULL},
    {"optimizer", "optimizer", AT(optimizer), TEXT, STAYS, 0, 0, CLOSED, "adamw"},
    {"layer_decay", "layer decay", AT(layer_decay), REAL, STAYS, 0, 1, OPEN_BELOW, NULL},
    {"weight_decay", "weight decay", AT(weight_decay), REAL, STAYS, 0, 10, CLOSED, NULL},
    {"weight_decay_end", "weight decay at the end", AT(weight_decay_end), REAL, STAYS, -1, 10,
     CLOSED, NULL},
    {"beta1", "beta1", AT(beta1), REAL, STAYS, 0, 1, HALF_OPEN, NULL},
    {"beta2", "beta2", AT(beta2), REAL, STAYS, 0, 1, HALF_OPEN, NULL},
    {"adam_eps", "Adam epsilon", AT(adam_eps), REAL, STAYS, 0, 1, OPEN_BELOW, NULL},
    {"momentum", "momentum", AT(momentum), REAL, STAYS, 0, 1, HALF_OPEN, NULL},
    {"nesterov", "Nesterov momentum", AT(nesterov), FLAG, STAYS, 0, 1, CLOSED, NULL},
    {"clip_norm", "gradient clipping norm", AT(clip_norm), REAL, STAYS, 0, 1e9, CLOSED, NULL},
    {"ema_decay", "EMA decay", AT(ema_decay), REAL, FITS, 0, 1, HALF_OPEN, NULL},
    {"drop_path", "drop path", AT(drop_path), REAL, STAYS, 0, 1, HALF_OPEN, NULL},
    {"label_smoothing", "label smoothing", AT(label_smoothing), REAL, STAYS, 0, 1, HALF_OPEN, NULL},
    {"augment", "augmentation", AT(augment), FLAG, STAYS, 0, 1, CLOSED, NULL},
    {"flip", "flips", AT(flip), FLAG, STAYS, 0, 1, CLOSED, NULL},
    {"rand_augment", "augmentation policy", AT(rand_augment), TEXT, STAYS, 0, 0, CLOSED, "none"},
    {"color_jitter", "colour jitter", AT(color_jitter), REAL, STAYS, 0, 1, CLOSED, NULL},
    {"erasing", "erasing probability", AT(erasing), REAL, STAYS, 0, 1, CLOSED, NULL},
    {"mixup", "mixup alpha", AT(mixup), REAL, STAYS, 0, DVIT_MAX_MIX_ALPHA, CLOSED, NULL},
    {"cutmix", "cutmix alpha", AT(cutmix), REAL, STAYS, 0, DVIT_MAX_MIX_ALPHA, CLOSED, NULL},
    {"repeats", "repeats", AT(repeats), WHOLE, STAYS, 1, 64, CLOSED, NULL},
    {"keep", "keep", AT(keep), REAL, STAYS, 0, 1, OPEN_BELOW, NULL},
    {"elastic_low", "elastic keep, low end", AT(elastic_low), REAL, STAYS, 0, 1, CLOSED, NULL},
    {"elastic_high", "elastic keep, high end", AT(elastic_high), REAL, STAYS, 0, 1, CLOSED, NULL},
    {"weight_cls", "classification weight", AT(weight_cls), REAL, STAYS, 0, 1e6, CLOSED, NULL},
    {"weight_ratio", "ratio weight", AT(weight_ratio), REAL, STAYS, 0, 1e6, CLOSED, NULL},
    {"weight_kl", "distillation weight", AT(weight_kl), REAL, STAYS, 0, 1e6, CLOSED, NULL},
    {"weight_token", "token weight", AT(weight_token), REAL, STAYS, 0, 1e6, CLOSED, NULL},
    {"cache_teacher", "folder of the teacher's answers", AT(cache_teacher), TEXT, MAY_CHANGE, 0, 0,
     CLOSED, "none"},
    {"cache_limit_gb", "limit of the teacher's answers", AT(cache_limit_gb), REAL, MAY_CHANGE, 0,
     1e9, OPEN_BELOW, NULL},
    {"weight_aux", "auxiliary weight", AT(weight_aux), REAL, STAYS, 0, 1e6, CLOSED, NULL},
    {"ratio_on_batch_mean", "ratio loss on the batch's mean", AT(ratio_on_batch_mean), FLAG, STAYS,
     0, 1, CLOSED, NULL},
    {"decision_gradient_cap", "decision gradient cap", AT(decision_gradient_cap), REAL, STAYS, 0,
     DVIT_DECISION_GRADIENT_EXACT, CLOSED, NULL},
    {"strict", "strictness", AT(strict), FLAG, MAY_CHANGE, 0, 1, CLOSED, NULL},
    {"max_bad_steps", "bad steps allowed", AT(max_bad_steps), WHOLE, MAY_CHANGE, 1, 1000000, CLOSED,
     NULL},
    {"max_rollbacks", "rollbacks allowed", AT(max_rollbacks), WHOLE, MAY_CHANGE, 0,
     DVIT_MAX_ROLLBACKS, CLOSED, NULL},
    {"keep_checkpoints", "checkpoints kept", AT(keep_checkpoints), WHOLE, MAY_CHANGE, 0, 1000000,
     CLOSED, NULL},
    {"log_every", "steps between records", AT(log_every), WHOLE, MAY_CHANGE, 1, 1000000, CLOSED,
     NULL},
    {"tensorboard", "TensorBoard's events", AT(tensorboard), FLAG, MAY_CHANGE, 0, 1, CLOSED, NULL},
    {"checkpoint_every", "steps between checkpoints", AT(checkpoint_every), WHOLE, MAY_CHANGE, 0,
     1e9, CLOSED, NULL},
    {"max_steps", "step limit", AT(max_steps), WHOLE, MAY_CHANGE, 0, 2e9, CLOSED, NULL},
};
enum { FIELDS = sizeof fields / sizeof *fields };

static double number_of(const struct dvit_train_options *options, const struct field *field)
{
    const char *at = (const char *)options + field->offset;
    if (field->kind == WHOLE)
        return *(const int *)at;
    return field->kind == FLAG ? *(const bool *)at : *(const double *)at;
}

static const char *text_of(const struct dvit_train_options *options, const struct field *field)
{
    const char *text = *(const char *const *)((const char *)options + field->offset);
    return text ? text : field->absent;
}

/* ---- ranges ---- */

static enum dvit_status check(const struct field *f, double value, struct dvit_error *error)
{
    bool inside = value >= f->low && value <= f->high;
    if (f->resumed == FITS && value == DVIT_TRAIN_FIT)
        return DVIT_OK;
    if (f->bound == HALF_OPEN)
        inside = value >= f->low && value < f->high;
    if (f->bound == OPEN_BELOW)
        inside = value > f->low && value <= f->high;
    if (inside)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "%s is %.10g, expected %s%.10g to %s%.10g",
                          f->name, value, f->bound == OPEN_BELOW ? "above " : "", f->low,
                          f->bound == HALF_OPEN ? "below " : "", f->high);
}

/* The row with bounds that are other options in place. */
static struct field bounded(const struct dvit_train_options *o, const struct field *row)
{
    struct field field = *row;
    if (field.offset == AT(min_learning_rate))
        field.high = o->learning_rate;
    if (field.offset == AT(elastic_high))
        field.low = o->elastic_low;
    return field;
}

enum dvit_status dvit_train_options_check(const struct dvit_train_options *o,
                                          struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_policy policy;
    enum dvit_optimizer optimizer;
    for (size_t i = 0; i < FIELDS; i++) {
        struct field field = bounded(o, &fields[i]);
        if (field.kind != TEXT)
            DVIT_TRY(check(&field, number_of(o, &field), error));
    }
    DVIT_TRY(dvit_optimizer_parse(o->optimizer, &optimizer, error));
    DVIT_TRY(dvit_policy_parse(&policy, o->rand_augment, error));
done:
    return status;
}

/* ---- as JSON ---- */

json_t *dvit_train_text_json(const char *text)
{
    if (dvit_utf8_is_valid(text))
        return json_string(text);
    size_t size = dvit_text_display(NULL, 0, text) + 1;
    char *shown = malloc(size);
    if (!shown)
        return NULL;
    dvit_text_display(shown, size, text);
    json_t *value = json_string(shown);
    free(shown);
    return value;
}

static json_t *field_json(const struct dvit_train_options *options, const struct field *field)
{
    if (field->kind == TEXT)
        return dvit_train_text_json(text_of(options, field));
    double number = number_of(options, field);
    if (field->kind == FLAG)
        return json_boolean(number != 0);
    return field->kind == WHOLE ? json_integer((json_int_t)number) : json_real(number);
}

json_t *dvit_train_options_json(const struct dvit_train_options *options, bool only_lasting)
{
    json_t *object = json_object();
    for (size_t i = 0; i < FIELDS; i++) {
        if (only_lasting && fields[i].resumed == MAY_CHANGE)
            continue;
        if (json_object_set_new(object, fields[i].key, field_json(options, &fields[i])) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

/* As JSON has it, at most ten digits of a number; a text is escaped. */
static struct dvit_shown_text show(const json_t *value)
{
    struct dvit_shown_text shown;
    if (json_is_string(value))
        return dvit_text_show(json_string_value(value));
    if (json_is_real(value)) {
        dvit_decimal_format(shown.text, sizeof shown.text, "%.10g", json_real_value(value));
        return shown;
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    shown = dvit_text_show(text ? text : "another value");
    free(text);
    return shown;
}

static bool is_same(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

enum dvit_status dvit_expect_same(const char *name, const json_t *saved, const json_t *now,
                                  struct dvit_error *error)
{
    if (!now)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "training state: out of memory");
    if (is_same(saved, now))
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                          "the saved run has %s %s, this one %s: it cannot be resumed", name,
                          show(saved).text, show(now).text);
}

enum dvit_status dvit_train_options_take(struct dvit_train_options *options, const json_t *saved,
                                         const struct dvit_train_options *asked,
                                         struct dvit_error *error)
{
    for (size_t i = 0; i < FIELDS; i++) {
        const struct field *f = &fields[i];
        const json_t *before = json_object_get(saved, f->key);
        if (f->resumed != FITS || number_of(asked, f) != DVIT_TRAIN_FIT || !json_is_number(before))
            continue;
        double value = json_number_value(before);
        if (value == 0) /* switched off: an option that must be given again */
            continue;
        enum dvit_status status = value < 0 ? DVIT_ERROR_ARGUMENT : check(f, value, error);
        if (status != DVIT_OK)
            return dvit_error_set(error, DVIT_ERROR_FORMAT,
                                  "training state: %s is %.10g, expected %.10g to %s%.10g", f->name,
                                  value, f->low, f->bound == HALF_OPEN ? "below " : "", f->high);
        *(double *)((char *)options + f->offset) = value;
    }
    return DVIT_OK;
}

static enum dvit_status compare_field(const struct field *f, const json_t *before,
                                      const json_t *present, struct dvit_error *error)
{
    if (f->resumed == GROWS && json_is_integer(before) &&
        json_integer_value(before) < json_integer_value(present) &&
        json_integer_value(before) >= (json_int_t)f->low)
        return DVIT_OK;
    if (f->resumed == GROWS && json_is_integer(before) &&
        json_integer_value(before) > json_integer_value(present))
        return dvit_error_set(
            error, DVIT_ERROR_MISMATCH,
            "the saved run has %s %s, this one %s: it cannot be resumed, for a run "
            "may be extended but not shortened; --max-steps ends it sooner",
            f->name, show(before).text, show(present).text);
    return dvit_expect_same(f->name, before, present, error);
}

enum dvit_status dvit_train_options_compare(const json_t *saved,
                                            const struct dvit_train_options *now, bool complete,
                                            struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    for (size_t i = 0; i < FIELDS && status == DVIT_OK; i++) {
        const json_t *before = json_object_get(saved, fields[i].key);
        if (fields[i].resumed == MAY_CHANGE)
            continue;
        if (!before && complete)
            return dvit_error_set(error, DVIT_ERROR_FORMAT,
                                  "training state: the option \"%s\" is missing", fields[i].key);
        json_t *present = before ? field_json(now, &fields[i]) : NULL;
        if (before)
            status = compare_field(&fields[i], before, present, error);
        json_decref(present);
    }
    return status;
}
