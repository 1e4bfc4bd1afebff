/* Appends records so that none is ever half there: what a full disk cut off is taken away again.
 *
 * Each record reaches the system at once (a killed run loses nothing) but is not synced to the
 * disk: after a power cut the last ones may be missing or cut, which every reader tolerates. */
#define _GNU_SOURCE
#include "train/record_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum dvit_status dvit_record_file_open(struct dvit_record_file *file, const char *path,
                                       enum dvit_file_opening how, bool *exists,
                                       struct dvit_error *error)
{
    *file = (struct dvit_record_file){.path = strdup(path), .descriptor = -1};
    if (exists)
        *exists = false;
    if (!file->path)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    enum dvit_status status = dvit_file_open(&file->descriptor, path, how, exists, error);
    if (status != DVIT_OK)
        dvit_record_file_close(file);
    return status;
}

static bool write_all(int descriptor, const unsigned char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(descriptor, data, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        data += written;
        size -= (size_t)written;
    }
    return true;
}

enum dvit_status dvit_record_file_add(struct dvit_record_file *file, const void *record,
                                      size_t size_bytes, struct dvit_error *error)
{
    off_t before = lseek(file->descriptor, 0, SEEK_END);
    if (before >= 0 && write_all(file->descriptor, record, size_bytes))
        return DVIT_OK;
    int reason = errno;
    int left_whole = before >= 0 ? ftruncate(file->descriptor, before) : 0;
    (void)left_whole; /* the reason is the write's all the same */
    return dvit_error_set(error, DVIT_ERROR_IO, "\"%s\": cannot write: %s", file->path,
                          strerror(reason));
}

void dvit_record_file_close(struct dvit_record_file *file)
{
    if (file->path && file->descriptor >= 0)
        close(file->descriptor);
    free(file->path);
    *file = (struct dvit_record_file){0};
}
