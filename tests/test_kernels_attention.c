/* Attention kernels: the reference against a double forward and its difference quotients (policy
 * included), every vector level against the reference, over odd sizes, all kinds of policies, logit
 * gaps up to 50, split query ranges, and inputs that are huge or NaN; masked attention also with
 * operands in bfloat16. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "test_attention_problem.h"

static const struct size_case sizes[] = {
    {1, 1, 1},   {1, 64, 2},  {2, 3, 1},    {3, 7, 2},    {7, 15, 1},   {15, 16, 3}, {16, 17, 1},
    {17, 8, 2},  {31, 31, 1}, {63, 32, 1},  {64, 64, 1},  {65, 65, 1},  {24, 48, 2}, {50, 1, 3},
    {97, 64, 2}, {130, 5, 1}, {197, 64, 1}, {200, 96, 1}, {33, 130, 1}, {5, 64, 6},
};
enum { SIZES = sizeof sizes / sizeof *sizes };

static struct dvit_kernels reference;

/* --- the formula in double ---------------------------------------------------------------------
 */

struct exact {
    double *qkv, *policy; /* inputs, free to vary */
    double *max;          /* [H][T] m_i, held constant while they vary */
    double eps;
};

static double exact_score(const struct problem *p, const double *qkv, size_t h, size_t i, size_t j)
{
    const double *q = qkv + i * 3 * p->channels + h * p->width;
    const double *k = qkv + j * 3 * p->channels + p->channels + h * p->width;
    double sum = 0;
    for (size_t d = 0; d < p->width; d++)
        sum += q[d] * k[d];
    return sum * p->shape.scale;
}

/* out_i of head h, [D]. */
static void exact_row(double *out, const struct problem *p, const struct exact *e, size_t h,
                      size_t i)
{
    double sum = 0;
    for (size_t d = 0; d < p->width; d++)
        out[d] = 0;
    for (size_t j = 0; j < p->tokens; j++) {
        double gate = i == j ? 1 : e->policy[j];
        double lead = exact_score(p, e->qkv, h, i, j) - e->max[h * p->tokens + i];
        double w = gate == 0 ? 0 : exp(lead) * gate;
        const double *v = e->qkv + j * 3 * p->channels + 2 * p->channels + h * p->width;
        sum += w;
        for (size_t d = 0; d < p->width; d++)
            out[d] += (w + e->eps / (double)p->tokens) * v[d];
    }
    for (size_t d = 0; d < p->width; d++)
        out[d] /= sum + e->eps;
}

static struct exact exact_new(const struct problem *p, double eps)
{
    size_t count = p->tokens * 3 * p->channels, heads = p->channels / p->width;
    struct exact e = {.qkv = malloc(count * sizeof *e.qkv),
                      .policy = malloc(p->tokens * sizeof *e.policy),
                      .max = malloc(heads * p->tokens * sizeof *e.max),
                      .eps = eps};
    assert_true(e.qkv && e.policy && e.max);
    for (size_t n = 0; n < count; n++)
        e.qkv[n] = p->qkv.data[n];
    for (size_t j = 0; j < p->tokens; j++)
        e.policy[j] = p->policy_or_null ? p->policy.data[j] : 1;
    for (size_t h = 0; h < heads; h++) {
        for (size_t i = 0; i < p->tokens; i++) {
            double max = -INFINITY;
            for (size_t j = 0; j < p->tokens; j++)
                if (e.policy[j] > 0 || i == j)
                    max = fmax(max, exact_score(p, e.qkv, h, i, j));
            e.max[h * p->tokens + i] = max;
        }
    }
    return e;
}

static void exact_free(struct exact *e)
{
    free(e->qkv), free(e->policy), free(e->max);
}

/* Σ dout·out over everything. */
static double exact_loss(const struct problem *p, const struct exact *e)
{
    double loss = 0, row[256];
    for (size_t h = 0; h * p->width < p->channels; h++) {
        for (size_t i = 0; i < p->tokens; i++) {
            exact_row(row, p, e, h, i);
            for (size_t d = 0; d < p->width; d++)
                loss += row[d] * p->dout.data[i * p->channels + h * p->width + d];
        }
    }
    return loss;
}

static double slope(const struct problem *p, const struct exact *e, double *at)
{
    const double h = 1e-6, before = *at;
    *at = before + h;
    double up = exact_loss(p, e);
    *at = before - h;
    double down = exact_loss(p, e);
    *at = before;
    return (up - down) / (2 * h);
}

static void test_reference_is_the_formula(void **state)
{
    double row[256];
    for (size_t n = 0; n < SIZES; n++) {
        for (int kind = 0; kind < POLICY_KINDS; kind++) {
            struct problem p =
                problem_new(sizes[n], (enum policy_kind)kind, 8, &reference, GUARD_AFTER);
            for (int masked = 0; masked < 2; masked++) {
                if (!masked && kind != POLICY_NONE)
                    continue;
                struct exact e = exact_new(&p, masked ? 1e-6 : 0);
                if (masked)
                    attend_masked(&reference, &p, p.out.data, p.policy_or_null);
                else
                    attention_rows(&reference, &p, p.out.data, 0, p.shape.tokens);
                for (size_t h = 0; h * p.width < p.channels; h++) {
                    for (size_t i = 0; i < p.tokens; i++) {
                        exact_row(row, &p, &e, h, i);
                        for (size_t d = 0; d < p.width; d++)
                            assert_true(
                                fabs(p.out.data[i * p.channels + h * p.width + d] - row[d]) < 1e-6);
                    }
                }
                exact_free(&e);
            }
            problem_free(&p);
        }
    }
}

static void test_gradient_is_the_difference_quotient(void **state)
{
    const struct size_case small[] = {{1, 3, 1}, {5, 4, 2}, {9, 3, 1}};
    for (size_t n = 0; n < sizeof small / sizeof *small; n++) {
        for (int kind = 0; kind < POLICY_KINDS; kind++) {
            struct problem p =
                problem_new(small[n], (enum policy_kind)kind, 6, &reference, GUARD_AFTER);
            struct exact e = exact_new(&p, 1e-6f);
            attend_masked(&reference, &p, p.out.data, p.policy_or_null);
            attend_masked_backward(&reference, &p, p.out.data, p.policy_or_null);
            for (size_t at = 0; at < p.tokens * 3 * p.channels; at++) {
                double want = slope(&p, &e, &e.qkv[at]);
                assert_true(fabs(p.dqkv.data[at] - want) < 1e-5 * (1 + fabs(want)));
            }
            for (size_t j = 0; j < p.tokens; j++) {
                double want = slope(&p, &e, &e.policy[j]);
                assert_true(fabs(p.dpolicy.data[j] - 0.25 - want) < 1e-5 * (1 + fabs(want)));
            }
            exact_free(&e);
            problem_free(&p);
        }
    }
}

/* --- every level against the reference -----------------------------------------------------------
 */

static double largest(const float *x, size_t count)
{
    double max = 0;
    for (size_t n = 0; n < count; n++)
        max = fmax(max, fabs(x[n]));
    return max;
}

static void assert_close(const float *got, const float *want, size_t count, double bound,
                         const char *what, const struct problem *p, enum dvit_cpu cpu)
{
    for (size_t n = 0; n < count; n++)
        if (!(fabs((double)got[n] - want[n]) <= bound))
            fail_msg("%s, %s, T %d D %d H %d, element %zu: %.9g, expected %.9g ± %.3g", what,
                     dvit_cpu_name(cpu), p->shape.tokens, p->shape.head_dim, p->shape.heads, n,
                     got[n], want[n], bound);
}

/* What rounding can do here: `relative`, the error of one exponential, which is the absolute error
 * of its score, or in bfloat16 the width of a tie between two neighbours; `mass`, the largest
 * column sum of A; `lead`, the largest Σ_i exp(min(a − m, …))/S.
 */
struct magnitudes {
    double relative, mass, lead, q, k, v, dout_v;
};

static struct magnitudes measure(const struct problem *p)
{
    struct exact e = exact_new(p, 1e-6);
    struct magnitudes m = {0};
    double width = (double)p->width, *a = malloc(p->tokens * p->tokens * sizeof *a);
    assert_non_null(a);
    for (size_t h = 0; h * p->width < p->channels; h++) {
        for (size_t i = 0; i < p->tokens; i++) {
            double sum = 0, max = e.max[h * p->tokens + i], *row = a + i * p->tokens;
            for (size_t j = 0; j < p->tokens; j++) {
                row[j] = exp(fmin(exact_score(p, e.qkv, h, i, j) - max, log(1e6)));
                sum += row[j] * (i == j ? 1 : e.policy[j]);
            }
            for (size_t j = 0; j < p->tokens; j++)
                row[j] /= sum;
        }
        for (size_t j = 0; j < p->tokens; j++) {
            double lead = 0, mass = 0;
            for (size_t i = 0; i < p->tokens; i++) {
                lead += a[i * p->tokens + j];
                mass += a[i * p->tokens + j] * (i == j ? 1 : e.policy[j]) + 1e-6;
            }
            m.lead = fmax(m.lead, lead);
            m.mass = fmax(m.mass, mass);
        }
    }
    for (size_t n = 0; n < p->tokens * 3; n++) {
        double *to[] = {&m.q, &m.k, &m.v};
        *to[n % 3] = fmax(*to[n % 3], largest(p->qkv.data + n * p->channels, p->channels));
    }
    m.dout_v = largest(p->dout.data, p->tokens * p->channels) * m.v * sqrt(width) * 3;
    double score = p->shape.scale * m.q * m.k * fmin(width, 4 * sqrt(width));
    m.relative = 0x1p-24 * (score * (4 + sqrt(width)) + 16 + 2 * sqrt((double)p->tokens)) +
                 (p->bf16 ? 0x1p-8 : 0);
    free(a);
    exact_free(&e);
    return m;
}

static void check_level(const struct dvit_kernels *kernels, struct size_case size,
                        enum policy_kind kind, double gap, enum guard_side side, bool bf16)
{
    struct problem p = problem_new(size, kind, gap, kernels, side);
    struct problem want = problem_new(size, kind, gap, &reference, side);
    p.bf16 = want.bf16 = bf16;
    struct magnitudes m = measure(&p);
    size_t count = p.tokens * p.channels;
    if (kind == POLICY_NONE && !bf16) {
        attention_rows(&reference, &want, want.out.data, 0, size.tokens);
        attention_rows(kernels, &p, p.out.data, 0, size.tokens);
        assert_close(p.out.data, want.out.data, count, 2 * m.relative * m.v, "attention", &p,
                     kernels->cpu);
    }
    for (size_t n = 0; n < count; n++)
        p.out.data[n] = NAN;
    attend_masked(&reference, &want, want.out.data, want.policy_or_null);
    attend_masked(kernels, &p, p.out.data, p.policy_or_null);
    assert_close(p.out.data, want.out.data, count, 2 * m.relative * m.v, "attention_masked", &p,
                 kernels->cpu);

    attend_masked_backward(&reference, &want, want.out.data, want.policy_or_null);
    attend_masked_backward(kernels, &p, want.out.data, p.policy_or_null);
    const double bounds[] = {p.shape.scale * m.dout_v * m.k * 4 * m.relative,
                             p.shape.scale * m.dout_v * m.q * m.mass * 4 * m.relative,
                             largest(p.dout.data, count) * m.mass * 4 * m.relative};
    for (size_t n = 0; n < p.tokens * 3; n++)
        assert_close(p.dqkv.data + n * p.channels, want.dqkv.data + n * p.channels, p.channels,
                     bounds[n % 3],
                     n % 3 == 0   ? "dq"
                     : n % 3 == 1 ? "dk"
                                  : "dv",
                     &p, kernels->cpu);
    assert_close(p.dpolicy.data, want.dpolicy.data, p.tokens,
                 size.heads * m.dout_v * m.lead * 4 * m.relative + 1e-6, "dpolicy", &p,
                 kernels->cpu);
    problem_free(&want);
    problem_free(&p);
}

static void test_levels(void **state)
{
    for (int cpu = DVIT_CPU_REFERENCE + 1; cpu <= (int)dvit_cpu_best(); cpu++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        for (size_t n = 0; n < SIZES; n++) {
            for (int kind = 0; kind < 2 * POLICY_KINDS; kind++) {
                enum policy_kind policy = (enum policy_kind)(kind / 2);
                check_level(&kernels, sizes[n], policy, 6, GUARD_AFTER, kind % 2);
                check_level(&kernels, sizes[n], policy, 50, GUARD_BEFORE, kind % 2);
            }
        }
    }
}

/* Rounded operands change the result by bfloat16's own precision, and do change it. */
static void test_bf16_is_attention(void **state)
{
    const struct size_case size = {97, 64, 2};
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        struct problem f32 = problem_new(size, POLICY_RANDOM, 6, &kernels, GUARD_AFTER);
        struct problem bf16 = problem_new(size, POLICY_RANDOM, 6, &kernels, GUARD_AFTER);
        size_t count = f32.tokens * f32.channels;
        bf16.bf16 = true;
        attend_masked(&kernels, &f32, f32.out.data, f32.policy.data);
        attend_masked(&kernels, &bf16, bf16.out.data, bf16.policy.data);
        attend_masked_backward(&kernels, &f32, f32.out.data, f32.policy.data);
        attend_masked_backward(&kernels, &bf16, bf16.out.data, bf16.policy.data);
        const struct guarded *pairs[][2] = {
            {&bf16.out, &f32.out}, {&bf16.dqkv, &f32.dqkv}, {&bf16.dpolicy, &f32.dpolicy}};
        const size_t counts[] = {count, 3 * count, f32.tokens};
        for (size_t n = 0; n < 3; n++) {
            const float *got = pairs[n][0]->data, *want = pairs[n][1]->data;
            double error = 0, sum = 0;
            for (size_t i = 0; i < counts[n]; i++) {
                error += (got[i] - want[i]) * (double)(got[i] - want[i]);
                sum += (double)want[i] * want[i];
            }
            assert_in_range((intmax_t)(1e6 * sqrt(error / sum)), 100, 12000);
        }
        problem_free(&f32);
        problem_free(&bf16);
    }
}

/* Query ranges given to different threads make up the whole, and touch only their rows. */
static void test_query_ranges(void **state)
{
    const struct size_case size = {67, 24, 2};
    const int cuts[] = {0, 1, 6, 23, 64, 67};
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        struct problem p = problem_new(size, POLICY_NONE, 6, &kernels, GUARD_AFTER);
        size_t count = p.tokens * p.channels;
        struct guarded whole = guard_new(count, GUARD_AFTER);
        for (size_t n = 0; n < count; n++)
            p.out.data[n] = NAN;
        for (size_t c = 0; c + 1 < sizeof cuts / sizeof *cuts; c++) {
            attention_rows(&kernels, &p, p.out.data, cuts[c], cuts[c + 1]);
            for (size_t n = (size_t)cuts[c + 1] * p.channels; n < count; n++)
                assert_true(isnan(p.out.data[n]));
        }
        attention_rows(&kernels, &p, whole.data, 0, size.tokens);
        assert_close(p.out.data, whole.data, count, 2 * measure(&p).relative, "ranges", &p,
                     kernels.cpu);
        guard_free(&whole);
        problem_free(&p);
    }
}

/* Masked attention of some of the queries, from an array of their own: their rows of the whole;
 * gradients as if the others' outputs had none. */
static void test_masked_queries_apart(void **state)
{
    const struct size_case size = {67, 24, 2};
    enum { QUERIES = 24 };
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        struct problem p = problem_new(size, POLICY_RANDOM, 6, &kernels, GUARD_AFTER);
        struct magnitudes m = measure(&p);
        size_t C = p.channels, row = C * sizeof(float);
        struct guarded q = guard_new(QUERIES * C, GUARD_AFTER), out = guard_new(QUERIES * C, 0);
        struct guarded dout = guard_new(QUERIES * C, 0), dq = guard_new(QUERIES * C, 0);
        struct guarded dkv = guard_new(p.tokens * 2 * C, GUARD_AFTER), dpolicy = guard_new(67, 0);
        struct dvit_attention_rows x = all_rows(&p);
        int token[QUERIES], next = 0;
        attend_masked(&kernels, &p, p.out.data, p.policy.data);
        for (size_t i = 0; i < p.tokens;
             i++) { /* dropped ones among them: their gate is their own */
            if (i % 3 == 0 || i == 1) {
                memcpy(q.data + (size_t)next * C, p.qkv.data + i * 3 * C, row);
                memcpy(dout.data + (size_t)next * C, p.dout.data + i * C, row);
                token[next++] = (int)i;
            } else {
                memset(p.dout.data + i * C, 0, row);
            }
        }
        assert_int_equal(next, QUERIES);
        for (size_t j = 0; j < p.tokens; j++)
            dpolicy.data[j] = 0.25f;
        x.q = q.data, x.q_stride = C, x.queries = QUERIES, x.token = token;
        kernels.attention_masked(out.data, &x, p.policy.data, &p.shape, p.scratch.data);
        for (size_t i = 0; i < QUERIES; i++)
            assert_close(out.data + i * C, p.out.data + (size_t)token[i] * C, C,
                         2 * m.relative * m.v, "queries apart", &p, kernels.cpu);

        attend_masked_backward(&kernels, &p, p.out.data, p.policy.data);
        float *packed = p.qkv.data; /* keys and values alone, in a packed kv */
        for (size_t j = 0; j < p.tokens; j++)
            memmove(packed + j * 2 * C, p.qkv.data + (3 * j + 1) * C, 2 * row);
        x.k = packed, x.v = packed + C, x.kv_stride = 2 * C;
        kernels.attention_masked_backward(dq.data, dkv.data, dkv.data + C, dpolicy.data, dout.data,
                                          out.data, &x, p.policy.data, &p.shape, p.scratch.data);
        double bound = m.dout_v * fmax(m.q, m.k) * (1 + m.mass) * 4 * m.relative;
        for (size_t i = 0; i < QUERIES; i++)
            assert_close(dq.data + i * C, p.dqkv.data + (size_t)token[i] * 3 * C, C, bound, "dq",
                         &p, kernels.cpu);
        for (size_t j = 0; j < p.tokens; j++)
            assert_close(dkv.data + j * 2 * C, p.dqkv.data + (3 * j + 1) * C, 2 * C, bound, "dkv",
                         &p, kernels.cpu);
        assert_close(dpolicy.data, p.dpolicy.data, p.tokens,
                     size.heads * m.dout_v * m.lead * 4 * m.relative + 1e-6, "dpolicy", &p,
                     kernels.cpu);
        struct guarded *all[] = {&q, &out, &dout, &dq, &dkv, &dpolicy};
        for (size_t n = 0; n < sizeof all / sizeof *all; n++)
            guard_free(all[n]);
        problem_free(&p);
    }
}

/* The first query of a qkv of one channel. */
static void attend_once(const struct dvit_kernels *kernels, float *out, const float *qkv,
                        const struct dvit_attention_shape *shape, float *scratch)
{
    const struct dvit_attention_job job = {.out = out,
                                           .out_stride = 1,
                                           .q = qkv,
                                           .k = qkv + 1,
                                           .v = qkv + 2,
                                           .q_stride = 3,
                                           .kv_stride = 3,
                                           .queries = 1};
    kernels->attention(&job, shape, scratch);
}

/* Two keys, the second −x below the first: its weight is e^x/(1 + e^x), so the relative accuracy of
 * the exponential shows over its whole range. */
static void test_exponential_is_accurate_in_its_tail(void **state)
{
    const struct dvit_attention_shape shape = {2, 1, 1, 1.0f, DVIT_LEAD_CAP_TANGENT};
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        struct guarded scratch = guard_new(kernels.attention_scratch(&shape), GUARD_AFTER);
        double worst = 0;
        for (float x = 0; x > -87; x -= 0.01173f) {
            const float qkv[6] = {x, 0, 0, 0, 1, 1}; /* q, k, v of two tokens */
            float out[2];
            attend_once(&kernels, out, qkv, &shape, scratch.data);
            double want = exp((double)x) / (1 + exp((double)x));
            double rounding = 3 * 0x1p-24 * -x; /* of query, score and difference, in powers of 2 */
            worst = fmax(worst, fabs(out[0] / want - 1) - rounding);
        }
        print_message("softmax weight %s: relative error beyond that of its score %.2g\n",
                      dvit_cpu_name(kernels.cpu), worst);
        assert_true(worst < 4e-7);
        const float far[6] = {-200, 0, 0, 0, 1, 1};
        float out[2];
        attend_once(&kernels, out, far, &shape, scratch.data);
        assert_true(out[0] == 0);
        guard_free(&scratch);
    }
}

/* A dropped key of enormous score changes nothing but the eps share and the capped dpolicy. */
static void test_dropped_giants_are_harmless(void **state)
{
    const struct size_case size = {20, 16, 1};
    for (int n = 0; n <= 2 * (int)dvit_cpu_best() + 1; n++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)(n / 2));
        struct problem p = problem_new(size, POLICY_ONES, 6, &kernels, GUARD_AFTER);
        p.bf16 = n % 2;
        size_t count = p.tokens * p.channels;
        p.policy.data[3] = 0;
        float *key = p.qkv.data + 3 * 3 * p.channels + p.channels;
        for (size_t d = 0; d < p.channels; d++)
            key[d] *= 1e30f;
        attend_masked(&kernels, &p, p.out.data, p.policy.data);
        attend_masked_backward(&kernels, &p, p.out.data, p.policy.data);
        assert_true(largest(p.out.data, count) <= largest(p.qkv.data + 2 * p.channels, 16) * 5 + 5);
        for (size_t i = 0; i < count * 3; i++)
            assert_true(isfinite(p.dqkv.data[i]));
        for (size_t j = 0; j < p.tokens; j++)
            assert_true(isfinite(p.dpolicy.data[j]));
        assert_true(fabsf(p.dpolicy.data[3]) > 1e3f); /* it leads by far: the cap, not infinity */
        problem_free(&p);
    }
}

static void test_huge_scores_stay_finite_and_nan_shows(void **state)
{
    const struct size_case size = {19, 16, 1};
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        struct problem p = problem_new(size, POLICY_RANDOM, 6, &kernels, GUARD_AFTER);
        size_t count = p.tokens * p.channels;
        for (size_t i = 0; i < p.tokens; i++) { /* all scores ±∞ in float: one channel decides */
            float *q = p.qkv.data + i * 3 * p.channels;
            for (size_t d = 1; d < p.channels; d++)
                q[d] = 0;
            q[0] = i % 2 ? 1e30f : -1e30f;
            q[p.channels] = 1e30f;
        }
        for (int masked = 0; masked < 3; masked++) {
            p.bf16 = masked == 2;
            if (masked)
                attend_masked(&kernels, &p, p.out.data, p.policy.data);
            else
                attention_rows(&kernels, &p, p.out.data, 0, size.tokens);
            for (size_t n = 0; n < count; n++)
                assert_true(fabsf(p.out.data[n]) < 10);
        }
        problem_free(&p);

        p = problem_new(size, POLICY_NONE, 6, &kernels, GUARD_AFTER);
        p.qkv.data[5 * 3 * p.channels + 2] = NAN; /* query 5 */
        attention_rows(&kernels, &p, p.out.data, 0, size.tokens);
        for (size_t n = 0; n < count; n++)
            assert_int_equal(isnan(p.out.data[n]) != 0, n / p.channels == 5);
        p.qkv.data[7 * 3 * p.channels + p.channels] = NAN; /* key 7 */
        for (int bf16 = 0; bf16 < 2; bf16++) {
            p.bf16 = bf16;
            attend_masked(&kernels, &p, p.out.data, NULL);
            for (size_t n = 0; n < count; n++)
                assert_true(isnan(p.out.data[n]));
        }
        problem_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_is_the_formula),
        cmocka_unit_test(test_gradient_is_the_difference_quotient),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_bf16_is_attention),
        cmocka_unit_test(test_query_ranges),
        cmocka_unit_test(test_masked_queries_apart),
        cmocka_unit_test(test_exponential_is_accurate_in_its_tail),
        cmocka_unit_test(test_dropped_giants_are_harmless),
        cmocka_unit_test(test_huge_scores_stay_finite_and_nan_shows),
    };
    dvit_kernels_select(&reference, DVIT_CPU_REFERENCE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
