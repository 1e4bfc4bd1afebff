/* Bounds of the training options, row by row: just inside is accepted, just outside is an error
 * that names the option and its range. */
#include "test_util.h"

#include <math.h>

#include "train/trainer.h"

#define REAL(member)  offsetof(struct dvit_train_options, member), false
#define WHOLE(member) offsetof(struct dvit_train_options, member), true

/* The lowest and the highest value allowed, and the range as the message says it. */
static const struct row {
    size_t offset;
    bool whole;
    double low, high;
    const char *field, *range;
    bool low_is_out, high_is_out; /* the bound itself is refused */
} rows[] = {
    {WHOLE(epochs), 1, 100000, "epochs is ", "expected 1 to 100000", 0, 0},
    {WHOLE(batch), 1, 4096, "batch is ", "expected 1 to 4096", 0, 0},
    {WHOLE(accumulate), 1, 1024, "accumulate is ", "expected 1 to 1024", 0, 0},
    {WHOLE(threads), 0, 256, "threads is ", "expected 0 to 256", 0, 0},
    {WHOLE(workers), 0, 64, "workers is ", "expected 0 to 64", 0, 0},
    {REAL(learning_rate), 0, 100, "learning rate is ", "expected above 0 to 100", 1, 0},
    {REAL(backbone_lr_scale), 0, 100, "backbone learning-rate scale is ", "expected 0 to 100", 0,
     0},
    {REAL(min_learning_rate), 0, 1e-3, "minimum learning rate is ", "expected 0 to 0.001", 0, 0},
    {REAL(warmup_epochs), 0, 100000, "warm-up epochs is ", "expected 0 to 100000", 0, 0},
    {REAL(backbone_freeze_epochs), 0, 100000, "backbone freeze epochs is ", "expected 0 to 100000",
     0, 0},
    {REAL(layer_decay), 0, 1, "layer decay is ", "expected above 0 to 1", 1, 0},
    {REAL(weight_decay_end), -1, 10, "weight decay at the end is ", "expected -1 to 10", 0, 0},
    {REAL(momentum), 0, 1, "momentum is ", "expected 0 to below 1", 0, 1},
    {REAL(weight_decay), 0, 10, "weight decay is ", "expected 0 to 10", 0, 0},
    {REAL(beta1), 0, 1, "beta1 is ", "expected 0 to below 1", 0, 1},
    {REAL(beta2), 0, 1, "beta2 is ", "expected 0 to below 1", 0, 1},
    {REAL(adam_eps), 0, 1, "Adam epsilon is ", "expected above 0 to 1", 1, 0},
    {REAL(clip_norm), 0, 1e9, "gradient clipping norm is ", "expected 0 to 1000000000", 0, 0},
    {REAL(ema_decay), 0, 1, "EMA decay is ", "expected 0 to below 1", 0, 1},
    {REAL(drop_path), 0, 1, "drop path is ", "expected 0 to below 1", 0, 1},
    {REAL(label_smoothing), 0, 1, "label smoothing is ", "expected 0 to below 1", 0, 1},
    {REAL(color_jitter), 0, 1, "colour jitter is ", "expected 0 to 1", 0, 0},
    {REAL(erasing), 0, 1, "erasing probability is ", "expected 0 to 1", 0, 0},
    {REAL(mixup), 0, 100, "mixup alpha is ", "expected 0 to 100", 0, 0},
    {REAL(cutmix), 0, 100, "cutmix alpha is ", "expected 0 to 100", 0, 0},
    {WHOLE(repeats), 1, 64, "repeats is ", "expected 1 to 64", 0, 0},
    {REAL(keep), 0, 1, "keep is ", "expected above 0 to 1", 1, 0},
    {REAL(weight_cls), 0, 1e6, "classification weight is ", "expected 0 to 1000000", 0, 0},
    {REAL(weight_ratio), 0, 1e6, "ratio weight is ", "expected 0 to 1000000", 0, 0},
    {REAL(weight_kl), 0, 1e6, "distillation weight is ", "expected 0 to 1000000", 0, 0},
    {REAL(weight_token), 0, 1e6, "token weight is ", "expected 0 to 1000000", 0, 0},
    {WHOLE(max_bad_steps), 1, 1000000, "bad steps allowed is ", "expected 1 to 1000000", 0, 0},
    {WHOLE(max_rollbacks), 0, 32, "rollbacks allowed is ", "expected 0 to 32", 0, 0},
    {WHOLE(keep_checkpoints), 0, 1e6, "checkpoints kept is ", "expected 0 to 1000000", 0, 0},
    {WHOLE(log_every), 1, 1000000, "steps between records is ", "expected 1 to 1000000", 0, 0},
    {WHOLE(checkpoint_every), 0, 1e9, "steps between checkpoints is ", "expected 0 to 1000000000",
     0, 0},
    {WHOLE(max_steps), 0, 2e9, "step limit is ", "expected 0 to 2000000000", 0, 0},
};

static enum dvit_status check_with(const struct row *row, double value, struct dvit_error *error)
{
    struct dvit_train_options options = dvit_train_options_dense();
    unsigned char *field = (unsigned char *)&options + row->offset;
    int whole = (int)value;
    if (row->whole)
        memcpy(field, &whole, sizeof whole);
    else
        memcpy(field, &value, sizeof value);
    if (row->offset == offsetof(struct dvit_train_options, learning_rate))
        options.min_learning_rate = 0;
    return dvit_train_options_check(&options, error);
}

static void expect(const struct row *row, double value, bool inside)
{
    struct dvit_error error = {0};
    enum dvit_status status = check_with(row, value, &error);
    if (inside && status != DVIT_OK)
        fail_msg("%.17g refused: %s", value, error.message);
    if (inside)
        return;
    if (status != DVIT_ERROR_ARGUMENT)
        fail_msg("%s%.17g was accepted", row->field, value);
    if (strncmp(error.message, row->field, strlen(row->field)) != 0 ||
        !strstr(error.message, row->range))
        fail_msg("message is: %s\nexpected: %s…, %s", error.message, row->field, row->range);
}

static void every_bound_is_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        double below = row->whole ? row->low - 1 : nextafter(row->low, -INFINITY);
        double above = row->whole ? row->high + 1 : nextafter(row->high, INFINITY);
        expect(row, below, false);
        expect(row, row->low, !row->low_is_out);
        expect(row, row->whole ? row->low + 1 : nextafter(row->low, INFINITY), true);
        expect(row, row->whole ? row->high - 1 : nextafter(row->high, 0), true);
        expect(row, row->high, !row->high_is_out);
        expect(row, above, false);
        if (row->whole)
            continue;
        expect(row, NAN, false);
        expect(row, INFINITY, false);
        expect(row, -INFINITY, false);
    }
}

/* A number near a bound is shown with the digits that put it outside. */
static void messages_show_the_number(void **state)
{
    (void)state;
    struct dvit_train_options options = dvit_train_options_sparsify();
    struct dvit_error error;
    options.max_bad_steps = 1000001;
    assert_fails(dvit_train_options_check(&options, &error), &error, DVIT_ERROR_ARGUMENT,
                 "bad steps allowed is 1000001, expected 1 to 1000000");
    options = dvit_train_options_sparsify();
    options.min_learning_rate = 2e-3;
    assert_fails(dvit_train_options_check(&options, &error), &error, DVIT_ERROR_ARGUMENT,
                 "minimum learning rate is 0.002, expected 0 to 0.001");
}

static void optimizers_have_names(void **state)
{
    (void)state;
    struct dvit_error error;
    struct dvit_train_options options = dvit_train_options_dense();
    const char *const names[] = {NULL, "adamw", "lamb", "sgd"};
    for (size_t i = 0; i < 4; i++) {
        options.optimizer = names[i];
        assert_ok(dvit_train_options_check(&options, &error), &error);
    }
    options.optimizer = "adam";
    assert_fails(dvit_train_options_check(&options, &error), &error, DVIT_ERROR_ARGUMENT,
                 "unknown optimizer \"adam\", expected adamw, lamb or sgd");
}

static void defaults_are_within_their_bounds(void **state)
{
    (void)state;
    struct dvit_error error;
    struct dvit_train_options dense = dvit_train_options_dense();
    struct dvit_train_options sparsify = dvit_train_options_sparsify();
    assert_ok(dvit_train_options_check(&dense, &error), &error);
    assert_ok(dvit_train_options_check(&sparsify, &error), &error);
    assert_int_equal(dense.epochs, 30);
    assert_true(dense.backbone_lr_scale == 1 && sparsify.backbone_lr_scale == .01);
    assert_true(dense.backbone_freeze_epochs == 0 &&
                sparsify.backbone_freeze_epochs == DVIT_TRAIN_FIT);
    assert_true(dense.warmup_epochs == DVIT_TRAIN_FIT && dense.ema_decay == DVIT_TRAIN_FIT);
    assert_true(!dense.freeze_embeddings && sparsify.freeze_embeddings);
    assert_true(sparsify.keep == .7 && sparsify.weight_ratio == 2 && sparsify.weight_kl == .5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bound_is_exact),
        cmocka_unit_test(messages_show_the_number),
        cmocka_unit_test(optimizers_have_names),
        cmocka_unit_test(defaults_are_within_their_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
