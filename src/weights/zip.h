/* Stored zip archives as PyTorch writes them: where every record's bytes lie.
 *
 * Strict: nothing is compressed or encrypted, names are unique and lie below one top folder, local
 * headers agree with the central directory, no two entries share a byte. Checksums are not
 * verified: PyTorch can be told to leave them out, and a changed byte of a weight is not an attack
 * on the reader. */
#ifndef DVIT_WEIGHTS_ZIP_H
#define DVIT_WEIGHTS_ZIP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum {
    DVIT_ZIP_MAX_ENTRIES = 100000,
    DVIT_ZIP_MAX_NAME = 1024 /* bytes */
};

struct dvit_zip_entry {
    const unsigned char *name; /* [name_bytes], UTF-8, not terminated; below the top folder */
    size_t name_bytes;
    const unsigned char *data; /* [size_bytes] */
    size_t size_bytes;
};

struct dvit_zip;

/* Checks the archive data[size_bytes], which is borrowed and must outlive *out. Free with
 * dvit_zip_free; *out is NULL on failure. */
enum dvit_status dvit_zip_open(struct dvit_zip **out, const unsigned char *data, size_t size_bytes,
                               struct dvit_error *error);
void dvit_zip_free(struct dvit_zip *zip); /* NULL is legal */

/* Calls `visit` with the name of each member in the directory, whatever kind of archive it is, and
 * without any check but that of its bounds; false where there is no directory to be read. */
bool dvit_zip_names(const unsigned char *data, size_t size_bytes,
                    void (*visit)(void *context, const unsigned char *name, size_t length),
                    void *context);

size_t dvit_zip_count(const struct dvit_zip *zip);
/* Entry `index` in the order of names; index < count. */
const struct dvit_zip_entry *dvit_zip_entry(const struct dvit_zip *zip, size_t index);
/* The record of this name below the top folder ("data.pkl"), or NULL. */
const struct dvit_zip_entry *dvit_zip_find(const struct dvit_zip *zip, const char *name,
                                           size_t name_bytes);

#endif
