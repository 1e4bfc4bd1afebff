/* Hugging Face's config.json and preprocessor_config.json: what transformers writes is understood,
 * what dvit does not compute is refused by name, what is damaged or absurd is refused. */
#include "test_util.h"
#include "weights/hf_config.h"
#include "weights/timm_config.h"

static enum dvit_status parse_config(const char *text, struct dvit_hf_config *out,
                                     struct dvit_error *error)
{
    return dvit_hf_config_parse(out, text, strlen(text), error);
}

static void configurations_are_read(void **state)
{
    (void)state;
    struct dvit_hf_config c;
    struct dvit_error error;
    assert_ok(parse_config("{\"architectures\":[\"ViTForImageClassification\"],"
                           "\"model_type\":\"vit\",\"hidden_act\":\"gelu\",\"hidden_size\":192,"
                           "\"num_attention_heads\":3,\"num_hidden_layers\":12,"
                           "\"intermediate_size\":768,\"image_size\":224,\"patch_size\":16,"
                           "\"num_channels\":3,\"layer_norm_eps\":1e-6,\"qkv_bias\":false,"
                           "\"id2label\":{\"1\":\"dog\",\"0\":\"cat\"},"
                           "\"label2id\":{\"cat\":0,\"dog\":1}}",
                           &c, &error),
              &error);
    assert_int_equal(c.heads, 3);
    assert_int_equal(c.dim, 192);
    assert_int_equal(c.depth, 12);
    assert_int_equal(c.mlp, 768);
    assert_int_equal(c.patch, 16);
    assert_int_equal(c.image_width, 224);
    assert_int_equal(c.image_height, 224);
    assert_true(c.norm_eps == 1e-6f);
    assert_true(c.no_qkv_bias && !c.deit);
    assert_int_equal(c.labels.count, 2);
    assert_string_equal(c.labels.items[0], "cat");
    assert_string_equal(c.labels.items[1], "dog");
    dvit_hf_config_free(&c);
    /* silent: transformers' own defaults, or unknown */
    assert_ok(parse_config("{\"model_type\":\"deit\",\"image_size\":[192,256],\"id2label\":null}",
                           &c, &error),
              &error);
    assert_true(c.deit && c.norm_eps == 1e-12f && !c.no_qkv_bias);
    assert_int_equal(c.heads, 0);
    assert_int_equal(c.image_height, 192);
    assert_int_equal(c.image_width, 256);
    assert_false(c.labels.stated);
    dvit_hf_config_free(&c);
}

/* Names of classes are shown, never a reason to refuse a model. */
static void any_labels_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int count, named;
        const char *first;
    } cases[] = {{"{\"id2label\":[\"cat\",\"dog\"]}", 2, 2, "cat"},
                 {"{\"id2label\":{\"0\":\"cat\",\"2\":\"dog\"}}", 3, 2, "cat"},
                 {"{\"id2label\":{\"0\":7,\"1\":8.5}}", 2, 2, "7"},
                 {"{\"id2label\":{\"0\":null,\"1\":[]}}", 2, 0, NULL},
                 {"{\"id2label\":{\"x\":\"cat\",\"-1\":\"dog\"}}", 0, 0, NULL},
                 {"{\"id2label\":\"cat\"}", 0, 0, NULL},
                 {"{\"id2label\":{\"9999999\":\"far\"}}", 0, 0, NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dvit_hf_config c;
        struct dvit_error error;
        assert_ok(parse_config(cases[i].text, &c, &error), &error);
        assert_true(c.labels.stated);
        assert_int_equal(c.labels.count, cases[i].count);
        assert_int_equal(c.labels.named, cases[i].named);
        if (cases[i].first)
            assert_string_equal(c.labels.items[0], cases[i].first);
        dvit_hf_config_free(&c);
    }
}

static void bad_configurations_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
        enum dvit_status code;
    } bad[] = {
        {"", "config.json: ", DVIT_ERROR_FORMAT},
        {"[]", "expected an object", DVIT_ERROR_FORMAT},
        {"{\"a\":1,\"a\":2}", "duplicate", DVIT_ERROR_FORMAT},
        {"{\"\x1b[2J\":}", "config.json: ", DVIT_ERROR_FORMAT},
        {"{\"hidden_act\":\"gelu_new\"}", "hidden_act is \"gelu_new\", expected \"gelu\"",
         DVIT_ERROR_UNSUPPORTED},
        {"{\"hidden_act\":[]}", "hidden_act is \"?\"", DVIT_ERROR_UNSUPPORTED},
        {"{\"model_type\":\"swin\"}", "expected \"vit\" or \"deit\"", DVIT_ERROR_UNSUPPORTED},
        {"{\"num_channels\":1}", "num_channels is 1", DVIT_ERROR_UNSUPPORTED},
        {"{\"num_attention_heads\":0}", "num_attention_heads is not a whole", DVIT_ERROR_FORMAT},
        {"{\"num_attention_heads\":\"3\"}", "num_attention_heads", DVIT_ERROR_FORMAT},
        {"{\"num_attention_heads\":3.5}", "num_attention_heads", DVIT_ERROR_FORMAT},
        {"{\"num_attention_heads\":4294967299}", "num_attention_heads", DVIT_ERROR_FORMAT},
        {"{\"image_size\":-1}", "image_size", DVIT_ERROR_FORMAT},
        {"{\"image_size\":[224]}", "image_size has 1 entries, expected 2", DVIT_ERROR_FORMAT},
        {"{\"image_size\":[224,null]}", "image_size[1]", DVIT_ERROR_FORMAT},
        {"{\"layer_norm_eps\":0}", "layer_norm_eps is 0", DVIT_ERROR_FORMAT},
        {"{\"layer_norm_eps\":1e-60}", "layer_norm_eps", DVIT_ERROR_FORMAT},
        {"{\"layer_norm_eps\":\"1e-6\"}", "layer_norm_eps is not a number", DVIT_ERROR_FORMAT},
        {"{\"qkv_bias\":1}", "qkv_bias is not true or false", DVIT_ERROR_FORMAT},
        {"{\"problem_type\":\"multi_label_classification\"}",
         "problem_type is \"multi_label_classification\"", DVIT_ERROR_UNSUPPORTED},
        {"{\"problem_type\":\"regression\"}", "problem_type is \"regression\"",
         DVIT_ERROR_UNSUPPORTED},
        {"{\"x\":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}", "nests deeper", DVIT_ERROR_FORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dvit_hf_config c;
        struct dvit_error error;
        assert_fails(parse_config(bad[i].text, &c, &error), &error, bad[i].code, bad[i].part);
        assert_null(c.labels.items);
        assert_null(strchr(error.message, '\x1b'));
    }
}

static void configurations_are_held_to_their_tensors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } bad[] = {{"{\"hidden_size\":384}", "hidden_size is 384, but the tensors"},
               {"{\"num_hidden_layers\":11}", "num_hidden_layers is 11"},
               {"{\"intermediate_size\":1}", "intermediate_size is 1"},
               {"{\"patch_size\":32}", "patch_size is 32"},
               {"{\"image_size\":384}", "image_size is 384"},
               {"{\"image_size\":[384,224]}", "image_size is 384"}};
    struct dvit_config config;
    struct dvit_hf_config c;
    struct dvit_error error;
    assert_ok(dvit_config_parse("deit-t", &config, &error), &error);
    assert_ok(parse_config("{\"hidden_size\":192,\"image_size\":224}", &c, &error), &error);
    assert_ok(dvit_hf_config_compare(&c, &config, &error), &error);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_ok(parse_config(bad[i].text, &c, &error), &error);
        assert_fails(dvit_hf_config_compare(&c, &config, &error), &error, DVIT_ERROR_MISMATCH,
                     bad[i].part);
    }
}

static enum dvit_status parse_preprocess(const char *text, bool deit, struct dvit_preprocess *out,
                                         struct dvit_error *error)
{
    return dvit_hf_preprocess_parse(out, text, strlen(text), deit, 40, 48, error);
}

static void preprocessors_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool deit;
        enum dvit_fit fit;
        int resize_side, width, height;
        bool bilinear;
        float mean, std;
    } cases[] = {
        /* what the processors do by themselves */
        {"{}", false, DVIT_FIT_SQUASH, 0, 224, 224, true, 0.5f, 0.5f},
        {"{}", true, DVIT_FIT_SQUASH, 256, 224, 224, false, 0.5f, 0.5f},
        {"{\"image_processor_type\":\"DeiTImageProcessor\"}", false, DVIT_FIT_SQUASH, 256, 224, 224,
         false, 0.5f, 0.5f},
        {"{\"feature_extractor_type\":\"ViTFeatureExtractor\"}", true, DVIT_FIT_SQUASH, 0, 224, 224,
         true, 0.5f, 0.5f},
        /* sizes */
        {"{\"size\":384,\"resample\":3}", false, DVIT_FIT_SQUASH, 0, 384, 384, false, 0.5f, 0.5f},
        {"{\"size\":{\"height\":192,\"width\":256}}", false, DVIT_FIT_SQUASH, 0, 256, 192, true,
         0.5f, 0.5f},
        {"{\"size\":{\"shortest_edge\":256},\"do_center_crop\":true,\"crop_size\":224}", false,
         DVIT_FIT_CROP, 256, 224, 224, true, 0.5f, 0.5f},
        {"{\"size\":256,\"do_center_crop\":true,\"crop_size\":{\"height\":192,\"width\":224}}",
         false, DVIT_FIT_SQUASH, 256, 224, 192, true, 0.5f, 0.5f},
        {"{\"size\":224,\"do_center_crop\":true,\"crop_size\":224}", false, DVIT_FIT_SQUASH, 0, 224,
         224, true, 0.5f, 0.5f},
        {"{\"do_resize\":false,\"resample\":0}", false, DVIT_FIT_NONE, 0, 40, 48, false, 0.5f,
         0.5f},
        /* values */
        {"{\"image_mean\":[0.25,0.25,0.25],\"image_std\":0.125}", false, DVIT_FIT_SQUASH, 0, 224,
         224, true, 0.25f, 0.125f},
        {"{\"do_normalize\":false,\"image_std\":0.1}", false, DVIT_FIT_SQUASH, 0, 224, 224, true, 0,
         1},
        {"{\"rescale_factor\":0.00392156862745098}", false, DVIT_FIT_SQUASH, 0, 224, 224, true,
         0.5f, 0.5f},
        {"{\"rescale_factor\":0.00784313725490196}", false, DVIT_FIT_SQUASH, 0, 224, 224, true,
         0.25f, 0.25f},
        {"{\"do_rescale\":false,\"image_mean\":127.5,\"image_std\":255}", false, DVIT_FIT_SQUASH, 0,
         224, 224, true, 0.5f, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dvit_preprocess p;
        struct dvit_error error;
        assert_ok(parse_preprocess(cases[i].text, cases[i].deit, &p, &error), &error);
        assert_string_equal(p.name, "huggingface");
        assert_int_equal(p.fit, cases[i].fit);
        assert_int_equal(p.resize_side, cases[i].resize_side);
        assert_int_equal(p.crop_width, cases[i].width);
        assert_int_equal(p.crop_height, cases[i].height);
        assert_int_equal(p.bilinear, cases[i].bilinear);
        for (int k = 0; k < 3; k++) {
            assert_float_equal(p.mean[k], cases[i].mean, 1e-7);
            assert_float_equal(p.std[k], cases[i].std, 1e-7);
        }
    }
}

static void bad_preprocessors_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
        enum dvit_status code;
    } bad[] = {
        {"{", "preprocessor_config.json: ", DVIT_ERROR_FORMAT},
        {"7", "preprocessor_config.json: ", DVIT_ERROR_FORMAT},
        {"{\"do_resize\":1}", "do_resize is not true or false", DVIT_ERROR_FORMAT},
        {"{\"resample\":1}", "resample is 1", DVIT_ERROR_UNSUPPORTED},
        {"{\"resample\":0}", "resample is 0", DVIT_ERROR_UNSUPPORTED},
        {"{\"resample\":2.5}", "resample is 2.5", DVIT_ERROR_UNSUPPORTED},
        {"{\"resample\":\"bicubic\"}", "resample", DVIT_ERROR_FORMAT},
        {"{\"size\":0}", "size is not a whole number", DVIT_ERROR_FORMAT},
        {"{\"size\":[224,224]}", "size is not a whole number", DVIT_ERROR_FORMAT},
        {"{\"size\":{}}", "size has to be", DVIT_ERROR_UNSUPPORTED},
        {"{\"size\":{\"height\":224}}", "size has to be", DVIT_ERROR_UNSUPPORTED},
        {"{\"size\":{\"shortest_edge\":224,\"height\":224}}", "size has to be",
         DVIT_ERROR_UNSUPPORTED},
        {"{\"size\":{\"shortest_edge\":224,\"longest_edge\":1333}}", "size has to be",
         DVIT_ERROR_UNSUPPORTED},
        {"{\"size\":{\"shortest_edge\":224}}", "the size after resizing is not fixed",
         DVIT_ERROR_UNSUPPORTED},
        {"{\"do_center_crop\":true,\"crop_size\":{\"shortest_edge\":224}}",
         "the size after cropping is not fixed", DVIT_ERROR_UNSUPPORTED},
        {"{\"do_center_crop\":true,\"crop_size\":224,\"size\":{\"height\":256,\"width\":320}}",
         "only from a square", DVIT_ERROR_UNSUPPORTED},
        {"{\"do_resize\":false,\"do_center_crop\":true,\"crop_size\":224}",
         "cropping without resizing", DVIT_ERROR_UNSUPPORTED},
        {"{\"size\":8193}", "sizes", DVIT_ERROR_LIMIT},
        {"{\"size\":16777217}", "size", DVIT_ERROR_FORMAT},
        {"{\"image_mean\":[0.5,0.5]}", "image_mean is not three numbers", DVIT_ERROR_FORMAT},
        {"{\"image_mean\":[0.5,0.5,\"0.5\"]}", "image_mean", DVIT_ERROR_FORMAT},
        {"{\"image_mean\":[0.5,0.5,null]}", "image_mean", DVIT_ERROR_FORMAT},
        {"{\"image_std\":0}", "expected finite numbers", DVIT_ERROR_FORMAT},
        {"{\"image_std\":-1}", "expected finite numbers", DVIT_ERROR_FORMAT},
        {"{\"image_mean\":1e300}", "expected finite numbers", DVIT_ERROR_FORMAT},
        {"{\"rescale_factor\":0}", "expected finite numbers", DVIT_ERROR_FORMAT},
        {"{\"rescale_factor\":-1}", "expected finite numbers", DVIT_ERROR_FORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dvit_preprocess p;
        struct dvit_error error;
        assert_fails(parse_preprocess(bad[i].text, false, &p, &error), &error, bad[i].code,
                     bad[i].part);
    }
}

static void timms_descriptions_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name;
        enum dvit_fit fit;
        int resize_side, side;
        bool bilinear;
        float mean;
    } good[] = {
        {"{\"architecture\":\"vit_base_patch16_224\",\"num_classes\":1000,\"pretrained_cfg\":{"
         "\"input_size\":[3,224,224],\"crop_pct\":0.9,\"crop_mode\":\"center\","
         "\"interpolation\":\"bicubic\",\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]}}",
         "timm-config", DVIT_FIT_CROP, 248, 224, false, 0.5f},
        {"{\"pretrained_cfg\":{\"input_size\":[3,224,224],\"crop_pct\":0.9,\"mean\":[0.485,0.456,0."
         "406],"
         "\"std\":[0.229,0.224,0.225]}}",
         "timm", DVIT_FIT_CROP, 248, 224, false, 0.485f},
        {"{\"architecture\":\"x\",\"input_size\":[3,384,384],\"crop_pct\":1,"
         "\"crop_mode\":\"squash\",\"interpolation\":\"bilinear\"}",
         "timm-config", DVIT_FIT_SQUASH, 384, 384, true, 0.5f},
    };
    static const struct {
        const char *text, *part;
        enum dvit_status code;
    } bad[] = {
        {"{\"lr\":0.1}", "config.json is not timm's", DVIT_ERROR_NOT_FOUND},
        {"{\"pretrained_cfg\":7}", "config.json is not timm's", DVIT_ERROR_NOT_FOUND},
        {"[", "config.json: ", DVIT_ERROR_FORMAT},
        {"{\"pretrained_cfg\":{}}", "input_size has 0 entries", DVIT_ERROR_FORMAT},
        {"{\"pretrained_cfg\":{\"input_size\":[3,224,\"224\"]}}", "input_size[2]",
         DVIT_ERROR_FORMAT},
        {"{\"pretrained_cfg\":{\"input_size\":[3,224,192]}}", "only squares",
         DVIT_ERROR_UNSUPPORTED},
        {"{\"pretrained_cfg\":{\"input_size\":[3,9000,9000]}}", "only squares of at most 8192",
         DVIT_ERROR_UNSUPPORTED},
        {"{\"pretrained_cfg\":{\"input_size\":[3,32,32],\"interpolation\":\"random\"}}",
         "interpolation \"random\" is not supported", DVIT_ERROR_UNSUPPORTED},
        {"{\"pretrained_cfg\":{\"input_size\":[3,32,32],\"crop_mode\":\"border\"}}",
         "crop_mode \"border\" is not supported", DVIT_ERROR_UNSUPPORTED},
        {"{\"pretrained_cfg\":{\"input_size\":[3,32,32],\"crop_pct\":0}}", "crop_pct is 0",
         DVIT_ERROR_FORMAT},
        {"{\"pretrained_cfg\":{\"input_size\":[3,32,32],\"std\":[1,1,0]}}", "positive std",
         DVIT_ERROR_ARGUMENT},
    };
    struct dvit_preprocess p;
    struct dvit_error error;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        const char *text = good[i].text;
        assert_ok(dvit_timm_preprocess_parse(&p, text, strlen(text), &error), &error);
        assert_string_equal(p.name, good[i].name);
        assert_int_equal(p.fit, good[i].fit);
        assert_int_equal(p.resize_side, good[i].resize_side);
        assert_int_equal(p.crop_width, good[i].side);
        assert_int_equal(p.crop_height, good[i].side);
        assert_int_equal(p.bilinear, good[i].bilinear);
        assert_float_equal(p.mean[0], good[i].mean, 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fails(dvit_timm_preprocess_parse(&p, bad[i].text, strlen(bad[i].text), &error),
                     &error, bad[i].code, bad[i].part);
}

/* What the model computes: used, or refused by name. */
static void timms_models_are_described(void **state)
{
    (void)state;
    static const char good[] =
        "{\"architecture\":\"vit_tiny_patch16_224\",\"num_classes\":3,\"num_features\":192,"
        "\"global_pool\":\"token\",\"model_args\":{\"num_heads\":6,\"depth\":12,\"mlp_ratio\":4.0,"
        "\"qkv_bias\":true,\"init_values\":null,\"act_layer\":\"gelu\",\"drop_rate\":0.1,"
        "\"norm_eps\":1e-5},\"pretrained_cfg\":{\"label_names\":[\"n01440764\",\"b\",\"c\"],"
        "\"label_descriptions\":{\"n01440764\":\"tench\",\"b\":\"x\"}}}";
    static const struct {
        const char *text, *part;
    } refused[] = {
        {"\"act_layer\":\"quick_gelu\"", "model_args.act_layer is \"quick_gelu\""},
        {"\"act_layer\":\"gelu_tanh\"", "model_args.act_layer"},
        {"\"norm_layer\":\"rmsnorm\"", "model_args.norm_layer"},
        {"\"global_pool\":\"max\"", "model_args.global_pool is \"max\""},
        {"\"global_pool\":\"map\"", "model_args.global_pool"},
        {"\"reg_tokens\":4", "model_args.reg_tokens is 4"},
        {"\"class_token\":false", "model_args.class_token is false"},
        {"\"qk_norm\":true", "model_args.qk_norm is true"},
        {"\"pre_norm\":true", "model_args.pre_norm is true"},
        {"\"in_chans\":1", "model_args.in_chans is 1"},
        {"\"final_norm\":false", "model_args.final_norm"},
        {"\"sparkle\":1", "does not know model_args.sparkle"},
        {"\"num_heads\":\"4\"", "model_args.num_heads is not a whole"},
        {"\"norm_eps\":0", "model_args.norm_eps"},
    };
    static const struct {
        const char *text, *part;
    } other[] = {
        {"\"depth\":11", "depth is 11, but the tensors are of a model with 12"},
        {"\"embed_dim\":384", "embed_dim or num_features is 384"},
        {"\"patch_size\":8", "patch_size is 8"},
        {"\"img_size\":384", "img_size is 384"},
        {"\"mlp_ratio\":3", "mlp_ratio times the width is 576"},
        {"\"qkv_bias\":false", "qkv_bias is 0"},
        {"\"init_values\":1e-5", "layer scale"},
        {"\"num_classes\":7", "num_classes is 7"},
        {"\"global_pool\":\"avg\"", "global_pool is \"avg\""},
    };
    struct dvit_timm_config c;
    struct dvit_config config;
    struct dvit_error error;
    char text[300];
    assert_ok(dvit_timm_config_parse(&c, good, strlen(good), &error), &error);
    assert_int_equal(c.heads, 6);
    assert_true(c.found && c.norm_eps == 1e-5f && c.qkv_bias == 1 && c.layer_scale == -1);
    assert_int_equal(c.labels.count, 3);
    assert_string_equal(c.labels.items[0], "tench");
    assert_string_equal(c.labels.items[1], "b");
    assert_ok(dvit_config_parse("deit-t", &config, &error), &error);
    config.classes = 3;
    assert_ok(dvit_timm_config_compare(&c, &config, true, &error), &error);
    dvit_timm_config_free(&c);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        snprintf(text, sizeof text, "{\"architecture\":\"vit\",\"model_args\":{%s}}",
                 refused[i].text);
        assert_false(dvit_timm_config_parse(&c, text, strlen(text), &error) == DVIT_OK);
        assert_non_null(strstr(error.message, refused[i].part));
    }
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        snprintf(text, sizeof text, "{\"architecture\":\"vit\",\"model_args\":{%s}}",
                 other[i].text);
        assert_ok(dvit_timm_config_parse(&c, text, strlen(text), &error), &error);
        assert_false(dvit_timm_config_compare(&c, &config, true, &error) == DVIT_OK);
        assert_non_null(strstr(error.message, other[i].part));
        dvit_timm_config_free(&c);
    }
    snprintf(text, sizeof text, "{\"architecture\":\"vit_base_patch32_clip_quickgelu_224\"}");
    assert_fails(dvit_timm_config_parse(&c, text, strlen(text), &error), &error,
                 DVIT_ERROR_UNSUPPORTED, "quickgelu");
    assert_fails(dvit_timm_config_parse(&c, "{\"lr\":1}", 8, &error), &error, DVIT_ERROR_NOT_FOUND,
                 "not timm's");
}

/* Every truncation and many flipped bits of good texts: a result or a message. */
static void damage_is_survived(void **state)
{
    (void)state;
    static const char config[] =
        "{\"model_type\":\"vit\",\"image_size\":[224,224],\"id2label\":{\"0\":\"a\",\"1\":\"b\"},"
        "\"layer_norm_eps\":1e-12,\"qkv_bias\":true,\"num_attention_heads\":12}";
    static const char prepare[] =
        "{\"size\":{\"height\":224,\"width\":224},\"do_center_crop\":true,\"crop_size\":224,"
        "\"image_mean\":[0.5,0.5,0.5],\"resample\":2,\"rescale_factor\":0.0039}";
    char text[300];
    for (int which = 0; which < 2; which++) {
        const char *good = which ? prepare : config;
        size_t size = strlen(good), refused = 0;
        for (size_t i = 0; i < 9 * size; i++) {
            struct dvit_hf_config c;
            struct dvit_preprocess p;
            struct dvit_error error = {0};
            memcpy(text, good, size);
            text[i / 9] = (char)(text[i / 9] ^ (i % 9 < 8 ? 1 << i % 9 : 0));
            size_t length = i % 9 < 8 ? size : i / 9;
            enum dvit_status status =
                which ? dvit_hf_preprocess_parse(&p, text, length, false, 4, 4, &error)
                      : dvit_hf_config_parse(&c, text, length, &error);
            refused += status != DVIT_OK;
            assert_int_equal(error.status, status);
            assert_true(status == DVIT_OK || error.message[0]);
            if (!which)
                dvit_hf_config_free(&c);
        }
        assert_true(refused > size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_labels_are_read),
        cmocka_unit_test(timms_models_are_described),
        cmocka_unit_test(configurations_are_read),
        cmocka_unit_test(bad_configurations_are_refused),
        cmocka_unit_test(configurations_are_held_to_their_tensors),
        cmocka_unit_test(preprocessors_are_read),
        cmocka_unit_test(bad_preprocessors_are_refused),
        cmocka_unit_test(timms_descriptions_are_read),
        cmocka_unit_test(damage_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
