/* What a training run hands to its steps: the loader's varied and mixed images, and the soft
 * targets that belong to them. */
#include "run_bench.h"

#include "train/trainer.h"

static struct dvit_train_options recipe(struct dvit_train_options options)
{
    options.rand_augment = "rand-m9-mstd0.5-inc1";
    options.erasing = .25;
    options.mixup = .8;
    options.cutmix = 1;
    options.repeats = 3;
    options.drop_path = 0;
    return options;
}

enum { STEPS = 3 }; /* a new model's logits are all alike: the first loss says nothing */

/* The loss of the last of the first steps, on the loader's batches; with their targets or without.
 */
static double loss_by_hand(const struct train_run *run, bool mixed_targets)
{
    struct dvit_error error;
    struct dvit_dataset *set = NULL;
    struct dvit_loader *loader = NULL;
    struct dvit_model *dense = NULL, *model = run_model(run, &dense);
    struct dvit_trainer *trainer = NULL;
    const struct dvit_batch *batch;
    double loss = 0;
    bool skipped;
    assert_ok(dvit_dataset_open(&set, run->data, "train", NULL, &error), &error);
    assert_ok(dvit_train_loader_create(&loader, set, &run->options, &model->preprocess, &error),
              &error);
    assert_ok(dvit_loader_start(loader, 0, 0, &error), &error);
    assert_ok(dvit_trainer_create(&trainer, model, NULL, &run->options, RUN_STEPS_PER_EPOCH,
                                  RUN_STEPS, &error),
              &error);
    for (int i = 0; i < STEPS; i++) {
        assert_ok(dvit_loader_next(loader, &batch, &error), &error);
        assert_non_null(batch->targets);
        struct dvit_micro_batch micro = {.images = batch->count,
                                         .pixels = batch->pixels,
                                         .labels = batch->labels,
                                         .targets = mixed_targets ? batch->targets : NULL};
        assert_ok(dvit_trainer_micro(trainer, &micro, &error), &error);
        loss = trainer->losses.total;
        dvit_trainer_update(trainer, &skipped);
        assert_false(skipped);
    }
    dvit_trainer_free(trainer);
    dvit_loader_free(loader);
    dvit_dataset_free(set);
    dvit_model_free(model);
    dvit_model_free(dense);
    return loss;
}

static double told_loss;

static void note_loss(void *context, const struct dvit_train_event *event)
{
    if (event->kind == DVIT_TRAIN_STEP)
        told_loss = event->loss;
}

static void steps_get_the_mixed_targets(void **state)
{
    char folder[32];
    struct dvit_error error;
    struct dvit_dataset *set = NULL;
    struct train_run run = run_create(test_folder_create(folder));
    struct dvit_model *dense = NULL, *model = run_model(&run, &dense);
    run.options = recipe(run.options);
    run.options.max_steps = STEPS;
    assert_ok(dvit_dataset_open(&set, run.data, "train", NULL, &error), &error);
    assert_ok(dvit_train(model, NULL, set, NULL, &run.options, note_loss, NULL, NULL, &error),
              &error);
    double mixed = loss_by_hand(&run, true), plain = loss_by_hand(&run, false);
    assert_true(told_loss == mixed);
    assert_true(told_loss != plain);
    dvit_dataset_free(set);
    dvit_model_free(model);
    dvit_model_free(dense);
    test_folder_remove(folder);
}

/* With targets that are smoothed labels and nothing else, mixing's way and the plain one agree. */
static void without_a_partner_targets_are_smoothed_labels(void **state)
{
    struct dvit_error error;
    struct dvit_dataset *set = NULL;
    struct dvit_loader *loader = NULL;
    struct dvit_preprocess preprocess;
    const struct dvit_batch *batch;
    struct dvit_train_options options = recipe(dvit_train_options_dense());
    options.batch = 1; /* its own partner */
    assert_ok(dvit_preprocess_preset("native", 16, 16, &preprocess, &error), &error);
    assert_ok(dvit_dataset_open(&set, RUN_SCENES, "train", NULL, &error), &error);
    assert_ok(dvit_train_loader_create(&loader, set, &options, &preprocess, &error), &error);
    assert_ok(dvit_loader_start(loader, 0, 0, &error), &error);
    for (int i = 0; i < 22; i++) {
        assert_ok(dvit_loader_next(loader, &batch, &error), &error);
        for (int k = 0; k < 3; k++) {
            double expected = k == batch->labels[0] ? .9 + .1 / 3 : .1 / 3;
            assert_true(fabs((double)batch->targets[k] - expected) < 1e-6);
        }
    }
    dvit_loader_free(loader);
    dvit_dataset_free(set);
}

static void the_loader_refuses_what_the_run_would(void **state)
{
    struct dvit_error error;
    struct dvit_dataset *set = NULL;
    struct dvit_loader *loader = NULL;
    struct dvit_preprocess preprocess;
    struct dvit_train_options options = recipe(dvit_train_options_dense());
    assert_ok(dvit_preprocess_preset("native", 16, 16, &preprocess, &error), &error);
    assert_ok(dvit_dataset_open(&set, RUN_SCENES, "train", NULL, &error), &error);
    options.rand_augment = "rand-m9-x1";
    assert_fails(dvit_train_loader_create(&loader, set, &options, &preprocess, &error), &error,
                 DVIT_ERROR_ARGUMENT, "\"x1\" is not known");
    options = recipe(dvit_train_options_dense());
    options.mixup = 1e-5;
    assert_fails(dvit_train_loader_create(&loader, set, &options, &preprocess, &error), &error,
                 DVIT_ERROR_ARGUMENT, "mixup alpha is 1e-05");
    options = recipe(dvit_train_options_dense());
    options.augment = false; /* then nothing is done at all */
    options.batch = 5;
    const struct dvit_batch *batch;
    assert_ok(dvit_train_loader_create(&loader, set, &options, &preprocess, &error), &error);
    assert_ok(dvit_loader_start(loader, 0, 0, &error), &error);
    assert_ok(dvit_loader_next(loader, &batch, &error), &error);
    assert_null(batch->targets);
    assert_int_not_equal(batch->indices[0], batch->indices[1]);
    dvit_loader_free(loader);
    dvit_dataset_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_get_the_mixed_targets),
        cmocka_unit_test(without_a_partner_targets_are_smoothed_labels),
        cmocka_unit_test(the_loader_refuses_what_the_run_would),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
