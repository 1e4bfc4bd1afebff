/* Numbers of any format (kernels/format.h), one at a time, as the definitions read and write them.
 */
#ifndef DVIT_KERNELS_REF_NUMBER_H
#define DVIT_KERNELS_REF_NUMBER_H

#include "kernels/format.h"
#include "kernels/ref/bfloat16.h"

/* Number `index` of an array of floats or bfloat16. */
static inline float number_at(const void *array, size_t index, enum dvit_number number)
{
    return number == DVIT_NUMBER_BF16 ? bfloat16_value(((const uint16_t *)array)[index])
                                      : ((const float *)array)[index];
}

static inline void number_put(void *array, size_t index, float x, const struct dvit_format *format)
{
    if (format->number == DVIT_NUMBER_BF16)
        ((uint16_t *)array)[index] = bfloat16_of(x);
    else if (format->number == DVIT_NUMBER_U8)
        ((uint8_t *)array)[index] = dvit_quantise(x, format->bytes);
    else
        ((float *)array)[index] = x;
}

#endif
