/* dvit's own matrix products, for weights that are packed once and used many times: FORWARD in
 * inference, with all that follows the product in the same pass. Any row count runs without
 * preparation. The arithmetic is the vector levels' (packed/tiles.h); here are the layout of the
 * weight and the choice of the level. */
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/matmul_backend.h"
#include "kernels/packed/packed.h"
#include "kernels/packed/quantise.h"

enum { COLUMNS = DVIT_PACKED_COLUMNS };
_Static_assert(DVIT_MATMUL_RANGE % DVIT_PACKED_COLUMNS == 0, "ranges begin with a panel");

struct dvit_matmul_plan {
    struct dvit_matmul_shape shape;
    dvit_packed_product *product;
    void (*to_bf16)(uint16_t *y, const float *x, size_t count);
    size_t granule; /* inputs in 32 bits */
};

static dvit_packed_product *choose(const struct dvit_matmul_shape *shape, enum dvit_cpu cpu)
{
#if defined(DVIT_HAVE_X86)
    if (shape->int8)
        return cpu >= DVIT_CPU_AVX512 && dvit_cpu_has_vnni() ? dvit_packed_product_u8s8_avx512
                                                             : NULL;
    if (shape->bf16)
        return cpu >= DVIT_CPU_AVX512 && dvit_cpu_has_bf16() ? dvit_packed_product_bf16_avx512
                                                             : NULL;
    if (cpu >= DVIT_CPU_AVX512)
        return dvit_packed_product_f32_avx512;
    if (cpu >= DVIT_CPU_AVX2)
        return dvit_packed_product_f32_avx2;
#endif
    (void)shape, (void)cpu;
    return NULL;
}

bool dvit_matmul_packed_serves(const struct dvit_matmul_shape *shape, enum dvit_cpu cpu)
{
    return shape->kind == DVIT_MATMUL_FORWARD && shape->constant && choose(shape, cpu);
}

static enum dvit_status open_plan(struct dvit_matmul_plan **out,
                                  const struct dvit_matmul_shape *shape, enum dvit_cpu cpu,
                                  int threads, struct dvit_error *error)
{
    struct dvit_kernels kernels;
    (void)threads;
    *out = malloc(sizeof **out);
    if (!*out)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "matrix product: out of memory");
    dvit_kernels_select(&kernels, cpu);
    **out = (struct dvit_matmul_plan){.shape = *shape,
                                      .product = choose(shape, cpu),
                                      .to_bf16 = kernels.to_bf16,
                                      .granule = shape->int8   ? 4
                                                 : shape->bf16 ? 2
                                                               : 1};
    return DVIT_OK;
}

static void close_plan(struct dvit_matmul_plan *plan)
{
    free(plan);
}

static enum dvit_status prepare(struct dvit_matmul_plan *plan, size_t rows,
                                struct dvit_error *error)
{
    (void)plan, (void)rows, (void)error;
    return DVIT_OK;
}

/* --- the packed weight: panels, and for 8 bits scales and sums behind them ----------------------
 */

static size_t padded_outputs(const struct dvit_matmul_plan *plan)
{
    return (plan->shape.outputs + COLUMNS - 1) / COLUMNS * COLUMNS;
}

static size_t panel_bytes(const struct dvit_matmul_plan *plan)
{
    return dvit_packed_steps(plan->shape.inputs, plan->granule) * DVIT_PACKED_STEP_BYTES;
}

static size_t panels_bytes(const struct dvit_matmul_plan *plan)
{
    return padded_outputs(plan) / COLUMNS * panel_bytes(plan);
}

static float *scales_of(const struct dvit_matmul_plan *plan, void *packed)
{
    return (float *)(void *)((char *)packed + panels_bytes(plan));
}

static int32_t *sums_of(const struct dvit_matmul_plan *plan, void *packed)
{
    return (int32_t *)(void *)(scales_of(plan, packed) + padded_outputs(plan));
}

static size_t packed_bytes(const struct dvit_matmul_plan *plan)
{
    size_t behind = plan->shape.int8 ? padded_outputs(plan) * (sizeof(float) + sizeof(int32_t)) : 0;
    return panels_bytes(plan) + behind;
}

/* Inputs whose granules of one output are gathered before they are spread over the panel. */
enum { GATHERED = 64 };

/* Inputs first … first + count − 1 of one output as granules. */
static void gather(const struct dvit_matmul_plan *plan, void *granules, const float *weight,
                   size_t count, float scale)
{
    if (plan->shape.int8)
        for (size_t i = 0; i < count; i++)
            ((int8_t *)granules)[i] = dvit_quantise_weight(weight[i], scale);
    else if (plan->shape.bf16)
        plan->to_bf16(granules, weight, count);
    else
        memcpy(granules, weight, count * sizeof *weight);
}

/* One output's column of its panel, inputs first … first + count − 1. */
static void pack_column(const struct dvit_matmul_plan *plan, char *panel, size_t column,
                        const float *weight, size_t first, size_t count, float scale)
{
    _Alignas(4) char granules[GATHERED * sizeof(float)] = {0};
    size_t steps = dvit_packed_steps(count, plan->granule);
    char *to = panel + first / plan->granule * DVIT_PACKED_STEP_BYTES + column * 4;
    gather(plan, granules, weight + first, count, scale);
    for (size_t k = 0; k < steps; k++, to += DVIT_PACKED_STEP_BYTES)
        memcpy(to, granules + k * 4, 4);
}

static void measure_outputs(const struct dvit_matmul_plan *plan, void *packed, const float *weight)
{
    float *scales = scales_of(plan, packed);
    int32_t *sums = sums_of(plan, packed);
    size_t inputs = plan->shape.inputs;
    memset(scales, 0, padded_outputs(plan) * (sizeof *scales + sizeof *sums));
    for (size_t o = 0; o < plan->shape.outputs; o++, weight += inputs) {
        scales[o] = dvit_quantise_weight_scale(weight, inputs);
        for (size_t i = 0; i < inputs; i++)
            sums[o] += dvit_quantise_weight(weight[i], scales[o]);
    }
}

static enum dvit_status pack(struct dvit_matmul_plan *plan, void *packed, const float *weight,
                             struct dvit_error *error)
{
    size_t inputs = plan->shape.inputs, outputs = plan->shape.outputs;
    (void)error;
    memset(packed, 0, panels_bytes(plan));
    if (plan->shape.int8)
        measure_outputs(plan, packed, weight);
    for (size_t first = 0; first < inputs; first += GATHERED) {
        size_t count = inputs - first < GATHERED ? inputs - first : GATHERED;
        for (size_t o = 0; o < outputs; o++)
            pack_column(plan, (char *)packed + o / COLUMNS * panel_bytes(plan), o % COLUMNS,
                        weight + o * inputs, first, count,
                        plan->shape.int8 ? scales_of(plan, packed)[o] : 1.0f);
    }
    return DVIT_OK;
}

/* --- running -------------------------------------------------------------------------------------
 */

static size_t scratch_bytes(const struct dvit_matmul_plan *plan)
{
    bool makes_granules = plan->shape.x_number == DVIT_NUMBER_F32;
    return makes_granules ? dvit_packed_scratch_bytes(plan->shape.inputs, plan->granule) : 0;
}

static enum dvit_status run(const struct dvit_matmul_plan *plan, int member, size_t rows,
                            const struct dvit_matmul_operands *operands)
{
    const struct dvit_matmul_shape *shape = &plan->shape;
    void *packed = (void *)operands->packed; /* only read */
    const size_t first = operands->first_output;
    (void)member;
    if (!packed)
        return DVIT_ERROR_ARGUMENT;
    const struct dvit_packed_job job = {
        .rows = rows,
        .outputs = operands->outputs ? operands->outputs : shape->outputs,
        .inputs = shape->inputs,
        .x = operands->x,
        .x_stride = shape->x_stride,
        .x_is_granules = plan->granule == 1 || shape->x_number != DVIT_NUMBER_F32,
        .x_bytes = operands->x_bytes,
        .y = (char *)operands->y + first * dvit_number_bytes(shape->y_number),
        .y_stride = shape->y_stride,
        .y_format = {shape->y_number, operands->y_bytes},
        .panels = (char *)packed + first / COLUMNS * panel_bytes(plan),
        .bias = shape->bias ? operands->bias + first : NULL,
        .residual = shape->residual ? operands->residual + first : NULL,
        .factor = shape->factor == 0.0f ? 1.0f : shape->factor,
        .gelu = shape->gelu,
        .relu = shape->relu,
        .scales = shape->int8 ? scales_of(plan, packed) + first : NULL,
        .sums = shape->int8 ? sums_of(plan, packed) + first : NULL,
        .scratch = operands->scratch,
    };
    plan->product(&job);
    return DVIT_OK;
}

const struct dvit_matmul_backend dvit_matmul_packed = {
    .name = "dvit's own",
    .packs_bf16 = true,
    .finishes = true,
    .takes_ranges = true,
    .open = open_plan,
    .close = close_plan,
    .prepare = prepare,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
