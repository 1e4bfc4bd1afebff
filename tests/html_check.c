/* A checker for the HTML we write: XML, in effect. */
#include "html_check.h"

#include <ctype.h>

#include "report/markup.h"

struct checker {
    const char *at;
    char open[64][16];
    int depth;
};

static void skip_entity(struct checker *checker)
{
    static const char *const known[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(checker->at, known[i], strlen(known[i])) == 0) {
            checker->at += strlen(known[i]);
            return;
        }
    fail_msg("a bare & at: %.60s", checker->at);
}

static void read_name(struct checker *checker, char *name)
{
    size_t length = 0;
    while (isalnum((unsigned char)*checker->at) || *checker->at == '-') {
        assert_true(length < 15);
        name[length++] = *checker->at++;
    }
    name[length] = 0;
    if (!length)
        fail_msg("no tag or attribute name at: %.60s", checker->at);
}

static void check_attributes(struct checker *checker)
{
    char name[16];
    while (*checker->at == ' ') {
        checker->at++;
        read_name(checker, name);
        if (strncmp(checker->at, "=\"", 2) != 0)
            fail_msg("attribute without a quoted value at: %.60s", checker->at);
        for (checker->at += 2; *checker->at != '"';) {
            if (*checker->at == '<' || !*checker->at)
                fail_msg("< or the end in attribute %s: %.60s", name, checker->at);
            if (*checker->at == '&')
                skip_entity(checker);
            else
                checker->at++;
        }
        checker->at++;
    }
}

static void check_tag(struct checker *checker)
{
    char name[16];
    bool closing = checker->at[1] == '/';
    checker->at += closing ? 2 : 1;
    read_name(checker, name);
    if (closing) {
        if (!checker->depth || strcmp(checker->open[checker->depth - 1], name) != 0)
            fail_msg("</%s> does not close what is open", name);
        checker->depth--;
    } else {
        check_attributes(checker);
        bool empty = *checker->at == '/';
        checker->at += empty;
        if (!empty) {
            assert_true(checker->depth < 64);
            strcpy(checker->open[checker->depth++], name);
        }
    }
    if (*checker->at != '>')
        fail_msg("tag %s is not closed: %.60s", name, checker->at);
    checker->at++;
}

void assert_well_formed(const char *html)
{
    struct checker checker = {.at = html};
    unsigned long code;
    if (strncmp(html, "<!DOCTYPE html>", 15) == 0)
        checker.at += 15;
    while (*checker.at) {
        if (*checker.at == '<') {
            check_tag(&checker);
        } else if (*checker.at == '&') {
            skip_entity(&checker);
        } else {
            size_t bytes = dvit_utf8_decode(checker.at, &code);
            if (*checker.at == '>' && strcmp(checker.open[checker.depth - 1], "style") != 0)
                fail_msg("a bare > before: %.60s", checker.at);
            if ((code < 0x20 && code != '\n') || (code == 0xfffd && bytes == 1))
                fail_msg("control character or bad UTF-8 before: %.60s", checker.at);
            checker.at += bytes;
        }
    }
    assert_int_equal(checker.depth, 0);
}

size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        count++;
    return count;
}
