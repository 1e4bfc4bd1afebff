/* Matrix products: checks the shape, chooses the backend, and passes runs on. The arithmetic lives
 * in matmul_packed.c, matmul_dnnl.c and matmul_ref.c. */
#include "kernels/matmul.h"

#include <stdint.h>
#include <stdlib.h>

#include "kernels/kernels.h"
#include "kernels/matmul_backend.h"

struct dvit_matmul {
    const struct dvit_matmul_backend *backend;
    struct dvit_matmul_plan *plan; /* owned */
    struct dvit_matmul_shape shape;
    struct dvit_kernels kernels;
    int threads;
    bool prepared;
};

/* oneDNN has products for AMX, which ours are slower than. */
static const struct dvit_matmul_backend *choose(const struct dvit_matmul_shape *shape,
                                                enum dvit_cpu cpu)
{
    bool own = dvit_matmul_packed_serves(shape, cpu);
#if defined(DVIT_HAVE_DNNL)
    own = own && !(shape->bf16 && dvit_cpu_has_amx());
#endif
    if (own)
        return &dvit_matmul_packed;
#if defined(DVIT_HAVE_DNNL)
    if (cpu != DVIT_CPU_REFERENCE)
        return &dvit_matmul_dnnl;
#endif
    return &dvit_matmul_reference;
}

bool dvit_matmul_takes_formats(const struct dvit_matmul_shape *shape, enum dvit_cpu cpu)
{
    const struct dvit_matmul_backend *backend = choose(shape, cpu);
    return backend == &dvit_matmul_packed || backend == &dvit_matmul_reference;
}

bool dvit_matmul_takes_ranges(const struct dvit_matmul *matmul)
{
    return matmul->backend->takes_ranges;
}

static bool is_range(const struct dvit_matmul *matmul, const struct dvit_matmul_operands *operands)
{
    size_t outputs = matmul->shape.outputs, first = operands->first_output;
    if (first == 0 && (operands->outputs == 0 || operands->outputs == outputs))
        return true;
    return matmul->backend->takes_ranges && first % DVIT_MATMUL_RANGE == 0 && first < outputs &&
           operands->outputs > 0 && operands->outputs <= outputs - first;
}

/* So that no sum of 255 · 127 leaves 32 bits, also with the zero's share. */
enum { MAX_INT8_INPUTS = 32768 };

/* Numbers of 32 bits. */
static size_t granule_of(enum dvit_number number)
{
    return sizeof(float) / dvit_number_bytes(number);
}

static enum dvit_status check_formats(const struct dvit_matmul_shape *shape, enum dvit_cpu cpu,
                                      struct dvit_error *error)
{
    enum dvit_number x = shape->x_number, y = shape->y_number;
    enum dvit_number own = shape->int8   ? DVIT_NUMBER_U8
                           : shape->bf16 ? DVIT_NUMBER_BF16
                                         : DVIT_NUMBER_F32;
    if (x == DVIT_NUMBER_F32 && y == DVIT_NUMBER_F32)
        return DVIT_OK;
    if (shape->kind != DVIT_MATMUL_FORWARD || !shape->constant ||
        !dvit_matmul_takes_formats(shape, cpu))
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                              "this matrix product reads and writes floats only");
    if (x != DVIT_NUMBER_F32 &&
        (x != own || shape->inputs % granule_of(x) != 0 || shape->x_stride % granule_of(x) != 0))
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "a matrix product's %zu inputs are not what it multiplies, in whole "
                              "32 bits",
                              shape->inputs);
    if (y != DVIT_NUMBER_F32 && shape->residual)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "a matrix product with a residual writes floats only");
    return DVIT_OK;
}

static enum dvit_status check(const struct dvit_matmul_shape *shape, enum dvit_cpu cpu, int threads,
                              struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const size_t limit = PTRDIFF_MAX / sizeof(float);
    if (shape->outputs == 0 || shape->inputs == 0)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "matrix product of %zu inputs and %zu outputs, expected at least 1 of each",
                  shape->inputs, shape->outputs);
    if (shape->outputs > limit / shape->inputs)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT,
                  "matrix product of %zu inputs and %zu outputs does not fit in memory",
                  shape->inputs, shape->outputs);
    if (shape->x_stride < shape->inputs || shape->y_stride < shape->outputs ||
        shape->x_stride > limit || shape->y_stride > limit)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "matrix product strides x %zu, y %zu, expected at least %zu and %zu",
                  shape->x_stride, shape->y_stride, shape->inputs, shape->outputs);
    if (shape->bias && shape->kind != DVIT_MATMUL_FORWARD)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "a bias belongs to the forward matrix product only");
    if (shape->accumulate && shape->kind == DVIT_MATMUL_FORWARD)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "the forward matrix product cannot accumulate");
    if ((shape->gelu || shape->relu || shape->residual) && shape->kind != DVIT_MATMUL_FORWARD)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "GELU, ReLU and residual belong to the forward matrix product only");
    if (shape->gelu + shape->relu + shape->residual > 1)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "matrix product with more than one of GELU, ReLU and residual");
    if (shape->bf16 && cpu != DVIT_CPU_REFERENCE && !dvit_cpu_has_bf16())
        DVIT_FAIL(error, DVIT_ERROR_UNSUPPORTED,
                  "this processor has no bfloat16 products (AVX-512 BF16)");
    if (shape->constant && shape->kind != DVIT_MATMUL_FORWARD)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "only the forward matrix product has a constant weight");
    if (shape->int8 && (!shape->constant || shape->bf16))
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "a matrix product of 8 bits needs a constant weight and no other precision");
    if (shape->int8 && shape->inputs > MAX_INT8_INPUTS)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT,
                  "matrix product of 8 bits with %zu inputs, expected at most %d", shape->inputs,
                  (int)MAX_INT8_INPUTS);
    if (shape->int8 && cpu != DVIT_CPU_REFERENCE && !dvit_matmul_packed_serves(shape, cpu))
        DVIT_FAIL(error, DVIT_ERROR_UNSUPPORTED,
                  "this processor or level has no products of 8 bits (AVX-512 VNNI)");
    DVIT_TRY(check_formats(shape, cpu, error));
    if (threads < 1 || threads > DVIT_MAX_THREADS)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "matrix product for %d threads, expected 1 to %d",
                  threads, (int)DVIT_MAX_THREADS);
done:
    return status;
}

enum dvit_status dvit_matmul_create(struct dvit_matmul **out, const struct dvit_matmul_shape *shape,
                                    enum dvit_cpu cpu, int threads, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_matmul *matmul = NULL;
    *out = NULL;
    DVIT_TRY(check(shape, cpu, threads, error));
    matmul = calloc(1, sizeof *matmul);
    if (!matmul)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "matrix product: out of memory");
    matmul->backend = choose(shape, cpu);
    dvit_kernels_select(&matmul->kernels, cpu);
    matmul->shape = *shape;
    matmul->threads = threads;
    DVIT_TRY(matmul->backend->open(&matmul->plan, shape, cpu, threads, error));
    *out = matmul;
    matmul = NULL;
done:
    free(matmul);
    return status;
}

void dvit_matmul_free(struct dvit_matmul *matmul)
{
    if (!matmul)
        return;
    matmul->backend->close(matmul->plan);
    free(matmul);
}

enum dvit_status dvit_matmul_prepare(struct dvit_matmul *matmul, size_t rows,
                                     struct dvit_error *error)
{
    if (rows == 0 || rows > PTRDIFF_MAX / sizeof(float))
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "matrix product of %zu rows, expected at least 1", rows);
    enum dvit_status status = matmul->backend->prepare(matmul->plan, rows, error);
    matmul->prepared = matmul->prepared || status == DVIT_OK;
    return status;
}

size_t dvit_matmul_packed_bytes(const struct dvit_matmul *matmul)
{
    const struct dvit_matmul_shape *shape = &matmul->shape;
    if (shape->bf16 && !matmul->backend->packs_bf16)
        return shape->kind == DVIT_MATMUL_WEIGHT
                   ? 0
                   : shape->outputs * shape->inputs * sizeof(uint16_t);
    return matmul->backend->packed_bytes(matmul->plan);
}

enum dvit_status dvit_matmul_pack(struct dvit_matmul *matmul, void *packed, const float *weight,
                                  struct dvit_error *error)
{
    if (dvit_matmul_packed_bytes(matmul) == 0)
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                              "this matrix product has no packed layout");
    if (matmul->shape.bf16 && !matmul->backend->packs_bf16) {
        matmul->kernels.to_bf16(packed, weight, matmul->shape.outputs * matmul->shape.inputs);
        return DVIT_OK;
    }
    return matmul->backend->pack(matmul->plan, packed, weight, error);
}

size_t dvit_matmul_scratch_bytes(const struct dvit_matmul *matmul)
{
    size_t bytes = matmul->backend->scratch_bytes(matmul->plan);
    bool rounds = matmul->shape.y_number != DVIT_NUMBER_F32 && !matmul->backend->finishes;
    size_t row = rounds ? matmul->shape.outputs * sizeof(float) : 0;
    return row > bytes ? row : bytes; /* the definition needs none of its own */
}

/* One row at a time where rows do not follow each other. */
static void finish(const struct dvit_matmul *matmul, size_t rows, float *y, const float *residual)
{
    const struct dvit_matmul_shape *shape = &matmul->shape;
    bool dense = shape->y_stride == shape->outputs;
    size_t spans = dense ? 1 : rows, count = dense ? rows * shape->outputs : shape->outputs;
    float factor = shape->factor == 0.0f ? 1.0f : shape->factor;
    for (size_t n = 0; n < spans; n++) {
        float *span = y + n * shape->y_stride;
        if (shape->gelu)
            matmul->kernels.gelu(span, span, count);
        for (size_t i = 0; shape->relu && i < count; i++)
            span[i] = span[i] > 0.0f ? span[i] : 0.0f;
        if (shape->residual)
            matmul->kernels.add_scaled(span, residual + n * shape->y_stride, span, factor, count);
    }
}

/* Row by row, each written as floats first. */
static enum dvit_status run_rounded(const struct dvit_matmul *matmul, int member, size_t rows,
                                    const struct dvit_matmul_operands *operands)
{
    const struct dvit_matmul_shape *shape = &matmul->shape;
    struct dvit_matmul_operands one = *operands;
    size_t x_bytes = shape->x_stride * dvit_number_bytes(shape->x_number);
    size_t y_bytes = shape->y_stride * dvit_number_bytes(shape->y_number);
    for (size_t r = 0; r < rows; r++) {
        void *y = (char *)operands->y + r * y_bytes;
        one.x = (char *)operands->x + r * x_bytes;
        one.y = operands->scratch;
        enum dvit_status status = matmul->backend->run(matmul->plan, member, 1, &one);
        if (status != DVIT_OK)
            return status;
        finish(matmul, 1, one.y, NULL);
        if (shape->y_number == DVIT_NUMBER_BF16)
            matmul->kernels.to_bf16(y, one.y, shape->outputs);
        else
            matmul->kernels.quantise(y, one.y, shape->outputs, operands->y_bytes);
    }
    return DVIT_OK;
}

enum dvit_status dvit_matmul_run(const struct dvit_matmul *matmul, int member, size_t rows,
                                 const struct dvit_matmul_operands *operands)
{
    if (rows == 0)
        return DVIT_OK;
    if (!matmul->prepared || member < 0 || member >= matmul->threads)
        return DVIT_ERROR_ARGUMENT;
    if (!is_range(matmul, operands))
        return DVIT_ERROR_ARGUMENT;
    bool needs_packed =
        matmul->shape.int8 || (matmul->shape.bf16 && matmul->shape.kind != DVIT_MATMUL_WEIGHT);
    if (needs_packed && !operands->packed)
        return DVIT_ERROR_ARGUMENT;
    if (matmul->shape.int8 && !(operands->x_bytes.scale > 0.0f))
        return DVIT_ERROR_ARGUMENT;
    if (!matmul->backend->finishes && matmul->shape.y_number != DVIT_NUMBER_F32)
        return run_rounded(matmul, member, rows, operands);
    enum dvit_status status = matmul->backend->run(matmul->plan, member, rows, operands);
    if (status == DVIT_OK && !matmul->backend->finishes)
        finish(matmul, rows, operands->y, operands->residual);
    return status;
}

#if defined(DVIT_HAVE_DNNL)
const struct dvit_thread_setting dvit_matmul_setting = {dvit_matmul_dnnl_enter,
                                                        dvit_matmul_dnnl_leave};
#else
const struct dvit_thread_setting dvit_matmul_setting = {NULL, NULL};
#endif

const char *dvit_matmul_backend(void)
{
#if defined(DVIT_HAVE_DNNL)
    return dvit_matmul_dnnl_version();
#else
    return "none";
#endif
}

const char *dvit_matmul_server(const struct dvit_matmul *matmul)
{
    return matmul->backend->name ? matmul->backend->name : dvit_matmul_backend();
}
