/* The parts that a report page is put together from. */
#ifndef DVIT_REPORT_PAGE_H
#define DVIT_REPORT_PAGE_H

#include "report/markup.h"
#include "report/logged_run.h"

/* One run as the page shows it. */
struct dvit_page_run {
    const char *folder;  /* borrowed */
    const char *label;   /* borrowed; foreign text */
    size_t label_length; /* bytes of label that count */
    struct dvit_logged_run log;
    unsigned char *config; /* config.json as read, owned; NULL = the folder has none */
    size_t config_bytes;
    double images_per_s;       /* median over the log; NaN = not stated */
    double keep;               /* target ratio of stage s is pow(keep, s + 1); NaN = not stated */
    int patches;               /* of an image; 0 = not stated */
    int kept_stages;           /* stages whose count is stated */
    int kept[DVIT_MAX_STAGES]; /* patches that inference keeps */
};

/* Begins what may be wider than the page: it can be scrolled, also by keys, and shows that. */
#define DVIT_PAGE_SCROLL "<div class=\"scroll\" tabindex=\"0\">\n"

struct dvit_table;

/* A table that passed its check. */
void dvit_page_add_table(const struct dvit_table *table, struct dvit_markup *markup);

/* The style sheet, without its <style> element. */
void dvit_page_add_style(struct dvit_markup *markup);

/* The table of the runs, one row each, and notes below it. */
enum dvit_status dvit_page_add_summary(const struct dvit_page_run *runs, int count,
                                       struct dvit_markup *markup, struct dvit_error *error);
/* "2026-12-01 03:27", UTC, of seconds since 1970. */
void dvit_page_add_time(struct dvit_markup *markup, double time_s);

/* All charts of the runs that have something to show. */
enum dvit_status dvit_page_add_charts(const struct dvit_page_run *runs, size_t count,
                                      struct dvit_markup *markup, struct dvit_error *error);

/* The section of pictures that the runs made while they trained; nothing where there are none. */
enum dvit_status dvit_page_add_kept(const struct dvit_page_run *runs, size_t count,
                                    struct dvit_markup *markup, struct dvit_error *error);

/* Sections that set the runs side by side: their environment, and options that differ. */
enum dvit_status dvit_page_add_environment(const struct dvit_page_run *runs, size_t count,
                                           struct dvit_markup *markup, struct dvit_error *error);

/* JSON as nested tables, or a note saying where it is damaged. */
void dvit_page_add_settings(const unsigned char *json, size_t size, struct dvit_markup *markup);
/* options.keep of a config.json, else model.keep, if it is a ratio in (0, 1]; NaN otherwise. */
double dvit_page_read_keep(const unsigned char *json, size_t size);
/* Fills the run's counts of patches from model.patches and model.kept, if they are possible. */
void dvit_page_read_kept(struct dvit_page_run *run);

#endif
