/* The vector templates compiled for the baseline of x86-64. */
#include "kernels/x86/vector_sse2.h"

#include "kernels/vector/operands_f32.h"

#include "kernels/vector/attention.h"
#include "kernels/vector/attention_backward.h"
#include "kernels/vector/norm.h"
#include "kernels/vector/optimizer.h"
#include "kernels/vector/pointwise.h"
