/* Loading the bytes of weight files: read below a limit, mapped beyond it. What the bytes mean is
 * for each format's reader to say. */
#define _GNU_SOURCE
#include "weights/file_bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

/* out->mapped stays NULL when the file is short enough to be read. */
static enum dvit_status map_large(struct dvit_file_bytes *out, const char *path,
                                  struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    int fd = -1;
    struct stat info;
    if (dvit_file_open(&fd, path, DVIT_OPEN_READ, NULL, NULL) != DVIT_OK || fstat(fd, &info) != 0 ||
        info.st_size <= DVIT_WEIGHTS_COPY_LIMIT)
        goto done; /* the reader says what is wrong with it, if anything */
    size_t size_bytes = (size_t)info.st_size;
    void *mapped = mmap(NULL, size_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapped == MAP_FAILED)
        DVIT_FAIL(error, DVIT_ERROR_IO, "\"%s\": cannot map %zu bytes: %s", path, size_bytes,
                  strerror(errno));
    out->mapped = mapped;
    out->data = mapped;
    out->size_bytes = size_bytes;
done:
    if (fd >= 0)
        close(fd);
    return status;
}

enum dvit_status dvit_file_bytes_load(struct dvit_file_bytes *out, const char *path,
                                      struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    *out = (struct dvit_file_bytes){0};
    DVIT_TRY(map_large(out, path, error));
    if (out->mapped)
        goto done;
    DVIT_TRY(dvit_file_read(path, DVIT_WEIGHTS_COPY_LIMIT, &out->owned, &out->size_bytes, error));
    out->data = out->owned;
done:
    return status;
}

void dvit_file_bytes_free(struct dvit_file_bytes *bytes)
{
    free(bytes->owned);
    if (bytes->mapped)
        munmap(bytes->mapped, bytes->size_bytes);
    *bytes = (struct dvit_file_bytes){0};
}
