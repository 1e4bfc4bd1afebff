/* Template: AdamW, LAMB, gradient descent, moving average, sum of squares. Compiled once per level.
 */
#ifndef DVIT_KERNELS_VECTOR_OPTIMIZER_H
#define DVIT_KERNELS_VECTOR_OPTIMIZER_H

#include "kernels/kernel_names.h"

void KERNEL(adamw)(float *weight, float *moment1, float *moment2, const float *gradient,
                   size_t count, const struct dvit_adamw_step *step)
{
    const vec beta1 = vec_set(step->beta1), beta2 = vec_set(step->beta2);
    const vec rest1 = vec_set(1.0f - step->beta1), rest2 = vec_set(1.0f - step->beta2);
    const vec scale = vec_set(step->gradient_scale), eps = vec_set(step->eps);
    const vec decay = vec_set(-step->learning_rate * step->weight_decay);
    const vec rate = vec_set(-step->learning_rate / step->bias1);
    const vec inverse_bias2 = vec_set(1.0f / step->bias2);
    const bool update = step->learning_rate != 0;
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        size_t n = count - i;
        vec g = vec_load_part(gradient + i, n) * scale;
        vec m = vec_fma(beta1, vec_load_part(moment1 + i, n), rest1 * g);
        vec v = vec_fma(beta2, vec_load_part(moment2 + i, n), rest2 * g * g);
        vec_store_part(moment1 + i, m, n);
        vec_store_part(moment2 + i, v, n);
        if (!update)
            continue;
        vec w = vec_load_part(weight + i, n);
        vec change = vec_fma(rate, m / (vec_sqrt(v * inverse_bias2) + eps), decay * w);
        vec_store_part(weight + i, w + change, n);
    }
}

void KERNEL(lamb_direction)(float *gradient, float *moment1, float *moment2, const float *weight,
                            size_t count, const struct dvit_adamw_step *step)
{
    const vec beta1 = vec_set(step->beta1), beta2 = vec_set(step->beta2);
    const vec rest1 = vec_set(1.0f - step->beta1), rest2 = vec_set(1.0f - step->beta2);
    const vec scale = vec_set(step->gradient_scale), eps = vec_set(step->eps);
    const vec decay = vec_set(step->weight_decay);
    const vec inverse_bias1 = vec_set(1.0f / step->bias1);
    const vec inverse_bias2 = vec_set(1.0f / step->bias2);
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        size_t n = count - i;
        vec g = vec_load_part(gradient + i, n) * scale;
        vec m = vec_fma(beta1, vec_load_part(moment1 + i, n), rest1 * g);
        vec v = vec_fma(beta2, vec_load_part(moment2 + i, n), rest2 * g * g);
        vec_store_part(moment1 + i, m, n);
        vec_store_part(moment2 + i, v, n);
        vec adam = m * inverse_bias1 / (vec_sqrt(v * inverse_bias2) + eps);
        vec_store_part(gradient + i, vec_fma(decay, vec_load_part(weight + i, n), adam), n);
    }
}

void KERNEL(sgd)(float *weight, float *moment, const float *gradient, size_t count,
                 const struct dvit_sgd_step *step)
{
    const vec momentum = vec_set(step->momentum), scale = vec_set(step->gradient_scale);
    const vec decay = vec_set(step->weight_decay), rate = vec_set(-step->learning_rate);
    const vec ahead = vec_set(step->nesterov ? step->momentum : 1.0f);
    const vec own = vec_set(step->nesterov ? 1.0f : 0.0f);
    const bool update = step->learning_rate != 0;
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        size_t n = count - i;
        vec w = vec_load_part(weight + i, n);
        vec g = vec_fma(decay, w, vec_load_part(gradient + i, n) * scale);
        vec m = vec_fma(momentum, vec_load_part(moment + i, n), g);
        vec_store_part(moment + i, m, n);
        if (update)
            vec_store_part(weight + i, vec_fma(rate, vec_fma(ahead, m, own * g), w), n);
    }
}

/* In this form an average that equals the value stays as it is, with and without fused products. */
void KERNEL(ema)(float *average, const float *value, float decay, size_t count)
{
    const vec rest = vec_set(1.0f - decay);
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        size_t n = count - i;
        vec old = vec_load_part(average + i, n);
        vec_store_part(average + i, vec_fma(rest, vec_load_part(value + i, n) - old, old), n);
    }
}

double KERNEL(sum_squares)(const float *x, size_t count)
{
    wide sum = wide_zero();
    for (size_t i = 0; i < count; i += VEC_WIDTH)
        sum = wide_add_squares(sum, vec_load_part(x + i, count - i));
    return wide_sum(sum);
}

#endif
