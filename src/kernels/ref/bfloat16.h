/* bfloat16 as the definitions use it: the upper half of a float, rounded to nearest, ties to even;
 * NaN stays NaN. */
#ifndef DVIT_KERNELS_REF_BFLOAT16_H
#define DVIT_KERNELS_REF_BFLOAT16_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t bfloat16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    return (uint16_t)((isnan(x) ? bits | 0x400000 : rounded) >> 16);
}

static inline float bfloat16_value(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* x as a factor of a product of bfloat16 numbers. */
static inline float bfloat16_round(float x)
{
    return bfloat16_value(bfloat16_of(x));
}

#endif
