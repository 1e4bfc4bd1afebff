/* Element-wise kernels and column sums, plain C in double: the definition that the vector levels
 * are tested against (docs/MATH.md). */
#include <math.h>
#include <string.h>

#include "kernels/kernel_names.h"
#include "kernels/ref/bfloat16.h"

#define SQRT_HALF        0.70710678118654752440
#define INVERSE_SQRT_2PI 0.39894228040143267794

/* Φ, the standard normal distribution function. erfc keeps its accuracy in the lower tail. */
static double normal_cdf(double x)
{
    return 0.5 * erfc(-x * SQRT_HALF);
}

void dvit_gelu_f32_ref(float *y, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        y[i] = isinf(x[i]) ? fmaxf(x[i], 0) : (float)(x[i] * normal_cdf(x[i]));
}

void dvit_gelu_backward_f32_ref(float *dx, const float *dy, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double v = x[i], density = isinf(v) ? 0 : v * INVERSE_SQRT_2PI * exp(-0.5 * v * v);
        dx[i] = (float)(dy[i] * (normal_cdf(v) + density));
    }
}

void dvit_add_scaled_f32_ref(float *y, const float *a, const float *b, float scale, size_t count)
{
    for (size_t i = 0; i < count; i++)
        y[i] = (float)(a[i] + (double)scale * b[i]);
}

void dvit_to_bf16_f32_ref(uint16_t *y, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        y[i] = bfloat16_of(x[i]);
}

void dvit_quantise_f32_ref(uint8_t *y, const float *x, size_t count, struct dvit_quantised to)
{
    for (size_t i = 0; i < count; i++)
        y[i] = dvit_quantise(x[i], to);
}

void dvit_column_sums_f32_ref(float *sums, const float *x, size_t rows, size_t width, size_t first,
                              size_t last)
{
    for (size_t c = first; c < last; c++) {
        double sum = 0;
        for (size_t r = 0; r < rows; r++)
            sum += x[r * width + c];
        sums[c] = (float)(sums[c] + sum);
    }
}
