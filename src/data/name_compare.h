/* Names of classes compared, for messages: what is meant to be the same is told apart by a letter.
 */
#ifndef DVIT_DATA_NAME_COMPARE_H
#define DVIT_DATA_NAME_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

enum dvit_name_difference {
    DVIT_NAMES_EQUAL,
    DVIT_NAMES_DIFFER_IN_FORM, /* the same text in two normalisations of Unicode, as NFC and NFD */
    DVIT_NAMES_DIFFER_IN_CASE, /* or in blanks, underscores and hyphens */
    DVIT_NAMES_DIFFER,
};
/* Names that are not UTF-8 are equal or differ. */
enum dvit_name_difference dvit_name_compare(const char *a, const char *b);

/* "in Unicode normalisation only", …: how a name differs from the nearest of `names`, whose index
 * is *nearest; NULL where none is near. */
const char *dvit_name_find_near(const char *name, const char *const *names, size_t count,
                                size_t *nearest);

#endif
