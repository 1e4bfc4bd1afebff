/* Benchmark of the attention of inference: time and GFLOP/s per image and head, at the row counts
 * of a model that prunes and of larger images, for every level and in bfloat16, of all queries and
 * of the class token's alone. The kernels take turns, so that what disturbs the machine disturbs
 * them alike; the fastest of many calls counts. Usage: bench_attention [seconds per line]. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rng.h"
#include "kernels/kernels.h"

enum { WIDTH = 384, MOST_TOKENS = 577, CONTENDERS = 8, CALLS = 3 };

typedef void attention_function(const struct dvit_attention_job *job,
                                const struct dvit_attention_shape *shape, float *scratch);

struct contender {
    char name[24];
    attention_function *run;
    double best; /* seconds */
};

static void add_contender(struct contender *list, int *count, enum dvit_cpu cpu, const char *type,
                          attention_function *run)
{
    snprintf(list[*count].name, sizeof list->name, "%s%s", dvit_cpu_name(cpu), type);
    list[(*count)++].run = run;
}

/* The vector levels of this machine; plain C where there are none. */
static int list_contenders(struct contender *list)
{
    int count = 0, best = (int)dvit_cpu_best();
    for (int cpu = best > 0 ? 1 : 0; cpu <= best; cpu++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        add_contender(list, &count, kernels.cpu, "", kernels.attention);
        if (kernels.cpu == DVIT_CPU_AVX512 && dvit_cpu_has_bf16())
            add_contender(list, &count, kernels.cpu, " bf16", kernels.attention_bf16);
        if (kernels.cpu == DVIT_CPU_AVX512 && dvit_cpu_has_vnni())
            add_contender(list, &count, kernels.cpu, " int8", kernels.attention_int8);
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

static void bench_shape(struct contender *list, int count, const float *qkv, float *out, int tokens,
                        int head_dim, size_t queries, double seconds)
{
    const struct dvit_attention_shape shape = {.tokens = tokens,
                                               .heads = WIDTH / head_dim,
                                               .head_dim = head_dim,
                                               .scale = 1.0f / sqrtf((float)head_dim)};
    const struct dvit_attention_job job = {.out = out,
                                           .out_stride = WIDTH,
                                           .q = qkv,
                                           .k = qkv + WIDTH,
                                           .v = qkv + 2 * WIDTH,
                                           .q_stride = 3 * WIDTH,
                                           .kv_stride = 3 * WIDTH,
                                           .queries = queries};
    float *scratch = new_floats(scratch_floats(&shape));
    double flops = 4.0 * (double)queries * tokens * head_dim, begin = dvit_clock_seconds();
    for (int c = 0; c < count; c++)
        list[c].best = INFINITY;
    do {
        for (int c = 0; c < count; c++) {
            for (int call = 0; call < CALLS; call++) {
                double start = dvit_clock_seconds();
                list[c].run(&job, &shape, scratch);
                list[c].best = fmin(list[c].best, dvit_clock_seconds() - start);
            }
        }
    } while (dvit_clock_seconds() - begin < seconds);
    printf("T %3d  D %2d  queries %3zu", tokens, head_dim, queries);
    for (int c = 0; c < count; c++)
        printf("  | %-11s %7.2f µs %6.1f GFLOP/s", list[c].name, list[c].best * 1e6 / shape.heads,
               flops * shape.heads / list[c].best * 1e-9);
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
    char description[128];
    dvit_cpu_describe(description, sizeof description);
    printf("%s, per image and head\n", description);
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
        for (size_t t = 0; t < sizeof token_counts / sizeof *token_counts; t++) {
            int tokens = token_counts[t];
            bench_shape(list, count, qkv, out, tokens, depths[d], (size_t)tokens, seconds);
            bench_shape(list, count, qkv, out, tokens, depths[d], 1, seconds);
        }
    }
    free(qkv), free(out);
    return 0;
}
