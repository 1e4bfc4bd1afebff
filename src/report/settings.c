/* Shows a run's config.json as nested tables, whatever its keys: what the trainer records needs no
 * change here. */
#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

/* Tables deeper than this are no longer readable; the rest is shown as JSON. */
enum { MAX_TABLE_DEPTH = 6 };

static void add_value(struct dvit_markup *markup, const json_t *value, int depth);

/* Anything in JSON's own notation, at most nine digits of a real number. */
static void add_notation(struct dvit_markup *markup, const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    if (!text)
        markup->failed = true;
    dvit_markup_escape(markup, text);
    free(text);
}

static void add_row(struct dvit_markup *markup, const char *key, const json_t *value, int depth)
{
    dvit_markup_add(markup, "<tr><th scope=\"row\">");
    dvit_markup_escape(markup, key);
    dvit_markup_add(markup, "</th><td>");
    add_value(markup, value, depth + 1);
    dvit_markup_add(markup, "</td></tr>\n");
}

static void add_object(struct dvit_markup *markup, const json_t *object, int depth)
{
    dvit_markup_add(markup, "<table class=\"settings\"><tbody>\n");
    json_t *mutable = (json_t *)(size_t)object; /* jansson's iterators only read */
    for (void *at = json_object_iter(mutable); at; at = json_object_iter_next(mutable, at))
        add_row(markup, json_object_iter_key(at), json_object_iter_value(at), depth);
    dvit_markup_add(markup, "</tbody></table>\n");
}

static bool is_nested(const json_t *value)
{
    return json_is_object(value) || json_is_array(value);
}

/* "1, 2, 3", or one row per element where elements are nested. */
static void add_array(struct dvit_markup *markup, const json_t *array, int depth)
{
    size_t count = json_array_size(array);
    bool nested = false;
    for (size_t i = 0; i < count; i++)
        nested = nested || is_nested(json_array_get(array, i));
    if (nested)
        dvit_markup_add(markup, "<table class=\"settings\"><tbody>\n");
    for (size_t i = 0; i < count; i++) {
        char index[24];
        snprintf(index, sizeof index, "%zu", i);
        if (nested) {
            add_row(markup, index, json_array_get(array, i), depth);
        } else {
            dvit_markup_add(markup, i ? ", " : "");
            add_value(markup, json_array_get(array, i), depth + 1);
        }
    }
    if (nested)
        dvit_markup_add(markup, "</tbody></table>\n");
}

static void add_value(struct dvit_markup *markup, const json_t *value, int depth)
{
    if (json_is_string(value))
        dvit_markup_escape(markup, json_string_value(value));
    else if (is_nested(value) && depth >= MAX_TABLE_DEPTH)
        add_notation(markup, value);
    else if (json_is_object(value) && json_object_size(value))
        add_object(markup, value, depth);
    else if (json_is_array(value) && json_array_size(value))
        add_array(markup, value, depth);
    else if (is_nested(value) || json_is_null(value))
        dvit_markup_add(markup, "–");
    else
        add_notation(markup, value);
}

void dvit_page_add_settings(const unsigned char *json, size_t size, struct dvit_markup *markup)
{
    json_error_t reason;
    json_t *root = json_loadb((const char *)json, size, 0, &reason);
    if (root) {
        dvit_markup_add(markup, DVIT_PAGE_SCROLL);
        add_value(markup, root, 0);
        dvit_markup_add(markup, "</div>\n");
    } else {
        dvit_markup_format(markup,
                           "<p class=\"note\">config.json is damaged at line %d: ", reason.line);
        dvit_markup_escape(markup, reason.text);
        dvit_markup_add(markup, "</p>\n");
    }
    json_decref(root);
}

static double ratio_in(const json_t *root, const char *section)
{
    const json_t *value = json_object_get(json_object_get(root, section), "keep");
    double keep = json_is_number(value) ? json_number_value(value) : NAN;
    return keep > 0 && keep <= 1 ? keep : NAN;
}

void dvit_page_read_kept(struct dvit_page_run *run)
{
    json_t *root = json_loadb((const char *)run->config, run->config_bytes, 0, NULL);
    const json_t *model = json_object_get(root, "model"), *kept = json_object_get(model, "kept");
    json_int_t patches = json_integer_value(json_object_get(model, "patches"));
    size_t stages = json_array_size(kept);
    run->kept_stages = 0;
    run->patches = patches > 0 && patches <= DVIT_MAX_PATCHES ? (int)patches : 0;
    for (size_t s = 0; run->patches && s < stages && s < DVIT_MAX_STAGES; s++) {
        json_int_t count = json_integer_value(json_array_get(kept, s));
        if (count < 1 || count > patches)
            break;
        run->kept[run->kept_stages++] = (int)count;
    }
    json_decref(root);
}

double dvit_page_read_keep(const unsigned char *json, size_t size)
{
    json_t *root = json_loadb((const char *)json, size, 0, NULL);
    double keep = ratio_in(root, "options");
    if (isnan(keep))
        keep = ratio_in(root, "model");
    json_decref(root);
    return keep;
}
