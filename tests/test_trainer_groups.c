/* Which parameters a step moves, and what its gradient norm is over: freezing for the whole run,
 * for the first epochs, and clipping. */
#include "training_bench.h"

/* ---- freezing ---- */

/* Parameters of one group whose bits differ between two arrays laid out as the weights. */
static size_t moved(const struct training_bench *b, const float *before, const float *after,
                    enum dvit_parameter_group group)
{
    const struct dvit_parameters *p = &b->model->parameters;
    size_t count = 0;
    for (size_t i = 0; i < p->count; i++)
        count += p->items[i].group == group &&
                 memcmp(before + p->items[i].offset, after + p->items[i].offset,
                        p->items[i].count * sizeof *before) != 0;
    return count;
}

static size_t group_size(const struct training_bench *b, enum dvit_parameter_group group)
{
    size_t count = 0;
    for (size_t i = 0; i < b->model->parameters.count; i++)
        count += b->model->parameters.items[i].group == group;
    return count;
}

static void a_frozen_backbone_keeps_every_bit(void **state)
{
    (void)state;
    struct dvit_train_options options = bench_steady(bench_sparsify_options());
    struct dvit_model *initial = golden_model("tiny_student", BENCH_STAGES);
    struct training_bench b;
    options.freeze_backbone = true;
    bench_create(&b, BENCH_STAGES, &options);
    for (int step = 0; step < 5; step++)
        bench_golden_step(&b);
    for (int group = 0; group < DVIT_GROUP_PREDICTOR; group++) {
        assert_int_equal(moved(&b, initial->weights, b.model->weights, group), 0);
        assert_true(bench_norm(&b, b.trainer->moment2, group) == 0);
    }
    assert_int_equal(moved(&b, initial->weights, b.model->weights, DVIT_GROUP_PREDICTOR),
                     group_size(&b, DVIT_GROUP_PREDICTOR));
    dvit_model_free(initial);
    bench_free(&b);
}

static void embeddings_move_unless_frozen(void **state)
{
    (void)state;
    struct dvit_model *initial = golden_model("tiny_student", BENCH_STAGES);
    for (int frozen = 0; frozen < 2; frozen++) {
        struct dvit_train_options options = bench_steady(bench_sparsify_options());
        struct training_bench b;
        options.freeze_embeddings = frozen;
        bench_create(&b, BENCH_STAGES, &options);
        for (int step = 0; step < 3; step++)
            bench_golden_step(&b);
        assert_int_equal(moved(&b, initial->weights, b.model->weights, DVIT_GROUP_EMBEDDING),
                         frozen ? 0 : 2);
        assert_int_equal(moved(&b, initial->weights, b.model->weights, DVIT_GROUP_BACKBONE),
                         group_size(&b, DVIT_GROUP_BACKBONE));
        bench_free(&b);
    }
    dvit_model_free(initial);
}

static void a_backbone_held_for_epochs_gathers_moments(void **state)
{
    (void)state;
    struct dvit_train_options options = bench_steady(bench_sparsify_options());
    struct dvit_model *initial = golden_model("tiny_student", BENCH_STAGES);
    struct training_bench b;
    options.backbone_freeze_epochs = 3;
    bench_create(&b, BENCH_STAGES, &options);
    for (int step = 0; step < 3; step++)
        bench_golden_step(&b);
    assert_int_equal(moved(&b, initial->weights, b.model->weights, DVIT_GROUP_BACKBONE), 0);
    assert_int_equal(moved(&b, initial->weights, b.model->weights, DVIT_GROUP_HEAD), 0);
    assert_true(bench_norm(&b, b.trainer->moment1, DVIT_GROUP_BACKBONE) > 0);
    assert_true(bench_norm(&b, b.trainer->moment2, DVIT_GROUP_HEAD) > 0);
    bench_golden_step(&b);
    assert_int_equal(moved(&b, initial->weights, b.model->weights, DVIT_GROUP_BACKBONE),
                     group_size(&b, DVIT_GROUP_BACKBONE));
    assert_int_equal(moved(&b, initial->weights, b.model->weights, DVIT_GROUP_HEAD), 2);
    dvit_model_free(initial);
    bench_free(&b);
}

/* ---- clipping ---- */

static double hypotenuse(double a, double b, double c)
{
    return sqrt(a * a + b * b + c * c);
}

/* The first moment after one step is (1 − β1) times the gradient that AdamW was given. */
static void gradients_are_clipped_to_the_norm(void **state)
{
    (void)state;
    struct training_bench free_run, b;
    struct dvit_train_options options = bench_steady(bench_dense_options());
    bench_create(&free_run, 0, &options);
    bench_golden_step(&free_run);
    double norm = free_run.trainer->gradient_norm;
    assert_float_equal(norm, bench_norm(&free_run, free_run.trainer->gradients, -1), 1e-5 * norm);
    assert_float_equal(bench_norm(&free_run, free_run.trainer->moment1, -1), .1 * norm,
                       1e-5 * norm);
    for (int above = 0; above < 2; above++) {
        options.clip_norm = above ? norm * 2 : norm / 3;
        options.threads = 1 + above;
        bench_create(&b, 0, &options);
        bench_golden_step(&b);
        assert_float_equal(b.trainer->gradient_norm, norm, 1e-5 * norm);
        assert_float_equal(bench_norm(&b, b.trainer->moment1, -1),
                           .1 * (above ? norm : options.clip_norm), 1e-5 * norm);
        bench_free(&b);
    }
    bench_free(&free_run);
}

static void clipping_leaves_out_what_is_frozen(void **state)
{
    (void)state;
    for (int whole_run = 0; whole_run < 2; whole_run++) {
        struct dvit_train_options options = bench_steady(bench_sparsify_options());
        struct training_bench b;
        options.clip_norm = 1e-3;
        options.backbone_freeze_epochs = whole_run ? 0 : 1;
        options.freeze_backbone = whole_run;
        bench_create(&b, BENCH_STAGES, &options);
        bench_golden_step(&b);
        const struct dvit_trainer *t = b.trainer;
        double predictors = bench_norm(&b, t->gradients, DVIT_GROUP_PREDICTOR);
        assert_float_equal(t->gradient_norm, predictors, 1e-5 * predictors);
        assert_float_equal(bench_norm(&b, t->moment1, DVIT_GROUP_PREDICTOR), .1e-3, 1e-8);
        if (!whole_run) { /* from the next step on the backbone counts, the embeddings do not */
            bench_golden_step(&b);
            double all = hypotenuse(bench_norm(&b, t->gradients, DVIT_GROUP_PREDICTOR),
                                    bench_norm(&b, t->gradients, DVIT_GROUP_BACKBONE),
                                    bench_norm(&b, t->gradients, DVIT_GROUP_HEAD));
            assert_float_equal(t->gradient_norm, all, 1e-5 * all);
            assert_true(bench_norm(&b, t->gradients, DVIT_GROUP_EMBEDDING) == 0);
        }
        bench_free(&b);
    }
}

/* Warm-up begins at rate 0: the norm is known and clips all the same. */
static void clipping_begins_with_the_first_step(void **state)
{
    (void)state;
    struct dvit_train_options options = bench_dense_options();
    struct training_bench b;
    options.clip_norm = 1e-3;
    bench_create(&b, 0, &options);
    bench_golden_step(&b);
    assert_true(b.trainer->learning_rate == 0);
    assert_true(b.trainer->gradient_norm > 1e-3);
    assert_float_equal(bench_norm(&b, b.trainer->moment1, -1), .1e-3, 1e-8);
    bench_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frozen_backbone_keeps_every_bit),
        cmocka_unit_test(embeddings_move_unless_frozen),
        cmocka_unit_test(a_backbone_held_for_epochs_gathers_moments),
        cmocka_unit_test(gradients_are_clipped_to_the_norm),
        cmocka_unit_test(clipping_leaves_out_what_is_frozen),
        cmocka_unit_test(clipping_begins_with_the_first_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
