/* Template: GELU, its derivative, scaled addition and column sums. Compiled once per level. */
#ifndef DVIT_KERNELS_VECTOR_POINTWISE_H
#define DVIT_KERNELS_VECTOR_POINTWISE_H

#include <string.h>

#include "kernels/kernel_names.h"
#include "kernels/vector/gelu.h"

#define GELU_GRADIENT_LIMIT 5.5f

static inline vec gelu_gradient(vec x)
{
    static const float c[] = {1.287592798e-01f,  -6.574323028e-02f, 5.365853012e-02f,
                              -5.360237509e-02f, 6.040652841e-02f,  -7.027655840e-02f,
                              7.389286160e-02f,  -6.576200575e-02f, 6.512660533e-02f,
                              -7.152692229e-02f, 4.251601920e-02f,  -2.484766999e-03f,
                              9.574442171e-03f,  -2.409029379e-02f, 1.046123821e-02f};
    vec p = polynomial(c, sizeof c / sizeof *c, centred_square(x, GELU_GRADIENT_LIMIT));
    vec g = vec_fma(x, p, vec_set(0.5f));
    g = vec_select_greater(x, vec_set(GELU_GRADIENT_LIMIT), vec_set(1.0f), g);
    return vec_select_greater(vec_set(-GELU_GRADIENT_LIMIT), x, vec_set(0.0f), g);
}

void KERNEL(gelu)(float *y, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i += VEC_WIDTH)
        vec_store_part(y + i, gelu(vec_load_part(x + i, count - i)), count - i);
}

void KERNEL(gelu_backward)(float *dx, const float *dy, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        size_t n = count - i;
        vec_store_part(dx + i, vec_load_part(dy + i, n) * gelu_gradient(vec_load_part(x + i, n)),
                       n);
    }
}

void KERNEL(add_scaled)(float *y, const float *a, const float *b, float scale, size_t count)
{
    vec factor = vec_set(scale);
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        size_t n = count - i;
        vec sum = vec_fma(factor, vec_load_part(b + i, n), vec_load_part(a + i, n));
        vec_store_part(y + i, sum, n);
    }
}

/* Integers only, so that the compiler makes whole vectors of it at this level. */
void KERNEL(to_bf16)(uint16_t *restrict y, const float *restrict x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
        bool nan = (bits & 0x7fffffff) > 0x7f800000;
        y[i] = (uint16_t)((nan ? bits | 0x400000 : rounded) >> 16);
    }
}

void KERNEL(quantise)(uint8_t *y, const float *x, size_t count, struct dvit_quantised to)
{
    vec inverse = vec_set(1.0f / to.scale), zero = vec_set((float)to.zero);
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        vec byte = vec_max(vec_fma(vec_load_part(x + i, count - i), inverse, zero), vec_set(0.0f));
        vec_store_bytes(y + i, vec_min(byte, vec_set(255.0f)), count - i);
    }
}

/* Four columns of vectors at a time, so that a row's cache lines are used while they are here. */
void KERNEL(column_sums)(float *sums, const float *x, size_t rows, size_t width, size_t first,
                         size_t last)
{
    enum { VECS = 4 };
    size_t c = first;
    for (; c + VECS * VEC_WIDTH <= last; c += VECS * VEC_WIDTH) {
        vec sum[VECS];
        for (int v = 0; v < VECS; v++)
            sum[v] = vec_load(sums + c + v * VEC_WIDTH);
        for (size_t r = 0; r < rows; r++)
            for (int v = 0; v < VECS; v++)
                sum[v] = sum[v] + vec_load(x + r * width + c + v * VEC_WIDTH);
        for (int v = 0; v < VECS; v++)
            vec_store(sums + c + v * VEC_WIDTH, sum[v]);
    }
    for (; c < last; c += VEC_WIDTH) {
        vec sum = vec_load_part(sums + c, last - c);
        for (size_t r = 0; r < rows; r++)
            sum = sum + vec_load_part(x + r * width + c, last - c);
        vec_store_part(sums + c, sum, last - c);
    }
}

#endif
