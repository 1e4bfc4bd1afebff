/* Reads /proc/meminfo and the control groups' limits. Counts nothing itself: the system knows what
 * is in use. */
#include "base/free_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cgroup.h"
#include "base/file.h"

enum { SMALL = 64 << 20 }; /* bytes that are worth no question */

/* A line "KEY:   123 kB", in bytes; −1: none. */
static long long entry(const char *text, const char *key)
{
    const char *line = strstr(text, key);
    char *end = NULL;
    if (!line)
        return -1;
    line += strlen(key);
    long long kilobytes = strtoll(line, &end, 10);
    return end != line && kilobytes >= 0 && kilobytes < 1LL << 50 ? kilobytes * 1024 : -1;
}

long long dvit_memory_available(const char *root)
{
    char path[4096], text[4096];
    long long machine = -1, group = dvit_cgroup_memory(root);
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (dvit_file_read_start(path, text, sizeof text)) {
        long long swap = entry(text, "SwapFree:");
        machine = entry(text, "MemAvailable:");
        if (machine >= 0 && swap > 0)
            machine += swap;
    }
    if (machine < 0 || group < 0)
        return machine < 0 ? group : machine;
    return machine < group ? machine : group;
}

enum dvit_status dvit_memory_check(size_t size_bytes, const char *what, struct dvit_error *error)
{
    long long available = size_bytes > SMALL ? dvit_memory_available("") : -1;
    if (available < 0 || size_bytes <= (unsigned long long)available)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_MEMORY,
                          "%s: needs %.2f GB of memory, there are %.2f GB", what,
                          (double)size_bytes / 1e9, (double)available / 1e9);
}
