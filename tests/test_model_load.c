/* Loading tensors that nobody describes: names and shapes of every kind, everything that does not
 * fit listed, positions interpolated to other image sizes. Files with their expected answers are
 * tests/parity/test_published_files.c's; what is chosen besides, test_load_options.c's. */
#include "load_bench.h"
#include "weights/position.h"

/* --- weights -------------------------------------------------------------------------------- */

static void foreign_files_load(void **state)
{
    (void)state;
    static const char *const shapes[] = {
        "vit:dim=24,depth=2,heads=3,patch=4,image=16,classes=3",
        "vit:dim=24,depth=2,heads=3,patch=4,image=16,classes=3,distilled=1",
        "vit:dim=24,depth=2,heads=3,patch=4,image=16,classes=3,mean_pool=1,layer_scale=1",
        "lvvit:dim=24,depth=2,heads=3,patch=4,image=16,classes=3,stem_width=6",
    };
    for (size_t i = 0; i < 2 * sizeof shapes / sizeof *shapes; i++) {
        struct bench b = bench_open(shapes[i / 2], i % 2 ? 1 : 0);
        struct dvit_model *model = bench_load(&b);
        assert_same_weights(model, b.model);
        assert_int_equal(model->config.stages, b.model->config.stages);
        assert_true(model->config.skip_lam == b.model->config.skip_lam);
        dvit_model_free(model);
        bench_close(&b);
    }
}

/* Only transformers has distilled models with one head; else the second one is missing. */
static void a_missing_second_head_is_missing(void **state)
{
    (void)state;
    char shape[128];
    snprintf(shape, sizeof shape, "%s,distilled=1", bench_shape);
    for (int hugging_face = 0; hugging_face < 2; hugging_face++) {
        struct bench b = bench_open(shape, 0);
        if (hugging_face)
            tensor_list_hugging_face(&b.list, "deit.");
        const char *name = hugging_face ? "distillation_classifier" : "head_dist";
        char weight[64], bias[64];
        snprintf(weight, sizeof weight, "%s.weight", name);
        snprintf(bias, sizeof bias, "%s.bias", name);
        tensor_list_remove(&b.list, weight);
        tensor_list_remove(&b.list, bias);
        bench_fails(&b, DVIT_ERROR_MISMATCH, "tensor \"head_dist.weight\" is missing");
        bench_close(&b);
    }
}

static void hugging_face_files_load(void **state)
{
    (void)state;
    static const char *const heads[] = {"", ",distilled=1", ",distilled=1,one_head=1"};
    for (int distilled = 0; distilled < 3; distilled++) {
        char shape[128];
        snprintf(shape, sizeof shape, "%s%s", bench_shape, heads[distilled]);
        struct bench b = bench_open(shape, 0);
        b.options.heads = 0;
        tensor_list_hugging_face(&b.list, distilled ? "deit." : "vit.");
        write_text(
            b.folder, "config.json",
            "{\"num_attention_heads\":3,\"id2label\":{\"0\":\"a\",\"1\":\"b\",\"2\":\"c\"}}");
        struct dvit_model *model = bench_load(&b);
        assert_same_weights(model, b.model);
        assert_true(model->config.norm_eps == 1e-12f);
        assert_int_equal(model->config.heads, 3);
        assert_string_equal(dvit_model_label(model, 1), "b");
        assert_true(model->preprocess.bilinear && model->preprocess.fit == DVIT_FIT_SQUASH);
        assert_float_equal(model->preprocess.mean[0], 0.5, 0);
        assert_true(has_note(model, "no preprocessor_config.json"));
        assert_false(has_note(model, "no config.json"));
        dvit_model_free(model);
        /* What lies beside the file counts. */
        write_text(
            b.folder, "preprocessor_config.json",
            "{\"size\":16,\"do_center_crop\":false,\"resample\":3,\"image_mean\":[0.1,0.2,0.3]}");
        model = bench_load(&b);
        assert_true(!model->preprocess.bilinear && model->preprocess.mean[2] == 0.3f);
        assert_int_equal(model->notes.count, 0);
        dvit_model_free(model);
        b.options.image_width = 32;
        model = bench_load(&b);
        assert_int_equal(model->preprocess.crop_width, 32);
        assert_true(has_note(model, "is for 16 × 16 pixels: adjusted to 32 × 32"));
        dvit_model_free(model);
        b.options.preprocess = "timm"; /* then the file's own is not even read */
        write_text(b.folder, "preprocessor_config.json", "{");
        model = bench_load(&b);
        assert_string_equal(model->preprocess.name, "timm");
        dvit_model_free(model);
        b.options = (struct dvit_load_options){0};
        bench_fails(&b, DVIT_ERROR_FORMAT, "preprocessor_config.json: ");
        write_text(b.folder, "config.json", "{\"hidden_act\":\"relu\"}");
        bench_fails(&b, DVIT_ERROR_UNSUPPORTED, "hidden_act is \"relu\"");
        write_text(b.folder, "config.json", "{\"num_attention_heads\":3,\"hidden_size\":25}");
        bench_fails(&b, DVIT_ERROR_MISMATCH, "hidden_size is 25");
        write_text(b.folder, "config.json", "{\"num_attention_heads\":3,\"qkv_bias\":false}");
        bench_fails(&b, DVIT_ERROR_MISMATCH, "unexpected tensor");
        bench_close(&b);
    }
}

/* --- what does not fit ---------------------------------------------------------------------- */

struct heard {
    char sentences[16][300];
    size_t count;
};

static void listen(void *context, const char *sentence)
{
    struct heard *heard = context;
    assert_true(heard->count < 16);
    snprintf(heard->sentences[heard->count++], sizeof heard->sentences[0], "%s", sentence);
}

static void assert_heard(const struct heard *heard, const char *sentence)
{
    for (size_t i = 0; i < heard->count; i++)
        if (strcmp(heard->sentences[i], sentence) == 0)
            return;
    fail_msg("not heard: %s", sentence);
}

static void every_misfit_is_named(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "tensor \"blocks.1.norm1.bias\" is missing",
        "tensor \"norm.weight\" is missing",
        "unexpected tensor \"blocks.1.norm1.biases\"",
        "unexpected tensor \"odd_token\"",
        "tensor \"head.bias\" is [2], expected [3]",
        "tensor \"blocks.0.attn.proj.weight\" is [576], expected [24,24]",
        "tensor \"blocks.0.mlp.fc2.bias\" is I32, expected F64, F32, F16 or BF16",
    };
    struct bench b = bench_open(bench_shape, 0);
    struct heard heard = {.count = 0};
    uint64_t one = 1;
    tensor_list_rename(&b.list, "blocks.1.norm1.bias", "blocks.1.norm1.biases");
    tensor_list_remove(&b.list, "norm.weight");
    tensor_list_add(&b.list, "odd_token", 1, &one, b.model->weights);
    struct dvit_tensor_view *view = tensor_list_find(&b.list, "head.bias");
    view->shape[0] = 2;
    view->size_bytes = 8;
    view = tensor_list_find(&b.list, "blocks.0.attn.proj.weight");
    view->rank = 1;
    view->shape[0] = 576;
    tensor_list_find(&b.list, "blocks.0.mlp.fc2.bias")->dtype = DVIT_DTYPE_I32;
    b.options.problem = listen;
    b.options.context = &heard;
    bench_fails(&b, DVIT_ERROR_MISMATCH,
                "of its tensors 2 are missing, 2 unexpected, 3 different: tensor \"");
    assert_int_equal(heard.count, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < heard.count; i++)
        assert_heard(&heard, expected[i]);
    bench_close(&b);
}

static void doubles_and_lone_parts_are_misfits(void **state)
{
    (void)state;
    struct bench b = bench_open(bench_shape, 0);
    struct heard heard = {.count = 0};
    uint64_t shape[] = {1, 1, 24};
    b.options.problem = listen;
    b.options.context = &heard;
    tensor_list_add(&b.list, "module.cls_token", 3, shape, b.model->weights);
    bench_fails(&b, DVIT_ERROR_MISMATCH, "unexpected tensor \"module.cls_token\"");
    assert_int_equal(heard.count, 1);
    bench_close(&b);

    b = bench_open(bench_shape, 0);
    b.options.problem = listen;
    b.options.context = &heard;
    heard.count = 0;
    tensor_list_hugging_face(&b.list, "vit.");
    tensor_list_remove(&b.list, "vit.encoder.layer.0.attention.attention.value.weight");
    tensor_list_remove(&b.list, "vit.encoder.layer.1.attention.attention.query.bias");
    bench_fails(&b, DVIT_ERROR_MISMATCH, "blocks.0.attn.qkv.weight\" is missing beyond its second");
    assert_heard(&heard, "tensor \"blocks.1.attn.qkv.bias\" is missing");
    bench_close(&b);
}

/* A problem's text cannot reach a terminal as a command, however long it is. */
static void hostile_names_are_escaped(void **state)
{
    (void)state;
    struct bench b = bench_open(bench_shape, 0);
    struct heard heard = {.count = 0};
    char name[1000] = "\x1b[2J\n";
    uint64_t one = 1;
    memset(name + strlen(name), 'y', sizeof name - strlen(name) - 1);
    name[sizeof name - 1] = 0;
    tensor_list_add(&b.list, name, 1, &one, b.model->weights);
    b.options.problem = listen;
    b.options.context = &heard;
    bench_fails(&b, DVIT_ERROR_MISMATCH, "unexpected tensor \"\\x1b[2J\\nyyy");
    assert_int_equal(heard.count, 1);
    bench_close(&b);
}

/* --- image size ----------------------------------------------------------------------------- */

static void images_of_another_size_interpolate_positions(void **state)
{
    (void)state;
    static const struct {
        int width, height;
    } sizes[] = {{24, 24}, {8, 8}, {24, 12}, {8, 32}, {16, 0}};
    static const char *const traits[] = {"", ",distilled=1"};
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        char shape[128];
        snprintf(shape, sizeof shape, "%s%s", bench_shape, traits[i % 2]);
        struct bench b = bench_open(shape, 0);
        int width = sizes[i / 2].width, height = sizes[i / 2].height;
        b.options.image_width = width;
        b.options.image_height = height;
        struct dvit_model *model = bench_load(&b);
        height = height ? height : width;
        assert_int_equal(model->config.image_width, width);
        assert_int_equal(model->config.image_height, height);
        assert_int_equal(model->preprocess.crop_width, width);
        assert_int_equal(model->preprocess.crop_height, height);
        int at = dvit_parameters_find(&model->parameters, "pos_embed");
        size_t prefix = 24 * (size_t)dvit_config_prefix(&model->config);
        size_t count = model->parameters.items[at].count;
        float *expected = malloc(count * sizeof *expected);
        const float *before = dvit_model_weights(b.model, (size_t)at);
        memcpy(expected, before, prefix * sizeof *expected);
        dvit_position_resize(expected + prefix, (struct dvit_grid){height / 4, width / 4},
                             before + prefix, (struct dvit_grid){4, 4}, 24);
        assert_memory_equal(dvit_model_weights(model, (size_t)at), expected,
                            count * sizeof *expected);
        assert_int_equal(has_note(model, "position embeddings interpolated from 4 × 4 to"),
                         width != 16);
        free(expected);
        dvit_model_free(model);
        bench_close(&b);
    }
}

static void sizes_that_are_none_are_refused(void **state)
{
    (void)state;
    static const struct {
        int width, height;
        const char *part;
    } bad[] = {{18, 0, "not a multiple of the patch"},
               {16, 10, "not a multiple of the patch"},
               {-16, 0, "image width is -16"},
               {0, -4, "image height is -4"},
               {8196, 0, "image width is 8196"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct bench b = bench_open(bench_shape, 0);
        b.options.image_width = bad[i].width;
        b.options.image_height = bad[i].height;
        bench_fails(&b, DVIT_ERROR_ARGUMENT, bad[i].part);
        bench_close(&b);
    }
}

static void oblong_files_need_their_size(void **state)
{
    (void)state;
    struct bench b =
        bench_open("vit:dim=24,depth=2,heads=3,patch=4,width=12,height=8,classes=3", 0);
    bench_fails(&b, DVIT_ERROR_MISMATCH, "state image width and height");
    b.options.image_width = 12;
    b.options.image_height = 8;
    struct dvit_model *model = bench_load(&b);
    assert_same_weights(model, b.model);
    dvit_model_free(model);
    bench_close(&b);
}

/* DeiT-III's positions have no row for the class token: zero is what it would add. */
static void positions_of_patches_alone_are_completed(void **state)
{
    (void)state;
    for (int resized = 0; resized < 2; resized++) {
        struct bench b = bench_open(bench_shape, 0);
        struct dvit_tensor_view *view = tensor_list_find(&b.list, "pos_embed");
        view->shape[1] = 16;
        view->size_bytes = 4 * 16 * 24;
        const float *rows = view->data;
        view->data = rows + 24;
        b.options.image_width = resized ? 24 : 0;
        struct dvit_model *model = bench_load(&b);
        int at = dvit_parameters_find(&model->parameters, "pos_embed");
        const float *got = dvit_model_weights(model, (size_t)at);
        float expected[36 * 24];
        int side = resized ? 6 : 4;
        dvit_position_resize_antialiased(expected, (struct dvit_grid){side, side}, rows + 24,
                                         (struct dvit_grid){4, 4}, 24); /* only timm has these */
        assert_true(!resized || has_note(model, "antialiased as timm does"));
        for (int k = 0; k < 24; k++)
            assert_true(got[k] == 0);
        assert_memory_equal(got + 24, expected, (size_t)(side * side) * 24 * sizeof *got);
        assert_string_equal(model->preprocess.name, "timm");
        dvit_model_free(model);
        bench_close(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_files_load),
        cmocka_unit_test(hugging_face_files_load),
        cmocka_unit_test(a_missing_second_head_is_missing),
        cmocka_unit_test(every_misfit_is_named),
        cmocka_unit_test(doubles_and_lone_parts_are_misfits),
        cmocka_unit_test(hostile_names_are_escaped),
        cmocka_unit_test(images_of_another_size_interpolate_positions),
        cmocka_unit_test(sizes_that_are_none_are_refused),
        cmocka_unit_test(oblong_files_need_their_size),
        cmocka_unit_test(positions_of_patches_alone_are_completed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
