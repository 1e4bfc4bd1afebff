/* Evaluation against arithmetic done here: accuracy and loss of a model whose answers are known,
 * and of a random one run image by image; what is counted, what is skipped; shares of objects kept.
 */
#include "test_util.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dvit/eval.h"
#include "models/model.h"

enum { CLASSES = 7, SIDE = 16, VALIDATION = 19 };
static const char scenes[] = "builtin:scenes,image=16,classes=7,train=7,val=19";

static struct dvit_model *make_model(int patch, int stages, double keep)
{
    struct dvit_config config = {.name = "vit",
                                 .image_width = SIDE,
                                 .image_height = SIDE,
                                 .patch = patch,
                                 .dim = 16,
                                 .depth = 3,
                                 .heads = 2,
                                 .mlp = 24,
                                 .classes = CLASSES,
                                 .norm_eps = 1e-6f,
                                 .skip_lam = 1,
                                 .qkv_bias = true,
                                 .stages = stages,
                                 .stage_block = {1, 2},
                                 .keep = keep};
    struct dvit_model *model = NULL;
    struct dvit_preprocess native;
    struct dvit_error error;
    assert_ok(dvit_model_create(&model, &config, 5, &error), &error);
    assert_ok(dvit_preprocess_preset("native", SIDE, SIDE, &native, &error), &error);
    assert_ok(dvit_model_set_preprocess(model, &native, &error), &error);
    return model;
}

/* Logits that are these for any image: the head's weights are 0. */
static const float fixed_logits[CLASSES] = {0, 3, 1, -2, 2, 3, -1};

static void fix_logits(struct dvit_model *model)
{
    const struct dvit_parameters *p = &model->parameters;
    memset(dvit_model_weights(model, (size_t)dvit_parameters_find(p, "head.weight")), 0,
           CLASSES * 16 * sizeof(float));
    memcpy(dvit_model_weights(model, (size_t)dvit_parameters_find(p, "head.bias")), fixed_logits,
           sizeof fixed_logits);
}

static struct dvit_session *make_session(const struct dvit_model *model, int max_batch)
{
    struct dvit_session_options options = dvit_session_options_default();
    struct dvit_session *session = NULL;
    struct dvit_error error;
    options.max_batch = max_batch;
    options.threads = 2;
    assert_ok(dvit_session_create(&session, model, &options, &error), &error);
    return session;
}

static struct dvit_dataset *open_data(const char *spec)
{
    struct dvit_dataset *data = NULL;
    struct dvit_error error;
    assert_ok(dvit_dataset_open(&data, spec, "val", NULL, &error), &error);
    return data;
}

static struct dvit_evaluation evaluate(const struct dvit_model *model, struct dvit_dataset *data,
                                       const struct dvit_evaluate_options *options)
{
    struct dvit_session *session = make_session(model, options->batch);
    struct dvit_evaluation out;
    struct dvit_error error;
    assert_ok(dvit_evaluate(session, model, data, options, NULL, NULL, &out, &error), &error);
    dvit_session_free(session);
    return out;
}

/* Labels are index mod 7. Best first: 1, 5 (a tie, to the lower index), 4, 2, 0, then 6 and 3. */
static void known_answers_are_counted_exactly(void **state)
{
    (void)state;
    struct dvit_model *model = make_model(8, 0, 1);
    struct dvit_dataset *data = open_data(scenes);
    fix_logits(model);
    double sum = 0;
    for (int k = 0; k < CLASSES; k++)
        sum += exp(fixed_logits[k]);
    const int batches[] = {1, 4, 5, 19, 64};
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        struct dvit_evaluate_options options = {.batch = batches[i], .workers = (int)i};
        struct dvit_evaluation result = evaluate(model, data, &options);
        double loss = 0;
        for (int n = 0; n < VALIDATION; n++)
            loss += log(sum) - fixed_logits[n % CLASSES];
        assert_int_equal(result.images, VALIDATION);
        assert_int_equal(result.skipped, 0);
        assert_true(result.top1 == 3 / 19.0);  /* label 1: images 1, 8, 15 */
        assert_true(result.top5 == 14 / 19.0); /* all but three of label 3 and two of 6 */
        assert_float_equal(result.loss, loss / VALIDATION, 1e-6);
        assert_int_equal(result.stages, 0);
        assert_true(result.images_per_s > 0 && result.model_images_per_s >= result.images_per_s);
    }
    dvit_dataset_free(data);
    dvit_model_free(model);
}

static void count_progress(void *context, size_t done, size_t total)
{
    size_t *seen = context;
    assert_true(done > seen[0]);
    seen[0] = done;
    seen[1] = total;
}

static void a_limit_takes_the_first_images(void **state)
{
    (void)state;
    struct dvit_model *model = make_model(8, 0, 1);
    struct dvit_dataset *data = open_data(scenes);
    struct dvit_evaluation result;
    struct dvit_error error;
    fix_logits(model);
    struct dvit_session *session = make_session(model, 3);
    for (size_t limit = 1; limit <= 25; limit += 8) {
        size_t seen[2] = {0, 0}, expected = limit < VALIDATION ? limit : VALIDATION;
        struct dvit_evaluate_options options = {.batch = 3, .workers = 1, .limit = limit};
        assert_ok(
            dvit_evaluate(session, model, data, &options, count_progress, seen, &result, &error),
            &error);
        size_t right = 0;
        for (size_t n = 0; n < expected; n++)
            right += n % CLASSES == 1;
        assert_int_equal(result.images, expected);
        assert_int_equal(seen[0], expected);
        assert_int_equal(seen[1], expected);
        assert_true(result.top1 == (double)right / (double)expected);
    }
    dvit_session_free(session);
    dvit_dataset_free(data);
    dvit_model_free(model);
}

/* Runs image `index` alone; its logits and its label. */
static int run_one(struct dvit_session *session, const struct dvit_model *model,
                   struct dvit_dataset *data, size_t index, float *logits,
                   struct dvit_sample *sample)
{
    float pixels[3 * SIDE * SIDE];
    const struct dvit_preprocess *p = dvit_model_preprocess(model);
    struct dvit_error error;
    assert_ok(dvit_dataset_read(data, index, sample, &error), &error);
    assert_int_equal(sample->image.width, SIDE);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < SIDE * SIDE; i++)
            pixels[c * SIDE * SIDE + i] =
                ((float)sample->image.pixels[3 * i + c] / 255.0f - p->mean[c]) / p->std[c];
    assert_ok(dvit_session_run(session, pixels, 1, logits, &error), &error);
    return sample->label;
}

/* Object pixels of the mask that lie in the kept patches. */
static double covered_share(const uint8_t *mask, const int *kept, int count, int patch)
{
    int object = 0, covered = 0, grid = SIDE / patch;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            int place = y / patch * grid + x / patch;
            bool inside = false;
            for (int i = 0; i < count; i++)
                inside = inside || kept[i] == place;
            object += mask[y * SIDE + x];
            covered += inside && mask[y * SIDE + x];
        }
    assert_true(object > 0);
    return (double)covered / object;
}

static void a_dynamic_model_agrees_with_image_by_image(void **state)
{
    (void)state;
    struct dvit_model *model = make_model(4, 2, .6);
    struct dvit_dataset *data = open_data(scenes);
    struct dvit_session *session = make_session(model, 1);
    double top1 = 0, top5 = 0, loss = 0, object[2] = {0, 0};
    for (size_t n = 0; n < VALIDATION; n++) {
        float logits[CLASSES], probability[CLASSES];
        struct dvit_sample sample;
        int label = run_one(session, model, data, n, logits, &sample), better = 0;
        for (int k = 0; k < CLASSES; k++)
            better += logits[k] > logits[label];
        top1 += better == 0;
        top5 += better < 5;
        dvit_softmax(logits, CLASSES, probability);
        loss -= log(probability[label]);
        for (int s = 0; s < 2; s++) {
            int count;
            const int *kept = dvit_session_kept(session, 0, s, &count);
            object[s] += covered_share(sample.mask, kept, count, 4);
        }
        dvit_sample_free(&sample);
    }
    struct dvit_evaluate_options options = {.batch = 8, .workers = 2};
    struct dvit_evaluation result = evaluate(model, data, &options);
    assert_true(result.top1 == top1 / VALIDATION);
    assert_true(result.top5 == top5 / VALIDATION);
    assert_float_equal(result.loss, loss / VALIDATION, 1e-5);
    assert_int_equal(result.stages, 2);
    assert_true(result.has_masks);
    assert_float_equal(result.kept_share[0], 9 / 16.0, 1e-12); /* (int)(16·.6), (int)(16·.36) */
    assert_float_equal(result.kept_share[1], 5 / 16.0, 1e-12);
    for (int s = 0; s < 2; s++)
        assert_float_equal(result.object_kept_share[s], object[s] / VALIDATION, 1e-6);
    assert_true(result.object_kept_share[1] < result.object_kept_share[0]);
    dvit_session_free(session);
    dvit_dataset_free(data);
    dvit_model_free(model);
}

/* Scores that are the same everywhere keep the first patches: the upper half, then the upper row.
 */
static void object_share_of_a_known_choice(void **state)
{
    (void)state;
    struct dvit_model *model = make_model(4, 2, .5);
    const struct dvit_parameters *p = &model->parameters;
    for (int s = 0; s < 2; s++) {
        char name[64];
        snprintf(name, sizeof name, "score_predictor.%d.out_conv.4.weight", s);
        size_t index = (size_t)dvit_parameters_find(p, name);
        memset(dvit_model_weights(model, index), 0, p->items[index].count * sizeof(float));
    }
    struct dvit_dataset *data = open_data(scenes);
    double object[2] = {0, 0};
    for (size_t n = 0; n < VALIDATION; n++) {
        const int first[8] = {0, 1, 2, 3, 4, 5, 6, 7};
        struct dvit_sample sample;
        struct dvit_error error;
        assert_ok(dvit_dataset_read(data, n, &sample, &error), &error);
        for (int s = 0; s < 2; s++)
            object[s] += covered_share(sample.mask, first, s ? 4 : 8, 4) / VALIDATION;
        dvit_sample_free(&sample);
    }
    struct dvit_evaluate_options options = {.batch = 4, .workers = 1};
    struct dvit_evaluation result = evaluate(model, data, &options);
    assert_true(object[0] > .2 && object[0] < .8);
    for (int s = 0; s < 2; s++) {
        assert_true(result.kept_share[s] == (s ? .25 : .5));
        assert_float_equal(result.object_kept_share[s], object[s], 1e-12);
    }
    dvit_dataset_free(data);
    dvit_model_free(model);
}

static void an_image_kept_whole_keeps_its_object(void **state)
{
    (void)state;
    struct dvit_model *model = make_model(SIDE, 2, .5); /* one patch, and at least one stays */
    struct dvit_dataset *data = open_data(scenes);
    struct dvit_evaluate_options options = {.batch = 6, .workers = 1};
    struct dvit_evaluation result = evaluate(model, data, &options);
    for (int s = 0; s < 2; s++) {
        assert_true(result.kept_share[s] == 1);
        assert_true(result.object_kept_share[s] == 1);
    }
    dvit_dataset_free(data);
    dvit_model_free(model);
}

static void write_text(const char *folder, const char *name, const char *text)
{
    char path[1200];
    struct dvit_error error;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(dvit_file_replace(path, text, strlen(text), &error), &error);
}

static void unreadable_images_are_counted_apart(void **state)
{
    (void)state;
    struct dvit_model *model = make_model(8, 0, 1);
    struct dvit_evaluation result;
    struct dvit_error error;
    char folder[40], class[CLASSES][80];
    fix_logits(model);
    test_folder_create(folder);
    for (int k = 0; k < CLASSES; k++) {
        snprintf(class[k], sizeof class[k], "%s/class%d", folder, k);
        assert_ok(dvit_folder_create(class[k], &error), &error);
        write_text(class[k], "a.ppm", "P3 2 2 9  1 2 3 4 5 6 7 8 9 0 0 0");
    }
    write_text(class[1], "b.ppm", "P3 2 2 9  1 2 3");
    write_text(class[4], "b.png", "not an image");
    struct dvit_dataset *data = open_data(folder);
    struct dvit_evaluate_options options = {.batch = 2, .workers = 1};
    result = evaluate(model, data, &options);
    assert_int_equal(dvit_dataset_size(data), 9);
    assert_int_equal(result.images, CLASSES);
    assert_int_equal(result.skipped, 2);
    assert_true(result.top1 == 1 / 7.0 && result.top5 == 5 / 7.0);
    assert_false(result.has_masks);
    struct dvit_session *session = make_session(model, 2);
    options.strict = true;
    assert_fails(dvit_evaluate(session, model, data, &options, NULL, NULL, &result, &error), &error,
                 DVIT_ERROR_FORMAT, "class1/b.ppm");
    dvit_session_free(session);
    dvit_dataset_free(data);
    for (int k = 0; k < CLASSES; k++)
        test_folder_remove(class[k]);
    test_folder_remove(folder);
    dvit_model_free(model);
}

static void other_class_counts_are_refused(void **state)
{
    (void)state;
    struct dvit_model *model = make_model(8, 0, 1);
    struct dvit_dataset *data = open_data("builtin:scenes,image=16,classes=5,val=5");
    struct dvit_session *session = make_session(model, 4);
    struct dvit_evaluate_options options = {.batch = 4};
    struct dvit_evaluation result;
    struct dvit_error error;
    assert_fails(dvit_evaluate(session, model, data, &options, NULL, NULL, &result, &error), &error,
                 DVIT_ERROR_MISMATCH, "5 classes, the model 7");
    dvit_dataset_free(data);
    data = open_data(scenes);
    options.batch = 5; /* more than the session was made for */
    assert_fails(dvit_evaluate(session, model, data, &options, NULL, NULL, &result, &error), &error,
                 DVIT_ERROR_ARGUMENT, "4");
    options.batch = 0;
    assert_fails(dvit_evaluate(session, model, data, &options, NULL, NULL, &result, &error), &error,
                 DVIT_ERROR_ARGUMENT, "batch");
    dvit_session_free(session);
    dvit_dataset_free(data);
    dvit_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers_are_counted_exactly),
        cmocka_unit_test(a_limit_takes_the_first_images),
        cmocka_unit_test(a_dynamic_model_agrees_with_image_by_image),
        cmocka_unit_test(object_share_of_a_known_choice),
        cmocka_unit_test(an_image_kept_whole_keeps_its_object),
        cmocka_unit_test(unreadable_images_are_counted_apart),
        cmocka_unit_test(other_class_counts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
