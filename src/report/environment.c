/* Runs side by side, from their config.json: by which dvit, where and with what data each ran, and
 * in which options they differ. What no run says, or all options on which they agree, has no row.
 */
#include "report/page.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* What is worth a row, in the order of reading. */
static const struct {
    const char *label, *section, *key; /* section NULL: at the top of the file */
} facts[] = {
    {"Command", NULL, "command"},
    {"dvit", NULL, "version"},
    {"Revision", "build", "revision"},
    {"Compiler", "build", "compiler"},
    {"Matrix products", "machine", "matrix_products"},
    {"Kernels", "machine", "kernels"},
    {"Precision", "options", "precision"},
    {"Processor", "machine", "processor"},
    {"System", "machine", "system"},
    {"Threads", "machine", "threads"},
    {"Seed", NULL, "seed"},
    {"Model", "model", "name"},
    {"Parameters", "model", "parameters"},
    {"Training images", "data", "images"},
    {"Data fingerprint", "data", "fingerprint"},
    {"Validation images", "validation", "images"},
    {"Validation fingerprint", "validation", "fingerprint"},
};
enum { FACTS = sizeof facts / sizeof *facts };

static const json_t *fact_of(const json_t *root, int fact)
{
    const json_t *object = facts[fact].section ? json_object_get(root, facts[fact].section) : root;
    return json_object_get(object, facts[fact].key);
}

/* A string as it is, anything else as JSON writes it; nothing as a dash. */
static void add_cell(struct dvit_markup *markup, const json_t *value)
{
    char *text = NULL;
    dvit_markup_add(markup, "<td>");
    if (json_is_string(value)) {
        dvit_markup_escape(markup, json_string_value(value));
    } else if (!value || json_is_null(value)) {
        dvit_markup_add(markup, "–");
    } else {
        text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
        markup->failed = markup->failed || !text;
        dvit_markup_escape(markup, text);
    }
    dvit_markup_add(markup, "</td>");
    free(text);
}

static void begin_row(struct dvit_markup *markup, const char *label)
{
    dvit_markup_add(markup, "<tr><th scope=\"row\">");
    dvit_markup_escape(markup, label);
    dvit_markup_add(markup, "</th>");
}

static void begin_table(const struct dvit_page_run *runs, size_t count, const char *title,
                        struct dvit_markup *markup)
{
    dvit_markup_format(markup, "<section>\n<h2>%s</h2>\n" DVIT_PAGE_SCROLL, title);
    dvit_markup_add(markup, "<table class=\"settings\">");
    if (count > 1) {
        dvit_markup_add(markup, "<thead><tr><th></th>");
        for (size_t i = 0; i < count; i++) {
            struct dvit_markup label = {0};
            dvit_markup_add_bytes(&label, runs[i].label, runs[i].label_length);
            dvit_markup_add(markup, "<th scope=\"col\">");
            dvit_markup_escape(markup, label.text);
            dvit_markup_add(markup, "</th>");
            markup->failed = markup->failed || label.failed;
            dvit_markup_free(&label);
        }
        dvit_markup_add(markup, "</tr></thead>");
    }
    dvit_markup_add(markup, "<tbody>\n");
}

static void end_table(struct dvit_markup *markup)
{
    dvit_markup_add(markup, "</tbody></table>\n</div>\n</section>\n");
}

static bool any_states(json_t *const *roots, size_t count, int fact)
{
    for (size_t i = 0; i < count; i++)
        if (fact_of(roots[i], fact))
            return true;
    return false;
}

static void add_facts(const struct dvit_page_run *runs, json_t *const *roots, size_t count,
                      struct dvit_markup *markup)
{
    bool begun = false;
    for (int fact = 0; fact < FACTS; fact++) {
        if (!any_states(roots, count, fact))
            continue;
        if (!begun)
            begin_table(runs, count, "Environment", markup);
        begun = true;
        begin_row(markup, facts[fact].label);
        for (size_t i = 0; i < count; i++)
            add_cell(markup, fact_of(roots[i], fact));
        dvit_markup_add(markup, "</tr>\n");
    }
    if (begun)
        end_table(markup);
}

static const json_t *option_of(const json_t *root, const char *key)
{
    return json_object_get(json_object_get(root, "options"), key);
}

/* Whether run `first` is the first to state the option, and another differs from it. */
static bool is_difference(json_t *const *roots, size_t count, size_t first, const char *key)
{
    const json_t *own = option_of(roots[first], key);
    bool differs = false;
    for (size_t i = 0; i < count; i++) {
        const json_t *other = option_of(roots[i], key);
        if (i < first && other)
            return false;
        differs = differs || !other || !json_equal(own, other);
    }
    return differs;
}

static void add_differences(const struct dvit_page_run *runs, json_t *const *roots, size_t count,
                            struct dvit_markup *markup)
{
    bool begun = false;
    for (size_t first = 0; first < count; first++) {
        json_t *options = json_object_get(roots[first], "options");
        for (void *at = json_object_iter(options); at; at = json_object_iter_next(options, at)) {
            const char *key = json_object_iter_key(at);
            if (!is_difference(roots, count, first, key))
                continue;
            if (!begun)
                begin_table(runs, count, "Options that differ", markup);
            begun = true;
            begin_row(markup, key);
            for (size_t i = 0; i < count; i++)
                add_cell(markup, option_of(roots[i], key));
            dvit_markup_add(markup, "</tr>\n");
        }
    }
    if (begun)
        end_table(markup);
}

enum dvit_status dvit_page_add_environment(const struct dvit_page_run *runs, size_t count,
                                           struct dvit_markup *markup, struct dvit_error *error)
{
    json_t **roots = calloc(count + 1, sizeof *roots);
    if (!roots)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "report: out of memory");
    for (size_t i = 0; i < count; i++) /* a damaged file is told where its settings would stand */
        if (runs[i].config)
            roots[i] = json_loadb((const char *)runs[i].config, runs[i].config_bytes, 0, NULL);
    add_facts(runs, roots, count, markup);
    if (count > 1)
        add_differences(runs, roots, count, markup);
    for (size_t i = 0; i < count; i++)
        json_decref(roots[i]);
    free(roots);
    return DVIT_OK;
}
