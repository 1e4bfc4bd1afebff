/* Operators exactly: patchify, selection in inference against its definition, shapes that do not
 * fit, and how work is shared. Gradients are test_operators.c. */
#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "forward_walk.h"
#include "test_util.h"

static const struct dvit_op no_operands = {.inputs = {DVIT_NONE, DVIT_NONE, DVIT_NONE, DVIT_NONE},
                                           .parameters = {DVIT_NONE, DVIT_NONE, DVIT_NONE}};

/* 3 × 2 patches of 4 pixels; a pixel's number says where it is. */
static void patchify_is_exact(void **state)
{
    enum { P = 4, GW = 3, GH = 2, W = P * GW, H = P * GH, IMAGES = 2 };
    float pixels[IMAGES * 3 * H * W];
    (void)state;
    for (int i = 0; i < IMAGES * 3 * H * W; i++)
        pixels[i] = (float)i;
    for (int members = 1; members <= 3; members++) {
        struct walk w;
        walk_open(&w, GW * GH, 0, 0, NULL);
        struct dvit_op op = no_operands;
        op.class = &dvit_op_patchify;
        op.inputs[0] = dvit_build_input(&w.builder, "pixels", DVIT_ROWS_IMAGES, 3 * W * H);
        op.is.patchify.patch = P;
        op.is.patchify.image_width = W;
        op.is.patchify.image_height = H;
        int out = dvit_build_op(&w.builder, "patches", &op);
        walk_plan(&w, IMAGES, members);
        w.forward.values[op.inputs[0]] = pixels;
        dvit_threads_run(w.threads, walk_member, &w);
        const float *got = w.forward.values[out];
        for (int image = 0; image < IMAGES; image++)
            for (int n = 0; n < GW * GH; n++)
                for (int k = 0; k < 3 * P * P; k++) {
                    int channel = k / (P * P), y = n / GW * P + k / P % P, x = n % GW * P + k % P;
                    assert_true(*got++ == (float)(((image * 3 + channel) * H + y) * W + x));
                }
        walk_close(&w);
    }
}

enum { PATCHES = 40, SELECT_IMAGES = 3 };
static const int select_kept[2] = {23, 7};

/* Few distinct scores, so that ties are everywhere; sometimes not numbers at all. */
static void fill_scores(float *scores, size_t count, uint32_t seed)
{
    struct dvit_rng rng = dvit_rng_stream(3, DVIT_RNG_TEST, 0, seed);
    uint32_t levels = 1 + seed % 9;
    for (size_t i = 0; i < count; i++) {
        scores[i] = (float)dvit_rng_below(&rng, levels);
        if (seed % 3 == 2 && dvit_rng_below(&rng, 6) == 0)
            scores[i] = dvit_rng_below(&rng, 2) ? NAN : INFINITY;
    }
}

/* The definition: `kept` times, the first of the largest margins; then in ascending order. */
static void choose_slowly(int *places, const float *scores, int patches, int kept)
{
    bool taken[PATCHES] = {false};
    for (int k = 0; k < kept; k++) {
        int best = -1;
        double best_margin = 0;
        for (int n = 0; n < patches; n++) {
            double margin = (double)scores[2 * n] - scores[2 * n + 1];
            margin = isnan(margin) ? -INFINITY : margin;
            if (!taken[n] && (best < 0 || margin > best_margin)) {
                best = n;
                best_margin = margin;
            }
        }
        taken[best] = true;
    }
    for (int n = 0, k = 0; n < patches; n++)
        if (taken[n])
            places[k++] = n;
}

/* Tokens hold their own index in the original grid; class tokens hold −1. */
static void expect_selection(const struct walk *w, const int *outputs,
                             float scores[2][SELECT_IMAGES * PATCHES * 2])
{
    for (int image = 0; image < SELECT_IMAGES; image++) {
        int origin[PATCHES], patches = PATCHES;
        for (int n = 0; n < PATCHES; n++)
            origin[n] = n;
        for (int stage = 0; stage < 2; stage++) {
            int places[PATCHES], kept = select_kept[stage];
            choose_slowly(places, scores[stage] + image * patches * 2, patches, kept);
            const float *rows = w->forward.values[outputs[stage]] + image * (kept + 1) * 2;
            assert_true(rows[0] == -1.0f && rows[1] == (float)image);
            for (int i = 0; i < kept; i++) {
                origin[i] = origin[places[i]];
                assert_int_equal(w->forward.kept[stage][image * kept + i], origin[i]);
                assert_true(rows[2 * (i + 1)] == (float)origin[i]);
                assert_true(rows[2 * (i + 1) + 1] == (float)image);
            }
            patches = kept;
        }
    }
}

static void selection_is_the_definitions(void **state)
{
    static float scores[2][SELECT_IMAGES * PATCHES * 2], tokens[SELECT_IMAGES * (PATCHES + 1) * 2];
    (void)state;
    for (int i = 0; i < SELECT_IMAGES * (PATCHES + 1); i++) {
        tokens[2 * i] = (float)(i % (PATCHES + 1) - 1);
        tokens[2 * i + 1] = (float)(i / (PATCHES + 1));
    }
    for (uint32_t seed = 0; seed < 300; seed++) {
        struct walk w;
        int inputs[2], outputs[2];
        walk_open(&w, PATCHES, 0, 2, select_kept);
        int x = dvit_build_input(&w.builder, "tokens", DVIT_ROWS_TOKENS, 2), first = x;
        for (int stage = 0; stage < 2; stage++) {
            struct dvit_op op = no_operands;
            op.class = &dvit_op_select;
            inputs[stage] = dvit_build_input(&w.builder, "scores", DVIT_ROWS_PATCHES, 2);
            w.graph->values[inputs[stage]].stage = stage;
            op.inputs[0] = inputs[stage];
            op.inputs[3] = x;
            x = outputs[stage] = dvit_build_op(&w.builder, "select", &op);
            dvit_build_keep(&w.builder, x);
            fill_scores(scores[stage], sizeof scores[stage] / sizeof(float),
                        2 * seed + (uint32_t)stage);
        }
        walk_plan(&w, SELECT_IMAGES, 1 + (int)(seed % 3));
        w.forward.values[first] = tokens;
        w.forward.values[inputs[0]] = scores[0];
        w.forward.values[inputs[1]] = scores[1];
        dvit_threads_run(w.threads, walk_member, &w);
        expect_selection(&w, outputs, scores);
        walk_close(&w);
    }
}

/* --- shapes that do not fit --------------------------------------------------------------- */

static void refuse(const struct dvit_op *op, enum dvit_status code, const char *part)
{
    struct walk w;
    walk_open(&w, 4, 0, 0, NULL);
    w.graph->training = true;
    int tokens = dvit_build_input(&w.builder, "tokens", DVIT_ROWS_TOKENS, 9);
    int patches = dvit_build_input(&w.builder, "patches", DVIT_ROWS_PATCHES, 9);
    int images = dvit_build_input(&w.builder, "images", DVIT_ROWS_IMAGES, 9);
    assert_true(tokens == 0 && patches == 1 && images == 2);
    dvit_build_op(&w.builder, "the operator", op);
    if (w.builder.status != code || w.error.status != code || !strstr(w.error.message, part))
        fail_msg("%s (%s), expected %s and \"%s\"", w.error.message,
                 dvit_status_name(w.builder.status), dvit_status_name(code), part);
    /* What follows a failure is passed over, and the first message stays. */
    assert_int_equal(dvit_build_op(&w.builder, "another", op), DVIT_NONE);
    assert_int_equal(dvit_build_input(&w.builder, "input", DVIT_ROWS_IMAGES, 1), DVIT_NONE);
    dvit_graph_free(w.graph);
}

static void shapes_that_do_not_fit_are_refused(void **state)
{
    enum { TOKENS, OF_PATCHES, IMAGES };
    (void)state;
    const struct {
        const struct dvit_op_class *class;
        int inputs[4];
        enum dvit_status code;
        const char *part;
    } bad[] = {
        {&dvit_op_embed, {TOKENS, -1, -1, -1}, DVIT_ERROR_MISMATCH, "the operator"},
        {&dvit_op_patch_norm, {IMAGES, -1, -1, -1}, DVIT_ERROR_MISMATCH, "tokens"},
        {&dvit_op_attention, {TOKENS, -1, -1, -1}, DVIT_ERROR_MISMATCH, "width 9 is not 3 × 2"},
        {&dvit_op_attention, {OF_PATCHES, -1, -1, -1}, DVIT_ERROR_MISMATCH, "patches"},
        {&dvit_op_kept_mean, {OF_PATCHES, -1, -1, -1}, DVIT_ERROR_MISMATCH, "width 9 is odd"},
        {&dvit_op_select, {OF_PATCHES, -1, OF_PATCHES, -1}, DVIT_ERROR_MISMATCH, "2"},
        {&dvit_op_token, {IMAGES, -1, -1, -1}, DVIT_ERROR_MISMATCH, "tokens"},
        {&dvit_op_mean_pool, {OF_PATCHES, -1, -1, -1}, DVIT_ERROR_MISMATCH, "tokens"},
        {&dvit_op_average, {IMAGES, TOKENS, -1, -1}, DVIT_ERROR_MISMATCH, "images"},
        {&dvit_op_aux_max, {IMAGES, TOKENS, -1, -1}, DVIT_ERROR_MISMATCH, "patches"},
        {&dvit_op_layer_scale, {TOKENS, OF_PATCHES, -1, -1}, DVIT_ERROR_MISMATCH, "tokens"},
        {&dvit_op_loss_ratio, {TOKENS, -1, -1, -1}, DVIT_ERROR_MISMATCH, "the operator"},
        {&dvit_op_loss_token, {TOKENS, OF_PATCHES, -1, -1}, DVIT_ERROR_MISMATCH, "patches"},
        {&dvit_op_loss_distill, {IMAGES, TOKENS, -1, -1}, DVIT_ERROR_MISMATCH, "images"},
        {&dvit_op_loss_cross_entropy, {TOKENS, IMAGES, -1, -1}, DVIT_ERROR_MISMATCH, "images"},
        {&dvit_op_patchify, {IMAGES, -1, -1, -1}, DVIT_ERROR_MISMATCH, "the operator"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dvit_op op = no_operands;
        op.class = bad[i].class;
        memcpy(op.inputs, bad[i].inputs, sizeof op.inputs);
        if (op.class == &dvit_op_attention)
            op.is.attention.heads = 2;
        if (op.class == &dvit_op_patchify)
            op.is.patchify.patch = op.is.patchify.image_width = op.is.patchify.image_height = 2;
        refuse(&op, bad[i].code, bad[i].part);
    }
    struct dvit_op linear = no_operands;
    linear.class = &dvit_op_linear;
    linear.inputs[0] = linear.inputs[1] = TOKENS;
    linear.is.linear.outputs = 9;
    linear.is.linear.gelu = true;
    refuse(&linear, DVIT_ERROR_UNSUPPORTED, "GELU and residual");
    linear.is.linear.gelu = false;
    linear.is.linear.outputs = 8;
    refuse(&linear, DVIT_ERROR_MISMATCH, "8");
    linear.inputs[1] = DVIT_NONE;
    linear.inputs[2] = IMAGES;
    refuse(&linear, DVIT_ERROR_UNSUPPORTED, "needs a residual");
}

static void shares_cover_everything_once(void **state)
{
    (void)state;
    for (size_t total = 0; total < 40; total++)
        for (int parts = 1; parts < 12; parts++) {
            size_t next = 0, widest = (total + (size_t)parts - 1) / (size_t)parts;
            for (int i = 0; i < parts; i++) {
                struct dvit_span share = dvit_span_share(total, i, parts);
                size_t width = share.last - share.first;
                assert_int_equal(share.first, next);
                assert_true(width <= widest && width + 1 >= total / (size_t)parts);
                next = share.last;
            }
            assert_int_equal(next, total);
        }
    assert_int_equal(dvit_chunk_count(0, DVIT_CHUNK_ROWS), 0);
    assert_int_equal(dvit_chunk_count(DVIT_CHUNK_ROWS, DVIT_CHUNK_ROWS), 1);
    assert_int_equal(dvit_chunk_count(DVIT_CHUNK_ROWS + 1, DVIT_CHUNK_ROWS), 2);
    assert_int_equal(dvit_chunk_count(33, 16), 3);
    assert_int_equal(dvit_chunk_count(SIZE_MAX, SIZE_MAX), 1);
}

/* What one call of a counting kernel did, for all members of a run. */
static struct {
    double pairs, keys; /* of the member that is being counted */
} counted;

static void count_attention(const struct dvit_attention_job *job,
                            const struct dvit_attention_shape *shape, float *scratch)
{
    size_t width = (size_t)shape->heads * (size_t)shape->head_dim;
    float *out = job->out;
    (void)scratch;
    for (size_t i = 0; i < job->queries; i++)
        for (size_t c = 0; c < width; c++)
            out[i * job->out_stride + c] += 1.0f;
    counted.pairs += (double)job->queries * shape->tokens * shape->heads;
    counted.keys += (double)shape->tokens * shape->heads;
}

/* Every query of every head is attended once, by 1 to 128 members, whatever they share; and no
 * member has much more to do than the others. Packing a key costs about as much as 4 queries' use
 * of it. */
static void attention_is_shared_evenly(void **state)
{
    enum { GRID = 196, HEADS = 6, WIDTH = 4 * HEADS, PACKING = 4 };
    (void)state;
    for (int images = 1; images <= 3; images += 2) {
        struct walk w;
        walk_open(&w, GRID, 0, 0, NULL);
        w.kernels.attention = count_attention;
        struct dvit_op op = no_operands;
        op.class = &dvit_op_attention;
        op.inputs[0] = dvit_build_input(&w.builder, "qkv", DVIT_ROWS_TOKENS, 3 * WIDTH);
        op.is.attention.heads = HEADS;
        int out = dvit_build_op(&w.builder, "attention", &op);
        walk_plan(&w, images, 2);
        size_t rows = (size_t)images * (GRID + 1);
        float *qkv = calloc(rows * 3 * WIDTH, sizeof *qkv), *y = calloc(rows * WIDTH, sizeof *y);
        assert_true(qkv && y);
        w.forward.values[op.inputs[0]] = qkv;
        w.forward.values[out] = y;
        for (int members = 1; members <= 128; members += members < 16 ? 1 : 16) {
            double most = 0, all = 0;
            memset(y, 0, rows * WIDTH * sizeof *y);
            for (int member = 0; member < members; member++) {
                struct dvit_run run = {.graph = w.graph,
                                       .kernels = &w.kernels,
                                       .images = images,
                                       .layout = w.forward.layout,
                                       .values = w.forward.values,
                                       .member = member,
                                       .members = members,
                                       .by_rows = true};
                counted.pairs = counted.keys = 0;
                dvit_op_attention.forward(&w.graph->ops[0], &run);
                double work = counted.pairs + PACKING * counted.keys;
                most = work > most ? work : most;
                all += counted.pairs;
            }
            for (size_t n = 0; n < rows * WIDTH; n++)
                assert_true(y[n] == 1.0f);
            all += PACKING * (double)rows * HEADS; /* alone, one would pack every key once */
            if (members % 16 == 0)
                print_message("attention of %d images by %3d members: ideally %.1f times as fast\n",
                              images, members, all / most);
            assert_true(all / most > 0.4 * members);
        }
        free(qkv), free(y);
        walk_close(&w);
    }
}

enum { TYPED_GRID = 12, TYPED_HEADS = 3, TYPED_WIDTH = 8 * TYPED_HEADS, TYPED_IMAGES = 2 };

/* One attention operator; queries come apart or not. */
static int typed_attention(struct walk *w, bool apart, bool int8)
{
    struct dvit_op op = no_operands;
    size_t width = apart ? 2 * TYPED_WIDTH : 3 * TYPED_WIDTH;
    walk_open(w, TYPED_GRID, 0, 0, NULL);
    w->graph->bf16 = true;
    op.class = &dvit_op_attention;
    op.inputs[0] = dvit_build_input(&w->builder, "kv", DVIT_ROWS_TOKENS, width);
    if (apart)
        op.inputs[2] = dvit_build_input(&w->builder, "q", DVIT_ROWS_TOKENS, TYPED_WIDTH);
    op.is.attention.heads = TYPED_HEADS;
    op.is.attention.int8 = int8;
    int out = dvit_build_op(&w->builder, "attention", &op);
    walk_plan(w, TYPED_IMAGES, 1);
    return out;
}

/* All members' shares, of the values that the walk has. */
static void run_shares(struct walk *w, int members)
{
    for (int member = 0; member < members; member++) {
        struct dvit_run run = {.graph = w->graph,
                               .kernels = &w->kernels,
                               .images = TYPED_IMAGES,
                               .layout = w->forward.layout,
                               .values = w->forward.values,
                               .scratch = aligned_alloc(64, 1 << 20),
                               .member = member,
                               .members = members,
                               .by_rows = true};
        assert_non_null(run.scratch);
        dvit_op_attention.forward(&w->graph->ops[0], &run);
        free(run.scratch);
    }
}

/* Values of bfloat16 are read and values of bytes are written where the same numbers as floats
 * would be: with queries apart or not, of every image and head. */
static void attention_takes_values_of_any_format(void **state)
{
    enum { ROWS = TYPED_IMAGES * (TYPED_GRID + 1), COUNT = ROWS * TYPED_WIDTH };
    static float kv[3 * COUNT], q[COUNT], want[COUNT];
    static uint16_t kv_halves[3 * COUNT], q_halves[COUNT];
    static uint8_t got[COUNT];
    const struct dvit_format bytes = {DVIT_NUMBER_U8, {0.01f, 128}};
    struct dvit_rng rng = dvit_rng_stream(9, DVIT_RNG_TEST, 0, 0);
    (void)state;
    for (int i = 0; i < 3 * COUNT; i++)
        kv[i] = (float)(int)dvit_rng_below(&rng, 200) / 64 - 1.5f;
    memcpy(q, kv + COUNT, sizeof q);
    for (int n = 0; n < 4; n++) {
        struct walk w;
        bool apart = n & 1, int8 = n & 2;
        int out = typed_attention(&w, apart, int8);
        const int *in = w.graph->ops[0].inputs;
        w.kernels.attention = NULL; /* not asked for */
        *(int8 ? &w.kernels.attention_bf16 : &w.kernels.attention_int8) = NULL;
        w.kernels.to_bf16(kv_halves, kv, 3 * COUNT);
        w.kernels.to_bf16(q_halves, q, COUNT);
        w.forward.values[in[0]] = kv;
        w.forward.values[out] = want;
        if (apart)
            w.forward.values[in[2]] = q;
        run_shares(&w, 1);

        w.graph->values[in[0]].format.number = DVIT_NUMBER_BF16;
        w.graph->values[out].format = bytes;
        w.forward.values[in[0]] = (float *)(void *)kv_halves;
        w.forward.values[out] = (float *)(void *)got;
        if (apart) {
            w.graph->values[in[2]].format.number = DVIT_NUMBER_BF16;
            w.forward.values[in[2]] = (float *)(void *)q_halves;
        }
        for (int members = 1; members <= 5; members++) {
            memset(got, 0, sizeof got);
            run_shares(&w, members);
            for (int i = 0; i < COUNT; i++)
                assert_int_equal(got[i], dvit_quantise(want[i], bytes.bytes));
        }
        walk_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patchify_is_exact),
        cmocka_unit_test(selection_is_the_definitions),
        cmocka_unit_test(shapes_that_do_not_fit_are_refused),
        cmocka_unit_test(shares_cover_everything_once),
        cmocka_unit_test(attention_is_shared_evenly),
        cmocka_unit_test(attention_takes_values_of_any_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
