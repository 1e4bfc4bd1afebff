/* The published kinds of models against PyTorch: LV-ViT, distilled, layer-scaled and mean-pooled.
 * Inference dense and pruned, one training micro-batch with its teacher, every gradient, running
 * statistics. Goldens and their formulas: tests/golden/published/README.md. */
#include "golden.h"

#include "dvit/infer.h"
#include "test_util.h"
#include "train/trainer.h"

enum { IMAGES = 3, PATCHES = 12, STAGES = 3, CLASSES = 5 };
static const double tolerance = 1e-4; /* relative to each tensor's largest value */

/* A kind of model, at one level of the processor. */
struct kind {
    const char *cpu, *name;
    void (*change)(struct dvit_config *config); /* from the plain tiny model */
    bool trains_dense;                          /* there is a golden of dense training */
};

static void make_lvvit(struct dvit_config *c)
{
    c->image_width = 64;
    c->image_height = 48;
    c->patch = 16;
    c->mlp = 72;
    c->norm_eps = 1e-5f;
    c->stem_width = 8;
    c->skip_lam = 2;
    c->qkv_bias = false;
    c->aux_head = true;
}

static void make_distilled(struct dvit_config *c)
{
    c->distilled = true;
}

static void make_layer_scale(struct dvit_config *c)
{
    c->layer_scale = true;
}

static void make_mean_pool(struct dvit_config *c)
{
    c->mean_pool = true;
}

static struct dvit_safetensors *open_file(const struct kind *kind, const char *suffix)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", kind->name, suffix);
    return golden_open_in("published", name);
}

static struct dvit_model *open_model(const struct kind *kind, const char *suffix, int stages)
{
    struct dvit_error error;
    struct dvit_model *model = NULL;
    struct dvit_config config = golden_config(stages);
    struct dvit_safetensors *file = open_file(kind, suffix);
    kind->change(&config);
    if (dvit_model_allocate(&model, &config, &error) != DVIT_OK ||
        dvit_model_read(file, &model->parameters, "", model->weights, &error) != DVIT_OK)
        fail_msg("%s", error.message);
    dvit_safetensors_free(file);
    return model;
}

static void compare_kept(const struct dvit_safetensors *file, const struct dvit_session *session)
{
    for (int s = 0; s < STAGES; s++) {
        char name[64];
        int64_t expected[IMAGES * PATCHES];
        int count;
        snprintf(name, sizeof name, "pruned.stage.%d.kept", s);
        const struct dvit_tensor_view *view = dvit_safetensors_find(file, name);
        assert_non_null(view);
        assert_int_equal(dvit_tensor_to_i64(view, expected, NULL), DVIT_OK);
        for (int image = 0; image < IMAGES; image++) {
            const int *kept = dvit_session_kept(session, image, s, &count);
            assert_int_equal(count * IMAGES, dvit_tensor_elements(view));
            for (int i = 0; i < count; i++)
                assert_int_equal(kept[i], expected[image * count + i]);
        }
    }
}

static void inference_is_pytorchs(void **state)
{
    const struct kind *kind = *state;
    struct dvit_error error;
    struct dvit_model *model = open_model(kind, "_student", STAGES);
    struct dvit_safetensors *file = open_file(kind, "");
    float logits[IMAGES * CLASSES], *pixels = golden_floats(file, "pixels", NULL);
    for (int threads = 1; threads <= 4; threads++)
        for (int pruned = 0; pruned <= 1; pruned++) {
            struct dvit_session *session = NULL;
            struct dvit_session_options options = {.keep = pruned ? 0.7 : 1.0,
                                                   .max_batch = IMAGES,
                                                   .threads = threads,
                                                   .cpu = kind->cpu};
            assert_ok(dvit_session_create(&session, model, &options, &error), &error);
            assert_ok(dvit_session_run(session, pixels, IMAGES, logits, &error), &error);
            golden_compare(file, pruned ? "pruned.logits" : "dense.logits", logits,
                           IMAGES * CLASSES, tolerance);
            if (pruned)
                compare_kept(file, session);
            dvit_session_free(session);
        }
    free(pixels);
    dvit_safetensors_free(file);
    dvit_model_free(model);
}

static struct dvit_train_options train_options(const struct kind *kind, int threads)
{
    struct dvit_train_options options = dvit_train_options_sparsify();
    options.batch = IMAGES;
    options.threads = threads;
    options.cpu = kind->cpu;
    options.ema_decay = 0;
    options.freeze_embeddings = false;
    options.decision_gradient_cap = DVIT_DECISION_GRADIENT_EXACT;
    return options;
}

/* Every gradient of the trainer, and the statistics that its model has now. */
static void compare_parameters(const struct dvit_trainer *trainer,
                               const struct dvit_safetensors *file, const char *prefix)
{
    const struct dvit_parameters *table = &trainer->model->parameters;
    for (size_t i = 0; i < table->count; i++) {
        const struct dvit_parameter *item = &table->items[i];
        bool statistic = item->group == DVIT_GROUP_STATISTICS;
        const float *got =
            statistic ? dvit_model_weights(trainer->model, i) : trainer->parameter_gradients[i];
        char name[128];
        snprintf(name, sizeof name, "%s%s.%s", prefix, statistic ? "stat" : "grad", item->name);
        golden_compare(file, name, got, item->count, tolerance);
    }
}

static void compare_loss(const struct dvit_safetensors *file, const char *name, double got)
{
    float single = (float)got;
    golden_compare(file, name, &single, 1, tolerance);
}

static void training_is_pytorchs(void **state)
{
    const struct kind *kind = *state;
    struct dvit_error error;
    struct dvit_safetensors *file = open_file(kind, "");
    struct dvit_model *teacher = open_model(kind, "_teacher", 0);
    float *pixels = golden_floats(file, "pixels", NULL);
    float *targets = golden_floats(file, "targets", NULL);
    float *noise = golden_floats(file, "masked.noise", NULL);
    struct dvit_micro_batch batch = {
        .images = IMAGES, .pixels = pixels, .targets = targets, .noise = noise};
    for (int threads = 1; threads <= 4; threads++) {
        struct dvit_trainer *trainer = NULL;
        struct dvit_model *model = open_model(kind, "_student", STAGES);
        struct dvit_train_options options = train_options(kind, threads);
        assert_ok(dvit_trainer_create(&trainer, model, teacher, &options, 1, 1, &error), &error);
        assert_ok(dvit_trainer_micro(trainer, &batch, &error), &error);
        compare_loss(file, "loss.cls", trainer->losses.cls);
        compare_loss(file, "loss.ratio", trainer->losses.ratio);
        compare_loss(file, "loss.kl", trainer->losses.kl);
        compare_loss(file, "loss.token", trainer->losses.token);
        compare_loss(file, "loss.total", trainer->losses.total);
        compare_parameters(trainer, file, "");
        dvit_trainer_free(trainer);
        dvit_model_free(model);
    }
    free(pixels);
    free(targets);
    free(noise);
    dvit_model_free(teacher);
    dvit_safetensors_free(file);
}

static void dense_training_is_pytorchs(void **state)
{
    const struct kind *kind = *state;
    struct dvit_error error;
    struct dvit_safetensors *file = open_file(kind, "");
    float *pixels = golden_floats(file, "pixels", NULL);
    float *targets = golden_floats(file, "targets", NULL);
    struct dvit_micro_batch batch = {.images = IMAGES, .pixels = pixels, .targets = targets};
    for (int threads = 1; threads <= 4; threads++) {
        struct dvit_trainer *trainer = NULL;
        struct dvit_model *model = open_model(kind, "_student", 0);
        struct dvit_train_options options = train_options(kind, threads);
        assert_ok(dvit_trainer_create(&trainer, model, NULL, &options, 1, 1, &error), &error);
        assert_ok(dvit_trainer_micro(trainer, &batch, &error), &error);
        compare_loss(file, "dense_training.loss", trainer->losses.total);
        compare_parameters(trainer, file, "dense_training.");
        dvit_trainer_free(trainer);
        dvit_model_free(model);
    }
    free(pixels);
    free(targets);
    dvit_safetensors_free(file);
}

int main(void)
{
    static const struct kind kinds[] = {
        {NULL, "lvvit", make_lvvit, true},
        {NULL, "distilled", make_distilled, true},
        {NULL, "layer_scale", make_layer_scale, false},
        {NULL, "mean_pool", make_mean_pool, false},
    };
    int failed = 0;
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++)
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            struct kind kind = kinds[i];
            char group[64];
            kind.cpu = dvit_cpu_name((enum dvit_cpu)cpu);
            snprintf(group, sizeof group, "%s, %s", kind.cpu, kind.name);
            const struct CMUnitTest tests[] = {
                cmocka_unit_test_prestate(inference_is_pytorchs, &kind),
                cmocka_unit_test_prestate(training_is_pytorchs, &kind),
            };
            const struct CMUnitTest dense[] = {
                cmocka_unit_test_prestate(dense_training_is_pytorchs, &kind),
            };
            failed += cmocka_run_group_tests_name(group, tests, NULL, NULL);
            if (kind.trains_dense)
                failed += cmocka_run_group_tests_name(group, dense, NULL, NULL);
        }
    return failed != 0;
}
