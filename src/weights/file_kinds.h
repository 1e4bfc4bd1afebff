/* Files that are no weight files for dvit, told by their content: one sentence for each kind. */
#ifndef DVIT_WEIGHTS_FILE_KINDS_H
#define DVIT_WEIGHTS_FILE_KINDS_H

#include <stddef.h>

#include "base/error.h"

/* The error for data[size_bytes], which begins as no format that is read: what it is, as far as its
 * bytes tell. Never DVIT_OK. */
enum dvit_status dvit_file_kind_refuse(const unsigned char *data, size_t size_bytes,
                                       struct dvit_error *error);

/* A zip archive's kind by the names of its members, before anything else about it is checked: an
 * error where it is of another program. DVIT_OK: torch.save may have written it. */
enum dvit_status dvit_file_kind_check_zip(const unsigned char *data, size_t size_bytes,
                                          struct dvit_error *error);

#endif
