/* Model files: what is saved comes back, bit for bit; what is damaged, or claims what is not there,
 * is refused with a message and without harm; a failing save keeps the former file. Also how models
 * begin: fresh, sparsified, opened by name. */
#include <sys/resource.h>
#include <sys/stat.h>

#include "random_model.h"
#include "weights/model_file.h"

static const char *const text = "vit:dim=12,depth=2,heads=3,patch=4,width=12,height=8,classes=3";
enum { STAGES = 1 };

static struct dvit_model *small_model(void)
{
    struct dvit_model *model = random_model(text, STAGES, 0.6, 21, 1);
    struct dvit_error error;
    struct dvit_preprocess preprocess = *dvit_model_preprocess(model);
    static const char *const labels[] = {"tench, \"Tinca\"", "größer 金魚", ""};
    snprintf(preprocess.name, sizeof preprocess.name, "custom");
    preprocess.mean[1] = 0.1f;
    preprocess.std[2] = 0.3333333f;
    assert_ok(dvit_model_set_preprocess(model, &preprocess, &error), &error);
    assert_ok(dvit_model_set_labels(model, labels, 3, &error), &error);
    return model;
}

static unsigned char *file_bytes(const char *path, size_t *size)
{
    unsigned char *data;
    struct dvit_error error;
    assert_ok(dvit_file_read(path, (size_t)1 << 28, &data, size, &error), &error);
    return data;
}

static void write_bytes(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void assert_same_model(const struct dvit_model *a, const struct dvit_model *b)
{
    const struct dvit_preprocess *p = &a->preprocess, *q = &b->preprocess;
    assert_string_equal(p->name, q->name);
    assert_true(p->fit == q->fit && p->resize_side == q->resize_side);
    assert_true(p->crop_width == q->crop_width && p->crop_height == q->crop_height);
    assert_memory_equal(p->mean, q->mean, sizeof p->mean);
    assert_memory_equal(p->std, q->std, sizeof p->std);
    assert_string_equal(a->config.name, b->config.name);
    assert_int_equal(a->config.stages, b->config.stages);
    assert_true(a->config.keep == b->config.keep && a->config.norm_eps == b->config.norm_eps);
    assert_int_equal(a->parameters.count, b->parameters.count);
    for (size_t i = 0; i < a->parameters.count; i++) {
        assert_string_equal(a->parameters.items[i].name, b->parameters.items[i].name);
        assert_memory_equal(dvit_model_weights(a, i), dvit_model_weights(b, i),
                            a->parameters.items[i].count * sizeof(float));
    }
    for (int k = 0; k < a->config.classes; k++)
        assert_string_equal(dvit_model_label(a, k), dvit_model_label(b, k));
}

static void saved_models_come_back(void **state)
{
    (void)state;
    char folder[32], first[64], second[64];
    struct dvit_model *model = small_model(), *loaded;
    struct dvit_error error;
    size_t size;
    test_folder_create(folder);
    snprintf(first, sizeof first, "%s/first.safetensors", folder);
    snprintf(second, sizeof second, "%s/second.safetensors", folder);
    assert_ok(dvit_model_save(model, first, NULL, &error), &error);
    assert_ok(dvit_model_load(&loaded, first, NULL, &error), &error);
    assert_same_model(model, loaded);
    assert_int_equal(loaded->config.stage_block[0], 1);
    assert_ok(dvit_model_save(loaded, second, NULL, &error), &error);
    unsigned char *bytes = file_bytes(first, &size);
    test_assert_content(second, bytes, size);
    assert_int_equal(test_folder_count(folder), 2); /* nothing temporary is left */
    free(bytes);
    dvit_model_free(loaded);
    dvit_model_free(model);
    test_folder_remove(folder);
}

/* --- damage ------------------------------------------------------------------------------- */

/* Loads bytes as a file: a model or a message, nothing else. */
static bool loads(const char *path, const void *data, size_t size)
{
    struct dvit_model *model = (void *)&size;
    struct dvit_error error = {0};
    write_bytes(path, data, size);
    enum dvit_status status = dvit_model_load(&model, path, NULL, &error);
    if (status == DVIT_OK) {
        assert_ok(dvit_config_check(dvit_model_config(model), &error), &error);
        for (int k = 0; k < dvit_model_config(model)->classes; k++)
            assert_non_null(dvit_model_label(model, k));
        dvit_model_free(model);
        return true;
    }
    assert_null(model);
    assert_int_equal(error.status, status);
    assert_non_null(strstr(error.message, path));
    return false;
}

static void damaged_files_are_refused(void **state)
{
    (void)state;
    char folder[32], path[64];
    struct dvit_model *model = small_model();
    struct dvit_error error;
    size_t size;
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    assert_ok(dvit_model_save(model, path, NULL, &error), &error);
    unsigned char *bytes = file_bytes(path, &size);
    assert_true(loads(path, bytes, size));
    for (size_t length = 0; length < size; length += length < 64 ? 1 : 97)
        assert_false(loads(path, bytes, length));
    assert_false(loads(path, bytes, size - 1));

    struct dvit_rng rng = dvit_rng_stream(6, DVIT_RNG_TEST, 0, 0);
    int refused = 0, header = 8 + bytes[0] + 256 * bytes[1];
    for (int i = 0; i < 3000; i++) {
        /* Most damage where it can be seen: a flipped weight is another weight. */
        uint32_t range = i % 8 ? (uint32_t)header : (uint32_t)size;
        uint32_t at = dvit_rng_below(&rng, range);
        unsigned char flip = (unsigned char)(1u << dvit_rng_below(&rng, 8));
        bytes[at] ^= flip;
        refused += !loads(path, bytes, size);
        bytes[at] ^= flip;
    }
    assert_true(refused > 1500 && refused < 3000);
    free(bytes);
    dvit_model_free(model);
    test_folder_remove(folder);
}

/* --- files that claim something else ------------------------------------------------------ */

struct forgery {
    char folder[32], path[64];
    struct dvit_model *model;
    struct dvit_model_metadata metadata;
    struct dvit_safetensors_entry *entries; /* one more than parameters */
    char (*names)[96];
    size_t count;
};

static void forgery_open(struct forgery *f)
{
    struct dvit_error error;
    test_folder_create(f->folder);
    snprintf(f->path, sizeof f->path, "%s/forged.safetensors", f->folder);
    f->model = small_model();
    f->count = f->model->parameters.count;
    f->entries = calloc(f->count + 1, sizeof *f->entries);
    f->names = calloc(f->count + 1, sizeof *f->names);
    dvit_model_entries(&f->model->parameters, f->model->weights, "", f->entries, f->names);
    assert_ok(dvit_model_metadata_create(&f->metadata, f->model, &error), &error);
}

static void forgery_close(struct forgery *f)
{
    free(f->entries);
    free(f->names);
    dvit_model_metadata_free(&f->metadata);
    dvit_model_free(f->model);
    test_folder_remove(f->folder);
}

static void expect_refusal(struct forgery *f, size_t pairs, enum dvit_status code, const char *part)
{
    struct dvit_model *model = (void *)f;
    struct dvit_error error;
    assert_ok(
        dvit_safetensors_write(f->path, f->entries, f->count, f->metadata.pairs, pairs, &error),
        &error);
    assert_fails(dvit_model_load(&model, f->path, NULL, &error), &error, code, part);
    assert_non_null(strstr(error.message, f->path));
    assert_null(model);
}

static size_t entry_of(const struct forgery *f, const char *name)
{
    int index = dvit_parameters_find(&f->model->parameters, name);
    assert_true(index >= 0);
    return (size_t)index;
}

static void other_tensors_are_refused(void **state)
{
    (void)state;
    struct forgery f;
    forgery_open(&f);
    size_t qkv = entry_of(&f, "blocks.1.attn.qkv.weight");
    struct dvit_safetensors_entry kept = f.entries[qkv];

    f.entries[qkv].shape[0] = 12;
    f.entries[qkv].shape[1] = 36;
    expect_refusal(&f, 3, DVIT_ERROR_MISMATCH,
                   "tensor \"blocks.1.attn.qkv.weight\" is [12,36], expected [36,12]");
    f.entries[qkv] = kept;
    f.entries[qkv].rank = 1;
    f.entries[qkv].shape[0] = 36 * 12;
    expect_refusal(&f, 3, DVIT_ERROR_MISMATCH, "is [432], expected [36,12]");
    f.entries[qkv] = kept;
    f.entries[qkv].dtype = DVIT_DTYPE_I64;
    f.entries[qkv].shape[1] = 6;
    expect_refusal(&f, 3, DVIT_ERROR_MISMATCH, "blocks.1.attn.qkv.weight");
    f.entries[qkv] = kept;

    strcpy(f.names[qkv], "blocks.1.attn.kqv.weight");
    expect_refusal(&f, 3, DVIT_ERROR_MISMATCH, "tensor \"blocks.1.attn.qkv.weight\" is missing");
    strcpy(f.names[qkv], "blocks.1.attn.qkv.weight");

    strcpy(f.names[f.count], "ema.decay\n");
    f.entries[f.count] = (struct dvit_safetensors_entry){.name = f.names[f.count],
                                                         .dtype = DVIT_DTYPE_F32,
                                                         .rank = 1,
                                                         .shape = {1},
                                                         .data = f.model->weights};
    f.count++;
    expect_refusal(&f, 3, DVIT_ERROR_MISMATCH, "unexpected tensor \"ema.decay");
    f.count--;
    expect_refusal(&f, 0, DVIT_ERROR_MISMATCH, "state it with --heads"); /* a foreign file */
    for (size_t pairs = 1; pairs < 3; pairs++)
        expect_refusal(&f, pairs, DVIT_ERROR_FORMAT, "not a model that dvit wrote");
    f.count = 0;
    expect_refusal(&f, 3, DVIT_ERROR_MISMATCH, "tensor \"cls_token\" is missing");
    f.count = f.model->parameters.count;
    forgery_close(&f);
}

/* `json` with its first `from` replaced by `to`; malloc'ed. */
static char *replaced(const char *json, const char *from, const char *to)
{
    const char *at = strstr(json, from);
    if (!at)
        fail_msg("no %s in %s", from, json);
    size_t before = (size_t)(at - json), size = strlen(json) + strlen(to) + 1;
    char *out = malloc(size);
    snprintf(out, size, "%.*s%s%s", (int)before, json, to, at + strlen(from));
    return out;
}

static void bad_descriptions_are_refused(void **state)
{
    (void)state;
    const struct {
        int pair; /* 0 configuration, 1 preprocessing, 2 labels */
        const char *from, *to, *part;
        enum dvit_status code;
    } bad[] = {
        {0, "{", "", "model configuration is not JSON", DVIT_ERROR_FORMAT},
        {0, "\"depth\":2", "\"depth\":2,\"depth\":2", "not JSON", DVIT_ERROR_FORMAT},
        {0, "\"depth\":2,", "", "depth", DVIT_ERROR_FORMAT},
        {0, "\"depth\":2", "\"depth\":2,\"colour\":1", "colour", DVIT_ERROR_FORMAT},
        {0, "\"depth\":2", "\"depth\":\"2\"", "Expected integer", DVIT_ERROR_FORMAT},
        {0, "\"depth\":2", "\"depth\":2.5", "Expected integer", DVIT_ERROR_FORMAT},
        {0, "\"depth\":2", "\"depth\":null", "Expected integer", DVIT_ERROR_FORMAT},
        {0, "\"depth\":2", "\"depth\":-2", "depth is -2", DVIT_ERROR_FORMAT},
        {0, "\"depth\":2", "\"depth\":4294967298", "depth is 4294967298", DVIT_ERROR_FORMAT},
        {0, "\"depth\":2", "\"depth\":99999999999999999999", "not JSON", DVIT_ERROR_FORMAT},
        {0, "\"depth\":2", "\"depth\":0", "depth is 0, expected 1 to 256", DVIT_ERROR_FORMAT},
        {0, "\"depth\":2", "\"depth\":3", "blocks.2.norm1.weight\" is missing",
         DVIT_ERROR_MISMATCH},
        {0, "\"depth\":2", "\"depth\":1", "stage 1 prunes before block 1", DVIT_ERROR_FORMAT},
        {0, "\"vit\"", "\"resnet\"", "family \"resnet\", expected \"vit\"", DVIT_ERROR_UNSUPPORTED},
        {0, "[1]", "[2]", "stage 1 prunes before block 2", DVIT_ERROR_FORMAT},
        {0, "[1]", "[]", "unexpected tensor \"score_predictor.0", DVIT_ERROR_MISMATCH},
        {0, "[1]", "[\"1\"]", "stage_block[0] is not a block", DVIT_ERROR_FORMAT},
        {0, "[1]", "[-1]", "stage_block[0] is not a block", DVIT_ERROR_FORMAT},
        {0, "[1]", "{}", "stage_block", DVIT_ERROR_FORMAT},
        {0, "[1]", "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]", "17 entries", DVIT_ERROR_FORMAT},
        {0, "\"keep\":0.59999999999999998", "\"keep\":1.5", "keep is 1.5", DVIT_ERROR_FORMAT},
        {0, "\"keep\":0.59999999999999998", "\"keep\":NaN", "not JSON", DVIT_ERROR_FORMAT},
        {0, "\"keep\":0.59999999999999998", "\"keep\":1e999", "not JSON", DVIT_ERROR_FORMAT},
        {0, "\"norm_eps\":", "\"norm_eps\":-", "norm_eps is -", DVIT_ERROR_FORMAT},
        {1, "{", "[", "preprocessing is not JSON", DVIT_ERROR_FORMAT},
        {1, "\"crop\"", "\"cover\"", "unknown fit \"cover\"", DVIT_ERROR_FORMAT},
        {1, "\"crop_width\":12", "\"crop_width\":13", "the model expects 12 × 8",
         DVIT_ERROR_MISMATCH},
        {1, "\"crop_width\":12", "\"crop_width\":4294967308", "crop_width is 4294967308",
         DVIT_ERROR_FORMAT},
        {1, "\"crop_width\":12", "\"crop_width\":0", "crop_width is 0", DVIT_ERROR_FORMAT},
        {1, "\"std\":[", "\"std\":[0,", "preprocessing", DVIT_ERROR_FORMAT},
        {1, "\"std\":[0.", "\"std\":[-0.", "positive std", DVIT_ERROR_FORMAT},
        {1, "\"mean\":[0.48500001430511475", "\"mean\":[1e300", "finite", DVIT_ERROR_FORMAT},
        {2, "[", "", "labels is not JSON", DVIT_ERROR_FORMAT},
        {2, "[", "[\"one more\",", "labels: 4 entries, the model has 3 classes",
         DVIT_ERROR_MISMATCH},
        {2, "[", "[7,", "labels: 4 entries", DVIT_ERROR_MISMATCH},
        {2, ",\"\"]", ",null]", "labels: entry 2 is not a string", DVIT_ERROR_FORMAT},
    };
    struct forgery f;
    forgery_open(&f);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dvit_safetensors_pair *pair = &f.metadata.pairs[bad[i].pair];
        const char *before = pair->value;
        char *forged = replaced(before, bad[i].from, bad[i].to);
        pair->value = forged;
        expect_refusal(&f, 3, bad[i].code, bad[i].part);
        pair->value = before;
        free(forged);
    }
    forgery_close(&f);
}

static long peak_kib(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

/* A few hundred bytes that claim the largest model there may be. */
static void huge_claims_take_no_memory(void **state)
{
    (void)state;
    static const char *const claims[] = {
        "{\"family\":\"vit\",\"name\":\"vit\",\"image_width\":8192,\"image_height\":8192,"
        "\"patch\":32,\"dim\":16384,\"depth\":256,\"heads\":1,\"mlp\":131072,\"classes\":1000000,"
        "\"norm_eps\":1e-6,\"stage_block\":[],\"keep\":1.0}",
        "{\"family\":\"vit\",\"name\":\"vit\",\"image_width\":12,\"image_height\":8,"
        "\"patch\":4,\"dim\":12,\"depth\":2,\"heads\":3,\"mlp\":48,\"classes\":1000000,"
        "\"norm_eps\":1e-6,\"stage_block\":[1],\"keep\":1.0}",
    };
    struct forgery f;
    forgery_open(&f);
    long before = peak_kib();
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        f.metadata.pairs[0].value = claims[i];
        expect_refusal(&f, 3, DVIT_ERROR_MISMATCH, "expected [");
    }
    assert_true(peak_kib() - before < 16 * 1024);
    forgery_close(&f);
}

/* --- saving that fails -------------------------------------------------------------------- */

static void failing_saves_keep_the_file(void **state)
{
    (void)state;
    char folder[32], path[64];
    struct dvit_model *model = small_model();
    struct dvit_error error;
    size_t size;
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    assert_ok(dvit_model_save(model, path, NULL, &error), &error);
    unsigned char *bytes = file_bytes(path, &size);
    dvit_model_weights(model, 0)[0] += 1;
    for (long limit = 0; limit < (long)size; limit += (long)size / 5) {
        test_limit_file_size(limit);
        enum dvit_status status = dvit_model_save(model, path, NULL, &error);
        test_limit_file_size(-1);
        assert_int_equal(status, DVIT_ERROR_IO);
        assert_non_null(strstr(error.message, path));
        test_assert_content(path, bytes, size);
        assert_int_equal(test_folder_count(folder), 1);
    }
    assert_ok(dvit_model_save(model, path, NULL, &error), &error); /* there is room again */

    char elsewhere[128];
    snprintf(elsewhere, sizeof elsewhere, "%s/no/such/folder.safetensors", folder);
    assert_fails(dvit_model_save(model, elsewhere, NULL, &error), &error, DVIT_ERROR_NOT_FOUND,
                 elsewhere);
    snprintf(elsewhere, sizeof elsewhere, "%s/below-a-file", path);
    assert_fails(dvit_model_save(model, elsewhere, NULL, &error), &error, DVIT_ERROR_NOT_FOUND,
                 elsewhere);
    const char *const broken[] = {"ok", "\xff\xfe", "ok"};
    assert_fails(dvit_model_set_labels(model, broken, 3, &error), &error, DVIT_ERROR_FORMAT,
                 "the name of class 1");
    free(bytes);
    dvit_model_free(model);
    test_folder_remove(folder);
}

/* --- beginnings --------------------------------------------------------------------------- */

static void fresh_models_begin_as_told(void **state)
{
    (void)state;
    struct dvit_config config;
    struct dvit_model *a, *b, *other;
    struct dvit_error error;
    assert_ok(dvit_config_parse("vit:dim=64,depth=2,heads=2,patch=8,image=64,classes=20", &config,
                                &error),
              &error);
    dvit_config_add_stages(&config, 1, 0.5);
    assert_ok(dvit_model_create(&a, &config, 5, &error), &error);
    assert_ok(dvit_model_create(&b, &config, 5, &error), &error);
    assert_ok(dvit_model_create(&other, &config, 6, &error), &error);
    assert_same_model(a, b);
    for (size_t i = 0; i < a->parameters.count; i++) {
        const struct dvit_parameter *item = &a->parameters.items[i];
        const float *w = dvit_model_weights(a, i);
        bool norm = strstr(item->name, "norm") || strstr(item->name, "in_conv.0");
        double sum = 0, squares = 0, largest = 0;
        for (size_t k = 0; k < item->count; k++) {
            sum += w[k];
            squares += (double)w[k] * w[k];
            largest = fmax(largest, fabs(w[k]));
        }
        if (item->rank == 1) {
            double expected = norm && strstr(item->name, "weight") ? 1 : 0;
            assert_true(sum == expected * (double)item->count);
            assert_true(squares == sum);
            continue;
        }
        double count = (double)item->count, deviation = sqrt(squares / count);
        assert_true(fabs(deviation - 0.02) < 0.02 * 4 / sqrt(2 * count));
        assert_true(fabs(sum / count) < 0.02 * 5 / sqrt(count));
        assert_true(largest <= 2.0);
        assert_memory_not_equal(w, dvit_model_weights(other, i), item->count * sizeof *w);
    }
    for (int k = 0; k < 20; k++)
        assert_int_equal(atoi(dvit_model_label(a, k)), k);
    assert_string_equal(dvit_model_label(a, 20), "?");
    assert_string_equal(dvit_model_label(a, -1), "?");
    assert_int_equal(dvit_model_preprocess(a)->crop_width, 64);
    dvit_model_free(a);
    dvit_model_free(b);
    dvit_model_free(other);
    dvit_model_free(NULL);
}

static void sparsifying_copies_the_backbone(void **state)
{
    (void)state;
    struct dvit_model *dense =
        random_model("vit:dim=16,depth=6,heads=2,patch=4,image=16,classes=4", 0, 1, 3, 1);
    struct dvit_model *sparse, *fresh, *again;
    struct dvit_error error;
    const char *const labels[] = {"a", "b", "c", "d"};
    assert_ok(dvit_model_set_labels(dense, labels, 4, &error), &error);
    assert_ok(dvit_model_sparsify(&sparse, dense, 2, NULL, 0.6, 77, &error), &error);
    assert_int_equal(sparse->config.stage_block[0], 2);
    assert_int_equal(sparse->config.stage_block[1], 4);
    assert_true(sparse->config.keep == 0.6);
    assert_string_equal(dvit_model_label(sparse, 2), "c");
    assert_ok(dvit_model_create(&fresh, &sparse->config, 77, &error), &error);
    for (size_t i = 0; i < sparse->parameters.count; i++) {
        const struct dvit_parameter *item = &sparse->parameters.items[i];
        int source = dvit_parameters_find(&dense->parameters, item->name);
        bool predictor = item->group == DVIT_GROUP_PREDICTOR;
        assert_true(predictor == (source < 0));
        assert_memory_equal(dvit_model_weights(sparse, i),
                            predictor ? dvit_model_weights(fresh, i)
                                      : dvit_model_weights(dense, (size_t)source),
                            item->count * sizeof(float));
    }
    const int blocks[] = {1, 5};
    assert_ok(dvit_model_sparsify(&again, dense, 2, blocks, 0.6, 77, &error), &error);
    assert_int_equal(again->config.stage_block[1], 5);
    dvit_model_free(again);
    /* A dynamic one is copied whole, predictors too. */
    assert_ok(dvit_model_sparsify(&again, sparse, 2, NULL, 0.5, 78, &error), &error);
    assert_true(again->config.keep == 0.5);
    assert_memory_equal(again->weights, sparse->weights, sparse->parameters.floats * sizeof(float));
    dvit_model_free(again);
    assert_fails(dvit_model_sparsify(&again, sparse, 3, NULL, 0.5, 1, &error), &error,
                 DVIT_ERROR_MISMATCH, "has 2 stages already, expected 3");
    assert_null(again);
    const struct {
        int stages, block;
        double keep;
        const char *part;
    } bad[] = {{0, 1, 0.5, "stages is 0, expected 1 to 16"},
               {17, 1, 0.5, "stages is 17"},
               {1, 6, 0.5, "prunes before block 6"},
               {1, -1, 0.5, "block -1"},
               {1, 1, 0, "keep is 0"},
               {1, 1, 1.01, "keep is 1.01"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int block[17] = {bad[i].block};
        assert_fails(
            dvit_model_sparsify(&again, dense, bad[i].stages, block, bad[i].keep, 1, &error),
            &error, DVIT_ERROR_ARGUMENT, bad[i].part);
        assert_null(again);
    }
    dvit_model_free(fresh);
    dvit_model_free(sparse);
    dvit_model_free(dense);
}

static void names_open_files_and_shapes(void **state)
{
    (void)state;
    char folder[32], path[64];
    struct dvit_model *model = small_model(), *opened;
    struct dvit_error error;
    bool is_random = true;
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/a-model", folder);
    assert_ok(dvit_model_save(model, path, NULL, &error), &error);
    assert_ok(dvit_model_open(&opened, path, NULL, 0, &is_random, &error), &error);
    assert_false(is_random);
    assert_same_model(model, opened);
    dvit_model_free(opened);
    assert_ok(dvit_model_open(&opened, text, NULL, 3, &is_random, &error), &error);
    assert_true(is_random);
    assert_int_equal(dvit_model_config(opened)->dim, 12);
    dvit_model_free(opened);
    assert_ok(dvit_model_open(&opened, text, NULL, 3, NULL, &error), &error);
    dvit_model_free(opened);
    const struct {
        const char *text, *part;
        enum dvit_status code;
    } bad[] = {
        {"deit-x", "\"deit-x\": no such file, and unknown model", DVIT_ERROR_NOT_FOUND},
        {"nothing/here", "nothing/here", DVIT_ERROR_NOT_FOUND},
        {"model.safetensors", "model.safetensors", DVIT_ERROR_NOT_FOUND},
        {"vit:dim=x", "dim is \"x\"", DVIT_ERROR_ARGUMENT},
        {folder, "is a folder without model.safetensors", DVIT_ERROR_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        is_random = true;
        assert_fails(dvit_model_open(&opened, bad[i].text, NULL, 0, &is_random, &error), &error,
                     bad[i].code, bad[i].part);
        assert_null(opened);
        assert_false(is_random);
    }
    const char *const two[] = {"a", "b"};
    assert_fails(dvit_model_set_labels(model, two, 2, &error), &error, DVIT_ERROR_MISMATCH,
                 "2 labels for a model of 3 classes");
    struct dvit_preprocess preprocess = *dvit_model_preprocess(model);
    preprocess.crop_height = 9;
    assert_fails(dvit_model_set_preprocess(model, &preprocess, &error), &error, DVIT_ERROR_MISMATCH,
                 "crops to 12 × 9, the model expects 12 × 8");
    dvit_model_free(model);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(huge_claims_take_no_memory), /* first: it looks at the peak */
        cmocka_unit_test(saved_models_come_back),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(other_tensors_are_refused),
        cmocka_unit_test(bad_descriptions_are_refused),
        cmocka_unit_test(failing_saves_keep_the_file),
        cmocka_unit_test(fresh_models_begin_as_told),
        cmocka_unit_test(sparsifying_copies_the_backbone),
        cmocka_unit_test(names_open_files_and_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
