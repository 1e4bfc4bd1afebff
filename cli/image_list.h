/* The images that operands stand for: files as they are, folders opened up. */
#ifndef DVIT_CLI_IMAGE_LIST_H
#define DVIT_CLI_IMAGE_LIST_H

#include <stddef.h>

struct cli_image_list {
    size_t count, capacity;
    char **paths; /* owned */
};

/* A file is listed whatever its name or state, so that reading it gives its error; a folder stands
 * for the image files in it and below, by name, those of formats that dvit does not read
 * included; one without images is an error that is reported here and counted in *empty. Returns an
 * enum cli_exit. */
int cli_image_list_create(struct cli_image_list *list, char *const *operands, int count,
                          size_t *empty);
void cli_image_list_free(struct cli_image_list *list);

/* The threads that read images ahead, as --workers says. By default as many as compute: they sleep
 * while enough is read, and where reading is the slower part all of the machine reads. */
struct cli_options;
int cli_readers(const struct cli_options *options);

#endif
