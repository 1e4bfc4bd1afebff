/* Attention compiled for AVX-512 with BF16: operands of its products are rounded, everything else
 * is float. */
#include "kernels/x86/vector_avx512.h"

#undef KERNEL
#define KERNEL(name) dvit_##name##_bf16_avx512

#include "kernels/x86/operands_bf16.h"

#include "kernels/vector/attention.h"
#include "kernels/vector/attention_backward.h"
