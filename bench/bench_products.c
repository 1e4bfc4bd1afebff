/* dvit's own matrix products against oneDNN's on the linear layers of a vision transformer, with
 * and without what follows them, as inference runs them: packed weights, at most 256 rows at a
 * time, dvit's with rows that come and go as what is multiplied, oneDNN's with floats. Both are
 * asked in turn, run by run, and their lower quartiles compared; what counts is the processor time
 * of the slowest thread, so that whatever else the machine does hurts little.
 *
 *     bench_products [SECONDS PER LINE [WIDTH]]
 *
 * Rates count multiply-adds as two. The peak is that of the same instruction on registers alone. */
#define _POSIX_C_SOURCE 199309L /* clock_gettime */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "kernels/matmul.h"

enum { MAX_SAMPLES = 4000, MEMBERS = 2, CHUNK_ROWS = 256 };

static double seconds_per_line = 0.5;

enum type { F32, BF16, INT8, TYPES };
static const char *const type_names[] = {"f32", "bf16", "int8"};

/* What follows a product. */
enum after { NOTHING, GELU, RESIDUAL };
static const char *const after_names[] = {"bias", "bias, gelu", "bias, residual"};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double lower_quartile(double *samples, int count)
{
    qsort(samples, (size_t)count, sizeof *samples, compare_doubles);
    return samples[count / 4];
}

static void *allocate(size_t bytes)
{
    void *block = aligned_alloc(64, (bytes + 64) / 64 * 64);
    if (!block)
        exit(1);
    memset(block, 0, bytes);
    return block;
}

static float *random_floats(size_t count, uint32_t index)
{
    float *x = allocate(count * sizeof *x);
    struct dvit_rng rng = dvit_rng_stream(1, DVIT_RNG_BENCH_INPUT, 0, index);
    for (size_t n = 0; n < count; n++)
        x[n] = (float)dvit_rng_normal(&rng);
    return x;
}

/* --- the peak -----------------------------------------------------------------------------------
 */

#if defined(__x86_64__)
#define TWELVE(i)   i(0) i(1) i(2) i(3) i(4) i(5) i(6) i(7) i(8) i(9) i(10) i(11)
#define FMA_256(n)  "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #n "\n\t"
#define FMA_512(n)  "vfmadd231ps %%zmm30, %%zmm31, %%zmm" #n "\n\t"
#define BF16_512(n) "vdpbf16ps %%zmm30, %%zmm31, %%zmm" #n "\n\t"
#define INT8_512(n) "vpdpbusd %%zmm30, %%zmm31, %%zmm" #n "\n\t"
#define PEAK(name, instruction)                                                                    \
    static void name(long loops)                                                                   \
    {                                                                                              \
        __asm__ volatile("vzeroall\n\t"                                                            \
                         "1:\n\t" TWELVE(instruction) "dec %0\n\tjnz 1b\n\tvzeroupper"             \
                         : "+r"(loops)                                                             \
                         :                                                                         \
                         : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",   \
                           "xmm8", "xmm9", "xmm10", "xmm11", "xmm14", "xmm15");                    \
    }
PEAK(peak_fma_256, FMA_256)
PEAK(peak_fma_512, FMA_512)
PEAK(peak_bf16_512, BF16_512)
PEAK(peak_int8_512, INT8_512)
#endif

/* Multiply-adds counted as two per second that registers reach on one thread, or 0. */
static double peak_rate(enum type type, enum dvit_cpu cpu)
{
#if defined(__x86_64__)
    enum { LOOPS = 20000, REPEATS = 200 };
    double best = 1;
    void (*const peaks[])(long) = {cpu == DVIT_CPU_AVX512 ? peak_fma_512 : peak_fma_256,
                                   peak_bf16_512, peak_int8_512};
    const double lanes[] = {cpu == DVIT_CPU_AVX512 ? 16 : 8, 32, 64};
    for (int n = 0; n < REPEATS; n++) {
        double begin = dvit_clock_seconds();
        peaks[type](LOOPS);
        double taken = dvit_clock_seconds() - begin;
        best = taken < best ? taken : best;
    }
    return 2 * lanes[type] * 12 * LOOPS / best;
#else
    (void)type, (void)cpu;
    return 0;
#endif
}

/* --- one product
 * ----------------------------------------------------------------------------------
 */

struct product {
    struct dvit_matmul *matmul;
    struct dvit_matmul_shape shape;
    void *x[MEMBERS];
    void *packed, *scratch[MEMBERS];
    double samples[MAX_SAMPLES];
};

struct contest {
    struct dvit_matmul_shape shape;
    size_t rows;
    int threads;
    struct dvit_threads *team;
    float *x[MEMBERS], *y[MEMBERS], *residual[MEMBERS], *weight, *bias;
    struct product products[2]; /* dvit's own, oneDNN's */
    struct product *current;
    double spent[MEMBERS]; /* seconds of processor time of each member's last run */
};

static void fail(const struct dvit_error *error)
{
    fprintf(stderr, "%s\n", error->message);
    exit(1);
}

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const struct dvit_quantised bytes = {1.0f / 32, 128};

static void run_member(void *context, int member, int count)
{
    struct contest *c = context;
    struct product *p = c->current;
    (void)count;
    double begin = processor_seconds();
    size_t chunks = (c->rows + CHUNK_ROWS - 1) / CHUNK_ROWS;
    for (size_t n = 0; n < chunks; n++) {
        size_t first = c->rows * n / chunks, rows = c->rows * (n + 1) / chunks - first;
        size_t x_bytes = c->shape.inputs * dvit_number_bytes(p->shape.x_number);
        size_t y_bytes = c->shape.outputs * dvit_number_bytes(p->shape.y_number);
        const struct dvit_matmul_operands operands = {.x = (char *)p->x[member] + first * x_bytes,
                                                      .y = (char *)c->y[member] + first * y_bytes,
                                                      .weight = c->weight,
                                                      .packed = p->packed,
                                                      .bias = c->bias,
                                                      .residual = c->residual[member] +
                                                                  first * c->shape.outputs,
                                                      .x_bytes = bytes,
                                                      .y_bytes = bytes,
                                                      .scratch = p->scratch[member]};
        if (dvit_matmul_run(p->matmul, member, rows, &operands) != DVIT_OK)
            exit(1);
    }
    c->spent[member] = processor_seconds() - begin;
}

/* The floats as numbers. */
static void *rows_of(const float *x, size_t count, enum dvit_number number)
{
    struct dvit_kernels kernels;
    void *rows = allocate(count * dvit_number_bytes(number));
    dvit_kernels_select(&kernels, dvit_cpu_best());
    if (number == DVIT_NUMBER_F32)
        memcpy(rows, x, count * sizeof *x);
    else if (number == DVIT_NUMBER_BF16)
        kernels.to_bf16(rows, x, count);
    else
        kernels.quantise(rows, x, count, bytes);
    return rows;
}

/* `constant` weights are what decides between the two. */
static void open_product(struct contest *c, struct product *p, bool constant, enum dvit_cpu cpu)
{
    struct dvit_error error;
    struct dvit_matmul_shape shape = c->shape;
    shape.constant = constant;
    if (constant && (shape.bf16 || shape.int8)) {
        enum dvit_number own = shape.int8 ? DVIT_NUMBER_U8 : DVIT_NUMBER_BF16;
        shape.x_number = own;
        shape.y_number = shape.residual ? DVIT_NUMBER_F32 : shape.gelu ? own : DVIT_NUMBER_BF16;
    }
    p->shape = shape;
    size_t chunks = (c->rows + CHUNK_ROWS - 1) / CHUNK_ROWS;
    if (dvit_matmul_create(&p->matmul, &shape, cpu, c->threads, &error) ||
        dvit_matmul_prepare(p->matmul, c->rows / chunks, &error) ||
        dvit_matmul_prepare(p->matmul, (c->rows + chunks - 1) / chunks, &error))
        fail(&error);
    if (dvit_matmul_packed_bytes(p->matmul) > 0) {
        p->packed = allocate(dvit_matmul_packed_bytes(p->matmul));
        if (dvit_matmul_pack(p->matmul, p->packed, c->weight, &error))
            fail(&error);
    }
    for (int m = 0; m < c->threads; m++)
        p->scratch[m] = allocate(dvit_matmul_scratch_bytes(p->matmul));
    for (int m = 0; m < c->threads; m++)
        p->x[m] = rows_of(c->x[m], c->rows * shape.inputs, shape.x_number);
}

static void close_product(struct product *p)
{
    dvit_matmul_free(p->matmul);
    free(p->packed);
    for (int m = 0; m < MEMBERS; m++)
        free(p->scratch[m]), free(p->x[m]);
}

static double time_once(struct contest *c, struct product *p)
{
    c->current = p;
    dvit_threads_run(c->team, run_member, c);
    double slowest = 0;
    for (int m = 0; m < c->threads; m++)
        slowest = c->spent[m] > slowest ? c->spent[m] : slowest;
    return slowest;
}

/* Seconds of one run of each. */
static void measure(struct contest *c, int products, double *seconds)
{
    int count = 0;
    for (int p = 0; p < products; p++)
        time_once(c, &c->products[p]);
    for (double begin = dvit_clock_seconds();
         count < 8 || (count < MAX_SAMPLES && dvit_clock_seconds() - begin < seconds_per_line);
         count++)
        for (int p = 0; p < products; p++)
            c->products[p].samples[count] = time_once(c, &c->products[p]);
    for (int p = 0; p < products; p++)
        seconds[p] = lower_quartile(c->products[p].samples, count);
}

static void bench_product(enum type type, enum after after, size_t rows, size_t outputs,
                          size_t inputs, enum dvit_cpu cpu, int threads, double peak)
{
    static struct contest c;
    struct dvit_error error;
    int products = type == INT8 ? 1 : 2; /* oneDNN's have no 8-bit contract here */
    double seconds[2] = {0};
    memset(&c, 0, sizeof c);
    c.shape = (struct dvit_matmul_shape){.kind = DVIT_MATMUL_FORWARD,
                                         .outputs = outputs,
                                         .inputs = inputs,
                                         .x_stride = inputs,
                                         .y_stride = outputs,
                                         .bias = true,
                                         .bf16 = type == BF16,
                                         .int8 = type == INT8,
                                         .gelu = after == GELU,
                                         .residual = after == RESIDUAL};
    c.rows = rows;
    c.threads = threads;
    if (dvit_threads_create(&c.team, threads, &dvit_matmul_setting, &error))
        fail(&error);
    c.weight = random_floats(outputs * inputs, 1);
    c.bias = random_floats(outputs, 2);
    for (int m = 0; m < threads; m++) {
        c.x[m] = random_floats(rows * inputs, 3);
        c.y[m] = random_floats(rows * outputs, 4);
        c.residual[m] = random_floats(rows * outputs, 5);
    }
    for (int p = 0; p < products; p++)
        open_product(&c, &c.products[p], p == 0, cpu);
    measure(&c, products, seconds);
    double work = 2e-9 * (double)rows * (double)outputs * (double)inputs * threads;
    printf("%-5s %d %5zu x %4zu x %4zu %-15s %7.1f GFLOP/s %3.0f %% of peak", type_names[type],
           threads, rows, inputs, outputs, after_names[after], work / seconds[0],
           100e9 * work / seconds[0] / (peak * threads));
    if (products == 2)
        printf("; oneDNN %7.1f, ratio %.2f", work / seconds[1], seconds[1] / seconds[0]);
    printf("\n");
    fflush(stdout);
    for (int p = 0; p < products; p++)
        close_product(&c.products[p]);
    for (int m = 0; m < threads; m++)
        free(c.x[m]), free(c.y[m]), free(c.residual[m]);
    free(c.weight), free(c.bias);
    dvit_threads_free(c.team);
}

static void bench_type(enum type type, enum dvit_cpu cpu, size_t width, int threads)
{
    const size_t row_counts[] = {1, 4, 35, 99, 197, 1576};
    const struct {
        size_t outputs, inputs;
        enum after after;
    } layers[] = {{3 * width, width, NOTHING}, {width, width, NOTHING},
                  {width, width, RESIDUAL},    {4 * width, width, NOTHING},
                  {4 * width, width, GELU},    {width, 4 * width, RESIDUAL}};
    double peak = peak_rate(type, cpu);
    printf("\n%s, %s, %d thread%s: %.1f GFLOP/s on registers of each\n", type_names[type],
           dvit_cpu_name(cpu), threads, threads == 1 ? "" : "s", peak * 1e-9);
    for (size_t r = 0; r < sizeof row_counts / sizeof *row_counts; r++)
        for (size_t n = 0; n < sizeof layers / sizeof *layers; n++)
            bench_product(type, layers[n].after, row_counts[r], layers[n].outputs, layers[n].inputs,
                          cpu, threads, peak);
}

int main(int argc, char **argv)
{
    char description[128];
    size_t width = argc > 2 ? (size_t)atol(argv[2]) : 384;
    if (argc > 1)
        seconds_per_line = atof(argv[1]);
    dvit_cpu_describe(description, sizeof description);
    printf("%s, against %s; rows x inputs x outputs\n", description, dvit_matmul_backend());
    int most = dvit_threads_default() > 1 ? MEMBERS : 1;
    for (int threads = 1; threads <= most; threads++) {
        if (dvit_cpu_best() >= DVIT_CPU_AVX2)
            bench_type(F32, dvit_cpu_best(), width, threads);
        if (dvit_cpu_has_bf16())
            bench_type(BF16, dvit_cpu_best(), width, threads);
        if (dvit_cpu_has_vnni())
            bench_type(INT8, dvit_cpu_best(), width, threads);
    }
    return 0;
}
