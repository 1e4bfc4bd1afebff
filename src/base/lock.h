/* A lock file: one holder at a time, across processes of a machine. */
#ifndef DVIT_BASE_LOCK_H
#define DVIT_BASE_LOCK_H

#include "base/error.h"

struct dvit_lock {
    int fd;     /* −1: not held */
    char *path; /* NULL: not held */
};

/* Creates the file and holds it until released or until the process ends, however it ends: what a
 * killed holder leaves is no obstacle. Held by another: DVIT_ERROR_IO that names its process. On
 * file systems without locks it succeeds and protects nothing. */
enum dvit_status dvit_lock_take(struct dvit_lock *lock, const char *path, struct dvit_error *error);
/* Removes the file. Legal on a zeroed lock. */
void dvit_lock_release(struct dvit_lock *lock);

#endif
