/* Models that prune in each way, as a whole: files, refusals, answers that depend on the image
 * alone, and training. That masked training is pruned inference is in test_model_properties.c. */
#define _POSIX_C_SOURCE 200809L
#include "random_model.h"

#include "dvit/infer.h"
#include "train/trainer.h"
#include "weights/model_json.h"
#include "weights/position.h"

enum { IMAGES = 5, CLASSES = 4, KINDS = DVIT_PRUNING_POOL + 1 };
static const char shape[] = "vit:dim=16,depth=4,heads=2,patch=4,image=16,classes=4,pruning=";

static struct dvit_model *model_of(enum dvit_pruning pruning, uint64_t seed)
{
    char text[128];
    bool pools = pruning == DVIT_PRUNING_POOL;
    snprintf(text, sizeof text, "%s%s", shape, dvit_pruning_name(pruning));
    return random_model(text, 2, pools ? DVIT_POOL_KEEP : 0.6, seed, 1.5);
}

/* --- configurations ------------------------------------------------------------------------- */

static void names_are_read_and_written(void **state)
{
    struct dvit_error error;
    enum dvit_pruning got;
    (void)state;
    for (int p = 0; p < KINDS; p++) {
        assert_ok(dvit_pruning_parse(dvit_pruning_name(p), &got, &error), &error);
        assert_int_equal(got, p);
        struct dvit_model *model = model_of(p, 1);
        struct dvit_config config;
        char *json = dvit_config_to_json(&model->config);
        assert_ok(dvit_config_from_json(json, &config, &error), &error);
        assert_int_equal(config.pruning, p);
        free(json);
        dvit_model_free(model);
    }
    assert_fails(dvit_pruning_parse("best", &got, &error), &error, DVIT_ERROR_ARGUMENT,
                 "pruning is \"best\", expected learned, static");
}

/* Files from before the trait learned; others must say something known. */
static void json_of_all_times_is_read(void **state)
{
    struct dvit_error error;
    struct dvit_config config;
    struct dvit_model *model = model_of(DVIT_PRUNING_RANDOM, 1);
    char *json = dvit_config_to_json(&model->config), *at = strstr(json, ",\"pruning\":\"random\"");
    (void)state;
    assert_non_null(at);
    char *other = strdup(json);
    memcpy(strstr(other, "random"), "rendom", 6);
    assert_fails(dvit_config_from_json(other, &config, &error), &error, DVIT_ERROR_FORMAT,
                 "unknown pruning \"rendom\"");
    size_t cut = strlen(",\"pruning\":\"random\"");
    memmove(at, at + cut, strlen(at + cut) + 1);
    assert_ok(dvit_config_from_json(json, &config, &error), &error);
    assert_int_equal(config.pruning, DVIT_PRUNING_LEARNED);
    free(other);
    free(json);
    dvit_model_free(model);
}

static void what_makes_no_sense_is_refused(void **state)
{
    struct dvit_config c;
    struct dvit_error error;
    (void)state;
    assert_fails(dvit_config_parse("vit:pruning=most", &c, &error), &error, DVIT_ERROR_ARGUMENT,
                 "pruning is \"most\"");
    assert_fails(dvit_config_parse("vit:mean_pool=1,pruning=attention", &c, &error), &error,
                 DVIT_ERROR_ARGUMENT, "nothing reads");
    assert_ok(dvit_config_parse("vit:pruning=attention", &c, &error), &error);
    dvit_config_add_stages(&c, 2, 0.7);
    assert_ok(dvit_config_check(&c, &error), &error);
    c.stage_block[0] = 0;
    assert_fails(dvit_config_check(&c, &error), &error, DVIT_ERROR_ARGUMENT, "no attention");
    assert_ok(dvit_config_parse("vit:pruning=pool", &c, &error), &error); /* 14 × 14 patches */
    dvit_config_add_stages(&c, 1, 0.7);
    assert_fails(dvit_config_check(&c, &error), &error, DVIT_ERROR_ARGUMENT, "expected 0.25");
    dvit_config_add_stages(&c, 1, DVIT_POOL_KEEP);
    assert_ok(dvit_config_check(&c, &error), &error);
    dvit_config_add_stages(&c, 2, DVIT_POOL_KEEP);
    assert_fails(dvit_config_check(&c, &error), &error, DVIT_ERROR_ARGUMENT, "multiples of 4");
}

/* The table of parameters has what this way needs and nothing else. */
static void only_what_learns_has_parameters(void **state)
{
    (void)state;
    for (int p = 0; p < KINDS; p++) {
        struct dvit_model *model = model_of(p, 1);
        int places = dvit_parameters_find(&model->parameters, "score_predictor.1.places");
        int learned =
            dvit_parameters_find(&model->parameters, "score_predictor.1.in_conv.1.weight");
        assert_int_equal(places >= 0, p == DVIT_PRUNING_STATIC);
        assert_int_equal(learned >= 0, p == DVIT_PRUNING_LEARNED);
        if (places >= 0)
            assert_int_equal(model->parameters.items[places].count, 2 * 16);
        assert_int_equal(dvit_model_chooses(model), p != DVIT_PRUNING_POOL);
        dvit_model_free(model);
    }
}

static void stages_keep_their_way(void **state)
{
    struct dvit_error error;
    struct dvit_model *model = model_of(DVIT_PRUNING_STATIC, 1), *dense, *made;
    struct dvit_config config = model->config;
    (void)state;
    assert_fails(dvit_model_set_pruning(model, DVIT_PRUNING_RANDOM, &error), &error,
                 DVIT_ERROR_MISMATCH, "prune by static");
    assert_ok(dvit_model_set_pruning(model, DVIT_PRUNING_STATIC, &error), &error);
    config.stages = 0;
    config.keep = 1;
    assert_ok(dvit_model_create(&dense, &config, 1, &error), &error);
    assert_ok(dvit_model_set_pruning(dense, DVIT_PRUNING_ATTENTION, &error), &error);
    assert_ok(dvit_model_sparsify(&made, dense, 2, NULL, 0.5, 1, &error), &error);
    assert_int_equal(made->config.pruning, DVIT_PRUNING_ATTENTION);
    assert_int_equal(made->parameters.count, dense->parameters.count);
    dvit_model_free(made);
    dvit_model_free(dense);
    dvit_model_free(model);
}

/* A saved model comes back with its way of pruning; the places' scores at another grid too. */
static void files_hold_the_trait(void **state)
{
    char folder[32], path[64];
    struct dvit_error error;
    (void)state;
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    for (int p = 0; p < KINDS; p++) {
        struct dvit_model *model = model_of(p, 2), *loaded, *larger;
        struct dvit_load_options load = {.image_width = 32, .image_height = 16};
        assert_ok(dvit_model_save(model, path, NULL, &error), &error);
        assert_ok(dvit_model_load(&loaded, path, NULL, &error), &error);
        assert_int_equal(loaded->config.pruning, p);
        assert_memory_equal(loaded->weights, model->weights,
                            model->parameters.floats * sizeof(float));
        assert_ok(dvit_model_load(&larger, path, &load, &error), &error);
        int places = dvit_parameters_find(&larger->parameters, "score_predictor.0.places");
        if (places >= 0) {
            float expected[64];
            int own = dvit_parameters_find(&model->parameters, "score_predictor.0.places");
            assert_int_equal(larger->parameters.items[places].count, 64);
            dvit_position_resize(expected, (struct dvit_grid){4, 8},
                                 dvit_model_weights(model, (size_t)own), (struct dvit_grid){4, 4},
                                 2);
            assert_memory_equal(dvit_model_weights(larger, (size_t)places), expected,
                                sizeof expected);
        }
        dvit_model_free(larger);
        dvit_model_free(loaded);
        dvit_model_free(model);
    }
    test_folder_remove(folder);
}

/* --- running ---------------------------------------------------------------------------------- */

static void run(const struct dvit_model *model, double keep, int threads, const float *pixels,
                int count, float *logits)
{
    struct dvit_error error;
    struct dvit_session *session;
    struct dvit_session_options options = {
        .keep = keep, .max_batch = IMAGES, .threads = threads, .cpu = "auto"};
    assert_ok(dvit_session_create(&session, model, &options, &error), &error);
    assert_ok(dvit_session_run(session, pixels, count, logits, &error), &error);
    dvit_session_free(session);
}

static void answers_depend_on_the_image_alone(void **state)
{
    (void)state;
    for (int p = 0; p < KINDS; p++) {
        struct dvit_model *model = model_of(p, 3);
        float *pixels = random_pixels(model, IMAGES, 3);
        float all[IMAGES * CLASSES], one[CLASSES];
        size_t size = 3 * 16 * 16;
        run(model, 0, 1, pixels, IMAGES, all);
        for (int image = 0; image < IMAGES; image++) {
            run(model, 0, 1 + image % 3, pixels + (size_t)image * size, 1, one);
            assert_true(logit_gap(all + image * CLASSES, one, CLASSES) < 1e-5);
        }
        free(pixels);
        dvit_model_free(model);
    }
}

static void pooling_has_one_ratio(void **state)
{
    struct dvit_error error;
    struct dvit_session *session;
    struct dvit_cost cost, dense;
    struct dvit_model *model = model_of(DVIT_PRUNING_POOL, 4);
    struct dvit_session_options options = {.keep = 0.7, .max_batch = 1, .threads = 1};
    (void)state;
    assert_fails(dvit_session_create(&session, model, &options, &error), &error,
                 DVIT_ERROR_ARGUMENT, "pools its patches: expected 0.25");
    assert_fails(dvit_model_cost(&model->config, 0.7, &cost, &error), &error, DVIT_ERROR_ARGUMENT,
                 "pools");
    options.keep = 0;
    assert_ok(dvit_session_create(&session, model, &options, &error), &error);
    dvit_session_free(session);
    assert_ok(dvit_model_cost(&model->config, DVIT_POOL_KEEP, &cost, &error), &error);
    assert_ok(dvit_model_cost(&model->config, 1, &dense, &error), &error);
    static const int tokens[4] = {17, 5, 2, 2}; /* in each block */
    double macs = 16 * 48 * 16 + 16 * CLASSES;
    for (int i = 0; i < 4; i++)
        macs += tokens[i] * (12.0 * 16 * 16) + 2.0 * tokens[i] * tokens[i] * 16;
    assert_true(cost.macs_published == macs && cost.macs < dense.macs);
    dvit_model_free(model);
}

/* --- training --------------------------------------------------------------------------------- */

static struct dvit_train_options options_of(enum dvit_pruning pruning)
{
    struct dvit_train_options options = dvit_train_options_sparsify();
    options.epochs = 100;
    options.batch = IMAGES;
    options.threads = 2;
    options.learning_rate = .05;
    options.warmup_epochs = 0;
    options.backbone_freeze_epochs = 0;
    options.ema_decay = 0;
    options.keep = pruning == DVIT_PRUNING_POOL ? DVIT_POOL_KEEP : 0.6;
    return options;
}

/* Sum of absolute changes of the parameters of one group, or (−1) of all others. */
static double moved(const struct dvit_model *model, const float *before, bool predictors)
{
    double sum = 0;
    for (size_t i = 0; i < model->parameters.count; i++) {
        const struct dvit_parameter *item = &model->parameters.items[i];
        for (size_t k = 0; k < item->count; k++)
            if ((item->group == DVIT_GROUP_PREDICTOR) == predictors)
                sum += fabs((double)model->weights[item->offset + k] - before[item->offset + k]);
    }
    return sum;
}

/* Every way trains; one that does not learn where to prune keeps exactly the ratio, with a ratio
 * loss of 0. */
static void every_way_trains(void **state)
{
    int labels[IMAGES] = {0, 1, 2, 3, 0};
    (void)state;
    for (int p = 0; p < KINDS; p++) {
        struct dvit_error error;
        struct dvit_trainer *trainer;
        struct dvit_model *model = model_of(p, 5), *teacher;
        struct dvit_train_options options = options_of(p);
        float *pixels = random_pixels(model, IMAGES, 5);
        struct dvit_config dense = model->config;
        dense.stages = 0;
        dense.keep = 1;
        assert_ok(dvit_model_create(&teacher, &dense, 9, &error), &error);
        assert_ok(dvit_trainer_create(&trainer, model, teacher, &options, 10, 1000, &error),
                  &error);
        float *before = malloc(model->parameters.floats * sizeof *before);
        memcpy(before, model->weights, model->parameters.floats * sizeof *before);
        double first = 0;
        for (int step = 0; step < 30; step++) {
            struct dvit_micro_batch batch = {.images = IMAGES, .pixels = pixels, .labels = labels};
            bool skipped;
            assert_ok(dvit_trainer_micro(trainer, &batch, &error), &error);
            first = step ? first : trainer->losses.cls;
            for (int s = 0; s < 2 && p >= DVIT_PRUNING_RANDOM; s++) {
                double share = dvit_config_kept(&model->config, options.keep, s) / 16.0;
                assert_true(fabs(trainer->losses.keep[s] - share) < 1e-6);
                assert_true(trainer->losses.ratio < 1e-4);
            }
            dvit_trainer_update(trainer, &skipped);
            assert_false(skipped);
        }
        assert_true(trainer->losses.cls < 0.7 * first);
        assert_true(moved(model, before, false) > 0);
        assert_int_equal(moved(model, before, true) > 0, p <= DVIT_PRUNING_STATIC);
        free(before);
        free(pixels);
        dvit_trainer_free(trainer);
        dvit_model_free(teacher);
        dvit_model_free(model);
    }
}

static void training_refuses_what_has_no_sense(void **state)
{
    struct dvit_error error;
    struct dvit_trainer *trainer;
    struct dvit_model *model = model_of(DVIT_PRUNING_POOL, 6);
    struct dvit_train_options options = options_of(DVIT_PRUNING_POOL);
    (void)state;
    options.weight_kl = options.weight_token = 0;
    options.elastic_low = 0.5;
    options.elastic_high = 1;
    assert_fails(dvit_trainer_create(&trainer, model, NULL, &options, 10, 1000, &error), &error,
                 DVIT_ERROR_ARGUMENT, "one ratio only");
    options.elastic_low = options.elastic_high = 0;
    options.keep = 0.7;
    assert_fails(dvit_trainer_create(&trainer, model, NULL, &options, 10, 1000, &error), &error,
                 DVIT_ERROR_ARGUMENT, "expected 0.25");
    dvit_model_free(model);
    model = model_of(DVIT_PRUNING_RANDOM, 6);
    options.keep = 0.6;
    options.freeze_backbone = true;
    assert_fails(dvit_trainer_create(&trainer, model, NULL, &options, 10, 1000, &error), &error,
                 DVIT_ERROR_ARGUMENT, "no predictors");
    dvit_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read_and_written),
        cmocka_unit_test(json_of_all_times_is_read),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(only_what_learns_has_parameters),
        cmocka_unit_test(stages_keep_their_way),
        cmocka_unit_test(files_hold_the_trait),
        cmocka_unit_test(answers_depend_on_the_image_alone),
        cmocka_unit_test(pooling_has_one_ratio),
        cmocka_unit_test(every_way_trains),
        cmocka_unit_test(training_refuses_what_has_no_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
