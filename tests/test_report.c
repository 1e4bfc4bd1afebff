/* Report pages: logs damaged in every way, and HTML that is well-formed whatever goes in. */
#define _POSIX_C_SOURCE 200809L /* open_memstream */
#include "html_check.h"

#include <math.h>

#include "dvit/report.h"
#include "report/markup.h"
#include "report/logged_run.h"

static struct dvit_error error;

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
    "\"loss_cls\":2,\"loss_ratio\":0.1,\"loss_kl\":0.4,\"loss_token\":0.2,\"loss_aux\":0.3,"
    "\"gradient_norm\":1.5,"
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
    static const double first[] = {10, 0, .001, 1e-5, 2.5, 2, .1, .4, .2, .3, 1.5, 410, 0, .8, .6};
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
    assert_has(html, "&quot;quoted&quot; &amp; \\x01");
    assert_has(html, "<td>run &lt;1&gt;</td><td class=\"right\">20 of 40</td><td class=\"right\">"
                     "87.50 %</td><td class=\"right\">20</td><td class=\"right\">1.25</td>"
                     "<td class=\"right\">50.0 % in training</td><td class=\"right\">405</td>"
                     "<td class=\"right\">1</td><td class=\"right\">1</td>"
                     "<td>1970-01-01 00:00</td><td class=\"right\">0 s</td><td>done</td>");
    assert_has(html, "<caption>A &amp; B</caption>");
    assert_has(html, "<td class=\"right\">&lt;td&gt;</td>");
    assert_int_equal(count_of(html, "<figure class=\"chart\">"), 14);
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

/* ---- what was kept, epoch by epoch ---- */

static void write_picture(const char *name, int width)
{
    char path[160];
    struct dvit_image image;
    snprintf(path, sizeof path, "%s/kept/%s", folder, name);
    assert_ok(dvit_image_create(&image, width, 3, &error), &error);
    assert_ok(dvit_image_write_png(path, &image, &error), &error);
    dvit_image_free(&image);
}

static void expect_in_order(const char *html, const char *const *parts)
{
    for (const char *at = html; *parts; parts++) {
        const char *found = strstr(at, *parts);
        if (!found)
            fail_msg("\"%s\" is missing, or comes too early", *parts);
        at = found + 1;
    }
}

static void page_shows_what_was_kept_over_the_epochs(void **state)
{
    char kept[96];
    snprintf(kept, sizeof kept, "%s/kept", folder);
    assert_ok(dvit_folder_create(kept, &error), &error);
    write_file("log.jsonl", good_log, sizeof good_log - 1);
    struct dvit_report report = {.runs = (const struct dvit_report_run[]){{folder, "<run>"}},
                                 .run_count = 1};
    char *html = page_of(&report);
    assert_null(strstr(html, "epoch by epoch")); /* nothing is there yet */
    free(html);
    for (int epoch = 1; epoch <= 11; epoch++) {
        char name[32];
        snprintf(name, sizeof name, "epoch-%04d.png", epoch);
        write_picture(name, epoch);
    }
    write_picture("epoch-10000.png", 12); /* the last, though not in byte order */
    write_picture("other.png", 13);
    write_file("kept/epoch-.png", "", 0);
    write_file("kept/epoch-0012.txt", "", 0);
    html = page_of(&report);
    assert_int_equal(count_of(html, "data:image/png;base64,iVBORw0KGgo"), 6);
    expect_in_order(html,
                    (const char *const[]){
                        "<h2>Patches kept, epoch by epoch</h2>", "width=\"1\" height=\"3\"",
                        "<figcaption>epoch 1</figcaption>", "<figcaption>epoch 3</figcaption>",
                        "<figcaption>epoch 5</figcaption>", "<figcaption>epoch 7</figcaption>",
                        "<figcaption>epoch 9</figcaption>", "width=\"12\" height=\"3\"",
                        "<figcaption>epoch 10000</figcaption>", NULL});
    assert_has(html, "alt=\"&lt;run&gt;: patches kept after epoch 7\"");
    free(html);
    test_folder_remove(kept);
}

static void pictures_that_are_none_are_left_out(void **state)
{
    char kept[96];
    snprintf(kept, sizeof kept, "%s/kept", folder);
    assert_ok(dvit_folder_create(kept, &error), &error);
    write_file("log.jsonl", good_log, sizeof good_log - 1);
    write_picture("epoch-0001.png", 5);
    write_file("kept/epoch-0002.png", "\x89PNG\r\n\x1a\n<script>", 16);
    struct dvit_report report = {
        .runs = (const struct dvit_report_run[]){{folder, NULL}, {folder, "again"}},
        .run_count = 2};
    char *html = page_of(&report);
    assert_int_equal(count_of(html, "data:image/png;base64,"), 2); /* one of each run */
    assert_int_equal(count_of(html, "Left out: "), 2);
    assert_has(html, "<h3>again</h3>");
    assert_null(strstr(html, "<script"));
    free(html);
    test_folder_remove(kept);
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
    assert_int_equal(count_of(html, "<figure class=\"chart\">"), 16);
    assert_has(html, "Patches kept in training, after stage 2</figcaption>");
    snprintf(part, sizeof part, "<td>%s</td>", folder); /* only the last part of ./folder/// */
    assert_has(html, part);
    assert_has(html, "<title>dvit report</title>");
    assert_null(strstr(html, "Options that differ"));
    free(html);
}

/* Another run's description beside good_config. */
static void page_sets_runs_side_by_side(void **state)
{
    static const char other[] =
        "{\"command\":\"dvit train\",\"build\":{\"revision\":\"0<1\"},\"seed\":4,"
        "\"options\":{\"keep\":0.7,\"rate\":0.001,\"new\":\"x\",\"on\":true,\"null\":null}}";
    char second[96], path[128];
    snprintf(second, sizeof second, "%s/second", folder);
    assert_ok(dvit_folder_create(second, &error), &error);
    write_file("log.jsonl", good_log, sizeof good_log - 1);
    write_file("config.json", good_config, sizeof good_config - 1);
    write_file("second/log.jsonl", good_log, sizeof good_log - 1);
    snprintf(path, sizeof path, "%s/config.json", second);
    assert_ok(dvit_file_replace(path, other, sizeof other - 1, &error), &error);
    struct dvit_report report = {
        .runs = (const struct dvit_report_run[]){{folder, "first"}, {second, NULL}},
        .run_count = 2};
    char *html = page_of(&report);
    expect_in_order(
        html,
        (const char *const[]){
            "<h2>Environment</h2>", "<th scope=\"col\">first</th><th scope=\"col\">second</th>",
            "<th scope=\"row\">Command</th><td>dvit &lt;script&gt;</td><td>dvit train</td>",
            "<th scope=\"row\">Revision</th><td>–</td><td>0&lt;1</td>",
            "<th scope=\"row\">Seed</th><td>3</td><td>4</td>", "<h2>Options that differ</h2>",
            "<th scope=\"row\">keep</th><td>0.5</td><td>0.7</td>",
            "<th scope=\"row\">new</th><td>–</td><td>x</td>", "<h2>Configuration</h2>", NULL});
    const char *differences = strstr(html, "Options that differ");
    const char *end = strstr(differences, "</table>");
    const char *rate = strstr(differences, ">rate<");
    assert_true(!rate || rate > end);      /* they agree */
    assert_null(strstr(html, ">System<")); /* nobody says */
    free(html);
    test_folder_remove(second);
}

/* How long a run was trained, without the time that it stood still. */
static void times_are_read_from_the_log(void **state)
{
    static const char text[] = "{\"event\":\"started\",\"time\":1000}\n"
                               "{\"event\":\"step\",\"time\":1100,\"step\":10,\"loss\":1}\n"
                               "{\"event\":\"step\",\"time\":1050,\"step\":11,\"loss\":1}\n"
                               "{\"event\":\"step\",\"time\":\"x\",\"step\":12,\"loss\":1}\n"
                               "{\"event\":\"step\",\"time\":1e300,\"step\":13,\"loss\":1}\n"
                               "{\"event\":\"started\",\"time\":90000}\n"
                               "{\"event\":\"finished\",\"time\":93661,\"text\":\"done\"}\n";
    struct dvit_logged_run log = read_log(text, sizeof text - 1);
    assert_float_equal(log.first_s, 1000, 0);
    assert_float_equal(log.last_s, 93661, 0);
    assert_float_equal(log.trained_s, 100 + 3661, 0);
    dvit_logged_run_free(&log);
    struct dvit_report report = {.runs = (const struct dvit_report_run[]){{folder, "run"}},
                                 .run_count = 1};
    char *html = page_of(&report);
    assert_has(html, "<td>1970-01-01 00:16</td><td class=\"right\">1 h 2 min</td><td>done</td>");
    assert_has(html, "trained from 1970-01-01 00:16 to 1970-01-02 02:01 UTC");
    free(html);
    log = read_log("{\"event\":\"step\",\"step\":1}\n", 27);
    assert_true(isnan(log.first_s) && log.trained_s == 0);
    dvit_logged_run_free(&log);
    html = page_of(&report);
    assert_null(strstr(html, "trained from"));
    assert_has(html, "<td>–</td><td class=\"right\">–</td><td>no end was recorded</td>");
    assert_has(html, "<b>run</b>: no end was recorded: it is still running, or was killed.</p>");
    free(html);
}

/* Why a run failed stands below the table, and its loss does not flatten the other one's. */
static void page_says_why_a_run_failed(void **state)
{
    char second[96], path[128], *lines = NULL;
    size_t size = 0;
    snprintf(second, sizeof second, "%s/second", folder);
    assert_ok(dvit_folder_create(second, &error), &error);
    write_file("log.jsonl", good_log, sizeof good_log - 1);
    FILE *stream = open_memstream(&lines, &size);
    for (int i = 1; i <= 20; i++)
        fprintf(stream, "{\"event\":\"step\",\"step\":%d,\"loss\":%d000000}\n", i, i);
    fputs("{\"event\":\"finished\",\"text\":\"the run <diverged>: try a lower rate\"}\n", stream);
    fclose(stream);
    snprintf(path, sizeof path, "%s/log.jsonl", second);
    assert_ok(dvit_file_replace(path, lines, size, &error), &error);
    free(lines);
    struct dvit_report report = {
        .runs = (const struct dvit_report_run[]){{folder, "good"}, {second, "bad & ugly"}},
        .run_count = 2};
    char *html = page_of(&report);
    assert_has(html, "<td>the run &lt;diverged&gt;</td>");
    assert_has(html, "<b>bad &amp; ugly</b>: the run &lt;diverged&gt;: try a lower rate.</p>");
    assert_has(html, "off the axis: bad &amp; ugly reaches 2e+07 at step 20</p>");
    assert_null(strstr(html, "<b>good</b>"));
    free(html);
    test_folder_remove(second);
}

/* The count of inference where the folder states one; what is impossible is not believed. */
static void page_shows_the_count_of_inference(void **state)
{
    static const char config[] = "{\"model\":{\"patches\":64,\"kept\":[44,31]}}";
    static const char *const impossible[] = {
        "{\"model\":{\"patches\":64,\"kept\":[65,0]}}", "{\"model\":{\"kept\":[44,31]}}",
        "{\"model\":{\"patches\":1e99,\"kept\":\"x\"}}", "{\"model\":7}"};
    struct dvit_report report = {.runs = (const struct dvit_report_run[]){{folder, "run"}},
                                 .run_count = 1};
    write_file("log.jsonl", good_log, sizeof good_log - 1);
    write_file("config.json", config, sizeof config - 1);
    char *html = page_of(&report);
    assert_has(html, "<td class=\"right\">31 of 64 (48 %)</td>");
    assert_has(html, "Patches kept: by inference, after the last stage.");
    assert_has(html, "inference: 44 of 64 <b>68.75 %</b>");
    assert_has(html, "Patches kept in training</figcaption>");
    free(html);
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        write_file("config.json", impossible[i], strlen(impossible[i]));
        html = page_of(&report);
        assert_has(html, "50.0 % in training");
        assert_null(strstr(html, "inference"));
        free(html);
    }
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
        in_folder(log_columns_are_read),
        in_folder(log_damage_is_counted_and_passed_over),
        in_folder(log_of_a_resumed_run_replaces_repeated_steps),
        in_folder(page_shows_everything_and_escapes_it),
        in_folder(page_sets_runs_side_by_side),
        in_folder(page_shows_what_was_kept_over_the_epochs),
        in_folder(pictures_that_are_none_are_left_out),
        in_folder(page_of_several_runs_has_a_chart_per_quantity),
        in_folder(times_are_read_from_the_log),
        in_folder(page_says_why_a_run_failed),
        in_folder(page_shows_the_count_of_inference),
        in_folder(page_survives_every_truncation),
        in_folder(page_of_deep_settings_is_bounded),
        in_folder(page_errors_name_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
