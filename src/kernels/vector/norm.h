/* Template: layer normalisation forward and backward. Compiled once per level. */
#ifndef DVIT_KERNELS_VECTOR_NORM_H
#define DVIT_KERNELS_VECTOR_NORM_H

#include <math.h>

#include "kernels/kernel_names.h"

/* Independent partial sums, so that additions do not wait for each other. */
enum { NORM_SUMS = 4 };

static inline float total(const vec *sum)
{
    return vec_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

static inline float row_mean(const float *x, size_t width)
{
    vec sum[NORM_SUMS] = {vec_set(0), vec_set(0), vec_set(0), vec_set(0)};
    size_t c = 0;
    for (; c + NORM_SUMS * VEC_WIDTH <= width; c += NORM_SUMS * VEC_WIDTH)
        for (int s = 0; s < NORM_SUMS; s++)
            sum[s] = sum[s] + vec_load(x + c + s * VEC_WIDTH);
    for (; c < width; c += VEC_WIDTH)
        sum[0] = sum[0] + vec_load_part(x + c, width - c);
    return total(sum) / (float)width;
}

static inline float row_variance(const float *x, float mean, size_t width)
{
    vec sum[NORM_SUMS] = {vec_set(0), vec_set(0), vec_set(0), vec_set(0)};
    vec centre = vec_set(mean);
    size_t c = 0;
    for (; c + NORM_SUMS * VEC_WIDTH <= width; c += NORM_SUMS * VEC_WIDTH) {
        for (int s = 0; s < NORM_SUMS; s++) {
            vec d = vec_load(x + c + s * VEC_WIDTH) - centre;
            sum[s] = vec_fma(d, d, sum[s]);
        }
    }
    for (; c + VEC_WIDTH <= width; c += VEC_WIDTH) {
        vec d = vec_load(x + c) - centre;
        sum[0] = vec_fma(d, d, sum[0]);
    }
    float rest = 0; /* lanes beyond the row would count as −mean */
    for (; c < width; c++)
        rest += (x[c] - mean) * (x[c] - mean);
    return (total(sum) + rest) / (float)width;
}

/* mean and 1/√(var + eps) of a few rows: step by step, so that no row waits for another's sums. */
static inline void row_statistics(float *mean, float *rstd, const float *x, size_t rows,
                                  size_t width, float eps)
{
    for (size_t r = 0; r < rows; r++)
        mean[r] = row_mean(x + r * width, width);
    for (size_t r = 0; r < rows; r++)
        rstd[r] = row_variance(x + r * width, mean[r], width);
    for (size_t r = 0; r < rows; r++)
        rstd[r] = 1.0f / sqrtf(rstd[r] + eps);
}

static inline void normalise_row(float *y, const float *x, float mean, float rstd,
                                 const float *weight, const float *bias, size_t width)
{
    vec centre = vec_set(mean), factor = vec_set(rstd);
    for (size_t c = 0; c < width; c += VEC_WIDTH) {
        size_t n = width - c;
        vec normal = (vec_load_part(x + c, n) - centre) * factor;
        vec scaled = vec_fma(normal, vec_load_part(weight + c, n), vec_load_part(bias + c, n));
        vec_store_part(y + c, scaled, n);
    }
}

void KERNEL(layer_norm)(float *y, float *mean, float *rstd, const float *x, const float *weight,
                        const float *bias, size_t rows, size_t width, float eps)
{
    enum { ROWS = 4 };
    for (size_t first = 0; first < rows; first += ROWS) {
        float m[ROWS], s[ROWS];
        size_t count = rows - first < ROWS ? rows - first : ROWS;
        row_statistics(m, s, x + first * width, count, width, eps);
        for (size_t r = 0; r < count; r++)
            normalise_row(y + (first + r) * width, x + (first + r) * width, m[r], s[r], weight,
                          bias, width);
        for (size_t r = 0; mean && r < count; r++) {
            mean[first + r] = m[r];
            rstd[first + r] = s[r];
        }
    }
}

/* dx = rstd·(g − mean(g) − x̂·mean(g·x̂)) with g = dy·weight. */
void KERNEL(layer_norm_backward_data)(float *dx, const float *dy, const float *x, const float *mean,
                                      const float *rstd, const float *weight, size_t rows,
                                      size_t width, bool accumulate)
{
    for (size_t r = 0; r < rows; r++) {
        const float *in = x + r * width, *grad = dy + r * width;
        float *out = dx + r * width;
        vec centre = vec_set(mean[r]), factor = vec_set(rstd[r]);
        vec sum = vec_set(0), dot = vec_set(0);
        for (size_t c = 0; c < width; c += VEC_WIDTH) { /* beyond the row g is 0 */
            size_t n = width - c;
            vec g = vec_load_part(grad + c, n) * vec_load_part(weight + c, n);
            sum = sum + g;
            dot = vec_fma(g, (vec_load_part(in + c, n) - centre) * factor, dot);
        }
        vec g_mean = vec_set(vec_sum(sum) / (float)width);
        vec dot_mean = vec_set(vec_sum(dot) / (float)width);
        for (size_t c = 0; c < width; c += VEC_WIDTH) {
            size_t n = width - c;
            vec g = vec_load_part(grad + c, n) * vec_load_part(weight + c, n);
            vec normal = (vec_load_part(in + c, n) - centre) * factor;
            vec d = factor * (g - g_mean - normal * dot_mean);
            if (accumulate)
                d = d + vec_load_part(out + c, n);
            vec_store_part(out + c, d, n);
        }
    }
}

void KERNEL(layer_norm_backward_weights)(float *dweight, float *dbias, const float *dy,
                                         const float *x, const float *mean, const float *rstd,
                                         size_t rows, size_t width, size_t first, size_t last)
{
    for (size_t c = first; c < last; c += VEC_WIDTH) {
        size_t n = last - c;
        vec dw = vec_load_part(dweight + c, n), db = vec_load_part(dbias + c, n);
        for (size_t r = 0; r < rows; r++) {
            vec g = vec_load_part(dy + r * width + c, n);
            vec d = vec_load_part(x + r * width + c, n) - vec_set(mean[r]);
            dw = vec_fma(g, d * vec_set(rstd[r]), dw);
            db = db + g;
        }
        vec_store_part(dweight + c, dw, n);
        vec_store_part(dbias + c, db, n);
    }
}

#endif
