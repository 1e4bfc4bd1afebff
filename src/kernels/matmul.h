/* Matrix products of linear layers, behind one contract.
 *
 * A `dvit_matmul` is one product's shape with the number of rows left open. Row counts are prepared
 * when a plan is made (creating a product costs up to milliseconds and allocates); running one then
 * allocates nothing of ours, takes no lock and is single-threaded: the executor gives each thread
 * its rows or its output channels. One object may serve all members of a team at once: it is
 * created for a number of `threads`, and a run names the `member` (0 … threads − 1) it belongs to;
 * two runs of the same member must not overlap in time.
 *
 * dvit's own products need no preparation. Elsewhere a row count that was not prepared is served by
 * the largest prepared ones that fit; 1, 8, 64 and 512 are always prepared on first use of
 * dvit_matmul_prepare. */
#ifndef DVIT_KERNELS_MATMUL_H
#define DVIT_KERNELS_MATMUL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/threads.h"
#include "kernels/format.h"

enum dvit_matmul_kind {
    /* y[rows][outputs] = x[rows][inputs] · weightᵀ (+ bias[outputs]); weight: [outputs][inputs] */
    DVIT_MATMUL_FORWARD,
    /* x[rows][inputs] (+)= y[rows][outputs] · weight */
    DVIT_MATMUL_DATA,
    /* weight[outputs][inputs] += y[rows][outputs]ᵀ · x[rows][inputs] */
    DVIT_MATMUL_WEIGHT,
};

struct dvit_matmul_shape {
    enum dvit_matmul_kind kind;
    size_t outputs;
    size_t inputs;
    size_t x_stride; /* numbers from one row of x to the next, ≥ inputs */
    size_t y_stride; /* numbers from one row of y to the next, ≥ outputs */
    bool bias;       /* FORWARD only */
    bool accumulate; /* DATA only: add to x instead of overwriting; WEIGHT always adds */
    /* Both factors are rounded to bfloat16 and their products summed in f32; arrays stay f32, but
     * for the weight of FORWARD and DATA, which is taken from `packed`: [outputs][inputs] as
     * bfloat16, what dvit_matmul_pack makes. */
    bool bf16;
    /* FORWARD: the weight stays as it is while it serves many runs (inference), and always comes
     * packed. dvit's own products serve these where the processor has them. */
    bool constant;
    /* With constant: both factors are rounded to 8 bits and their products summed exactly. Each
     * output's weights share a scale, 127 for the largest; all of x shares scale and zero
     * (operands). What is not finite saturates, NaN as the lowest. */
    bool int8;
    /* What x and y are made of, where dvit_matmul_takes_formats: x of floats, or of what they would
     * be rounded to (BF16 with bf16, U8 with int8; strides and inputs in whole 32 bits); y of
     * anything, but of floats with a residual. */
    enum dvit_number x_number, y_number;
    /* What FORWARD makes of v = x·weightᵀ + bias before it is written, at most one of: gelu(v), as
     * the kernel of that name, but with factors of bfloat16 within 2e-4 and of 8 bits
     * within 1.2e-3, or that part of v where |v| > 1; residual + factor·v. */
    bool gelu;
    bool relu; /* max(v, 0); NaN becomes 0 */
    bool residual;
    float factor; /* with a residual; 0 stands for 1 */
};

/* The arrays of one run. Which of x, y and weight is the output is the kind's; the others are only
 * read. */
struct dvit_matmul_operands {
    void *x; /* floats, but for the shape's x_number and y_number */
    void *y;
    float *weight;         /* the plain matrix; may be NULL where packed is given */
    const void *packed;    /* used instead of it if not NULL (FORWARD, and DATA in bf16) */
    const float *bias;     /* [outputs] where the shape has one */
    const float *residual; /* rows as those of y, where the shape has one; not overlapping y */
    struct dvit_quantised x_bytes; /* int8: what x's bytes are, or are made to be; scale > 0 */
    struct dvit_quantised y_bytes; /* y_number U8: what y's bytes are made to be */
    void *scratch;
    /* Where dvit_matmul_takes_ranges: the outputs first_output … + outputs − 1 alone, from a
     * multiple of DVIT_MATMUL_RANGE on. All pointers are those of the whole. outputs 0: all. */
    size_t first_output, outputs;
};

enum { DVIT_MATMUL_RANGE = 48 };

struct dvit_matmul;

/* `cpu` = DVIT_CPU_REFERENCE gives the plain C definition (double accumulators). Other levels use
 * dvit's own products for constant weights, but for bf16 with AMX, and else oneDNN (its own
 * dispatch is the machine's best; a lower `cpu` is honoured as far as oneDNN's per-process setting
 * allows: it is not touched here). bf16 needs dvit_cpu_has_bf16 and int8 dvit_cpu_has_vnni, but for
 * the definition; in bf16, factors and sums below float's normal range may count as 0. threads: 1 …
 * DVIT_MAX_THREADS, how many members may run at once. */
enum dvit_status dvit_matmul_create(struct dvit_matmul **out, const struct dvit_matmul_shape *shape,
                                    enum dvit_cpu cpu, int threads, struct dvit_error *error);
void dvit_matmul_free(struct dvit_matmul *matmul);

/* Whether x and y of this product may be something else than floats: dvit's own and the definition
 * see to it, oneDNN's do not. */
bool dvit_matmul_takes_formats(const struct dvit_matmul_shape *shape, enum dvit_cpu cpu);

/* Whether a run may be of some outputs only. */
bool dvit_matmul_takes_ranges(const struct dvit_matmul *matmul);

/* Makes `rows` (≥ 1) run as one product. At least once before running; not thread-safe. */
enum dvit_status dvit_matmul_prepare(struct dvit_matmul *matmul, size_t rows,
                                     struct dvit_error *error);

/* Bytes of the weight in the product's own layout, or 0 if it has none (then run takes the plain
 * weight). FORWARD, and DATA in bf16; after the first prepare. */
size_t dvit_matmul_packed_bytes(const struct dvit_matmul *matmul);
/* packed: 64-byte aligned, packed_bytes long. Every prepared row count uses the same layout. */
enum dvit_status dvit_matmul_pack(struct dvit_matmul *matmul, void *packed, const float *weight,
                                  struct dvit_error *error);

/* Bytes of scratch that one run needs at most (64-byte aligned), per thread. */
size_t dvit_matmul_scratch_bytes(const struct dvit_matmul *matmul);

/* Runs the product on `rows` rows, for `member` of the team. A backend's refusal at this point is
 * reported, not ignored. rows = 0 does nothing. */
enum dvit_status dvit_matmul_run(const struct dvit_matmul *matmul, int member, size_t rows,
                                 const struct dvit_matmul_operands *operands);

/* Per-thread setting of the backend, for threads that run products: pass it to dvit_threads_create.
 * With oneDNN an OpenMP team of one. */
extern const struct dvit_thread_setting dvit_matmul_setting;

/* What serves products that dvit's own do not: "oneDNN 2.6.3" or "none". */
const char *dvit_matmul_backend(void);
/* What serves this one: "dvit's own", "oneDNN 2.6.3" or "plain C". */
const char *dvit_matmul_server(const struct dvit_matmul *matmul);

#endif
