/* Pictures of what a session kept of its last run's images. */
#ifndef DVIT_CLI_PICTURE_H
#define DVIT_CLI_PICTURE_H

#include "dvit/infer.h"
#include "dvit/report.h"

/* One image of the session's last run, with all that its overlay borrows. Valid until the session
 * runs again. */
struct cli_view {
    const int *kept[DVIT_MAX_STAGES];
    int kept_count[DVIT_MAX_STAGES];
    char caption[320];
    char note[256];
    struct dvit_overlay overlay;
};

/* `index` within the last run, of which `image` is what the network saw; borrowed. The view must
 * stay where it is: its overlay points into it. */
void cli_view_fill(struct cli_view *view, const struct dvit_session *session,
                   const struct dvit_model *model, int index, const struct dvit_image *image);

/* Where pictures of a list of images go. */
struct cli_picture_plan {
    const char *out;
    bool is_folder; /* out/NAME.png */
    bool is_prefix; /* out without .png + "-NAME.png"; neither: out itself */
    bool numbered;  /* two images have the same name: "0001-NAME" */
};

/* Decides where the pictures of `count` images go, and whether they can be written there. `many`:
 * several operands or a folder. Reports errors; returns an enum cli_exit. */
int cli_picture_plan(struct cli_picture_plan *plan, const char *out, char *const *paths,
                     size_t count, bool many);
/* The picture's path of image `index`; the caller frees. NULL without memory. */
char *cli_picture_path(const struct cli_picture_plan *plan, const char *image_path, size_t index);

#endif
