/* Tables of text: kept as cleaned cells, printed aligned for terminals or as HTML.
 *
 * All cells are text by the time they are here; how a number is rounded is its owner's business.
 * Failures while filling are remembered and reported when the table is printed. */
#include "report/table.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/decimal.h"

struct dvit_table {
    char *title; /* cleaned; NULL = none */
    int columns;
    enum dvit_align *align; /* [columns] */
    char **headers;         /* [columns] cleaned */
    char **cells;           /* [used] cleaned, row after row */
    size_t used, capacity;
    enum dvit_status failure; /* of filling: DVIT_OK, MEMORY or LIMIT */
};

/* A cleaned copy, or NULL when memory is out. */
static char *clean_copy(const char *text)
{
    struct dvit_markup markup = {0};
    char *out;
    dvit_markup_clean(&markup, text);
    dvit_markup_take(&markup, "table", &out, NULL, NULL);
    return out;
}

enum dvit_status dvit_table_create(struct dvit_table **out, const char *title,
                                   const struct dvit_table_column *columns, int count,
                                   struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, columns);
    enum dvit_status status = DVIT_OK;
    struct dvit_table *table = NULL;
    if (count < 1 || count > DVIT_MAX_TABLE_COLUMNS)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "a table has 1 … %d columns, got %d",
                  DVIT_MAX_TABLE_COLUMNS, count);
    table = calloc(1, sizeof *table);
    if (!table)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "table: out of memory");
    table->columns = count;
    table->align = calloc((size_t)count, sizeof *table->align);
    table->headers = calloc((size_t)count, sizeof *table->headers);
    if (title)
        table->title = clean_copy(title);
    if (!table->align || !table->headers || (title && !table->title))
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "table: out of memory");
    for (int i = 0; i < count; i++) {
        table->align[i] = columns[i].align;
        table->headers[i] = clean_copy(columns[i].header);
        if (!table->headers[i])
            DVIT_FAIL(error, DVIT_ERROR_MEMORY, "table: out of memory");
    }
    *out = table;
    table = NULL;
done:
    dvit_table_free(table);
    return status;
}

void dvit_table_free(struct dvit_table *table)
{
    if (!table)
        return;
    for (int i = 0; table->headers && i < table->columns; i++)
        free(table->headers[i]);
    for (size_t i = 0; i < table->used; i++)
        free(table->cells[i]);
    free(table->headers);
    free(table->align);
    free(table->cells);
    free(table->title);
    free(table);
}

static void append(struct dvit_table *table, const char *text)
{
    if (table->failure)
        return;
    if (table->used / (size_t)table->columns >= DVIT_MAX_TABLE_ROWS) {
        table->failure = DVIT_ERROR_LIMIT;
        return;
    }
    if (table->used == table->capacity) {
        size_t capacity = table->capacity ? table->capacity * 2 : 32;
        char **cells = realloc(table->cells, capacity * sizeof *cells);
        if (!cells) {
            table->failure = DVIT_ERROR_MEMORY;
            return;
        }
        table->cells = cells;
        table->capacity = capacity;
    }
    table->cells[table->used] = clean_copy(text);
    if (table->cells[table->used])
        table->used++;
    else
        table->failure = DVIT_ERROR_MEMORY;
}

void dvit_table_row(struct dvit_table *table, const char *const *cells)
{
    if (!table || !cells)
        return;
    while (!table->failure && table->used % (size_t)table->columns)
        append(table, NULL);
    for (int i = 0; i < table->columns; i++)
        append(table, cells[i]);
}

void dvit_table_cell(struct dvit_table *table, const char *format, ...)
{
    if (!table || !format)
        return;
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = dvit_decimal_format_list(NULL, 0, format, arguments);
    char *text = length < 0 ? NULL : malloc((size_t)length + 1);
    if (text) {
        dvit_decimal_format_list(text, (size_t)length + 1, format, again);
        append(table, text);
    } else if (!table->failure) {
        table->failure = DVIT_ERROR_MEMORY;
    }
    free(text);
    va_end(again);
    va_end(arguments);
}

size_t dvit_table_rows(const struct dvit_table *table)
{
    if (!table)
        return 0;
    size_t columns = (size_t)table->columns;
    return (table->used + columns - 1) / columns;
}

/* The cell, or "" where a begun row ends. */
static const char *cell_at(const struct dvit_table *table, size_t row, int column)
{
    size_t index = row * (size_t)table->columns + (size_t)column;
    return index < table->used ? table->cells[index] : "";
}

enum dvit_status dvit_table_check(const struct dvit_table *table, struct dvit_error *error)
{
    if (table->failure == DVIT_ERROR_LIMIT)
        return dvit_error_set(error, DVIT_ERROR_LIMIT, "a table has at most %d rows",
                              DVIT_MAX_TABLE_ROWS);
    if (table->failure)
        return dvit_error_set(error, table->failure, "table: out of memory after %zu rows",
                              dvit_table_rows(table));
    return DVIT_OK;
}

/* ---- text ---- */

static void add_repeated(struct dvit_markup *markup, const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++)
        dvit_markup_add(markup, text);
}

/* Spaces are written before the next visible text only: `owed` carries them along the line. */
static void add_aligned(struct dvit_markup *markup, const char *text, size_t width,
                        enum dvit_align align, size_t *owed)
{
    size_t columns = dvit_utf8_columns(text);
    size_t spare = width > columns ? width - columns : 0;
    size_t before = align == DVIT_ALIGN_RIGHT ? spare : align == DVIT_ALIGN_CENTRE ? spare / 2 : 0;
    *owed += before;
    if (*text) {
        add_repeated(markup, " ", *owed);
        dvit_markup_add(markup, text);
        *owed = 0;
    }
    *owed += spare - before + 2;
}

static void measure(const struct dvit_table *table, size_t *widths)
{
    for (int i = 0; i < table->columns; i++)
        widths[i] = dvit_utf8_columns(table->headers[i]);
    for (size_t i = 0; i < table->used; i++) {
        size_t columns = dvit_utf8_columns(table->cells[i]);
        size_t *width = &widths[i % (size_t)table->columns];
        *width = columns > *width ? columns : *width;
    }
}

enum dvit_status dvit_table_text(const struct dvit_table *table, char **out,
                                 struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, table, out);
    enum dvit_status status = DVIT_OK;
    struct dvit_markup markup = {0};
    size_t widths[DVIT_MAX_TABLE_COLUMNS];
    DVIT_TRY(dvit_table_check(table, error));
    measure(table, widths);
    if (table->title)
        dvit_markup_format(&markup, "%s\n", table->title);
    size_t owed = 0;
    for (int i = 0; i < table->columns; i++)
        add_aligned(&markup, table->headers[i], widths[i], table->align[i], &owed);
    dvit_markup_add(&markup, "\n");
    for (int i = 0; i < table->columns; i++) {
        add_repeated(&markup, " ", i ? 2 : 0);
        add_repeated(&markup, "─", widths[i]);
    }
    dvit_markup_add(&markup, "\n");
    for (size_t row = 0; row < dvit_table_rows(table); row++) {
        owed = 0;
        for (int i = 0; i < table->columns; i++)
            add_aligned(&markup, cell_at(table, row, i), widths[i], table->align[i], &owed);
        dvit_markup_add(&markup, "\n");
    }
    DVIT_TRY(dvit_markup_take(&markup, "table", out, NULL, error));
done:
    dvit_markup_free(&markup);
    return status;
}

/* ---- HTML ---- */

static void add_html_cell(struct dvit_markup *markup, const char *tag, enum dvit_align align,
                          const char *text)
{
    static const char *const classes[] = {[DVIT_ALIGN_LEFT] = "",
                                          [DVIT_ALIGN_RIGHT] = " class=\"right\"",
                                          [DVIT_ALIGN_CENTRE] = " class=\"centre\""};
    dvit_markup_format(markup, "<%s%s>", tag, classes[align]);
    dvit_markup_escape(markup, text);
    dvit_markup_format(markup, "</%s>", tag[1] == 'h' ? "th" : "td");
}

void dvit_table_add_html(const struct dvit_table *table, struct dvit_markup *markup)
{
    dvit_markup_add(markup, "<table>\n");
    if (table->title) {
        dvit_markup_add(markup, "<caption>");
        dvit_markup_escape(markup, table->title);
        dvit_markup_add(markup, "</caption>\n");
    }
    dvit_markup_add(markup, "<thead><tr>");
    for (int i = 0; i < table->columns; i++)
        add_html_cell(markup, "th scope=\"col\"", table->align[i], table->headers[i]);
    dvit_markup_add(markup, "</tr></thead>\n<tbody>\n");
    for (size_t row = 0; row < dvit_table_rows(table); row++) {
        dvit_markup_add(markup, "<tr>");
        for (int i = 0; i < table->columns; i++)
            add_html_cell(markup, "td", table->align[i], cell_at(table, row, i));
        dvit_markup_add(markup, "</tr>\n");
    }
    dvit_markup_add(markup, "</tbody>\n</table>\n");
}

enum dvit_status dvit_table_html(const struct dvit_table *table, char **out,
                                 struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, table, out);
    enum dvit_status status = DVIT_OK;
    struct dvit_markup markup = {0};
    DVIT_TRY(dvit_table_check(table, error));
    dvit_table_add_html(table, &markup);
    DVIT_TRY(dvit_markup_take(&markup, "table", out, NULL, error));
done:
    dvit_markup_free(&markup);
    return status;
}
