/* Row-wise and element-wise kernels: the reference against finite differences in double, every
 * vector level against the reference. Arrays end at unmapped pages, outputs are filled with NaN,
 * and every bound is computed from the sizes and magnitudes at hand. Attention:
 * test_kernels_attention.c. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/rng.h"
#include "kernels/kernels.h"
#include "test_kernels_guard.h"

#define HALF_ULP 0x1p-24

static const size_t widths[] = {1, 2, 3, 7, 15, 16, 17, 31, 63, 64, 65, 197, 384};
static const size_t row_counts[] = {1, 3, 20};
enum {
    WIDTHS = sizeof widths / sizeof *widths,
    ROW_COUNTS = sizeof row_counts / sizeof *row_counts
};

static struct dvit_kernels reference;

/* count values of mean + N(0, 1). */
static struct guarded random_array(size_t count, double mean, uint32_t index, enum guard_side side)
{
    struct guarded g = guard_new(count, side);
    struct dvit_rng rng = dvit_rng_stream(11, DVIT_RNG_TEST, count, index);
    for (size_t n = 0; n < count; n++)
        g.data[n] = (float)(mean + dvit_rng_normal(&rng));
    return g;
}

static double largest(const float *x, size_t count)
{
    double max = 0;
    for (size_t n = 0; n < count; n++)
        max = fmax(max, fabs(x[n]));
    return max;
}

static void assert_close(const float *got, const float *want, size_t count, double bound,
                         const char *what, enum dvit_cpu cpu)
{
    for (size_t n = 0; n < count; n++)
        if (!(fabs((double)got[n] - want[n]) <= bound))
            fail_msg("%s, %s, element %zu of %zu: %.9g, expected %.9g ± %.3g", what,
                     dvit_cpu_name(cpu), n, count, got[n], want[n], bound);
}

/* Runs `check` for every vector level of this machine, width, row count and side of the guard. */
typedef void level_check(const struct dvit_kernels *kernels, size_t rows, size_t width,
                         enum guard_side side);

static void for_every_level(level_check *check)
{
    for (int cpu = DVIT_CPU_REFERENCE + 1; cpu <= (int)dvit_cpu_best(); cpu++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        assert_int_equal(kernels.cpu, cpu);
        for (size_t w = 0; w < WIDTHS; w++)
            for (size_t r = 0; r < ROW_COUNTS; r++)
                for (int side = 0; side < GUARD_SIDES; side++)
                    check(&kernels, row_counts[r], widths[w], (enum guard_side)side);
    }
}

/* --- layer normalisation ---------------------------------------------------------------------- */

struct norm_arrays {
    struct guarded x, dy, weight, bias, y, mean, rstd, y_ref, mean_ref, rstd_ref;
    double bound;  /* of y */
    double spread; /* largest |x − mean|·rstd and |x|·rstd that rounding sees */
};

static struct norm_arrays norm_arrays_new(const struct dvit_kernels *kernels, size_t rows,
                                          size_t width, enum guard_side side)
{
    const float eps = 1e-6f;
    size_t count = rows * width;
    struct norm_arrays a = {.x = random_array(count, 2, 1, side),
                            .dy = random_array(count, 0, 2, side),
                            .weight = random_array(width, 1, 3, side),
                            .bias = random_array(width, 0, 4, side),
                            .y = guard_new(count, side),
                            .mean = guard_new(rows, side),
                            .rstd = guard_new(rows, side),
                            .y_ref = guard_new(count, side),
                            .mean_ref = guard_new(rows, side),
                            .rstd_ref = guard_new(rows, side)};
    reference.layer_norm(a.y_ref.data, a.mean_ref.data, a.rstd_ref.data, a.x.data, a.weight.data,
                         a.bias.data, rows, width, eps);
    kernels->layer_norm(a.y.data, a.mean.data, a.rstd.data, a.x.data, a.weight.data, a.bias.data,
                        rows, width, eps);
    double rstd = largest(a.rstd_ref.data, rows);
    a.spread = 1 + largest(a.x.data, count) * rstd;
    a.bound = HALF_ULP * (8 + 2 * sqrt((double)width)) *
              (a.spread * largest(a.weight.data, width) + largest(a.bias.data, width));
    return a;
}

static void norm_arrays_free(struct norm_arrays *a)
{
    struct guarded *all[] = {&a->x,    &a->dy,   &a->weight, &a->bias,     &a->y,
                             &a->mean, &a->rstd, &a->y_ref,  &a->mean_ref, &a->rstd_ref};
    for (size_t n = 0; n < sizeof all / sizeof *all; n++)
        guard_free(all[n]);
}

static void check_norm(const struct dvit_kernels *kernels, size_t rows, size_t width,
                       enum guard_side side)
{
    struct norm_arrays a = norm_arrays_new(kernels, rows, width, side);
    assert_close(a.y.data, a.y_ref.data, rows * width, a.bound, "layer_norm", kernels->cpu);
    assert_close(a.mean.data, a.mean_ref.data, rows,
                 HALF_ULP * (4 + 2 * sqrt((double)width)) * largest(a.x.data, rows * width),
                 "layer_norm mean", kernels->cpu);
    for (size_t r = 0; r < rows; r++)
        assert_true(fabs(a.rstd.data[r] / a.rstd_ref.data[r] - 1) <=
                    HALF_ULP * (8 + 2 * sqrt((double)width)) * a.spread);
    memcpy(a.y.data, a.x.data, rows * width * sizeof(float)); /* in place, without statistics */
    kernels->layer_norm(a.y.data, NULL, NULL, a.y.data, a.weight.data, a.bias.data, rows, width,
                        1e-6f);
    assert_close(a.y.data, a.y_ref.data, rows * width, a.bound, "layer_norm in place",
                 kernels->cpu);
    norm_arrays_free(&a);
}

static void check_norm_backward(const struct dvit_kernels *kernels, size_t rows, size_t width,
                                enum guard_side side)
{
    struct norm_arrays a = norm_arrays_new(kernels, rows, width, side);
    size_t count = rows * width;
    double rstd = largest(a.rstd_ref.data, rows);
    double bound = HALF_ULP * (16 + 2 * sqrt((double)width)) * rstd * a.spread * a.spread *
                   largest(a.dy.data, count) * largest(a.weight.data, width);
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        struct guarded dx = random_array(count, 0, 5, side), dx_ref = guard_new(count, side);
        memcpy(dx_ref.data, dx.data, count * sizeof(float));
        for (size_t n = 0; !accumulate && n < count; n++)
            dx.data[n] = dx_ref.data[n] = NAN;
        reference.layer_norm_backward_data(dx_ref.data, a.dy.data, a.x.data, a.mean_ref.data,
                                           a.rstd_ref.data, a.weight.data, rows, width, accumulate);
        kernels->layer_norm_backward_data(dx.data, a.dy.data, a.x.data, a.mean_ref.data,
                                          a.rstd_ref.data, a.weight.data, rows, width, accumulate);
        assert_close(dx.data, dx_ref.data, count, bound + 4 * HALF_ULP, "layer_norm_backward_data",
                     kernels->cpu);
        guard_free(&dx);
        guard_free(&dx_ref);
    }
    norm_arrays_free(&a);
}

static void check_norm_backward_weights(const struct dvit_kernels *kernels, size_t rows,
                                        size_t width, enum guard_side side)
{
    struct norm_arrays a = norm_arrays_new(kernels, rows, width, side);
    struct guarded dw = random_array(width, 0, 6, side), dw_ref = guard_new(width, side);
    struct guarded db = random_array(width, 0, 7, side), db_ref = guard_new(width, side);
    memcpy(dw_ref.data, dw.data, width * sizeof(float));
    memcpy(db_ref.data, db.data, width * sizeof(float));
    size_t first = width / 3, last = width - width / 4; /* the rest must stay */
    reference.layer_norm_backward_weights(dw_ref.data, db_ref.data, a.dy.data, a.x.data,
                                          a.mean_ref.data, a.rstd_ref.data, rows, width, first,
                                          last);
    kernels->layer_norm_backward_weights(dw.data, db.data, a.dy.data, a.x.data, a.mean_ref.data,
                                         a.rstd_ref.data, rows, width, first, last);
    double bound = HALF_ULP * (8 + 2 * sqrt((double)rows)) * (double)(rows + 4) * a.spread *
                   largest(a.dy.data, rows * width);
    assert_close(dw.data, dw_ref.data, width, bound, "layer_norm dweight", kernels->cpu);
    assert_close(db.data, db_ref.data, width, bound, "layer_norm dbias", kernels->cpu);
    guard_free(&dw), guard_free(&dw_ref), guard_free(&db), guard_free(&db_ref);
    norm_arrays_free(&a);
}

/* Loss Σ dy·layer_norm(x), in double. */
static double norm_loss(const double *x, const double *weight, const float *dy, size_t width,
                        double eps)
{
    double mean = 0, variance = 0, loss = 0;
    for (size_t c = 0; c < width; c++)
        mean += x[c] / (double)width;
    for (size_t c = 0; c < width; c++)
        variance += (x[c] - mean) * (x[c] - mean) / (double)width;
    for (size_t c = 0; c < width; c++)
        loss += dy[c] * weight[c] * (x[c] - mean) / sqrt(variance + eps);
    return loss;
}

static void test_norm_gradient_is_the_difference_quotient(void **state)
{
    enum { WIDTH = 19 };
    const double h = 1e-6;
    struct norm_arrays a = norm_arrays_new(&reference, 1, WIDTH, GUARD_AFTER);
    double x[WIDTH], weight[WIDTH];
    float dx[WIDTH], dw[WIDTH] = {0}, db[WIDTH] = {0};
    for (size_t c = 0; c < WIDTH; c++)
        x[c] = a.x.data[c], weight[c] = a.weight.data[c];
    reference.layer_norm_backward_data(dx, a.dy.data, a.x.data, a.mean.data, a.rstd.data,
                                       a.weight.data, 1, WIDTH, false);
    reference.layer_norm_backward_weights(dw, db, a.dy.data, a.x.data, a.mean.data, a.rstd.data, 1,
                                          WIDTH, 0, WIDTH);
    for (size_t c = 0; c < WIDTH; c++) {
        double *at[] = {&x[c], &weight[c]}, slope[2];
        for (int k = 0; k < 2; k++) {
            double before = *at[k];
            *at[k] = before + h;
            double up = norm_loss(x, weight, a.dy.data, WIDTH, 1e-6);
            *at[k] = before - h;
            slope[k] = (up - norm_loss(x, weight, a.dy.data, WIDTH, 1e-6)) / (2 * h);
            *at[k] = before;
        }
        assert_true(fabs(dx[c] - slope[0]) < 1e-5);
        assert_true(fabs(dw[c] - slope[1]) < 1e-5);
        assert_true(db[c] == a.dy.data[c]);
    }
    norm_arrays_free(&a);
}

/* --- GELU ------------------------------------------------------------------------------------- */

static double gelu_exact(double x)
{
    return 0.5 * x * erfc(-x / sqrt(2));
}

static double gelu_slope(double x)
{
    return 0.5 * erfc(-x / sqrt(2)) + x * exp(-0.5 * x * x) / sqrt(2 * acos(-1));
}

static void test_gelu_is_exact_within_2e_6(void **state)
{
    enum { POINTS = 240001 };
    struct guarded x = guard_new(POINTS, GUARD_AFTER), y = guard_new(POINTS, GUARD_BEFORE);
    struct guarded ones = guard_new(POINTS, GUARD_AFTER);
    for (size_t n = 0; n < POINTS; n++) {
        x.data[n] = (float)(-30 + 60.0 * (double)n / (POINTS - 1));
        ones.data[n] = 1;
    }
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        double worst = 0, worst_slope = 0;
        kernels.gelu(y.data, x.data, POINTS);
        for (size_t n = 0; n < POINTS; n++)
            worst = fmax(worst, fabs(y.data[n] - gelu_exact(x.data[n])));
        kernels.gelu_backward(y.data, ones.data, x.data, POINTS);
        for (size_t n = 0; n < POINTS; n++)
            worst_slope = fmax(worst_slope, fabs(y.data[n] - gelu_slope(x.data[n])));
        print_message("gelu %s: error %.2g, gradient %.2g\n", dvit_cpu_name((enum dvit_cpu)cpu),
                      worst, worst_slope);
        assert_true(worst <= 2e-6 && worst_slope <= 2e-6);
    }
    for (size_t n = 0; n < POINTS; n += 997) {
        double v = x.data[n], h = 1e-5;
        double quotient = (gelu_exact(v + h) - gelu_exact(v - h)) / (2 * h);
        float dx;
        reference.gelu_backward(&dx, ones.data, &x.data[n], 1);
        assert_true(fabs(dx - quotient) < 1e-6);
    }
    guard_free(&x), guard_free(&y), guard_free(&ones);
}

static void test_gelu_at_the_edges_of_float(void **state)
{
    const float x[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 0.0f, 1e-40f};
    enum { COUNT = sizeof x / sizeof *x };
    const float ones[COUNT] = {1, 1, 1, 1, 1, 1, 1};
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        struct dvit_kernels kernels;
        float y[COUNT], dx[COUNT];
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        kernels.gelu(y, x, COUNT);
        kernels.gelu_backward(dx, ones, x, COUNT);
        assert_true(isnan(y[0]) && isnan(dx[0]));
        assert_true(y[1] == INFINITY && y[2] == 0 && y[3] == 3e38f && y[4] == 0 && y[5] == 0);
        assert_true(fabsf(y[6]) <= 1e-40f);
        assert_true(dx[1] == 1 && dx[2] == 0 && dx[3] == 1 && dx[4] == 0);
        assert_true(fabsf(dx[5] - 0.5f) <= 2e-6f);
    }
}

/* --- the element-wise rest ---------------------------------------------------------------------
 */

static void check_elementwise(const struct dvit_kernels *kernels, size_t rows, size_t width,
                              enum guard_side side)
{
    size_t count = rows * width;
    struct guarded a = random_array(count, 0, 1, side), b = random_array(count, 0, 2, side);
    struct guarded y = guard_new(count, side), want = guard_new(count, side);
    kernels->gelu(y.data, a.data, count);
    reference.gelu(want.data, a.data, count);
    assert_close(y.data, want.data, count, 2e-6, "gelu", kernels->cpu);
    kernels->gelu_backward(y.data, b.data, a.data, count);
    reference.gelu_backward(want.data, b.data, a.data, count);
    assert_close(y.data, want.data, count, 2e-6 * largest(b.data, count), "gelu_backward",
                 kernels->cpu);
    kernels->add_scaled(y.data, a.data, b.data, 0.3f, count);
    reference.add_scaled(want.data, a.data, b.data, 0.3f, count);
    assert_close(y.data, want.data, count, 2 * HALF_ULP * largest(want.data, count) + 1e-12,
                 "add_scaled", kernels->cpu);
    memcpy(y.data, b.data, count * sizeof(float));
    kernels->add_scaled(y.data, a.data, y.data, 0.3f, count); /* in place */
    assert_close(y.data, want.data, count, 2 * HALF_ULP * largest(want.data, count) + 1e-12,
                 "add_scaled in place", kernels->cpu);
    double sum = kernels->sum_squares(a.data, count), exact = reference.sum_squares(a.data, count);
    assert_true(fabs(sum - exact) <= 1e-14 * exact * (double)count);
    a.data[count / 2] = INFINITY;
    assert_false(isfinite(kernels->sum_squares(a.data, count)));
    guard_free(&a), guard_free(&b), guard_free(&y), guard_free(&want);
}

/* Every rounding case of the upper half's last bit, then what is special; the vector levels give
 * the definition's bits. */
static void test_bf16_rounds_to_nearest_even(void **state)
{
    const struct {
        uint32_t from;
        uint16_t to;
    } exact[] = {
        {0x3f800000, 0x3f80}, {0x3f807fff, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81},
        {0x3f818000, 0x3f82}, {0x3f81ffff, 0x3f82}, {0x80000000, 0x8000}, {0x00000001, 0x0000},
        {0x7f7fffff, 0x7f80}, {0xff800000, 0xff80}, {0x7f800001, 0x7fc0}, {0xffc00000, 0xffc0},
    };
    enum { COUNT = sizeof exact / sizeof *exact, RANDOM = 1003 };
    float x[COUNT], random[RANDOM];
    uint16_t y[COUNT], got[RANDOM], want[RANDOM];
    for (int i = 0; i < COUNT; i++)
        memcpy(&x[i], &exact[i].from, sizeof x[i]);
    struct dvit_rng rng = dvit_rng_stream(9, DVIT_RNG_TEST, 0, 0);
    for (int i = 0; i < RANDOM; i++) {
        uint32_t bits = dvit_rng_below(&rng, UINT32_MAX);
        memcpy(&random[i], &bits, sizeof bits);
    }
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        kernels.to_bf16(y, x, COUNT);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(y[i], exact[i].to);
        kernels.to_bf16(got, random, RANDOM);
        reference.to_bf16(want, random, RANDOM);
        assert_memory_equal(got, want, sizeof want);
    }
}

/* Ties go to even bytes, what is beyond saturates, NaN is the lowest; the vector levels give the
 * definition's bytes, and touch no other. */
static void test_bytes_round_and_saturate(void **state)
{
    const struct dvit_quantised to = {0.5f, 100};
    const struct {
        float from;
        uint8_t to;
    } exact[] = {{0, 100},       {0.5f, 101}, {0.25f, 100}, {0.75f, 102}, {-0.25f, 100},
                 {-50, 0},       {-51, 0},    {77.5f, 255}, {78, 255},    {INFINITY, 255},
                 {-INFINITY, 0}, {NAN, 0},    {1e30f, 255}, {-1e30f, 0}};
    enum { COUNT = sizeof exact / sizeof *exact, RANDOM = 131 };
    float x[COUNT], random[RANDOM];
    uint8_t y[COUNT], got[RANDOM + 1], want[RANDOM];
    for (int i = 0; i < COUNT; i++)
        x[i] = exact[i].from;
    struct dvit_rng rng = dvit_rng_stream(9, DVIT_RNG_TEST, 0, 1);
    for (int i = 0; i < RANDOM; i++)
        random[i] = 40 * (float)dvit_rng_normal(&rng);
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        struct dvit_kernels kernels;
        dvit_kernels_select(&kernels, (enum dvit_cpu)cpu);
        kernels.quantise(y, x, COUNT, to);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(y[i], exact[i].to);
        for (size_t count = 1; count <= RANDOM; count++) {
            memset(got, 0xa5, sizeof got);
            kernels.quantise(got, random, count, to);
            reference.quantise(want, random, count, to);
            assert_memory_equal(got, want, count);
            assert_int_equal(got[count], 0xa5);
        }
    }
}

static void check_column_sums(const struct dvit_kernels *kernels, size_t rows, size_t width,
                              enum guard_side side)
{
    struct guarded x = random_array(rows * width, 0, 1, side);
    struct guarded sums = random_array(width, 0, 2, side), want = guard_new(width, side);
    for (int part = 0; part < 2; part++) {
        size_t first = part ? width / 3 : 0, last = part ? width - width / 4 : width;
        memcpy(want.data, sums.data, width * sizeof(float));
        reference.column_sums(want.data, x.data, rows, width, first, last);
        kernels->column_sums(sums.data, x.data, rows, width, first, last);
        double bound = HALF_ULP * (4 + 2 * sqrt((double)rows)) * (double)(rows + 4) *
                       largest(x.data, rows * width);
        assert_close(sums.data, want.data, width, bound, "column_sums", kernels->cpu);
    }
    guard_free(&x), guard_free(&sums), guard_free(&want);
}

static void check_optimizer(const struct dvit_kernels *kernels, size_t rows, size_t width,
                            enum guard_side side)
{
    size_t count = rows * width;
    struct dvit_adamw_step step = {.learning_rate = 1e-3f,
                                   .beta1 = 0.9f,
                                   .beta2 = 0.999f,
                                   .eps = 1e-8f,
                                   .weight_decay = 0.05f,
                                   .bias1 = 0.19f,
                                   .bias2 = 0.001999f,
                                   .gradient_scale = 0.5f};
    struct guarded g = random_array(count, 0, 1, side), w = random_array(count, 0, 2, side);
    struct guarded m = random_array(count, 0, 3, side), v = random_array(count, 4, 4, side);
    struct guarded want[3] = {guard_new(count, side), guard_new(count, side),
                              guard_new(count, side)};
    for (size_t n = 0; n < count; n++)
        v.data[n] = fabsf(v.data[n]);
    for (int frozen = 0; frozen < 2; frozen++) {
        struct guarded before = guard_new(count, side);
        memcpy(before.data, w.data, count * sizeof(float));
        memcpy(want[0].data, w.data, count * sizeof(float));
        memcpy(want[1].data, m.data, count * sizeof(float));
        memcpy(want[2].data, v.data, count * sizeof(float));
        step.learning_rate = frozen ? 0 : 1e-3f;
        reference.adamw(want[0].data, want[1].data, want[2].data, g.data, count, &step);
        kernels->adamw(w.data, m.data, v.data, g.data, count, &step);
        double scale = 4 * HALF_ULP * (1 + largest(want[2].data, count));
        assert_close(w.data, want[0].data, count, 2 * HALF_ULP * largest(want[0].data, count),
                     "adamw weight", kernels->cpu);
        assert_close(m.data, want[1].data, count, scale, "adamw moment 1", kernels->cpu);
        assert_close(v.data, want[2].data, count, scale, "adamw moment 2", kernels->cpu);
        if (frozen)
            assert_memory_equal(w.data, before.data, count * sizeof(float));
        guard_free(&before);
    }
    memcpy(want[0].data, m.data, count * sizeof(float));
    reference.ema(want[0].data, w.data, 0.9999f, count);
    kernels->ema(m.data, w.data, 0.9999f, count);
    assert_close(m.data, want[0].data, count, 3 * HALF_ULP * largest(want[0].data, count) + 1e-9,
                 "ema", kernels->cpu);
    guard_free(&g), guard_free(&w), guard_free(&m), guard_free(&v);
    for (int k = 0; k < 3; k++)
        guard_free(&want[k]);
}

/* The other rules of descent, on the same terms. */
static void check_lamb_and_sgd(const struct dvit_kernels *kernels, size_t rows, size_t width,
                               enum guard_side side)
{
    size_t count = rows * width;
    const struct dvit_adamw_step adam = {1e-3f, 0.9f, 0.999f, 1e-6f, 0.05f, 0.19f, 0.001999f, 0.5f};
    struct guarded g = random_array(count, 0, 1, side), w = random_array(count, 0, 2, side);
    struct guarded m = random_array(count, 0, 3, side), v = random_array(count, 4, 4, side);
    struct guarded want[3] = {guard_new(count, side), guard_new(count, side),
                              guard_new(count, side)};
    for (size_t n = 0; n < count; n++)
        v.data[n] = fabsf(v.data[n]);
    for (int way = 0; way < 3; way++) { /* plain, ahead, standing */
        const struct dvit_sgd_step step = {way == 2 ? 0 : 1e-2f, 0.9f, 0.05f, 0.5f, way == 1};
        memcpy(want[0].data, w.data, count * sizeof(float));
        memcpy(want[1].data, m.data, count * sizeof(float));
        reference.sgd(want[0].data, want[1].data, g.data, count, &step);
        kernels->sgd(w.data, m.data, g.data, count, &step);
        assert_close(w.data, want[0].data, count, 3 * HALF_ULP * largest(want[0].data, count),
                     "sgd weight", kernels->cpu);
        assert_close(m.data, want[1].data, count, 4 * HALF_ULP * (1 + largest(want[1].data, count)),
                     "sgd moment", kernels->cpu);
    }
    memcpy(want[0].data, g.data, count * sizeof(float));
    memcpy(want[1].data, m.data, count * sizeof(float));
    memcpy(want[2].data, v.data, count * sizeof(float));
    reference.lamb_direction(want[0].data, want[1].data, want[2].data, w.data, count, &adam);
    kernels->lamb_direction(g.data, m.data, v.data, w.data, count, &adam);
    double scale = 4 * HALF_ULP * (1 + largest(want[2].data, count));
    assert_close(g.data, want[0].data, count, 16 * HALF_ULP * (1 + largest(want[0].data, count)),
                 "lamb direction", kernels->cpu);
    assert_close(m.data, want[1].data, count, scale, "lamb moment 1", kernels->cpu);
    assert_close(v.data, want[2].data, count, scale, "lamb moment 2", kernels->cpu);
    guard_free(&g), guard_free(&w), guard_free(&m), guard_free(&v);
    for (int k = 0; k < 3; k++)
        guard_free(&want[k]);
}

static void test_sgd_by_hand(void **state)
{
    /* g = 2 + .5·4 = 4, m = .5·6 + 4 = 7; ahead: g + .5·7 = 7.5. */
    for (int nesterov = 0; nesterov < 2; nesterov++) {
        const struct dvit_sgd_step step = {0.1f, 0.5f, 0.5f, 1, nesterov};
        float w = 4, m = 6, g = 2;
        reference.sgd(&w, &m, &g, 1, &step);
        assert_true(fabs(w - (nesterov ? 3.25 : 3.3)) < 1e-6 && m == 7);
    }
}

static void test_adamw_by_hand(void **state)
{
    /* m = .1·2, v = .001·4; with bias corrections both are the gradient's own: step −lr·(wd·w + 1).
     */
    const struct dvit_adamw_step step = {0.01f, 0.9f, 0.999f, 0, 0.1f, 0.1f, 0.001f, 1};
    float w = 3, m = 0, v = 0, g = 2;
    reference.adamw(&w, &m, &v, &g, 1, &step);
    assert_true(fabs(w - (3 - 0.01 * 0.1 * 3 - 0.01)) < 1e-6);
    assert_true(fabs(m - 0.2) < 1e-7 && fabs(v - 0.004) < 1e-7);
}

static void test_norm_levels(void **state)
{
    for_every_level(check_norm);
    for_every_level(check_norm_backward);
    for_every_level(check_norm_backward_weights);
}

static void test_elementwise_levels(void **state)
{
    for_every_level(check_elementwise);
    for_every_level(check_column_sums);
    for_every_level(check_optimizer);
    for_every_level(check_lamb_and_sgd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norm_gradient_is_the_difference_quotient),
        cmocka_unit_test(test_norm_levels),
        cmocka_unit_test(test_gelu_is_exact_within_2e_6),
        cmocka_unit_test(test_bf16_rounds_to_nearest_even),
        cmocka_unit_test(test_bytes_round_and_saturate),
        cmocka_unit_test(test_gelu_at_the_edges_of_float),
        cmocka_unit_test(test_elementwise_levels),
        cmocka_unit_test(test_adamw_by_hand),
        cmocka_unit_test(test_sgd_by_hand),
    };
    dvit_kernels_select(&reference, DVIT_CPU_REFERENCE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
