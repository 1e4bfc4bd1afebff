/* The whole model against PyTorch: inference (dense and pruned), the masked training forward, every
 * loss term, every gradient. Goldens and their formulas: tests/golden/model/README.md. */
#include "golden.h"

#include "dvit/infer.h"
#include "graph/training.h"
#include "models/vit.h"

enum { IMAGES = 3, PATCHES = 12, TOKENS = 13, DIM = 24, STAGES = 3, CLASSES = 5 };
static const double tolerance = 1e-4; /* relative to each tensor's largest value */

static const char *cpu_level(void **state)
{
    return *state;
}

static void infer(const char *cpu, double keep, int threads, float *logits,
                  int kept[STAGES][IMAGES * PATCHES])
{
    struct dvit_error error;
    struct dvit_session *session = NULL;
    struct dvit_model *model = golden_model("tiny_student", STAGES);
    struct dvit_safetensors *file = golden_open("tiny_forward");
    float *pixels = golden_floats(file, "pixels", NULL);
    struct dvit_session_options options = {
        .keep = keep, .max_batch = IMAGES, .threads = threads, .cpu = cpu};
    if (dvit_session_create(&session, model, &options, &error) != DVIT_OK ||
        dvit_session_run(session, pixels, IMAGES, logits, &error) != DVIT_OK)
        fail_msg("%s", error.message);
    for (int s = 0; kept && s < STAGES; s++)
        for (int image = 0; image < IMAGES; image++) {
            int count;
            const int *own = dvit_session_kept(session, image, s, &count);
            for (int i = 0; i < count; i++)
                kept[s][image * count + i] = own[i];
        }
    dvit_session_free(session);
    free(pixels);
    dvit_safetensors_free(file);
    dvit_model_free(model);
}

static void dense_logits_are_pytorchs(void **state)
{
    float logits[IMAGES * CLASSES];
    struct dvit_safetensors *file = golden_open("tiny_forward");
    for (int threads = 1; threads <= 4; threads++) {
        infer(cpu_level(state), 1.0, threads, logits, NULL);
        golden_compare(file, "dense.logits", logits, IMAGES * CLASSES, tolerance);
    }
    dvit_safetensors_free(file);
}

static void pruned_logits_and_kept_are_pytorchs(void **state)
{
    float logits[IMAGES * CLASSES];
    int kept[STAGES][IMAGES * PATCHES];
    struct dvit_safetensors *file = golden_open("tiny_forward");
    for (int threads = 1; threads <= 4; threads++) {
        infer(cpu_level(state), 0.7, threads, logits, kept);
        golden_compare(file, "pruned.logits", logits, IMAGES * CLASSES, tolerance);
        for (int s = 0; s < STAGES; s++) {
            char name[64];
            int64_t expected[IMAGES * PATCHES];
            snprintf(name, sizeof name, "pruned.stage.%d.kept", s);
            const struct dvit_tensor_view *view = dvit_safetensors_find(file, name);
            assert_non_null(view);
            assert_int_equal(dvit_tensor_to_i64(view, expected, NULL), DVIT_OK);
            for (size_t i = 0; i < dvit_tensor_elements(view); i++)
                assert_int_equal(kept[s][i], expected[i]);
        }
    }
    dvit_safetensors_free(file);
}

/* A training graph on the golden batch, all inputs bound. */
struct bench {
    struct dvit_model *model;
    struct dvit_graph *graph;
    struct dvit_vit_values values;
    struct dvit_kernels kernels;
    struct dvit_products products;
    struct dvit_training training;
    struct dvit_threads *threads;
    float **parameters, **gradients, *gradient_data;
    struct dvit_safetensors *forward, *loss;
    float *owned[16];
    int owned_count;
    struct dvit_training_job job;
    atomic_int failure;
};

static float *own(struct bench *b, float *data)
{
    b->owned[b->owned_count++] = data;
    return data;
}

static void bench_open(struct bench *b, const char *cpu, int threads, bool on_batch_mean)
{
    struct dvit_error error = {0};
    enum dvit_cpu level;
    *b = (struct bench){.forward = golden_open("tiny_forward"), .loss = golden_open("tiny_loss")};
    b->model = golden_model("tiny_student", STAGES);
    size_t count = b->model->parameters.count;
    bool *trained = malloc(count * sizeof *trained);
    memset(trained, 1, count * sizeof *trained);
    struct dvit_vit_options options = {.training = true,
                                       .keep = 0.7,
                                       .trained = trained,
                                       .distill = true,
                                       .distill_tokens = true,
                                       .weight_cls = 1,
                                       .weight_ratio = 2,
                                       .weight_kl = .5,
                                       .weight_token = .5,
                                       .ratio_on_batch_mean = on_batch_mean,
                                       .lead_cap = DVIT_LEAD_CAP_TANGENT};
    assert_int_equal(dvit_cpu_parse(cpu, &level, &error), DVIT_OK);
    dvit_kernels_select(&b->kernels, level);
    if (dvit_vit_build(&b->graph, &b->values, &b->model->config, &b->model->parameters, &options,
                       &error) != DVIT_OK ||
        dvit_training_mark(b->graph, &error) != DVIT_OK ||
        dvit_products_create(&b->products, b->graph, level, threads, &error) != DVIT_OK ||
        dvit_products_prepare(&b->products, b->graph, 2, false, &error) != DVIT_OK ||
        dvit_products_prepare_batch(b->graph, IMAGES, &error) != DVIT_OK ||
        dvit_training_create(&b->training, b->graph, &b->kernels, &b->products, IMAGES, threads,
                             &error) != DVIT_OK ||
        dvit_threads_create(&b->threads, threads, &dvit_matmul_setting, &error) != DVIT_OK)
        fail_msg("%s", error.message);
    free(trained);
    b->parameters = malloc(count * sizeof *b->parameters);
    b->gradients = malloc(count * sizeof *b->gradients);
    b->gradient_data = calloc(b->model->parameters.floats, sizeof *b->gradient_data);
    dvit_parameters_pointers(&b->model->parameters, b->model->weights, b->parameters);
    dvit_parameters_pointers(&b->model->parameters, b->gradient_data, b->gradients);

    float **values = b->training.values;
    values[b->values.pixels] = own(b, golden_floats(b->forward, "pixels", NULL));
    values[b->values.targets] = own(b, golden_floats(b->loss, "targets", NULL));
    values[b->values.teacher_logits] = own(b, golden_floats(b->loss, "teacher.logits", NULL));
    values[b->values.teacher_tokens] = own(b, golden_floats(b->loss, "teacher.norm", NULL));
    float *noise = own(b, golden_floats(b->forward, "masked.noise", NULL));
    for (int s = 0; s < STAGES; s++)
        values[b->values.noise[s]] = noise + s * IMAGES * PATCHES * 2;
    dvit_training_begin(&b->training, IMAGES);
    b->job = (struct dvit_training_job){
        .training = &b->training,
        .parameters = (const float *const *)b->parameters,
        .parameter_gradients = b->gradients,
        .images = IMAGES,
        .loss_scale = 1.0,
        .team = b->threads,
        .failure = &b->failure,
    };
}

static void bench_member(void *context, int member, int count)
{
    struct bench *b = context;
    (void)count;
    dvit_training_run(&b->job, member);
}

static void bench_close(struct bench *b)
{
    for (int i = 0; i < b->owned_count; i++)
        free(b->owned[i]);
    free(b->parameters);
    free(b->gradients);
    free(b->gradient_data);
    dvit_threads_free(b->threads);
    dvit_training_free(&b->training);
    dvit_products_free(&b->products);
    dvit_graph_free(b->graph);
    dvit_model_free(b->model);
    dvit_safetensors_free(b->forward);
    dvit_safetensors_free(b->loss);
}

static const float *value(const struct bench *b, const char *name)
{
    int index = dvit_graph_find(b->graph, name);
    if (index == DVIT_NONE)
        fail_msg("no value \"%s\"", name);
    return b->training.values[index];
}

/* The rows of the last block that losses read: the class token's and those of the patches that the
 * last decision keeps, one after the other. */
static void compare_read_rows(const struct bench *b, const char *golden, const float *rows)
{
    const float *policy = b->training.values[b->values.policy[STAGES - 1]];
    float *expected = golden_floats(b->forward, golden, NULL);
    size_t read = 0;
    for (int i = 0; i < IMAGES * TOKENS; i++)
        if (policy[i] > 0)
            memmove(expected + read++ * DIM, expected + i * DIM, DIM * sizeof *expected);
    assert_true(read > IMAGES && read < IMAGES * TOKENS);
    assert_true(golden_error(rows, expected, read * DIM) <= tolerance);
    free(expected);
}

static void masked_forward_is_pytorchs(void **state)
{
    struct bench b;
    bench_open(&b, cpu_level(state), 2, false);
    dvit_threads_run(b.threads, bench_member, &b);
    assert_int_equal(atomic_load(&b.failure), DVIT_OK);
    for (int s = 0; s < STAGES; s++) {
        char name[64];
        float decision[IMAGES * PATCHES];
        const float *policy = b.training.values[b.values.policy[s]];
        for (int i = 0; i < IMAGES * PATCHES; i++)
            decision[i] = policy[i / PATCHES * TOKENS + 1 + i % PATCHES];
        snprintf(name, sizeof name, "masked.stage.%d.decision", s);
        golden_compare(b.forward, name, decision, IMAGES * PATCHES, 0);
        snprintf(name, sizeof name, "masked.stage.%d.log_p", s);
        struct dvit_builder look = {.graph = b.graph};
        int log_p = dvit_build_output(&look, b.values.policy[s], 1);
        golden_compare(b.forward, name, b.training.values[log_p], IMAGES * PATCHES * 2, tolerance);
    }
    for (int i = 0; i < 3; i++) {
        char name[64], golden[64];
        snprintf(name, sizeof name, "blocks.%d.mlp.fc2", i);
        snprintf(golden, sizeof golden, "masked.block.%d.output", i);
        golden_compare(b.forward, golden, value(&b, name), IMAGES * TOKENS * DIM, tolerance);
    }
    compare_read_rows(&b, "masked.block.3.output", value(&b, "blocks.3.mlp.fc2"));
    compare_read_rows(&b, "masked.norm", value(&b, "norm"));
    golden_compare(b.forward, "masked.logits", value(&b, "head"), IMAGES * CLASSES, tolerance);
    bench_close(&b);
}

static double loss_value(const struct bench *b, int op)
{
    struct dvit_run run = dvit_training_view(&b->job, 0);
    return dvit_loss_value(&b->graph->ops[op], &run);
}

static void compare_scalar(const struct dvit_safetensors *file, const char *name, double got)
{
    float single = (float)got;
    golden_compare(file, name, &single, 1, tolerance);
}

static void losses_and_gradients_are_pytorchs(void **state)
{
    for (int threads = 1; threads <= 4; threads++) {
        struct bench b;
        bench_open(&b, cpu_level(state), threads, false);
        dvit_threads_run(b.threads, bench_member, &b);
        assert_int_equal(atomic_load(&b.failure), DVIT_OK);
        double ratio = 0;
        for (int s = 0; s < STAGES; s++)
            ratio += loss_value(&b, b.values.loss_ratio[s]) / STAGES;
        compare_scalar(b.loss, "loss.cls", loss_value(&b, b.values.loss_cls));
        compare_scalar(b.loss, "loss.ratio", ratio);
        compare_scalar(b.loss, "loss.kl", loss_value(&b, b.values.loss_kl));
        compare_scalar(b.loss, "loss.token", loss_value(&b, b.values.loss_token));
        for (size_t i = 0; i < b.model->parameters.count; i++) {
            const struct dvit_parameter *item = &b.model->parameters.items[i];
            char name[96];
            snprintf(name, sizeof name, "grad.%s", item->name);
            golden_compare(b.loss, name, b.gradients[i], item->count, tolerance);
        }
        bench_close(&b);
    }
}

static void ratio_on_batch_mean_is_pytorchs(void **state)
{
    struct bench b;
    bench_open(&b, cpu_level(state), 2, true);
    dvit_threads_run(b.threads, bench_member, &b);
    double ratio = 0;
    for (int s = 0; s < STAGES; s++)
        ratio += loss_value(&b, b.values.loss_ratio[s]) / STAGES;
    compare_scalar(b.loss, "loss.ratio_batch_mean", ratio);
    bench_close(&b);
}

static struct dvit_attention_rows packed_rows(const float *qkv, size_t width, size_t tokens)
{
    return (struct dvit_attention_rows){.q = qkv,
                                        .k = qkv + width,
                                        .v = qkv + 2 * width,
                                        .q_stride = 3 * width,
                                        .kv_stride = 3 * width,
                                        .queries = tokens};
}

/* Masked attention where dropped keys lead by up to 50: output and gradients, each element against
 * its own size, for the policy spans seven orders of magnitude. */
static void attention_at_large_gaps_is_pytorchs(void **state)
{
    enum { BATCH = 2, KEYS = 7, WIDTH = 16 };
    struct dvit_error error;
    struct dvit_kernels kernels;
    enum dvit_cpu level;
    int64_t heads[1];
    struct dvit_safetensors *file = golden_open("tiny_gap");
    assert_int_equal(dvit_tensor_to_i64(dvit_safetensors_find(file, "heads"), heads, NULL), 0);
    float *policy = golden_floats(file, "policy", NULL);
    float *dout = golden_floats(file, "grad.output", NULL);
    float *qkv = golden_floats(file, "gap.qkv", NULL);
    float *dpolicy_expected = golden_floats(file, "gap.grad.policy", NULL);
    float out[BATCH * KEYS * WIDTH], dqkv[BATCH * KEYS * 3 * WIDTH], dpolicy[BATCH * KEYS] = {0};
    assert_int_equal(dvit_cpu_parse(cpu_level(state), &level, &error), DVIT_OK);
    dvit_kernels_select(&kernels, level);
    struct dvit_attention_shape shape = {.tokens = KEYS,
                                         .heads = (int)heads[0],
                                         .head_dim = WIDTH / (int)heads[0],
                                         .lead_cap = DVIT_LEAD_CAP_TANGENT};
    shape.scale = 1.0f / sqrtf((float)shape.head_dim);
    size_t bytes = kernels.attention_scratch(&shape) * sizeof(float);
    float *scratch = aligned_alloc(64, (bytes + 63) / 64 * 64);
    for (int b = 0; b < BATCH; b++) {
        size_t row = (size_t)(b * KEYS);
        struct dvit_attention_rows x = packed_rows(qkv + row * 3 * WIDTH, WIDTH, KEYS);
        kernels.attention_masked(out + row * WIDTH, &x, policy + row, &shape, scratch);
        float *dq = dqkv + row * 3 * WIDTH;
        kernels.attention_masked_backward(dq, dq + WIDTH, dq + 2 * WIDTH, dpolicy + row,
                                          dout + row * WIDTH, out + row * WIDTH, &x, policy + row,
                                          &shape, scratch);
    }
    golden_compare(file, "gap.output", out, BATCH * KEYS * WIDTH, tolerance);
    golden_compare(file, "gap.grad.qkv", dqkv, BATCH * KEYS * 3 * WIDTH, tolerance);
    for (int i = 0; i < BATCH * KEYS; i++)
        if (fabs((double)dpolicy[i] - dpolicy_expected[i]) >
            tolerance * (fabs((double)dpolicy_expected[i]) + 1e-3))
            fail_msg("policy gradient %d is %g, expected %g", i, (double)dpolicy[i],
                     (double)dpolicy_expected[i]);

    /* With the cap at 0 a leading dropped key counts for what the strongest kept one does. */
    double largest = 0;
    shape.lead_cap = 0;
    memset(dpolicy, 0, sizeof dpolicy);
    for (int b = 0; b < BATCH; b++) {
        size_t row = (size_t)(b * KEYS);
        struct dvit_attention_rows x = packed_rows(qkv + row * 3 * WIDTH, WIDTH, KEYS);
        float *dq = dqkv + row * 3 * WIDTH;
        kernels.attention_masked_backward(dq, dq + WIDTH, dq + 2 * WIDTH, dpolicy + row,
                                          dout + row * WIDTH, out + row * WIDTH, &x, policy + row,
                                          &shape, scratch);
    }
    golden_compare(file, "gap.grad.qkv", dqkv, BATCH * KEYS * 3 * WIDTH, tolerance);
    for (int i = 0; i < BATCH * KEYS; i++)
        largest = fmax(largest, fabs((double)dpolicy[i]));
    assert_true(largest < 1e3);
    free(scratch);
    free(policy);
    free(dout);
    free(qkv);
    free(dpolicy_expected);
    dvit_safetensors_free(file);
}

int main(void)
{
    int failed = 0;
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        void *level = (void *)dvit_cpu_name((enum dvit_cpu)cpu);
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_prestate(dense_logits_are_pytorchs, level),
            cmocka_unit_test_prestate(pruned_logits_and_kept_are_pytorchs, level),
            cmocka_unit_test_prestate(masked_forward_is_pytorchs, level),
            cmocka_unit_test_prestate(losses_and_gradients_are_pytorchs, level),
            cmocka_unit_test_prestate(ratio_on_batch_mean_is_pytorchs, level),
            cmocka_unit_test_prestate(attention_at_large_gaps_is_pytorchs, level),
        };
        failed += cmocka_run_group_tests_name((const char *)level, tests, NULL, NULL);
    }
    return failed != 0;
}
