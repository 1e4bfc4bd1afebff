/* What a page needs of a table beside its public face. */
#ifndef DVIT_REPORT_TABLE_H
#define DVIT_REPORT_TABLE_H

#include "dvit/report.h"
#include "report/markup.h"

/* DVIT_OK, or how filling the table failed. */
enum dvit_status dvit_table_check(const struct dvit_table *table, struct dvit_error *error);
/* The <table> element of a table that passed the check. */
void dvit_table_add_html(const struct dvit_table *table, struct dvit_markup *markup);

#endif
