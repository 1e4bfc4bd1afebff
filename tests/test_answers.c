/* Answers that are no numbers, and models that cannot give any: named, counted, never taken for a
 * class. */
#include "random_model.h"

#include <unistd.h>

#include "dvit/eval.h"
#include "dvit/quantize.h"
#include "models/defects.h"

enum { CLASSES = 5, VALIDATION = 12 };
static const char *const text = "vit:dim=32,depth=2,heads=2,patch=8,image=32,classes=5";
static const char scenes[] = "builtin:scenes,image=32,classes=5,train=5,val=12";

static float *weights_of(struct dvit_model *model, const char *name)
{
    int index = dvit_parameters_find(&model->parameters, name);
    assert_true(index >= 0);
    return dvit_model_weights(model, (size_t)index);
}

static struct dvit_session *open_session(const struct dvit_model *model)
{
    struct dvit_session *session;
    struct dvit_error error;
    struct dvit_session_options options = {.max_batch = 4, .threads = 1};
    assert_ok(dvit_session_create(&session, model, &options, &error), &error);
    return session;
}

static struct dvit_dataset *open_scenes(void)
{
    struct dvit_dataset *set;
    struct dvit_error error;
    assert_ok(dvit_dataset_open(&set, scenes, "val", NULL, &error), &error);
    return set;
}

/* A model saved and loaded again; freed by the caller. */
static struct dvit_model *reload(const struct dvit_model *model)
{
    char folder[32], path[64];
    struct dvit_model *read;
    struct dvit_error error;
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/m.safetensors", folder);
    assert_ok(dvit_model_save(model, path, NULL, &error), &error);
    assert_ok(dvit_model_load(&read, path, NULL, &error), &error);
    test_folder_remove(folder);
    return read;
}

static bool has_note(const struct dvit_model *model, const char *part)
{
    const char *note;
    for (size_t i = 0; (note = dvit_model_note(model, i)) != NULL; i++)
        if (strstr(note, part))
            return true;
    return false;
}

static void logits_are_numbers_or_not(void **state)
{
    (void)state;
    float logits[4] = {0, -3e38f, 3e38f, 1e-45f};
    assert_true(dvit_logits_finite(logits, 4));
    for (int k = 0; k < 4; k++)
        for (int which = 0; which < 3; which++) {
            float other[4];
            memcpy(other, logits, sizeof other);
            other[k] = which == 0 ? NAN : which == 1 ? INFINITY : -INFINITY;
            assert_false(dvit_logits_finite(other, 4));
        }
}

static void weights_that_are_not_finite_are_named(void **state)
{
    (void)state;
    static const float values[] = {NAN, INFINITY, -INFINITY};
    static const char *const shown[] = {"(NaN at 7)", "(+infinity at 7)", "(-infinity at 7)"};
    struct dvit_error error;
    for (int i = 0; i < 3; i++) {
        struct dvit_model *model = random_model(text, 0, 1, 3, 1);
        assert_ok(dvit_model_check_finite(model, &error), &error);
        weights_of(model, "blocks.1.mlp.fc1.weight")[7] = values[i];
        assert_fails(dvit_model_check_finite(model, &error), &error, DVIT_ERROR_NUMERIC, shown[i]);
        assert_non_null(strstr(error.message, "\"blocks.1.mlp.fc1.weight\" has 1 of 4096 values"));
        weights_of(model, "head.bias")[0] = NAN;
        weights_of(model, "blocks.1.mlp.fc1.weight")[4095] = NAN;
        assert_fails(dvit_model_check_finite(model, &error), &error, DVIT_ERROR_NUMERIC,
                     "has 2 of 4096 values");
        assert_non_null(strstr(error.message, "and so have 1 more tensors"));
        struct dvit_model *read = reload(model);
        float *pixels = random_pixels(read, 1, 1), logits[CLASSES];
        struct dvit_session *session = open_session(read);
        assert_fails(dvit_session_run(session, pixels, 1, logits, &error), &error,
                     DVIT_ERROR_NUMERIC, "fc1.weight\" has 2 of 4096");
        dvit_session_free(session);
        free(pixels);
        assert_true(has_note(read, "warning: tensor \"blocks.1.mlp.fc1.weight\" has 2 of 4096"));
        dvit_model_free(read);
        dvit_model_free(model);
    }
}

static void an_answer_says_which_tensor_spoiled_it(void **state)
{
    (void)state;
    struct dvit_error error;
    struct dvit_model *model = random_model(text, 0, 1, 3, 1);
    float *pixels = random_pixels(model, 1, 1), logits[CLASSES];
    struct dvit_session *session = open_session(model);
    assert_ok(dvit_session_run(session, pixels, 1, logits, &error), &error);
    assert_ok(dvit_answer_check(model, logits, &error), &error);
    logits[2] = NAN;
    assert_fails(dvit_answer_check(model, logits, &error), &error, DVIT_ERROR_NUMERIC,
                 "1 of 5 logits are not finite, although all weights are");
    weights_of(model, "norm.weight")[0] = NAN;
    assert_fails(dvit_answer_check(model, logits, &error), &error, DVIT_ERROR_NUMERIC,
                 "tensor \"norm.weight\" has 1 of 32");
    dvit_session_free(session);
    dvit_model_free(model);
    free(pixels);
}

/* An image whose logits are NaN is wrong, whatever its label. */
static void evaluation_counts_images_without_an_answer(void **state)
{
    (void)state;
    struct dvit_error error;
    struct dvit_model *model = random_model(text, 0, 1, 3, 1);
    struct dvit_evaluate_options options = {.batch = 4, .want_predictions = true};
    struct dvit_evaluation result;
    struct dvit_class_counts counts[CLASSES];
    struct dvit_confusion *pairs;
    size_t count;
    weights_of(model, "head.bias")[3] = NAN;
    struct dvit_session *session = open_session(model);
    struct dvit_dataset *set = open_scenes();
    assert_ok(dvit_evaluate(session, model, set, &options, NULL, NULL, &result, &error), &error);
    assert_int_equal(result.images, VALIDATION);
    assert_int_equal(result.unanswered, VALIDATION);
    assert_true(result.top1 == 0 && result.top5 == 0);
    assert_true(isnan(result.loss));
    dvit_evaluation_class_counts(&result, counts);
    for (int k = 0; k < CLASSES; k++) {
        assert_int_equal(counts[k].images, counts[k].unanswered);
        assert_int_equal(counts[k].top1 + counts[k].top5, 0);
    }
    assert_ok(dvit_evaluation_confusions(&result, &pairs, &count, &error), &error);
    assert_int_equal(count, 0);

    struct dvit_evaluated evaluated = {"m", 1, &result};
    char folder[32], path[64];
    unsigned char *content;
    size_t size;
    test_folder_create(folder);
    for (int json = 0; json < 2; json++) {
        snprintf(path, sizeof path, "%s/p.%s", folder, json ? "jsonl" : "csv");
        assert_ok(dvit_predictions_write(path, set, &evaluated, 1, &error), &error);
        assert_ok(dvit_file_read(path, 1 << 20, &content, &size, &error), &error);
        size_t found = 0;
        const char *at = (const char *)content;
        while ((at = strstr(at, "no answer: the model's logits are not finite")) != NULL) {
            found++;
            at++;
        }
        assert_int_equal(found, VALIDATION);
        assert_null(strstr((const char *)content, "nan"));
        free(content);
    }
    test_folder_remove(folder);
    dvit_evaluation_free(&result);
    dvit_session_free(session);
    dvit_dataset_free(set);
    dvit_model_free(model);
}

/* Two sessions without an answer do not agree. */
static void comparison_counts_images_without_an_answer(void **state)
{
    (void)state;
    struct dvit_error error;
    struct dvit_model *model = random_model(text, 0, 1, 3, 1);
    struct dvit_comparison results[2];
    struct dvit_compare_options options = {.batch = 4};
    weights_of(model, "head.bias")[0] = NAN;
    struct dvit_session *sessions[2] = {open_session(model), open_session(model)};
    struct dvit_dataset *set = open_scenes();
    assert_ok(dvit_compare_sessions(sessions, 2, model, set, &options, NULL, NULL, results, &error),
              &error);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(results[i].unanswered, VALIDATION);
        assert_true(results[i].top1 == 0 && results[i].agreement == 0);
        dvit_session_free(sessions[i]);
    }
    dvit_dataset_free(set);
    dvit_model_free(model);
}

/* Bytes have no NaN: neither calibration nor an int8 session hides one. */
static void eight_bits_do_not_hide_a_nan(void **state)
{
    (void)state;
    struct dvit_error error;
    struct dvit_model *model = random_model(text, 0, 1, 3, 1);
    struct dvit_dataset *set = open_scenes();
    struct dvit_session *session;
    struct dvit_session_options options = {.max_batch = 1, .precision = "int8", .cpu = "reference"};
    assert_ok(dvit_model_calibrate(model, set, NULL, NULL, NULL, &error), &error);
    weights_of(model, "blocks.0.attn.qkv.weight")[0] = NAN;
    assert_ok(dvit_model_note_defects(model, &error), &error);
    float *pixels = random_pixels(model, 1, 1), logits[CLASSES];
    assert_ok(dvit_session_create(&session, model, &options, &error), &error);
    assert_fails(dvit_session_run(session, pixels, 1, logits, &error), &error, DVIT_ERROR_NUMERIC,
                 "tensor \"blocks.0.attn.qkv.weight\"");
    dvit_session_free(session);
    free(pixels);
    assert_fails(dvit_model_calibrate(model, set, NULL, NULL, NULL, &error), &error,
                 DVIT_ERROR_NUMERIC, "tensor \"blocks.0.attn.qkv.weight\"");
    /* Finite weights whose answer is not. */
    weights_of(model, "blocks.0.attn.qkv.weight")[0] = 0;
    for (int i = 0; i < 32; i++)
        weights_of(model, "norm.weight")[i] = 3e38f;
    assert_int_not_equal(dvit_model_calibrate(model, set, NULL, NULL, NULL, &error), DVIT_OK);
    dvit_dataset_free(set);
    dvit_model_free(model);
}

static void a_head_of_equal_rows_is_told(void **state)
{
    (void)state;
    struct dvit_model *model = random_model(text, 0, 1, 3, 1);
    float *head = weights_of(model, "head.weight"), *bias = weights_of(model, "head.bias");
    struct dvit_model *read = reload(model);
    assert_false(has_note(read, "every class"));
    dvit_model_free(read);
    for (int i = 0; i < CLASSES * 32; i++)
        head[i] = 0.25f * (float)(i % 32);
    read = reload(model); /* its bias still tells classes apart */
    assert_false(has_note(read, "every class"));
    dvit_model_free(read);
    for (int k = 0; k < CLASSES; k++)
        bias[k] = -1;
    read = reload(model);
    assert_true(has_note(read, "all 5 rows of the head \"head.weight\" are equal"));
    dvit_model_free(read);
    dvit_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_numbers_or_not),
        cmocka_unit_test(weights_that_are_not_finite_are_named),
        cmocka_unit_test(an_answer_says_which_tensor_spoiled_it),
        cmocka_unit_test(evaluation_counts_images_without_an_answer),
        cmocka_unit_test(comparison_counts_images_without_an_answer),
        cmocka_unit_test(eight_bits_do_not_hide_a_nan),
        cmocka_unit_test(a_head_of_equal_rows_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
