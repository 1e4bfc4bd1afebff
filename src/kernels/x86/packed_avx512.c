/* Packed products of floats for AVX-512. */
#include "kernels/x86/vector_avx512.h"

#define PACKED_PRODUCT dvit_packed_product_f32_avx512
/* 24 sums, 3 columns and a spread granule fit the 32 registers. */
#define TILE_ROWS 8
#define TILE_VECS 3

#include "kernels/packed/float_factors.h"
#include "kernels/packed/tiles.h"
