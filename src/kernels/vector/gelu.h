/* Polynomials on vectors, and GELU.
 *
 * GELU and its derivative (pointwise.h) rest on two odd functions, Φ(x) − ½ and Φ(x) + x·φ(x) − ½,
 * divided by x: even, so a polynomial in x², centred on its interval to keep coefficients and
 * rounding small. Coefficients: minimax fits (Chebyshev least squares, reweighted) of |error| ≤
 * 8e-7 and 1.1e-6 after float evaluation; beyond the interval the function is 0 or x (0 or 1) to
 * the same accuracy. */
#ifndef DVIT_KERNELS_VECTOR_GELU_H
#define DVIT_KERNELS_VECTOR_GELU_H

#define GELU_LIMIT 5.25f

/* Σ c_k s^k, constant term first. */
static inline vec polynomial(const float *coefficients, int count, vec s)
{
    vec p = vec_set(coefficients[count - 1]);
    for (int k = count - 2; k >= 0; k--)
        p = vec_fma(p, s, vec_set(coefficients[k]));
    return p;
}

/* x² → [−1, 1] over |x| ≤ limit; beyond it stays at 1, so that nothing overflows. NaN stays. */
static inline vec centred_square(vec x, float limit)
{
    return vec_min(vec_set(1.0f), vec_fma(x * x, vec_set(2.0f / (limit * limit)), vec_set(-1.0f)));
}

static inline vec gelu(vec x)
{
    static const float c[] = {1.346593499e-01f,  -6.712657958e-02f, 4.964493588e-02f,
                              -3.977148235e-02f, 3.204966336e-02f,  -2.496530674e-02f,
                              1.839909144e-02f,  -1.308076922e-02f, 8.908573538e-03f,
                              -4.866620526e-03f, 2.031441778e-03f,  -1.563615282e-03f,
                              1.396784442e-03f,  -4.773971450e-04f};
    vec p = polynomial(c, sizeof c / sizeof *c, centred_square(x, GELU_LIMIT));
    vec y = x * vec_fma(x, p, vec_set(0.5f));
    y = vec_select_greater(x, vec_set(GELU_LIMIT), x, y);
    return vec_select_greater(vec_set(-GELU_LIMIT), x, vec_set(0.0f), y);
}

/* Where what multiplies the result rounds it: within 1.5e-4, and beyond the interval, where x·Φ(x)
 * is taken with Φ at its end, 4e-5 of x. Seven coefficients, fitted in the same way. */
#define GELU_COARSE_LIMIT 3.9f

static inline vec gelu_coarse(vec x)
{
    static const float c[] = {1.802708825e-01f,  -8.575931515e-02f, 5.535960928e-02f,
                              -3.463839080e-02f, 2.243103962e-02f,  -1.454397958e-02f,
                              5.082340177e-03f};
    vec low = vec_max(vec_set(-GELU_COARSE_LIMIT), x);
    vec within = vec_min(vec_set(GELU_COARSE_LIMIT), low);
    vec s = vec_fma(within * within, vec_set(2.0f / (GELU_COARSE_LIMIT * GELU_COARSE_LIMIT)),
                    vec_set(-1.0f));
    return low * vec_fma(within, polynomial(c, sizeof c / sizeof *c, s), vec_set(0.5f));
}

#endif
