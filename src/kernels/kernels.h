/* The contract of every kernel: loops over arrays that know no operator, no model and no thread.
 *
 * A kernel is single-threaded, allocates nothing and cannot fail. It works on the range it is
 * given, so that an executor may split rows, images or channels among threads. Arrays are dense
 * row-major float32 unless a stride is given; outputs come first, then inputs, weights, sizes;
 * outputs do not overlap inputs unless said so. Pointers need no alignment beyond that of float.
 *
 * The functions of a table belong to one instruction-set level. `reference` is plain C with double
 * accumulators: it is the definition, the oracle of the tests, and the fallback everywhere. A table
 * is a value that a session or trainer owns; two levels can stand side by side.
 *
 * Gradients: those of activations overwrite unless `accumulate` is given and true; those of
 * parameters always accumulate. Formulas: docs/MATH.md. */
#ifndef DVIT_KERNELS_KERNELS_H
#define DVIT_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"
#include "kernels/format.h"

/* eps of the masked softmax (SPEC section 3). */
#define DVIT_MASK_EPS 1e-6f
/* ln(1/eps): with this cap the policy's gradient is the exact derivative wherever eps allows one.
 */
#define DVIT_LEAD_CAP_TANGENT 13.815510557964274f

/* One image's attention: T tokens, H heads of width D, C = H·D. */
struct dvit_attention_shape {
    int tokens;     /* T ≥ 1: keys and values */
    int heads;      /* H ≥ 1 */
    int head_dim;   /* D ≥ 1, any */
    float scale;    /* D^-0.5 */
    float lead_cap; /* backward only: see attention_masked_backward; 0 … DVIT_LEAD_CAP_TANGENT */
};

/* What the attention of inference reads and writes of one image. Rows are a stride of numbers
 * apart, so that q, k and v may be parts of one qkv, and a caller takes some of the heads by
 * pointing at the first of them and lowering shape->heads. q may belong to another array than k and
 * v. */
struct dvit_attention_job {
    void *out; /* [queries][C], numbers of out_format */
    size_t out_stride;
    struct dvit_format out_format;
    const void *q;     /* [queries][C] */
    const void *k, *v; /* [T][C] */
    size_t q_stride, kv_stride;
    enum dvit_number q_number, kv_number; /* F32 or BF16 */
    size_t queries;                       /* ≥ 0 */
};

/* What masked attention reads of one image: rows of all heads side by side. */
struct dvit_attention_rows {
    const float *q;             /* [queries][C] */
    const float *k, *v;         /* [T][C] */
    size_t q_stride, kv_stride; /* floats from row to row: 3C in a packed qkv */
    size_t queries;             /* 1 … T */
    const int *token; /* [queries], ascending: which token each is; NULL: query i is token i */
};

struct dvit_adamw_step {
    float learning_rate;
    float beta1, beta2, eps;
    float weight_decay;   /* decoupled: w ← w·(1 − lr·wd) */
    float bias1, bias2;   /* 1 − beta^t */
    float gradient_scale; /* every gradient is multiplied by this first (clipping, accumulation) */
};

struct dvit_sgd_step {
    float learning_rate;
    float momentum;
    float weight_decay;   /* coupled: part of the gradient */
    float gradient_scale; /* as above */
    bool nesterov;
};

struct dvit_kernels {
    enum dvit_cpu cpu;

    /* y[r] = (x[r] − mean_r)·rstd_r·weight + bias, rstd = 1/√(var + eps), population variance.
     * x, y: [rows][width]; mean, rstd: [rows] or both NULL. y may be x. */
    void (*layer_norm)(float *y, float *mean, float *rstd, const float *x, const float *weight,
                       const float *bias, size_t rows, size_t width, float eps);
    /* dx (+)= gradient of layer_norm for the given rows. dx may be dy when not accumulating. */
    void (*layer_norm_backward_data)(float *dx, const float *dy, const float *x, const float *mean,
                                     const float *rstd, const float *weight, size_t rows,
                                     size_t width, bool accumulate);
    /* dweight[c] += Σ_r dy·x̂, dbias[c] += Σ_r dy for columns first ≤ c < last, over all rows. */
    void (*layer_norm_backward_weights)(float *dweight, float *dbias, const float *dy,
                                        const float *x, const float *mean, const float *rstd,
                                        size_t rows, size_t width, size_t first, size_t last);

    /* y = x·Φ(x), exact (erf) within 2e-6 absolute; y may be x. NaN in, NaN out;
     * gelu(∞) = ∞, gelu(−∞) = 0. */
    void (*gelu)(float *y, const float *x, size_t count);
    /* dx = dy·(Φ(x) + x·φ(x)); dx may be dy. */
    void (*gelu_backward)(float *dx, const float *dy, const float *x, size_t count);

    /* y = a + scale·b; y may be a or b. */
    void (*add_scaled)(float *y, const float *a, const float *b, float scale, size_t count);
    /* y = x rounded to bfloat16, to nearest, ties to even, as bits; NaN stays NaN, and what is
     * beyond bfloat16's range becomes infinite. */
    void (*to_bf16)(uint16_t *y, const float *x, size_t count);
    /* y = x as bytes of `scale` and `zero` (packed/quantise.h): x ≈ scale·(y − zero); saturates,
     * NaN as the lowest. */
    void (*quantise)(uint8_t *y, const float *x, size_t count, struct dvit_quantised to);
    /* sums[c] += Σ_r x[r][c] for first ≤ c < last; x: [rows][width]. */
    void (*column_sums)(float *sums, const float *x, size_t rows, size_t width, size_t first,
                        size_t last);

    /* Floats of scratch that any of the attention functions needs for this shape; it belongs to one
     * thread, is 64-byte aligned, and carries nothing from one call to the next.
     *
     * Scores beyond float's range saturate, so that overflowing or infinite scores give finite
     * weights; NaN in a query row, or in any key or value it reads, gives NaN. */
    size_t (*attention_scratch)(const struct dvit_attention_shape *shape);
    /* Plain softmax attention of some queries over the T keys and values of one image:
     *   a_ij = q_i·k_j, m_i = max_j a_ij, e_ij = 2^(c·(a_ij − m_i)), c = scale·log2 e;
     *   out_i = Σ_j e_ij v_j / Σ_j e_ij.
     * No T×T tensor: scores live in scratch, a few query rows at a time. Reads and writes floats.
     */
    void (*attention)(const struct dvit_attention_job *job,
                      const struct dvit_attention_shape *shape, float *scratch);
    /* The same with operands rounded to bfloat16, as to_bf16 does: queries, keys, values, and e.
     * Sums, scores, and what the result is divided by, the sum of e before rounding, are not.
     * Reads floats or bfloat16, with the same result where both are the same numbers, and writes
     * any format. */
    void (*attention_bf16)(const struct dvit_attention_job *job,
                           const struct dvit_attention_shape *shape, float *scratch);
    /* The same with bytes, of numbers that are rounded to bfloat16 first. It reads and writes as
     * attention_bf16 does, but bfloat16 results only where the processor has that.
     *   q_i ≈ scale_i·byte,  k_j ≈ mean of all keys + scale_j·byte,
     *   v_jd ≈ mean_d + scale_d·byte,  byte in −127 … 127,
     * where a scale is the largest magnitude of what shares it / 127, and means are sums of floats
     * in the tokens' order / T. The keys' mean moves all scores of a query alike, and is left out.
     * Sums of products are exact. Weights are 255·e rounded;
     *   out_id = mean_d + scale_d·Σ_j weight_ij byte_jd / Σ_j 255 e_ij,
     * so that what small weights lose in rounding falls to the mean of the values.
     * What is not finite, and a channel with such a sum, counts as NaN. D < 2^15. */
    void (*attention_int8)(const struct dvit_attention_job *job,
                           const struct dvit_attention_shape *shape, float *scratch);
    /* Masked softmax attention (training): out: [queries][C], dense; policy: [T], 1 kept, 0 dropped
     * (NULL: all kept). In these formulas, i names a query by its token.
     *   G_ij = policy_j, but 1 for i = j;  m_i = max over j with policy_j > 0, and i, of a_ij;
     *   e_ij = exp(a_ij − m_i)·G_ij (0 where G_ij = 0, whatever a_ij), S_i = Σ_j e_ij;
     *   A_ij = (e_ij + eps/T) / (S_i + eps);  out_i = Σ_j A_ij v_j. */
    void (*attention_masked)(float *out, const struct dvit_attention_rows *x, const float *policy,
                             const struct dvit_attention_shape *shape, float *scratch);
    /* Backward of attention_masked: dq, dk, dv, laid out as q, k and v, overwritten; dpolicy[T]
     * (NULL: not wanted) += Σ over heads and i ≠ j of de_ij·exp(min(a_ij − m_i, lead_cap)).
     * dout, out: [queries][C], dense.
     *   D_i = dout_i·out_i;  de_ij = (dout_i·v_j − D_i)/(S_i + eps);  da_ij = de_ij·e_ij;
     *   dv_j = Σ_i A_ij dout_i;  dq_i = scale·Σ_j da_ij k_j;  dk_j = scale·Σ_i da_ij q_i. */
    void (*attention_masked_backward)(float *dq, float *dk, float *dv, float *dpolicy,
                                      const float *dout, const float *out,
                                      const struct dvit_attention_rows *x, const float *policy,
                                      const struct dvit_attention_shape *shape, float *scratch);
    /* Both with the operands of their products rounded to bfloat16, as to_bf16 does: queries times
     * scale and keys for a; e and values for out; dout and values for de; A and dout, da and keys,
     * da and queries for the gradients. Sums, S_i, the share of eps and D_i are not. */
    void (*attention_masked_bf16)(float *out, const struct dvit_attention_rows *x,
                                  const float *policy, const struct dvit_attention_shape *shape,
                                  float *scratch);
    void (*attention_masked_backward_bf16)(float *dq, float *dk, float *dv, float *dpolicy,
                                           const float *dout, const float *out,
                                           const struct dvit_attention_rows *x, const float *policy,
                                           const struct dvit_attention_shape *shape,
                                           float *scratch);

    /* One decoupled-weight-decay Adam step on `count` parameters (Loshchilov & Hutter 2019):
     *   g = gradient·gradient_scale; m = β1 m + (1−β1) g; v = β2 v + (1−β2) g²;
     *   w = w − lr·wd·w − lr·(m/bias1)/(√(v/bias2) + eps).
     * A learning rate of 0 leaves w as it is and still moves m and v. */
    void (*adamw)(float *weight, float *moment1, float *moment2, const float *gradient,
                  size_t count, const struct dvit_adamw_step *step);
    /* LAMB up to its trust ratio (You et al. 2020): the same moments, and the direction
     *   u = (m/bias1)/(√(v/bias2) + eps) + wd·w
     * in place of the gradient. The weight is only read, the learning rate is not used. */
    void (*lamb_direction)(float *gradient, float *moment1, float *moment2, const float *weight,
                           size_t count, const struct dvit_adamw_step *step);
    /* One step of gradient descent with momentum, as in PyTorch:
     *   g = gradient·gradient_scale + wd·w; m = momentum·m + g;
     *   w = w − lr·m, with nesterov w − lr·(g + momentum·m).
     * A learning rate of 0 leaves w as it is and still moves m. */
    void (*sgd)(float *weight, float *moment, const float *gradient, size_t count,
                const struct dvit_sgd_step *step);
    /* average = decay·average + (1 − decay)·value */
    void (*ema)(float *average, const float *value, float decay, size_t count);
    /* Σ x², accumulated in double; inf or NaN if any element is not finite. */
    double (*sum_squares)(const float *x, size_t count);
};

/* Fills the table with the fastest functions of `cpu` and the levels below it. `cpu` must not be
 * above dvit_cpu_best(). */
void dvit_kernels_select(struct dvit_kernels *table, enum dvit_cpu cpu);

#endif
