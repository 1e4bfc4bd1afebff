/* Files: the only place that opens any; bounded reads, and writes that are either complete or
 * absent. tools/house/check_opens.py holds the rest of the sources to it. */
#ifndef DVIT_BASE_FILE_H
#define DVIT_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

/* The whole file in one malloc'ed block (caller frees). A file longer than limit_bytes is
 * DVIT_ERROR_LIMIT, a folder or device DVIT_ERROR_FORMAT. One 0 byte follows the content. */
enum dvit_status dvit_file_read(const char *path, size_t limit_bytes, unsigned char **out,
                                size_t *size_bytes, struct dvit_error *error);

/* How a file is opened that stays open. Nothing is opened but regular files, and nothing waits: a
 * FIFO, a device or a folder of that name is an IO error. READ follows symbolic links. All others
 * refuse them, and create the file where there is none. */
enum dvit_file_opening {
    DVIT_OPEN_READ,
    DVIT_OPEN_UPDATE, /* read and write, as it is */
    DVIT_OPEN_APPEND, /* write behind what is there */
    DVIT_OPEN_NEW,    /* the same; a file of that name is removed first, so that its content stays
                         whole under the other names that it may have */
    DVIT_OPEN_UNUSED, /* the same; a file of that name is an error */
};
/* *descriptor is −1 on failure; exists (may be NULL) says whether an UNUSED name was used. */
enum dvit_status dvit_file_open(int *descriptor, const char *path, enum dvit_file_opening how,
                                bool *exists, struct dvit_error *error);

/* Whether an open file may be believed without looking into it: nobody but its reader and root can
 * have written it. The file and the folder that holds it must belong to the effective user or root
 * and must not be writable by their group or others. Otherwise DVIT_ERROR_IO that says why. */
enum dvit_status dvit_file_check_trust(int descriptor, const char *path, struct dvit_error *error);

/* Takes the permission to write away from group and others, so that the file may be believed. */
void dvit_file_protect(int descriptor);

/* The first bytes of a regular file, as many as there are and fit; false where it cannot be read.
 */
bool dvit_file_peek(const char *path, void *out, size_t capacity, size_t *size_bytes);

/* The start of a text that the system makes (files of /proc and /sys have no length), terminated;
 * false where it cannot be read. */
bool dvit_file_read_start(const char *path, char *text, size_t capacity);

/* A file being written beside its final place. Nothing is visible under `path` until commit, which
 * flushes, fsyncs the file, renames it and fsyncs the folder. What is replaced hands its
 * permissions on. A device, a pipe or a link to one under that name is not replaced but an IO
 * error; another link is replaced itself, not what it points to. */
struct dvit_file_writer {
    FILE *stream;  /* write through dvit_file_write, so that errors carry the name */
    char *path;    /* final name */
    char *pending; /* temporary name in the same folder */
};
enum dvit_status dvit_file_begin(struct dvit_file_writer *writer, const char *path,
                                 struct dvit_error *error);
enum dvit_status dvit_file_write(struct dvit_file_writer *writer, const void *data,
                                 size_t size_bytes, struct dvit_error *error);
enum dvit_status dvit_file_commit(struct dvit_file_writer *writer, struct dvit_error *error);
/* Legal at any time, also after commit and on a zeroed writer: removes what was not committed. */
void dvit_file_abandon(struct dvit_file_writer *writer);

/* begin + write + commit. */
enum dvit_status dvit_file_replace(const char *path, const void *data, size_t size_bytes,
                                   struct dvit_error *error);

/* `to` becomes another name of the file `from`, or a copy where the file system has no such names;
 * whole or not at all. Files are replaced, never changed, so the two may part later. */
enum dvit_status dvit_file_duplicate(const char *from, const char *to, struct dvit_error *error);

/* Whether a name is that of such a temporary file, as dvit_file_begin and dvit_file_duplicate make
 * them: "NAME.PROCESS-NUMBER.tmp" or "NAME.PROCESS-link.tmp". Their process, or 0 of any other
 * name.
 */
long dvit_file_pending_process(const char *name);
/* Removes the temporary files in a folder that nobody writes any more: their processes were killed.
 * Such a file is as large as what it was to become. A file that is being written is locked; on file
 * systems without locks, its process is running. */
void dvit_folder_sweep(const char *path);

/* Creates the folder and its parents; an existing folder is fine. */
enum dvit_status dvit_folder_create(const char *path, struct dvit_error *error);
/* The same; those that are created may not be written by group and others, whatever the umask:
 * files in them may be believed. */
enum dvit_status dvit_folder_create_own(const char *path, struct dvit_error *error);
bool dvit_file_exists(const char *path);
bool dvit_folder_exists(const char *path);

/* Names in a folder, without "." and "..", in byte order. Caller frees with dvit_names_free. */
struct dvit_names {
    char **items;
    size_t count;
};
enum dvit_status dvit_folder_list(const char *path, struct dvit_names *out,
                                  struct dvit_error *error);
void dvit_names_free(struct dvit_names *names);

/* "a/b" from "a" and "b" (malloc'ed), or NULL when memory is out. */
char *dvit_path_join(const char *folder, const char *name);

#endif
