/* What the numbers of an activation are: floats, or what a product of lower precision would round
 * them to anyway, so that whoever makes them writes a half or a quarter of the bytes. */
#ifndef DVIT_KERNELS_FORMAT_H
#define DVIT_KERNELS_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/packed/quantise.h"

enum dvit_number {
    DVIT_NUMBER_F32, /* 0, so that what says nothing is floats */
    DVIT_NUMBER_BF16,
    DVIT_NUMBER_U8,
};

struct dvit_format {
    enum dvit_number number;
    struct dvit_quantised bytes; /* U8: number = scale · (byte − zero) */
};

static inline size_t dvit_number_bytes(enum dvit_number number)
{
    return number == DVIT_NUMBER_F32 ? 4 : number == DVIT_NUMBER_BF16 ? 2 : 1;
}

static inline bool dvit_format_same(struct dvit_format a, struct dvit_format b)
{
    return a.number == b.number && (a.number != DVIT_NUMBER_U8 || (a.bytes.scale == b.bytes.scale &&
                                                                   a.bytes.zero == b.bytes.zero));
}

#endif
