/* A model's configuration, read from the names and shapes of its tensors. */
#ifndef DVIT_WEIGHTS_RECOGNISE_H
#define DVIT_WEIGHTS_RECOGNISE_H

#include "dvit/config.h"
#include "weights/names.h"

#define DVIT_DEFAULT_KEEP 0.7 /* base keep ratio where nothing records one */

/* What tensors do not tell, as somebody stated it; 0: nobody did. */
struct dvit_stated {
    int heads;
    int image_width, image_height;   /* pixels, as the file records them: the positions' grid */
    int wanted_width, wanted_height; /* pixels, as asked for: only settles an oblong grid */
    float norm_eps;
};

/* Fills `config` (classes: 1 where the file has no head; keep: 1, with stages DVIT_DEFAULT_KEEP). A
 * guess becomes a note. Errors: MISMATCH when these are no tensors of a vision transformer, or
 * leave open what must be stated; else as dvit_config_check. */
enum dvit_status dvit_recognise(struct dvit_config *config, const struct dvit_tensor_names *names,
                                const struct dvit_stated *stated, struct dvit_notes *notes,
                                struct dvit_error *error);

/* Whether the positions have no rows for prefix tokens (DeiT-III): only the patches get one. */
bool dvit_recognise_bare_positions(const struct dvit_config *config,
                                   const struct dvit_tensor_names *names);

/* config->name becomes that of the preset which is equal in all but stages and keep, else the
 * family's, "vit" or "lvvit". */
void dvit_recognise_preset(struct dvit_config *config);

#endif
