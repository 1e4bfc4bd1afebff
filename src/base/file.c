/* File input and output. Every error names the file and the operating system's reason. */
#define _GNU_SOURCE
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
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
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
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
        fd = open(writer->pending, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (fd < 0 && errno == EEXIST && ++attempt < 1000);
    if (fd < 0) {
        int code = errno;
        free(writer->pending);
        writer->pending = NULL; /* nothing to remove */
        DVIT_FAIL(error, errno_status(code), "\"%s\": cannot create: %s", path, strerror(code));
    }
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
    bool flushed = fflush(writer->stream) == 0 && fsync(fileno(writer->stream)) == 0;
    int code = errno;
    bool closed = fclose(writer->stream) == 0;
    if (flushed && !closed)
        code = errno;
    writer->stream = NULL;
    if (!flushed || !closed)
        DVIT_FAIL(error, DVIT_ERROR_IO, "\"%s\": cannot write: %s", writer->path, strerror(code));
    if (rename(writer->pending, writer->path) != 0)
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
    FILE *source = fopen(from, "rbe");
    if (!piece)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", to);
    if (!source)
        DVIT_FAIL(error, errno_status(errno), "\"%s\": cannot open: %s", from, strerror(errno));
    DVIT_TRY(dvit_file_begin(&writer, to, error));
    for (size_t got; (got = fread(piece, 1, PIECE, source)) > 0;)
        DVIT_TRY(dvit_file_write(&writer, piece, got, error));
    if (ferror(source))
        DVIT_FAIL(error, DVIT_ERROR_IO, "\"%s\": cannot read: %s", from, strerror(errno));
    DVIT_TRY(dvit_file_commit(&writer, error));
done:
    if (source)
        fclose(source);
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

enum dvit_status dvit_folder_create(const char *path, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    char *copy = strdup(path);
    if (!copy)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    if (!*path)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "name of the folder to create is empty");
    for (char *p = copy + 1;; p++) {
        if (*p != '/' && *p != 0)
            continue;
        char end = *p;
        *p = 0;
        if (mkdir(copy, 0777) != 0 && errno != EEXIST)
            DVIT_FAIL(error, errno_status(errno), "\"%s\": cannot create the folder: %s", copy,
                      strerror(errno));
        *p = end;
        if (!end)
            break;
    }
    if (!dvit_folder_exists(path))
        DVIT_FAIL(error, DVIT_ERROR_IO, "\"%s\": exists and is not a folder", path);
done:
    free(copy);
    return status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum dvit_status append_name(struct dvit_names *names, size_t *capacity, const char *name)
{
    if (names->count == *capacity) {
        size_t larger = *capacity ? 2 * *capacity : 64;
        char **items = realloc(names->items, larger * sizeof *items);
        if (!items)
            return DVIT_ERROR_MEMORY;
        names->items = items;
        *capacity = larger;
    }
    char *copy = strdup(name);
    if (!copy)
        return DVIT_ERROR_MEMORY;
    names->items[names->count++] = copy;
    return DVIT_OK;
}

enum dvit_status dvit_folder_list(const char *path, struct dvit_names *out,
                                  struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_names names = {0};
    size_t capacity = 0;
    *out = names;
    DIR *folder = opendir(path);
    if (!folder)
        DVIT_FAIL(error, errno_status(errno), "\"%s\": cannot open the folder: %s", path,
                  strerror(errno));
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (!entry)
            break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (append_name(&names, &capacity, entry->d_name) != DVIT_OK)
            DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    }
    if (errno)
        DVIT_FAIL(error, DVIT_ERROR_IO, "\"%s\": cannot list: %s", path, strerror(errno));
    if (names.count)
        qsort(names.items, names.count, sizeof *names.items, compare_names);
    *out = names;
    names = (struct dvit_names){0};
done:
    if (folder)
        closedir(folder);
    dvit_names_free(&names);
    return status;
}

void dvit_names_free(struct dvit_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
    *names = (struct dvit_names){0};
}
