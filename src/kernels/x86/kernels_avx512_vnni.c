/* Attention of inference compiled for AVX-512 with VNNI: operands of its products are bytes,
 * everything else is floats. */
#include "kernels/x86/vector_avx512.h"

#undef KERNEL
#define KERNEL(name) dvit_##name##_int8_avx512

#include "kernels/x86/operands_int8.h"

#include "kernels/vector/attention_inference.h"
