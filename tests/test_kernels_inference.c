/* The attention of inference, of floats, of bfloat16 and of bytes: every level against plain C,
 * over odd sizes and strides, with queries from another array, fewer queries than keys, and some of
 * the heads. Arrays end at unmapped pages, scratch and results are NaN beforehand. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/rng.h"
#include "kernels/kernels.h"
#include "kernels/ref/number.h"
#include "test_kernels_guard.h"

struct size_case {
    int tokens, head_dim, heads;
    size_t queries;
};

static const struct size_case sizes[] = {
    {1, 1, 1, 1},    {1, 64, 2, 1},   {2, 3, 1, 2},      {3, 7, 2, 5},    {7, 15, 1, 7},
    {15, 16, 3, 2},  {16, 17, 1, 16}, {17, 8, 2, 17},    {31, 31, 1, 13}, {33, 130, 1, 33},
    {35, 64, 2, 35}, {50, 1, 3, 50},  {63, 32, 1, 1},    {65, 65, 1, 65}, {64, 64, 1, 12},
    {97, 33, 2, 97}, {130, 5, 1, 6},  {197, 64, 2, 197}, {69, 48, 2, 0},  {300, 20, 1, 25},
};
enum { SIZES = sizeof sizes / sizeof *sizes };

typedef void attention_function(const struct dvit_attention_job *job,
                                const struct dvit_attention_shape *shape, float *scratch);

/* Rows further apart than they are wide, each array with its own stride; nothing behind the last
 * row. */
struct problem {
    struct dvit_attention_shape shape;
    size_t width, queries, channels;
    size_t out_stride, q_stride, kv_stride;
    struct guarded out, q, kv, scratch;
    const float *v; /* in kv, behind k */
};

static size_t extent(size_t rows, size_t stride, size_t width)
{
    return rows ? (rows - 1) * stride + width : 0;
}

/* gap: the spread of the scores, roughly. */
static struct problem problem_new(struct size_case size, double gap,
                                  const struct dvit_kernels *kernels, enum guard_side side)
{
    struct problem p = {
        .shape = {size.tokens, size.heads, size.head_dim, 1 / sqrtf((float)size.head_dim), 0},
        .width = (size_t)size.head_dim,
        .queries = size.queries,
        .channels = (size_t)(size.heads * size.head_dim),
    };
    struct dvit_rng rng = dvit_rng_stream(17, DVIT_RNG_TEST, (uint64_t)size.tokens,
                                          (uint32_t)(p.channels + 7 * size.queries));
    p.out_stride = p.channels + 3;
    p.q_stride = p.channels + 1;
    p.kv_stride = 2 * p.channels + 5;
    p.out = guard_new(extent(p.queries, p.out_stride, p.channels), side);
    p.q = guard_new(extent(p.queries, p.q_stride, p.channels), side);
    p.kv = guard_new(extent((size_t)size.tokens, p.kv_stride, 2 * p.channels), side);
    p.v = p.kv.data + p.channels;
    p.scratch = guard_new(kernels->attention_scratch(&p.shape), GUARD_AFTER);
    for (size_t i = 0; i < p.queries; i++)
        for (size_t c = 0; c < p.channels; c++)
            p.q.data[i * p.q_stride + c] = (float)(dvit_rng_normal(&rng) * gap / 6);
    for (size_t j = 0; j < (size_t)size.tokens; j++)
        for (size_t c = 0; c < 2 * p.channels; c++)
            p.kv.data[j * p.kv_stride + c] = (float)dvit_rng_normal(&rng);
    return p;
}

static void problem_free(struct problem *p)
{
    guard_free(&p->out);
    guard_free(&p->q);
    guard_free(&p->kv);
    guard_free(&p->scratch);
}

static struct dvit_attention_job job_of(const struct problem *p)
{
    return (struct dvit_attention_job){.out = p->out.data,
                                       .out_stride = p->out_stride,
                                       .q = p->q.data,
                                       .k = p->kv.data,
                                       .v = p->v,
                                       .q_stride = p->q_stride,
                                       .kv_stride = p->kv_stride,
                                       .queries = p->queries};
}

static void run(attention_function *attention, struct problem *p)
{
    const struct dvit_attention_job job = job_of(p);
    attention(&job, &p->shape, p->scratch.data);
}

/* What its products multiply. */
enum kind { FLOATS, HALVES, BYTES, KINDS };

static const char *const kind_names[KINDS] = {"f32", "bf16", "int8"};

static attention_function *function_of(const struct dvit_kernels *kernels, enum kind kind)
{
    return kind == FLOATS   ? kernels->attention
           : kind == HALVES ? kernels->attention_bf16
                            : kernels->attention_int8;
}

/* What rounding can do: to scores, to their exponentials, and where the exponentials are rounded to
 * bfloat16 or bytes, to either side of a tie: few are so near to one, but one may be at each of
 * them. peak: the largest weight of a row after the softmax. */
static double bound_of(const struct problem *p, enum kind kind)
{
    double q = 0, k = 0, v = 0, peak = 0, width = (double)p->width;
    size_t tokens = (size_t)p->shape.tokens;
    for (size_t j = 0; j < tokens; j++) {
        for (size_t c = 0; c < p->channels; c++) {
            k = fmax(k, fabs(p->kv.data[j * p->kv_stride + c]));
            v = fmax(v, fabs(p->v[j * p->kv_stride + c]));
        }
    }
    for (size_t i = 0; i < p->queries; i++) {
        for (size_t h = 0; h * p->width < p->channels; h++) {
            double sum = 0, max = -INFINITY, score[512];
            for (size_t j = 0; j < tokens; j++) {
                score[j] = 0;
                for (size_t c = h * p->width; c < (h + 1) * p->width; c++)
                    score[j] += (double)p->q.data[i * p->q_stride + c] *
                                p->kv.data[j * p->kv_stride + c] * p->shape.scale;
                max = fmax(max, score[j]);
            }
            for (size_t j = 0; j < tokens; j++)
                sum += exp(score[j] - max);
            peak = fmax(peak, 1 / sum);
        }
        for (size_t c = 0; c < p->channels; c++)
            q = fmax(q, fabs(p->q.data[i * p->q_stride + c]));
    }
    double score = p->shape.scale * q * k * fmin(width, 4 * sqrt(width));
    double relative =
        0x1p-24 * (score * (6 + sqrt(width)) + 16 + 2 * sqrt((double)p->shape.tokens));
    const double ties[KINDS] = {0, 0x1p-8 * peak, (2 + 0.05 * (double)tokens) * 2 * peak / 255};
    return v * (2 * relative + (kind == FLOATS ? 0 : 2e-4) + ties[kind]);
}

static void assert_close(const struct problem *got, const struct problem *want, double bound,
                         enum dvit_cpu cpu, enum kind kind)
{
    for (size_t i = 0; i < got->queries; i++) {
        for (size_t c = 0; c < got->channels; c++) {
            double g = got->out.data[i * got->out_stride + c];
            double w = want->out.data[i * want->out_stride + c];
            if (!(fabs(g - w) <= bound))
                fail_msg("attention, %s %s, T %d D %d H %d, query %zu channel %zu: %.9g, expected "
                         "%.9g ± %.3g",
                         dvit_cpu_name(cpu), kind_names[kind], got->shape.tokens,
                         got->shape.head_dim, got->shape.heads, i, c, g, w, bound);
        }
        for (size_t c = got->channels; i + 1 < got->queries && c < got->out_stride; c++)
            assert_true(isnan(got->out.data[i * got->out_stride + c])); /* between the rows */
    }
}

static void test_levels(void **state)
{
    struct dvit_kernels reference, kernels;
    dvit_kernels_select(&reference, DVIT_CPU_REFERENCE);
    for (int cpu = DVIT_CPU_REFERENCE + 1; cpu <= (int)dvit_cpu_best(); cpu++) {
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        for (size_t n = 0; n < 2 * KINDS * SIZES; n++) {
            double gap = n & 1 ? 6 : 50;
            enum guard_side side = n & 1 ? GUARD_AFTER : GUARD_BEFORE;
            enum kind kind = (enum kind)(n / 2 % KINDS);
            struct problem got = problem_new(sizes[n / (2 * KINDS)], gap, &kernels, side);
            struct problem want = problem_new(sizes[n / (2 * KINDS)], gap, &reference, side);
            run(function_of(&kernels, kind), &got);
            run(function_of(&reference, kind), &want);
            assert_close(&got, &want, bound_of(&want, kind), kernels.cpu, kind);
            problem_free(&got);
            problem_free(&want);
        }
    }
}

/* Rounded operands change little: at most what a score's error does to weights that are about
 * even, and what is rounded of the values. */
static void test_rounded_is_attention(void **state)
{
    static const double most[KINDS] = {0, 0.12, 0.25};
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        for (size_t n = 0; n < SIZES; n++) {
            for (enum kind kind = HALVES; kind < KINDS; kind++) {
                struct problem a = problem_new(sizes[n], 6, &kernels, GUARD_AFTER);
                struct problem b = problem_new(sizes[n], 6, &kernels, GUARD_AFTER);
                run(kernels.attention, &a);
                run(function_of(&kernels, kind), &b);
                assert_close(&b, &a, most[kind], kernels.cpu, kind);
                problem_free(&a);
                problem_free(&b);
            }
        }
    }
}

/* One head at a time, and a few queries at a time, are the whole bit for bit; and scratch that
 * another shape has used changes nothing. */
static void test_parts_are_the_whole(void **state)
{
    const struct size_case size = {67, 24, 3, 41};
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        for (enum kind kind = FLOATS; kind < KINDS; kind++) {
            struct problem whole = problem_new(size, 6, &kernels, GUARD_AFTER);
            struct problem part = problem_new(size, 6, &kernels, GUARD_AFTER);
            attention_function *attention = function_of(&kernels, kind);
            run(attention, &whole);
            struct dvit_attention_shape one = part.shape;
            one.heads = 1;
            for (size_t h = 0; h < 3; h++) {
                for (size_t i = 0; i < 41; i += 7) {
                    size_t at = h * 24, rows = 41 - i < 7 ? 41 - i : 7;
                    struct dvit_attention_job job = job_of(&part);
                    job.out = part.out.data + i * part.out_stride + at;
                    job.q = part.q.data + i * part.q_stride + at;
                    job.k = part.kv.data + at;
                    job.v = part.v + at;
                    job.queries = rows;
                    attention(&job, &one, part.scratch.data);
                }
            }
            assert_close(&part, &whole, 0, kernels.cpu, kind);
            problem_free(&whole);
            problem_free(&part);
        }
    }
}

/* Numbers of a format between guard pages; all bytes 0xa5 beforehand. */
struct typed {
    struct guarded memory;
    char *data;
};

static struct typed typed_new(size_t count, enum dvit_number number, enum guard_side side)
{
    size_t bytes = count * dvit_number_bytes(number), floats = (bytes + 3) / 4;
    struct typed t = {.memory = guard_new(floats, side)};
    t.data = (char *)t.memory.data + (side == GUARD_AFTER ? 4 * floats - bytes : 0);
    memset(t.data, 0xa5, bytes);
    return t;
}

/* The floats of an array, which are bfloat16 numbers, as such. */
static struct typed typed_copy(const struct guarded *from, size_t count, enum guard_side side)
{
    struct typed t = typed_new(count, DVIT_NUMBER_BF16, side);
    for (size_t n = 0; n < count; n++)
        ((uint16_t *)(void *)t.data)[n] = bfloat16_of(from->data[n]);
    return t;
}

static void round_all(struct guarded *array, size_t count)
{
    for (size_t n = 0; n < count; n++)
        array->data[n] = bfloat16_round(array->data[n]);
}

/* Whether what a row of results holds is `want`, and the gap behind it what it was. */
static void assert_typed(const struct problem *p, const char *data,
                         const struct dvit_format *format)
{
    size_t bytes = dvit_number_bytes(format->number);
    for (size_t i = 0; i < p->queries; i++) {
        for (size_t c = 0; c < p->out_stride && (i + 1 < p->queries || c < p->channels); c++) {
            uint8_t want[4];
            memset(want, 0xa5, sizeof want);
            if (c < p->channels)
                number_put(want, 0, p->out.data[i * p->out_stride + c], format);
            assert_memory_equal(data + (i * p->out_stride + c) * bytes, want, bytes);
        }
    }
}

static void check_formats(attention_function *attention, struct problem *p, enum guard_side side)
{
    size_t q = extent(p->queries, p->q_stride, p->channels), tokens = (size_t)p->shape.tokens;
    size_t kv = extent(tokens, p->kv_stride, 2 * p->channels);
    size_t out = extent(p->queries, p->out_stride, p->channels);
    round_all(&p->q, q);
    round_all(&p->kv, kv);
    run(attention, p);
    struct typed typed_q = typed_copy(&p->q, q, side), typed_kv = typed_copy(&p->kv, kv, side);
    for (int n = 0; n < 2 * 3; n++) {
        struct dvit_attention_job job = job_of(p);
        job.out_format = (struct dvit_format){.number = (enum dvit_number)(n / 2),
                                              .bytes = {0.013f, n / 2 * 57}};
        struct typed typed_out = typed_new(out, job.out_format.number, side);
        job.out = typed_out.data;
        if (n % 2) {
            job.q_number = job.kv_number = DVIT_NUMBER_BF16;
            job.q = typed_q.data;
            job.k = typed_kv.data;
            job.v = typed_kv.data + 2 * p->channels;
        }
        attention(&job, &p->shape, p->scratch.data);
        assert_typed(p, typed_out.data, &job.out_format);
        guard_free(&typed_out.memory);
    }
    guard_free(&typed_q.memory);
    guard_free(&typed_kv.memory);
}

/* Numbers read as bfloat16 give the bits that the same numbers give as floats, and what is written
 * in a format is the float, rounded. */
static void test_formats(void **state)
{
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        for (size_t n = 0; n < SIZES; n++) {
            for (int side = 0; side < GUARD_SIDES; side++) {
                for (enum kind kind = HALVES; kind < KINDS; kind++) {
                    struct problem p = problem_new(sizes[n], 6, &kernels, (enum guard_side)side);
                    check_formats(function_of(&kernels, kind), &p, (enum guard_side)side);
                    problem_free(&p);
                }
            }
        }
    }
}

/* One channel decides: scores are ± huge², or its product with itself all over. */
static void check_huge(attention_function *attention, const struct dvit_kernels *kernels,
                       struct size_case size, float huge)
{
    struct problem p = problem_new(size, 6, kernels, GUARD_AFTER);
    for (size_t i = 0; i < p.queries; i++) {
        memset(p.q.data + i * p.q_stride, 0, 16 * sizeof(float));
        p.q.data[i * p.q_stride] = i % 2 ? huge : -huge;
        p.kv.data[i * p.kv_stride] = i < 10 || i % 3 ? huge : -huge;
    }
    run(attention, &p);
    for (size_t n = 0; n < p.queries * p.channels; n++)
        assert_true(fabsf(p.out.data[n / 16 * p.out_stride + n % 16]) < 10);
    for (size_t j = 0; j < 19; j++)
        p.kv.data[j * p.kv_stride] = huge;
    run(attention, &p); /* every score of a row is the same: a plain mean */
    for (size_t d = 0; d < 16; d++) {
        double mean = 0;
        for (size_t j = 0; j < 19; j++)
            mean += p.v[j * p.kv_stride + d] / 19.0;
        for (size_t i = 0; i < p.queries; i++)
            assert_true(fabs(p.out.data[i * p.out_stride + d] - mean) < 0.02);
    }
    problem_free(&p);
}

static void test_huge_scores_stay_finite_and_nan_shows(void **state)
{
    const struct size_case size = {19, 16, 1, 19};
    static const float huge[] = {1e30f, 2.7e12f, 1.1e9f, 3.3e6f, 1234};
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        for (enum kind kind = FLOATS; kind < KINDS; kind++) {
            attention_function *attention = function_of(&kernels, kind);
            for (size_t n = 0; n < sizeof huge / sizeof *huge; n++)
                check_huge(attention, &kernels, size, huge[n]);

            struct problem p = problem_new(size, 6, &kernels, GUARD_AFTER);
            p.q.data[5 * p.q_stride + 2] = NAN;
            run(attention, &p);
            for (size_t n = 0; n < p.queries * p.channels; n++)
                assert_true(isnan(p.out.data[n / 16 * p.out_stride + n % 16]) == (n / 16 == 5));
            p.q.data[5 * p.q_stride + 2] = 0;
            p.kv.data[3 * p.kv_stride + 7] = NAN; /* key 3 */
            run(attention, &p);
            for (size_t n = 0; n < p.queries * p.channels; n++)
                assert_true(isnan(p.out.data[n / 16 * p.out_stride + n % 16]));
            p.kv.data[3 * p.kv_stride + 7] = 0;
            p.kv.data[18 * p.kv_stride + 16 + 1] = NAN; /* value 18, channel 1 */
            run(attention, &p);
            for (size_t n = 0; n < p.queries * p.channels; n++)
                assert_true(isnan(p.out.data[n / 16 * p.out_stride + n % 16]) == (n % 16 == 1));
            problem_free(&p);
        }
    }
}

static void set_all(struct problem *p, float x)
{
    for (size_t i = 0; i < p->queries; i++)
        for (size_t c = 0; c < p->channels; c++)
            p->q.data[i * p->q_stride + c] = x;
    for (size_t j = 0; j < (size_t)p->shape.tokens; j++)
        for (size_t c = 0; c < 2 * p->channels; c++)
            p->kv.data[j * p->kv_stride + c] = x;
}

/* Fails unless exactly query `row` and channel `channel` are NaN (−1: none, ALL: every one). */
enum { ALL = -2 };

static void assert_nan(const struct problem *p, int row, int channel)
{
    for (size_t i = 0; i < p->queries; i++)
        for (size_t c = 0; c < p->channels; c++)
            assert_true(isnan(p->out.data[i * p->out_stride + c]) ==
                        (row == ALL || (int)i == row || (int)c == channel));
}

/* Bytes have scales: where all numbers are 0 or next to it, there is nothing to divide by; and what
 * has none, because it is infinite, is NaN. */
static void test_bytes_at_the_ends_of_float(void **state)
{
    const struct size_case size = {19, 16, 1, 19};
    static const float small[] = {0, -0.0f, 1e-40f, 1e-37f};
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        struct problem p = problem_new(size, 6, &kernels, GUARD_AFTER);
        for (size_t n = 0; n < sizeof small / sizeof *small; n++) {
            set_all(&p, small[n]);
            run(kernels.attention_int8, &p);
            for (size_t i = 0; i < p.queries * p.channels; i++)
                assert_true(fabsf(p.out.data[i / 16 * p.out_stride + i % 16] - small[n]) < 1e-38f);
        }
        problem_free(&p);

        p = problem_new(size, 6, &kernels, GUARD_AFTER);
        float *const places[] = {p.q.data + 5 * p.q_stride + 2, p.kv.data + 3 * p.kv_stride + 7,
                                 p.kv.data + 18 * p.kv_stride + 16 + 1};
        for (int n = 0; n < 2 * 3; n++) {
            float *at = places[n / 2], before = *at;
            *at = n % 2 ? -INFINITY : INFINITY;
            run(kernels.attention_int8, &p);
            assert_nan(&p, n / 2 == 0 ? 5 : n / 2 == 1 ? ALL : -1, n / 2 == 2 ? 1 : -1);
            *at = before;
        }
        problem_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_rounded_is_attention),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_parts_are_the_whole),
        cmocka_unit_test(test_bytes_at_the_ends_of_float),
        cmocka_unit_test(test_huge_scores_stay_finite_and_nan_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
