/* Philox 4x32-10 and the few distributions dvit needs. */
#include "base/rng.h"

#include <math.h>

static void philox(const uint32_t key_in[2], const uint32_t in[4], uint32_t out[4])
{
    uint32_t k0 = key_in[0], k1 = key_in[1];
    uint32_t c0 = in[0], c1 = in[1], c2 = in[2], c3 = in[3];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

struct dvit_rng dvit_rng_stream(uint64_t seed, enum dvit_rng_purpose purpose, uint64_t step,
                                uint32_t index)
{
    /* The purpose is folded into the key through one Philox round of its own, so that neighbouring
     * seeds and purposes do not give neighbouring keys. */
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t label[4] = {(uint32_t)purpose, 0x64766974u, 0, 0};
    uint32_t mixed[4];
    philox(key, label, mixed);
    struct dvit_rng rng = {
        .key = {mixed[0], mixed[1]},
        .counter = {0, index, (uint32_t)step, (uint32_t)(step >> 32)},
        .used = 4,
    };
    return rng;
}

uint32_t dvit_rng_u32(struct dvit_rng *rng)
{
    if (rng->used == 4) {
        philox(rng->key, rng->counter, rng->block);
        rng->counter[0]++;
        rng->used = 0;
    }
    return rng->block[rng->used++];
}

uint32_t dvit_rng_below(struct dvit_rng *rng, uint32_t bound)
{
    uint32_t threshold = (0u - bound) % bound; /* Lemire: reject the short first interval */
    for (;;) {
        uint64_t product = (uint64_t)dvit_rng_u32(rng) * bound;
        if ((uint32_t)product >= threshold)
            return (uint32_t)(product >> 32);
    }
}

double dvit_rng_uniform(struct dvit_rng *rng)
{
    uint64_t high = dvit_rng_u32(rng) >> 5, low = dvit_rng_u32(rng) >> 6;
    return (double)(high << 26 | low) * 0x1p-53;
}

double dvit_rng_range(struct dvit_rng *rng, double low, double high)
{
    return low + (high - low) * dvit_rng_uniform(rng);
}

double dvit_rng_normal(struct dvit_rng *rng)
{
    const double two_pi = 6.283185307179586476925;
    double u = 1.0 - dvit_rng_uniform(rng); /* (0, 1] */
    double angle = two_pi * dvit_rng_uniform(rng);
    return sqrt(-2.0 * log(u)) * cos(angle);
}

double dvit_rng_truncated_normal(struct dvit_rng *rng, double deviation)
{
    for (;;) {
        double value = deviation * dvit_rng_normal(rng);
        if (fabs(value) <= 2.0)
            return value;
    }
}

double dvit_rng_gumbel(struct dvit_rng *rng)
{
    double u = (dvit_rng_uniform(rng) * 0x1p53 + 0.5) * 0x1p-53; /* never 0; 1 only by rounding */
    if (u >= 1.0)
        u = 1.0 - 0x1p-53;
    return -log(-log(u));
}

void dvit_rng_permutation(struct dvit_rng *rng, uint32_t *order, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t j = dvit_rng_below(rng, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}
