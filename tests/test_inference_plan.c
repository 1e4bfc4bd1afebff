/* What is decided before inference runs: what values are made of, and how a team cuts the products
 * of one image. */
#include <stdlib.h>
#include <string.h>

#include "graph/formats.h"
#include "models/vit.h"
#include "ops/share.h"
#include "test_util.h"

struct built {
    struct dvit_config config;
    struct dvit_parameters parameters;
    struct dvit_vit_values values;
    struct dvit_graph *graph;
};

/* With `bytes` for every layer that may have them. */
static void build(struct built *b, const char *text, int stages, bool bf16, bool bytes)
{
    struct dvit_error error;
    struct dvit_vit_options options = {.keep = stages ? 0.7 : 1.0, .bf16 = bf16};
    assert_ok(dvit_config_parse(text, &b->config, &error), &error);
    if (stages)
        dvit_config_add_stages(&b->config, stages, 0.7);
    assert_ok(dvit_parameters_create(&b->parameters, &b->config, &error), &error);
    struct dvit_quantised *inputs = calloc(b->parameters.count, sizeof *inputs);
    assert_non_null(inputs);
    for (size_t i = 0; bytes && i < b->parameters.count; i++)
        if (dvit_parameter_is_quantisable(&b->parameters, i))
            inputs[i] = (struct dvit_quantised){0.01f * (float)(i + 1), 100};
    options.inputs = bytes ? inputs : NULL;
    assert_ok(dvit_vit_build(&b->graph, &b->values, &b->config, &b->parameters, &options, &error),
              &error);
    free(inputs);
}

static void built_free(struct built *b)
{
    dvit_graph_free(b->graph);
    dvit_parameters_free(&b->parameters);
}

static const struct dvit_value *made_by(const struct built *b, const char *name)
{
    for (int i = 0; i < b->graph->op_count; i++)
        if (strcmp(b->graph->ops[i].name, name) == 0)
            return &b->graph->values[b->graph->ops[i].outputs[0]];
    fail_msg("no operator \"%s\"", name);
    return NULL;
}

static void expect(const struct built *b, const char *name, enum dvit_number number)
{
    if (made_by(b, name)->format.number != number)
        fail_msg("%s: number %d, expected %d", name, (int)made_by(b, name)->format.number,
                 (int)number);
}

static const char tiny[] = "vit:dim=32,depth=4,heads=2,patch=4,image=32,classes=5";

static void floats_stay_floats(void **state)
{
    struct built b;
    (void)state;
    build(&b, tiny, 3, false, false);
    dvit_formats_choose(b.graph, DVIT_CPU_REFERENCE);
    for (int v = 0; v < b.graph->value_count; v++)
        assert_int_equal(b.graph->values[v].format.number, DVIT_NUMBER_F32);
    built_free(&b);
}

/* What a product reads comes rounded; the residual stream and what a kernel sums stay floats. */
static void values_are_what_their_readers_multiply(void **state)
{
    struct built b;
    (void)state;
    for (int bytes = 0; bytes < 2; bytes++) {
        enum dvit_number own = bytes ? DVIT_NUMBER_U8 : DVIT_NUMBER_BF16;
        build(&b, tiny, 3, true, bytes);
        dvit_formats_choose(b.graph, DVIT_CPU_REFERENCE);
        expect(&b, "patches", own);
        expect(&b, "patch_embed.proj", DVIT_NUMBER_F32);
        expect(&b, "blocks.1.norm1", own);
        expect(&b, "blocks.1.attn.qkv", DVIT_NUMBER_BF16);
        expect(&b, "blocks.1.attn", own);
        expect(&b, "blocks.1.attn.proj", DVIT_NUMBER_F32);
        expect(&b, "blocks.1.norm2", own);
        expect(&b, "blocks.1.mlp.fc1", own);
        expect(&b, "blocks.1.mlp.fc2", DVIT_NUMBER_F32);
        expect(&b, "blocks.3.norm1", own); /* for keys and values, and for the rows read */
        expect(&b, "blocks.3.read.norm1", own);
        expect(&b, "score_predictor.0.in_conv.0", own);
        expect(&b, "score_predictor.0.in_conv.1", DVIT_NUMBER_F32); /* its mean is taken too */
        expect(&b, "head", DVIT_NUMBER_F32);
        int weight = dvit_parameters_find(&b.parameters, "blocks.1.mlp.fc2.weight");
        if (bytes)
            assert_true(made_by(&b, "blocks.1.mlp.fc1")->format.bytes.scale ==
                        0.01f * (float)(weight + 1));
        built_free(&b);
    }
}

static void one_reader_of_floats_decides(void **state)
{
    struct built b;
    (void)state;
    build(&b, "vit:dim=32,depth=4,heads=2,patch=4,image=32,classes=5,pruning=attention", 1, true,
          false);
    dvit_formats_choose(b.graph, DVIT_CPU_REFERENCE);
    expect(&b, "blocks.0.attn.qkv", DVIT_NUMBER_BF16);
    expect(&b, "blocks.1.attn.qkv", DVIT_NUMBER_F32); /* the scores of patches read it */
    built_free(&b);
}

static void rows_of_half_words_stay_floats(void **state)
{
    struct built b;
    (void)state;
    build(&b, "vit:dim=33,depth=2,heads=3,patch=3,image=9,classes=5", 0, true, false);
    dvit_formats_choose(b.graph, DVIT_CPU_REFERENCE);
    expect(&b, "patches", DVIT_NUMBER_F32); /* 27 wide */
    expect(&b, "blocks.0.norm1", DVIT_NUMBER_F32);
    expect(&b, "blocks.0.mlp.fc1", DVIT_NUMBER_BF16); /* 132 wide */
    built_free(&b);
}

/* --- the cut ------------------------------------------------------------------------------------
 */

struct product {
    size_t rows, outputs, inputs;
};

/* Multiply-adds of the member that has most; every output of every row is exactly one member's. */
static double most_of(const struct product *p, int members)
{
    size_t panels = (p->outputs + DVIT_MATMUL_RANGE - 1) / DVIT_MATMUL_RANGE;
    unsigned char *done = calloc(p->rows * panels, 1);
    struct dvit_cut cut = dvit_cut_product(p->rows, p->outputs, p->inputs, members);
    double most = 0;
    assert_non_null(done);
    assert_true(cut.rows >= 1 && cut.columns >= 1 && cut.rows * cut.columns <= members);
    assert_true(cut.columns > 1 || cut.rows == members);
    for (int member = 0; member < members; member++) {
        struct dvit_share own = dvit_cut_share(cut, p->rows, p->outputs, member);
        size_t rows = own.rows.last - own.rows.first;
        size_t outputs = own.outputs.last - own.outputs.first;
        double macs = (double)rows * (double)outputs * (double)p->inputs;
        most = macs > most ? macs : most;
        assert_true(own.rows.last <= p->rows && own.outputs.last <= p->outputs);
        assert_int_equal(own.outputs.first % DVIT_MATMUL_RANGE, 0);
        for (size_t r = own.rows.first; r < own.rows.last; r++)
            for (size_t o = own.outputs.first; o < own.outputs.last; o += DVIT_MATMUL_RANGE)
                done[r * panels + o / DVIT_MATMUL_RANGE]++;
    }
    for (size_t i = 0; i < p->rows * panels; i++)
        assert_int_equal(done[i], 1);
    free(done);
    return most;
}

/* The products of one image of a pruned DeiT-S, by 1 to 128 members. */
static void products_of_one_image_are_shared(void **state)
{
    struct built b;
    (void)state;
    build(&b, "deit-s", 3, false, false);
    for (int members = 1; members <= 128; members++) {
        double most = 0, all = 0;
        for (int i = 0; i < b.graph->op_count; i++) {
            const struct dvit_op *op = &b.graph->ops[i];
            if (op->class != &dvit_op_linear)
                continue;
            const struct product p = {dvit_graph_rows(b.graph, op->outputs[0]),
                                      op->is.linear.outputs, b.graph->values[op->inputs[0]].width};
            most += most_of(&p, members);
            all += (double)p.rows * (double)p.outputs * (double)p.inputs;
        }
        if ((members & (members - 1)) == 0)
            print_message("products of one image by %3d members: ideally %.1f times as fast\n",
                          members, all / most);
        assert_true(all / most > (members <= 16 ? 0.85 : 0.6) * members);
    }
    built_free(&b);
}

static void few_rows_are_cut_by_outputs(void **state)
{
    (void)state;
    assert_int_equal(dvit_cut_product(197, 1536, 384, 2).columns, 1);
    assert_int_equal(dvit_cut_product(1, 1536, 384, 2).columns, 2);
    assert_int_equal(dvit_cut_product(1, 48, 384, 2).columns, 1); /* one panel */
    assert_int_equal(dvit_cut_product(0, 1536, 384, 8).columns, 1);
    assert_true(dvit_cut_product(197, 1536, 384, 128).columns > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_stay_floats),
        cmocka_unit_test(values_are_what_their_readers_multiply),
        cmocka_unit_test(one_reader_of_floats_decides),
        cmocka_unit_test(rows_of_half_words_stay_floats),
        cmocka_unit_test(products_of_one_image_are_shared),
        cmocka_unit_test(few_rows_are_cut_by_outputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
