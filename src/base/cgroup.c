/* Reads /proc/self/cgroup for the groups and the folders of /sys/fs/cgroup for their quotas. Inside
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

static const char *const v1_folders[] = {"cpu", "cpu,cpuacct", "cpuacct,cpu"};

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

/* The quota of one folder in whole processors, 0: none. */
static int processors_of(const char *folder)
{
    char path[PATH_BYTES + 32];
    long long quota = 0, period = 100000; /* microseconds; the period's default */
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (!read_number(path, &quota, &period)) {
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
        if (!read_number(path, &quota, NULL))
            return 0;
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
        if (!read_number(path, &period, NULL))
            return 0;
    }
    if (quota <= 0 || period <= 0 || quota > (1LL << 40))
        return 0; /* −1: no limit */
    long long processors = (quota + period - 1) / period;
    return processors < 1 << 20 ? (int)processors : 0;
}

static void lower(int *least, int processors)
{
    if (processors && (!*least || processors < *least))
        *least = processors;
}

/* The group and its ancestors up to the folder in which its hierarchy is mounted. */
static void lower_along(int *least, const char *mount, const char *group)
{
    char folder[PATH_BYTES];
    size_t base = strlen(mount);
    int length = snprintf(folder, sizeof folder, "%s%s", mount, group);
    if (length < 0 || (size_t)length >= sizeof folder)
        return;
    for (;;) {
        lower(least, processors_of(folder));
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < base)
            return;
        *slash = 0;
    }
}

static bool names_cpu(const char *controllers)
{
    for (const char *at = controllers; *at;) {
        size_t length = strcspn(at, ",");
        if (length == 3 && memcmp(at, "cpu", 3) == 0)
            return true;
        at += length + (at[length] == ',');
    }
    return false;
}

/* "NUMBER:CONTROLLERS:GROUP"; no controllers: version 2. */
static void lower_by_line(int *least, const char *root, char *line)
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
            lower_along(least, mount, group);
        }
    } else if (names_cpu(controllers)) {
        for (size_t i = 0; i < sizeof v1_folders / sizeof *v1_folders; i++) {
            snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/%s", root, v1_folders[i]);
            lower_along(least, mount, group);
        }
    }
}

int dvit_cgroup_processors(const char *root)
{
    int least = 0;
    char path[PATH_BYTES];
    char *list = malloc(LIST_BYTES);
    snprintf(path, sizeof path, "%s/sys/fs/cgroup", root);
    lower(&least, processors_of(path));
    for (size_t i = 0; i < sizeof v1_folders / sizeof *v1_folders; i++) {
        snprintf(path, sizeof path, "%s/sys/fs/cgroup/%s", root, v1_folders[i]);
        lower(&least, processors_of(path));
    }
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    if (list && dvit_file_read_start(path, list, LIST_BYTES))
        for (char *line = list, *next; line; line = next) {
            next = strchr(line, '\n');
            if (next)
                *next++ = 0;
            lower_by_line(&least, root, line);
        }
    free(list);
    return least;
}
