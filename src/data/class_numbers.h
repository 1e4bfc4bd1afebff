/* Class folders that are numbers. */
#ifndef DVIT_DATA_CLASS_NUMBERS_H
#define DVIT_DATA_CLASS_NUMBERS_H

#include "base/file.h"
#include "data/dataset.h"

/* What the names are; whole numbers are put in the order of their values. */
enum dvit_numbering dvit_class_numbers_sort(struct dvit_names *names);

/* "\"DATA\": its class folders are whole numbers, …": why numbers other than 0 … K − 1 are refused.
 * `names` in the order that sort gave. */
enum dvit_status dvit_class_numbers_refuse(const char *spec, const char *const *names, int count,
                                           struct dvit_error *error);

#endif
