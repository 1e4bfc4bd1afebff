/* Folders: creating, listing, and removing the temporary files that killed processes left. Files
 * are opened by file.c alone. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static enum dvit_status folder_status(int code)
{
    return code == ENOENT || code == ENOTDIR ? DVIT_ERROR_NOT_FOUND : DVIT_ERROR_IO;
}

long dvit_file_pending_process(const char *name)
{
    static const char end[] = ".tmp", link_end[] = "-link.tmp";
    size_t length = strlen(name);
    if (length <= sizeof end - 1 || strcmp(name + length - (sizeof end - 1), end) != 0)
        return 0;
    bool is_link = length > sizeof link_end - 1 &&
                   strcmp(name + length - (sizeof link_end - 1), link_end) == 0;
    const char *at = name + length - (is_link ? sizeof link_end : sizeof end) + 1;
    const char *digits = at;
    if (!is_link) { /* ".PROCESS-NUMBER" */
        while (at > name && at[-1] >= '0' && at[-1] <= '9')
            at--;
        if (at == digits || at == name || at[-1] != '-')
            return 0;
        at--;
    }
    digits = at;
    while (at > name && at[-1] >= '0' && at[-1] <= '9')
        at--;
    if (at == digits || digits - at > 10 || at - 1 <= name || at[-1] != '.')
        return 0;
    return strtol(at, NULL, 10);
}

/* Whoever writes a file holds its lock until it has its final name. */
static bool is_abandoned(const char *path, long process)
{
    struct stat info;
    int fd = -1;
    if (lstat(path, &info) != 0 || !S_ISREG(info.st_mode) ||
        dvit_file_open(&fd, path, DVIT_OPEN_READ, NULL, NULL) != DVIT_OK)
        return false;
    bool free_of_locks = flock(fd, LOCK_EX | LOCK_NB) == 0;
    bool has_locks = free_of_locks || errno == EWOULDBLOCK;
    close(fd);
    return has_locks ? free_of_locks : kill((pid_t)process, 0) != 0 && errno == ESRCH;
}

void dvit_folder_sweep(const char *path)
{
    struct dvit_names names;
    if (dvit_folder_list(path, &names, NULL) != DVIT_OK)
        return;
    for (size_t i = 0; i < names.count; i++) {
        long process = dvit_file_pending_process(names.items[i]);
        char *file = process > 0 ? dvit_path_join(path, names.items[i]) : NULL;
        if (file && is_abandoned(file, process))
            unlink(file);
        free(file);
    }
    dvit_names_free(&names);
}

static enum dvit_status create(const char *path, mode_t mode, struct dvit_error *error)
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
        int reason = mkdir(copy, mode) != 0 ? errno : 0;
        if (reason && reason != EEXIST && !dvit_folder_exists(copy))
            DVIT_FAIL(error, folder_status(reason), "\"%s\": cannot create the folder: %s", copy,
                      strerror(reason));
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

enum dvit_status dvit_folder_create(const char *path, struct dvit_error *error)
{
    return create(path, 0777, error);
}

enum dvit_status dvit_folder_create_own(const char *path, struct dvit_error *error)
{
    return create(path, 0755, error);
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
        DVIT_FAIL(error, folder_status(errno), "\"%s\": cannot open the folder: %s", path,
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
