/* The word that takes RGB apart, for every x86 level: 48 bytes through 16-byte shuffles. */
#ifndef DVIT_IMAGE_SPLIT_PIXELS_H
#define DVIT_IMAGE_SPLIT_PIXELS_H

#include <immintrin.h>

/* The bytes of one channel from the three parts; `masks` say where they are in each. */
static inline __m128i one_channel(__m128i a, __m128i b, __m128i c, const signed char masks[3][16])
{
    const __m128i *m = (const __m128i *)masks;
    __m128i from_a = _mm_shuffle_epi8(a, _mm_loadu_si128(m));
    __m128i from_b = _mm_shuffle_epi8(b, _mm_loadu_si128(m + 1));
    __m128i from_c = _mm_shuffle_epi8(c, _mm_loadu_si128(m + 2));
    return _mm_or_si128(_mm_or_si128(from_a, from_b), from_c);
}

static inline void split_pixels(const unsigned char *rgb, unsigned char planes[3][16])
{
    static const signed char masks[3][3][16] = {
        {{0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1},
         {-1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14, -1, -1, -1, -1, -1},
         {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1, 4, 7, 10, 13}},
        {{1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1},
         {-1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1},
         {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14}},
        {{2, 5, 8, 11, 14, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1},
         {-1, -1, -1, -1, -1, 1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1},
         {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15}},
    };
    const __m128i *from = (const __m128i *)rgb;
    __m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1), c = _mm_loadu_si128(from + 2);
    for (int channel = 0; channel < 3; channel++)
        _mm_storeu_si128((__m128i *)planes[channel], one_channel(a, b, c, masks[channel]));
}

#endif
