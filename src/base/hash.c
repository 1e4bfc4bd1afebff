/* A 64-bit hash over four interleaved lanes of words, so that multiplications overlap. Each step is
 * a bijection of its lane, so one changed word always changes the result. Words are read in the
 * machine's byte order: results are for files that stay on such machines. */
#include "base/hash.h"

#include <string.h>

enum { LANES = 4 };

/* splitmix64's finalizer (Steele, Lea and Flood 2014). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t absorb(uint64_t lane, uint64_t word)
{
    lane ^= word;
    return (lane << 29 | lane >> 35) * 0x9e3779b97f4a7c15u;
}

uint64_t dvit_hash(uint64_t seed, const void *data, size_t size_bytes)
{
    const unsigned char *bytes = data;
    uint64_t lanes[LANES], words[LANES];
    size_t at = 0;
    for (int i = 0; i < LANES; i++)
        lanes[i] = mix(seed + 0x9e3779b97f4a7c15u * (uint64_t)(i + 1));
    for (; size_bytes - at >= sizeof words; at += sizeof words) {
        memcpy(words, bytes + at, sizeof words);
        for (int i = 0; i < LANES; i++)
            lanes[i] = absorb(lanes[i], words[i]);
    }
    memset(words, 0, sizeof words);
    if (size_bytes > at)
        memcpy(words, bytes + at, size_bytes - at);
    uint64_t result = mix(seed ^ size_bytes); /* zeros at the end count */
    for (int i = 0; i < LANES; i++)
        result = mix(result ^ absorb(lanes[i], words[i]));
    return result;
}
