/* The functions of one instruction-set level, dvit_<op>_f32_<isa>: what kernels.h declares as table
 * entries, declared once for every level. Only ladder.c and the levels' own files include this. */
#ifndef DVIT_KERNELS_KERNEL_NAMES_H
#define DVIT_KERNELS_KERNEL_NAMES_H

#include "kernels/kernels.h"

/* clang-format off */
#define DVIT_DECLARE_KERNELS(isa)                                                                  \
    void dvit_layer_norm_f32_##isa(float *y, float *mean, float *rstd, const float *x,             \
        const float *weight, const float *bias, size_t rows, size_t width, float eps);             \
    void dvit_layer_norm_backward_data_f32_##isa(float *dx, const float *dy, const float *x,       \
        const float *mean, const float *rstd, const float *weight, size_t rows, size_t width,      \
        bool accumulate);                                                                          \
    void dvit_layer_norm_backward_weights_f32_##isa(float *dweight, float *dbias, const float *dy, \
        const float *x, const float *mean, const float *rstd, size_t rows, size_t width,           \
        size_t first, size_t last);                                                                \
    void dvit_gelu_f32_##isa(float *y, const float *x, size_t count);                              \
    void dvit_gelu_backward_f32_##isa(float *dx, const float *dy, const float *x, size_t count);   \
    void dvit_add_scaled_f32_##isa(float *y, const float *a, const float *b, float scale,          \
        size_t count);                                                                             \
    void dvit_to_bf16_f32_##isa(uint16_t *y, const float *x, size_t count);                        \
    void dvit_quantise_f32_##isa(uint8_t *y, const float *x, size_t count,                         \
        struct dvit_quantised to);                                                                 \
    void dvit_column_sums_f32_##isa(float *sums, const float *x, size_t rows, size_t width,        \
        size_t first, size_t last);                                                                \
    size_t dvit_attention_scratch_f32_##isa(const struct dvit_attention_shape *shape);             \
    void dvit_attention_f32_##isa(const struct dvit_attention_job *job,                            \
        const struct dvit_attention_shape *shape, float *scratch);                                 \
    void dvit_attention_masked_f32_##isa(float *out, const struct dvit_attention_rows *x,          \
        const float *policy, const struct dvit_attention_shape *shape, float *scratch);            \
    void dvit_attention_masked_backward_f32_##isa(float *dq, float *dk, float *dv, float *dpolicy, \
        const float *dout, const float *out, const struct dvit_attention_rows *x,                  \
        const float *policy, const struct dvit_attention_shape *shape, float *scratch);            \
    void dvit_adamw_f32_##isa(float *weight, float *moment1, float *moment2,                       \
        const float *gradient, size_t count, const struct dvit_adamw_step *step);                  \
    void dvit_lamb_direction_f32_##isa(float *gradient, float *moment1, float *moment2,            \
        const float *weight, size_t count, const struct dvit_adamw_step *step);                    \
    void dvit_sgd_f32_##isa(float *weight, float *moment, const float *gradient, size_t count,     \
        const struct dvit_sgd_step *step);                                                         \
    void dvit_ema_f32_##isa(float *average, const float *value, float decay, size_t count);        \
    double dvit_sum_squares_f32_##isa(const float *x, size_t count)

#define DVIT_DECLARE_KERNELS_BF16(isa)                                                             \
    void dvit_attention_bf16_##isa(const struct dvit_attention_job *job,                           \
        const struct dvit_attention_shape *shape, float *scratch);                                 \
    void dvit_attention_masked_bf16_##isa(float *out, const struct dvit_attention_rows *x,         \
        const float *policy, const struct dvit_attention_shape *shape, float *scratch);            \
    void dvit_attention_masked_backward_bf16_##isa(float *dq, float *dk, float *dv,                \
        float *dpolicy, const float *dout, const float *out, const struct dvit_attention_rows *x,  \
        const float *policy, const struct dvit_attention_shape *shape, float *scratch)

#define DVIT_DECLARE_KERNELS_INT8(isa)                                                             \
    void dvit_attention_int8_##isa(const struct dvit_attention_job *job,                           \
        const struct dvit_attention_shape *shape, float *scratch)

DVIT_DECLARE_KERNELS(ref);
DVIT_DECLARE_KERNELS_BF16(ref);
DVIT_DECLARE_KERNELS_INT8(ref);
#if defined(DVIT_HAVE_X86)
DVIT_DECLARE_KERNELS(sse2);
DVIT_DECLARE_KERNELS(avx2);
DVIT_DECLARE_KERNELS(avx512);
DVIT_DECLARE_KERNELS_BF16(avx512);
DVIT_DECLARE_KERNELS_INT8(avx512);
#endif
/* clang-format on */

#endif
