/* exp and 2^x on vectors, for the softmax. */
#ifndef DVIT_KERNELS_VECTOR_EXPONENTIAL_H
#define DVIT_KERNELS_VECTOR_EXPONENTIAL_H

/* e^x within 2e-7 relative for −87 ≤ x ≤ 88, constant above, 0 below about −87.7, NaN for NaN.
 * x = n·ln2 + r, |r| ≤ ln2/2; e^r by the polynomial of Cephes' expf (Moshier). */
static inline vec vec_exp(vec x)
{
    x = vec_min(vec_set(88.0f), vec_max(vec_set(-88.0f), x));
    vec n = vec_round(x * vec_set(1.44269504088896341f));
    vec r = vec_fma(n, vec_set(-0.693359375f), x); /* ln2 in two parts: the first has few bits */
    r = vec_fma(n, vec_set(2.12194440e-4f), r);
    vec p = vec_set(1.9875691500e-4f);
    p = vec_fma(p, r, vec_set(1.3981999507e-3f));
    p = vec_fma(p, r, vec_set(8.3334519073e-3f));
    p = vec_fma(p, r, vec_set(4.1665795894e-2f));
    p = vec_fma(p, r, vec_set(1.6666665459e-1f));
    p = vec_fma(p, r, vec_set(5.0000001201e-1f));
    p = vec_fma(p, r * r, r) + vec_set(1.0f);
    return vec_times_power(p, n);
}

/* 2^t for t ≤ 0 as p(t − ⌊t⌋)·2^⌊t⌋; 0 below −126 (also −∞), NaN for NaN. p: minimax in relative
 * error on [0, 1). Within 2e-7 + the error of t itself. */
static inline vec vec_exp2(vec t)
{
    vec r = vec_fraction(t), p = vec_set(1.877576675e-3f);
    p = vec_fma(p, r, vec_set(8.989340090e-3f));
    p = vec_fma(p, r, vec_set(5.582631805e-2f));
    p = vec_fma(p, r, vec_set(2.401536170e-1f));
    p = vec_fma(p, r, vec_set(6.931530732e-1f));
    p = vec_fma(p, r, vec_set(9.999999251e-1f));
    return vec_times_floor_power(p, t);
}

#endif
