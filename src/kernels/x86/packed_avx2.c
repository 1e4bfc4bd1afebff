/* Packed products of floats for AVX2 + FMA. */
#include "kernels/x86/vector_avx2.h"

#define PACKED_PRODUCT dvit_packed_product_f32_avx2
/* 12 sums, 2 columns and a spread granule fit the 16 registers. */
#define TILE_ROWS 6
#define TILE_VECS 2

#include "kernels/packed/float_factors.h"
#include "kernels/packed/tiles.h"
