/* Reports: pictures of what was kept, text and HTML tables, and a page about training runs.
 *
 * Text given to these functions is UTF-8 from anywhere – file names, labels, logs: bytes that are
 * not valid UTF-8 become U+FFFD, control characters become spaces, and HTML is escaped. Everything
 * is made from its arguments and the named run folders alone: the same input gives the same bytes.
 */
#ifndef DVIT_REPORT_H
#define DVIT_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "dvit/image.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- tables ---- */

enum dvit_align { DVIT_ALIGN_LEFT, DVIT_ALIGN_RIGHT, DVIT_ALIGN_CENTRE };

struct dvit_table_column {
    const char *header; /* copied; NULL = empty */
    enum dvit_align align;
};

enum {
    DVIT_MAX_TABLE_COLUMNS = 64,
    DVIT_MAX_TABLE_ROWS = 1000000,
};

/* Columns with headers and rows of text. */
struct dvit_table;

/* An empty table; title may be NULL; 1 … DVIT_MAX_TABLE_COLUMNS columns. Caller frees with
 * dvit_table_free. */
DVIT_API enum dvit_status dvit_table_create(struct dvit_table **out, const char *title,
                                            const struct dvit_table_column *columns, int count,
                                            struct dvit_error *error);
/* NULL is legal. */
DVIT_API void dvit_table_free(struct dvit_table *table);

/* Appends one row: cells [columns], copied, NULL = empty. A row begun with dvit_table_cell is
 * ended first, its missing cells empty. Cannot fail visibly: a table that ran out of memory or
 * rows says so in dvit_table_text and dvit_table_html. */
DVIT_API void dvit_table_row(struct dvit_table *table, const char *const *cells);
/* Appends the next cell of the present row, formatted as by printf; after the last column the next
 * cell begins a new row. Fails as dvit_table_row does. */
DVIT_API void dvit_table_cell(struct dvit_table *table, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;
/* Rows so far, a begun one included. */
DVIT_API size_t dvit_table_rows(const struct dvit_table *table);

/* The table as aligned text for a terminal or a log: the title (if any), headers, a rule, one line
 * per row; two spaces between columns, no spaces at line ends, a newline at the end. Widths are
 * those of a terminal: "×", "·" and "ä" take one column, combining marks none, East Asian wide
 * characters two. malloc'ed; caller frees with free(). Errors: MEMORY, LIMIT. */
DVIT_API enum dvit_status dvit_table_text(const struct dvit_table *table, char **out,
                                          struct dvit_error *error);
/* The table as one HTML <table> element, for a page of one's own. malloc'ed; caller frees with
 * free(). Errors: MEMORY, LIMIT. */
DVIT_API enum dvit_status dvit_table_html(const struct dvit_table *table, char **out,
                                          struct dvit_error *error);

/* ---- what pruning kept ---- */

/* One image and the patches that each stage kept. Everything is borrowed for the call. */
struct dvit_overlay {
    const struct dvit_image *image; /* what the network saw (dvit_preprocess_geometry) */
    int grid_width;                 /* patches in a row; divides the image's width */
    int grid_height;                /* rows of patches; divides the image's height */
    int stages;                     /* 0 … DVIT_MAX_STAGES */
    const int *const *kept; /* [stages] → [kept_count[s]] indices of the patch grid, row-major,
                               ascending, as dvit_session_kept gives; NULL where stages is 0 */
    const int *kept_count;  /* [stages] */
    const char *caption;    /* on top, for example "goldfinch 93.1 %"; may be NULL */
    const char *note;       /* smaller, below the original, for example the file's name; the input's
                               size where NULL */
};

struct dvit_overlay_options {
    int tile_px;       /* 32 … 2048, default 224: wanted long side of one view. A smaller image is
                          enlarged by the largest whole number that fits, without blur; a larger one
                          is shown in its own size up to 2·tile_px, and reduced to tile_px beyond */
    double fade;       /* 0 … 1, default 0.78: how far dropped patches go towards white, under the
                          hatching that tells them from white ones; 0: neither */
    bool grid;         /* default true: a thin line between patches */
    const char *title; /* of a gallery; default NULL */
    int columns;       /* of a gallery: overlays side by side, 1 … 64; default 1 */
};
DVIT_API struct dvit_overlay_options dvit_overlay_options_default(void);

/* The picture of one overlay: the original beside each stage, dropped patches faded and hatched,
 * under each stage "stage 2 · 96 of 196 (49 %)". Pixels of kept patches are the image's own (where
 * it was not reduced; grid lines apart). options NULL: defaults. Errors: ARGUMENT (grid, indices or
 * options out of range), LIMIT (the picture would be too large), MEMORY. Caller frees *out. */
DVIT_API enum dvit_status dvit_report_overlay(struct dvit_image *out,
                                              const struct dvit_overlay *overlay,
                                              const struct dvit_overlay_options *options,
                                              struct dvit_error *error);
enum { DVIT_MAX_PHOTO_PX = 1280 }; /* long side of one view of a photograph */

/* The same on the photograph itself: overlay->image is the photograph, in which the patch grid lies
 * at `seen` (dvit_preprocess_region). What lies outside of it is grey and not hatched, and a line
 * below says so. A photograph smaller than tile_px is enlarged as above; a larger one is shown in
 * its own size, or reduced to DVIT_MAX_PHOTO_PX, which the label says. Wide ones are shown one
 * below the other. Errors as above. Caller frees *out. */
DVIT_API enum dvit_status dvit_report_photo(struct dvit_image *out,
                                            const struct dvit_overlay *overlay,
                                            const struct dvit_region *seen,
                                            const struct dvit_overlay_options *options,
                                            struct dvit_error *error);
/* Many overlays in one picture under options->title, options->columns side by side, in reading
 * order; count ≥ 1. Sizes and stage counts may differ. Errors as above. Caller frees *out. */
DVIT_API enum dvit_status dvit_report_gallery(struct dvit_image *out,
                                              const struct dvit_overlay *overlays, int count,
                                              const struct dvit_overlay_options *options,
                                              struct dvit_error *error);

/* ---- plots ---- */

enum { DVIT_MAX_PLOTS = 4, DVIT_MAX_PLOT_LINES = 21 };

struct dvit_plot_line {
    const char *name;
    const double *x; /* [count] */
    const double *y; /* [count]; what is not finite is a gap */
    int count;
    const char *const *labels; /* [count]: what stands at each point; NULL: nothing */
};

struct dvit_plot {
    const char *title, *x_label;
    const char *unit; /* of y; may be "" */
    bool percent;     /* y are shares, shown as per cent */
    const struct dvit_plot_line *lines;
    int line_count; /* 1 … DVIT_MAX_PLOT_LINES */
};

/* Writes plots side by side as one SVG file, atomically, over a legend of the first one's lines:
 * the others should have the same ones, in that order. Light or dark as the reader prefers. Errors:
 * ARGUMENT, NOT_FOUND (the folder), IO, MEMORY. */
DVIT_API enum dvit_status dvit_report_plots(const char *path, const struct dvit_plot *plots,
                                            int count, struct dvit_error *error);

/* A text as a file: under `path` there is either the former content or all of the new. Devices,
 * pipes and folders are errors. */
DVIT_API enum dvit_status dvit_report_text(const char *path, const char *text, size_t length,
                                           struct dvit_error *error);

/* How one plot is shown, where that is not as dvit_report_plots does. */
struct dvit_plot_axes {
    bool log_x;       /* x is positive and shown by its logarithm */
    bool fit_y;       /* y is shown by its logarithm where it is positive and spread over decades; a
                         few values far beyond all others are drawn at the edge */
    double mark_x;    /* with `mark`: a vertical line at this x … */
    const char *mark; /* … and this text at it; NULL: none */
};

/* The same with axes [count] of one's own, one for each plot. */
DVIT_API enum dvit_status dvit_report_plots_on(const char *path, const struct dvit_plot *plots,
                                               const struct dvit_plot_axes *axes, int count,
                                               struct dvit_error *error);

/* ---- a page about training runs ---- */

struct dvit_report_run {
    const char *folder; /* a run folder of dvit_train: log.jsonl is read, config.json if present */
    const char *label;  /* in legends; NULL = the folder's last part */
};

struct dvit_report_picture {
    const struct dvit_image *image;
    const char *caption; /* also what a screen reader says; may be NULL */
};

enum {
    DVIT_MAX_REPORT_RUNS = 64,
    DVIT_MAX_REPORT_ITEMS = 1024, /* tables; pictures */
};

/* Everything is borrowed for the call; a pointer may be NULL where its count is 0. */
struct dvit_report {
    const char *title;    /* NULL = "dvit report" */
    const char *subtitle; /* one line under the title; may be NULL */
    const struct dvit_table *const *tables;
    int table_count;
    const struct dvit_report_run *runs;
    int run_count;
    const struct dvit_report_picture *pictures;
    int picture_count;
};

/* Writes one self-contained HTML file, atomically: no script and nothing fetched; light or dark as
 * the reader prefers. In order: title, tables, a summary of the runs (how far, how good, when, how
 * long, how they ended), their curves over the steps (loss, validation accuracy, share of patches
 * that training kept per stage with that of inference dashed, parts of the loss, learning rate,
 * gradient norm, images/s; several runs overlaid), what was kept epoch by
 * epoch (at most six of the pictures in kept/ of each run folder), pictures, the environment of the
 * runs side by side, the options in which they differ, the configuration of each run. Curves that
 * are missing or 0 throughout are left out. Log lines that cannot be read – a run killed in
 * mid-write – are counted and mentioned; missing and non-finite values are gaps. A record of a step
 * at or before an earlier one's replaces what was logged from there on, because a resumed run
 * repeats steps. Errors: NOT_FOUND (a folder or its log.jsonl), LIMIT (a log beyond 256 MiB or a
 * million records), ARGUMENT, IO, MEMORY. */
DVIT_API enum dvit_status dvit_report_html(const char *path, const struct dvit_report *report,
                                           struct dvit_error *error);

#ifdef __cplusplus
}
#endif
#endif
