/* Matrix products in plain C with double accumulators: the definition that oneDNN's are tested
 * against, and the fallback where oneDNN is absent. Any row count runs; nothing is packed. */
#include <stdlib.h>
#include <string.h>

#include "kernels/kernel_names.h"
#include "kernels/matmul_backend.h"

static double from_bf16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

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

static size_t no_bytes(const struct dvit_matmul_plan *plan)
{
    return 0;
}

static enum dvit_status pack(struct dvit_matmul_plan *plan, void *packed, const float *weight,
                             struct dvit_error *error)
{
    return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                          "the reference matrix product has no packed layout");
}

/* A factor as the product sees it. */
static double factor(const struct dvit_matmul_shape *shape, float x)
{
    uint16_t half;
    if (!shape->bf16)
        return x;
    dvit_to_bf16_f32_ref(&half, &x, 1);
    return from_bf16(half);
}

static double weight_at(const struct dvit_matmul_shape *shape,
                        const struct dvit_matmul_operands *op, size_t index)
{
    return shape->bf16 ? from_bf16(((const uint16_t *)op->packed)[index]) : op->weight[index];
}

static void forward(const struct dvit_matmul_shape *shape, size_t rows,
                    const struct dvit_matmul_operands *op)
{
    for (size_t r = 0; r < rows; r++) {
        const float *x = op->x + r * shape->x_stride;
        for (size_t o = 0; o < shape->outputs; o++) {
            double sum = shape->bias ? op->bias[o] : 0;
            for (size_t i = 0; i < shape->inputs; i++)
                sum += factor(shape, x[i]) * weight_at(shape, op, o * shape->inputs + i);
            op->y[r * shape->y_stride + o] = (float)sum;
        }
    }
}

static void data(const struct dvit_matmul_shape *shape, size_t rows,
                 const struct dvit_matmul_operands *op)
{
    for (size_t r = 0; r < rows; r++) {
        const float *y = op->y + r * shape->y_stride;
        float *x = op->x + r * shape->x_stride;
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
    for (size_t o = 0; o < shape->outputs; o++) {
        for (size_t i = 0; i < shape->inputs; i++) {
            double sum = op->weight[o * shape->inputs + i];
            for (size_t r = 0; r < rows; r++)
                sum += factor(shape, op->y[r * shape->y_stride + o]) *
                       factor(shape, op->x[r * shape->x_stride + i]);
            op->weight[o * shape->inputs + i] = (float)sum;
        }
    }
}

static enum dvit_status run(const struct dvit_matmul_plan *plan, int member, size_t rows,
                            const struct dvit_matmul_operands *operands)
{
    switch (plan->shape.kind) {
    case DVIT_MATMUL_FORWARD:
        forward(&plan->shape, rows, operands);
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
    .open = open_plan,
    .close = close_plan,
    .prepare = prepare,
    .packed_bytes = no_bytes,
    .pack = pack,
    .scratch_bytes = no_bytes,
    .run = run,
};
