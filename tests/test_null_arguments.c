/* Every public function with NULL for each of its pointers in turn, and indices, sizes and numbers
 * out of range: an error or nothing, never a crash. The calls with NULL are made of the headers by
 * null_calls.py. */
#include "test_util.h"

#include <limits.h>
#include <math.h>
#include <unistd.h>

#include "dvit/dvit.h"

#define SHAPE "vit:dim=48,depth=2,heads=3,patch=8,image=32,classes=4"
#define DATA  "builtin:scenes,image=32,classes=4,train=16,val=8"
enum { CLASSES = 4, PIXELS = 3 * 32 * 32 };

static struct dvit_error error;

/* Right arguments, and places for what the calls make. */
static struct {
    struct dvit_config config;
    struct dvit_preprocess preprocess;
    struct dvit_model *model, *other;
    struct dvit_session *session, *sessions[1];
    struct dvit_dataset *dataset, *train;
    struct dvit_loader *loader;
    struct dvit_table *table;
    struct dvit_layers *layers;
    struct dvit_weight_file *weight_file;
    struct dvit_image image;
    struct dvit_overlay overlay;
    struct dvit_plot plot;
    struct dvit_report report;
    struct dvit_evaluation evaluation;
    struct dvit_evaluated evaluated;
    struct dvit_prediction prediction;
    struct dvit_sample sample;
    struct dvit_skip skip;
    struct dvit_comparison comparison;
    struct dvit_cost cost;
    struct dvit_class_counts class_counts[CLASSES];
    struct dvit_step_speed step_speed;
    struct dvit_rate_curve rate_curve;
    struct dvit_table_column table_column;
    struct dvit_dataset_options dataset_options;
    struct dvit_loader_options loader_options;
    struct dvit_evaluate_options evaluate_options;
    struct dvit_calibrate_options calibrate_options;
    struct dvit_compare_options compare_options;
    struct dvit_session_options session_options;
    struct dvit_train_options train_options;
    struct dvit_load_options load_options;
    struct dvit_save_options save_options;
    struct dvit_decode_options decode_options;
    struct dvit_decode_info decode_info;
    struct dvit_overlay_options overlay_options;
    enum dvit_pruning pruning;
    max_align_t anything[512];
    const struct dvit_batch *batch;
    const char *texts[CLASSES];
    char folder[64], path[96], run[96];
    unsigned char bytes[64];
    float pixels[PIXELS], logits[CLASSES], floats[PIXELS];
    int ints[2];
    double number;
    size_t size;
    bool flag;
    volatile int stop;

    struct dvit_model *made_model;
    struct dvit_session *made_session;
    struct dvit_dataset *made_dataset;
    struct dvit_loader *made_loader;
    struct dvit_table *made_table;
    struct dvit_layers *made_layers;
    struct dvit_weight_file *made_weight_file;
    struct dvit_confusion *made_confusion;
    struct dvit_image made_image;
    char *made_text;
    unsigned char *made_bytes;
} f;

static void ignore_progress(void *context, size_t done, size_t total)
{
}

static void ignore_event(void *context, const struct dvit_train_event *event)
{
}

struct null_call {
    const char *function, *argument;
    bool required; /* NULL must be an error */
    bool says_so;  /* and there is a place for its message */
    enum dvit_status (*call)(void);
};

#include "null_calls.inc"

static void free_made(void)
{
    dvit_session_free(f.made_session);
    dvit_loader_free(f.made_loader);
    dvit_dataset_free(f.made_dataset);
    dvit_model_free(f.made_model);
    dvit_table_free(f.made_table);
    dvit_layers_free(f.made_layers);
    dvit_weight_file_free(f.made_weight_file);
    dvit_image_free(&f.made_image);
    dvit_sample_free(&f.sample);
    free(f.made_confusion);
    free(f.made_text);
    free(f.made_bytes);
    f.made_session = NULL;
    f.made_loader = NULL;
    f.made_dataset = NULL;
    f.made_model = NULL;
    f.made_table = NULL;
    f.made_layers = NULL;
    f.made_weight_file = NULL;
    f.made_confusion = NULL;
    f.made_text = NULL;
    f.made_bytes = NULL;
}

static void fill_options(void)
{
    f.preprocess = *dvit_model_preprocess(f.model);
    f.dataset_options = dvit_dataset_options_default();
    f.loader_options = dvit_loader_options_default();
    f.loader_options.batch = 4;
    f.loader_options.preprocess = f.preprocess;
    f.evaluate_options = (struct dvit_evaluate_options){.batch = 4};
    f.calibrate_options = dvit_calibrate_options_default();
    f.calibrate_options.images = f.calibrate_options.batch = 4;
    f.compare_options = (struct dvit_compare_options){.batch = 4};
    f.session_options = dvit_session_options_default();
    f.session_options.threads = 1;
    f.train_options = dvit_train_options_dense();
    f.train_options.out = f.run;
    f.train_options.batch = 8;
    f.train_options.threads = f.train_options.max_steps = 1;
    f.train_options.epochs = 1;
    f.train_options.warmup_epochs = 0;
    f.decode_options = dvit_decode_options_default();
    f.overlay_options = dvit_overlay_options_default();
    f.table_column.header = "column";
    f.overlay =
        (struct dvit_overlay){.image = &f.image, .grid_width = 4, .grid_height = 4, .stages = 0};
    static const double x[] = {1, 2};
    static const struct dvit_plot_line line = {"line", x, x, 2, NULL};
    f.plot = (struct dvit_plot){"title", "x", "", false, &line, 1};
    f.evaluation.classes = CLASSES;
    f.evaluated = (struct dvit_evaluated){"m", .7, &f.evaluation};
    for (int k = 0; k < CLASSES; k++)
        f.texts[k] = "label";
}

static int create(void **state)
{
    test_folder_create(f.folder);
    snprintf(f.path, sizeof f.path, "%s/file.csv", f.folder);
    snprintf(f.run, sizeof f.run, "%s/run", f.folder);
    assert_ok(dvit_config_parse(SHAPE, &f.config, &error), &error);
    assert_ok(dvit_model_create(&f.model, &f.config, 1, &error), &error);
    assert_ok(dvit_model_create(&f.other, &f.config, 2, &error), &error);
    assert_ok(dvit_image_create(&f.image, 32, 32, &error), &error);
    fill_options();
    assert_ok(dvit_session_create(&f.session, f.model, &f.session_options, &error), &error);
    f.sessions[0] = f.session;
    assert_ok(dvit_dataset_open(&f.dataset, DATA, "val", NULL, &error), &error);
    assert_ok(dvit_dataset_open(&f.train, DATA, "train", NULL, &error), &error);
    assert_ok(dvit_loader_create(&f.loader, f.dataset, &f.loader_options, &error), &error);
    assert_ok(dvit_table_create(&f.table, NULL, &f.table_column, 1, &error), &error);
    assert_ok(dvit_layers_create(&f.layers, &f.config, 1, &error), &error);
    assert_ok(dvit_model_save(f.model, f.path, NULL, &error), &error);
    assert_ok(dvit_weight_file_open(&f.weight_file, f.path, &error), &error);
    return 0;
}

static int release(void **state)
{
    free_made();
    dvit_weight_file_free(f.weight_file);
    dvit_layers_free(f.layers);
    dvit_table_free(f.table);
    dvit_loader_free(f.loader);
    dvit_dataset_free(f.dataset);
    dvit_dataset_free(f.train);
    dvit_session_free(f.session);
    dvit_image_free(&f.image);
    dvit_model_free(f.model);
    dvit_model_free(f.other);
    if (access(f.run, F_OK) == 0)
        test_folder_remove(f.run);
    test_folder_remove(f.folder);
    return 0;
}

static void test_null_in_each_place(void **state)
{
    size_t wrong = 0, count = sizeof null_calls / sizeof *null_calls;
    for (size_t i = 0; i < count; i++) {
        const struct null_call *call = &null_calls[i];
        fflush(stdout);
        error = (struct dvit_error){0};
        enum dvit_status status = call->call();
        free_made();
        if (!call->required ||
            (status == DVIT_ERROR_ARGUMENT && (!call->says_so || error.message[0])))
            continue;
        wrong++;
        print_error("%s with NULL for %s: %s (%s)\n", call->function, call->argument,
                    dvit_status_name(status), error.message);
    }
    assert_int_equal(wrong, 0);
    assert_true(count > 250);
}

static void test_the_message_names_function_and_argument(void **state)
{
    assert_fails(dvit_session_run(f.session, f.pixels, 1, NULL, &error), &error,
                 DVIT_ERROR_ARGUMENT, "dvit_session_run: logits is NULL");
    assert_fails(dvit_session_run(NULL, f.pixels, 1, NULL, &error), &error, DVIT_ERROR_ARGUMENT,
                 "dvit_session_run: session is NULL");
    f.made_model = f.model; /* anything: it becomes NULL */
    assert_fails(dvit_model_create(&f.made_model, NULL, 0, &error), &error, DVIT_ERROR_ARGUMENT,
                 "dvit_model_create: config is NULL");
    assert_null(f.made_model);
}

/* --- out of range ------------------------------------------------------------------------------
 */

static void test_indices(void **state)
{
    static const int wild[] = {-1, INT_MIN, INT_MAX, 1000};
    int count;
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
        int index = wild[i];
        size_t place = (size_t)index;
        assert_null(dvit_session_kept(f.session, index, 0, &count));
        assert_int_equal(count, 0);
        assert_null(dvit_session_kept(f.session, 0, index, &count));
        assert_null(dvit_session_profile_row(f.session, place).kind);
        assert_null(dvit_layers_get(f.layers, place).kind);
        assert_null(dvit_model_tensor(f.model, place).name);
        assert_null(dvit_model_note(f.model, place));
        assert_string_equal(dvit_model_label(f.model, index), "?");
        assert_null(dvit_weight_file_tensor(f.weight_file, place).name);
        assert_null(dvit_weight_file_value(f.weight_file, place).name);
        assert_int_equal(dvit_weight_file_read(f.weight_file, place, f.floats, &error),
                         DVIT_ERROR_ARGUMENT);
        assert_null(dvit_dataset_class_name(f.dataset, index));
        assert_null(dvit_dataset_item_name(f.dataset, place));
        assert_int_equal(dvit_dataset_label(f.dataset, place), -1);
        assert_null(dvit_dataset_warning(f.dataset, place));
        assert_int_equal(dvit_dataset_read(f.dataset, place, &f.sample, &error),
                         DVIT_ERROR_ARGUMENT);
        assert_false(dvit_loader_skipped(f.loader, place, &f.skip));
        assert_int_equal(dvit_loader_start(f.loader, 0, place, &error), DVIT_ERROR_ARGUMENT);
        assert_null(dvit_config_preset_name(place));
        assert_null(dvit_imagenet_label(index));
        assert_null(dvit_imagenet_wnid(index));
        assert_non_null(dvit_pruning_name((enum dvit_pruning)index));
        assert_non_null(dvit_status_name((enum dvit_status)index));
        assert_int_equal(dvit_model_set_labels(f.model, f.texts, index, &error),
                         DVIT_ERROR_MISMATCH);
        assert_int_equal(dvit_session_run(f.session, f.pixels, index, f.logits, &error),
                         DVIT_ERROR_ARGUMENT);
    }
}

static void test_images(void **state)
{
    static const int sides[][2] = {{0, 0}, {0, 5}, {5, 0}, {-1, 5}, {5, -1}, {70000, 5}};
    struct dvit_image bad, out;
    unsigned char *data = NULL;
    for (size_t i = 0; i <= sizeof sides / sizeof *sides; i++) {
        bool pixels = i < sizeof sides / sizeof *sides;
        bad = (struct dvit_image){pixels ? sides[i][0] : 8, pixels ? sides[i][1] : 8,
                                  pixels ? f.image.pixels : NULL};
        assert_int_equal(dvit_preprocess_run(&f.preprocess, &bad, f.floats, &error),
                         DVIT_ERROR_ARGUMENT);
        assert_int_equal(dvit_preprocess_geometry(&f.preprocess, &bad, &out, &error),
                         DVIT_ERROR_ARGUMENT);
        assert_int_equal(dvit_image_copy(&out, &bad, &error), DVIT_ERROR_ARGUMENT);
        assert_null(out.pixels);
        assert_int_equal(dvit_image_crop(&out, &bad, (struct dvit_box){0, 0, 4, 4}, &error),
                         DVIT_ERROR_ARGUMENT);
        assert_int_equal(dvit_image_orient(&out, &bad, 6, &error), DVIT_ERROR_ARGUMENT);
        assert_int_equal(dvit_image_resize(&out, &bad, 4, 4, DVIT_FILTER_BICUBIC, &error),
                         DVIT_ERROR_ARGUMENT);
        assert_int_equal(dvit_image_encode_png(&bad, &data, &f.size, &error), DVIT_ERROR_ARGUMENT);
        assert_null(data);
    }
    assert_int_equal(dvit_image_resize(&out, &f.image, 4, 4, (enum dvit_filter)7, &error),
                     DVIT_ERROR_ARGUMENT);
    assert_int_equal(dvit_image_decode(&out, "", 0, NULL, NULL, &error), DVIT_ERROR_FORMAT);
    int width = 1, height = 1;
    dvit_image_short_side(0, 5, 32, &width, &height);
    assert_int_equal(width + height, 0);
    dvit_image_centre_box(INT_MIN, INT_MAX, INT_MAX, INT_MIN);
}

static void test_preprocessing(void **state)
{
    static const float wrong[] = {NAN, INFINITY, 0, -1};
    struct dvit_preprocess p;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        p = f.preprocess;
        p.std[1] = wrong[i];
        assert_fails(dvit_preprocess_run(&p, &f.image, f.floats, &error), &error,
                     DVIT_ERROR_ARGUMENT, "std");
    }
    p = f.preprocess;
    p.mean[2] = NAN;
    assert_fails(dvit_preprocess_run(&p, &f.image, f.floats, &error), &error, DVIT_ERROR_ARGUMENT,
                 "mean");
    p = f.preprocess;
    p.fit = (enum dvit_fit)9;
    assert_fails(dvit_preprocess_run(&p, &f.image, f.floats, &error), &error, DVIT_ERROR_ARGUMENT,
                 "fit is 9");
    p = f.preprocess;
    p.crop_width = -5;
    assert_fails(dvit_preprocess_run(&p, &f.image, f.floats, &error), &error, DVIT_ERROR_ARGUMENT,
                 "crop_width is -5");
    p = f.preprocess;
    p.resize_side = 0;
    assert_fails(dvit_preprocess_run(&p, &f.image, f.floats, &error), &error, DVIT_ERROR_ARGUMENT,
                 "resize_side is 0");
}

static void test_configurations(void **state)
{
    struct dvit_config c = {0};
    assert_int_equal(dvit_config_patches(&c), 0);
    assert_int_equal(dvit_config_kept(&c, .7, 0), 0);
    assert_int_equal(dvit_config_check(&c, &error), DVIT_ERROR_ARGUMENT);
    assert_int_equal(dvit_model_create(&f.made_model, &c, 0, &error), DVIT_ERROR_ARGUMENT);
    memset(&c, 0xff, sizeof c);
    assert_int_equal(dvit_config_check(&c, &error), DVIT_ERROR_ARGUMENT);
    assert_int_equal(dvit_config_patches(&c), 0);
    c = f.config;
    c.image_width = c.image_height = INT_MAX;
    c.patch = 1;
    assert_int_equal(dvit_config_patches(&c), INT_MAX);
    assert_in_range(dvit_config_kept(&f.config, NAN, 0), 0, 16);
    assert_in_range(dvit_config_kept(&f.config, .5, -100), 0, 16);
    assert_in_range(dvit_config_kept(&f.config, INFINITY, INT_MAX), 0, 16);
    dvit_config_add_stages(&c, -3, .7);
    assert_int_equal(dvit_config_check(&c, &error), DVIT_ERROR_ARGUMENT);
    dvit_config_add_stages(&c, INT_MAX, .7);
    assert_int_equal(dvit_config_check(&c, &error), DVIT_ERROR_ARGUMENT);
    assert_int_equal(dvit_config_check_keep(&f.config, NAN, &error), DVIT_ERROR_ARGUMENT);
    assert_int_equal(dvit_model_cost(&f.config, INFINITY, &f.cost, &error), DVIT_ERROR_ARGUMENT);
    assert_int_equal(dvit_model_sparsify(&f.made_model, f.model, 2, NULL, NAN, 0, &error),
                     DVIT_ERROR_ARGUMENT);
    f.ints[0] = f.ints[1] = 77;
    assert_int_equal(dvit_model_sparsify(&f.made_model, f.model, 2, f.ints, .7, 0, &error),
                     DVIT_ERROR_ARGUMENT);
    assert_null(f.made_model);
}

static void test_numbers_of_sessions_and_training(void **state)
{
    static const double wild[] = {NAN, INFINITY, -INFINITY, -1};
    struct dvit_session_options session = f.session_options;
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
        session.keep = wild[i];
        assert_int_equal(dvit_session_create(&f.made_session, f.model, &session, &error),
                         DVIT_ERROR_ARGUMENT);
        assert_int_equal(dvit_matmul_rate(&f.config, NULL, 1, wild[i], &f.number, &error),
                         DVIT_ERROR_ARGUMENT);
        assert_int_equal(dvit_memory_rate(64, 1, wild[i], &f.number, &error), DVIT_ERROR_ARGUMENT);
        struct dvit_train_options train = f.train_options;
        train.learning_rate = wild[i];
        assert_int_equal(dvit_train(f.other, NULL, f.train, NULL, &train, NULL, NULL, NULL, &error),
                         DVIT_ERROR_ARGUMENT);
    }
    struct dvit_evaluate_options evaluate = {.batch = -1};
    assert_int_equal(
        dvit_evaluate(f.session, f.model, f.dataset, &evaluate, NULL, NULL, &f.evaluation, &error),
        DVIT_ERROR_ARGUMENT);
    f.evaluation.classes = CLASSES;
    assert_int_equal(dvit_compare_sessions(f.sessions, 0, f.model, f.dataset, &f.compare_options,
                                           NULL, NULL, &f.comparison, &error),
                     DVIT_ERROR_ARGUMENT);
    dvit_softmax(f.logits, 0, f.logits);
    dvit_softmax(f.logits, -1, f.logits);
    dvit_top_k(f.logits, -1, 3, f.ints);
    dvit_top_k(f.logits, CLASSES, -1, f.ints);
}

/* A session of one model, the configuration of another: its arrays would be too small. */
static void test_a_session_of_another_model(void **state)
{
    struct dvit_config config;
    struct dvit_model *more = NULL;
    struct dvit_session *session = NULL;
    assert_ok(
        dvit_config_parse("vit:dim=48,depth=2,heads=3,patch=8,image=32,classes=9", &config, &error),
        &error);
    assert_ok(dvit_model_create(&more, &config, 1, &error), &error);
    assert_ok(dvit_session_create(&session, more, NULL, &error), &error);
    assert_fails(dvit_evaluate(session, f.model, f.dataset, &f.evaluate_options, NULL, NULL,
                               &f.evaluation, &error),
                 &error, DVIT_ERROR_MISMATCH, "another model");
    f.evaluation.classes = CLASSES;
    dvit_session_free(session);
    dvit_model_free(more);
}

static void test_reports(void **state)
{
    struct dvit_report report = {.run_count = 1};
    assert_int_equal(dvit_report_html(f.path, &report, &error), DVIT_ERROR_ARGUMENT);
    report = (struct dvit_report){.picture_count = 1};
    assert_int_equal(dvit_report_html(f.path, &report, &error), DVIT_ERROR_ARGUMENT);
    report = (struct dvit_report){.table_count = -1};
    assert_int_equal(dvit_report_html(f.path, &report, &error), DVIT_ERROR_ARGUMENT);
    struct dvit_plot plot = f.plot;
    plot.lines = NULL;
    assert_int_equal(dvit_report_plots(f.path, &plot, 1, &error), DVIT_ERROR_ARGUMENT);
    struct dvit_plot_line line = {"line", NULL, NULL, 5, NULL};
    plot.lines = &line;
    assert_int_equal(dvit_report_plots(f.path, &plot, 1, &error), DVIT_ERROR_ARGUMENT);
    assert_int_equal(dvit_report_plots(f.path, &plot, -1, &error), DVIT_ERROR_ARGUMENT);
    struct dvit_overlay overlay = f.overlay;
    overlay.stages = 1;
    assert_int_equal(dvit_report_overlay(&f.made_image, &overlay, NULL, &error),
                     DVIT_ERROR_ARGUMENT);
    overlay.stages = -1;
    assert_int_equal(dvit_report_overlay(&f.made_image, &overlay, NULL, &error),
                     DVIT_ERROR_ARGUMENT);
    struct dvit_evaluated nothing = {0};
    assert_int_equal(dvit_predictions_write(f.path, f.dataset, &nothing, 1, &error),
                     DVIT_ERROR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null_in_each_place),
        cmocka_unit_test(test_the_message_names_function_and_argument),
        cmocka_unit_test(test_indices),
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_preprocessing),
        cmocka_unit_test(test_configurations),
        cmocka_unit_test(test_numbers_of_sessions_and_training),
        cmocka_unit_test(test_a_session_of_another_model),
        cmocka_unit_test(test_reports),
    };
    return cmocka_run_group_tests(tests, create, release);
}
