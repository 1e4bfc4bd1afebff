/* Template: the product of a packed weight and what follows it. Compiled once per level and type,
 * over the words of vector/README.md and these:
 *
 * PACKED_PRODUCT            the external name
 * PACKED_GRANULE            inputs in 32 bits
 * TILE_ROWS, TILE_VECS      the register block; TILE_VECS · VEC_WIDTH divides a panel's columns
 * granules                  a register of granules
 * granules_load(p), granules_spread(p)   aligned; one granule in every lane
 * sum, sum_zero(), sum_step(s, a, b)     accumulators; s + the products of granules a and b
 * sum_add(s, t), sum_load_part(p, n), sum_store_part(p, s, n)   like vectors, at floats' addresses
 * struct column, column_of(job, c, n)    of columns c …: what makes values of their sums
 * sum_value(s, column)                   the value, bias included
 * value_gelu(v)                          GELU as exact as the factors are
 * struct output, output_of(job)          y and what its numbers are
 * output_store(output, at, v, n)         v becomes the numbers `at` … of y
 * take_rows(to, stride, job, first, rows)   rows of floats become granules, stride bytes apart
 *
 * Order of the work: a few rows (their granules stay in the second-level cache), then a part of the
 * depth, then panels, then register blocks of rows. Sums that are not complete wait in y, if that
 * has room for them: else the depth is not divided. */
#ifndef DVIT_KERNELS_PACKED_TILES_H
#define DVIT_KERNELS_PACKED_TILES_H

#include "kernels/packed/packed.h"
#include "kernels/vector/unroll.h"

enum {
    TILE_COLUMNS = TILE_VECS * VEC_WIDTH,
    DEPTH_STEPS = 512, /* of a panel at most at a time: 96 KiB, which stay while the rows pass */
    FEW_ROWS = 4,      /* at most: the weight is read faster than it comes by itself */
    AHEAD_BYTES = 12 * DVIT_PACKED_STEP_BYTES,
    PREFETCH_TILES = DVIT_PACKED_STEP_BYTES / 64, /* that fetch a line of the next panel per step */
};

/* Rows of granules. */
struct factors {
    const char *data;
    size_t stride; /* bytes */
};

/* A part of the depth of the product of some rows. */
struct part {
    const struct dvit_packed_job *job;
    const struct factors *factors;
    size_t row, rows;         /* of y: where the factors begin, and how many */
    size_t first_step, steps; /* of the depth */
    bool begins, ends;        /* the depth */
};

/* The first `vecs` vectors of sums[rows][TILE_COLUMNS] = a · b over `steps`. Few rows have too few
 * sums to keep the multipliers busy: then several steps go on at once, each in sums of its own
 * (chains). */
ALWAYS_INLINE void tile(float *sums, const char *a, size_t stride, const char *b, const char *next,
                        size_t steps, const int rows, const int chains, const int vecs)
{
    sum s[TILE_ROWS][TILE_VECS];
    UNROLL
    for (int r = 0; r < rows * chains; r++) {
        UNROLL
        for (int v = 0; v < vecs; v++)
            s[r][v] = sum_zero();
    }
    size_t k = 0;
    for (; k + (size_t)chains <= steps; k += (size_t)chains) {
        UNROLL
        for (int c = 0; c < chains; c++) {
            granules right[TILE_VECS];
            UNROLL
            for (int v = 0; v < vecs; v++) {
                right[v] = granules_load(b + (size_t)v * sizeof(granules));
                if (rows <= FEW_ROWS && v * sizeof(granules) % 64 == 0)
                    __builtin_prefetch(b + AHEAD_BYTES + (size_t)v * sizeof(granules), 0, 3);
            }
            if (rows > FEW_ROWS)
                __builtin_prefetch(next, 0, 2);
            UNROLL
            for (int r = 0; r < rows; r++) {
                granules left = granules_spread(a + (size_t)r * stride);
                UNROLL
                for (int v = 0; v < vecs; v++)
                    s[c * rows + r][v] = sum_step(s[c * rows + r][v], left, right[v]);
            }
            a += 4;
            b += DVIT_PACKED_STEP_BYTES;
            next += 64;
        }
    }
    for (; chains > 1 && k < steps; k++, a += 4, b += DVIT_PACKED_STEP_BYTES) {
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int v = 0; v < vecs; v++)
                s[r][v] = sum_step(s[r][v], granules_spread(a + (size_t)r * stride),
                                   granules_load(b + (size_t)v * sizeof(granules)));
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vecs; v++) {
            sum total = s[r][v];
            UNROLL
            for (int c = 1; c < chains; c++)
                total = sum_add(total, s[c * rows + r][v]);
            sum_store_part(sums + r * TILE_COLUMNS + v * VEC_WIDTH, total, VEC_WIDTH);
        }
    }
}

ALWAYS_INLINE void tile_of_rows(float *sums, const char *a, size_t stride, const char *b,
                                const char *next, size_t steps, size_t rows, const int vecs)
{
    switch (rows) {
    case 1:
        tile(sums, a, stride, b, next, steps, 1, 4, vecs);
        break;
    case 2:
        tile(sums, a, stride, b, next, steps, 2, 3, vecs);
        break;
    case 3:
        tile(sums, a, stride, b, next, steps, 3, 2, vecs);
        break;
    case 4:
        tile(sums, a, stride, b, next, steps, 4, 1, vecs);
        break;
    case 5:
        tile(sums, a, stride, b, next, steps, 5, 1, vecs);
        break;
    case 6:
        tile(sums, a, stride, b, next, steps, 6, 1, vecs);
        break;
#if TILE_ROWS > 6
    case 7:
        tile(sums, a, stride, b, next, steps, 7, 1, vecs);
        break;
    case 8:
        tile(sums, a, stride, b, next, steps, 8, 1, vecs);
        break;
#endif
    default:
        break;
    }
}

/* A last panel is as narrow as its outputs. */
NEVER_INLINE void tile_of(float *sums, const char *a, size_t stride, const char *b,
                          const char *next, size_t steps, size_t rows, size_t columns)
{
    if (columns > (TILE_VECS - 1) * VEC_WIDTH)
        tile_of_rows(sums, a, stride, b, next, steps, rows, TILE_VECS);
    else if (columns > VEC_WIDTH)
        tile_of_rows(sums, a, stride, b, next, steps, rows, TILE_VECS - 1);
    else
        tile_of_rows(sums, a, stride, b, next, steps, rows, 1);
}

/* What follows a product, as a constant of the loops over it. */
enum after { NOTHING, GELU, RELU, RESIDUAL };

/* sums → y: `rows` rows from row `first` of the part on, n ≥ 1 columns from `column` on, of one
 * vector; complete sums. */
ALWAYS_INLINE void finish_vector(const struct part *part, const float *sums, size_t first,
                                 size_t rows, size_t column, size_t n, const enum after after)
{
    const struct dvit_packed_job *job = part->job;
    const struct column of = column_of(job, column, n);
    const struct output output = output_of(job);
    const float *waiting = part->begins ? NULL : job->y, *residual = job->residual;
    const size_t stride = job->y_stride;
    size_t at = (part->row + first) * stride + column;
    vec factor = vec_set(job->factor);
    for (size_t r = 0; r < rows; r++, sums += TILE_COLUMNS, at += stride) {
        sum s = sum_load_part(sums, VEC_WIDTH);
        if (waiting)
            s = sum_add(s, sum_load_part(waiting + at, n));
        vec v = sum_value(s, &of);
        if (after == GELU)
            v = value_gelu(v);
        if (after == RELU)
            v = vec_max(v, vec_set(0.0f));
        if (after == RESIDUAL)
            v = vec_fma(factor, v, vec_load_part(residual + at, n));
        output_store(&output, at, v, n);
    }
}

/* The same with sums that go on in the next part. */
ALWAYS_INLINE void put_by(const struct part *part, const float *sums, size_t first, size_t rows,
                          size_t column, size_t n)
{
    const struct dvit_packed_job *job = part->job;
    float *y = (float *)job->y + (part->row + first) * job->y_stride + column;
    for (size_t r = 0; r < rows; r++, sums += TILE_COLUMNS, y += job->y_stride) {
        sum s = sum_load_part(sums, VEC_WIDTH);
        sum_store_part(y, part->begins ? s : sum_add(s, sum_load_part(y, n)), n);
    }
}

ALWAYS_INLINE void finish_columns(const struct part *part, const float *sums, size_t first,
                                  size_t rows, size_t column, size_t n)
{
    if (!part->ends)
        put_by(part, sums, first, rows, column, n);
    else if (part->job->gelu)
        finish_vector(part, sums, first, rows, column, n, GELU);
    else if (part->job->relu)
        finish_vector(part, sums, first, rows, column, n, RELU);
    else if (part->job->residual)
        finish_vector(part, sums, first, rows, column, n, RESIDUAL);
    else
        finish_vector(part, sums, first, rows, column, n, NOTHING);
}

/* Takes the sums of `rows` rows from row `first` of the part, columns column …, to y. */
static void finish(const struct part *part, const float *sums, size_t first, size_t rows,
                   size_t column)
{
    for (size_t c = 0; c < TILE_COLUMNS && column + c < part->job->outputs; c += VEC_WIDTH) {
        size_t n = part->job->outputs - column - c;
        if (n >= VEC_WIDTH)
            finish_columns(part, sums + c, first, rows, column + c, VEC_WIDTH);
        else
            finish_columns(part, sums + c, first, rows, column + c, n);
    }
}

/* Sends for what the block of rows first … of the part will be added to: it comes from afar while
 * they are multiplied. */
static void fetch_residual(const struct part *part, size_t first, size_t rows, size_t column)
{
    const struct dvit_packed_job *job = part->job;
    const float *at = job->residual + (part->row + first) * job->y_stride + column;
    for (size_t r = 0; r < rows; r++, at += job->y_stride)
        for (size_t c = 0; c < TILE_COLUMNS && column + c < job->outputs; c += 16)
            __builtin_prefetch(at + c, 0, 3);
}

/* All rows of the part, TILE_COLUMNS columns. Register blocks differ by at most one row. */
static void column_block(const struct part *part, size_t column)
{
    _Alignas(64) float sums[TILE_ROWS * TILE_COLUMNS];
    size_t panel = column / DVIT_PACKED_COLUMNS, within = column % DVIT_PACKED_COLUMNS;
    size_t steps = dvit_packed_steps(part->job->inputs, PACKED_GRANULE);
    size_t tiles = (part->rows + TILE_ROWS - 1) / TILE_ROWS;
    size_t fewest = part->rows / tiles, larger = part->rows % tiles, row = 0;
    const char *panels = part->job->panels;
    const char *b = panels + (panel * steps + part->first_step) * DVIT_PACKED_STEP_BYTES;
    const char *following = b + steps * DVIT_PACKED_STEP_BYTES; /* only a hint: may be beyond */
    for (size_t t = 0; t < tiles; t++) {
        size_t rows = fewest + (t < larger);
        const char *next = t < PREFETCH_TILES ? following + t * part->steps * 64 : b;
        if (part->job->residual && part->ends)
            fetch_residual(part, row, rows, column);
        tile_of(sums, part->factors->data + row * part->factors->stride + 4 * part->first_step,
                part->factors->stride, b + within * 4, next, part->steps, rows,
                part->job->outputs - column);
        finish(part, sums, row, rows, column);
        row += rows;
    }
}

static void some_rows(const struct dvit_packed_job *job, const struct factors *factors, size_t row,
                      size_t rows)
{
    size_t steps = dvit_packed_steps(job->inputs, PACKED_GRANULE);
    bool sums_can_wait = job->y_format.number == DVIT_NUMBER_F32;
    size_t parts = sums_can_wait ? (steps + DEPTH_STEPS - 1) / DEPTH_STEPS : 1, first = 0;
    for (size_t n = 0; n < parts; n++) {
        size_t count = steps / parts + (n < steps % parts);
        const struct part part = {job, factors, row, rows, first, count, n == 0, n + 1 == parts};
        for (size_t column = 0; column < job->outputs; column += TILE_COLUMNS)
            column_block(&part, column);
        first += count;
    }
}

/* Rows first … first + rows − 1 as granules. */
static struct factors factors_of(const struct dvit_packed_job *job, size_t first, size_t rows)
{
    const char *x = job->x;
    size_t stride = dvit_packed_row_bytes(job->inputs, PACKED_GRANULE);
    if (job->x_is_granules) {
        stride = job->x_stride * 4 / PACKED_GRANULE;
        return (struct factors){x + first * stride, stride};
    }
    take_rows(job->scratch, stride, job, first, rows);
    return (struct factors){job->scratch, stride};
}

void PACKED_PRODUCT(const struct dvit_packed_job *job)
{
    size_t chunks = (job->rows + DVIT_PACKED_ROWS - 1) / DVIT_PACKED_ROWS, row = 0;
    for (size_t n = 0; n < chunks; n++) {
        size_t rows = job->rows / chunks + (n < job->rows % chunks);
        const struct factors factors = factors_of(job, row, rows);
        some_rows(job, &factors, row, rows);
        row += rows;
    }
}

#endif
