/* Speed of every kernel at every level of this machine, and of the matrix products, as one table:
 * time, rate, and the rate's share of the multiply-add peak that registers reach at that level.
 * Each line is the median of several repetitions on one thread, unless it says otherwise.
 *
 *     bench_kernels [SECONDS]     time spent per line, default 0.1 */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/rng.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "kernels/matmul.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static double seconds_per_line = 0.1;

typedef void timed_function(void *context);

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of one call. */
static double measure(timed_function *function, void *context)
{
    enum { SAMPLES = 9 };
    double samples[SAMPLES];
    function(context);
    double begin = dvit_clock_seconds();
    function(context);
    double once = dvit_clock_seconds() - begin;
    long calls = (long)(seconds_per_line / SAMPLES / (once > 1e-9 ? once : 1e-9)) + 1;
    for (int s = 0; s < SAMPLES; s++) {
        begin = dvit_clock_seconds();
        for (long n = 0; n < calls; n++)
            function(context);
        samples[s] = (dvit_clock_seconds() - begin) / (double)calls;
    }
    qsort(samples, SAMPLES, sizeof *samples, compare_doubles);
    return samples[SAMPLES / 2];
}

static float *random_floats(size_t count, uint32_t index)
{
    float *x = aligned_alloc(64, (count * sizeof *x + 63) / 64 * 64);
    if (!x)
        exit(1);
    struct dvit_rng rng = dvit_rng_stream(1, DVIT_RNG_BENCH_INPUT, 0, index);
    for (size_t n = 0; n < count; n++)
        x[n] = (float)dvit_rng_normal(&rng);
    return x;
}

/* --- the peak -----------------------------------------------------------------------------------
 */

enum { PEAK_LOOPS = 100000, PEAK_CHAINS = 12 };

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static void peak_avx2(void *context)
{
    __m256 a = _mm256_set1_ps(0.999f), acc[PEAK_CHAINS];
    for (int c = 0; c < PEAK_CHAINS; c++)
        acc[c] = _mm256_set1_ps((float)c);
    for (int n = 0; n < PEAK_LOOPS; n++)
#pragma GCC unroll 12
        for (int c = 0; c < PEAK_CHAINS; c++)
            acc[c] = _mm256_fmadd_ps(acc[c], a, a);
    for (int c = 1; c < PEAK_CHAINS; c++)
        acc[0] = _mm256_add_ps(acc[0], acc[c]);
    *(volatile float *)context = _mm256_cvtss_f32(acc[0]);
}

__attribute__((target("avx512f"))) static void peak_avx512(void *context)
{
    __m512 a = _mm512_set1_ps(0.999f), acc[PEAK_CHAINS];
    for (int c = 0; c < PEAK_CHAINS; c++)
        acc[c] = _mm512_set1_ps((float)c);
    for (int n = 0; n < PEAK_LOOPS; n++)
#pragma GCC unroll 12
        for (int c = 0; c < PEAK_CHAINS; c++)
            acc[c] = _mm512_fmadd_ps(acc[c], a, a);
    for (int c = 1; c < PEAK_CHAINS; c++)
        acc[0] = _mm512_add_ps(acc[0], acc[c]);
    *(volatile float *)context = _mm512_cvtss_f32(acc[0]);
}
#endif

/* GFLOP/s that registers reach, or 0 where there is no vector level to measure. */
static double peak_gflops(enum dvit_cpu cpu)
{
#if defined(__x86_64__)
    float sink;
    double lanes = cpu == DVIT_CPU_AVX512 ? 16 : 8;
    if (cpu >= DVIT_CPU_AVX2)
        return 2.0 * lanes * PEAK_LOOPS * PEAK_CHAINS * 1e-9 /
               measure(cpu == DVIT_CPU_AVX512 ? peak_avx512 : peak_avx2, &sink);
#endif
    return 0;
}

/* --- kernels ------------------------------------------------------------------------------------
 */

enum { TOKENS = 197, WIDTH = 384, HEADS = 6, HIDDEN = 4 * WIDTH, PARAMETERS = 1 << 20 };

struct bench {
    struct dvit_kernels kernels;
    struct dvit_attention_shape shape;
    int tokens;
    float *a, *b, *c, *d, *mean, *rstd, *policy, *dpolicy; /* PARAMETERS floats each; [TOKENS] */
    float *moment2, *scratch;
};

static void run_layer_norm(void *context)
{
    struct bench *b = context;
    b->kernels.layer_norm(b->c, b->mean, b->rstd, b->a, b->b, b->b, TOKENS, WIDTH, 1e-6f);
}

static void run_layer_norm_backward(void *context)
{
    struct bench *b = context;
    b->kernels.layer_norm_backward_data(b->c, b->a, b->b, b->mean, b->rstd, b->d, TOKENS, WIDTH,
                                        false);
}

static void run_layer_norm_weights(void *context)
{
    struct bench *b = context;
    b->kernels.layer_norm_backward_weights(b->c, b->d, b->a, b->b, b->mean, b->rstd, TOKENS, WIDTH,
                                           0, WIDTH);
}

static void run_gelu(void *context)
{
    struct bench *b = context;
    b->kernels.gelu(b->c, b->a, (size_t)TOKENS * HIDDEN);
}

static void run_gelu_backward(void *context)
{
    struct bench *b = context;
    b->kernels.gelu_backward(b->c, b->a, b->b, (size_t)TOKENS * HIDDEN);
}

static void run_add_scaled(void *context)
{
    struct bench *b = context;
    b->kernels.add_scaled(b->c, b->a, b->b, 0.5f, (size_t)TOKENS * WIDTH);
}

static void run_column_sums(void *context)
{
    struct bench *b = context;
    memset(b->c, 0, HIDDEN * sizeof(float));
    b->kernels.column_sums(b->c, b->a, TOKENS, HIDDEN, 0, HIDDEN);
}

/* `queries` rows of a qkv in a. */
static void attend(struct bench *b, size_t queries)
{
    const struct dvit_attention_job job = {.out = b->c,
                                           .out_stride = WIDTH,
                                           .q = b->a,
                                           .k = b->a + WIDTH,
                                           .v = b->a + 2 * WIDTH,
                                           .q_stride = 3 * WIDTH,
                                           .kv_stride = 3 * WIDTH,
                                           .queries = queries};
    b->kernels.attention(&job, &b->shape, b->scratch);
}

static void run_attention(void *context)
{
    attend(context, TOKENS);
}

static struct dvit_attention_rows packed_rows(const struct bench *b)
{
    return (struct dvit_attention_rows){.q = b->a,
                                        .k = b->a + WIDTH,
                                        .v = b->a + 2 * WIDTH,
                                        .q_stride = 3 * WIDTH,
                                        .kv_stride = 3 * WIDTH,
                                        .queries = TOKENS};
}

static void run_attention_masked(void *context)
{
    struct bench *b = context;
    struct dvit_attention_rows x = packed_rows(b);
    b->kernels.attention_masked(b->c, &x, b->policy, &b->shape, b->scratch);
}

static void run_attention_masked_bf16(void *context)
{
    struct bench *b = context;
    struct dvit_attention_rows x = packed_rows(b);
    b->kernels.attention_masked_bf16(b->c, &x, b->policy, &b->shape, b->scratch);
}

static void run_attention_class_row(void *context)
{
    attend(context, 1);
}

static void run_attention_backward(void *context)
{
    struct bench *b = context;
    struct dvit_attention_rows x = packed_rows(b);
    b->kernels.attention_masked_backward(b->d, b->d + WIDTH, b->d + 2 * WIDTH, b->dpolicy, b->b,
                                         b->c, &x, b->policy, &b->shape, b->scratch);
}

static void run_attention_backward_bf16(void *context)
{
    struct bench *b = context;
    struct dvit_attention_rows x = packed_rows(b);
    b->kernels.attention_masked_backward_bf16(b->d, b->d + WIDTH, b->d + 2 * WIDTH, b->dpolicy,
                                              b->b, b->c, &x, b->policy, &b->shape, b->scratch);
}

static void run_adamw(void *context)
{
    struct bench *b = context;
    const struct dvit_adamw_step step = {1e-6f, 0.9f, 0.999f, 1e-8f, 0.05f, 1, 1, 1};
    b->kernels.adamw(b->a, b->c, b->moment2, b->b, PARAMETERS, &step);
}

static void run_lamb_direction(void *context)
{
    struct bench *b = context;
    const struct dvit_adamw_step step = {1e-6f, 0.9f, 0.999f, 1e-8f, 0.05f, 1, 1, 1};
    b->kernels.lamb_direction(b->b, b->c, b->moment2, b->a, PARAMETERS, &step);
}

static void run_sgd(void *context)
{
    struct bench *b = context;
    const struct dvit_sgd_step step = {1e-6f, 0.9f, 1e-4f, 1, true};
    b->kernels.sgd(b->a, b->c, b->b, PARAMETERS, &step);
}

static void run_ema(void *context)
{
    struct bench *b = context;
    b->kernels.ema(b->c, b->a, 0.9999f, PARAMETERS);
}

static void run_sum_squares(void *context)
{
    struct bench *b = context;
    *(volatile float *)b->mean = (float)b->kernels.sum_squares(b->a, PARAMETERS);
}

/* flops counts multiply-adds as two, exponentials not at all; bytes what must move once. */
struct line {
    const char *name;
    timed_function *function;
    double flops, bytes;
};

static const double attention_flops = 4.0 * TOKENS * TOKENS * WIDTH;

static void print_line(const char *name, const char *level, double seconds, double flops,
                       double bytes, double peak)
{
    printf("%-28s %-9s %9.1f µs", name, level, seconds * 1e6);
    if (flops > 0)
        printf(" %8.1f GFLOP/s", flops / seconds * 1e-9);
    else
        printf(" %8.1f GB/s   ", bytes / seconds * 1e-9);
    if (flops > 0 && peak > 0)
        printf(" %5.1f %% of peak", 100 * flops / seconds * 1e-9 / peak);
    printf("\n");
}

static void bench_level(enum dvit_cpu cpu, double peak)
{
    const double rows = sizeof(float) * TOKENS * WIDTH, wide = sizeof(float) * TOKENS * HIDDEN;
    const double parameters = sizeof(float) * PARAMETERS;
    const struct line lines[] = {
        {"attention 197x64x6", run_attention, attention_flops, 0},
        {"attention, class row", run_attention_class_row, attention_flops / TOKENS, 0},
        {"attention_masked", run_attention_masked, attention_flops, 0},
        {"attention_masked_backward", run_attention_backward, 2.5 * attention_flops, 0},
        {"  the same in bf16", run_attention_masked_bf16, attention_flops, 0},
        {"  its backward in bf16", run_attention_backward_bf16, 2.5 * attention_flops, 0},
        {"layer_norm 197x384", run_layer_norm, 0, 2 * rows},
        {"layer_norm_backward_data", run_layer_norm_backward, 0, 3 * rows},
        {"layer_norm_backward_weights", run_layer_norm_weights, 0, 2 * rows},
        {"gelu 197x1536", run_gelu, 0, 2 * wide},
        {"gelu_backward", run_gelu_backward, 0, 3 * wide},
        {"add_scaled 197x384", run_add_scaled, 0, 3 * rows},
        {"column_sums 197x1536", run_column_sums, 0, wide},
        {"adamw 1 Mi", run_adamw, 0, 7 * parameters},
        {"lamb_direction 1 Mi", run_lamb_direction, 0, 7 * parameters},
        {"sgd 1 Mi", run_sgd, 0, 5 * parameters},
        {"ema 1 Mi", run_ema, 0, 3 * parameters},
        {"sum_squares 1 Mi", run_sum_squares, 0, parameters},
    };
    struct bench b = {
        .shape = {.tokens = TOKENS, .heads = HEADS, .head_dim = WIDTH / HEADS, .scale = 0.125f}};
    dvit_kernels_select(&b.kernels, cpu);
    float **arrays[] = {&b.a, &b.b, &b.c, &b.d};
    for (uint32_t n = 0; n < 4; n++)
        *arrays[n] = random_floats(PARAMETERS, n);
    b.moment2 = random_floats(PARAMETERS, 4);
    for (size_t n = 0; n < PARAMETERS; n++)
        b.moment2[n] *= b.moment2[n];
    b.mean = random_floats(TOKENS, 5);
    b.rstd = random_floats(TOKENS, 6);
    b.policy = random_floats(TOKENS, 7);
    b.dpolicy = random_floats(TOKENS, 9);
    for (int j = 0; j < TOKENS; j++)
        b.policy[j] = b.policy[j] > 0;
    b.scratch = random_floats(b.kernels.attention_scratch(&b.shape), 8);
    for (size_t n = 0; n < sizeof lines / sizeof *lines; n++)
        print_line(lines[n].name, dvit_cpu_name(cpu), measure(lines[n].function, &b),
                   lines[n].flops, lines[n].bytes, peak);
    for (uint32_t n = 0; n < 4; n++)
        free(*arrays[n]);
    free(b.mean), free(b.rstd), free(b.policy), free(b.dpolicy), free(b.moment2), free(b.scratch);
}

/* --- matrix products -----------------------------------------------------------------------------
 */

/* Every member has its own rows and result; the weight is shared. */
struct product {
    struct dvit_matmul *matmul;
    struct dvit_threads *threads;
    size_t rows;
    float *x[2], *y[2], *weight, *weight_result[2], *bias;
    void *packed, *scratch[2];
    bool weight_kind;
};

static void product_member(void *context, int member, int count)
{
    struct product *p = context;
    const struct dvit_matmul_operands operands = {
        .x = p->x[member],
        .y = p->y[member],
        .weight = p->weight_kind ? p->weight_result[member] : p->weight,
        .packed = p->packed,
        .bias = p->bias,
        .scratch = p->scratch[member]};
    if (dvit_matmul_run(p->matmul, member, p->rows, &operands) != DVIT_OK)
        exit(1);
}

static void run_product(void *context)
{
    struct product *p = context;
    dvit_threads_run(p->threads, product_member, p);
}

static void bench_product(enum dvit_matmul_kind kind, size_t rows, size_t inputs, size_t outputs,
                          int threads, bool pack, double peak)
{
    static const char *const kinds[] = {"forward", "data", "weight"};
    const struct dvit_matmul_shape shape = {.kind = kind,
                                            .outputs = outputs,
                                            .inputs = inputs,
                                            .x_stride = inputs,
                                            .y_stride = outputs,
                                            .bias = kind == DVIT_MATMUL_FORWARD};
    struct product p = {.rows = rows, .weight_kind = kind == DVIT_MATMUL_WEIGHT};
    struct dvit_error error;
    if (dvit_threads_create(&p.threads, threads, &dvit_matmul_setting, &error) ||
        dvit_matmul_create(&p.matmul, &shape, dvit_cpu_best(), threads, &error) ||
        dvit_matmul_prepare(p.matmul, rows, &error)) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
    p.weight = random_floats(inputs * outputs, 3);
    p.bias = random_floats(outputs, 4);
    for (int m = 0; m < threads; m++) {
        p.x[m] = random_floats(rows * inputs, 5);
        p.y[m] = random_floats(rows * outputs, 6);
        p.weight_result[m] = random_floats(inputs * outputs, 7);
        p.scratch[m] = random_floats(dvit_matmul_scratch_bytes(p.matmul) / sizeof(float) + 16, 8);
    }
    if (pack && dvit_matmul_packed_bytes(p.matmul) > 0) {
        p.packed = random_floats(dvit_matmul_packed_bytes(p.matmul) / sizeof(float) + 16, 9);
        if (dvit_matmul_pack(p.matmul, p.packed, p.weight, &error)) {
            fprintf(stderr, "%s\n", error.message);
            exit(1);
        }
    }
    char name[64];
    snprintf(name, sizeof name, "%s%s %zux%zux%zu", kinds[kind], p.packed ? " packed" : "", rows,
             inputs, outputs);
    double flops = 2.0 * (double)rows * (double)inputs * (double)outputs * threads;
    print_line(name, threads == 1 ? "1 thread" : "2 threads", measure(run_product, &p), flops, 0,
               peak * threads);
    for (int m = 0; m < threads; m++)
        free(p.x[m]), free(p.y[m]), free(p.weight_result[m]), free(p.scratch[m]);
    free(p.weight), free(p.bias), free(p.packed);
    dvit_matmul_free(p.matmul);
    dvit_threads_free(p.threads);
}

static void bench_products(double peak)
{
    const size_t layers[][2] = {
        {WIDTH, 3 * WIDTH}, {WIDTH, WIDTH}, {WIDTH, HIDDEN}, {HIDDEN, WIDTH}};
    const size_t row_counts[] = {TOKENS, 4 * TOKENS};
    int most = dvit_threads_default() > 1 ? 2 : 1;
    printf("\nmatrix products, rows x inputs x outputs, by %s\n", dvit_matmul_backend());
    for (int threads = 1; threads <= most; threads++) {
        for (size_t r = 0; r < 2; r++) {
            for (size_t n = 0; n < sizeof layers / sizeof *layers; n++) {
                size_t rows = row_counts[r], in = layers[n][0], out = layers[n][1];
                bench_product(DVIT_MATMUL_FORWARD, rows, in, out, threads, true, peak);
                bench_product(DVIT_MATMUL_FORWARD, rows, in, out, threads, false, peak);
                bench_product(DVIT_MATMUL_DATA, rows, in, out, threads, false, peak);
                bench_product(DVIT_MATMUL_WEIGHT, rows, in, out, threads, false, peak);
            }
        }
    }
}

int main(int argc, char **argv)
{
    char description[128];
    if (argc > 1)
        seconds_per_line = atof(argv[1]);
    dvit_cpu_describe(description, sizeof description);
    printf("%s\n", description);
    double peak = 0;
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        peak = peak_gflops((enum dvit_cpu)cpu);
        if (peak > 0)
            printf("\n%s: multiply-add peak %.1f GFLOP/s on one thread\n",
                   dvit_cpu_name((enum dvit_cpu)cpu), peak);
        bench_level((enum dvit_cpu)cpu, peak);
    }
    bench_products(peak);
    return 0;
}
