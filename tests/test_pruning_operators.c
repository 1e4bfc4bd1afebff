/* What prunes, operator by operator: gradients against differences, and scores and pooling against
 * their definitions, for one member and for teams that split an image. Selection itself is in
 * test_operators.c and test_operators_exact.c. */
#include "gradient_check.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "forward_walk.h"
#include "test_util.h"

enum { C = 8 };

/* --- gradients ---------------------------------------------------------------------------- */

static void build_places(struct check *c)
{
    struct dvit_op op = check_no_operands;
    op.class = &dvit_op_place_scores;
    op.parameters[0] = check_parameter(c, 2 * (size_t)c->patches);
    check_weigh(c, dvit_build_op(&c->builder, "places", &op));
}

static void build_pool_of(struct check *c, int width, int height, int step)
{
    struct dvit_op op = check_no_operands;
    op.class = &dvit_op_pool_patches;
    op.is.pool.width = width;
    op.is.pool.height = height;
    op.is.pool.step = step;
    op.inputs[0] = check_input(c, DVIT_ROWS_TOKENS, C, FILL_FREE);
    check_weigh(c, dvit_build_op(&c->builder, "pool", &op));
}

static void build_pool(struct check *c)
{
    build_pool_of(c, 4, 2, 1);
}

static void build_pool_again(struct check *c)
{
    build_pool_of(c, 4, 8, 2);
}

static const struct check_case cases[] = {
    {.name = "place scores", .patches = 5, .build = build_places},
    {.name = "pool", .patches = 8, .build = build_pool},
    {.name = "pool of pools", .patches = 32, .build = build_pool_again, .more_prefix = 1},
};

static void gradients_are_differences(void **state)
{
    (void)state;
    check_cases_run(cases, sizeof cases / sizeof *cases);
}

/* --- an inference graph run by a team that splits images ------------------------------------ */

enum { PATCHES = 16, IMAGES = 3, HEADS = 2, WIDTH = 4, PIXELS = 12 };

static void fill(float *values, size_t count, uint32_t stream)
{
    struct dvit_rng rng = dvit_rng_stream(5, DVIT_RNG_TEST, 0, stream);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)dvit_rng_normal(&rng);
}

static int append_select(struct walk *w, int scores, int tokens)
{
    struct dvit_op op = check_no_operands;
    op.class = &dvit_op_select;
    op.inputs[0] = scores;
    op.inputs[3] = tokens;
    int out = dvit_build_op(&w->builder, "select", &op);
    dvit_build_keep(&w->builder, out);
    dvit_build_keep(&w->builder, scores);
    return out;
}

/* Two stages of scores by places, or by chance. */
static int append_stage(struct walk *w, const struct dvit_op_class *class, int pixels, int stage,
                        int *scores, int tokens)
{
    struct dvit_op op = check_no_operands;
    op.class = class;
    op.inputs[0] = pixels;
    op.parameters[0] = pixels == DVIT_NONE ? 0 : DVIT_NONE;
    op.is.scores.stage = stage;
    op.is.scores.seed = (uint64_t)stage;
    *scores = dvit_build_op(&w->builder, "scores", &op);
    return append_select(w, *scores, tokens);
}

/* --- places --------------------------------------------------------------------------------- */

/* After a selection a patch has the score of the place where it was at first. */
static void places_stay_with_their_patches(void **state)
{
    static const int kept[2] = {9, 4};
    float table[2 * PATCHES], tokens[IMAGES * (PATCHES + 1)];
    const float *parameters[1] = {table};
    (void)state;
    fill(table, 2 * PATCHES, 0);
    fill(tokens, sizeof tokens / sizeof *tokens, 1);
    for (int members = 1; members <= 3; members++) {
        struct walk w;
        int scores[2];
        walk_open(&w, PATCHES, 1, 2, kept);
        int x = dvit_build_input(&w.builder, "tokens", DVIT_ROWS_TOKENS, 1), first = x;
        for (int s = 0; s < 2; s++)
            x = append_stage(&w, &dvit_op_place_scores, DVIT_NONE, s, &scores[s], x);
        walk_plan(&w, IMAGES, members);
        w.forward.values[first] = tokens;
        w.job.parameters = parameters;
        dvit_threads_run(w.threads, walk_member, &w);
        for (int i = 0; i < IMAGES * 2 * PATCHES; i++)
            assert_true(w.forward.values[scores[0]][i] == 32 * table[i % (2 * PATCHES)]);
        for (int i = 0; i < IMAGES * kept[0]; i++)
            for (int side = 0; side < 2; side++)
                assert_true(w.forward.values[scores[1]][2 * i + side] ==
                            32 * table[2 * w.forward.kept[0][i] + side]);
        for (int s = 0; s < 2; s++) /* all images lose the same places */
            for (int i = kept[s]; i < IMAGES * kept[s]; i++)
                assert_int_equal(w.forward.kept[s][i], w.forward.kept[s][i - kept[s]]);
        walk_close(&w);
    }
}

/* --- chance --------------------------------------------------------------------------------- */

/* Runs two random stages on `count` images; kept: [2][count · kept[s]]. */
static void run_random(const float *pixels, int count, int members, int *first_kept,
                       int *second_kept)
{
    static const int kept[2] = {9, 4};
    static float tokens[64 * (PATCHES + 1)];
    struct walk w;
    int scores;
    walk_open(&w, PATCHES, 1, 2, kept);
    int input = dvit_build_input(&w.builder, "pixels", DVIT_ROWS_IMAGES, PIXELS);
    int x = dvit_build_input(&w.builder, "tokens", DVIT_ROWS_TOKENS, 1), first = x;
    for (int s = 0; s < 2; s++)
        x = append_stage(&w, &dvit_op_random_scores, input, s, &scores, x);
    walk_plan(&w, count, members);
    w.forward.values[input] = (float *)pixels;
    w.forward.values[first] = tokens;
    dvit_threads_run(w.threads, walk_member, &w);
    memcpy(first_kept, w.forward.kept[0], sizeof(int) * (size_t)(count * kept[0]));
    memcpy(second_kept, w.forward.kept[1], sizeof(int) * (size_t)(count * kept[1]));
    walk_close(&w);
}

static void chance_is_the_images_own(void **state)
{
    enum { MANY = 64 };
    float pixels[MANY * PIXELS];
    int first[MANY * 9], second[MANY * 4], alone[9], alone_second[4], counts[PATCHES] = {0};
    (void)state;
    fill(pixels, MANY * PIXELS, 2);
    run_random(pixels, MANY, 1, first, second);
    for (int image = 0; image < MANY; image++) {
        run_random(pixels + image * PIXELS, 1, 1 + image % 3, alone, alone_second);
        assert_memory_equal(alone, first + image * 9, sizeof alone);
        assert_memory_equal(alone_second, second + image * 4, sizeof alone_second);
        for (int i = 0; i < 9; i++)
            counts[alone[i]]++;
        if (image)
            assert_memory_not_equal(alone, first + (image - 1) * 9, sizeof alone);
    }
    for (int n = 0; n < PATCHES; n++) /* 36 expected, deviation 4 */
        assert_true(counts[n] > 18 && counts[n] < 54);
    int before = first[0];
    pixels[3] += 1e-3f; /* the least change draws anew */
    run_random(pixels, 1, 1, alone, alone_second);
    assert_true(memcmp(alone, first, sizeof alone) != 0 || before != alone[0]);
}

/* --- the class token's attention -------------------------------------------------------------- */

static double attention_of(const float *qkv, const float *policy, int token)
{
    double mean = 0;
    for (int h = 0; h < HEADS; h++) {
        double sum = 0, own = 0;
        for (int j = 0; j <= PATCHES; j++) {
            double a = 0;
            for (int d = 0; d < WIDTH / HEADS; d++)
                a += (double)qkv[h * (WIDTH / HEADS) + d] *
                     qkv[j * 3 * WIDTH + WIDTH + h * (WIDTH / HEADS) + d];
            double e = (policy && policy[j] == 0 ? 0 : 1) * exp(a / sqrt((double)WIDTH / HEADS));
            sum += e;
            own = j == token ? e : own;
        }
        mean += own / sum / HEADS;
    }
    return mean;
}

static void attention_is_the_class_tokens(void **state)
{
    float qkv[IMAGES * (PATCHES + 1) * 3 * WIDTH], policy[IMAGES * (PATCHES + 1)];
    (void)state;
    fill(qkv, sizeof qkv / sizeof *qkv, 3);
    for (int i = 0; i < IMAGES * (PATCHES + 1); i++)
        policy[i] = i % (PATCHES + 1) == 0 || i % 3 ? 1.0f : 0.0f;
    for (int variant = 0; variant < 6; variant++) {
        struct walk w;
        struct dvit_op op = check_no_operands;
        bool masked = variant % 2;
        walk_open(&w, PATCHES, 1, 0, NULL);
        op.class = &dvit_op_class_scores;
        op.inputs[0] = dvit_build_input(&w.builder, "qkv", DVIT_ROWS_TOKENS, 3 * WIDTH);
        if (masked)
            op.inputs[1] = dvit_build_input(&w.builder, "policy", DVIT_ROWS_TOKENS, 1);
        op.is.attention.heads = HEADS;
        int out = dvit_build_op(&w.builder, "scores", &op);
        assert_true(w.graph->ops[0].class->macs(w.graph, &w.graph->ops[0]) ==
                    (PATCHES + 1) * WIDTH);
        walk_plan(&w, IMAGES, 1 + variant / 2);
        w.forward.values[op.inputs[0]] = qkv;
        if (masked)
            w.forward.values[op.inputs[1]] = policy;
        dvit_threads_run(w.threads, walk_member, &w);
        for (int n = 0; n < IMAGES * PATCHES; n++) {
            int image = n / PATCHES, token = 1 + n % PATCHES;
            const float *own = policy + image * (PATCHES + 1);
            double expected =
                attention_of(qkv + image * (PATCHES + 1) * 3 * WIDTH, masked ? own : NULL, token);
            double got = exp(w.forward.values[out][2 * n]);
            assert_true(fabs(got - expected) <= 1e-6 && w.forward.values[out][2 * n + 1] == 0);
            assert_true(!masked || own[token] > 0 || got < 1e-30);
        }
        walk_close(&w);
    }
}

/* A ranking has no gradient: none reaches q and k, and the policy has none. */
static void rankings_have_no_gradient(void **state)
{
    struct dvit_graph_options options = {.training = true, .patches = PATCHES, .prefix = 1};
    struct dvit_error error;
    struct dvit_graph *graph;
    (void)state;
    assert_ok(dvit_graph_create(&graph, &options, &error), &error);
    struct dvit_builder builder = {.graph = graph, .error = &error};
    struct dvit_op op = check_no_operands, select = check_no_operands;
    op.class = &dvit_op_class_scores;
    op.inputs[0] = dvit_build_input(&builder, "qkv", DVIT_ROWS_TOKENS, 3 * WIDTH);
    graph->values[op.inputs[0]].gradient = true;
    op.is.attention.heads = HEADS;
    select.class = &dvit_op_select;
    select.is.select.ranked = true;
    select.inputs[0] = dvit_build_op(&builder, "scores", &op); /* without noise */
    int policy = dvit_build_op(&builder, "select", &select);
    assert_ok(builder.status, &error);
    assert_false(graph->values[select.inputs[0]].gradient);
    assert_false(graph->values[policy].gradient);
    dvit_graph_free(graph);
}

/* --- pooling ---------------------------------------------------------------------------------- */

/* Two poolings of 4 × 4 patches: 4 means, then the mean of all, and the places of their firsts. */
static void pooling_is_the_mean_of_neighbours(void **state)
{
    static const int kept[2] = {4, 1}, firsts[4] = {0, 2, 8, 10};
    float tokens[IMAGES * (PATCHES + 1) * 2];
    (void)state;
    fill(tokens, sizeof tokens / sizeof *tokens, 4);
    for (int members = 1; members <= 3; members++) {
        struct walk w;
        int out[2];
        walk_open(&w, PATCHES, 1, 2, kept);
        int x = dvit_build_input(&w.builder, "tokens", DVIT_ROWS_TOKENS, 2), first = x;
        for (int s = 0; s < 2; s++) {
            struct dvit_op op = check_no_operands;
            op.class = &dvit_op_pool_patches;
            op.inputs[0] = x;
            op.is.pool.width = op.is.pool.height = 4;
            op.is.pool.step = 1 << s;
            x = out[s] = dvit_build_op(&w.builder, "pool", &op);
            dvit_build_keep(&w.builder, x);
        }
        walk_plan(&w, IMAGES, members);
        w.forward.values[first] = tokens;
        dvit_threads_run(w.threads, walk_member, &w);
        for (int image = 0; image < IMAGES; image++) {
            const float *from = tokens + image * (PATCHES + 1) * 2;
            const float *once = w.forward.values[out[0]] + image * 5 * 2;
            const float *twice = w.forward.values[out[1]] + image * 2 * 2;
            assert_true(once[0] == from[0] && twice[1] == from[1]);
            double all = 0;
            for (int b = 0; b < 4; b++) {
                double sum = 0;
                for (int i = 0; i < 4; i++)
                    sum += from[2 * (1 + firsts[b] + i % 2 + i / 2 * 4)];
                assert_true(fabs(once[2 * (1 + b)] - sum / 4) < 1e-6);
                assert_int_equal(w.forward.kept[0][image * 4 + b], firsts[b]);
                all += sum / 16;
            }
            assert_true(fabs(twice[2] - all) < 1e-6);
            assert_int_equal(w.forward.kept[1][image], 0);
        }
        walk_close(&w);
    }
}

static void grids_that_do_not_fit_are_refused(void **state)
{
    static const int bad[][3] = {{4, 3, 1}, {16, 1, 1}, {2, 8, 2}, {8, 4, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct walk w;
        struct dvit_op op = check_no_operands;
        walk_open(&w, PATCHES, 1, 1, (int[]){4});
        op.class = &dvit_op_pool_patches;
        op.inputs[0] = dvit_build_input(&w.builder, "tokens", DVIT_ROWS_TOKENS, 2);
        op.is.pool.width = bad[i][0];
        op.is.pool.height = bad[i][1];
        op.is.pool.step = bad[i][2];
        dvit_build_op(&w.builder, "pool", &op);
        assert_int_equal(w.builder.status, DVIT_ERROR_MISMATCH);
        assert_non_null(strstr(w.error.message, "patches"));
        walk_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_differences),
        cmocka_unit_test(places_stay_with_their_patches),
        cmocka_unit_test(chance_is_the_images_own),
        cmocka_unit_test(attention_is_the_class_tokens),
        cmocka_unit_test(rankings_have_no_gradient),
        cmocka_unit_test(pooling_is_the_mean_of_neighbours),
        cmocka_unit_test(grids_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
