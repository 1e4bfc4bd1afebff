/* How 8-bit products round: the same few operations in the definition and at every vector level, so
 * that all of them multiply the same bytes. */
#ifndef DVIT_KERNELS_PACKED_QUANTISE_H
#define DVIT_KERNELS_PACKED_QUANTISE_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* x ≈ scale · (byte − zero), byte in 0 … 255. */
struct dvit_quantised {
    float scale;
    int32_t zero;
};

/* Whether a scale can belong to a trained network: 8 bits of a larger one reach beyond 10⁸, and
 * sums of such products, or of a smaller one's, leave the range of a float. */
static inline bool dvit_quantise_is_usable(float scale)
{
    return scale >= 1e-30f && scale <= 1e6f; /* NaN is neither */
}

/* Covers lowest … highest, and 0 exactly. Nothing but tiny numbers count as 0; a range that is not
 * finite has no scale: NaN. */
static inline struct dvit_quantised dvit_quantise_range(float lowest, float highest)
{
    float low = lowest < 0.0f ? lowest : 0.0f, high = highest > 0.0f ? highest : 0.0f;
    float scale = (high - low) * (1.0f / 255.0f);
    if (!(scale > 1e-36f && scale < INFINITY))
        return (struct dvit_quantised){scale <= 1e-36f ? 1.0f : NAN, 0};
    return (struct dvit_quantised){scale, (int32_t)lrintf(-low / scale)};
}

/* Saturates; NaN counts as the lowest. */
static inline uint8_t dvit_quantise(float x, struct dvit_quantised q)
{
    float byte = fmaf(x, 1.0f / q.scale, (float)q.zero);
    byte = byte > 0.0f ? byte : 0.0f;
    return (uint8_t)lrintf(byte < 255.0f ? byte : 255.0f);
}

/* weight ≈ scale · byte, byte in −127 … 127: of one output's weights. The scale has 17 significant
 * bits, so that scale · byte is exact: weights that are such products have the same scale and bytes
 * again. */
static inline float dvit_quantise_weight_scale(const float *weight, size_t count)
{
    float largest = 0.0f;
    for (size_t i = 0; i < count; i++)
        largest = fabsf(weight[i]) > largest ? fabsf(weight[i]) : largest;
    if (!(largest > 1e-36f))
        return 1.0f;
    float scale = largest / 127.0f;
    uint32_t bits;
    memcpy(&bits, &scale, sizeof bits);
    bits = (bits + 0x40) & ~(uint32_t)0x7f;
    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

static inline int8_t dvit_quantise_weight(float weight, float scale)
{
    float scaled = weight / scale;
    scaled = scaled > -127.0f ? scaled : -127.0f;
    return (int8_t)lrintf(scaled < 127.0f ? scaled : 127.0f);
}

#endif
