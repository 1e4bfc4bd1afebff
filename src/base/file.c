/* File input and output. Every error names the file and the operating system's reason. */
#define _GNU_SOURCE
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static enum dvit_status errno_status(int code)
{
    return code == ENOENT || code == ENOTDIR ? DVIT_ERROR_NOT_FOUND : DVIT_ERROR_IO;
}

char *dvit_path_join(const char *folder, const char *name)
{
    char *path = NULL;
    size_t length = strlen(folder);
    const char *slash = length && folder[length - 1] != '/' ? "/" : ""; /* "" + "b" is "b" */
    return asprintf(&path, "%s%s%s", folder, slash, name) < 0 ? NULL : path;
}

bool dvit_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

bool dvit_folder_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* ---- opening ---- */

static enum dvit_status cannot_open(const char *path, const char *what, int code,
                                    struct dvit_error *error)
{
    if (code == ELOOP)
        return dvit_error_set(error, DVIT_ERROR_IO,
                              "\"%s\": cannot %s: is a symbolic link, expected a regular file",
                              path, what);
    if (code == ENXIO || code == EISDIR)
        return dvit_error_set(error, DVIT_ERROR_IO,
                              "\"%s\": cannot %s: is not a regular file and stays as it is", path,
                              what);
    return dvit_error_set(error, errno_status(code), "\"%s\": cannot %s: %s", path, what,
                          strerror(code));
}

enum dvit_status dvit_file_open(int *descriptor, const char *path, enum dvit_file_opening how,
                                bool *exists, struct dvit_error *error)
{
    static const int flags[] = {
        [DVIT_OPEN_READ] = O_RDONLY,
        [DVIT_OPEN_UPDATE] = O_RDWR | O_CREAT | O_NOFOLLOW,
        [DVIT_OPEN_APPEND] = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW,
        [DVIT_OPEN_NEW] = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_EXCL,
        [DVIT_OPEN_UNUSED] = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_EXCL,
    };
    const char *what = how == DVIT_OPEN_READ ? "open" : "write";
    struct stat info;
    *descriptor = -1;
    if (exists)
        *exists = false;
    if (how == DVIT_OPEN_NEW && lstat(path, &info) == 0) {
        int code = S_ISLNK(info.st_mode) ? ELOOP : !S_ISREG(info.st_mode) ? EISDIR : 0;
        if (code)
            return cannot_open(path, what, code, error);
        if (unlink(path) != 0)
            return cannot_open(path, what, errno, error);
    }
    int fd = open(path, flags[how] | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    if (fd < 0) {
        if (exists)
            *exists = errno == EEXIST;
        return cannot_open(path, what, errno, error);
    }
    int code = fstat(fd, &info) != 0 ? errno : !S_ISREG(info.st_mode) ? EISDIR : 0;
    if (code) {
        close(fd);
        return cannot_open(path, what, code, error);
    }
    *descriptor = fd;
    return DVIT_OK;
}

static const char *distrust(const struct stat *info)
{
    if (info->st_uid != geteuid() && info->st_uid != 0)
        return "belongs to another user";
    return info->st_mode & (S_IWGRP | S_IWOTH) ? "may be written by others (see chmod go-w)" : NULL;
}

enum dvit_status dvit_file_check_trust(int descriptor, const char *path, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct stat info;
    char *folder = strdup(path);
    if (!folder)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder ? 1 : 0] = 0;
    if (fstat(descriptor, &info) != 0)
        DVIT_FAIL(error, DVIT_ERROR_IO, "\"%s\": cannot stat: %s", path, strerror(errno));
    if (distrust(&info))
        DVIT_FAIL(error, DVIT_ERROR_IO, "\"%s\": the file %s", path, distrust(&info));
    if (stat(slash ? folder : ".", &info) != 0)
        DVIT_FAIL(error, DVIT_ERROR_IO, "\"%s\": cannot stat its folder: %s", path,
                  strerror(errno));
    if (distrust(&info))
        DVIT_FAIL(error, DVIT_ERROR_IO, "\"%s\": its folder %s", path, distrust(&info));
done:
    free(folder);
    return status;
}

void dvit_file_protect(int descriptor)
{
    struct stat info;
    if (fstat(descriptor, &info) == 0 && (info.st_mode & (S_IWGRP | S_IWOTH)) != 0 &&
        fchmod(descriptor, info.st_mode & 07777 & ~(mode_t)(S_IWGRP | S_IWOTH)) != 0)
        return; /* dvit_file_check_trust will say so */
}

bool dvit_file_peek(const char *path, void *out, size_t capacity, size_t *size_bytes)
{
    unsigned char *bytes = out;
    int fd;
    *size_bytes = 0;
    if (dvit_file_open(&fd, path, DVIT_OPEN_READ, NULL, NULL) != DVIT_OK)
        return false;
    while (*size_bytes < capacity) {
        ssize_t got = read(fd, bytes + *size_bytes, capacity - *size_bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        *size_bytes += (size_t)got;
    }
    close(fd);
    return true;
}

bool dvit_file_read_start(const char *path, char *text, size_t capacity)
{
    size_t used = 0;
    bool opened = dvit_file_peek(path, text, capacity - 1, &used);
    text[used] = 0;
    return opened && used > 0;
}

/* ---- reading ---- */

static enum dvit_status read_exactly(int fd, const char *path, unsigned char *data, size_t size,
                                     struct dvit_error *error)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got = read(fd, data + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return dvit_error_set(error, DVIT_ERROR_IO, "\"%s\": cannot read: %s", path,
                                  strerror(errno));
        if (got == 0)
            return dvit_error_set(error, DVIT_ERROR_IO,
                                  "\"%s\": shrank while being read, expected %zu bytes, got %zu",
                                  path, size, done);
        done += (size_t)got;
    }
    return DVIT_OK;
}

enum dvit_status dvit_file_read(const char *path, size_t limit_bytes, unsigned char **out,
                                size_t *size_bytes, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    unsigned char *data = NULL;
    *out = NULL;
    *size_bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        DVIT_FAIL(error, errno_status(errno), "\"%s\": cannot open: %s", path, strerror(errno));
    struct stat info;
    if (fstat(fd, &info) != 0)
        DVIT_FAIL(error, DVIT_ERROR_IO, "\"%s\": cannot stat: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "\"%s\": is not a regular file", path);
    if ((unsigned long long)info.st_size > limit_bytes)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT, "\"%s\": has %lld bytes, the limit is %zu", path,
                  (long long)info.st_size, limit_bytes);
    size_t size = (size_t)info.st_size;
    data = malloc(size + 1);
    if (!data)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory for %zu bytes", path, size);
    DVIT_TRY(read_exactly(fd, path, data, size, error));
    data[size] = 0;
    *out = data;
    *size_bytes = size;
    data = NULL;
done:
    if (fd >= 0)
        close(fd);
    free(data);
    return status;
}

/* What a file is renamed over is lost: a device or a pipe, by any name, must not be. A folder is
 * refused by the rename itself. */
static enum dvit_status check_place(const char *path, struct dvit_error *error)
{
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
        return dvit_error_set(error, DVIT_ERROR_IO,
                              "\"%s\": cannot create: is not a regular file and stays as it is",
                              path);
    return DVIT_OK;
}

/* A file that was private or shared stays so. Where that cannot be, as on file systems without
 * permissions, it is as any new file. */
static void hand_permissions_on(int fd, const char *path)
{
    struct stat former, now;
    if (lstat(path, &former) != 0 || !S_ISREG(former.st_mode) || fstat(fd, &now) != 0)
        return;
    mode_t wanted = former.st_mode & (S_IRWXU | S_IRWXG | S_IRWXO);
    if (wanted != (now.st_mode & (S_IRWXU | S_IRWXG | S_IRWXO)) && fchmod(fd, wanted) != 0)
        return;
}

enum dvit_status dvit_file_begin(struct dvit_file_writer *writer, const char *path,
                                 struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    int fd = -1, attempt = 0;
    *writer = (struct dvit_file_writer){0};
    DVIT_TRY(check_place(path, error));
    writer->path = strdup(path);
    if (!writer->path)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    do { /* the name is ours alone; O_EXCL steps over a leftover of another process */
        free(writer->pending);
        writer->pending = NULL;
        if (asprintf(&writer->pending, "%s.%ld-%d.tmp", path, (long)getpid(), attempt) < 0) {
            writer->pending = NULL;
            DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
        }
        fd = open(writer->pending, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    } while (fd < 0 && errno == EEXIST && ++attempt < 1000);
    if (fd < 0) {
        int code = errno;
        free(writer->pending);
        writer->pending = NULL; /* nothing to remove */
        DVIT_FAIL(error, errno_status(code), "\"%s\": cannot create: %s", path, strerror(code));
    }
    (void)flock(fd, LOCK_EX | LOCK_NB); /* tells dvit_folder_sweep that somebody writes it */
    hand_permissions_on(fd, path);
    writer->stream = fdopen(fd, "wb");
    if (!writer->stream)
        DVIT_FAIL(error, DVIT_ERROR_IO, "\"%s\": cannot open: %s", path, strerror(errno));
    fd = -1;
done:
    if (fd >= 0)
        close(fd);
    if (status != DVIT_OK)
        dvit_file_abandon(writer);
    return status;
}

enum dvit_status dvit_file_write(struct dvit_file_writer *writer, const void *data,
                                 size_t size_bytes, struct dvit_error *error)
{
    if (size_bytes && fwrite(data, 1, size_bytes, writer->stream) != size_bytes)
        return dvit_error_set(error, DVIT_ERROR_IO, "\"%s\": cannot write: %s", writer->path,
                              strerror(errno));
    return DVIT_OK;
}

/* The rename is durable only once the folder itself is on disk. Leaves the folder's name in `path`:
 * cut in place, so that this cannot fail for want of memory. */
static void sync_folder_of(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash)
        slash[slash == path ? 1 : 0] = 0;
    int fd = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

enum dvit_status dvit_file_commit(struct dvit_file_writer *writer, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    if (fflush(writer->stream) != 0 || fsync(fileno(writer->stream)) != 0)
        DVIT_FAIL(error, DVIT_ERROR_IO, "\"%s\": cannot write: %s", writer->path, strerror(errno));
    if (rename(writer->pending, writer->path) != 0) /* while it is locked: see dvit_folder_sweep */
        DVIT_FAIL(error, DVIT_ERROR_IO, "\"%s\": cannot rename into place: %s", writer->path,
                  strerror(errno));
    free(writer->pending);
    writer->pending = NULL;
    sync_folder_of(writer->path);
done:
    dvit_file_abandon(writer);
    return status;
}

void dvit_file_abandon(struct dvit_file_writer *writer)
{
    if (writer->stream)
        fclose(writer->stream);
    if (writer->pending)
        unlink(writer->pending);
    free(writer->pending);
    free(writer->path);
    *writer = (struct dvit_file_writer){0};
}

enum dvit_status dvit_file_replace(const char *path, const void *data, size_t size_bytes,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_file_writer writer = {0};
    DVIT_TRY(dvit_file_begin(&writer, path, error));
    DVIT_TRY(dvit_file_write(&writer, data, size_bytes, error));
    DVIT_TRY(dvit_file_commit(&writer, error));
done:
    dvit_file_abandon(&writer);
    return status;
}

static enum dvit_status copy_file(const char *from, const char *to, struct dvit_error *error)
{
    enum { PIECE = 1 << 16 };
    enum dvit_status status = DVIT_OK;
    struct dvit_file_writer writer = {0};
    unsigned char *piece = malloc(PIECE);
    int source = -1;
    ssize_t got;
    if (!piece)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", to);
    DVIT_TRY(dvit_file_open(&source, from, DVIT_OPEN_READ, NULL, error));
    DVIT_TRY(dvit_file_begin(&writer, to, error));
    while ((got = read(source, piece, PIECE)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            DVIT_FAIL(error, DVIT_ERROR_IO, "\"%s\": cannot read: %s", from, strerror(errno));
        DVIT_TRY(dvit_file_write(&writer, piece, (size_t)got, error));
    }
    DVIT_TRY(dvit_file_commit(&writer, error));
done:
    if (source >= 0)
        close(source);
    free(piece);
    dvit_file_abandon(&writer);
    return status;
}

enum dvit_status dvit_file_duplicate(const char *from, const char *to, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    char *pending = NULL;
    DVIT_TRY(check_place(to, error));
    if (asprintf(&pending, "%s.%ld-link.tmp", to, (long)getpid()) < 0) {
        pending = NULL;
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", to);
    }
    unlink(pending);
    if (link(from, pending) != 0) {
        DVIT_TRY(copy_file(from, to, error));
        goto done;
    }
    if (rename(pending, to) != 0)
        DVIT_FAIL(error, DVIT_ERROR_IO, "\"%s\": cannot rename into place: %s", to,
                  strerror(errno));
done:
    if (pending)
        unlink(pending); /* renaming one name of a file to another of the same leaves both */
    if (status == DVIT_OK)
        sync_folder_of(pending);
    free(pending);
    return status;
}
