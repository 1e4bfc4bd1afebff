/* The search for a learning rate: on a copy, with rates that grow evenly, ended when the loss
 * leaves all bounds. */
#include "run_bench.h"

static void search(struct dvit_rate_curve *curve, const char *optimizer, bool dynamic)
{
    struct dvit_error error;
    struct dvit_dataset *data = NULL;
    struct train_run run = run_create("never made");
    run.dynamic = dynamic;
    run.options.optimizer = optimizer;
    run.options.accumulate = dynamic ? 2 : 1;
    struct dvit_model *dense, *model = run_model(&run, &dense);
    float *before = malloc(model->parameters.floats * sizeof *before);
    memcpy(before, model->weights, model->parameters.floats * sizeof *before);
    assert_ok(dvit_dataset_open(&data, RUN_SCENES, "train", NULL, &error), &error);
    assert_ok(dvit_train_find_rate(curve, model, dynamic ? dense : NULL, data, &run.options, NULL,
                                   &error),
              &error);
    assert_memory_equal(before, model->weights, model->parameters.floats * sizeof *before);
    assert_false(dvit_folder_exists("never made"));
    dvit_dataset_free(data);
    dvit_model_free(model);
    dvit_model_free(dense);
    free(before);
}

static void rates_grow_until_the_loss_does(void **state)
{
    (void)state;
    const char *const optimizers[] = {"adamw", "lamb", "sgd"};
    for (int k = 0; k < 6; k++) {
        struct dvit_rate_curve curve, again;
        search(&curve, optimizers[k / 2], k % 2);
        assert_true(curve.count > 40 && curve.count <= DVIT_RATE_STEPS);
        assert_float_equal(curve.rates[0], 1e-7, 1e-12);
        for (int i = 0; i < curve.count; i++) {
            assert_true(isfinite(curve.losses[i]) && isfinite(curve.smoothed[i]));
            if (i > 0)
                assert_float_equal(curve.rates[i] / curve.rates[i - 1], pow(1e8, 1 / 99.), 1e-9);
        }
        search(&again, optimizers[k / 2], k % 2);
        assert_memory_equal(&curve, &again, sizeof curve);
        assert_true(curve.suggestion == 0 || (curve.suggestion >= 1e-8 && curve.suggestion <= 1));
    }
}

static void a_search_that_cannot_be_is_refused(void **state)
{
    (void)state;
    struct dvit_error error;
    struct dvit_rate_curve curve;
    struct dvit_dataset *data = NULL;
    struct train_run run = run_create("never made");
    run.classes = 4;
    struct dvit_model *dense, *model = run_model(&run, &dense);
    assert_ok(dvit_dataset_open(&data, RUN_SCENES, "train", NULL, &error), &error);
    assert_fails(dvit_train_find_rate(&curve, model, NULL, data, &run.options, NULL, &error),
                 &error, DVIT_ERROR_MISMATCH, "3 classes, the model 4");
    run.options.batch = 0;
    assert_true(dvit_train_find_rate(&curve, dense, NULL, data, &run.options, NULL, &error) !=
                DVIT_OK);
    assert_int_equal(curve.count, 0);
    dvit_dataset_free(data);
    dvit_model_free(model);
    dvit_model_free(dense);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_grow_until_the_loss_does),
        cmocka_unit_test(a_search_that_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
