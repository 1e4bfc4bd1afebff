/* Report pages: charts of awkward numbers, logs damaged in every way, and HTML that is well-formed
 * whatever goes in. */
#include "test_util.h"

#include <ctype.h>
#include <math.h>

#include "dvit/report.h"
#include "report/curves.h"
#include "report/markup.h"
#include "report/logged_run.h"

static struct dvit_error error;

/* ---- a checker for the HTML we write: XML, in effect ---- */

struct checker {
    const char *at;
    char open[64][16];
    int depth;
};

static void skip_entity(struct checker *checker)
{
    static const char *const known[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(checker->at, known[i], strlen(known[i])) == 0) {
            checker->at += strlen(known[i]);
            return;
        }
    fail_msg("a bare & at: %.60s", checker->at);
}

static void read_name(struct checker *checker, char *name)
{
    size_t length = 0;
    while (isalnum((unsigned char)*checker->at) || *checker->at == '-') {
        assert_true(length < 15);
        name[length++] = *checker->at++;
    }
    name[length] = 0;
    if (!length)
        fail_msg("no tag or attribute name at: %.60s", checker->at);
}

static void check_attributes(struct checker *checker)
{
    char name[16];
    while (*checker->at == ' ') {
        checker->at++;
        read_name(checker, name);
        if (strncmp(checker->at, "=\"", 2) != 0)
            fail_msg("attribute without a quoted value at: %.60s", checker->at);
        for (checker->at += 2; *checker->at != '"';) {
            if (*checker->at == '<' || !*checker->at)
                fail_msg("< or the end in attribute %s: %.60s", name, checker->at);
            if (*checker->at == '&')
                skip_entity(checker);
            else
                checker->at++;
        }
        checker->at++;
    }
}

static void check_tag(struct checker *checker)
{
    char name[16];
    bool closing = checker->at[1] == '/';
    checker->at += closing ? 2 : 1;
    read_name(checker, name);
    if (closing) {
        if (!checker->depth || strcmp(checker->open[checker->depth - 1], name) != 0)
            fail_msg("</%s> does not close what is open", name);
        checker->depth--;
    } else {
        check_attributes(checker);
        bool empty = *checker->at == '/';
        checker->at += empty;
        if (!empty) {
            assert_true(checker->depth < 64);
            strcpy(checker->open[checker->depth++], name);
        }
    }
    if (*checker->at != '>')
        fail_msg("tag %s is not closed: %.60s", name, checker->at);
    checker->at++;
}

/* Balanced tags, quoted attributes, no bare < or &, valid UTF-8 without control characters. */
static void assert_well_formed(const char *html)
{
    struct checker checker = {.at = html};
    unsigned long code;
    if (strncmp(html, "<!DOCTYPE html>", 15) == 0)
        checker.at += 15;
    while (*checker.at) {
        if (*checker.at == '<') {
            check_tag(&checker);
        } else if (*checker.at == '&') {
            skip_entity(&checker);
        } else {
            size_t bytes = dvit_utf8_decode(checker.at, &code);
            if (*checker.at == '>' && strcmp(checker.open[checker.depth - 1], "style") != 0)
                fail_msg("a bare > before: %.60s", checker.at);
            if ((code < 0x20 && code != '\n') || (code == 0xfffd && bytes == 1))
                fail_msg("control character or bad UTF-8 before: %.60s", checker.at);
            checker.at += bytes;
        }
    }
    assert_int_equal(checker.depth, 0);
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        count++;
    return count;
}

#define assert_has(text, part)                                                                     \
    do {                                                                                           \
        if (!strstr((text), (part)))                                                               \
            fail_msg("\"%s\" is missing in: %.3000s", (part), (text));                             \
    } while (0)

/* ---- charts ---- */

static char *chart_of(const double *x, const double *y, size_t count)
{
    struct dvit_series series = {.name = "<run> & co", .x = x, .y = y, .count = count, .stride = 1};
    struct dvit_chart chart = {
        .title = "Loss", .x_label = "step", .unit = "", .series = &series, .count = 1};
    struct dvit_markup markup = {0};
    char *text;
    dvit_chart_add_svg(&chart, &markup);
    assert_ok(dvit_markup_take(&markup, "chart", &text, NULL, &error), &error);
    assert_well_formed(text);
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    return text;
}

static void ticks_are_round(void **state)
{
    assert_float_equal(dvit_tick_step(0, 1, 4), 0.25, 1e-12);
    assert_float_equal(dvit_tick_step(0, 3000, 5), 1000, 1e-9);
    assert_float_equal(dvit_tick_step(0.62, 0.71, 4), 0.025, 1e-12);
    assert_float_equal(dvit_tick_step(-7, 9, 4), 5, 1e-12);
    assert_float_equal(dvit_tick_step(0, 2e-6, 4), 5e-7, 1e-15);
}

/* The plot's corners in SVG units are (46, 20) and (384, 192). */
static void chart_puts_points_where_axes_say(void **state)
{
    char *text = chart_of((double[]){0, 50, 100}, (double[]){0, 4, 1}, 3);
    assert_has(text, "<path d=\"M46.0 192.0L215.0 20.0L384.0 149.0\"/>");
    assert_has(text, "<text class=\"end\" x=\"39.0\" y=\"24.0\">4</text>");
    assert_has(text, "<text class=\"end\" x=\"39.0\" y=\"196.0\">0</text>");
    assert_has(text, "<text class=\"middle\" x=\"384.0\" y=\"209.0\">100</text>");
    assert_has(text, "&lt;run&gt; &amp; co <b>1</b>");
    assert_int_equal(count_of(text, "<circle"), 3);
    free(text);
}

static void chart_survives_few_points(void **state)
{
    char *text = chart_of(NULL, NULL, 0);
    assert_has(text, "no values");
    free(text);
    text = chart_of((double[]){7}, (double[]){0.5}, 1); /* y axis .45 … .55, x axis 0 … 7 */
    assert_has(text, "<path d=\"M384.0 106.0\"/>");
    assert_int_equal(count_of(text, "<circle"), 1);
    free(text);
    text = chart_of((double[]){0}, (double[]){0}, 1);
    assert_has(text, "<path d=\"M46.0 192.0\"/>");
    free(text);
    text = chart_of((double[]){10, 20}, (double[]){3, 3}, 2); /* constant: 2.7 … 3.3 */
    assert_has(text, "L384.0 ");
    assert_has(text, ">2.6</text>");
    free(text);
    text = chart_of((double[]){5, 5}, (double[]){1, 2}, 2); /* one abscissa */
    assert_int_equal(count_of(text, "<circle"), 2);
    free(text);
}

static void chart_leaves_gaps(void **state)
{
    double x[] = {0, 1, 2, 3, 4, 5}, y[] = {1, 2, NAN, 3, INFINITY, 1e200};
    char *text = chart_of(x, y, 6);
    assert_int_equal(count_of(text, "M"), 3); /* two pieces, and the legend's swatch */
    free(text);
    double only_nan[] = {NAN, NAN};
    text = chart_of(x, only_nan, 2);
    assert_has(text, "no values");
    free(text);
    enum { MANY = 5000 };
    static double long_x[MANY], long_y[MANY];
    for (int i = 0; i < MANY; i++) {
        long_x[i] = i;
        long_y[i] = i == 1234 ? 9 : i % 2;
    }
    long_y[4000] = NAN;
    text = chart_of(long_x, long_y, MANY);
    assert_true(count_of(text, "L") < 700);
    assert_has(text, " 37.2L"); /* the spike of 9 on an axis to 10 */
    free(text);
}

static void chart_notation_suits_magnitudes(void **state)
{
    char *text = chart_of((double[]){0, 20000}, (double[]){1e-5, 4e-4}, 2);
    assert_has(text, ">×10⁻⁴ </text>");
    assert_has(text, ">20k</text>");
    free(text);
    text = chart_of((double[]){0, 1}, (double[]){-1e100, 1e100}, 2);
    assert_has(text, "×10¹⁰⁰");
    free(text);
    text = chart_of((double[]){0, 1}, (double[]){1e-300, 1e-290}, 2);
    free(text);
}

/* ---- logs ---- */

static char folder[64];

static void write_file(const char *name, const char *text, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(dvit_file_replace(path, text, size, &error), &error);
}

static const char good_log[] =
    "{\"event\":\"started\",\"time\":1.0,\"steps_per_epoch\":20,\"total_steps\":40}\n"
    "{\"event\":\"step\",\"epoch\":0,\"step\":10,\"lr\":0.001,\"backbone_lr\":1e-5,\"loss\":2.5,"
    "\"loss_cls\":2,\"loss_ratio\":0.1,\"loss_kl\":0.4,\"loss_token\":0.2,\"gradient_norm\":1.5,"
    "\"keep\":[0.8,0.6],\"images_per_s\":410,\"bad_steps\":0}\n"
    "{\"event\":\"step\",\"epoch\":0,\"step\":20,\"lr\":0.001,\"loss\":1.25,\"keep\":[0.71,0.5],"
    "\"images_per_s\":400,\"bad_steps\":1}\n"
    "{\"event\":\"evaluated\",\"epoch\":0,\"step\":20,\"top1\":0.75,\"top5\":0.9,\"loss\":1.1,"
    "\"ema_top1\":0.875,\"best\":true}\n"
    "{\"event\":\"skipped\",\"text\":\"x.jpg: <cut>\"}\n"
    "{\"event\":\"saved\",\"text\":\"last\"}\n"
    "{\"event\":\"finished\",\"text\":\"done\"}\n";

static struct dvit_logged_run read_log(const char *text, size_t size)
{
    struct dvit_logged_run log;
    write_file("log.jsonl", text, size);
    assert_ok(dvit_logged_run_read(&log, folder, &error), &error);
    return log;
}

static double step_value(const struct dvit_logged_run *log, size_t row, int column)
{
    assert_true(row < log->steps.count);
    return log->steps.values[row * DVIT_STEP_COLUMNS + (size_t)column];
}

static void log_columns_are_read(void **state)
{
    struct dvit_logged_run log = read_log(good_log, sizeof good_log - 1);
    static const double first[] = {10, 0, .001, 1e-5, 2.5, 2, .1, .4, .2, 1.5, 410, 0, .8, .6};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        assert_float_equal(step_value(&log, 0, (int)i), first[i], 1e-12);
    assert_true(isnan(step_value(&log, 0, DVIT_STEP_KEEP + 2)));
    assert_true(isnan(step_value(&log, 1, DVIT_STEP_LOSS_KL)));
    assert_int_equal(log.steps.count, 2);
    assert_int_equal(log.stages, 2);
    assert_int_equal(log.evaluations.count, 1);
    assert_float_equal(log.evaluations.values[DVIT_EVALUATION_TOP1], .75, 0);
    assert_float_equal(log.evaluations.values[DVIT_EVALUATION_TOP5], .9, 0);
    assert_float_equal(log.evaluations.values[DVIT_EVALUATION_EMA_TOP1], .875, 0);
    assert_float_equal(log.total_steps, 40, 0);
    assert_int_equal(log.skipped, 1);
    assert_int_equal(log.damaged, 0);
    assert_string_equal(log.finished, "done");
    dvit_logged_run_free(&log);
}

static void log_damage_is_counted_and_passed_over(void **state)
{
    static const char text[] =
        "{\"event\":\"step\",\"step\":10,\"loss\":NaN,\"keep\":[-Infinity,0.5]}\n"
        "\n  \r\n"
        "not json\n"
        "[1,2]\n"
        "{\"event\":7}\n"
        "{\"event\":\"step\",\"loss\":1}\n"
        "{\"event\":\"step\",\"step\":\"20\",\"loss\":1}\n"
        "{\"event\":\"evaluated\",\"step\":null}\n"
        "{\"event\":\"step\",\"step\":30,\"loss\":\"nan\",\"keep\":7,"
        "\"text\":\"\\\"NaN\\\" inf\"}\n"
        "\0\xff{\n"
        "{\"event\":\"step\",\"step\":40,\"lo";
    struct dvit_logged_run log = read_log(text, sizeof text - 1);
    assert_int_equal(log.damaged, 8);
    assert_int_equal(log.steps.count, 2);
    assert_true(isnan(step_value(&log, 0, DVIT_STEP_LOSS)));
    assert_true(isnan(step_value(&log, 0, DVIT_STEP_KEEP)));
    assert_float_equal(step_value(&log, 0, DVIT_STEP_KEEP + 1), .5, 0);
    assert_true(isnan(step_value(&log, 1, DVIT_STEP_LOSS)));
    assert_null(log.finished);
    dvit_logged_run_free(&log);
    log = read_log("", 0);
    assert_int_equal(log.steps.count + log.damaged, 0);
    dvit_logged_run_free(&log);
}

static void log_of_a_resumed_run_replaces_repeated_steps(void **state)
{
    static const char text[] = "{\"event\":\"step\",\"step\":10,\"loss\":1}\n"
                               "{\"event\":\"evaluated\",\"step\":20,\"top1\":0.2}\n"
                               "{\"event\":\"step\",\"step\":20,\"loss\":2}\n"
                               "{\"event\":\"step\",\"step\":30,\"loss\":3}\n"
                               "{\"event\":\"evaluated\",\"step\":40,\"top1\":0.4}\n"
                               "{\"event\":\"finished\",\"text\":\"stopped\"}\n"
                               "{\"event\":\"started\",\"total_steps\":50}\n"
                               "{\"event\":\"step\",\"step\":20,\"loss\":4}\n";
    struct dvit_logged_run log = read_log(text, sizeof text - 1);
    assert_int_equal(log.steps.count, 2);
    assert_float_equal(step_value(&log, 1, DVIT_STEP_LOSS), 4, 0);
    assert_int_equal(log.evaluations.count, 1);
    assert_float_equal(log.evaluations.values[DVIT_EVALUATION_TOP1], .2, 0);
    assert_null(log.finished);
    dvit_logged_run_free(&log);
}

/* ---- pages ---- */

static char *page_of(const struct dvit_report *report)
{
    unsigned char *html;
    size_t size;
    char path[128];
    snprintf(path, sizeof path, "%s/report.html", folder);
    assert_ok(dvit_report_html(path, report, &error), &error);
    assert_ok(dvit_file_read(path, (size_t)1 << 28, &html, &size, &error), &error);
    assert_int_equal(strlen((char *)html), size);
    assert_well_formed((char *)html);
    return (char *)html;
}

static const char good_config[] =
    "{\"command\":\"dvit <script>\",\"version\":\"0.1.0\",\"seed\":3,\"data\":{\"labels\":[\"a\","
    "\"<b>\"],\"splits\":[{\"n\":1},{\"n\":2}]},\"model\":{\"keep\":0.9,\"none\":{},\"empty\":[]},"
    "\"options\":{\"keep\":0.5,\"rate\":0.001,\"on\":true,\"null\":null},\"machine\":{}}";

static void page_shows_everything_and_escapes_it(void **state)
{
    static unsigned char pixels[] = {255, 0, 0, 0, 255, 0};
    struct dvit_image image = {2, 1, pixels};
    struct dvit_table *table;
    assert_ok(dvit_table_create(&table, "A & B",
                                (const struct dvit_table_column[]){{"×", DVIT_ALIGN_RIGHT}}, 1,
                                &error),
              &error);
    dvit_table_cell(table, "<td>");
    write_file("log.jsonl", good_log, sizeof good_log - 1);
    write_file("config.json", good_config, sizeof good_config - 1);
    struct dvit_report report = {
        .title = "<script>alert(1)</script>",
        .subtitle = "\"quoted\" & \x01",
        .tables = (const struct dvit_table *const[]){table},
        .table_count = 1,
        .runs = (const struct dvit_report_run[]){{folder, "run <1>"}},
        .run_count = 1,
        .pictures = (const struct dvit_report_picture[]){{&image, "a \"> b"}, {&image, NULL}},
        .picture_count = 2,
    };
    char *html = page_of(&report);
    assert_null(strstr(html, "<script"));
    assert_null(strstr(html, "http:"));
    assert_null(strstr(html, "https:"));
    assert_has(html, "<h1>&lt;script&gt;alert(1)&lt;/script&gt;</h1>");
    assert_has(html, "&quot;quoted&quot; &amp;  ");
    assert_has(html, "<td>run &lt;1&gt;</td><td class=\"right\">20 of 40</td><td class=\"right\">"
                     "87.50 %</td><td class=\"right\">20</td><td class=\"right\">1.25</td>"
                     "<td class=\"right\">50.0 %</td><td class=\"right\">405</td>"
                     "<td class=\"right\">1</td><td class=\"right\">1</td><td>done</td>");
    assert_has(html, "<caption>A &amp; B</caption>");
    assert_has(html, "<td class=\"right\">&lt;td&gt;</td>");
    assert_int_equal(count_of(html, "<figure class=\"chart\">"), 12);
    assert_has(html, "top 1, averaged weights <b>87.5 %</b>");
    assert_has(html, "target <b>50 %</b>"); /* options.keep, not model.keep */
    assert_has(html, "target <b>25 %</b>");
    assert_int_equal(count_of(html, "src=\"data:image/png;base64,iVBORw0KGgo"), 2);
    assert_has(html, "alt=\"a &quot;&gt; b\"");
    assert_has(html, "<th scope=\"row\">labels</th><td>a, &lt;b&gt;</td>");
    assert_has(html, "<th scope=\"row\">rate</th><td>0.001</td>");
    assert_has(html, "dvit &lt;script&gt;");
    free(html);
    dvit_table_free(table);
}

static void page_of_several_runs_has_a_chart_per_quantity(void **state)
{
    write_file("log.jsonl", good_log, sizeof good_log - 1);
    write_file("config.json", good_config, sizeof good_config - 1);
    char slashed[80];
    snprintf(slashed, sizeof slashed, "./%s///", folder);
    struct dvit_report report = {
        .runs = (const struct dvit_report_run[]){{slashed, NULL}, {folder, "second"}},
        .run_count = 2};
    char *html = page_of(&report), part[128];
    assert_int_equal(count_of(html, "<figure class=\"chart\">"), 15);
    assert_has(html, "Patches kept after stage 2</figcaption>");
    snprintf(part, sizeof part, "<td>%s</td>", folder); /* only the last part of ./folder/// */
    assert_has(html, part);
    assert_has(html, "<title>dvit report</title>");
    free(html);
}

/* A run killed at any byte, and settings cut or changed anywhere, still make a sound page. */
static void page_survives_every_truncation(void **state)
{
    struct dvit_report report = {.runs = (const struct dvit_report_run[]){{folder, NULL}},
                                 .run_count = 1};
    size_t longest = sizeof good_log > sizeof good_config ? sizeof good_log : sizeof good_config;
    for (size_t cut = 0; cut < longest; cut += 3) {
        char config[sizeof good_config];
        size_t config_bytes = cut < sizeof good_config ? cut : sizeof good_config - 1;
        memcpy(config, good_config, sizeof config);
        write_file("log.jsonl", good_log, cut < sizeof good_log ? cut : sizeof good_log - 1);
        write_file("config.json", config, config_bytes);
        free(page_of(&report));
        config[cut % (sizeof good_config - 1)] ^= 0x55;
        write_file("config.json", config, sizeof good_config - 1);
        free(page_of(&report));
    }
}

static void page_of_deep_settings_is_bounded(void **state)
{
    char deep[2 * 1000 + 2];
    memset(deep, '[', 1000);
    memset(deep + 1000, ']', 1000);
    write_file("log.jsonl", "", 0);
    write_file("config.json", deep, 2000);
    struct dvit_report report = {.runs = (const struct dvit_report_run[]){{folder, NULL}},
                                 .run_count = 1};
    char *html = page_of(&report);
    assert_true(count_of(html, "<table") < 12);
    free(html);
}

static void page_errors_name_what_is_wrong(void **state)
{
    char path[128];
    snprintf(path, sizeof path, "%s/none", folder);
    struct dvit_report report = {.runs = (const struct dvit_report_run[]){{path, NULL}},
                                 .run_count = 1};
    assert_fails(dvit_report_html("unwritten.html", &report, &error), &error, DVIT_ERROR_NOT_FOUND,
                 "none/log.jsonl");
    assert_false(dvit_file_exists("unwritten.html"));
    report.run_count = 65;
    assert_fails(dvit_report_html("unwritten.html", &report, &error), &error, DVIT_ERROR_ARGUMENT,
                 "65 runs");
    report.run_count = 0;
    snprintf(path, sizeof path, "%s/none/report.html", folder);
    assert_fails(dvit_report_html(path, &report, &error), &error, DVIT_ERROR_NOT_FOUND,
                 "none/report.html");
    free(page_of(&report)); /* nothing to show is still a page */
}

static int make_folder(void **state)
{
    test_folder_create(folder);
    return 0;
}

static int remove_folder(void **state)
{
    test_folder_remove(folder);
    return 0;
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticks_are_round),
        cmocka_unit_test(chart_puts_points_where_axes_say),
        cmocka_unit_test(chart_survives_few_points),
        cmocka_unit_test(chart_leaves_gaps),
        cmocka_unit_test(chart_notation_suits_magnitudes),
        in_folder(log_columns_are_read),
        in_folder(log_damage_is_counted_and_passed_over),
        in_folder(log_of_a_resumed_run_replaces_repeated_steps),
        in_folder(page_shows_everything_and_escapes_it),
        in_folder(page_of_several_runs_has_a_chart_per_quantity),
        in_folder(page_survives_every_truncation),
        in_folder(page_of_deep_settings_is_bounded),
        in_folder(page_errors_name_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
