/* The ladder: plain C fills the whole table, then every level up to the wanted one overwrites the
 * entries it has. A level that is not compiled in (another architecture) is simply skipped. The
 * baseline of an architecture without such kernels is the reference, but for products (matmul.c).
 */
#include "kernels/kernels.h"
#include "kernels/kernel_names.h"

/* clang-format off */
#define TABLE(level, isa)                                                                          \
    (struct dvit_kernels){                                                                         \
        .cpu = (level),                                                                            \
        .layer_norm = dvit_layer_norm_f32_##isa,                                                   \
        .layer_norm_backward_data = dvit_layer_norm_backward_data_f32_##isa,                       \
        .layer_norm_backward_weights = dvit_layer_norm_backward_weights_f32_##isa,                 \
        .gelu = dvit_gelu_f32_##isa,                                                               \
        .gelu_backward = dvit_gelu_backward_f32_##isa,                                             \
        .add_scaled = dvit_add_scaled_f32_##isa,                                                   \
        .to_bf16 = dvit_to_bf16_f32_##isa,                                                         \
        .quantise = dvit_quantise_f32_##isa,                                                       \
        .column_sums = dvit_column_sums_f32_##isa,                                                 \
        .attention_scratch = dvit_attention_scratch_f32_##isa,                                     \
        .attention = dvit_attention_f32_##isa,                                                     \
        .attention_bf16 = dvit_attention_bf16_ref,                                                 \
        .attention_int8 = dvit_attention_int8_ref,                                                 \
        .attention_masked = dvit_attention_masked_f32_##isa,                                       \
        .attention_masked_backward = dvit_attention_masked_backward_f32_##isa,                     \
        .attention_masked_bf16 = dvit_attention_masked_bf16_ref,                                   \
        .attention_masked_backward_bf16 = dvit_attention_masked_backward_bf16_ref,                 \
        .adamw = dvit_adamw_f32_##isa,                                                             \
        .lamb_direction = dvit_lamb_direction_f32_##isa,                                           \
        .sgd = dvit_sgd_f32_##isa,                                                                 \
        .ema = dvit_ema_f32_##isa,                                                                 \
        .sum_squares = dvit_sum_squares_f32_##isa,                                                 \
    }
/* clang-format on */

void dvit_kernels_select(struct dvit_kernels *table, enum dvit_cpu cpu)
{
    *table = TABLE(cpu < DVIT_CPU_BASELINE ? cpu : DVIT_CPU_BASELINE, ref);
#if defined(DVIT_HAVE_X86)
    if (cpu < DVIT_CPU_BASELINE)
        return;
    *table = TABLE(DVIT_CPU_BASELINE, sse2);
    if (cpu < DVIT_CPU_AVX2)
        return;
    *table = TABLE(DVIT_CPU_AVX2, avx2);
    if (cpu < DVIT_CPU_AVX512)
        return;
    *table = TABLE(DVIT_CPU_AVX512, avx512);
    if (dvit_cpu_has_vnni())
        table->attention_int8 = dvit_attention_int8_avx512;
    if (!dvit_cpu_has_bf16())
        return;
    table->attention_bf16 = dvit_attention_bf16_avx512;
    table->attention_masked_bf16 = dvit_attention_masked_bf16_avx512;
    table->attention_masked_backward_bf16 = dvit_attention_masked_backward_bf16_avx512;
#endif
}
