/* How much memory there is to take, known before it is taken: a system that hands out more than it
 * has ends a process without a word. */
#ifndef DVIT_BASE_FREE_MEMORY_H
#define DVIT_BASE_FREE_MEMORY_H

#include <stddef.h>

#include "base/error.h"

/* Bytes that this process may still take: what the machine has free or can free, with its swap, and
 * what its control groups allow; −1: not known. `root` as for dvit_cgroup_memory. */
long long dvit_memory_available(const char *root);

/* An error that names `what`, how much it takes and how much there is, where it cannot fit. Small
 * amounts are not looked at. */
enum dvit_status dvit_memory_check(size_t size_bytes, const char *what, struct dvit_error *error);

#endif
