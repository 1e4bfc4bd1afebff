/* Benchmark of the attention of inference: time per image and head, and the share of what the
 * instruction that multiplies does alone, at the row counts of a model that prunes and of larger
 * images, of floats at every level, of bfloat16 and of bytes, of all queries and of the class
 * token's alone. What is of bfloat16 or bytes reads bfloat16, as it does in a model. The kernels
 * take turns, so that what disturbs the machine disturbs them alike; the fastest of many calls
 * counts. Usage: bench_attention [seconds per line]. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rng.h"
#include "kernels/kernels.h"

enum { WIDTH = 384, MOST_TOKENS = 577, CONTENDERS = 8, CALLS = 3, PEAK_STEPS = 2000 };

typedef void attention_function(const struct dvit_attention_job *job,
                                const struct dvit_attention_shape *shape, float *scratch);

/* --- the instructions alone: twelve sums that wait for nothing but themselves -------------------
 */

enum { SUMS = 12 };

#if defined(__x86_64__)
#define STEP(what, r, n) what " %%" r "14, %%" r "15, %%" r #n "\n"
#define STEPS(what, r)                                                                             \
    STEP(what, r, 0)                                                                               \
    STEP(what, r, 1)                                                                               \
    STEP(what, r, 2)                                                                               \
    STEP(what, r, 3) STEP(what, r, 4) STEP(what, r, 5) STEP(what, r, 6) STEP(what, r, 7)           \
        STEP(what, r, 8) STEP(what, r, 9) STEP(what, r, 10) STEP(what, r, 11)
#define PEAK(name, isa, what, r)                                                                   \
    __attribute__((target(isa))) static void name(size_t steps)                                    \
    {                                                                                              \
        __asm__ volatile("vzeroall\n1:\n" STEPS(what, r) "dec %0\njnz 1b\n"                        \
                         : "+r"(steps)                                                             \
                         :                                                                         \
                         : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",   \
                           "xmm8", "xmm9", "xmm10", "xmm11", "xmm14", "xmm15");                    \
    }

PEAK(peak_avx2, "avx2,fma", "vfmadd231ps", "ymm")
PEAK(peak_avx512, "avx512f", "vfmadd231ps", "zmm")
PEAK(peak_bf16, "avx512f,avx512bf16", "vdpbf16ps", "zmm")
PEAK(peak_int8, "avx512f,avx512vnni", "vpdpbusd", "zmm")
#else
static void (*const peak_avx2)(size_t) = NULL;
static void (*const peak_avx512)(size_t) = NULL;
static void (*const peak_bf16)(size_t) = NULL;
static void (*const peak_int8)(size_t) = NULL;
#endif

struct contender {
    char name[24];
    attention_function *run;
    bool rounds; /* reads bfloat16 */
    void (*peak)(size_t steps);
    double products;        /* of one instruction */
    double best, best_peak; /* seconds */
};

/* The vector levels of this machine; plain C where there are none. */
static int list_contenders(struct contender *list)
{
    int count = 0, best = (int)dvit_cpu_best();
    for (int cpu = best < DVIT_CPU_AVX2 ? best : DVIT_CPU_AVX2; cpu <= best; cpu++) {
        struct dvit_kernels k;
        dvit_kernels_select(&k, (enum dvit_cpu)cpu);
        struct contender c = {.run = k.attention};
        if (k.cpu >= DVIT_CPU_AVX2) {
            c.peak = k.cpu == DVIT_CPU_AVX2 ? peak_avx2 : peak_avx512;
            c.products = k.cpu == DVIT_CPU_AVX2 ? 8 : 16;
        }
        snprintf(c.name, sizeof c.name, "%s", dvit_cpu_name(k.cpu));
        list[count++] = c;
        if (k.cpu == DVIT_CPU_AVX512 && dvit_cpu_has_bf16())
            list[count++] = (struct contender){"bf16", k.attention_bf16, true, peak_bf16, 32, 0, 0};
        if (k.cpu == DVIT_CPU_AVX512 && dvit_cpu_has_vnni())
            list[count++] = (struct contender){"int8", k.attention_int8, true, peak_int8, 64, 0, 0};
    }
    return count;
}

static float *new_floats(size_t count)
{
    float *x = aligned_alloc(64, (count * sizeof *x + 63) / 64 * 64);
    if (!x)
        exit(1);
    struct dvit_rng rng = dvit_rng_stream(1, DVIT_RNG_BENCH_INPUT, 0, 0);
    for (size_t n = 0; n < count; n++)
        x[n] = (float)dvit_rng_normal(&rng);
    return x;
}

/* The same numbers as bfloat16. */
static uint16_t *new_halves(const float *x, size_t count)
{
    struct dvit_kernels kernels;
    uint16_t *y = aligned_alloc(64, (count * sizeof *y + 63) / 64 * 64);
    if (!y)
        exit(1);
    dvit_kernels_select(&kernels, DVIT_CPU_REFERENCE);
    kernels.to_bf16(y, x, count);
    return y;
}

static size_t scratch_floats(const struct dvit_attention_shape *shape)
{
    size_t most = 0;
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        size_t floats = kernels.attention_scratch(shape);
        most = floats > most ? floats : most;
    }
    return most;
}

static void take_turn(struct contender *c, const struct dvit_attention_job *job,
                      const struct dvit_attention_shape *shape, float *scratch)
{
    for (int call = 0; call < CALLS; call++) {
        double start = dvit_clock_seconds();
        c->run(job, shape, scratch);
        c->best = fmin(c->best, dvit_clock_seconds() - start);
    }
    if (c->peak) {
        double start = dvit_clock_seconds();
        c->peak(PEAK_STEPS);
        c->best_peak = fmin(c->best_peak, dvit_clock_seconds() - start);
    }
}

static void bench_shape(struct contender *list, int count, const float *qkv, const uint16_t *halves,
                        float *out, const struct dvit_attention_shape *shape, size_t queries,
                        double seconds)
{
    const struct dvit_attention_job floats = {.out = out,
                                              .out_stride = WIDTH,
                                              .q = qkv,
                                              .k = qkv + WIDTH,
                                              .v = qkv + 2 * WIDTH,
                                              .q_stride = 3 * WIDTH,
                                              .kv_stride = 3 * WIDTH,
                                              .queries = queries};
    struct dvit_attention_job rounded = floats;
    rounded.q = halves, rounded.k = halves + WIDTH, rounded.v = halves + 2 * WIDTH;
    rounded.q_number = rounded.kv_number = rounded.out_format.number = DVIT_NUMBER_BF16;
    float *scratch = new_floats(scratch_floats(shape));
    double begin = dvit_clock_seconds();
    for (int c = 0; c < count; c++)
        list[c].best = list[c].best_peak = INFINITY;
    do {
        for (int c = 0; c < count; c++)
            take_turn(&list[c], list[c].rounds ? &rounded : &floats, shape, scratch);
    } while (dvit_clock_seconds() - begin < seconds);
    double products = 2.0 * (double)queries * shape->tokens * shape->head_dim * shape->heads;
    printf("T %3d  D %2d  queries %3zu", shape->tokens, shape->head_dim, queries);
    for (int c = 0; c < count; c++) {
        printf("  | %-6s %7.2f µs", list[c].name, list[c].best * 1e6 / shape->heads);
        if (list[c].peak)
            printf(" %3.0f %%", 100 * products / list[c].best /
                                    (SUMS * PEAK_STEPS * list[c].products / list[c].best_peak));
    }
    printf("\n");
    free(scratch);
}

int main(int argc, char **argv)
{
    static const int token_counts[] = {35, 69, 97, 138, 197, MOST_TOKENS}, depths[] = {64, 32};
    struct contender list[CONTENDERS];
    double seconds = argc > 1 ? atof(argv[1]) : 0.5;
    int count = list_contenders(list);
    float *qkv = new_floats((size_t)MOST_TOKENS * 3 * WIDTH),
          *out = new_floats(MOST_TOKENS * WIDTH);
    uint16_t *halves = new_halves(qkv, (size_t)MOST_TOKENS * 3 * WIDTH);
    char description[128];
    dvit_cpu_describe(description, sizeof description);
    printf("%s, per image and head; %% of what the instruction does alone\n", description);
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
        for (size_t t = 0; t < sizeof token_counts / sizeof *token_counts; t++) {
            const struct dvit_attention_shape shape = {.tokens = token_counts[t],
                                                       .heads = WIDTH / depths[d],
                                                       .head_dim = depths[d],
                                                       .scale = 1.0f / sqrtf((float)depths[d])};
            size_t queries = (size_t)shape.tokens;
            bench_shape(list, count, qkv, halves, out, &shape, queries, seconds);
            bench_shape(list, count, qkv, halves, out, &shape, 1, seconds);
        }
    }
    free(qkv), free(halves), free(out);
    return 0;
}
