/* Files: bounded reads, memory maps that cannot outlive a length check, and writes that are either
 * complete or absent. */
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

/* A file being written beside its final place. Nothing is visible under `path` until commit, which
 * flushes, fsyncs the file, renames it and fsyncs the folder. A device, a pipe or a link to one
 * under that name is not replaced but an IO error. */
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

/* Creates the folder and its parents; an existing folder is fine. */
enum dvit_status dvit_folder_create(const char *path, struct dvit_error *error);
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
