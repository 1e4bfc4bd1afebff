/* Every published container and naming against PyTorch: parameters, logits and kept patches of the
 * small files in tests/golden/published/files. How they were made: the README.md beside them. Large
 * models are ./run parity's job. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "dvit/infer.h"
#include "weights/safetensors.h"

enum { IMAGES = 2, CLASSES = 5, STAGES = 3, MAX_KEPT = 16 };
static const double tolerance = 1e-4; /* of the logits' spread */

struct form {
    const char *name; /* in expected.safetensors */
    const char *file; /* where the name is a folder */
    bool lvvit;
    int heads; /* 0: the file records them */
    bool average;
    size_t parameters;
    const char *logits; /* where not "logits" */
};

static const struct form forms[] = {
    {.name = "dynamicvit.pth", .heads = 2, .parameters = 13847},
    {.name = "deit.pth", .heads = 2, .parameters = 12389},
    {.name = "deit_distilled.pth", .heads = 2, .parameters = 12506},
    {.name = "dynamicvit_distilled.pth", .heads = 2, .parameters = 13964},
    {.name = "timm.safetensors", .heads = 2, .parameters = 12389},
    {.name = "timm_deit3.safetensors", .heads = 2, .parameters = 12517}, /* a position row more */
    {.name = "timm_mean_pool.safetensors", .heads = 2, .parameters = 12389},
    {.name = "timm_linear_patch.pth", .heads = 2, .parameters = 12389},
    {.name = "timm_averaged.pth.tar", .heads = 2, .average = true, .parameters = 12389},
    {.name = "timm_averaged.pth.tar", .heads = 2, .parameters = 12389, .logits = "trained.logits"},
    {.name = "parallel.pth", .heads = 2, .parameters = 13847},
    {.name = "compiled.pt", .heads = 2, .parameters = 12389},
    {.name = "lvvit.pth.tar", .lvvit = true, .heads = 2, .parameters = 21890},
    {.name = "lvvit_dynamic.pth", .lvvit = true, .heads = 2, .parameters = 23348},
    {.name = "hf_vit", .file = "model.safetensors", .parameters = 12389},
    {.name = "hf_deit", .file = "pytorch_model.bin", .parameters = 12506},
    {.name = "hf_sharded", .file = "model.safetensors.index.json", .parameters = 12389},
    {.name = "hf_vit", .parameters = 12389}, /* named by the folder */
    {.name = "hf_deit", .parameters = 12506},
    {.name = "hf_sharded", .parameters = 12389},
};

static void path_of(const struct form *form, char *out, size_t size)
{
    snprintf(out, size, "%s/tests/golden/published/files/%s%s%s", getenv("DVIT_SOURCE_ROOT"),
             form->name, form->file ? "/" : "", form->file ? form->file : "");
}

static struct dvit_safetensors *open_expected(void)
{
    char path[1024];
    struct dvit_error error;
    struct dvit_safetensors *file = NULL;
    path_of(&(struct form){.name = "expected.safetensors"}, path, sizeof path);
    if (dvit_safetensors_load(&file, path, &error) != DVIT_OK)
        fail_msg("%s", error.message);
    return file;
}

static const struct dvit_tensor_view *find(const struct dvit_safetensors *file, const char *name)
{
    const struct dvit_tensor_view *view = dvit_safetensors_find(file, name);
    if (!view)
        fail_msg("golden \"%s\" is missing", name);
    return view;
}

static void compare_logits(const struct form *form, const struct dvit_safetensors *expected,
                           const float *logits)
{
    char name[128];
    float want[IMAGES * CLASSES];
    double low = INFINITY, high = -INFINITY, gap = 0;
    snprintf(name, sizeof name, "%s.%s", form->name, form->logits ? form->logits : "logits");
    assert_int_equal(dvit_tensor_to_f32(find(expected, name), want, NULL), DVIT_OK);
    for (int i = 0; i < IMAGES * CLASSES; i++) {
        gap = fmax(gap, isnan(logits[i]) ? INFINITY : fabs((double)logits[i] - want[i]));
        low = fmin(low, want[i]);
        high = fmax(high, want[i]);
    }
    if (!(gap <= tolerance * (high - low)))
        fail_msg("%s: logits differ by %.3g of their spread", name, gap / (high - low));
}

static void compare_kept(const struct form *form, const struct dvit_safetensors *expected,
                         const struct dvit_session *session)
{
    for (int s = 0; s < dvit_session_stages(session); s++) {
        char name[128];
        int64_t want[IMAGES * MAX_KEPT];
        int count;
        snprintf(name, sizeof name, "%s.stage.%d.kept", form->name, s);
        assert_int_equal(dvit_tensor_to_i64(find(expected, name), want, NULL), DVIT_OK);
        for (int image = 0; image < IMAGES; image++) {
            const int *kept = dvit_session_kept(session, image, s, &count);
            assert_int_equal((size_t)count * IMAGES, dvit_tensor_elements(find(expected, name)));
            for (int i = 0; i < count; i++)
                assert_int_equal(kept[i], want[image * count + i]);
        }
    }
}

static void answers_as_pytorch(void **state)
{
    const struct form *form = *state;
    char path[1024], stage[128];
    float logits[IMAGES * CLASSES];
    struct dvit_error error;
    struct dvit_model *model = NULL;
    struct dvit_session *session = NULL;
    struct dvit_load_options load = {.heads = form->heads, .average = form->average};
    struct dvit_safetensors *expected = open_expected();
    const struct dvit_tensor_view *view =
        find(expected, form->lvvit ? "pixels.64x64" : "pixels.32x32");
    float *pixels = malloc(dvit_tensor_elements(view) * sizeof *pixels);
    assert_non_null(pixels);
    assert_int_equal(dvit_tensor_to_f32(view, pixels, NULL), DVIT_OK);
    path_of(form, path, sizeof path);
    if (dvit_model_load(&model, path, &load, &error) != DVIT_OK ||
        dvit_session_create(&session, model, NULL, &error) != DVIT_OK ||
        dvit_session_run(session, pixels, IMAGES, logits, &error) != DVIT_OK)
        fail_msg("%s", error.message);
    assert_int_equal(dvit_model_parameters(model), form->parameters);
    snprintf(stage, sizeof stage, "%s.stage.0.kept", form->name);
    assert_int_equal(dvit_session_stages(session),
                     dvit_safetensors_find(expected, stage) ? STAGES : 0);
    compare_kept(form, expected, session);
    compare_logits(form, expected, logits);
    dvit_session_free(session);
    dvit_model_free(model);
    dvit_safetensors_free(expected);
    free(pixels);
}

int main(void)
{
    enum { FORMS = sizeof forms / sizeof *forms };
    struct CMUnitTest tests[FORMS];
    char names[FORMS][160];
    for (size_t i = 0; i < FORMS; i++) {
        snprintf(names[i], sizeof names[i], "%s%s", forms[i].name,
                 forms[i].average ? "_averaged" : "");
        for (char *at = names[i]; *at; at++) /* of letters, digits and _ for the count of tests */
            *at = *at == '.' ? '_' : *at;
        tests[i] = (struct CMUnitTest){
            .name = names[i], .test_func = answers_as_pytorch, .initial_state = (void *)&forms[i]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
