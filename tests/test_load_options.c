/* Loading with choices – what the caller asks for, what a file records, what is usual where both
 * are silent – and what was saved, in any format and type, coming back. */
#include "dvit/labels.h"
#include "load_bench.h"
#include "weights/model_file.h"
#include "weights/torch_write.h"

/* --- classes, labels, keep ratio, preprocessing --------------------------------------------- */

static void another_class_count_begins_new_heads(void **state)
{
    (void)state;
    static const char *const shapes[] = {
        "vit:dim=24,depth=2,heads=3,patch=4,image=16,classes=3,distilled=1",
        "lvvit:dim=24,depth=2,heads=3,patch=4,image=16,classes=3,stem_width=6"};
    for (size_t i = 0; i < 2; i++) {
        struct bench b = bench_open(shapes[i], 1);
        struct dvit_model *fresh;
        struct dvit_error error;
        b.options.classes = 5;
        b.options.seed = 17;
        struct dvit_model *model = bench_load(&b);
        assert_int_equal(model->config.classes, 5);
        assert_string_equal(dvit_model_label(model, 4), "4");
        assert_true(has_note(model, "the head for 5 classes is new: the file's is for 3"));
        assert_ok(dvit_model_create(&fresh, &model->config, 17, &error), &error);
        for (size_t k = 0; k < model->parameters.count; k++) {
            const struct dvit_parameter *item = &model->parameters.items[k];
            bool head = item->group == DVIT_GROUP_HEAD;
            assert_memory_equal(dvit_model_weights(model, k),
                                dvit_model_weights(head ? fresh : b.model, k),
                                item->count * sizeof(float));
        }
        dvit_model_free(fresh);
        dvit_model_free(model);
        b.options.classes = 3; /* what it has */
        model = bench_load(&b);
        assert_same_weights(model, b.model);
        dvit_model_free(model);
        b.options.classes = -1;
        bench_fails(&b, DVIT_ERROR_ARGUMENT, "classes is -1");
        bench_close(&b);
    }
}

static void backbones_without_a_head_need_a_class_count(void **state)
{
    (void)state;
    struct bench b = bench_open(bench_shape, 0);
    tensor_list_remove(&b.list, "head.weight");
    tensor_list_remove(&b.list, "head.bias");
    bench_fails(&b, DVIT_ERROR_MISMATCH, "has no classifier");
    for (int classes = 1; classes <= 4; classes += 3) {
        b.options.classes = classes;
        struct dvit_model *model = bench_load(&b);
        assert_int_equal(model->config.classes, classes);
        assert_true(has_note(model, "is new: the file has none"));
        dvit_model_free(model);
    }
    bench_close(&b);
}

static void a_thousand_classes_are_imagenets(void **state)
{
    (void)state;
    struct bench b = bench_open("vit:dim=24,depth=1,heads=3,patch=4,image=16,classes=1000", 0);
    struct dvit_model *model = bench_load(&b);
    assert_string_equal(dvit_model_label(model, 0), "tench");
    assert_string_equal(dvit_model_label(model, 999), dvit_imagenet_label(999));
    dvit_model_free(model);
    b.options.classes = 12;
    model = bench_load(&b);
    assert_string_equal(dvit_model_label(model, 0), "0");
    dvit_model_free(model);
    bench_close(&b);
}

/* A PyTorch file that records `rate` as args.base_rate would; NULL: none. */
static struct dvit_model *load_with_rate(struct bench *b, const char *rate)
{
    struct dvit_error error;
    struct dvit_model *model;
    struct dvit_safetensors_entry *entries = calloc(b->list.count, sizeof *entries);
    for (size_t i = 0; i < b->list.count; i++) {
        const struct dvit_tensor_view *view = &b->list.views[i];
        entries[i] = (struct dvit_safetensors_entry){
            .name = view->name, .dtype = view->dtype, .rank = view->rank, .data = view->data};
        memcpy(entries[i].shape, view->shape, sizeof entries[i].shape);
    }
    struct dvit_safetensors_pair pair = {"args/base_rate", rate};
    assert_ok(dvit_safetensors_write(b->path, entries, b->list.count, &pair, rate ? 1 : 0, &error),
              &error);
    assert_ok(dvit_model_load(&model, b->path, &b->options, &error), &error);
    free(entries);
    return model;
}

static void keep_ratios_come_from_who_knows(void **state)
{
    (void)state;
    static const struct {
        const char *recorded;
        double asked, keep;
        const char *note;
    } cases[] = {
        {NULL, 0, 0.7, "keep ratio 0.7: the file records none"},
        {"0.5", 0, 0.5, "keep ratio 0.5: the file's args.base_rate"},
        {"1", 0, 1, "keep ratio 1: the file's args.base_rate"},
        {"0.5", 0.9, 0.9, "keep ratio 0.9, as asked for"},
        {"1.5", 0, 0.7, "keep ratio 0.7: the file records \"1.5\", which is none"},
        {"nan", 0, 0.7, "which is none"},
        {"0.5x", 0, 0.7, "which is none"},
        {"", 0, 0.7, "which is none"},
    };
    struct bench b = bench_open(bench_shape, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        b.options.keep = cases[i].asked;
        struct dvit_model *model = load_with_rate(&b, cases[i].recorded);
        assert_true(model->config.keep == cases[i].keep);
        assert_true(has_note(model, cases[i].note));
        dvit_model_free(model);
    }
    b.options.keep = 1.01;
    bench_fails(&b, DVIT_ERROR_ARGUMENT, "keep is 1.01");
    b.options.keep = -0.5;
    bench_fails(&b, DVIT_ERROR_ARGUMENT, "keep is -0.5");
    bench_close(&b);
    b = bench_open(bench_shape, 0);
    struct dvit_model *dense = bench_load(&b);
    assert_false(has_note(dense, "keep ratio"));
    dvit_model_free(dense);
    bench_close(&b);
}

static void preprocessing_is_the_familys(void **state)
{
    (void)state;
    static const struct {
        const char *shape, *asked, *name;
    } cases[] = {{"", NULL, "dynamicvit"},
                 {",distilled=1", NULL, "dynamicvit"},
                 {",layer_scale=1", NULL, "timm"},
                 {",mean_pool=1", NULL, "timm"},
                 {",mean_pool=1", "native", "native"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char shape[128], note[128];
        snprintf(shape, sizeof shape, "%s%s", bench_shape, cases[i].shape);
        struct bench b = bench_open(shape, 0);
        b.options.preprocess = cases[i].asked;
        struct dvit_model *model = bench_load(&b);
        assert_string_equal(model->preprocess.name, cases[i].name);
        snprintf(note, sizeof note, "preprocessing \"%s\": the file states none", cases[i].name);
        assert_int_equal(has_note(model, note), !cases[i].asked);
        dvit_model_free(model);
        b.options.preprocess = "torchvision";
        bench_fails(&b, DVIT_ERROR_NOT_FOUND, "unknown preprocessing \"torchvision\"");
        bench_close(&b);
    }
}

static void timms_description_beside_the_file_counts(void **state)
{
    (void)state;
    struct bench b = bench_open(bench_shape, 0);
    write_text(b.folder, "config.json",
               "{\"architecture\":\"vit\",\"pretrained_cfg\":{\"input_size\":[3,16,16],"
               "\"crop_pct\":0.8,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]}}");
    struct dvit_model *model = bench_load(&b);
    assert_int_equal(model->preprocess.resize_side, 20);
    assert_true(model->preprocess.std[1] == 0.5f);
    assert_true(has_note(model, "as timm's config.json beside the file says"));
    dvit_model_free(model);
    b.options.image_width = 32;
    model = bench_load(&b);
    assert_int_equal(model->preprocess.resize_side, 40);
    dvit_model_free(model);
    b.options.image_width = 0;
    /* One that has nothing to do with the weights does no harm. */
    static const char *const others[] = {"{\"lr\":1}", "{", ""};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        write_text(b.folder, "config.json", others[i]);
        model = bench_load(&b);
        assert_string_equal(model->preprocess.name, "dynamicvit");
        assert_true(has_note(model, "not used: config.json"));
        dvit_model_free(model);
    }
    bench_close(&b);
}

static void names_of_presets_are_found(void **state)
{
    (void)state;
    struct bench b = bench_open("deit-t", 3);
    b.options.heads = 0;
    struct dvit_model *model = bench_load(&b);
    assert_string_equal(model->config.name, "deit-t");
    assert_int_equal(dvit_model_parameters(model), 5899582);
    dvit_model_free(model);
    b.options.image_width = 160;
    model = bench_load(&b);
    assert_string_equal(model->config.name, "vit");
    assert_int_equal(model->preprocess.resize_side, 182);
    dvit_model_free(model);
    bench_close(&b);
}

static void texts_of_shapes_are_no_files(void **state)
{
    (void)state;
    struct dvit_model *model;
    struct dvit_error error;
    static const char *const shapes[] = {"vit:dim=1/2", "lvvit:dim=1/2"};
    static const char *const files[] = {"missing.pth", "missing.pt", "a/b", "missing.bin"};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        assert_fails(dvit_model_open(&model, shapes[i], NULL, 0, NULL, &error), &error,
                     DVIT_ERROR_ARGUMENT, "dim is");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_fails(dvit_model_open(&model, files[i], NULL, 0, NULL, &error), &error,
                     DVIT_ERROR_NOT_FOUND, files[i]);
}

/* --- dvit's own files ----------------------------------------------------------------------- */

static void saved_files_come_back_from_any_format(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum dvit_file_format format;
        bool zip;
    } forms[] = {{"a.safetensors", DVIT_FILE_BY_NAME, false}, {"a.pth", DVIT_FILE_BY_NAME, true},
                 {"a.pt", DVIT_FILE_BY_NAME, true},           {"a.bin", DVIT_FILE_BY_NAME, true},
                 {"a.pth.tar", DVIT_FILE_BY_NAME, true},      {"a", DVIT_FILE_BY_NAME, false},
                 {"a.pth", DVIT_FILE_SAFETENSORS, false},     {"a.st", DVIT_FILE_TORCH, true}};
    static const char *const shapes[] = {
        "vit:dim=24,depth=2,heads=3,patch=4,width=12,height=8,classes=3",
        "lvvit:dim=24,depth=2,heads=3,patch=4,image=16,classes=3,stem_width=6"};
    for (size_t i = 0; i < 2 * sizeof forms / sizeof *forms; i++) {
        struct bench b = bench_open(shapes[i % 2], 1);
        struct dvit_save_options save = {.format = forms[i / 2].format};
        struct dvit_model *model;
        struct dvit_error error;
        unsigned char *bytes;
        size_t size;
        const char *const labels[] = {"größer", "\"b\"", ""};
        assert_ok(dvit_model_set_labels(b.model, labels, 3, &error), &error);
        snprintf(b.path, sizeof b.path, "%s/%s", b.folder, forms[i / 2].name);
        assert_ok(dvit_model_save(b.model, b.path, &save, &error), &error);
        assert_ok(dvit_file_read(b.path, 1 << 24, &bytes, &size, &error), &error);
        assert_int_equal(memcmp(bytes, "PK\3\4", 4) == 0, forms[i / 2].zip);
        free(bytes);
        assert_ok(dvit_model_load(&model, b.path, NULL, &error), &error);
        assert_same_weights(model, b.model);
        assert_int_equal(model->notes.count, 0);
        assert_int_equal(model->config.heads, 3);
        assert_int_equal(model->config.stem_width, b.model->config.stem_width);
        assert_true(model->config.skip_lam == b.model->config.skip_lam);
        assert_string_equal(dvit_model_label(model, 0), "größer");
        assert_memory_equal(model->preprocess.mean, b.model->preprocess.mean, sizeof(float[3]));
        dvit_model_free(model);
        bench_close(&b);
    }
}

static void halves_are_the_nearest(void **state)
{
    (void)state;
    static const char *const types[] = {"f16", "bf16"}, *const names[] = {"a.safetensors", "a.pth"};
    for (int i = 0; i < 4; i++) {
        struct bench b = bench_open(bench_shape, 1);
        struct dvit_save_options save = {.dtype = types[i % 2]};
        struct dvit_model *model;
        struct dvit_error error;
        snprintf(b.path, sizeof b.path, "%s/%s", b.folder, names[i / 2]);
        assert_ok(dvit_model_save(b.model, b.path, &save, &error), &error);
        assert_ok(dvit_model_load(&model, b.path, NULL, &error), &error);
        float unit = i % 2 ? 0x1p-8f : 0x1p-11f; /* half a unit in the last place, relative */
        size_t changed = 0;
        for (size_t k = 0; k < model->parameters.floats; k++) {
            float before = b.model->weights[k], after = model->weights[k];
            changed += before != after;
            assert_true(fabsf(before - after) <= fabsf(before) * unit + 0x1p-25f);
        }
        assert_true(changed > model->parameters.total / 2);
        dvit_model_free(model);
        bench_close(&b);
    }
}

static void what_cannot_be_saved_is_refused(void **state)
{
    (void)state;
    struct bench b = bench_open(bench_shape, 0);
    struct dvit_error error;
    struct dvit_save_options half = {.dtype = "f16"}, odd = {.dtype = "f8"};
    int at = dvit_parameters_find(&b.model->parameters, "norm.bias");
    dvit_model_weights(b.model, (size_t)at)[3] = 70000;
    assert_fails(dvit_model_save(b.model, b.path, &half, &error), &error, DVIT_ERROR_LIMIT,
                 "tensor \"norm.bias\": 1 of its 24 numbers are beyond the range of F16");
    assert_false(dvit_file_exists(b.path));
    assert_fails(dvit_model_save(b.model, b.path, &odd, &error), &error, DVIT_ERROR_ARGUMENT,
                 "dtype is \"f8\", expected \"f32\", \"f16\", \"bf16\" or \"int8\"");
    half.dtype = "bf16"; /* has the range */
    assert_ok(dvit_model_save(b.model, b.path, &half, &error), &error);
    bench_close(&b);
}

static void own_files_follow_options_too(void **state)
{
    (void)state;
    struct bench b =
        bench_open("vit:dim=24,depth=2,heads=3,patch=4,width=8,height=32,classes=3", 1);
    struct dvit_model *model;
    struct dvit_error error;
    assert_ok(dvit_model_save(b.model, b.path, NULL, &error), &error);
    struct dvit_load_options options = {.heads = 4,
                                        .image_width = 32,
                                        .image_height = 8,
                                        .classes = 6,
                                        .keep = 0.25,
                                        .preprocess = "native"};
    assert_ok(dvit_model_load(&model, b.path, &options, &error), &error);
    assert_int_equal(model->config.heads, 4);
    assert_int_equal(model->config.classes, 6);
    assert_true(model->config.keep == 0.25);
    assert_string_equal(model->preprocess.name, "native");
    /* as many patches on another grid: interpolated all the same */
    int at = dvit_parameters_find(&model->parameters, "pos_embed");
    assert_memory_not_equal(dvit_model_weights(model, (size_t)at),
                            dvit_model_weights(b.model, (size_t)at), 17 * 24 * sizeof(float));
    dvit_model_free(model);
    options = (struct dvit_load_options){.image_width = 40};
    assert_ok(dvit_model_load(&model, b.path, &options, &error), &error);
    assert_int_equal(model->preprocess.resize_side, (int)(40 / 0.875)); /* the preset's own rule */
    dvit_model_free(model);
    options = (struct dvit_load_options){.average = true};
    assert_fails(dvit_model_load(&model, b.path, &options, &error), &error, DVIT_ERROR_NOT_FOUND,
                 "no averaged weights");
    bench_close(&b);
}

static void states_of_training_are_no_models(void **state)
{
    (void)state;
    struct bench b = bench_open(bench_shape, 0);
    struct dvit_model *model;
    struct dvit_model_metadata metadata;
    struct dvit_error error;
    size_t count = b.model->parameters.count;
    struct dvit_safetensors_entry *entries = calloc(count, sizeof *entries);
    char(*names)[96] = calloc(count, sizeof *names);
    assert_ok(dvit_model_metadata_create(&metadata, b.model, &error), &error);
    dvit_model_entries(&b.model->parameters, b.model->weights, "model.", entries, names);
    assert_ok(dvit_safetensors_write(b.path, entries, count, metadata.pairs, 3, &error), &error);
    assert_fails(dvit_model_load(&model, b.path, NULL, &error), &error, DVIT_ERROR_FORMAT,
                 "state of a training run");
    dvit_model_metadata_free(&metadata);
    free(entries);
    free(names);
    bench_close(&b);
}

/* Files from before traits were recorded. */
static void old_files_still_load(void **state)
{
    (void)state;
    struct bench b = bench_open(bench_shape, 1);
    struct dvit_model *model;
    struct dvit_error error;
    struct dvit_safetensors_pair pairs[] = {
        {"dvit.config",
         "{\"family\":\"vit\",\"name\":\"vit\",\"image_width\":16,\"image_height\":16,\"patch\":4,"
         "\"dim\":24,\"depth\":2,\"heads\":3,\"mlp\":96,\"classes\":3,\"norm_eps\":1e-6,"
         "\"stage_block\":[1],\"keep\":0.5}"},
        {"dvit.preprocess",
         "{\"name\":\"custom\",\"fit\":\"crop\",\"resize_side\":16,\"crop_width\":16,"
         "\"crop_height\":16,\"mean\":[0.5,0.5,0.5],\"std\":[1.0,1.0,1.0]}"},
        {"dvit.labels", "[\"a\",\"b\",\"c\"]"}};
    size_t count = b.model->parameters.count;
    struct dvit_safetensors_entry *entries = calloc(count, sizeof *entries);
    char(*names)[96] = calloc(count, sizeof *names);
    dvit_model_entries(&b.model->parameters, b.model->weights, "", entries, names);
    for (int zip = 0; zip < 2; zip++) {
        assert_ok(zip ? dvit_torch_write(b.path, entries, count, pairs, 3, &error)
                      : dvit_safetensors_write(b.path, entries, count, pairs, 3, &error),
                  &error);
        assert_ok(dvit_model_load(&model, b.path, NULL, &error), &error);
        assert_same_weights(model, b.model);
        assert_true(model->config.qkv_bias && model->config.skip_lam == 1);
        assert_true(model->config.keep == 0.5 && !model->preprocess.bilinear);
        assert_string_equal(dvit_model_label(model, 2), "c");
        dvit_model_free(model);
        struct dvit_load_options wider = {.image_width = 32};
        assert_ok(dvit_model_load(&model, b.path, &wider, &error), &error);
        assert_int_equal(model->preprocess.resize_side, 32);
        assert_true(has_note(model, "preprocessing \"custom\" is for 16 × 16 pixels"));
        dvit_model_free(model);
    }
    free(entries);
    free(names);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_class_count_begins_new_heads),
        cmocka_unit_test(backbones_without_a_head_need_a_class_count),
        cmocka_unit_test(a_thousand_classes_are_imagenets),
        cmocka_unit_test(keep_ratios_come_from_who_knows),
        cmocka_unit_test(preprocessing_is_the_familys),
        cmocka_unit_test(timms_description_beside_the_file_counts),
        cmocka_unit_test(names_of_presets_are_found),
        cmocka_unit_test(texts_of_shapes_are_no_files),
        cmocka_unit_test(saved_files_come_back_from_any_format),
        cmocka_unit_test(halves_are_the_nearest),
        cmocka_unit_test(what_cannot_be_saved_is_refused),
        cmocka_unit_test(own_files_follow_options_too),
        cmocka_unit_test(states_of_training_are_no_models),
        cmocka_unit_test(old_files_still_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
