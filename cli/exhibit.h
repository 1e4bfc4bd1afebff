/* What a model keeps of some images of a data set, ready to be drawn. */
#ifndef DVIT_CLI_EXHIBIT_H
#define DVIT_CLI_EXHIBIT_H

#include "dvit/data.h"
#include "picture.h"

struct cli_exhibit {
    struct dvit_session *session; /* its last run is what the views show */
    int count;
    struct dvit_image *images; /* [count] what the network saw */
    struct cli_view *views;    /* [count] */
};

struct cli_exhibit_options {
    const char *label; /* before each caption; may be NULL */
    int count;         /* images wanted, spread evenly over the data set */
    double keep;       /* 0: the model's own */
    int threads;
    const char *cpu;
    bool tell; /* notes on standard error of images that cannot be read; they are left out */
};

/* Runs the model on the images. Errors beside the session's: IO where no image could be read. On
 * failure *out is empty. Free with cli_exhibit_free, before the model. */
enum dvit_status cli_exhibit_create(struct cli_exhibit *out, const struct dvit_model *model,
                                    struct dvit_dataset *set,
                                    const struct cli_exhibit_options *options,
                                    struct dvit_error *error);
/* Legal on an empty one. */
void cli_exhibit_free(struct cli_exhibit *exhibit);

/* The last part of a path. */
const char *cli_last_part(const char *path);

#endif
