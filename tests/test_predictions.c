/* What an evaluation keeps of each image, counts and files made of it, and data sets opened for a
 * model: against small cases counted by hand. */
#define _GNU_SOURCE
#include <math.h>
#include <unistd.h>

#include "dvit/eval.h"
#include "dvit/labels.h"
#include "models/model.h"
#include "test_data_util.h"

static char root[32];

static int make_root(void **state)
{
    test_folder_create(root);
    return 0;
}

static int remove_root(void **state)
{
    remove_tree(root);
    return 0;
}

static struct dvit_model *make_model(int classes)
{
    char text[80];
    struct dvit_model *model = NULL;
    struct dvit_error error = {0};
    snprintf(text, sizeof text, "vit:dim=8,depth=1,heads=1,patch=8,image=16,classes=%d", classes);
    assert_ok(dvit_model_open(&model, text, NULL, 1, NULL, &error), &error);
    return model;
}

/* Logits that are these for any image: the head's weights are 0. */
static void fix_logits(struct dvit_model *model, const float *logits, int classes)
{
    const struct dvit_parameters *p = &model->parameters;
    size_t dim = (size_t)dvit_model_config(model)->dim;
    memset(dvit_model_weights(model, (size_t)dvit_parameters_find(p, "head.weight")), 0,
           (size_t)classes * dim * sizeof(float));
    memcpy(dvit_model_weights(model, (size_t)dvit_parameters_find(p, "head.bias")), logits,
           (size_t)classes * sizeof(float));
}

static enum dvit_status evaluate(struct dvit_evaluation *out, const struct dvit_model *model,
                                 struct dvit_dataset *set, size_t limit, bool strict,
                                 struct dvit_error *error)
{
    struct dvit_session *session = NULL;
    struct dvit_session_options chosen = dvit_session_options_default();
    struct dvit_evaluate_options options = {
        .batch = 3, .workers = 1, .limit = limit, .strict = strict, .want_predictions = true};
    chosen.max_batch = 3;
    chosen.threads = 1;
    assert_ok(dvit_session_create(&session, model, &chosen, error), error);
    enum dvit_status status = dvit_evaluate(session, model, set, &options, NULL, NULL, out, error);
    dvit_session_free(session);
    return status;
}

/* ----------------------------------------------------------------------------- evaluation --- */

static void predictions_of_a_known_model(void **state)
{
    static const float logits[7] = {0, 3, 1, -2, 2, 3, -1};
    static const int best[5] = {1, 5, 4, 2, 0};
    struct dvit_model *model = make_model(7);
    struct dvit_dataset *set = open_dataset("builtin:scenes,image=16,classes=7,val=11", "val");
    struct dvit_evaluation result;
    struct dvit_error error = {0};
    double sum = 0;
    fix_logits(model, logits, 7);
    for (int k = 0; k < 7; k++)
        sum += exp(logits[k]);
    for (size_t limit = 0; limit <= 5; limit += 5) {
        assert_ok(evaluate(&result, model, set, limit, false, &error), &error);
        assert_int_equal(result.prediction_count, limit ? limit : 11);
        assert_int_equal(result.classes, 7);
        assert_string_equal(result.class_names[3], dvit_dataset_class_name(set, 3));
        for (size_t i = 0; i < result.prediction_count; i++) {
            assert_int_equal(result.predictions[i].label, i % 7);
            for (int k = 0; k < 5; k++) {
                assert_int_equal(result.predictions[i].top[k], best[k]);
                assert_float_equal(result.predictions[i].probability[k], exp(logits[best[k]]) / sum,
                                   1e-6);
            }
        }
        assert_null(result.unread);
        dvit_evaluation_free(&result);
        dvit_evaluation_free(&result); /* legal */
    }
    dvit_dataset_free(set);
    dvit_model_free(model);
}

static void make_folders(int classes)
{
    for (int k = 0; k < classes; k++) {
        char folder[64];
        snprintf(folder, sizeof folder, "%s/c%d", root, k);
        write_picture(folder, "1.ppm", 1);
        write_picture(folder, "3.ppm", 3);
    }
}

static void unread_images_keep_their_place(void **state)
{
    static const float logits[3] = {0, 2, 1};
    struct dvit_model *model = make_model(3);
    struct dvit_evaluation result;
    struct dvit_class_counts counts[3];
    struct dvit_error error = {0};
    make_folders(3);
    write_bytes(under(root, "c0"), "2.png", "no image", 8);
    write_bytes(under(root, "c2"), "0.JPEG", "\xff\xd8", 2);
    fix_logits(model, logits, 3);
    struct dvit_dataset *set = open_dataset(root, "val");
    assert_ok(evaluate(&result, model, set, 0, false, &error), &error);
    static const int labels[8] = {0, 0, 0, 1, 1, 2, 2, 2};
    assert_int_equal(result.prediction_count, 8);
    assert_int_equal(result.images, 6);
    for (size_t i = 0; i < 8; i++) {
        bool is_read = i != 1 && i != 5;
        assert_int_equal(result.predictions[i].label, labels[i]);
        assert_int_equal(result.predictions[i].top[0], is_read ? 1 : -1);
        assert_int_equal(result.predictions[i].top[2], is_read ? 0 : -1);
        assert_int_equal(result.predictions[i].top[3], -1); /* three classes */
        assert_true(result.predictions[i].probability[3] == 0);
    }
    assert_int_equal(result.skipped, 2);
    assert_int_equal(result.unread[0].index, 1);
    assert_non_null(strstr(result.unread[0].message, "c0/2.png"));
    assert_int_equal(result.unread[1].index, 5);
    dvit_evaluation_class_counts(&result, counts);
    for (int k = 0; k < 3; k++) {
        assert_int_equal(counts[k].images, 2);
        assert_int_equal(counts[k].top1, k == 1 ? 2 : 0);
        assert_int_equal(counts[k].top5, 2);
    }
    dvit_evaluation_free(&result);
    assert_fails(evaluate(&result, model, set, 0, true, &error), &error, DVIT_ERROR_FORMAT,
                 "c0/2.png");
    assert_null(result.predictions);
    assert_null(result.class_names);
    dvit_dataset_free(set);
    dvit_model_free(model);
}

/* ----------------------------------------------------------------------- counts and files --- */

/* Seven images of four classes; the sixth could not be read. */
static struct dvit_prediction answers[] = {
    {0, {0, 1, 2, 3, -1}, true, {.5f, .25f, .125f, .125f, 0}},
    {0, {2, 0, 1, 3, -1}, true, {.7f, .2f, .05f, .05f, 0}},
    {1, {2, 3, 0, 1, -1}, true, {.4f, .3f, .2f, .1f, 0}},
    {1, {2, 0, 1, 3, -1}, true, {1, 0, 0, 0, 0}},
    {1, {1, 0, 2, 3, -1}, true, {1.f / 3, .3f, .2f, .1f, 0}},
    {3, {-1, -1, -1, -1, -1}, false, {0, 0, 0, 0, 0}},
    {3, {0, 1, 2, 3, -1}, true, {.9f, .05f, .04f, .01f, 0}},
};
static char *names[] = {"plain", "with, comma", "say \"cheese\"", "\xff\xc3\xa9\n"};
static char message[] = "\"x\": not\tan image";
static struct dvit_unread unread[] = {{5, message}};
static const struct dvit_evaluation known = {.images = 6,
                                             .skipped = 1,
                                             .predictions = answers,
                                             .prediction_count = 7,
                                             .unread = unread,
                                             .class_names = names,
                                             .classes = 4};

static void counts_of_a_known_case(void **state)
{
    static const size_t expected[4][3] = {{2, 1, 2}, {3, 1, 3}, {0, 0, 0}, {1, 0, 1}};
    struct dvit_class_counts counts[4];
    struct dvit_confusion *pairs;
    struct dvit_error error = {0};
    size_t count;
    dvit_evaluation_class_counts(&known, counts);
    for (int k = 0; k < 4; k++) {
        assert_int_equal(counts[k].images, expected[k][0]);
        assert_int_equal(counts[k].top1, expected[k][1]);
        assert_int_equal(counts[k].top5, expected[k][2]);
    }
    assert_ok(dvit_evaluation_confusions(&known, &pairs, &count, &error), &error);
    static const int sorted[3][3] = {{1, 2, 2}, {0, 2, 1}, {3, 0, 1}}; /* label, answer, images */
    assert_int_equal(count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pairs[i].label, sorted[i][0]);
        assert_int_equal(pairs[i].answer, sorted[i][1]);
        assert_int_equal(pairs[i].images, sorted[i][2]);
    }
    free(pairs);
    struct dvit_evaluation right = known;
    right.prediction_count = 1;
    assert_ok(dvit_evaluation_confusions(&right, &pairs, &count, &error), &error);
    assert_null(pairs);
    assert_int_equal(count, 0);
}

static void assert_text(const char *path, const char *text)
{
    test_assert_content(path, text, strlen(text));
}

static void the_confusion_matrix(void **state)
{
    struct dvit_error error = {0};
    const char *path = under(root, "matrix.csv");
    assert_ok(dvit_evaluation_write_confusion(path, &known, &error), &error);
    assert_text(path, "label,label_name,images,0,1,2,3\n"
                      "0,plain,2,1,0,1,0\n"
                      "1,\"with, comma\",3,0,1,2,0\n"
                      "2,\"say \"\"cheese\"\"\",0,0,0,0,0\n"
                      "3,\"\\xff\xc3\xa9\n\",1,1,0,0,0\n");
    struct dvit_evaluation large = known;
    large.classes = DVIT_MAX_CONFUSION_CLASSES + 1;
    assert_fails(dvit_evaluation_write_confusion(path, &large, &error), &error, DVIT_ERROR_LIMIT,
                 "10001 classes, expected at most 10000");
}

/* Seven images named 0 … 6, one with all that CSV and JSON must escape. */
static struct dvit_dataset *seven_images(void)
{
    static const char *const files[] = {"0.ppm", "1.ppm",         "2,\".ppm", "3\n\\.ppm",
                                        "4.ppm", "5\xff\xc3.ppm", "6é.ppm"};
    for (size_t i = 0; i < 7; i++)
        write_picture(under(root, "set/a"), files[i], 1);
    return open_dataset(under(root, "set"), "val");
}

static void predictions_as_csv(void **state)
{
    struct dvit_dataset *set = seven_images();
    struct dvit_error error = {0};
    char path[64], expected[4096];
    const struct dvit_evaluated rows[] = {{"m", .7, &known}};
    snprintf(path, sizeof path, "%s/p.CSV", root);
    assert_ok(dvit_predictions_write(path, set, rows, 1, &error), &error);
    snprintf(
        expected, sizeof expected,
        "path,label,label_name,prediction,prediction_name,probability,top2,probability2,top3,"
        "probability3,top4,probability4,top5,probability5,correct,correct5,model,keep,error\n"
        "%1$s/set/a/0.ppm,0,plain,0,plain,0.5,1,0.25,2,0.125,3,0.125,,,1,1,m,0.7,\n"
        "%1$s/set/a/1.ppm,0,plain,2,\"say \"\"cheese\"\"\",0.7,0,0.2,1,0.05,3,0.05,,,0,1,m,"
        "0.7,\n"
        "\"%1$s/set/a/2,\"\".ppm\",1,\"with, comma\",2,\"say \"\"cheese\"\"\",0.4,3,0.3,0,0.2,"
        "1,0.1,,,0,1,m,0.7,\n"
        "\"%1$s/set/a/3\n\\.ppm\",1,\"with, comma\",2,\"say \"\"cheese\"\"\",1,0,0,1,0,3,0,,,0,"
        "1,m,0.7,\n"
        "%1$s/set/a/4.ppm,1,\"with, comma\",1,\"with, comma\",0.33333334,0,0.3,2,0.2,3,0.1,,,1,"
        "1,m,0.7,\n"
        "%1$s/set/a/5\\xff\\xc3.ppm,3,\"\\xff\xc3\xa9\n\",,,,,,,,,,,,,,m,0.7,\"\"\"x\"\": "
        "not\tan image\"\n"
        "%1$s/set/a/6é.ppm,3,\"\\xff\xc3\xa9\n\",0,plain,0.9,1,0.05,2,0.04,3,0.01,,,0,1,m,0.7,"
        "\n",
        root);
    assert_text(path, expected);
    dvit_dataset_free(set);
}

static void predictions_as_json(void **state)
{
    struct dvit_dataset *set = seven_images();
    struct dvit_error error = {0};
    struct dvit_evaluation last = known, first = known;
    char path[64], expected[4096];
    first.prediction_count = 1;
    first.skipped = 0;
    static struct dvit_prediction more[7];
    memcpy(more, answers, sizeof more);
    last.predictions = more;
    more[0] = answers[5];
    static struct dvit_unread early[] = {{0, message}};
    last.unread = early;
    last.prediction_count = 1;
    const struct dvit_evaluated rows[] = {{"a\\b", 1, &first}, {"m", .5, &last}};
    snprintf(path, sizeof path, "%s/p.jsonl", root);
    assert_ok(dvit_predictions_write(path, set, rows, 2, &error), &error);
    snprintf(expected, sizeof expected,
             "{\"file\": \"%1$s/set/a/0.ppm\", \"class\": 0, \"label\": \"plain\", \"top\": ["
             "{\"class\": 0, \"label\": \"plain\", \"probability\": 0.5}, "
             "{\"class\": 1, \"label\": \"with, comma\", \"probability\": 0.25}, "
             "{\"class\": 2, \"label\": \"say \\\"cheese\\\"\", \"probability\": 0.125}, "
             "{\"class\": 3, \"label\": \"\xef\xbf\xbd\xc3\xa9\\u000a\", \"probability\": 0.125}], "
             "\"correct\": true, \"model\": \"a\\\\b\", \"keep\": 1}\n"
             "{\"file\": \"%1$s/set/a/0.ppm\", \"class\": 3, \"label\": "
             "\"\xef\xbf\xbd\xc3\xa9\\u000a\", \"error\": \"\\\"x\\\": not\\u0009an image\", "
             "\"model\": \"m\", \"keep\": 0.5}\n",
             root);
    assert_text(path, expected);
    dvit_dataset_free(set);
}

static void files_that_cannot_be_written(void **state)
{
    struct dvit_dataset *set = seven_images();
    struct dvit_error error = {0};
    struct dvit_evaluation long_one = known;
    struct dvit_evaluated rows[] = {{"m", .7, &known}};
    assert_fails(dvit_predictions_check("p.txt", &error), &error, DVIT_ERROR_ARGUMENT, ".jsonl");
    assert_ok(dvit_predictions_check("p.JSON", &error), &error);
    assert_fails(dvit_predictions_write(under(root, "p"), set, rows, 1, &error), &error,
                 DVIT_ERROR_ARGUMENT, "ends in .csv");
    assert_fails(dvit_predictions_write(under(root, "none/p.csv"), set, rows, 1, &error), &error,
                 DVIT_ERROR_NOT_FOUND, "none/p.csv");
    long_one.prediction_count = 8;
    rows[0].evaluation = &long_one;
    assert_fails(dvit_predictions_write(under(root, "p.csv"), set, rows, 1, &error), &error,
                 DVIT_ERROR_MISMATCH, "8 predictions over a data set of 7");
    rows[0].evaluation = &known;
    test_limit_file_size(100); /* a full disk leaves nothing behind */
    assert_fails(dvit_predictions_write(under(root, "p.csv"), set, rows, 1, &error), &error,
                 DVIT_ERROR_IO, "p.csv");
    assert_fails(dvit_evaluation_write_confusion(under(root, "c.csv"), &known, &error), &error,
                 DVIT_ERROR_IO, "c.csv");
    test_limit_file_size(-1);
    assert_int_equal(test_folder_count(root), 1);
    dvit_dataset_free(set);
}

/* -------------------------------------------------------------------- opened for a model --- */

static void expect_labels(const struct dvit_model *model, int first, int second)
{
    struct dvit_dataset *set = NULL;
    struct dvit_error error = {0};
    assert_ok(dvit_dataset_open_for(&set, model, root, "val", NULL, &error), &error);
    assert_int_equal(dvit_dataset_classes(set), dvit_model_config(model)->classes);
    assert_int_equal(dvit_dataset_label(set, 0), first);
    assert_int_equal(dvit_dataset_label(set, 1), second);
    dvit_dataset_free(set);
}

static void opened_for_a_model_of_imagenet(void **state)
{
    struct dvit_model *model = make_model(1000);
    struct dvit_dataset *set = NULL;
    struct dvit_error error = {0};
    static char synonyms[1000][64];
    static const char *labels[1000];
    write_picture(under(root, "n01443537"), "1.JPEG", 1);
    write_picture(under(root, "n15075141"), "1.JPEG", 1);
    expect_labels(model, 1, 999); /* classes that are only numbered */
    for (int k = 0; k < 1000; k++) {
        labels[k] = synonyms[k];
        snprintf(synonyms[k], sizeof *synonyms, "%s, also known as %d", dvit_imagenet_label(k), k);
    }
    assert_ok(dvit_model_set_labels(model, labels, 1000, &error), &error);
    expect_labels(model, 1, 999);
    for (int k = 0; k < 1000; k++) /* another thousand of classes */
        snprintf(synonyms[k], sizeof *synonyms, "class %d", k);
    assert_ok(dvit_model_set_labels(model, labels, 1000, &error), &error);
    assert_fails(dvit_dataset_open_for(&set, model, root, "val", NULL, &error), &error,
                 DVIT_ERROR_MISMATCH, "2 classes, the model 1000; class \"n01443537\"");
    assert_null(set);
    dvit_model_free(model);
}

static void opened_for_a_small_model(void **state)
{
    static const char *const labels[] = {"c1", "x", "c0"};
    struct dvit_model *model = make_model(3);
    struct dvit_dataset *set = NULL;
    struct dvit_error error = {0};
    write_picture(under(root, "c0"), "1.ppm", 1);
    write_picture(under(root, "c1"), "1.ppm", 1);
    assert_fails(dvit_dataset_open_for(&set, model, root, "val", NULL, &error), &error,
                 DVIT_ERROR_MISMATCH, "2 classes, the model 3");
    assert_ok(dvit_model_set_labels(model, labels, 3, &error), &error);
    expect_labels(model, 2, 0);
    write_picture(under(root, "n01443537"), "1.JPEG", 1); /* not a model of ImageNet */
    assert_fails(dvit_dataset_open_for(&set, model, root, "val", NULL, &error), &error,
                 DVIT_ERROR_MISMATCH, "\"n01443537\"");
    dvit_model_free(model);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(predictions_of_a_known_model), TEST(unread_images_keep_their_place),
        TEST(counts_of_a_known_case),       TEST(the_confusion_matrix),
        TEST(predictions_as_csv),           TEST(predictions_as_json),
        TEST(files_that_cannot_be_written), TEST(opened_for_a_model_of_imagenet),
        TEST(opened_for_a_small_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
