/* Collects what does not fit. A file of something else can misfit in every tensor: a terminal sees
 * the first ones, which tell enough. */
#define _POSIX_C_SOURCE 200809L
#include "misfits.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { MAX_MISFITS = 16384, SHOWN_MISFITS = 20 };

void cli_misfits_add(void *context, const char *sentence)
{
    struct cli_misfits *misfits = context;
    if (misfits->count == misfits->room && misfits->room < MAX_MISFITS) {
        size_t room = misfits->room ? 2 * misfits->room : 64;
        char **grown = realloc(misfits->sentences, room * sizeof *grown);
        misfits->sentences = grown ? grown : misfits->sentences;
        misfits->room = grown ? room : misfits->room;
    }
    char *copy = misfits->count < misfits->room ? strdup(sentence) : NULL;
    if (copy)
        misfits->sentences[misfits->count++] = copy;
    else
        misfits->left_out++;
}

void cli_misfits_tell(const struct cli_misfits *misfits, const char *name)
{
    size_t shown = misfits->count < SHOWN_MISFITS ? misfits->count : SHOWN_MISFITS;
    size_t left = misfits->count + misfits->left_out - shown;
    for (size_t i = 0; i < shown; i++)
        cli_detail("%s: %s", name, misfits->sentences[i]);
    if (left)
        cli_detail("%s: and so on for %zu more; --json lists them", name, left);
}

void cli_misfits_free(struct cli_misfits *misfits)
{
    for (size_t i = 0; i < misfits->count; i++)
        free(misfits->sentences[i]);
    free(misfits->sentences);
    *misfits = (struct cli_misfits){0};
}
