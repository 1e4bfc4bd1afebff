/* Lock files by flock, which the kernel drops with the process. The file holds the holder's number
 * for people; nothing is decided from it. */
#define _GNU_SOURCE
#include "base/lock.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

/* Whether the open file is still the one of that name: a holder removes it on release. */
static bool is_current(int fd, const char *path)
{
    struct stat ours, named;
    return fstat(fd, &ours) == 0 && stat(path, &named) == 0 && ours.st_ino == named.st_ino &&
           ours.st_dev == named.st_dev;
}

static enum dvit_status tell_holder(int fd, const char *path, struct dvit_error *error)
{
    char text[32] = "";
    ssize_t size = pread(fd, text, sizeof text - 1, 0);
    long process = size > 0 ? strtol(text, NULL, 10) : 0;
    if (process > 0)
        return dvit_error_set(error, DVIT_ERROR_IO, "\"%s\": held by process %ld, which is running",
                              path, process);
    return dvit_error_set(error, DVIT_ERROR_IO, "\"%s\": held by another process", path);
}

static void write_holder(int fd)
{
    char text[32];
    struct stat info;
    if (fstat(fd, &info) != 0 || info.st_nlink != 1)
        return; /* a file with other names is somebody's: held, and not written */
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)length, 0) < 0)
        return; /* a full disk: held all the same, only not by name */
}

enum dvit_status dvit_lock_take(struct dvit_lock *lock, const char *path, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    int fd = -1;
    *lock = (struct dvit_lock){.fd = -1};
    for (;;) {
        DVIT_TRY(dvit_file_open(&fd, path, DVIT_OPEN_UPDATE, NULL, error));
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            if (errno == EWOULDBLOCK)
                DVIT_TRY(tell_holder(fd, path, error));
            break; /* no locks here */
        }
        if (is_current(fd, path))
            break;
        close(fd);
    }
    lock->path = strdup(path);
    if (!lock->path)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    write_holder(fd);
    lock->fd = fd;
    fd = -1;
done:
    if (fd >= 0)
        close(fd);
    return status;
}

void dvit_lock_release(struct dvit_lock *lock)
{
    if (!lock->path)
        return;
    unlink(lock->path); /* before others may have it, or it would be theirs */
    close(lock->fd);
    free(lock->path);
    *lock = (struct dvit_lock){.fd = -1};
}
