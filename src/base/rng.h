/* Counter-based random numbers (Philox 4x32-10, Salmon et al. 2011).
 *
 * A stream is a pure function of (seed, purpose, step, index): nothing is carried from one step to
 * the next, so work may be split among threads and machines, and resumed anywhere, without changing
 * a single draw. */
#ifndef DVIT_BASE_RNG_H
#define DVIT_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* What a stream is for; two purposes never share numbers. Append only: checkpoints depend on it. */
enum dvit_rng_purpose {
    DVIT_RNG_INIT = 1,    /* parameter initialisation: step 0, index = parameter */
    DVIT_RNG_SHUFFLE,     /* order of a data set: step = epoch */
    DVIT_RNG_AUGMENT,     /* step = epoch, index = sample */
    DVIT_RNG_GUMBEL,      /* step = iteration, index = image · stages + stage */
    DVIT_RNG_DROP_PATH,   /* step = iteration, index = image */
    DVIT_RNG_SCENE,       /* built-in data set: index = image */
    DVIT_RNG_BENCH_INPUT, /* synthetic pixels */
    DVIT_RNG_TEST,
    DVIT_RNG_MIX,   /* mixup and cutmix: step = epoch, index = batch */
    DVIT_RNG_KEEP,  /* elastic keep ratio: step = iteration */
    DVIT_RNG_PRUNE, /* random pruning: step = hash of the image, index = place */
};

struct dvit_rng {
    uint32_t key[2];
    uint32_t counter[4]; /* [0] draw block, [1] index, [2..3] step */
    uint32_t block[4];
    unsigned used; /* words of block already handed out */
};

struct dvit_rng dvit_rng_stream(uint64_t seed, enum dvit_rng_purpose purpose, uint64_t step,
                                uint32_t index);

uint32_t dvit_rng_u32(struct dvit_rng *rng);
/* Uniform in [0, bound), unbiased; bound ≥ 1. */
uint32_t dvit_rng_below(struct dvit_rng *rng, uint32_t bound);
/* Uniform in [0, 1), 53 bits. */
double dvit_rng_uniform(struct dvit_rng *rng);
double dvit_rng_range(struct dvit_rng *rng, double low, double high);
/* Standard normal (Box–Muller). */
double dvit_rng_normal(struct dvit_rng *rng);
/* Normal(0, deviation) truncated to ±2 deviations' absolute bound ±2, as timm's trunc_normal_. */
double dvit_rng_truncated_normal(struct dvit_rng *rng, double deviation);
/* Standard Gumbel: −ln(−ln U), U in (0, 1). */
double dvit_rng_gumbel(struct dvit_rng *rng);
/* Fisher–Yates: order[i] = a permutation of 0 … count−1. */
void dvit_rng_permutation(struct dvit_rng *rng, uint32_t *order, uint32_t count);

#endif
