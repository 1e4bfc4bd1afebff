/* A fingerprint of bytes: fast, the same on every run, good at noticing damage and change, no
 * protection against someone who wants two contents to have the same. */
#ifndef DVIT_BASE_HASH_H
#define DVIT_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Of `size_bytes` bytes after whatever `seed` stands for: pass a former result to go on. */
uint64_t dvit_hash(uint64_t seed, const void *data, size_t size_bytes);

#endif
