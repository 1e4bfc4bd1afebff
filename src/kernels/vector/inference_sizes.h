/* Template: what the attention of inference lays out in scratch for one head, in the granules of
 * its operands (README.md). Included by the operands' own headers. */
#ifndef DVIT_KERNELS_VECTOR_INFERENCE_SIZES_H
#define DVIT_KERNELS_VECTOR_INFERENCE_SIZES_H

#include <stddef.h>

#include "kernels/kernels.h"

enum {
    BLOCK_ROWS = 2 * PRODUCT_ROWS,
    BLOCK_LANES = (BLOCK_ROWS + VEC_WIDTH - 1) / VEC_WIDTH * VEC_WIDTH, /* one number of each row */
    WEIGHT_VECS = GRAIN > 2 ? GRAIN : 2, /* vectors of a row's scores that become weights at once */
};

/* What one head takes, in granules and vectors. */
struct inference_sizes {
    size_t tokens, width;              /* T, D */
    size_t token_grains, width_grains; /* that T and D numbers take */
    size_t key_vecs, width_vecs;       /* that T and D columns take */
    size_t query_stride;               /* D numbers in whole vectors of granules */
    size_t score_stride;               /* T scores in whole groups of WEIGHT_VECS vectors */
};

struct inference_scratch {
    float *keys;    /* panels of [width_grains][at most PRODUCT_VECS vectors of keys] */
    float *values;  /* [token_grains][width_vecs] */
    float *queries; /* [BLOCK_ROWS][query_stride] */
    float *scores;  /* [BLOCK_ROWS][score_stride]; then, in place, granules of weights */
    float *factor;  /* [BLOCK_LANES] scores times this are exponents of two; > 0 or NaN */
    float *lanes;   /* [BLOCK_LANES][VEC_WIDTH] a vector per row, to become one number each */
    float *max;     /* [BLOCK_LANES] the largest score */
    float *inverse; /* [BLOCK_LANES] 1/Σ weights */
    /* Operands that are bytes have scales: */
    float *key_begin;                /* [key_vecs] as int32: what the sums of a key begin with */
    float *key_scale;                /* [key_vecs] */
    float *key_mean;                 /* [width_vecs] of all keys; they are packed less it */
    float *value_scale, *value_mean; /* [width_vecs] value = scale · byte + mean */
};

static inline size_t ratio_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit;
}

static struct inference_sizes inference_sizes(const struct dvit_attention_shape *shape)
{
    size_t tokens = (size_t)shape->tokens, width = (size_t)shape->head_dim;
    return (struct inference_sizes){
        .tokens = tokens,
        .width = width,
        .token_grains = ratio_up(tokens, GRAIN),
        .width_grains = ratio_up(width, GRAIN),
        .key_vecs = ratio_up(tokens, VEC_WIDTH),
        .width_vecs = ratio_up(width, VEC_WIDTH),
        .query_stride = ratio_up(width, GRAIN * VEC_WIDTH) * VEC_WIDTH,
        .score_stride = ratio_up(tokens, WEIGHT_VECS * VEC_WIDTH) * WEIGHT_VECS * VEC_WIDTH,
    };
}

/* Lays scratch out and returns the floats it takes; base NULL only measures. */
static size_t inference_layout(struct inference_scratch *s, float *base,
                               const struct inference_sizes *n)
{
    const struct {
        float **array;
        size_t count;
    } parts[] = {
        {&s->keys, n->width_grains * n->key_vecs * VEC_WIDTH},
        {&s->values, n->token_grains * n->width_vecs * VEC_WIDTH},
        {&s->queries, BLOCK_ROWS * n->query_stride},
        {&s->scores, BLOCK_ROWS * n->score_stride},
        {&s->factor, BLOCK_LANES},
        {&s->lanes, BLOCK_LANES * VEC_WIDTH},
        {&s->max, BLOCK_LANES},
        {&s->inverse, BLOCK_LANES},
        {&s->key_begin, n->key_vecs * VEC_WIDTH},
        {&s->key_scale, n->key_vecs * VEC_WIDTH},
        {&s->key_mean, n->width_vecs * VEC_WIDTH},
        {&s->value_scale, n->width_vecs * VEC_WIDTH},
        {&s->value_mean, n->width_vecs * VEC_WIDTH},
    };
    const size_t line = 64 / sizeof(float);
    size_t used = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i].array = base ? base + used : NULL;
        used += ratio_up(parts[i].count, line) * line;
    }
    return used;
}

struct piece {
    size_t first, count;
};

/* Part `index` of a whole that is cut into as few parts of at most `most` as will do, nearly equal
 * ones, so that none is a narrow rest. */
static inline struct piece piece_of(size_t whole, size_t most, size_t index)
{
    size_t parts = ratio_up(whole, most), base = whole / parts, extra = whole % parts;
    return (struct piece){index * base + (index < extra ? index : extra), base + (index < extra)};
}

/* Rows of floats or bfloat16, as the job has them. */
struct number_rows {
    const char *first;
    size_t stride; /* bytes */
    enum dvit_number number;
};

/* Rows of `array` from its number `first` on. */
static inline struct number_rows number_rows(const void *array, size_t first, size_t stride,
                                             enum dvit_number number)
{
    size_t bytes = dvit_number_bytes(number);
    return (struct number_rows){(const char *)array + first * bytes, stride * bytes, number};
}

static inline const void *number_row(const struct number_rows *rows, size_t row)
{
    return rows->first + row * rows->stride;
}

#endif
