/* The most memory that was allocated at once, for tests linked with
 * -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free. */
#ifndef DVIT_PEAK_MEMORY_H
#define DVIT_PEAK_MEMORY_H

#include <stddef.h>

/* From here on; what is allocated already does not count. */
void peak_memory_begin(void);
/* Bytes since begin. */
size_t peak_memory_end(void);

#endif
