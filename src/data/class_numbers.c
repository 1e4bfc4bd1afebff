/* Class folders whose names are all whole numbers. From 0 to K − 1, each once, they are class
 * indices, with leading zeros or without. Any other set says nothing about indices: 1 … K may be
 * ranks that begin at 1, or a list's own numbers in another order, as the ILSVRC devkit's. */
#include "data/class_numbers.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_DIGITS = 9 };

/* The value, or −1 where the name is no whole number; very long ones are numbers all the same. */
static long parse(const char *name)
{
    size_t digits = strspn(name, "0123456789");
    if (digits == 0 || name[digits])
        return -1;
    return digits > MOST_DIGITS ? 1000000000 : strtol(name, NULL, 10);
}

static int by_value(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    long p = parse(x), q = parse(y);
    return p == q ? strcmp(x, y) : p < q ? -1 : 1;
}

enum dvit_numbering dvit_class_numbers_sort(struct dvit_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        if (parse(names->items[i]) < 0)
            return DVIT_CLASSES_NAMED;
    if (names->count == 0)
        return DVIT_CLASSES_NAMED;
    qsort(names->items, names->count, sizeof *names->items, by_value);
    for (size_t i = 0; i < names->count; i++)
        if (parse(names->items[i]) != (long)i)
            return DVIT_CLASSES_MISNUMBERED;
    return DVIT_CLASSES_INDEXED;
}

enum dvit_status dvit_class_numbers_refuse(const char *spec, const char *const *names, int count,
                                           struct dvit_error *error)
{
    return dvit_error_set(
        error, DVIT_ERROR_MISMATCH,
        "\"%s\": its %d class folders are whole numbers, %.20s to %.20s, expected "
        "0 to %d: nothing else says which class a number is. Rename them to class "
        "indices from 0, or to names that are no numbers",
        spec, count, names[0], names[count - 1], count - 1);
}
