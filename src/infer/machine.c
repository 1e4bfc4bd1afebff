/* What this machine can do: its description, and the measured rate of matrix products alone. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/threads.h"
#include "dvit/infer.h"
#include "kernels/matmul.h"

struct dvit_machine dvit_machine_describe(void)
{
    struct dvit_machine machine = {
        .best_cpu = dvit_cpu_name(dvit_cpu_best()),
        .backend = dvit_matmul_backend(),
        .bf16 = dvit_cpu_can(dvit_cpu_best(), DVIT_PRECISION_BF16),
        .int8 = dvit_cpu_can(dvit_cpu_best(), DVIT_PRECISION_INT8),
        .default_threads = dvit_threads_default(),
    };
    dvit_cpu_describe(machine.processor, sizeof machine.processor);
    return machine;
}

enum { LAYERS = 4, RATE_ROWS = 192 };

/* The four linear layers of a block, RATE_ROWS rows at a time, each thread its own arrays. Nothing
 * follows the products, and their rows come as what is multiplied. */
struct rate {
    struct dvit_threads *threads;
    struct dvit_matmul *matmuls[LAYERS];
    size_t inputs[LAYERS], outputs[LAYERS];
    void *packed[LAYERS];
    float *weights[LAYERS], *bias;
    float **x, **y;
    void **scratch;
    struct dvit_arena arena;
    double seconds;                /* to measure for */
    double done[DVIT_MAX_THREADS]; /* floating-point operations per second of each member */
    atomic_int failure;
};

static void lay_out(struct rate *r)
{
    size_t members = (size_t)dvit_threads_count(r->threads), widest_in = 0, widest_out = 0;
    size_t scratch = 0;
    for (int i = 0; i < LAYERS; i++) {
        widest_in = r->inputs[i] > widest_in ? r->inputs[i] : widest_in;
        widest_out = r->outputs[i] > widest_out ? r->outputs[i] : widest_out;
        size_t bytes = dvit_matmul_scratch_bytes(r->matmuls[i]);
        scratch = bytes > scratch ? bytes : scratch;
        r->weights[i] = dvit_arena_take(&r->arena, r->inputs[i] * r->outputs[i], sizeof(float));
        bytes = dvit_matmul_packed_bytes(r->matmuls[i]);
        r->packed[i] = bytes ? dvit_arena_take(&r->arena, bytes, 1) : NULL;
    }
    r->bias = dvit_arena_take(&r->arena, widest_out, sizeof(float));
    r->x = dvit_arena_take(&r->arena, members, sizeof *r->x);
    r->y = dvit_arena_take(&r->arena, members, sizeof *r->y);
    r->scratch = dvit_arena_take(&r->arena, members, sizeof *r->scratch);
    for (size_t m = 0; m < members; m++) {
        float *x = dvit_arena_take(&r->arena, RATE_ROWS * widest_in, sizeof *x);
        float *y = dvit_arena_take(&r->arena, RATE_ROWS * widest_out, sizeof *y);
        void *own = dvit_arena_take(&r->arena, scratch, 1);
        if (!r->x)
            continue;
        r->x[m] = x;
        r->y[m] = y;
        r->scratch[m] = own;
    }
}

static void measure_member(void *context, int member, int members)
{
    struct rate *r = context;
    (void)members;
    double operations = 0, start = dvit_clock_seconds(), now = start;
    while (now - start < r->seconds) {
        for (int i = 0; i < LAYERS; i++) {
            const struct dvit_matmul_operands operands = {.x = r->x[member],
                                                          .y = r->y[member],
                                                          .weight = r->weights[i],
                                                          .packed = r->packed[i],
                                                          .bias = r->bias,
                                                          .x_bytes = {1.0f / 64, 128},
                                                          .scratch = r->scratch[member]};
            enum dvit_status status = dvit_matmul_run(r->matmuls[i], member, RATE_ROWS, &operands);
            if (status != DVIT_OK)
                atomic_store(&r->failure, (int)status);
            operations += 2.0 * RATE_ROWS * (double)r->inputs[i] * (double)r->outputs[i];
        }
        now = dvit_clock_seconds();
    }
    r->done[member] = operations / (now - start);
}

/* What rows come as, so that rounding them is no part of a product. */
static enum dvit_number rounded_number(const struct dvit_matmul_shape *shape)
{
    enum dvit_number number = shape->int8   ? DVIT_NUMBER_U8
                              : shape->bf16 ? DVIT_NUMBER_BF16
                                            : DVIT_NUMBER_F32;
    bool whole = shape->inputs * dvit_number_bytes(number) % sizeof(float) == 0;
    return whole && dvit_matmul_takes_formats(shape, dvit_cpu_best()) ? number : DVIT_NUMBER_F32;
}

static enum dvit_status create_products(struct rate *r, const struct dvit_config *config,
                                        enum dvit_precision precision, bool constant, int threads,
                                        struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    size_t c = (size_t)config->dim, m = (size_t)config->mlp;
    size_t shapes[LAYERS][2] = {{c, 3 * c}, {c, c}, {c, m}, {m, c}};
    for (int i = 0; i < LAYERS; i++) {
        r->inputs[i] = shapes[i][0];
        r->outputs[i] = shapes[i][1];
        struct dvit_matmul_shape shape = {
            .kind = DVIT_MATMUL_FORWARD,
            .outputs = r->outputs[i],
            .inputs = r->inputs[i],
            .x_stride = r->inputs[i],
            .y_stride = r->outputs[i],
            .bias = true,
            .bf16 = precision == DVIT_PRECISION_BF16,
            .int8 = precision == DVIT_PRECISION_INT8,
            .constant = constant,
        };
        if (constant)
            shape.x_number = rounded_number(&shape);
        DVIT_TRY(dvit_matmul_create(&r->matmuls[i], &shape, dvit_cpu_best(), threads, error));
        DVIT_TRY(dvit_matmul_prepare(r->matmuls[i], RATE_ROWS, error));
    }
    lay_out(r);
    DVIT_TRY(dvit_arena_commit(&r->arena, "matrix-product measurement", error));
    lay_out(r);
    for (int i = 0; i < LAYERS; i++)
        if (r->packed[i])
            DVIT_TRY(dvit_matmul_pack(r->matmuls[i], r->packed[i], r->weights[i], error));
done:
    return status;
}

static enum dvit_status measure_rate(const struct dvit_config *config,
                                     enum dvit_precision precision, bool constant, int threads,
                                     double seconds, double *gflops, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct rate *r = calloc(1, sizeof *r);
    *gflops = 0;
    if (!r)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "matrix-product measurement: out of memory");
    r->seconds = seconds;
    DVIT_TRY(dvit_threads_create(&r->threads, threads, &dvit_matmul_setting, error));
    DVIT_TRY(create_products(r, config, precision, constant, threads, error));
    dvit_threads_run(r->threads, measure_member, r);
    if (atomic_load(&r->failure) != DVIT_OK)
        DVIT_FAIL(error, (enum dvit_status)atomic_load(&r->failure),
                  "the matrix-product backend (%s) refused a product", dvit_matmul_backend());
    for (int m = 0; m < threads; m++)
        *gflops += r->done[m] / 1e9;
done:
    if (r) {
        for (int i = 0; i < LAYERS; i++)
            dvit_matmul_free(r->matmuls[i]);
        dvit_threads_free(r->threads);
        dvit_arena_free(&r->arena);
        free(r);
    }
    return status;
}

enum dvit_status dvit_matmul_rate(const struct dvit_config *config, const char *precision,
                                  int threads, double seconds, double *gflops,
                                  struct dvit_error *error)
{
    DVIT_CLEAR(gflops);
    DVIT_REQUIRE(error, config, gflops);
    if (!(seconds >= 0 && seconds <= 3600))
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "matrix-product measurement of %g s, expected 0 to 3600", seconds);
    enum dvit_status status = DVIT_OK;
    enum dvit_precision parsed;
    double other = 0;
    threads = threads > 0 ? threads : dvit_threads_default();
    DVIT_TRY(dvit_config_check(config, error));
    DVIT_TRY(dvit_cpu_parse_precision(precision, dvit_cpu_best(), false, &parsed, error));
    DVIT_TRY(measure_rate(config, parsed, true, threads, seconds / 2, gflops, error));
    if (parsed != DVIT_PRECISION_INT8)
        DVIT_TRY(measure_rate(config, parsed, false, threads, seconds / 2, &other, error));
    *gflops = other > *gflops ? other : *gflops;
done:
    return status;
}
