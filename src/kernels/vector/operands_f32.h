/* Operands of attention's products, where they are floats: README.md has the meaning of the words.
 */
#ifndef DVIT_KERNELS_VECTOR_OPERANDS_F32_H
#define DVIT_KERNELS_VECTOR_OPERANDS_F32_H

#include "kernels/vector/exponential.h"

#define GRAIN 1

static inline vec load_granules(const float *p, size_t n, float scale)
{
    return vec_load_part(p, n) * vec_set(scale);
}

static inline vec load_row_granules(const float *p, size_t stride, size_t rows, size_t n)
{
    (void)stride, (void)rows;
    return vec_load_part(p, n);
}

static inline vec multiply_add(vec a, vec b, vec c)
{
    return vec_fma(a, b, c);
}

/* --- of inference -------------------------------------------------------------------------------
 */

#include "kernels/vector/inference_sizes.h"

static inline vec take_granules(const void *row, size_t first, size_t width,
                                enum dvit_number number)
{
    (void)number; /* floats */
    return vec_load_part((const float *)row + first, width - first);
}

static inline vec take_row_granules(const struct number_rows *rows, size_t row, size_t last,
                                    size_t first, size_t width)
{
    (void)last;
    return vec_load_part((const float *)number_row(rows, row) + first, width - first);
}

#include "kernels/vector/inference_floats.h"

static inline void store_weights(float *row, size_t v, const vec *e)
{
    vec_store(row + v * VEC_WIDTH, e[0]);
    vec_store(row + (v + 1) * VEC_WIDTH, e[1]);
}

static inline vec weight_exp2(vec t)
{
    return vec_exp2(t);
}

struct result_format {
    char floats_only;
};

static inline struct result_format result_format_of(const struct dvit_format *format)
{
    (void)format;
    return (struct result_format){0};
}

static inline void store_result(void *row, size_t column, vec v, size_t n,
                                const struct result_format *format)
{
    (void)format;
    vec_store_part((float *)row + column, v, n);
}

#endif
