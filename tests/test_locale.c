/* Under a locale with a decimal comma the library writes the same bytes and reads the same numbers
 * as in the "C" locale, and leaves the program's locale as it is. The locale is made here: what
 * systems have installed differs. */
#define _GNU_SOURCE
#include "test_util.h"

#include <locale.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dvit/dvit.h"

#define SHAPE "vit:dim=48,depth=3,heads=3,patch=8,image=32,classes=4"
#define DATA  "builtin:scenes,image=32,classes=4,train=16,val=8"

static struct dvit_error error;
static char folder[64];

/* A locale's file of LC_NUMERIC as glibc reads it: a magic number, the number of texts, where each
 * begins; then decimal point, thousands separator, grouping, both again as numbers, character set.
 */
static const unsigned char comma_file[] = {
    0x14, 0x11, 0x03, 0x20, 6,   0, 0,    0, 0x20, 0, 0,    0, 0x22, 0,   0,   0,   0x24, 0,
    0,    0,    0x28, 0,    0,   0, 0x2c, 0, 0,    0, 0x30, 0, 0,    0,   ',', 0,   '.',  0,
    3,    3,    0,    0,    ',', 0, 0,    0, '.',  0, 0,    0, 'U',  'T', 'F', '-', '8',  0};

static bool comma_is_set(void)
{
    char text[8];
    snprintf(text, sizeof text, "%.1f", .5);
    return strcmp(text, "0,5") == 0;
}

/* Makes the locale "comma" in the test's folder. */
static int make_locale(void **state)
{
    char path[96];
    test_folder_create(folder);
    snprintf(path, sizeof path, "%s/comma", folder);
    if (mkdir(path, 0700) != 0)
        return -1;
    snprintf(path, sizeof path, "%s/comma/LC_NUMERIC", folder);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(comma_file, sizeof comma_file, 1, file) != 1 || fclose(file) != 0)
        return -1;
    return setenv("LOCPATH", folder, 1);
}

static int remove_locale(void **state)
{
    char path[96];
    setlocale(LC_ALL, "C");
    snprintf(path, sizeof path, "%s/comma", folder);
    test_folder_remove(path);
    test_folder_remove(folder);
    return 0;
}

static const char *in_folder(const char *name)
{
    static char paths[4][160];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

/* Calls write(path) once in each locale and compares the bytes; the file is removed. */
static void same_in_both(const char *name, void (*write)(const char *path))
{
    static const char *const locales[] = {"C", "comma"};
    void *data[2] = {0};
    size_t size[2] = {0};
    for (int i = 0; i < 2; i++) {
        if (!setlocale(LC_NUMERIC, locales[i]) || comma_is_set() != (i == 1)) {
            free(data[0]);
            setlocale(LC_ALL, "C");
            skip(); /* a C library whose locales are other files */
        }
        const char *path = in_folder(name);
        write(path);
        assert_int_equal(comma_is_set(), i == 1);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        data[i] = malloc(1 << 22);
        size[i] = fread(data[i], 1, 1 << 22, file);
        fclose(file);
        unlink(path);
    }
    setlocale(LC_ALL, "C");
    assert_true(size[0] > 0);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(data[0], data[1], size[0]);
    free(data[0]);
    free(data[1]);
}

/* --- predictions ------------------------------------------------------------------------------ */

static struct dvit_model *model;
static struct dvit_session *session;
static struct dvit_dataset *data;
static struct dvit_evaluation evaluation;

static int evaluate(void **state)
{
    struct dvit_config config;
    const struct dvit_evaluate_options options = {.batch = 4, .want_predictions = true};
    assert_ok(dvit_config_parse(SHAPE, &config, &error), &error);
    dvit_config_add_stages(&config, 2, .7);
    assert_ok(dvit_model_create(&model, &config, 1, &error), &error);
    assert_ok(dvit_session_create(&session, model, NULL, &error), &error);
    assert_ok(dvit_dataset_open(&data, DATA, "val", NULL, &error), &error);
    assert_ok(dvit_evaluate(session, model, data, &options, NULL, NULL, &evaluation, &error),
              &error);
    return 0;
}

static int release(void **state)
{
    dvit_evaluation_free(&evaluation);
    dvit_dataset_free(data);
    dvit_session_free(session);
    dvit_model_free(model);
    return 0;
}

static void write_predictions(const char *path)
{
    const struct dvit_evaluated evaluated = {"m", .7, &evaluation};
    assert_ok(dvit_predictions_write(path, data, &evaluated, 1, &error), &error);
}

static void write_confusion(const char *path)
{
    assert_ok(dvit_evaluation_write_confusion(path, &evaluation, &error), &error);
}

static void test_predictions(void **state)
{
    same_in_both("p.csv", write_predictions);
    same_in_both("p.jsonl", write_predictions);
    same_in_both("p.json", write_predictions);
    same_in_both("c.csv", write_confusion);
}

/* --- models ----------------------------------------------------------------------------------- */

static void write_model(const char *path)
{
    struct dvit_model *read = NULL;
    assert_ok(dvit_model_save(model, path, NULL, &error), &error);
    assert_ok(dvit_model_load(&read, path, NULL, &error), &error);
    assert_true(dvit_model_config(read)->keep == .7);
    assert_true(dvit_model_config(read)->norm_eps == dvit_model_config(model)->norm_eps);
    assert_true(dvit_model_preprocess(read)->mean[0] == dvit_model_preprocess(model)->mean[0]);
    dvit_model_free(read);
}

static void test_models(void **state)
{
    same_in_both("m.safetensors", write_model);
    same_in_both("m.pth", write_model);
}

static void write_messages(const char *path)
{
    struct dvit_config config = *dvit_model_config(model);
    struct dvit_train_options options = dvit_train_options_dense();
    struct dvit_loader *loader = NULL;
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(dvit_config_check_keep(&config, 1.5, &error), DVIT_ERROR_ARGUMENT);
    fprintf(file, "%s\n", error.message);
    options.batch = 4;
    options.rand_augment = "rand-m9-mstd0.5-inc1";
    struct dvit_preprocess preprocess = *dvit_model_preprocess(model);
    assert_ok(dvit_train_loader_create(&loader, data, &options, &preprocess, &error), &error);
    dvit_loader_free(loader);
    options.rand_augment = "rand-m9-mstd0,5";
    assert_int_equal(dvit_train_loader_create(&loader, data, &options, &preprocess, &error),
                     DVIT_ERROR_ARGUMENT);
    fprintf(file, "%s\n", error.message);
    fclose(file);
}

static void test_messages(void **state)
{
    same_in_both("messages.txt", write_messages);
}

/* --- reports ---------------------------------------------------------------------------------- */

static void write_plot(const char *path)
{
    static const double x[] = {.25, .5, 1.75}, y[] = {.125, .5, .875};
    const struct dvit_plot_line line = {"line", x, y, 3, NULL};
    const struct dvit_plot plot = {"title", "x", "s", false, &line, 1};
    assert_ok(dvit_report_plots(path, &plot, 1, &error), &error);
}

static void write_table(const char *path)
{
    static const struct dvit_table_column column = {"number", DVIT_ALIGN_RIGHT};
    struct dvit_table *table = NULL;
    char *text = NULL, *html = NULL;
    assert_ok(dvit_table_create(&table, NULL, &column, 1, &error), &error);
    dvit_table_cell(table, "%.2f %%", 12.5);
    assert_ok(dvit_table_text(table, &text, &error), &error);
    assert_ok(dvit_table_html(table, &html, &error), &error);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fprintf(file, "%s%s", text, html);
    fclose(file);
    free(text);
    free(html);
    dvit_table_free(table);
}

static const char *run_folder;

static void write_page(const char *path)
{
    const struct dvit_report_run run = {run_folder, "run"};
    const struct dvit_report report = {.title = "page", .runs = &run, .run_count = 1};
    assert_ok(dvit_report_html(path, &report, &error), &error);
}

static void ignore_event(void *context, const struct dvit_train_event *event)
{
}

/* No file that a program reads has a comma where a decimal point belongs: log.csv has as many cells
 * in each line, and no JSON text ends a number with ",digit" (its commas are followed by a blank).
 */
static void check_logs(void)
{
    char path[200], line[8192];
    int cells = 0;
    snprintf(path, sizeof path, "%s/log.csv", run_folder);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        int commas = 0;
        for (const char *at = line; *at; at++)
            commas += *at == ',';
        cells = cells ? cells : commas;
        assert_int_equal(commas, cells);
    }
    fclose(file);
    assert_true(cells > 3);
    static const char *const names[] = {"log.jsonl", "config.json"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", run_folder, names[i]);
        assert_non_null(file = fopen(path, "rb"));
        while (fgets(line, sizeof line, file))
            for (const char *at = strchr(line, ','); at; at = strchr(at + 1, ','))
                assert_false(at[-1] >= '0' && at[-1] <= '9' && at[1] >= '0' && at[1] <= '9');
        fclose(file);
    }
}

static void test_a_run_and_its_page(void **state)
{
    static char path[160];
    struct dvit_train_options options = dvit_train_options_dense();
    struct dvit_dataset *train = NULL;
    struct dvit_model *student = NULL;
    struct dvit_config config;
    snprintf(path, sizeof path, "%s/run", folder);
    run_folder = options.out = path;
    options.epochs = 2;
    options.batch = 4;
    options.log_every = 1;
    options.warmup_epochs = 0;
    options.threads = 1;
    options.tensorboard = false;
    assert_ok(dvit_config_parse(SHAPE, &config, &error), &error);
    assert_ok(dvit_model_create(&student, &config, 1, &error), &error);
    assert_ok(dvit_dataset_open(&train, DATA, "train", NULL, &error), &error);
    if (!setlocale(LC_NUMERIC, "comma"))
        skip();
    assert_ok(dvit_train(student, NULL, train, data, &options, ignore_event, NULL, NULL, &error),
              &error);
    options.resume = true; /* reads what it wrote, in the other locale */
    setlocale(LC_NUMERIC, "C");
    assert_ok(dvit_train(student, NULL, train, data, &options, ignore_event, NULL, NULL, &error),
              &error);
    check_logs();
    same_in_both("page.html", write_page);
    dvit_dataset_free(train);
    dvit_model_free(student);
    test_folder_remove(path);
}

static void test_plots_and_tables(void **state)
{
    same_in_both("plot.svg", write_plot);
    same_in_both("table.txt", write_table);
}

static int begin(void **state)
{
    return make_locale(state) || evaluate(state);
}

static int end(void **state)
{
    return release(state) || remove_locale(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_predictions),        cmocka_unit_test(test_models),
        cmocka_unit_test(test_messages),           cmocka_unit_test(test_plots_and_tables),
        cmocka_unit_test(test_a_run_and_its_page),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
