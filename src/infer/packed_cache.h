/* Packed weights kept in a folder, on request: the next session of the same model, precision, path
 * and processor reads them instead of packing them again. */
#ifndef DVIT_INFER_PACKED_CACHE_H
#define DVIT_INFER_PACKED_CACHE_H

#include "graph/products.h"
#include "models/model.h"

enum { DVIT_PACKED_TROUBLE = 1100 }; /* bytes of a message, with its end */

/* Fills the reserved memory of `products` from the file in `folder` (made if it is not there) that
 * has them; otherwise packs them and writes it. A file is known by a fingerprint of all that packed
 * weights depend on, the weights themselves included, and read only whole and undamaged: another
 * one, or half of one, is replaced. A file is believed only where nobody but the user and root can
 * have written it (dvit_file_check_trust). What cannot be kept or believed is no error: the weights
 * are packed, and `trouble` says why, else it is empty. */
enum dvit_status dvit_packed_cache_fill(const char *folder, struct dvit_products *products,
                                        struct dvit_graph *graph, const struct dvit_model *model,
                                        const float *const *parameters, struct dvit_threads *team,
                                        char trouble[DVIT_PACKED_TROUBLE],
                                        struct dvit_error *error);

#endif
