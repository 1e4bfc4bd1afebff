/* The bytes of a weight file: a copy in memory, or a map where the file is large. */
#ifndef DVIT_WEIGHTS_FILE_BYTES_H
#define DVIT_WEIGHTS_FILE_BYTES_H

#include <stddef.h>

#include "base/error.h"

enum { DVIT_WEIGHTS_COPY_LIMIT = 512 << 20 /* bytes; see dvit_file_bytes_load */ };

struct dvit_file_bytes {
    const unsigned char *data; /* [size_bytes] */
    size_t size_bytes;
    unsigned char *owned; /* data, when read into memory */
    void *mapped;         /* data, when mapped */
};

/* Files up to DVIT_WEIGHTS_COPY_LIMIT are read into memory: a mapped file that another process
 * truncates raises SIGBUS, and robustness is worth the copy; larger files are mapped read-only.
 * Errors name the file; *out is zeroed on failure. */
enum dvit_status dvit_file_bytes_load(struct dvit_file_bytes *out, const char *path,
                                      struct dvit_error *error);
void dvit_file_bytes_free(struct dvit_file_bytes *bytes); /* a zeroed one is legal */

#endif
