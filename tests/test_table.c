/* Foreign text made safe, and tables as exact text and HTML. */
#include "test_util.h"

#include "dvit/report.h"
#include "report/markup.h"

static struct dvit_error error;

/* ---- foreign text ---- */

static void markup_makes_text_safe(void **state)
{
    struct dvit_markup markup = {0};
    char *text;
    /* overlong "/", a surrogate, a cut-off character, beyond Unicode, C0, DEL and C1 controls */
    dvit_markup_escape(&markup, "<a href=\"x\">&'\xc3\xa4 \xc0\xaf \xed\xa0\x80 \xe2\x82 "
                                "\xf5\x80\x80\x80 \x1b[2J\x7f\xc2\x85\xe2\x82");
    assert_ok(dvit_markup_take(&markup, "text", &text, NULL, &error), &error);
    assert_string_equal(text, "&lt;a href=&quot;x&quot;&gt;&amp;&#39;\xc3\xa4 \\xc0\\xaf "
                              "\\xed\\xa0\\x80 \\xe2\\x82 \\xf5\\x80\\x80\\x80 "
                              "\\x1b[2J\\x7f\\u0085\\xe2\\x82");
    free(text);
    dvit_markup_escape(&markup, NULL);
    assert_ok(dvit_markup_take(&markup, "text", &text, NULL, &error), &error);
    assert_string_equal(text, "");
    free(text);
}

static void markup_writes_numbers_and_base64(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {{"", ""},
                 {"f", "Zg=="},
                 {"fo", "Zm8="},
                 {"foo", "Zm9v"},
                 {"foobar", "Zm9vYmFy"},
                 {"\xfb\xff\xbf", "+/+/"}}; /* RFC 4648, section 10, and the last two digits */
    struct dvit_markup markup = {0};
    char *text;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dvit_markup_base64(&markup, cases[i].in, strlen(cases[i].in));
        assert_ok(dvit_markup_take(&markup, "text", &text, NULL, &error), &error);
        assert_string_equal(text, cases[i].out);
        free(text);
    }
    dvit_markup_number(&markup, -0.05, 2);
    dvit_markup_add(&markup, " ");
    dvit_markup_number(&markup, 12.5, 0);
    dvit_markup_add(&markup, " ");
    dvit_markup_number(&markup, -0.001, 1);
    assert_ok(dvit_markup_take(&markup, "text", &text, NULL, &error), &error);
    assert_string_equal(text, "-0.05 13 0.0");
    free(text);
    assert_int_equal(dvit_utf8_columns("×·ä%–"), 5);
    assert_int_equal(dvit_utf8_columns("e\xcc\x81"), 1); /* e and a combining acute */
    assert_int_equal(dvit_utf8_columns("金魚"), 4);
}

/* ---- tables ---- */

static const struct dvit_table_column three_columns[] = {
    {"Model", DVIT_ALIGN_LEFT}, {"× dense", DVIT_ALIGN_RIGHT}, {"State", DVIT_ALIGN_CENTRE}};

static struct dvit_table *make_table(void)
{
    struct dvit_table *table;
    assert_ok(dvit_table_create(&table, "A & B", three_columns, 3, &error), &error);
    dvit_table_row(table, (const char *[]){"dense", "1.00 ×", "done"});
    dvit_table_cell(table, "keep %.1f", 0.7);
    dvit_table_cell(table, "%d", 12);
    dvit_table_row(table, (const char *[]){"金魚 <b>", NULL, "a b"});
    dvit_table_cell(table, "last");
    return table;
}

static void table_text_is_exact(void **state)
{
    struct dvit_table *table = make_table();
    char *text;
    assert_int_equal(dvit_table_rows(table), 4);
    assert_ok(dvit_table_text(table, &text, &error), &error);
    assert_string_equal(text, "A & B\n"
                              "Model     × dense  State\n"
                              "────────  ───────  ─────\n"
                              "dense      1.00 ×  done\n"
                              "keep 0.7       12\n"
                              "金魚 <b>            a b\n"
                              "last\n");
    free(text);
    dvit_table_free(table);
    dvit_table_free(NULL);
}

static void table_html_is_exact(void **state)
{
    struct dvit_table *table = make_table();
    char *text;
    assert_ok(dvit_table_html(table, &text, &error), &error);
    assert_string_equal(
        text,
        "<table>\n<caption>A &amp; B</caption>\n"
        "<thead><tr><th scope=\"col\">Model</th><th scope=\"col\" class=\"right\">× dense</th>"
        "<th scope=\"col\" class=\"centre\">State</th></tr></thead>\n<tbody>\n"
        "<tr><td>dense</td><td class=\"right\">1.00 ×</td><td class=\"centre\">done</td></tr>\n"
        "<tr><td>keep 0.7</td><td class=\"right\">12</td><td class=\"centre\"></td></tr>\n"
        "<tr><td>金魚 &lt;b&gt;</td><td class=\"right\"></td><td class=\"centre\">a b</td></tr>\n"
        "<tr><td>last</td><td class=\"right\"></td><td class=\"centre\"></td></tr>\n"
        "</tbody>\n</table>\n");
    free(text);
    dvit_table_free(table);
}

static void table_without_rows_and_with_wrong_columns(void **state)
{
    struct dvit_table *table;
    char *text;
    assert_fails(dvit_table_create(&table, NULL, three_columns, 0, &error), &error,
                 DVIT_ERROR_ARGUMENT, "got 0");
    assert_null(table);
    assert_fails(dvit_table_create(&table, NULL, three_columns, 65, &error), &error,
                 DVIT_ERROR_ARGUMENT, "1 … 64");
    assert_ok(dvit_table_create(&table, NULL, three_columns, 1, &error), &error);
    assert_ok(dvit_table_text(table, &text, &error), &error);
    assert_string_equal(text, "Model\n─────\n");
    free(text);
    for (int i = 0; i <= DVIT_MAX_TABLE_ROWS; i++)
        dvit_table_cell(table, "%s", "");
    assert_fails(dvit_table_text(table, &text, &error), &error, DVIT_ERROR_LIMIT, "1000000 rows");
    assert_null(text);
    dvit_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markup_makes_text_safe),
        cmocka_unit_test(markup_writes_numbers_and_base64),
        cmocka_unit_test(table_text_is_exact),
        cmocka_unit_test(table_html_is_exact),
        cmocka_unit_test(table_without_rows_and_with_wrong_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
