/* Matrix products in plain C with double accumulators: the definition that oneDNN's are tested
 * against, and the fallback where oneDNN is absent. Any row count runs; nothing is packed, but that
 * weights of 8 bits are bytes [outputs][inputs] behind their scales [outputs]. */
#include <stdlib.h>
#include <string.h>

#include "kernels/kernel_names.h"
#include "kernels/matmul_backend.h"
#include "kernels/packed/quantise.h"
#include "kernels/ref/bfloat16.h"

struct dvit_matmul_plan {
    struct dvit_matmul_shape shape;
};

static enum dvit_status open_plan(struct dvit_matmul_plan **out,
                                  const struct dvit_matmul_shape *shape, enum dvit_cpu cpu,
                                  int threads, struct dvit_error *error)
{
    *out = malloc(sizeof **out);
    if (!*out)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "matrix product: out of memory");
    (*out)->shape = *shape;
    return DVIT_OK;
}

static void close_plan(struct dvit_matmul_plan *plan)
{
    free(plan);
}

static enum dvit_status prepare(struct dvit_matmul_plan *plan, size_t rows,
                                struct dvit_error *error)
{
    return DVIT_OK;
}

static size_t packed_bytes(const struct dvit_matmul_plan *plan)
{
    const struct dvit_matmul_shape *shape = &plan->shape;
    return shape->int8 ? shape->outputs * (sizeof(float) + shape->inputs) : 0;
}

/* Of 8 bits; the only ones that are packed here. */
static enum dvit_status pack(struct dvit_matmul_plan *plan, void *packed, const float *weight,
                             struct dvit_error *error)
{
    const struct dvit_matmul_shape *shape = &plan->shape;
    float *scales = packed;
    int8_t *bytes = (int8_t *)(scales + shape->outputs);
    for (size_t o = 0; o < shape->outputs; o++, weight += shape->inputs, bytes += shape->inputs) {
        scales[o] = dvit_quantise_weight_scale(weight, shape->inputs);
        for (size_t i = 0; i < shape->inputs; i++)
            bytes[i] = dvit_quantise_weight(weight[i], scales[o]);
    }
    return DVIT_OK;
}

static size_t no_scratch(const struct dvit_matmul_plan *plan)
{
    return 0;
}

/* A factor as the product sees it. */
static double factor(const struct dvit_matmul_shape *shape, float x)
{
    return shape->bf16 ? bfloat16_round(x) : x;
}

static double weight_at(const struct dvit_matmul_shape *shape,
                        const struct dvit_matmul_operands *op, size_t index)
{
    return shape->bf16 ? bfloat16_value(((const uint16_t *)op->packed)[index]) : op->weight[index];
}

static size_t row_bytes(const struct dvit_matmul_shape *shape)
{
    return shape->x_stride * dvit_number_bytes(shape->x_number);
}

/* Input i of a row as a byte. */
static int byte_at(const struct dvit_matmul_shape *shape, const void *x, size_t i,
                   struct dvit_quantised q)
{
    return shape->x_number == DVIT_NUMBER_U8 ? ((const uint8_t *)x)[i]
                                             : dvit_quantise(((const float *)x)[i], q);
}

static void forward_int8(const struct dvit_matmul_shape *shape, size_t rows,
                         const struct dvit_matmul_operands *op)
{
    const float *scales = op->packed;
    const int8_t *bytes = (const int8_t *)(scales + shape->outputs);
    const struct dvit_quantised q = op->x_bytes;
    const char *x = op->x;
    float *y = op->y;
    for (size_t r = 0; r < rows; r++, x += row_bytes(shape), y += shape->y_stride)
        for (size_t o = 0; o < shape->outputs; o++) {
            double sum = 0;
            for (size_t i = 0; i < shape->inputs; i++)
                sum += (double)(byte_at(shape, x, i, q) - q.zero) * bytes[o * shape->inputs + i];
            y[o] = (float)(sum * q.scale * scales[o] + (shape->bias ? op->bias[o] : 0));
        }
}

/* Input i of a row as the product sees it. */
static double input_at(const struct dvit_matmul_shape *shape, const void *x, size_t i)
{
    return shape->x_number == DVIT_NUMBER_BF16 ? bfloat16_value(((const uint16_t *)x)[i])
                                               : factor(shape, ((const float *)x)[i]);
}

static void forward(const struct dvit_matmul_shape *shape, size_t rows,
                    const struct dvit_matmul_operands *op)
{
    const char *x = op->x;
    float *y = op->y;
    for (size_t r = 0; r < rows; r++, x += row_bytes(shape), y += shape->y_stride)
        for (size_t o = 0; o < shape->outputs; o++) {
            double sum = shape->bias ? op->bias[o] : 0;
            for (size_t i = 0; i < shape->inputs; i++)
                sum += input_at(shape, x, i) * weight_at(shape, op, o * shape->inputs + i);
            y[o] = (float)sum;
        }
}

static void data(const struct dvit_matmul_shape *shape, size_t rows,
                 const struct dvit_matmul_operands *op)
{
    for (size_t r = 0; r < rows; r++) {
        const float *y = (const float *)op->y + r * shape->y_stride;
        float *x = (float *)op->x + r * shape->x_stride;
        for (size_t i = 0; i < shape->inputs; i++) {
            double sum = shape->accumulate ? x[i] : 0;
            for (size_t o = 0; o < shape->outputs; o++)
                sum += factor(shape, y[o]) * weight_at(shape, op, o * shape->inputs + i);
            x[i] = (float)sum;
        }
    }
}

static void weight(const struct dvit_matmul_shape *shape, size_t rows,
                   const struct dvit_matmul_operands *op)
{
    const float *x = op->x, *y = op->y;
    for (size_t o = 0; o < shape->outputs; o++) {
        for (size_t i = 0; i < shape->inputs; i++) {
            double sum = op->weight[o * shape->inputs + i];
            for (size_t r = 0; r < rows; r++)
                sum += factor(shape, y[r * shape->y_stride + o]) *
                       factor(shape, x[r * shape->x_stride + i]);
            op->weight[o * shape->inputs + i] = (float)sum;
        }
    }
}

static enum dvit_status run(const struct dvit_matmul_plan *plan, int member, size_t rows,
                            const struct dvit_matmul_operands *operands)
{
    switch (plan->shape.kind) {
    case DVIT_MATMUL_FORWARD:
        (plan->shape.int8 ? forward_int8 : forward)(&plan->shape, rows, operands);
        break;
    case DVIT_MATMUL_DATA:
        data(&plan->shape, rows, operands);
        break;
    case DVIT_MATMUL_WEIGHT:
        weight(&plan->shape, rows, operands);
        break;
    }
    return DVIT_OK;
}

const struct dvit_matmul_backend dvit_matmul_reference = {
    .name = "plain C",
    .open = open_plan,
    .close = close_plan,
    .prepare = prepare,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .scratch_bytes = no_scratch,
    .run = run,
};
