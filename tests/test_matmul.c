/* Matrix products of both backends against a double oracle with a bound computed from the terms:
 * all kinds, odd sizes, strides, accumulation, row counts that were not prepared, packed weights,
 * and several members at once. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/rng.h"
#include "base/threads.h"
#include "kernels/matmul.h"
#include "test_kernels_guard.h"

struct matmul_case {
    enum dvit_matmul_kind kind;
    size_t rows, outputs, inputs, x_pad, y_pad;
    bool bias, accumulate;
};

static const struct matmul_case cases[] = {
    {DVIT_MATMUL_FORWARD, 1, 1, 1, 0, 0, true, false},
    {DVIT_MATMUL_FORWARD, 3, 2, 1, 0, 0, false, false},
    {DVIT_MATMUL_FORWARD, 5, 17, 31, 0, 0, true, false},
    {DVIT_MATMUL_FORWARD, 7, 65, 63, 3, 2, true, false},
    {DVIT_MATMUL_FORWARD, 63, 33, 129, 0, 31, false, false},
    {DVIT_MATMUL_FORWARD, 197, 576, 192, 0, 0, true, false},
    {DVIT_MATMUL_FORWARD, 197, 96, 192, 0, 96, true, false}, /* half the outputs of a layer */
    {DVIT_MATMUL_FORWARD, 1, 1000, 384, 0, 0, true, false},
    {DVIT_MATMUL_FORWARD, 64, 96, 48, 5, 0, true, false},
    {DVIT_MATMUL_FORWARD, 600, 10, 64, 0, 0, true, false},
    {DVIT_MATMUL_DATA, 1, 1, 1, 0, 0, false, false},
    {DVIT_MATMUL_DATA, 5, 17, 31, 1, 2, false, true},
    {DVIT_MATMUL_DATA, 197, 192, 96, 0, 0, false, false},
    {DVIT_MATMUL_DATA, 100, 96, 65, 7, 0, false, true},
    {DVIT_MATMUL_DATA, 66, 10, 384, 0, 0, false, false},
    {DVIT_MATMUL_WEIGHT, 1, 1, 1, 0, 0, false, false},
    {DVIT_MATMUL_WEIGHT, 3, 5, 7, 0, 0, false, false},
    {DVIT_MATMUL_WEIGHT, 31, 17, 65, 2, 3, false, false},
    {DVIT_MATMUL_WEIGHT, 197, 96, 192, 0, 96, false, false},
    {DVIT_MATMUL_WEIGHT, 130, 10, 64, 0, 0, false, false},
};
enum { CASES = sizeof cases / sizeof *cases };

/* The arrays of one case. x, y, weight as a run leaves them; the others as it found them. */
struct problem {
    struct dvit_matmul_shape shape;
    size_t rows, x_count, y_count, weight_count;
    struct guarded x, y, weight, bias;
    struct guarded x_before, y_before, weight_before;
};

static void fill(struct guarded *g, size_t count, uint32_t index)
{
    struct dvit_rng rng = dvit_rng_stream(7, DVIT_RNG_TEST, 0, index);
    for (size_t n = 0; n < count; n++)
        g->data[n] = (float)dvit_rng_normal(&rng);
}

static struct guarded duplicate(const struct guarded *g, size_t count)
{
    struct guarded copy = guard_new(count, GUARD_AFTER);
    memcpy(copy.data, g->data, count * sizeof(float));
    return copy;
}

/* What the oracle multiplies in bf16: the factors, rounded; what is only added to stays. */
static void round_factors(struct problem *p)
{
    struct guarded *all[3] = {&p->x_before, &p->y_before, &p->weight_before};
    size_t counts[3] = {p->x_count, p->y_count, p->weight_count};
    static const int target[] = {
        [DVIT_MATMUL_FORWARD] = 1, [DVIT_MATMUL_DATA] = 0, [DVIT_MATMUL_WEIGHT] = 2};
    for (int k = 0; k < 3; k++)
        for (size_t n = 0; k != target[p->shape.kind] && n < counts[k]; n++) {
            uint32_t bits;
            memcpy(&bits, &all[k]->data[n], sizeof bits);
            bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
            memcpy(&all[k]->data[n], &bits, sizeof bits);
        }
}

static struct problem problem_new(const struct matmul_case *c, size_t rows, bool bf16,
                                  enum guard_side side)
{
    struct problem p = {.rows = rows};
    p.shape = (struct dvit_matmul_shape){.kind = c->kind,
                                         .outputs = c->outputs,
                                         .inputs = c->inputs,
                                         .x_stride = c->inputs + c->x_pad,
                                         .y_stride = c->outputs + c->y_pad,
                                         .bias = c->bias,
                                         .accumulate = c->accumulate,
                                         .bf16 = bf16};
    p.x_count = (rows - 1) * p.shape.x_stride + c->inputs; /* the last row has no padding */
    p.y_count = (rows - 1) * p.shape.y_stride + c->outputs;
    p.weight_count = c->outputs * c->inputs;
    p.x = guard_new(p.x_count, side);
    p.y = guard_new(p.y_count, side);
    p.weight = guard_new(p.weight_count, side);
    p.bias = guard_new(c->outputs, side);
    if (c->kind != DVIT_MATMUL_DATA || c->accumulate)
        fill(&p.x, p.x_count, 1);
    if (c->kind != DVIT_MATMUL_FORWARD)
        fill(&p.y, p.y_count, 2);
    fill(&p.weight, p.weight_count, 3);
    fill(&p.bias, c->outputs, 4);
    p.x_before = duplicate(&p.x, p.x_count);
    p.y_before = duplicate(&p.y, p.y_count);
    p.weight_before = duplicate(&p.weight, p.weight_count);
    if (bf16)
        round_factors(&p);
    return p;
}

static void problem_free(struct problem *p)
{
    struct guarded *all[] = {&p->x,        &p->y,        &p->weight,       &p->bias,
                             &p->x_before, &p->y_before, &p->weight_before};
    for (size_t n = 0; n < sizeof all / sizeof *all; n++)
        guard_free(all[n]);
}

/* Σ a·b from `start`, and the rounding bound of any order of summation that float FMAs may take. */
struct sum {
    double value, magnitude;
    size_t terms;
};

static void sum_add(struct sum *s, double a, double b)
{
    s->value += a * b;
    s->magnitude += fabs(a * b);
    s->terms++;
}

static void assert_sum(float got, const struct sum *s, size_t index, size_t at)
{
    double bound = (4 + 2 * sqrt((double)s->terms)) * 0x1p-24 * s->magnitude + 1e-30;
    if (!(fabs(got - s->value) <= bound))
        fail_msg("case %zu, element %zu: %.9g, expected %.9g ± %.3g", index, at, got, s->value,
                 bound);
}

static void assert_unchanged(const struct problem *p, const struct guarded *now,
                             const struct guarded *before, size_t count)
{
    if (p->shape.bf16)
        return; /* the copy was rounded */
    assert_memory_equal(now->data, before->data, count * sizeof(float));
}

static void check_forward(const struct problem *p, size_t index)
{
    const struct dvit_matmul_shape *s = &p->shape;
    for (size_t r = 0; r < p->rows; r++) {
        for (size_t o = 0; o < s->outputs; o++) {
            struct sum sum = {0};
            if (s->bias)
                sum_add(&sum, p->bias.data[o], 1);
            for (size_t i = 0; i < s->inputs; i++)
                sum_add(&sum, p->x_before.data[r * s->x_stride + i],
                        p->weight_before.data[o * s->inputs + i]);
            assert_sum(p->y.data[r * s->y_stride + o], &sum, index, r * s->outputs + o);
        }
        for (size_t o = s->outputs; r + 1 < p->rows && o < s->y_stride; o++)
            assert_true(isnan(p->y.data[r * s->y_stride + o])); /* padding untouched */
    }
    assert_unchanged(p, &p->x, &p->x_before, p->x_count);
    assert_unchanged(p, &p->weight, &p->weight_before, p->weight_count);
}

static void check_data(const struct problem *p, size_t index)
{
    const struct dvit_matmul_shape *s = &p->shape;
    for (size_t r = 0; r < p->rows; r++) {
        for (size_t i = 0; i < s->inputs; i++) {
            struct sum sum = {0};
            if (s->accumulate)
                sum_add(&sum, p->x_before.data[r * s->x_stride + i], 1);
            for (size_t o = 0; o < s->outputs; o++)
                sum_add(&sum, p->y_before.data[r * s->y_stride + o],
                        p->weight_before.data[o * s->inputs + i]);
            assert_sum(p->x.data[r * s->x_stride + i], &sum, index, r * s->inputs + i);
        }
    }
    assert_unchanged(p, &p->y, &p->y_before, p->y_count);
    assert_unchanged(p, &p->weight, &p->weight_before, p->weight_count);
}

static void check_weight(const struct problem *p, size_t index)
{
    const struct dvit_matmul_shape *s = &p->shape;
    for (size_t o = 0; o < s->outputs; o++) {
        for (size_t i = 0; i < s->inputs; i++) {
            struct sum sum = {0};
            sum_add(&sum, p->weight_before.data[o * s->inputs + i], 1);
            for (size_t r = 0; r < p->rows; r++)
                sum_add(&sum, p->y_before.data[r * s->y_stride + o],
                        p->x_before.data[r * s->x_stride + i]);
            assert_sum(p->weight.data[o * s->inputs + i], &sum, index, o * s->inputs + i);
        }
    }
    assert_unchanged(p, &p->x, &p->x_before, p->x_count);
    assert_unchanged(p, &p->y, &p->y_before, p->y_count);
}

static void check(const struct problem *p, size_t index)
{
    if (p->shape.kind == DVIT_MATMUL_FORWARD)
        check_forward(p, index);
    else if (p->shape.kind == DVIT_MATMUL_DATA)
        check_data(p, index);
    else
        check_weight(p, index);
}

static void *aligned_bytes(size_t bytes)
{
    void *block = aligned_alloc(64, (bytes + 127) / 64 * 64);
    assert_non_null(block);
    return block;
}

/* One case on one level: prepared for the row count itself, or (prepare_rows ≠ rows) served by the
 * row counts that are there. */
struct how {
    enum dvit_cpu cpu;
    size_t prepare_rows;
    bool packed, bf16;
};

static void run_case_as(size_t index, struct how how, enum guard_side side)
{
    struct dvit_error error = {0};
    struct problem p = problem_new(&cases[index], cases[index].rows, how.bf16, side);
    struct dvit_matmul *matmul = NULL;
    if (dvit_matmul_create(&matmul, &p.shape, how.cpu, 1, &error) != DVIT_OK ||
        dvit_matmul_prepare(matmul, how.prepare_rows, &error) != DVIT_OK)
        fail_msg("case %zu: %s", index, error.message);
    void *scratch = aligned_bytes(dvit_matmul_scratch_bytes(matmul));
    void *weights = NULL;
    size_t packed_bytes = dvit_matmul_packed_bytes(matmul);
    if (how.packed && packed_bytes > 0) {
        weights = aligned_bytes(packed_bytes);
        if (dvit_matmul_pack(matmul, weights, p.weight.data, &error) != DVIT_OK)
            fail_msg("case %zu: %s", index, error.message);
    }
    const struct dvit_matmul_operands operands = {.x = p.x.data,
                                                  .y = p.y.data,
                                                  .weight = weights ? NULL : p.weight.data,
                                                  .packed = weights,
                                                  .bias = p.bias.data,
                                                  .scratch = scratch};
    assert_int_equal(dvit_matmul_run(matmul, 0, p.rows, &operands), DVIT_OK);
    check(&p, index);
    free(weights);
    free(scratch);
    dvit_matmul_free(matmul);
    problem_free(&p);
}

static void run_case(size_t index, enum dvit_cpu cpu, size_t prepare_rows, bool packed,
                     enum guard_side side)
{
    run_case_as(index, (struct how){cpu, prepare_rows, packed, false}, side);
}

static void test_bf16_products_match_the_oracle(void **state)
{
    for (size_t n = 0; n < CASES; n++)
        for (int side = 0; side < GUARD_SIDES; side++)
            for (int level = 0; level < (dvit_cpu_has_bf16() ? 2 : 1); level++) {
                struct how how = {.cpu = level ? DVIT_CPU_AVX512 : DVIT_CPU_REFERENCE,
                                  .prepare_rows = cases[n].rows,
                                  .packed = true,
                                  .bf16 = true};
                run_case_as(n, how, (enum guard_side)side);
                how.prepare_rows = 2; /* served by the row counts that are there */
                run_case_as(n, how, (enum guard_side)side);
            }
}

static void test_products_match_the_oracle(void **state)
{
    for (size_t n = 0; n < CASES; n++) {
        for (int side = 0; side < GUARD_SIDES; side++) {
            run_case(n, DVIT_CPU_REFERENCE, cases[n].rows, false, (enum guard_side)side);
            run_case(n, dvit_cpu_best(), cases[n].rows, false, (enum guard_side)side);
        }
    }
}

static void test_unprepared_row_counts_are_composed(void **state)
{
    for (size_t n = 0; n < CASES; n++) {
        run_case(n, DVIT_CPU_AVX2, cases[n].rows + 1, false, GUARD_AFTER);
        run_case(n, DVIT_CPU_AVX2, 2, false, GUARD_AFTER);
        run_case(n, DVIT_CPU_AVX2, 1, true, GUARD_AFTER);
    }
}

static void test_packed_weights_serve_every_row_count(void **state)
{
    for (size_t n = 0; n < CASES; n++)
        run_case(n, dvit_cpu_best(), cases[n].rows, true, GUARD_AFTER);

    /* One object, many prepared row counts, in an order that is not sorted. */
    const size_t counts[] = {197, 3, 137, 96, 67, 1, 788, 12};
    const struct matmul_case *c = &cases[5];
    struct dvit_error error = {0};
    struct dvit_matmul *matmul = NULL;
    struct problem largest = problem_new(c, 788, false, GUARD_AFTER);
    assert_int_equal(dvit_matmul_create(&matmul, &largest.shape, dvit_cpu_best(), 1, &error), 0);
    for (size_t n = 0; n < sizeof counts / sizeof *counts; n++)
        assert_int_equal(dvit_matmul_prepare(matmul, counts[n], &error), DVIT_OK);
    void *scratch = aligned_bytes(dvit_matmul_scratch_bytes(matmul));
    size_t bytes = dvit_matmul_packed_bytes(matmul);
    void *packed = bytes ? aligned_bytes(bytes) : NULL;
    if (packed)
        assert_int_equal(dvit_matmul_pack(matmul, packed, largest.weight.data, &error), DVIT_OK);
    for (size_t n = 0; n < sizeof counts / sizeof *counts; n++) {
        struct problem p = problem_new(c, counts[n], false, GUARD_AFTER);
        const struct dvit_matmul_operands operands = {.x = p.x.data,
                                                      .y = p.y.data,
                                                      .weight = p.weight.data,
                                                      .packed = packed,
                                                      .bias = p.bias.data,
                                                      .scratch = scratch};
        assert_int_equal(dvit_matmul_run(matmul, 0, p.rows, &operands), DVIT_OK);
        check(&p, n);
        problem_free(&p);
    }
    free(packed);
    free(scratch);
    dvit_matmul_free(matmul);
    problem_free(&largest);
}

/* Four members run the same object, small products again and again so that they meet; each result
 * must be complete in the member's own array every time. */
enum { TEAM = 4, REPEATS = 20000 };
struct team_work {
    const struct dvit_matmul *matmul;
    struct problem problems[TEAM];
    void *scratch[TEAM];
    const void *packed;
    int failures[TEAM];
};

static void team_member(void *context, int member, int count)
{
    struct team_work *work = context;
    struct problem *p = &work->problems[member];
    for (int n = 0; n < REPEATS; n++) {
        for (size_t e = 0; e < p->y_count; e++)
            p->y.data[e] = NAN;
        const struct dvit_matmul_operands operands = {.x = p->x.data,
                                                      .y = p->y.data,
                                                      .weight = p->weight.data,
                                                      .packed = n % 2 ? work->packed : NULL,
                                                      .bias = p->bias.data,
                                                      .scratch = work->scratch[member]};
        enum dvit_status status = dvit_matmul_run(work->matmul, member, p->rows, &operands);
        bool missing = status != DVIT_OK;
        for (size_t e = 0; e < p->y_count; e++)
            missing = missing || isnan(p->y.data[e]);
        work->failures[member] += missing;
    }
}

static void test_members_run_at_once(void **state)
{
    const struct matmul_case *c = &cases[8]; /* no padding in y */
    const size_t rows[TEAM] = {3, 3, 3, 2};
    struct dvit_error error = {0};
    struct team_work work = {0};
    struct dvit_matmul *matmul = NULL;
    struct dvit_threads *threads = NULL;
    for (int m = 0; m < TEAM; m++)
        work.problems[m] = problem_new(c, rows[m], false, GUARD_AFTER);
    assert_int_equal(dvit_threads_create(&threads, TEAM, &dvit_matmul_setting, &error), 0);
    assert_int_equal(
        dvit_matmul_create(&matmul, &work.problems[0].shape, dvit_cpu_best(), TEAM, &error), 0);
    assert_int_equal(dvit_matmul_prepare(matmul, 3, &error), DVIT_OK);
    size_t bytes = dvit_matmul_packed_bytes(matmul);
    void *packed = bytes ? aligned_bytes(bytes) : NULL;
    if (packed)
        assert_int_equal(dvit_matmul_pack(matmul, packed, work.problems[0].weight.data, &error),
                         DVIT_OK);
    for (int m = 0; m < TEAM; m++)
        work.scratch[m] = aligned_bytes(dvit_matmul_scratch_bytes(matmul));
    work.matmul = matmul;
    work.packed = packed;
    dvit_threads_run(threads, team_member, &work);
    for (int m = 0; m < TEAM; m++) {
        assert_int_equal(work.failures[m], 0);
        check(&work.problems[m], (size_t)m);
        free(work.scratch[m]);
        problem_free(&work.problems[m]);
    }
    free(packed);
    dvit_matmul_free(matmul);
    dvit_threads_free(threads);
}

static void test_bad_shapes_are_refused(void **state)
{
    const struct dvit_matmul_shape good = {
        .kind = DVIT_MATMUL_FORWARD, .outputs = 4, .inputs = 3, .x_stride = 3, .y_stride = 4};
    struct dvit_matmul_shape bad[] = {good, good, good, good, good, good, good};
    bad[0].outputs = 0;
    bad[1].inputs = 0;
    bad[2].x_stride = 2;
    bad[3].y_stride = 3;
    bad[4].accumulate = true;
    bad[5].kind = DVIT_MATMUL_DATA, bad[5].bias = true;
    bad[6].outputs = bad[6].y_stride = SIZE_MAX / 2;
    struct dvit_error error;
    struct dvit_matmul *matmul = NULL;
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        matmul = (struct dvit_matmul *)&error;
        assert_int_not_equal(dvit_matmul_create(&matmul, &bad[n], dvit_cpu_best(), 1, &error), 0);
        assert_null(matmul);
        assert_int_not_equal(error.message[0], 0);
    }
    assert_int_not_equal(dvit_matmul_create(&matmul, &good, dvit_cpu_best(), 0, &error), 0);
    assert_int_not_equal(dvit_matmul_create(&matmul, &good, dvit_cpu_best(), 257, &error), 0);
    assert_int_equal(dvit_matmul_create(&matmul, &good, dvit_cpu_best(), 1, &error), DVIT_OK);
    assert_int_equal(dvit_matmul_prepare(matmul, 0, &error), DVIT_ERROR_ARGUMENT);
    float zeros[12] = {0};
    const struct dvit_matmul_operands operands = {.x = zeros, .y = zeros, .weight = zeros};
    assert_int_equal(dvit_matmul_run(matmul, 0, 1, &operands),
                     DVIT_ERROR_ARGUMENT); /* nothing prepared */
    assert_int_equal(dvit_matmul_prepare(matmul, 1, &error), DVIT_OK);
    assert_int_equal(dvit_matmul_run(matmul, 1, 1, &operands),
                     DVIT_ERROR_ARGUMENT); /* a member it was not made for */
    assert_int_equal(dvit_matmul_run(matmul, 0, 0, NULL), DVIT_OK);
    dvit_matmul_free(matmul);
    dvit_matmul_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_match_the_oracle),
        cmocka_unit_test(test_bf16_products_match_the_oracle),
        cmocka_unit_test(test_unprepared_row_counts_are_composed),
        cmocka_unit_test(test_packed_weights_serve_every_row_count),
        cmocka_unit_test(test_members_run_at_once),
        cmocka_unit_test(test_bad_shapes_are_refused),
    };
    printf("backend: %s\n", dvit_matmul_backend());
    dvit_matmul_setting.enter();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
