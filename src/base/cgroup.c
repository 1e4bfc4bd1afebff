/* Reads /proc/self/cgroup for the groups and the folders of /sys/fs/cgroup for their limits. Inside
 * a container the group's own name is often not there, only its root: so the root is always read.
 */
#define _GNU_SOURCE
#include "base/cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { PATH_BYTES = 4352, LIST_BYTES = 1 << 16 };

/* What is looked for in the folder of each group. */
struct limit {
    const char *controller;
    const char *folders[3];               /* of version 1, under /sys/fs/cgroup; NULL: no more */
    long long (*of_folder)(const char *); /* the folder's limit; −1: none */
};

/* The number that a file starts with; false of "max" and where there is none. */
static bool read_number(const char *path, long long *first, long long *second)
{
    char text[64], *end;
    if (!dvit_file_read_start(path, text, sizeof text))
        return false;
    *first = strtoll(text, &end, 10);
    if (end == text)
        return false;
    if (second && *end == ' ')
        *second = strtoll(end, NULL, 10);
    return true;
}

/* The quota of one folder in whole processors. */
static long long processors_of(const char *folder)
{
    char path[PATH_BYTES + 32];
    long long quota = 0, period = 100000; /* microseconds; the period's default */
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (!read_number(path, &quota, &period)) {
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
        if (!read_number(path, &quota, NULL))
            return -1;
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
        if (!read_number(path, &period, NULL))
            return -1;
    }
    if (quota <= 0 || period <= 0 || quota > (1LL << 40))
        return -1; /* −1: no limit */
    long long processors = (quota + period - 1) / period;
    return processors < 1 << 20 ? processors : -1;
}

/* Of the pages that a group's files take, those that the system gives up first. */
static long long reclaimable(const char *folder)
{
    char path[PATH_BYTES + 32], text[4096];
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    if (!dvit_file_read_start(path, text, sizeof text))
        return 0;
    const char *line = strstr(text, "inactive_file ");
    long long bytes = line ? strtoll(line + strlen("inactive_file "), NULL, 10) : 0;
    return bytes > 0 ? bytes : 0;
}

/* The bytes that one folder's group may still take. */
static long long memory_of(const char *folder)
{
    static const char *const files[][2] = {{"memory.max", "memory.current"},
                                           {"memory.limit_in_bytes", "memory.usage_in_bytes"}};
    char path[PATH_BYTES + 32];
    for (int version = 0; version < 2; version++) {
        long long limit = 0, used = 0;
        snprintf(path, sizeof path, "%s/%s", folder, files[version][0]);
        if (!read_number(path, &limit, NULL) || limit <= 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, files[version][1]);
        if (!read_number(path, &used, NULL))
            continue;
        used -= reclaimable(folder);
        used = used > 0 ? used : 0;
        return limit > used ? limit - used : 0;
    }
    return -1;
}

static const struct limit processors = {
    "cpu", {"cpu", "cpu,cpuacct", "cpuacct,cpu"}, processors_of};
static const struct limit memory = {"memory", {"memory"}, memory_of};

static void lower(long long *least, long long value)
{
    if (value >= 0 && (*least < 0 || value < *least))
        *least = value;
}

/* The group and its ancestors up to the folder in which its hierarchy is mounted. */
static void lower_along(long long *least, const struct limit *limit, const char *mount,
                        const char *group)
{
    char folder[PATH_BYTES];
    size_t base = strlen(mount);
    int length = snprintf(folder, sizeof folder, "%s%s", mount, group);
    if (length < 0 || (size_t)length >= sizeof folder)
        return;
    for (;;) {
        lower(least, limit->of_folder(folder));
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < base)
            return;
        *slash = 0;
    }
}

static bool names(const char *controllers, const char *controller)
{
    size_t wanted = strlen(controller);
    for (const char *at = controllers; *at;) {
        size_t length = strcspn(at, ",");
        if (length == wanted && memcmp(at, controller, wanted) == 0)
            return true;
        at += length + (at[length] == ',');
    }
    return false;
}

/* "NUMBER:CONTROLLERS:GROUP"; no controllers: version 2. */
static void lower_by_line(long long *least, const struct limit *limit, const char *root, char *line)
{
    char mount[PATH_BYTES];
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group || group[1] != '/' || strstr(group, "/.."))
        return; /* a group outside the container: its limits are not to be seen */
    *controllers++ = 0;
    *group++ = 0;
    if (!*controllers) {
        const char *const mounts[] = {"", "/unified"};
        for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
            snprintf(mount, sizeof mount, "%s/sys/fs/cgroup%s", root, mounts[i]);
            lower_along(least, limit, mount, group);
        }
    } else if (names(controllers, limit->controller)) {
        for (size_t i = 0; i < 3 && limit->folders[i]; i++) {
            snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/%s", root, limit->folders[i]);
            lower_along(least, limit, mount, group);
        }
    }
}

/* The least of the limits of this process's groups; −1: none. */
static long long least_limit(const struct limit *limit, const char *root)
{
    long long least = -1;
    char path[PATH_BYTES];
    char *list = malloc(LIST_BYTES);
    snprintf(path, sizeof path, "%s/sys/fs/cgroup", root);
    lower(&least, limit->of_folder(path));
    for (size_t i = 0; i < 3 && limit->folders[i]; i++) {
        snprintf(path, sizeof path, "%s/sys/fs/cgroup/%s", root, limit->folders[i]);
        lower(&least, limit->of_folder(path));
    }
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    if (list && dvit_file_read_start(path, list, LIST_BYTES))
        for (char *line = list, *next; line; line = next) {
            next = strchr(line, '\n');
            if (next)
                *next++ = 0;
            lower_by_line(&least, limit, root, line);
        }
    free(list);
    return least;
}

int dvit_cgroup_processors(const char *root)
{
    long long least = least_limit(&processors, root);
    return least > 0 ? (int)least : 0;
}

long long dvit_cgroup_memory(const char *root)
{
    return least_limit(&memory, root);
}
