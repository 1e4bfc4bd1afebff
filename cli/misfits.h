/* Tensors that keep a file from being a model, collected to be told in order. */
#ifndef DVIT_CLI_MISFITS_H
#define DVIT_CLI_MISFITS_H

#include <stddef.h>

/* Zero-initialise. */
struct cli_misfits {
    size_t count, room;
    char **sentences; /* [count] */
    size_t left_out;  /* beyond the bound, or without memory */
};

/* For dvit_load_options.problem; context is a struct cli_misfits. */
void cli_misfits_add(void *context, const char *sentence);
/* Tells the first ones on standard error, and how many more there are. */
void cli_misfits_tell(const struct cli_misfits *misfits, const char *name);
void cli_misfits_free(struct cli_misfits *misfits);

#endif
