/* Configurations: texts and their refusals, bounds, and the published numbers that a configuration
 * determines: parameters, tokens per stage, multiply–accumulates. */
#include <limits.h>
#include <math.h>

#include "dvit/config.h"
#include "dvit/model.h"
#include "test_util.h"

static struct dvit_config parsed(const char *text)
{
    struct dvit_config config;
    struct dvit_error error;
    assert_ok(dvit_config_parse(text, &config, &error), &error);
    assert_ok(dvit_config_check(&config, &error), &error);
    return config;
}

static void texts_say_the_shape(void **state)
{
    (void)state;
    struct dvit_config c =
        parsed("vit:dim=48,depth=5,heads=4,patch=4,width=32,height=24,classes=7");
    assert_string_equal(c.name, "vit");
    assert_int_equal(c.dim, 48);
    assert_int_equal(c.depth, 5);
    assert_int_equal(c.heads, 4);
    assert_int_equal(c.mlp, 192); /* 4·dim */
    assert_int_equal(c.patch, 4);
    assert_int_equal(c.image_width, 32);
    assert_int_equal(c.image_height, 24);
    assert_int_equal(c.classes, 7);
    assert_int_equal(c.stages, 0);
    assert_true(c.norm_eps == 1e-6f && c.keep == 1.0);
    assert_int_equal(dvit_config_patches(&c), 48);

    c = parsed("vit:distilled=1,dim=64,heads=1,image=32");
    assert_true(c.distilled && !c.layer_scale && !c.mean_pool && !c.aux_head && c.qkv_bias);
    assert_int_equal(dvit_config_prefix(&c), 2);
    c = parsed("lvvit:dim=64,heads=1,image=32,stem_width=8");
    assert_true(c.aux_head && !c.qkv_bias && c.skip_lam == 2 && c.norm_eps == 1e-5f);
    assert_int_equal(c.mlp, 192); /* 3·dim */
    assert_int_equal(dvit_config_prefix(&c), 1);

    c = parsed("vit:mlp=100,dim=64,heads=2,image=64,patch=8");
    assert_int_equal(c.mlp, 100);
    assert_int_equal(c.image_width, 64);
    assert_int_equal(c.image_height, 64);
    assert_int_equal(c.depth, 12); /* deit-t's where the text is silent */
    assert_int_equal(c.classes, 1000);
}

static void every_preset_has_a_name(void **state)
{
    (void)state;
    size_t count = 0;
    for (; dvit_config_preset_name(count); count++) {
        struct dvit_config c = parsed(dvit_config_preset_name(count));
        assert_string_equal(c.name, dvit_config_preset_name(count));
        assert_int_equal(c.mlp, (c.stem_width ? 3 : 4) * c.dim);
    }
    assert_true(count >= 6);
    assert_null(dvit_config_preset_name(count + 100));
}

static void bad_texts_say_why(void **state)
{
    (void)state;
    const struct {
        const char *text, *part;
        enum dvit_status code;
    } bad[] = {
        {"deit-z", "\"deit-t\"", DVIT_ERROR_NOT_FOUND},
        {"deits", "the nearest preset is \"deit-s\"", DVIT_ERROR_NOT_FOUND},
        {"deit-b-38", "the nearest preset is \"deit-b-384\"", DVIT_ERROR_NOT_FOUND},
        {"DEIT-256", "vit:dim=", DVIT_ERROR_NOT_FOUND},
        {"", "unknown model \"\"", DVIT_ERROR_NOT_FOUND},
        {"vit:dim", "\"dim\" has no value", DVIT_ERROR_ARGUMENT},
        {"vit:dim=", "dim is \"\"", DVIT_ERROR_ARGUMENT},
        {"vit:dim=abc", "dim is \"abc\", expected a positive whole number", DVIT_ERROR_ARGUMENT},
        {"vit:dim=12x", "dim is \"12x\"", DVIT_ERROR_ARGUMENT},
        {"vit:dim=0", "dim is \"0\"", DVIT_ERROR_ARGUMENT},
        {"vit:dim=-3", "dim is \"-3\"", DVIT_ERROR_ARGUMENT},
        {"vit:dim=1.5", "dim is \"1.5\"", DVIT_ERROR_ARGUMENT},
        {"vit:dim=99999999999999999999", "expected a positive", DVIT_ERROR_ARGUMENT},
        {"vit:dim=1000000000", "expected a positive", DVIT_ERROR_ARGUMENT},
        {"vit:dim=500000000,heads=1", "dim is 500000000, expected 1 to 16384", DVIT_ERROR_ARGUMENT},
        {"vit:width=32,deep=3", "unknown key \"deep\", expected dim, depth", DVIT_ERROR_ARGUMENT},
        {"vit:dim=64", "dim 64 is not a multiple of heads 3", DVIT_ERROR_ARGUMENT},
        {"vit:depth=257", "depth is 257, expected 1 to 256", DVIT_ERROR_ARGUMENT},
        {"vit:image=8193,patch=1", "image width is 8193, expected 1 to 8192", DVIT_ERROR_ARGUMENT},
        {"vit:image=512,patch=1", "patches is 262144, expected 1 to 65536", DVIT_ERROR_ARGUMENT},
        {"vit:image=30,patch=16", "image 30 × 30 is not a multiple of the patch, 16 pixels",
         DVIT_ERROR_ARGUMENT},
        {"vit:image=8,patch=16", "not a multiple of the patch", DVIT_ERROR_ARGUMENT},
        {"vit:classes=1000001", "classes is 1000001, expected 1 to 1000000", DVIT_ERROR_ARGUMENT},
        {"vit:heads=193", "heads is 193, expected 1 to 192", DVIT_ERROR_ARGUMENT},
        {"vit:distilled=2", "distilled is \"2\", expected 0 or 1", DVIT_ERROR_ARGUMENT},
        {"vit:mean_pool=yes", "mean_pool is \"yes\"", DVIT_ERROR_ARGUMENT},
        {"vit:distilled=1,mean_pool=1", "exclude each other", DVIT_ERROR_ARGUMENT},
        {"vit:one_head=1", "one_head is of distilled models", DVIT_ERROR_ARGUMENT},
        {"lvvit:distilled=1", "exclude each other", DVIT_ERROR_ARGUMENT},
        {"lvvit:patch=7,image=49", "needs an even number", DVIT_ERROR_ARGUMENT},
        {"lvvit:stem_width=1025", "stem_width is 1025, expected 0 to 1024", DVIT_ERROR_ARGUMENT},
        {"lvvits", "the nearest preset is \"lvvit-s\"", DVIT_ERROR_NOT_FOUND},
        {"vit:mlp=131073", "mlp is 131073, expected 1 to 131072", DVIT_ERROR_ARGUMENT},
    };
    struct dvit_config config;
    struct dvit_error error;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fails(dvit_config_parse(bad[i].text, &config, &error), &error, bad[i].code,
                     bad[i].part);
    char longest[5000];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = 0;
    assert_fails(dvit_config_parse(longest, &config, &error), &error, DVIT_ERROR_NOT_FOUND,
                 "unknown model");
}

static void bounds_are_checked(void **state)
{
    (void)state;
    struct dvit_error error;
    const struct {
        int stages, blocks[3];
        double keep;
        const char *part;
    } bad[] = {
        {17, {0}, 0.7, "stages is 17, expected 0 to 16"},
        {-1, {0}, 0.7, "stages is -1"},
        {2, {3, 3}, 0.7, "stage 2 prunes before block 3, expected 4 to 11"},
        {2, {6, 3}, 0.7, "stage 2 prunes before block 3"},
        {1, {12}, 0.7, "stage 1 prunes before block 12, expected 0 to 11"},
        {1, {-1}, 0.7, "stage 1 prunes before block -1"},
        {1, {3}, 0.0, "keep is 0, expected above 0 up to 1"},
        {1, {3}, 1.1, "keep is 1.1"},
        {1, {3}, -0.5, "keep is -0.5"},
        {1, {3}, NAN, "keep is"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dvit_config c = parsed("deit-t");
        c.stages = bad[i].stages;
        c.keep = bad[i].keep;
        memcpy(c.stage_block, bad[i].blocks, sizeof bad[i].blocks);
        assert_fails(dvit_config_check(&c, &error), &error, DVIT_ERROR_ARGUMENT, bad[i].part);
    }
    struct dvit_config c = parsed("vit:dim=6,heads=1");
    dvit_config_add_stages(&c, 1, 0.5);
    assert_fails(dvit_config_check(&c, &error), &error, DVIT_ERROR_ARGUMENT,
                 "dim is 6, pruning stages need a multiple of 4");
    c = parsed("vit:depth=2");
    dvit_config_add_stages(&c, 3, 0.5); /* more stages than blocks */
    assert_fails(dvit_config_check(&c, &error), &error, DVIT_ERROR_ARGUMENT, "stage");
    c = parsed("deit-t");
    c.norm_eps = 0;
    assert_fails(dvit_config_check(&c, &error), &error, DVIT_ERROR_ARGUMENT, "norm_eps is 0");
}

static void stages_stand_evenly(void **state)
{
    (void)state;
    const struct {
        int depth, stages, blocks[4];
    } expected[] = {
        {12, 3, {3, 6, 9}},    {10, 3, {2, 5, 7}}, {16, 3, {4, 8, 12}},
        {20, 3, {5, 10, 15}},  {12, 1, {6}},       {12, 2, {4, 8}},
        {12, 4, {2, 4, 7, 9}}, {4, 3, {1, 2, 3}},  {3, 3, {0, 1, 2}},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        struct dvit_config c = parsed("deit-t");
        struct dvit_error error;
        c.depth = expected[i].depth;
        dvit_config_add_stages(&c, expected[i].stages, 0.7);
        assert_int_equal(c.stages, expected[i].stages);
        for (int s = 0; s < c.stages; s++)
            assert_int_equal(c.stage_block[s], expected[i].blocks[s]);
        assert_ok(dvit_config_check(&c, &error), &error);
    }
}

static size_t count_parameters(const struct dvit_config *config)
{
    struct dvit_layers *layers;
    struct dvit_error error;
    size_t total = 0;
    assert_ok(dvit_layers_create(&layers, config, config->stages ? 0.7 : 1.0, &error), &error);
    for (size_t i = 0; i < dvit_layers_count(layers); i++)
        total += dvit_layers_get(layers, i).parameters;
    dvit_layers_free(layers);
    return total;
}

static void parameter_counts_are_the_published(void **state)
{
    (void)state;
    const struct {
        const char *name;
        size_t dense, dynamic;
    } expected[] = {
        {"deit-t", 5717416, 5899582},       {"deit-256", 9982184, 10304942},
        {"deit-s", 22050664, 22774414},     {"deit-b", 86567656, 89452846},
        {"deit-s-384", 22196584, 22920334}, {"deit-b-384", 86859496, 89744686},
        {"lvvit-s", 26151824, 26875574},    {"lvvit-m", 55830544, 57115030},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        struct dvit_config c = parsed(expected[i].name);
        assert_int_equal(count_parameters(&c), expected[i].dense);
        dvit_config_add_stages(&c, 3, 0.7);
        assert_int_equal(count_parameters(&c), expected[i].dynamic);
    }
    struct dvit_config c = parsed("deit-t");
    struct dvit_model *model;
    struct dvit_error error;
    dvit_config_add_stages(&c, 3, 0.7);
    assert_ok(dvit_model_create(&model, &c, 1, &error), &error);
    size_t total = 0;
    for (size_t i = 0; i < dvit_model_tensor_count(model); i++) {
        struct dvit_tensor_info info = dvit_model_tensor(model, i);
        size_t count = 1;
        for (int k = 0; k < info.rank; k++)
            count *= info.shape[k];
        total += count;
    }
    assert_int_equal(dvit_model_parameters(model), 5899582);
    assert_int_equal(total, 5899582);
    dvit_model_free(model);
}

static void token_counts_are_doubles(void **state)
{
    (void)state;
    const struct {
        int side; /* patches */
        double keep;
        int kept[3]; /* −1: not pinned */
    } expected[] = {
        {14, 0.9, {176, 158, 142}}, {14, 0.8, {156, 125, 100}}, {14, 0.7, {137, 96, 67}},
        {14, 0.6, {117, 70, 42}},   {14, 0.5, {98, 49, 24}},    {24, 0.7, {403, 282, 197}},
        {10, 0.7, {70, 48, 34}},    /* exact arithmetic: 49 */
        {25, 0.6, {375, 225, 134}}, /* repeated products: 135 */
        {20, 0.7, {280, 195, 137}}, /* exact arithmetic: 196 … */
        {30, 0.7, {-1, 440, -1}},   {40, 0.7, {-1, 783, -1}},   {50, 0.7, {-1, 1224, -1}},
        {60, 0.7, {-1, 1763, -1}},  {50, 0.6, {-1, -1, 539}},   {1, 0.1, {1, 1, 1}},
        {3, 0.1, {1, 1, 1}},        {14, 1.0, {196, 196, 196}},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        struct dvit_config c = parsed("deit-t");
        c.image_width = c.image_height = expected[i].side * c.patch;
        for (int s = 0; s < 3; s++)
            if (expected[i].kept[s] >= 0)
                assert_int_equal(dvit_config_kept(&c, expected[i].keep, s), expected[i].kept[s]);
    }
}

/* The number as it is printed in the papers' tables, with `digits` decimals. */
static void assert_printed(const char *what, double macs, const char *expected)
{
    char text[32];
    const char *point = strchr(expected, '.');
    snprintf(text, sizeof text, "%.*f", (int)strlen(point + 1), macs / 1e9);
    if (strcmp(text, expected) != 0)
        fail_msg("%s: %s GMACs, expected %s", what, text, expected);
}

static void costs_are_the_published(void **state)
{
    (void)state;
    const struct {
        const char *name;
        double keep;
        const char *published, *exact;
    } expected[] = {
        {"deit-s", 1.0, "4.6", "4.280"},         {"deit-s", 0.9, "3.963", "3.796"},
        {"deit-s", 0.8, "3.393", "3.290"},       {"deit-s", 0.7, "2.918", "2.863"},
        {"deit-s", 0.6, "2.508", "2.487"},       {"deit-s", 0.5, "2.178", "2.181"},
        {"deit-b", 1.0, "17.564", "16.348"},     {"deit-b", 0.7, "11.223", "11.011"},
        {"deit-256", 0.7, "1.346", "1.321"},     {"deit-t", 1.0, "1.254", "1.167"},
        {"deit-t", 0.7, "0.785", "0.771"},       {"deit-s-384", 1.0, "15.49", "14.386"},
        {"deit-s-384", 0.7, "9.466", "9.285"},   {"deit-s-384", 0.5, "7.038", "7.039"},
        {"deit-b-384", 1.0, "55.484", "51.576"}, {"deit-b-384", 0.7, "34.685", "34.022"},
        {"lvvit-s", 1.0, "6.551", "6.551"},      {"lvvit-s", 0.7, "4.587", "4.63"},
        {"lvvit-s", 0.5, "3.74", "3.78"},        {"lvvit-m", 1.0, "12.678", "12.678"},
        {"lvvit-m", 0.8, "9.658", "9.752"},      {"lvvit-m", 0.7, "8.481", "8.565"},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        struct dvit_config c = parsed(expected[i].name);
        struct dvit_cost cost;
        struct dvit_error error;
        dvit_config_add_stages(&c, 3, 0.7);
        assert_ok(dvit_model_cost(&c, expected[i].keep, &cost, &error), &error);
        assert_printed(expected[i].name, cost.macs_published, expected[i].published);
        assert_printed(expected[i].name, cost.macs, expected[i].exact);
    }
}

/* The formulas of the cost table, written out. */
static double formula(const struct dvit_config *c, double keep, bool published)
{
    double N = dvit_config_patches(c), C = c->dim, n = N, P = dvit_config_prefix(c);
    double stem = c->stem_width, area = (double)(c->image_width / 2) * (c->image_height / 2);
    double macs = stem > 0 ? area * (147 * stem + 2 * 9 * stem * stem) +
                                 N * stem * c->patch * c->patch / 4 * C
                           : N * 3 * c->patch * c->patch * C;
    for (int block = 0, s = 0; block < c->depth; block++) {
        if (keep < 1 && s < c->stages && c->stage_block[s] == block) {
            double mean = published ? n : 1; /* rows of the product with the image's mean */
            macs += (published ? 3.0 : 11.0) / 8 * n * C * C + mean * C * C / 4 + n * C / 2;
            n = dvit_config_kept(c, keep, s++);
        }
        bool narrow = block == c->depth - 1 && !published && !c->aux_head;
        double read = narrow ? P : n + P; /* rows of which more than keys and values is read */
        macs += (n + P) * 2 * C * C + read * (2 * C * C + 2 * C * c->mlp) + 2 * read * (n + P) * C;
    }
    return macs + C * c->classes * (1 + (c->distilled && !c->one_head) + (c->aux_head ? n : 0));
}

static void costs_are_the_formulas(void **state)
{
    (void)state;
    for (size_t i = 0; dvit_config_preset_name(i); i++)
        for (int stages = 0; stages <= 4; stages++)
            for (double keep = 0.3; keep <= 1; keep += 0.7) {
                struct dvit_config c = parsed(dvit_config_preset_name(i));
                struct dvit_cost cost;
                struct dvit_error error;
                dvit_config_add_stages(&c, stages, stages ? 0.7 : 1.0);
                assert_ok(dvit_model_cost(&c, keep, &cost, &error), &error);
                assert_true(cost.macs == formula(&c, keep, false));
                assert_true(cost.macs_published == formula(&c, keep, true));
            }
}

static void layers_sum_to_the_totals(void **state)
{
    (void)state;
    for (double keep = 0.7; keep <= 1; keep += 0.3) {
        struct dvit_config c = parsed("deit-s");
        struct dvit_layers *layers;
        struct dvit_cost cost;
        struct dvit_error error;
        double macs = 0;
        int selections = 0;
        size_t tokens_seen = 0;
        dvit_config_add_stages(&c, 3, 0.7);
        assert_ok(dvit_model_cost(&c, keep, &cost, &error), &error);
        assert_ok(dvit_layers_create(&layers, &c, keep, &error), &error);
        for (size_t i = 0; i < dvit_layers_count(layers); i++) {
            struct dvit_layer_info info = dvit_layers_get(layers, i);
            assert_true(strlen(info.kind) > 0 && strlen(info.name) > 0 && info.width > 0);
            macs += info.macs;
            if (strcmp(info.kind, "select") == 0)
                assert_int_equal(info.tokens, dvit_config_kept(&c, keep, selections++) + 1);
            if (strcmp(info.name, "blocks.11.mlp.fc1") == 0)
                assert_int_equal(info.tokens, 1); /* the class token's row is all that is read */
            if (strcmp(info.name, "blocks.11.attn.kv") == 0)
                tokens_seen = info.tokens;
        }
        assert_true(macs == cost.macs);
        assert_int_equal(selections, keep < 1 ? 3 : 0);
        assert_int_equal(tokens_seen, keep < 1 ? 68 : 197);
        dvit_layers_free(layers);
    }
}

static void layers_refuse_what_sessions_refuse(void **state)
{
    (void)state;
    struct dvit_config c = parsed("deit-t");
    struct dvit_layers *layers;
    struct dvit_cost cost;
    struct dvit_error error;
    const double bad[] = {0, -1, 1.5, NAN};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_fails(dvit_layers_create(&layers, &c, bad[i], &error), &error, DVIT_ERROR_ARGUMENT,
                     "expected above 0 up to 1");
        assert_null(layers);
        assert_fails(dvit_model_cost(&c, bad[i], &cost, &error), &error, DVIT_ERROR_ARGUMENT,
                     "keep is");
    }
    c.heads = 5;
    assert_fails(dvit_layers_create(&layers, &c, 1, &error), &error, DVIT_ERROR_ARGUMENT, "heads");
    dvit_layers_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_say_the_shape),
        cmocka_unit_test(every_preset_has_a_name),
        cmocka_unit_test(bad_texts_say_why),
        cmocka_unit_test(bounds_are_checked),
        cmocka_unit_test(stages_stand_evenly),
        cmocka_unit_test(parameter_counts_are_the_published),
        cmocka_unit_test(token_counts_are_doubles),
        cmocka_unit_test(costs_are_the_published),
        cmocka_unit_test(costs_are_the_formulas),
        cmocka_unit_test(layers_sum_to_the_totals),
        cmocka_unit_test(layers_refuse_what_sessions_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
