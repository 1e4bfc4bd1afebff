/* Training options: defaults and bounds, one row per field. */
#include <math.h>
#include <string.h>

#include "image/policy.h"
#include "train/trainer.h"

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
        .warmup_epochs = 5,
        .layer_decay = 1,
        .weight_decay = .05,
        .weight_decay_end = -1,
        .beta1 = .9,
        .beta2 = .999,
        .adam_eps = 1e-8,
        .momentum = .9,
        .ema_decay = .9999,
        .label_smoothing = .1,
        .augment = true,
        .flip = true,
        .repeats = 1,
        .keep = 1,
        .weight_cls = 1,
        .weight_ratio = 2,
        .weight_kl = .5,
        .weight_token = .5,
        .weight_aux = .5,
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
    options.backbone_freeze_epochs = 5;
    options.freeze_embeddings = true;
    options.keep = .7;
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

enum bound { CLOSED, HALF_OPEN, OPEN_BELOW }; /* [low, high], [low, high), (low, high] */

static enum dvit_status check(const char *field, double value, double low, double high,
                              enum bound bound, struct dvit_error *error)
{
    bool inside = value >= low && value <= high;
    if (bound == HALF_OPEN)
        inside = value >= low && value < high;
    if (bound == OPEN_BELOW)
        inside = value > low && value <= high;
    if (inside)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "%s is %.10g, expected %s%.10g to %s%.10g",
                          field, value, bound == OPEN_BELOW ? "above " : "", low,
                          bound == HALF_OPEN ? "below " : "", high);
}

enum dvit_status dvit_train_options_check(const struct dvit_train_options *o,
                                          struct dvit_error *error)
{
    const struct {
        const char *field;
        double value, low, high;
        enum bound bound;
    } rows[] = {
        {"epochs", o->epochs, 1, 100000, CLOSED},
        {"batch", o->batch, 1, 4096, CLOSED},
        {"accumulate", o->accumulate, 1, 1024, CLOSED},
        {"threads", o->threads, 0, DVIT_MAX_THREADS, CLOSED},
        {"workers", o->workers, 0, 64, CLOSED},
        {"learning rate", o->learning_rate, 0, 100, OPEN_BELOW},
        {"backbone learning-rate scale", o->backbone_lr_scale, 0, 100, CLOSED},
        {"minimum learning rate", o->min_learning_rate, 0, o->learning_rate, CLOSED},
        {"warm-up epochs", o->warmup_epochs, 0, 100000, CLOSED},
        {"backbone freeze epochs", o->backbone_freeze_epochs, 0, 100000, CLOSED},
        {"layer decay", o->layer_decay, 0, 1, OPEN_BELOW},
        {"weight decay", o->weight_decay, 0, 10, CLOSED},
        {"weight decay at the end", o->weight_decay_end, -1, 10, CLOSED},
        {"beta1", o->beta1, 0, 1, HALF_OPEN},
        {"beta2", o->beta2, 0, 1, HALF_OPEN},
        {"Adam epsilon", o->adam_eps, 0, 1, OPEN_BELOW},
        {"momentum", o->momentum, 0, 1, HALF_OPEN},
        {"gradient clipping norm", o->clip_norm, 0, 1e9, CLOSED},
        {"EMA decay", o->ema_decay, 0, 1, HALF_OPEN},
        {"drop path", o->drop_path, 0, 1, HALF_OPEN},
        {"label smoothing", o->label_smoothing, 0, 1, HALF_OPEN},
        {"colour jitter", o->color_jitter, 0, 1, CLOSED},
        {"erasing probability", o->erasing, 0, 1, CLOSED},
        {"mixup alpha", o->mixup, 0, DVIT_MAX_MIX_ALPHA, CLOSED},
        {"cutmix alpha", o->cutmix, 0, DVIT_MAX_MIX_ALPHA, CLOSED},
        {"repeats", o->repeats, 1, 64, CLOSED},
        {"keep", o->keep, 0, 1, OPEN_BELOW},
        {"elastic keep, low end", o->elastic_low, 0, 1, CLOSED},
        {"elastic keep, high end", o->elastic_high, o->elastic_low, 1, CLOSED},
        {"classification weight", o->weight_cls, 0, 1e6, CLOSED},
        {"ratio weight", o->weight_ratio, 0, 1e6, CLOSED},
        {"distillation weight", o->weight_kl, 0, 1e6, CLOSED},
        {"token weight", o->weight_token, 0, 1e6, CLOSED},
        {"auxiliary weight", o->weight_aux, 0, 1e6, CLOSED},
        {"decision gradient cap", o->decision_gradient_cap, 0, DVIT_DECISION_GRADIENT_EXACT,
         CLOSED},
        {"bad steps allowed", o->max_bad_steps, 1, 1000000, CLOSED},
        {"rollbacks allowed", o->max_rollbacks, 0, DVIT_MAX_ROLLBACKS, CLOSED},
        {"checkpoints kept", o->keep_checkpoints, 0, 1000000, CLOSED},
        {"steps between records", o->log_every, 1, 1000000, CLOSED},
        {"steps between checkpoints", o->checkpoint_every, 0, 1e9, CLOSED},
        {"step limit", o->max_steps, 0, 2e9, CLOSED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum dvit_status status =
            check(rows[i].field, rows[i].value, rows[i].low, rows[i].high, rows[i].bound, error);
        if (status != DVIT_OK)
            return status;
    }
    struct dvit_policy policy;
    enum dvit_optimizer optimizer;
    enum dvit_status status = dvit_optimizer_parse(o->optimizer, &optimizer, error);
    if (status != DVIT_OK)
        return status;
    return dvit_policy_parse(&policy, o->rand_augment, error);
}
