/* Files of 8 bits: what is written, read and written again is the same, to the byte and to the
 * answer; what a damaged or hostile one says is refused by name. */
#include "random_model.h"

#include "base/cpu.h"
#include "dvit/infer.h"
#include "weights/safetensors.h"

static const char *const text = "vit:dim=32,depth=3,heads=2,patch=4,image=16,classes=6";
static const char *const layer = "blocks.1.mlp.fc1";
enum { CLASSES = 6, IMAGES = 3, LAYERS = 3 * 4 + 1 + 2, MAX_TENSORS = 256 };

static struct dvit_model *calibrated_model(void)
{
    struct dvit_model *model = random_model(text, 2, 0.7, 7, 1);
    for (size_t i = 0; i < model->parameters.count; i++)
        if (dvit_parameter_is_quantisable(&model->parameters, i))
            model->inputs[i] = (struct dvit_quantised){0.03f + 1e-5f * (float)i, (int)i};
    return model;
}

static void save(const struct dvit_model *model, const char *path, const char *dtype)
{
    struct dvit_error error;
    const struct dvit_save_options options = {.dtype = dtype};
    assert_ok(dvit_model_save(model, path, &options, &error), &error);
}

static struct dvit_model *load(const char *path)
{
    struct dvit_error error;
    struct dvit_model *model;
    assert_ok(dvit_model_load(&model, path, NULL, &error), &error);
    return model;
}

static void answer(const struct dvit_model *model, const char *cpu, const float *pixels,
                   float *logits)
{
    struct dvit_error error;
    struct dvit_session *session;
    struct dvit_session_options options = {
        .max_batch = IMAGES, .threads = 1, .cpu = cpu, .precision = "int8"};
    assert_ok(dvit_session_create(&session, model, &options, &error), &error);
    assert_ok(dvit_session_run(session, pixels, IMAGES, logits, &error), &error);
    dvit_session_free(session);
}

/* --- honest ones ------------------------------------------------------------------------------ */

static void assert_same_answers(const struct dvit_model *a, const struct dvit_model *b)
{
    float *pixels = random_pixels(a, IMAGES, 3), first[IMAGES * CLASSES], second[IMAGES * CLASSES];
    bool has =
        dvit_cpu_best() != DVIT_CPU_REFERENCE && dvit_cpu_can(dvit_cpu_best(), DVIT_PRECISION_INT8);
    for (int i = 0; i < 1 + has; i++) {
        const char *cpu = i ? "auto" : "reference";
        answer(a, cpu, pixels, first);
        answer(b, cpu, pixels, second);
        assert_memory_equal(first, second, sizeof first);
    }
    free(pixels);
}

static void what_is_read_runs_as_what_was_written(void **state)
{
    char folder[32], path[64], again[64];
    unsigned char *bytes, *bytes_again;
    size_t size, size_again;
    struct dvit_error error;
    (void)state;
    test_folder_create(folder);
    for (int torch = 0; torch < 2; torch++) {
        struct dvit_model *model = calibrated_model();
        snprintf(path, sizeof path, "%s/a.%s", folder, torch ? "pth" : "safetensors");
        snprintf(again, sizeof again, "%s/b.%s", folder, torch ? "pth" : "safetensors");
        save(model, path, "int8");
        struct dvit_model *read = load(path);
        assert_int_equal(dvit_model_quantised_layers(read), LAYERS);
        assert_memory_equal(read->inputs, model->inputs,
                            model->parameters.count * sizeof *model->inputs);
        assert_same_answers(model, read);
        save(read, again, "int8");
        assert_ok(dvit_file_read(path, SIZE_MAX, &bytes, &size, &error), &error);
        assert_ok(dvit_file_read(again, SIZE_MAX, &bytes_again, &size_again, &error), &error);
        assert_int_equal(size, size_again);
        assert_memory_equal(bytes, bytes_again, size);
        free(bytes);
        free(bytes_again);
        dvit_model_free(read);
        dvit_model_free(model);
    }
    test_folder_remove(folder);
}

/* Every weight is within half a step of what it was; all but the layers' weights are as they were.
 */
static void bytes_are_near(void **state)
{
    char folder[32], path[64];
    (void)state;
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/a.safetensors", folder);
    struct dvit_model *model = calibrated_model();
    save(model, path, "int8");
    struct dvit_model *read = load(path);
    for (size_t i = 0; i < model->parameters.count; i++) {
        const struct dvit_parameter *item = &model->parameters.items[i];
        const float *a = dvit_model_weights(model, i), *b = dvit_model_weights(read, i);
        size_t row = item->count / item->shape[0];
        if (!dvit_parameter_is_quantisable(&model->parameters, i)) {
            assert_memory_equal(a, b, item->count * sizeof *a);
            continue;
        }
        for (size_t k = 0; k < item->count; k++) {
            float scale = dvit_quantise_weight_scale(a + k / row * row, row);
            assert_true(fabsf(a[k] - b[k]) <= 0.501f * scale);
        }
    }
    dvit_model_free(read);
    /* Files of floats carry no calibration. */
    save(model, path, "f32");
    read = load(path);
    assert_int_equal(dvit_model_quantised_layers(read), 0);
    dvit_model_free(read);
    dvit_model_free(model);
    test_folder_remove(folder);
}

static void what_cannot_be_bytes_is_not_written(void **state)
{
    char folder[32], path[64];
    struct dvit_error error;
    const struct dvit_save_options options = {.dtype = "int8"};
    (void)state;
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/a.safetensors", folder);
    struct dvit_model *model = random_model(text, 2, 0.7, 7, 1);
    assert_fails(dvit_model_save(model, path, &options, &error), &error, DVIT_ERROR_MISMATCH,
                 "dvit quantize");
    dvit_model_free(model);
    model = calibrated_model();
    int index = dvit_parameters_find(&model->parameters, "blocks.2.attn.proj.weight");
    dvit_model_weights(model, (size_t)index)[33] = INFINITY;
    assert_fails(dvit_model_save(model, path, &options, &error), &error, DVIT_ERROR_LIMIT,
                 "\"blocks.2.attn.proj.weight\": number 33 is not finite");
    assert_int_equal(test_folder_count(folder), 0);
    dvit_model_free(model);
    test_folder_remove(folder);
}

/* --- damaged ones ----------------------------------------------------------------------------- */

/* A file of 8 bits whose tensor <layer>.<part> is changed. */
struct damage {
    const char *part;
    bool missing;
    bool alone;            /* the weight becomes f32 and its companions stay */
    const char *rename;    /* to another part */
    int dtype, elements;   /* where not 0 */
    size_t index;          /* of the number that becomes … */
    float number;          /* … this, in a tensor of floats */
    int byte;              /* … this, in one of bytes, where not 0 */
    enum dvit_status code; /* expected */
    const char *message;
};

static void damage_entry(struct dvit_safetensors_entry *entry, const struct damage *damage,
                         void *copy)
{
    size_t size = dvit_dtype_size(entry->dtype), count = 1;
    for (int k = 0; k < entry->rank; k++)
        count *= entry->shape[k];
    memcpy(copy, entry->data, count * size);
    entry->data = copy;
    if (damage->byte)
        ((int8_t *)copy)[damage->index] = (int8_t)damage->byte;
    else if (entry->dtype == DVIT_DTYPE_F32)
        ((float *)copy)[damage->index] = damage->number;
    if (damage->dtype)
        entry->dtype = (enum dvit_dtype)damage->dtype;
    if (damage->elements) {
        entry->rank = 1;
        entry->shape[0] = (uint64_t)damage->elements;
    }
}

static void write_damaged(const char *from, const char *to, const struct damage *damage)
{
    static char copy[1 << 16];
    struct dvit_safetensors_entry entries[MAX_TENSORS];
    struct dvit_safetensors_pair metadata[8];
    struct dvit_safetensors *file;
    struct dvit_error error;
    char name[96], renamed[96];
    size_t count = 0;
    assert_ok(dvit_safetensors_load(&file, from, &error), &error);
    snprintf(name, sizeof name, "%s.%s", layer, damage->part);
    memset(copy, 0, sizeof copy);
    bool found = false;
    for (size_t i = 0; i < dvit_safetensors_count(file); i++) {
        const struct dvit_tensor_view *view = dvit_safetensors_view(file, i);
        entries[count] = (struct dvit_safetensors_entry){
            .name = view->name, .dtype = view->dtype, .rank = view->rank, .data = view->data};
        memcpy(entries[count].shape, view->shape, sizeof view->shape);
        if (strcmp(view->name, name) == 0) {
            found = true;
            if (damage->missing)
                continue;
            if (damage->alone) {
                entries[count].dtype = DVIT_DTYPE_F32;
                entries[count].data = copy;
            } else {
                damage_entry(&entries[count], damage, copy);
            }
            if (damage->rename) {
                snprintf(renamed, sizeof renamed, "%s.%s", layer, damage->rename);
                entries[count].name = renamed;
            }
        }
        count++;
    }
    assert_true(found);
    size_t pairs = dvit_safetensors_metadata_count(file);
    assert_true(pairs <= 8);
    dvit_safetensors_metadata_list(file, metadata);
    assert_ok(dvit_safetensors_write(to, entries, count, metadata, pairs, &error), &error);
    dvit_safetensors_free(file);
}

static void damaged_files_are_refused_by_name(void **state)
{
    static const struct damage damages[] = {
        {.part = "weight_scale",
         .missing = true,
         .code = DVIT_ERROR_MISMATCH,
         .message = "tensor \"blocks.1.mlp.fc1.weight_scale\" is missing, and tensor "
                    "\"blocks.1.mlp.fc1.weight\" is of bytes"},
        {.part = "input_scale",
         .missing = true,
         .code = DVIT_ERROR_MISMATCH,
         .message = "fc1.input_scale\" is missing"},
        {.part = "input_zero_point",
         .missing = true,
         .code = DVIT_ERROR_MISMATCH,
         .message = "fc1.input_zero_point\" is missing"},
        {.part = "weight_scale",
         .elements = 100,
         .code = DVIT_ERROR_MISMATCH,
         .message = "fc1.weight_scale\" is F32 [100], expected F32 [128]"},
        {.part = "input_scale",
         .dtype = DVIT_DTYPE_I32,
         .code = DVIT_ERROR_MISMATCH,
         .message = "fc1.input_scale\" is I32 [1], expected F32 [1]"},
        {.part = "input_zero_point",
         .dtype = DVIT_DTYPE_I8,
         .code = DVIT_ERROR_MISMATCH,
         .message = "fc1.input_zero_point\" is I8 [1], expected U8 [1]"},
        {.part = "weight",
         .dtype = DVIT_DTYPE_U8,
         .code = DVIT_ERROR_MISMATCH,
         .message = "fc1.weight\" is U8"},
        {.part = "weight",
         .alone = true,
         .code = DVIT_ERROR_MISMATCH,
         .message = "unexpected tensor \"blocks.1.mlp.fc1."},
        {.part = "input_scale",
         .rename = "output_scale",
         .code = DVIT_ERROR_MISMATCH,
         .message = "unexpected tensor \"blocks.1.mlp.fc1.output_scale\""},
        {.part = "weight_scale",
         .index = 5,
         .number = NAN,
         .code = DVIT_ERROR_FORMAT,
         .message = "fc1.weight_scale\": number 5 is nan, expected a scale of 1e-30 to 1e6"},
        {.part = "weight_scale",
         .index = 127,
         .number = -0.5f,
         .code = DVIT_ERROR_FORMAT,
         .message = "number 127 is -0.5"},
        {.part = "weight_scale",
         .index = 0,
         .number = 0,
         .code = DVIT_ERROR_FORMAT,
         .message = "number 0 is 0"},
        {.part = "weight_scale",
         .index = 1,
         .number = 2e36f,
         .code = DVIT_ERROR_FORMAT,
         .message = "number 1 is 2e+36"},
        {.part = "input_scale",
         .number = INFINITY,
         .code = DVIT_ERROR_FORMAT,
         .message = "fc1.input_scale\": number 0 is inf"},
        {.part = "input_scale",
         .number = -1,
         .code = DVIT_ERROR_FORMAT,
         .message = "fc1.input_scale\": number 0 is -1"},
        {.part = "weight",
         .index = 77,
         .byte = -128,
         .code = DVIT_ERROR_FORMAT,
         .message = "fc1.weight\": number 77 is -128, expected -127 to 127"},
    };
    char folder[32], honest[64], damaged[64];
    struct dvit_error error;
    struct dvit_model *model = calibrated_model(), *read;
    (void)state;
    test_folder_create(folder);
    snprintf(honest, sizeof honest, "%s/honest.safetensors", folder);
    snprintf(damaged, sizeof damaged, "%s/damaged.safetensors", folder);
    save(model, honest, "int8");
    dvit_model_free(model);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        write_damaged(honest, damaged, &damages[i]);
        assert_fails(dvit_model_load(&read, damaged, NULL, &error), &error, damages[i].code,
                     damages[i].message);
        assert_null(read);
    }
    test_folder_remove(folder);
}

/* Bytes are for the patch embedding and the linear layers of blocks alone. */
static void other_tensors_are_no_bytes(void **state)
{
    char folder[32], path[64];
    struct dvit_error error;
    struct dvit_model *model = calibrated_model(), *read;
    int head = dvit_parameters_find(&model->parameters, "head.weight");
    (void)state;
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/a.safetensors", folder);
    assert_false(dvit_parameter_is_quantisable(&model->parameters, (size_t)head));
    model->inputs[head] = (struct dvit_quantised){0.1f, 3};
    save(model, path, "int8");
    assert_fails(dvit_model_load(&read, path, NULL, &error), &error, DVIT_ERROR_MISMATCH,
                 "\"head.weight\" is I8, expected F64, F32, F16 or BF16");
    dvit_model_free(model);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_runs_as_what_was_written),
        cmocka_unit_test(bytes_are_near),
        cmocka_unit_test(what_cannot_be_bytes_is_not_written),
        cmocka_unit_test(damaged_files_are_refused_by_name),
        cmocka_unit_test(other_tensors_are_no_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
