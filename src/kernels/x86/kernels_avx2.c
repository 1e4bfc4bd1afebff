/* The vector templates compiled for AVX2 + FMA. */
#include "kernels/x86/vector_avx2.h"

#include "kernels/vector/operands_f32.h"

#include "kernels/vector/attention.h"
#include "kernels/vector/attention_backward.h"
#include "kernels/vector/norm.h"
#include "kernels/vector/optimizer.h"
#include "kernels/vector/pointwise.h"
