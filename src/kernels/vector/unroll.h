/* For register blocks: arrays are registers only where their loops are unrolled and inlined. */
#ifndef DVIT_KERNELS_VECTOR_UNROLL_H
#define DVIT_KERNELS_VECTOR_UNROLL_H

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Before the loops over the register block. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* For what must have the registers to itself. */
#define NEVER_INLINE __attribute__((noinline)) static

#endif
