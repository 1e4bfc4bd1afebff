/* Counts every allocation of the process while a window is open, shared libraries' included: the
 * executable's own malloc and its relatives stand before the C library's.
 *
 * Who asked is told by the return address: oneDNN allocates inside its own execute call (directly,
 * or through the C++ runtime's operator new), which is not ours to avoid; everything else, also
 * through C library functions, counts as dvit's. */
#ifndef DVIT_TESTS_ALLOCATION_COUNT_H
#define DVIT_TESTS_ALLOCATION_COUNT_H

#include <stdbool.h>

struct allocation_count {
    long ours;    /* dvit, and the C library on its behalf */
    long backend; /* libdnnl, libstdc++, libgomp */
};

/* False where a sanitizer owns malloc, or the C library is not glibc: nothing is counted then. */
bool allocation_count_works(void);
void allocation_count_begin(void);
struct allocation_count allocation_count_end(void);

#endif
