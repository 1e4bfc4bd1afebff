/* 2^x for what is rounded to bfloat16 or a byte afterwards (AVX-512). */
#ifndef DVIT_KERNELS_X86_EXPONENTIAL_COARSE_H
#define DVIT_KERNELS_X86_EXPONENTIAL_COARSE_H

#include "kernels/x86/vector_avx512.h"

/* unit·2^t for t ≤ 0 as in vector/exponential.h, within 8e-5 relative; 0 for −∞, NaN for NaN. Below
 * −126 the result may be a number too small to be normal: no one reads that far. */
static inline vec vec_exp2_coarse(vec t, const float unit)
{
    vec r = vec_fraction(t), p = vec_set(unit * 7.802452264e-2f);
    p = vec_fma(p, r, vec_set(unit * 2.260671554e-1f));
    p = vec_fma(p, r, vec_set(unit * 6.958335405e-1f));
    p = vec_fma(p, r, vec_set(unit * 9.999252186e-1f));
    return _mm512_scalef_ps(p, t);
}

#endif
