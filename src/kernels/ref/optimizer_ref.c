/* Optimiser arithmetic, plain C in double: AdamW, LAMB, gradient descent, moving average, sum
 * of squares. The schedule, the
 * parameter groups and the decision to skip a step belong to train/. */
#include <math.h>

#include "kernels/kernel_names.h"

void dvit_adamw_f32_ref(float *weight, float *moment1, float *moment2, const float *gradient,
                        size_t count, const struct dvit_adamw_step *step)
{
    double rate = step->learning_rate, beta1 = step->beta1, beta2 = step->beta2;
    for (size_t i = 0; i < count; i++) {
        double g = (double)gradient[i] * step->gradient_scale;
        double m = beta1 * moment1[i] + (1 - beta1) * g;
        double v = beta2 * moment2[i] + (1 - beta2) * g * g;
        moment1[i] = (float)m;
        moment2[i] = (float)v;
        if (rate != 0)
            weight[i] = (float)(weight[i] * (1 - rate * step->weight_decay) -
                                rate * (m / step->bias1) / (sqrt(v / step->bias2) + step->eps));
    }
}

void dvit_lamb_direction_f32_ref(float *gradient, float *moment1, float *moment2,
                                 const float *weight, size_t count,
                                 const struct dvit_adamw_step *step)
{
    double beta1 = step->beta1, beta2 = step->beta2;
    for (size_t i = 0; i < count; i++) {
        double g = (double)gradient[i] * step->gradient_scale;
        double m = beta1 * moment1[i] + (1 - beta1) * g;
        double v = beta2 * moment2[i] + (1 - beta2) * g * g;
        moment1[i] = (float)m;
        moment2[i] = (float)v;
        gradient[i] = (float)((m / step->bias1) / (sqrt(v / step->bias2) + step->eps) +
                              (double)step->weight_decay * weight[i]);
    }
}

void dvit_sgd_f32_ref(float *weight, float *moment, const float *gradient, size_t count,
                      const struct dvit_sgd_step *step)
{
    double rate = step->learning_rate, momentum = step->momentum;
    for (size_t i = 0; i < count; i++) {
        double g =
            (double)gradient[i] * step->gradient_scale + (double)step->weight_decay * weight[i];
        double m = momentum * moment[i] + g;
        moment[i] = (float)m;
        if (rate != 0)
            weight[i] = (float)(weight[i] - rate * (step->nesterov ? g + momentum * m : m));
    }
}

void dvit_ema_f32_ref(float *average, const float *value, float decay, size_t count)
{
    for (size_t i = 0; i < count; i++)
        average[i] = (float)((double)decay * average[i] + (1 - (double)decay) * value[i]);
}

double dvit_sum_squares_f32_ref(const float *x, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)x[i] * x[i];
    return sum;
}
