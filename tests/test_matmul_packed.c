/* dvit's own products of packed weights, every level and type, against a double oracle with bounds
 * computed from the terms: odd sizes, any row count, depths that are cut, guard pages, outputs
 * filled with NaN, what follows the product, and numbers that are not finite. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/rng.h"
#include "kernels/kernels.h"
#include "kernels/matmul.h"
#include "test_kernels_guard.h"

enum type { F32, BF16, INT8 };
enum after { NOTHING, GELU, RELU, RESIDUAL, HALF_RESIDUAL, AFTERS };

struct packed_case {
    size_t rows, outputs, inputs, x_pad, y_pad;
    bool bias;
};

/* Rows around the register blocks' and scratch's; outputs around a panel; depths that are cut. */
static const struct packed_case cases[] = {
    {1, 1, 1, 0, 0, true},     {2, 47, 3, 0, 0, true},      {3, 48, 4, 1, 0, false},
    {4, 49, 5, 0, 3, true},    {5, 16, 31, 0, 0, true},     {6, 17, 33, 2, 1, true},
    {7, 96, 64, 0, 0, false},  {8, 97, 63, 0, 0, true},     {9, 130, 65, 0, 7, true},
    {13, 8, 127, 5, 0, true},  {17, 33, 513, 0, 0, true},   {10, 50, 1100, 0, 2, true},
    {257, 20, 30, 0, 0, true}, {600, 5, 9, 0, 0, true},     {35, 192, 192, 0, 0, true},
    {2, 10, 4200, 0, 0, true}, {11, 49, 2063, 3, 0, false},
};
enum { CASES = sizeof cases / sizeof *cases };

/* One level and type that this machine has. */
struct how {
    enum dvit_cpu cpu;
    enum type type;
};

static bool available(struct how how)
{
    if (how.cpu > dvit_cpu_best())
        return false;
    if (how.cpu == DVIT_CPU_REFERENCE || how.type == F32)
        return true;
    return how.cpu == DVIT_CPU_AVX512 &&
           (how.type == BF16 ? dvit_cpu_has_bf16() : dvit_cpu_has_vnni());
}

static const struct how ways[] = {
    {DVIT_CPU_REFERENCE, F32},  {DVIT_CPU_AVX2, F32},    {DVIT_CPU_AVX512, F32},
    {DVIT_CPU_REFERENCE, BF16}, {DVIT_CPU_AVX512, BF16}, {DVIT_CPU_REFERENCE, INT8},
    {DVIT_CPU_AVX512, INT8},
};
enum { WAYS = sizeof ways / sizeof *ways };

struct problem {
    struct dvit_matmul_shape shape;
    size_t rows, x_count, y_count;
    enum type type;
    struct guarded x, y, weight, bias, residual;
    struct dvit_quantised x_bytes;
    size_t cut; /* outputs of the first of two runs; 0: one run does all */
};

static void fill(struct guarded *g, size_t count, uint32_t index)
{
    struct dvit_rng rng = dvit_rng_stream(11, DVIT_RNG_TEST, 0, index);
    for (size_t n = 0; n < count; n++)
        g->data[n] = (float)dvit_rng_normal(&rng);
}

/* What covers all of x. */
static struct dvit_quantised bytes_of(const float *x, size_t count)
{
    float low = 0, high = 0;
    for (size_t n = 0; n < count; n++) {
        low = fminf(low, x[n]);
        high = fmaxf(high, x[n]);
    }
    return dvit_quantise_range(low, high);
}

static struct problem problem_new(const struct packed_case *c, enum type type, enum after after,
                                  enum guard_side side)
{
    struct problem p = {.rows = c->rows, .type = type};
    p.shape = (struct dvit_matmul_shape){.kind = DVIT_MATMUL_FORWARD,
                                         .outputs = c->outputs,
                                         .inputs = c->inputs,
                                         .x_stride = c->inputs + c->x_pad,
                                         .y_stride = c->outputs + c->y_pad,
                                         .bias = c->bias,
                                         .constant = true,
                                         .bf16 = type == BF16,
                                         .int8 = type == INT8,
                                         .gelu = after == GELU,
                                         .relu = after == RELU,
                                         .residual = after >= RESIDUAL,
                                         .factor = after == HALF_RESIDUAL ? 0.5f : 0.0f};
    p.x_count = (c->rows - 1) * p.shape.x_stride + c->inputs; /* the last row has no padding */
    p.y_count = (c->rows - 1) * p.shape.y_stride + c->outputs;
    p.x = guard_new(p.x_count, side);
    p.y = guard_new(p.y_count, side);
    p.weight = guard_new(c->outputs * c->inputs, side);
    p.bias = guard_new(c->outputs, side);
    p.residual = guard_new(p.y_count, side);
    fill(&p.x, p.x_count, 1);
    fill(&p.weight, c->outputs * c->inputs, 2);
    fill(&p.bias, c->outputs, 3);
    fill(&p.residual, p.y_count, 4);
    p.x_bytes = bytes_of(p.x.data, p.x_count);
    return p;
}

static void problem_free(struct problem *p)
{
    guard_free(&p->x), guard_free(&p->y), guard_free(&p->weight), guard_free(&p->bias);
    guard_free(&p->residual);
}

/* Of outputs in bytes. */
static const struct dvit_quantised y_bytes = {0.05f, 100};

/* Packed weight and scratch end at unmapped pages too. */
static void run(struct problem *p, enum dvit_cpu cpu)
{
    struct dvit_error error = {0};
    struct dvit_matmul *matmul = NULL;
    if (dvit_matmul_create(&matmul, &p->shape, cpu, 1, &error) != DVIT_OK ||
        dvit_matmul_prepare(matmul, 1, &error) != DVIT_OK)
        fail_msg("%s", error.message);
    size_t bytes = dvit_matmul_packed_bytes(matmul);
    struct guarded packed = guard_new((bytes + 63) / 64 * 16 + 16, GUARD_AFTER);
    struct guarded scratch =
        guard_new((dvit_matmul_scratch_bytes(matmul) + 63) / 64 * 16 + 16, GUARD_AFTER);
    if (bytes > 0 && dvit_matmul_pack(matmul, packed.data, p->weight.data, &error) != DVIT_OK)
        fail_msg("%s", error.message);
    struct dvit_matmul_operands operands = {.x = p->x.data,
                                            .y = p->y.data,
                                            .weight = bytes > 0 ? NULL : p->weight.data,
                                            .packed = bytes > 0 ? packed.data : NULL,
                                            .bias = p->bias.data,
                                            .residual = p->residual.data,
                                            .x_bytes = p->x_bytes,
                                            .y_bytes = y_bytes,
                                            .scratch = scratch.data};
    if (p->cut > 0) {
        operands.outputs = p->cut;
        assert_int_equal(dvit_matmul_run(matmul, 0, p->rows, &operands), DVIT_OK);
        operands.first_output = p->cut;
        operands.outputs = p->shape.outputs - p->cut;
    }
    assert_int_equal(dvit_matmul_run(matmul, 0, p->rows, &operands), DVIT_OK);
    guard_free(&packed);
    guard_free(&scratch);
    dvit_matmul_free(matmul);
}

/* --- the oracle ----------------------------------------------------------------------------------
 */

static double rounded(const struct problem *p, float x)
{
    uint16_t half;
    struct dvit_kernels kernels;
    if (p->type != BF16)
        return x;
    dvit_kernels_select(&kernels, DVIT_CPU_REFERENCE);
    kernels.to_bf16(&half, &x, 1);
    uint32_t bits = (uint32_t)half << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double largest_of(const float *x, size_t count)
{
    double largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(x[i]));
    return largest;
}

/* v = x·weightᵀ + bias of one element, and how far floats may be from it. */
static double product_of(const struct problem *p, size_t r, size_t o, double *bound)
{
    const struct dvit_matmul_shape *s = &p->shape;
    const float *x = p->x.data + r * s->x_stride, *w = p->weight.data + o * s->inputs;
    double value = s->bias ? p->bias.data[o] : 0, magnitude = fabs(value), wrong = 0;
    /* Of 8 bits: x within half a step, a weight within 1/254 of the largest. */
    double half_x = p->x_bytes.scale * 0.502, half_w = largest_of(w, s->inputs) / 254 * 1.004;
    for (size_t i = 0; i < s->inputs; i++) {
        double term = rounded(p, x[i]) * rounded(p, w[i]);
        value += term;
        magnitude += fabs(term);
        wrong += fabs(x[i]) * half_w + fabs(w[i]) * half_x + half_x * half_w;
    }
    *bound = (4 + 2 * sqrt((double)s->inputs)) * 0x1p-24 * magnitude + 1e-30;
    if (p->type == INT8)
        *bound += wrong;
    return value;
}

static double expected(const struct problem *p, size_t r, size_t o, double *bound)
{
    double v = product_of(p, r, o, bound);
    if (p->shape.gelu) {
        *bound = *bound * 1.13 +
                 (p->type == F32 ? 2e-6 : (p->type == BF16 ? 2e-4 : 1.2e-3) * fmax(1, fabs(v)));
        return v * 0.5 * erfc(-v * 0.70710678118654752440);
    }
    if (p->shape.relu)
        return fmax(v, 0);
    if (p->shape.residual) {
        double factor = p->shape.factor == 0 ? 1 : p->shape.factor;
        double residual = p->residual.data[r * p->shape.y_stride + o];
        *bound = factor * *bound + 0x1p-23 * (fabs(residual) + fabs(factor * v));
        return residual + factor * v;
    }
    return v;
}

static void check(const struct problem *p, struct how how, size_t index)
{
    const struct dvit_matmul_shape *s = &p->shape;
    for (size_t r = 0; r < p->rows; r++) {
        for (size_t o = 0; o < s->outputs; o++) {
            double bound, want = expected(p, r, o, &bound);
            float got = p->y.data[r * s->y_stride + o];
            if (!(fabs(got - want) <= bound))
                fail_msg("case %zu, %s, type %d, row %zu, output %zu: %.9g, expected %.9g ± %.3g",
                         index, dvit_cpu_name(how.cpu), how.type, r, o, got, want, bound);
        }
        for (size_t o = s->outputs; r + 1 < p->rows && o < s->y_stride; o++)
            assert_true(isnan(p->y.data[r * s->y_stride + o])); /* padding untouched */
    }
}

static void test_every_level_and_type_matches_the_oracle(void **state)
{
    for (size_t w = 0; w < WAYS; w++)
        for (size_t n = 0; available(ways[w]) && n < CASES; n++)
            for (int side = 0; side < GUARD_SIDES; side++) {
                enum after after = (enum after)((n + (size_t)side) % AFTERS);
                struct problem p =
                    problem_new(&cases[n], ways[w].type, after, (enum guard_side)side);
                run(&p, ways[w].cpu);
                check(&p, ways[w], n);
                problem_free(&p);
            }
}

static void test_everything_that_follows(void **state)
{
    const struct packed_case c = {21, 53, 70, 1, 2, true};
    for (size_t w = 0; w < WAYS; w++)
        for (int after = 0; available(ways[w]) && after < AFTERS; after++) {
            struct problem p = problem_new(&c, ways[w].type, (enum after)after, GUARD_AFTER);
            run(&p, ways[w].cpu);
            check(&p, ways[w], (size_t)after);
            problem_free(&p);
        }
}

/* Also without dvit's own products: matmul.c then does what follows. */
static void test_what_follows_without_a_constant_weight(void **state)
{
    const struct packed_case c = {21, 53, 70, 1, 2, true};
    for (size_t w = 0; w < WAYS; w++)
        for (int after = 0; available(ways[w]) && ways[w].type != INT8 && after < AFTERS; after++) {
            struct problem p = problem_new(&c, ways[w].type, (enum after)after, GUARD_AFTER);
            p.shape.constant = false;
            run(&p, ways[w].cpu);
            check(&p, ways[w], (size_t)after);
            problem_free(&p);
        }
}

/* --- 8 bits: every level multiplies the definition's bytes
 * ----------------------------------------
 */

static void assert_as_definition(const struct problem *p, const struct problem *definition)
{
    for (size_t n = 0; n < p->y_count; n++) {
        float got = p->y.data[n], want = definition->y.data[n];
        bool same = isnan(want) ? isnan(got) : fabs(got - want) <= 4e-7 * (8 + fabs(want));
        if (!same)
            fail_msg("element %zu: %.9g, by definition %.9g", n, got, want);
    }
}

static void test_bytes_are_the_definitions(void **state)
{
    if (!available((struct how){DVIT_CPU_AVX512, INT8}))
        skip();
    for (size_t n = 0; n < CASES; n++)
        for (int given = 0; given < 2; given++) {
            struct problem p[2];
            for (int k = 0; k < 2; k++) {
                p[k] = problem_new(&cases[n], INT8, NOTHING, GUARD_AFTER);
                if (given == 1) { /* saturates */
                    p[k].x_bytes = (struct dvit_quantised){0.004f, 40};
                    p[k].x.data[0] = INFINITY, p[k].x.data[p[k].x_count - 1] = NAN;
                }
                for (size_t i = 0; i < p[k].shape.outputs * p[k].shape.inputs; i++)
                    p[k].weight.data[i] *= 0.1f;
                run(&p[k], k ? DVIT_CPU_AVX512 : DVIT_CPU_REFERENCE);
            }
            assert_as_definition(&p[1], &p[0]);
            problem_free(&p[0]), problem_free(&p[1]);
        }
}

/* Outputs in two runs are those of one. */
static void test_ranges_of_outputs(void **state)
{
    const struct packed_case c = {21, 150, 72, 1, 2, true};
    for (size_t w = 0; w < WAYS; w++)
        for (int after = 0; available(ways[w]) && after < AFTERS; after++) {
            if (ways[w].cpu == DVIT_CPU_REFERENCE)
                continue;
            struct problem whole = problem_new(&c, ways[w].type, (enum after)after, GUARD_AFTER);
            struct problem cut = problem_new(&c, ways[w].type, (enum after)after, GUARD_AFTER);
            cut.cut = 2 * DVIT_MATMUL_RANGE;
            run(&whole, ways[w].cpu);
            run(&cut, ways[w].cpu);
            for (size_t i = 0; i < whole.y_count; i++)
                assert_true(whole.y.data[i] == cut.y.data[i] || isnan(whole.y.data[i]));
            problem_free(&whole), problem_free(&cut);
        }
}

/* --- rows in other formats than floats
 * -----------------------------------------------------------
 */

/* A span of floats as the reference rounds it. */
static struct guarded as_numbers(const struct guarded *from, size_t count, struct dvit_format to,
                                 enum guard_side side)
{
    struct dvit_kernels kernels;
    struct guarded numbers = guard_new((count * dvit_number_bytes(to.number) + 3) / 4, side);
    dvit_kernels_select(&kernels, DVIT_CPU_REFERENCE);
    if (to.number == DVIT_NUMBER_F32)
        memcpy(numbers.data, from->data, count * sizeof(float));
    else if (to.number == DVIT_NUMBER_BF16)
        kernels.to_bf16((void *)numbers.data, from->data, count);
    else
        kernels.quantise((void *)numbers.data, from->data, count, to.bytes);
    return numbers;
}

/* Swaps an array of floats for the same in a format. */
static void exchange(struct guarded *array, size_t count, struct dvit_format to)
{
    struct guarded numbers = as_numbers(array, count, to, GUARD_AFTER);
    guard_free(array);
    *array = numbers;
}

static struct dvit_format own_format(const struct problem *p)
{
    static const enum dvit_number numbers[] = {DVIT_NUMBER_F32, DVIT_NUMBER_BF16, DVIT_NUMBER_U8};
    return (struct dvit_format){numbers[p->type], p->x_bytes};
}

/* Depths of whole granules that are not cut. */
static const struct packed_case of_numbers[] = {{9, 130, 64, 0, 6, true},
                                                {21, 53, 72, 4, 3, true},
                                                {300, 20, 32, 0, 0, false},
                                                {1, 7, 1020, 0, 1, true}};

static void test_rows_that_come_rounded_change_no_bit(void **state)
{
    for (size_t w = 0; w < WAYS; w++)
        for (size_t n = 0; available(ways[w]) && n < 4; n++) {
            struct problem floats = problem_new(&of_numbers[n], ways[w].type, GELU, GUARD_AFTER);
            struct problem rounded = problem_new(&of_numbers[n], ways[w].type, GELU, GUARD_AFTER);
            rounded.shape.x_number = own_format(&rounded).number;
            exchange(&rounded.x, rounded.x_count, own_format(&rounded));
            run(&floats, ways[w].cpu);
            run(&rounded, ways[w].cpu);
            assert_memory_equal(rounded.y.data, floats.y.data, floats.y_count * sizeof(float));
            problem_free(&floats), problem_free(&rounded);
        }
}

/* As the floats of the same level, rounded; what is between the rows stays. */
static void check_written(struct problem *p, struct problem *floats, enum dvit_cpu cpu)
{
    const struct dvit_format to = {p->shape.y_number, y_bytes};
    size_t bytes = dvit_number_bytes(to.number);
    exchange(&p->y, p->y_count, to); /* of NaN */
    struct guarded before = as_numbers(&floats->y, floats->y_count, to, GUARD_AFTER);
    run(p, cpu);
    run(floats, cpu);
    struct guarded want = as_numbers(&floats->y, floats->y_count, to, GUARD_AFTER);
    for (size_t i = 0; i < p->y_count; i++) {
        bool padding = i % p->shape.y_stride >= p->shape.outputs;
        const char *expected = (const char *)(padding ? before : want).data + i * bytes;
        assert_memory_equal((const char *)p->y.data + i * bytes, expected, bytes);
    }
    guard_free(&before), guard_free(&want);
}

static void test_outputs_in_every_format(void **state)
{
    for (size_t w = 0; w < WAYS; w++)
        for (int n = 0; available(ways[w]) && ways[w].type != F32 && n < 16; n++) {
            enum after after = n & 1 ? GELU : NOTHING;
            const struct packed_case *c = &of_numbers[n / 4];
            struct problem p = problem_new(c, ways[w].type, after, GUARD_AFTER);
            struct problem floats = problem_new(c, ways[w].type, after, GUARD_AFTER);
            p.shape.y_number = n & 2 ? DVIT_NUMBER_U8 : DVIT_NUMBER_BF16;
            if (p.shape.y_number == DVIT_NUMBER_U8 || dvit_cpu_has_bf16())
                check_written(&p, &floats, ways[w].cpu);
            problem_free(&p), problem_free(&floats);
        }
}

/* --- numbers that are not finite, and the largest sums
 * --------------------------------------------
 */

static void test_numbers_that_are_not_finite_stay_in_their_row(void **state)
{
    const struct packed_case c = {19, 50, 37, 0, 0, true};
    const float strange[] = {NAN, INFINITY, -INFINITY};
    for (size_t w = 0; w < WAYS; w++)
        for (int k = 0; available(ways[w]) && k < 3; k++) {
            struct problem p = problem_new(&c, ways[w].type, NOTHING, GUARD_AFTER);
            p.x.data[7 * p.shape.x_stride + 36] = strange[k];
            run(&p, ways[w].cpu);
            for (size_t r = 0; r < p.rows; r++)
                for (size_t o = 0; o < p.shape.outputs; o++) {
                    float y = p.y.data[r * p.shape.y_stride + o];
                    bool finite = r != 7 || ways[w].type == INT8; /* which saturates */
                    assert_true(finite ? isfinite(y) : k > 0 ? isinf(y) : isnan(y));
                }
            problem_free(&p);
        }
}

static void test_the_deepest_sum_of_bytes_is_exact(void **state)
{
    const struct packed_case c = {1, 1, 32768, 0, 0, false};
    for (size_t w = 0; w < WAYS; w++) {
        if (ways[w].type != INT8 || !available(ways[w]))
            continue;
        struct problem p = problem_new(&c, INT8, NOTHING, GUARD_AFTER);
        for (size_t i = 0; i < c.inputs; i++)
            p.x.data[i] = p.weight.data[i] = 2.0f;
        p.x_bytes = dvit_quantise_range(0, 2);
        run(&p, ways[w].cpu);
        assert_float_equal(p.y.data[0], 4.0f * 32768, 0.1f);
        problem_free(&p);
    }
}

static void test_bad_shapes_are_refused(void **state)
{
    const struct dvit_matmul_shape good = {.kind = DVIT_MATMUL_FORWARD,
                                           .outputs = 4,
                                           .inputs = 3,
                                           .x_stride = 3,
                                           .y_stride = 4,
                                           .constant = true};
    struct dvit_matmul_shape bad[] = {good, good, good, good, good, good,
                                      good, good, good, good, good};
    bad[0].kind = DVIT_MATMUL_DATA;
    bad[1].int8 = true, bad[1].constant = false;
    bad[2].int8 = bad[2].bf16 = true;
    bad[3].int8 = true, bad[3].inputs = bad[3].x_stride = 32769;
    bad[4].gelu = bad[4].residual = true;
    bad[5].constant = false, bad[5].kind = DVIT_MATMUL_DATA, bad[5].gelu = true;
    bad[6].constant = false, bad[6].kind = DVIT_MATMUL_WEIGHT, bad[6].residual = true;
    bad[7].x_number = DVIT_NUMBER_BF16; /* of a product of floats */
    bad[8].residual = true, bad[8].y_number = DVIT_NUMBER_BF16;
    bad[9].constant = false, bad[9].y_number = DVIT_NUMBER_U8;
    bad[10].gelu = bad[10].relu = true;
    struct dvit_error error;
    struct dvit_matmul *matmul = NULL;
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        assert_int_not_equal(dvit_matmul_create(&matmul, &bad[n], dvit_cpu_best(), 1, &error), 0);
        assert_null(matmul);
        assert_int_not_equal(error.message[0], 0);
    }
    struct dvit_matmul_shape bytes = good;
    bytes.int8 = true;
    assert_int_not_equal(dvit_matmul_create(&matmul, &bytes, DVIT_CPU_AVX2, 1, &error), 0);
    float zeros[12] = {0};
    const struct dvit_matmul_operands plain = {.x = zeros, .y = zeros, .weight = zeros};
    assert_int_equal(dvit_matmul_create(&matmul, &good, dvit_cpu_best(), 1, &error), DVIT_OK);
    assert_int_equal(dvit_matmul_prepare(matmul, 1, &error), DVIT_OK);
    if (dvit_cpu_best() >= DVIT_CPU_AVX2) { /* packed, or nothing */
        assert_string_equal(dvit_matmul_server(matmul), "dvit's own");
        assert_int_equal(dvit_matmul_run(matmul, 0, 1, &plain), DVIT_ERROR_ARGUMENT);
    }
    dvit_matmul_free(matmul);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_level_and_type_matches_the_oracle),
        cmocka_unit_test(test_everything_that_follows),
        cmocka_unit_test(test_what_follows_without_a_constant_weight),
        cmocka_unit_test(test_bytes_are_the_definitions),
        cmocka_unit_test(test_ranges_of_outputs),
        cmocka_unit_test(test_rows_that_come_rounded_change_no_bit),
        cmocka_unit_test(test_outputs_in_every_format),
        cmocka_unit_test(test_numbers_that_are_not_finite_stay_in_their_row),
        cmocka_unit_test(test_the_deepest_sum_of_bytes_is_exact),
        cmocka_unit_test(test_bad_shapes_are_refused),
    };
    dvit_matmul_setting.enter();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
