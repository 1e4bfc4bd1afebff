/* What tests ask of the HTML that reports write. */
#ifndef DVIT_TESTS_HTML_CHECK_H
#define DVIT_TESTS_HTML_CHECK_H

#include "test_util.h"

/* Balanced tags, quoted attributes, no bare < or &, valid UTF-8 without control characters. */
void assert_well_formed(const char *html);
size_t count_of(const char *text, const char *part);

#define assert_has(text, part)                                                                     \
    do {                                                                                           \
        if (!strstr((text), (part)))                                                               \
            fail_msg("\"%s\" is missing in: %.3000s", (part), (text));                             \
    } while (0)

#endif
