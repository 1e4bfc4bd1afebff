/* What must hold for every model, at every kernel level:
 * – a masked forward pass whose decisions are the pruned one's choices gives the same logits, also
 *   where dropped tokens have by far the strongest attention logits;
 * – keep 1 is the dense model, bit for bit. */
#include "random_model.h"

#include "base/threads.h"
#include "dvit/infer.h"
#include "graph/training.h"
#include "models/vit.h"

enum { IMAGES = 3, MAX_KEPT = 256 };
/* Relative to the spread of an image's logits: float rounding through the depth, plus the masked
 * softmax's eps (1e-6 per block). */
static const double tolerance = 1e-4;

static const struct shape {
    const char *text;
    int stages;
    double keep;
    double attention; /* see random_model */
} shapes[] = {
    {"vit:dim=32,depth=4,heads=2,patch=4,image=16,classes=5", 3, 0.7, 1},
    {"vit:dim=24,depth=4,heads=3,patch=8,width=48,height=24,classes=3,mlp=50", 3, 0.5, 1},
    {"vit:dim=40,depth=6,heads=5,patch=4,image=28,classes=10", 2, 0.6, 1},
    {"vit:dim=64,depth=5,heads=1,patch=4,width=12,height=20,classes=2", 4, 0.8, 1},
    {"vit:dim=12,depth=3,heads=3,patch=2,image=6,classes=4", 3, 0.3, 1},
    {"vit:dim=32,depth=4,heads=2,patch=4,image=24,classes=5", 3, 0.7, 2.2},
    {"vit:dim=48,depth=4,heads=3,patch=4,image=20,classes=6", 3, 0.5, 3},
    {"vit:dim=64,depth=4,heads=4,patch=4,image=28,classes=6", 3, 0.6, 4.2},
    {"vit:dim=32,depth=4,heads=2,patch=4,image=20,classes=5,distilled=1", 3, 0.6, 2.2},
    {"vit:dim=32,depth=4,heads=2,patch=4,image=20,classes=5,distilled=1,one_head=1", 3, 0.6, 2.2},
    {"vit:dim=32,depth=4,heads=4,patch=4,image=16,classes=5,layer_scale=1", 3, 0.6, 1},
    {"vit:dim=32,depth=4,heads=4,patch=4,image=20,classes=5,mean_pool=1", 3, 0.6, 2.2},
    {"lvvit:dim=32,depth=4,heads=2,patch=8,width=48,height=32,classes=5,stem_width=16", 3, 0.6, 1},
    {"lvvit:dim=24,depth=4,heads=3,patch=4,width=12,height=20,classes=5,stem_width=5", 2, 0.5, 2},
    {"vit:dim=32,depth=4,heads=2,patch=4,image=20,classes=5,pruning=static", 3, 0.6, 2.2},
    {"vit:dim=32,depth=4,heads=2,patch=4,image=20,classes=5,pruning=random", 3, 0.6, 2.2},
    {"vit:dim=32,depth=4,heads=2,patch=4,image=20,classes=5,pruning=attention", 3, 0.6, 2.2},
    {"vit:dim=32,depth=4,heads=2,patch=4,image=20,classes=5,distilled=1,pruning=attention", 2, 0.5,
     1},
    {"vit:dim=32,depth=4,heads=2,patch=4,image=32,classes=5,pruning=pool", 1, 0.25, 2.2},
    {"vit:dim=32,depth=4,heads=2,patch=4,width=32,height=16,classes=5,mean_pool=1,pruning=pool", 2,
     0.25, 2.2},
};

static const char *cpu_level(void **state)
{
    return *state;
}

/* --- pruned ------------------------------------------------------------------------------- */

struct pruned {
    float logits[IMAGES * 16];
    bool kept[DVIT_MAX_STAGES][IMAGES][MAX_KEPT];
};

static void run_session(const struct dvit_model *model, const char *cpu, double keep, int threads,
                        const float *pixels, struct pruned *out)
{
    struct dvit_session *session;
    struct dvit_error error;
    struct dvit_session_options options = {
        .keep = keep, .max_batch = IMAGES, .threads = threads, .cpu = cpu};
    memset(out, 0, sizeof *out);
    assert_ok(dvit_session_create(&session, model, &options, &error), &error);
    assert_ok(dvit_session_run(session, pixels, IMAGES, out->logits, &error), &error);
    for (int s = 0; s < dvit_session_stages(session); s++)
        for (int image = 0; image < IMAGES; image++) {
            int count;
            const int *kept = dvit_session_kept(session, image, s, &count);
            assert_int_equal(count, dvit_config_kept(&model->config, keep, s));
            for (int i = 0; i < count; i++)
                out->kept[s][image][kept[i]] = true;
        }
    dvit_session_free(session);
}

/* --- masked ------------------------------------------------------------------------------- */

struct masked {
    struct dvit_graph *graph;
    struct dvit_vit_values values;
    struct dvit_kernels kernels;
    struct dvit_products products;
    struct dvit_training training;
    struct dvit_threads *threads;
    float **parameters;
    float *noise[DVIT_MAX_STAGES], *targets;
    struct dvit_training_job job;
    atomic_int failure;
};

static void masked_member(void *context, int member, int members)
{
    struct masked *m = context;
    (void)members;
    dvit_training_forward(&m->job, member);
}

/* Noise that leaves no choice, where noise takes part: others decide alike by themselves. */
static void force(struct masked *m, const struct dvit_model *model,
                  bool kept[DVIT_MAX_STAGES][IMAGES][MAX_KEPT])
{
    int patches = dvit_config_patches(&model->config);
    for (int s = 0; s < model->config.stages && m->values.noise[s] != DVIT_NONE; s++) {
        m->noise[s] = malloc(sizeof(float) * 2 * (size_t)(IMAGES * patches));
        for (int i = 0; i < IMAGES * patches; i++) {
            float push = kept[s][i / patches][i % patches] ? 1e4f : -1e4f;
            m->noise[s][2 * i] = push;
            m->noise[s][2 * i + 1] = -push;
        }
        m->training.values[m->values.noise[s]] = m->noise[s];
    }
}

static void masked_open(struct masked *m, const struct dvit_model *model, const char *cpu,
                        int threads, float *pixels, bool kept[DVIT_MAX_STAGES][IMAGES][MAX_KEPT])
{
    struct dvit_error error;
    enum dvit_cpu level;
    struct dvit_vit_options options = {
        .training = true, .keep = model->config.keep, .weight_cls = 1};
    *m = (struct masked){0};
    assert_ok(dvit_cpu_parse(cpu, &level, &error), &error);
    dvit_kernels_select(&m->kernels, level);
    assert_ok(
        dvit_vit_build(&m->graph, &m->values, &model->config, &model->parameters, &options, &error),
        &error);
    assert_ok(dvit_training_mark(m->graph, &error), &error);
    assert_ok(dvit_products_create(&m->products, m->graph, level, threads, &error), &error);
    assert_ok(dvit_products_prepare(&m->products, m->graph, IMAGES, false, &error), &error);
    assert_ok(dvit_training_create(&m->training, m->graph, &m->kernels, &m->products, IMAGES,
                                   threads, &error),
              &error);
    assert_ok(dvit_threads_create(&m->threads, threads, &dvit_matmul_setting, &error), &error);
    m->parameters = malloc(model->parameters.count * sizeof *m->parameters);
    dvit_parameters_pointers(&model->parameters, model->weights, m->parameters);
    m->targets = calloc((size_t)(IMAGES * model->config.classes), sizeof(float));
    m->training.values[m->values.pixels] = pixels;
    m->training.values[m->values.targets] = m->targets;
    force(m, model, kept);
    dvit_training_begin(&m->training, IMAGES);
    m->job = (struct dvit_training_job){.training = &m->training,
                                        .parameters = (const float *const *)m->parameters,
                                        .images = IMAGES,
                                        .loss_scale = 1,
                                        .team = m->threads,
                                        .failure = &m->failure};
    dvit_threads_run(m->threads, masked_member, m);
    assert_int_equal(atomic_load(&m->failure), DVIT_OK);
}

static void masked_close(struct masked *m)
{
    for (int s = 0; s < DVIT_MAX_STAGES; s++)
        free(m->noise[s]);
    free(m->targets);
    free(m->parameters);
    dvit_threads_free(m->threads);
    dvit_training_free(&m->training);
    dvit_products_free(&m->products);
    dvit_graph_free(m->graph);
}

/* What the masked pass would answer if it were evaluated: both heads of a distilled model; of one
 * with an auxiliary head, the class token's and the maximum over the patches kept last. */
static void masked_logits(const struct masked *m, const struct dvit_model *model, float *out)
{
    const struct dvit_config *c = &model->config;
    int patches = dvit_config_patches(c), tokens = patches + dvit_config_prefix(c);
    const float *logits = m->training.values[m->values.logits];
    const float *policy = m->training.values[m->values.policy[c->stages - 1]];
    for (int i = 0; i < IMAGES * c->classes; i++) {
        int image = i / c->classes, k = i % c->classes;
        double highest = -INFINITY;
        out[i] = logits[i];
        if (c->distilled && !c->one_head)
            out[i] = (logits[i] + m->training.values[m->values.logits_distilled][i]) / 2;
        for (int n = 0; c->aux_head && n < patches; n++)
            if (policy[image * tokens + tokens - patches + n] > 0)
                highest = fmax(highest, m->training.values[m->values.patch_logits]
                                                          [(image * patches + n) * c->classes + k]);
        if (c->aux_head)
            out[i] = (float)(logits[i] + 0.5 * highest);
    }
}

/* Makes the running statistics of the model's batch norms those of this batch, so that training's
 * forward pass and inference norm alike. They do not depend on any decision. */
static void settle_statistics(const struct dvit_model *model, const char *cpu, float *pixels)
{
    static bool all[DVIT_MAX_STAGES][IMAGES][MAX_KEPT];
    struct masked m;
    memset(all, 1, sizeof all);
    masked_open(&m, model, cpu, 1, pixels, all);
    struct dvit_run run = dvit_training_view(&m.job, 0);
    for (int i = 0; i < m.graph->op_count; i++) {
        const struct dvit_op *op = &m.graph->ops[i];
        if (op->class == &dvit_op_batch_norm)
            dvit_batch_norm_moments(op, &run, m.parameters[op->is.batch_norm.statistics[0]],
                                    m.parameters[op->is.batch_norm.statistics[1]]);
    }
    masked_close(&m);
}

/* Queries, keys and values of all tokens in the last block, which computes only those it needs. */
static float *last_qkv(const struct masked *m, const struct dvit_model *model)
{
    const struct dvit_config *c = &model->config;
    char name[3][64];
    static const char *const parts[3] = {"norm1", "attn.qkv.weight", "attn.qkv.bias"};
    for (int i = 0; i < 3; i++)
        snprintf(name[i], sizeof name[i], "blocks.%d.%s", c->depth - 1, parts[i]);
    const float *x = m->training.values[dvit_graph_find(m->graph, name[0])];
    const float *weight = m->parameters[dvit_parameters_find(&model->parameters, name[1])];
    int bias = dvit_parameters_find(&model->parameters, name[2]);
    size_t rows = (size_t)(IMAGES * (dvit_config_patches(c) + dvit_config_prefix(c)));
    size_t width = (size_t)c->dim;
    float *qkv = malloc(rows * 3 * width * sizeof *qkv);
    assert_non_null(qkv);
    for (size_t row = 0; row < rows; row++)
        for (size_t k = 0; k < 3 * width; k++) {
            double sum = bias == DVIT_NONE ? 0 : m->parameters[bias][k];
            for (size_t i = 0; i < width; i++)
                sum += (double)x[row * width + i] * weight[k * width + i];
            qkv[row * 3 * width + k] = (float)sum;
        }
    return qkv;
}

/* How far the strongest dropped token's attention logit stands above the strongest kept one's, at
 * most, over all heads and queries of kept tokens in the last block. */
static double dominance(const struct masked *m, const struct dvit_model *model)
{
    const struct dvit_config *c = &model->config;
    float *qkv = last_qkv(m, model);
    const float *policy = m->training.values[m->values.policy[c->stages - 1]];
    int tokens = dvit_config_patches(c) + dvit_config_prefix(c), width = c->dim / c->heads;
    double most = -INFINITY;
    for (int image = 0; image < IMAGES; image++)
        for (int h = 0; h < c->heads; h++)
            for (int i = 0; i < tokens; i++) {
                double high[2] = {-INFINITY, -INFINITY}; /* dropped, kept */
                const float *rows = qkv + (size_t)(image * tokens * 3 * c->dim) + h * width;
                for (int j = 0; j < tokens; j++) {
                    double a = 0;
                    for (int d = 0; d < width; d++)
                        a += (double)rows[i * 3 * c->dim + d] * rows[j * 3 * c->dim + c->dim + d];
                    a /= sqrt(width);
                    int side = policy[image * tokens + j] > 0;
                    high[side] = fmax(high[side], a);
                }
                if (policy[image * tokens + i] > 0)
                    most = fmax(most, high[0] - high[1]);
            }
    free(qkv);
    return most;
}

static void masked_is_pruned(void **state)
{
    double widest = 0, worst = 0;
    for (size_t n = 0; n < sizeof shapes / sizeof *shapes; n++)
        for (uint64_t seed = 0; seed < 3; seed++) {
            const struct shape *shape = &shapes[n];
            struct dvit_model *model =
                random_model(shape->text, shape->stages, shape->keep, seed, shape->attention);
            float *pixels = random_pixels(model, IMAGES, seed);
            static struct pruned pruned;
            struct masked masked;
            int classes = model->config.classes, threads = 1 + (int)seed;
            float logits[IMAGES * 16];
            settle_statistics(model, cpu_level(state), pixels);
            run_session(model, cpu_level(state), shape->keep, threads, pixels, &pruned);
            masked_open(&masked, model, cpu_level(state), threads, pixels, pruned.kept);
            masked_logits(&masked, model, logits);
            for (int image = 0; image < IMAGES; image++) {
                double gap =
                    logit_gap(pruned.logits + image * classes, logits + image * classes, classes);
                if (!(gap <= tolerance))
                    fail_msg("shape %zu, seed %d, image %d: logits differ by %.2g of their spread",
                             n, (int)seed, image, gap);
                worst = fmax(worst, gap);
            }
            widest = fmax(widest, dominance(&masked, model));
            masked_close(&masked);
            free(pixels);
            dvit_model_free(model);
        }
    print_message("dropped tokens stand up to %.0f above kept ones; logits differ by %.1g\n",
                  widest, worst);
    assert_true(widest >= 50);
}

/* Different kept patches give different logits: the property above is not one of constants. */
static void other_decisions_are_other_logits(void **state)
{
    const struct shape *shape = &shapes[0];
    struct dvit_model *model = random_model(shape->text, shape->stages, shape->keep, 0, 1);
    float *pixels = random_pixels(model, IMAGES, 0);
    static struct pruned pruned;
    struct masked masked;
    run_session(model, cpu_level(state), shape->keep, 1, pixels, &pruned);
    bool *last = pruned.kept[2][0];
    int in = 0, out = 0;
    while (!last[in])
        in++;
    while (!pruned.kept[1][0][out] || last[out])
        out++;
    last[in] = false;
    last[out] = true;
    masked_open(&masked, model, cpu_level(state), 1, pixels, pruned.kept);
    const float *logits = masked.training.values[masked.values.logits];
    assert_true(logit_gap(pruned.logits, logits, 5) > 1e-2);
    assert_true(logit_gap(pruned.logits + 5, logits + 5, 5) < tolerance); /* the next image */
    masked_close(&masked);
    free(pixels);
    dvit_model_free(model);
}

/* The dense model with the backbone of `dynamic`. */
static struct dvit_model *backbone_of(const struct dvit_model *dynamic)
{
    struct dvit_config config = dynamic->config;
    struct dvit_model *dense;
    struct dvit_error error;
    config.stages = 0;
    config.keep = 1;
    assert_ok(dvit_model_create(&dense, &config, 99, &error), &error);
    for (size_t i = 0; i < dense->parameters.count; i++) {
        int from = dvit_parameters_find(&dynamic->parameters, dense->parameters.items[i].name);
        assert_true(from >= 0);
        memcpy(dvit_model_weights(dense, i), dvit_model_weights(dynamic, (size_t)from),
               dense->parameters.items[i].count * sizeof(float));
    }
    return dense;
}

static void keep_1_is_dense(void **state)
{
    for (size_t n = 0; n < sizeof shapes / sizeof *shapes; n++) {
        struct dvit_model *dynamic =
            random_model(shapes[n].text, shapes[n].stages, shapes[n].keep, n, 1);
        float *pixels = random_pixels(dynamic, IMAGES, n);
        settle_statistics(dynamic, cpu_level(state), pixels);
        struct dvit_model *dense = backbone_of(dynamic);
        static struct pruned a, b, pruned;
        int classes = dense->config.classes;
        for (int threads = 1; threads <= 3; threads++) {
            run_session(dynamic, cpu_level(state), 1.0, threads, pixels, &a);
            run_session(dense, cpu_level(state), 1.0, threads, pixels, &b);
            assert_memory_equal(a.logits, b.logits, sizeof(float) * (size_t)(IMAGES * classes));
        }
        run_session(dynamic, cpu_level(state), shapes[n].keep, 1, pixels, &pruned);
        assert_true(logit_gap(a.logits, pruned.logits, classes) > 1e-3);

        if (dynamic->config.pruning > DVIT_PRUNING_STATIC) { /* these cannot keep everything */
            free(pixels);
            dvit_model_free(dense);
            dvit_model_free(dynamic);
            continue;
        }
        struct masked masked; /* everything kept */
        static bool all[DVIT_MAX_STAGES][IMAGES][MAX_KEPT];
        memset(all, 1, sizeof all);
        masked_open(&masked, dynamic, cpu_level(state), 2, pixels, all);
        float logits[IMAGES * 16];
        masked_logits(&masked, dynamic, logits);
        for (int image = 0; image < IMAGES; image++)
            assert_true(logit_gap(a.logits + image * classes, logits + image * classes, classes) <
                        tolerance);
        masked_close(&masked);
        free(pixels);
        dvit_model_free(dense);
        dvit_model_free(dynamic);
    }
}

/* (2h·x + 2b + 0)/2 = h·x + b, also in floats. */
static void one_head_is_two_of_which_one_is_silent(void **state)
{
    struct dvit_model *one =
        random_model("vit:dim=32,depth=3,heads=2,patch=4,image=16,classes=5,distilled=1,one_head=1",
                     2, 0.6, 4, 1);
    struct dvit_model *two;
    struct dvit_error error;
    struct dvit_config config = one->config;
    config.one_head = false;
    assert_ok(dvit_model_create(&two, &config, 1, &error), &error);
    for (size_t i = 0; i < two->parameters.count; i++) {
        const struct dvit_parameter *item = &two->parameters.items[i];
        int same = dvit_parameters_find(&one->parameters, item->name);
        float *out = dvit_model_weights(two, i);
        for (size_t k = 0; k < item->count; k++)
            out[k] = same < 0 ? 0
                              : dvit_model_weights(one, (size_t)same)[k] *
                                    (item->group == DVIT_GROUP_HEAD ? 2 : 1);
    }
    float *pixels = random_pixels(one, IMAGES, 4);
    static struct pruned a, b;
    run_session(one, cpu_level(state), 0.6, 2, pixels, &a);
    run_session(two, cpu_level(state), 0.6, 2, pixels, &b);
    for (int image = 0; image < IMAGES; image++)
        assert_true(logit_gap(a.logits + 5 * image, b.logits + 5 * image, 5) < 1e-6);
    free(pixels);
    dvit_model_free(one);
    dvit_model_free(two);
}

int main(void)
{
    int failed = 0;
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        void *level = (void *)dvit_cpu_name((enum dvit_cpu)cpu);
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_prestate(masked_is_pruned, level),
            cmocka_unit_test_prestate(other_decisions_are_other_logits, level),
            cmocka_unit_test_prestate(keep_1_is_dense, level),
            cmocka_unit_test_prestate(one_head_is_two_of_which_one_is_silent, level),
        };
        failed += cmocka_run_group_tests_name((const char *)level, tests, NULL, NULL);
    }
    return failed != 0;
}
