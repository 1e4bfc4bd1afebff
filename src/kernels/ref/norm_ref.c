/* Layer normalisation, plain C with double accumulators: the definition that the vector levels are
 * tested against (docs/MATH.md). One row at a time; knows nothing of threads or batches. */
#include <math.h>

#include "kernels/kernel_names.h"

void dvit_layer_norm_f32_ref(float *y, float *mean, float *rstd, const float *x,
                             const float *weight, const float *bias, size_t rows, size_t width,
                             float eps)
{
    for (size_t r = 0; r < rows; r++) {
        const float *in = x + r * width;
        float *out = y + r * width;
        double sum = 0, squares = 0;
        for (size_t c = 0; c < width; c++)
            sum += in[c];
        double mu = sum / (double)width;
        for (size_t c = 0; c < width; c++)
            squares += (in[c] - mu) * (in[c] - mu);
        double scale = 1 / sqrt(squares / (double)width + eps);
        for (size_t c = 0; c < width; c++)
            out[c] = (float)((in[c] - mu) * scale * weight[c] + bias[c]);
        if (mean) {
            mean[r] = (float)mu;
            rstd[r] = (float)scale;
        }
    }
}

/* dx = rstd·(g − mean(g) − x̂·mean(g·x̂)) with g = dy·weight. */
void dvit_layer_norm_backward_data_f32_ref(float *dx, const float *dy, const float *x,
                                           const float *mean, const float *rstd,
                                           const float *weight, size_t rows, size_t width,
                                           bool accumulate)
{
    for (size_t r = 0; r < rows; r++) {
        const float *in = x + r * width, *grad = dy + r * width;
        float *out = dx + r * width;
        double mu = mean[r], scale = rstd[r], sum = 0, dot = 0;
        for (size_t c = 0; c < width; c++) {
            double g = (double)grad[c] * weight[c];
            sum += g;
            dot += g * (in[c] - mu) * scale;
        }
        sum /= (double)width;
        dot /= (double)width;
        for (size_t c = 0; c < width; c++) {
            double g = (double)grad[c] * weight[c];
            double d = scale * (g - sum - (in[c] - mu) * scale * dot);
            out[c] = (float)(accumulate ? out[c] + d : d);
        }
    }
}

void dvit_layer_norm_backward_weights_f32_ref(float *dweight, float *dbias, const float *dy,
                                              const float *x, const float *mean, const float *rstd,
                                              size_t rows, size_t width, size_t first, size_t last)
{
    for (size_t c = first; c < last; c++) {
        double dw = 0, db = 0;
        for (size_t r = 0; r < rows; r++) {
            double g = dy[r * width + c];
            dw += g * ((double)x[r * width + c] - mean[r]) * rstd[r];
            db += g;
        }
        dweight[c] = (float)(dweight[c] + dw);
        dbias[c] = (float)(dbias[c] + db);
    }
}
