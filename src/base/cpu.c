/* Processor detection: what the compiler's builtins report, which include the operating system's
 * consent to save the wide registers. */
#include "base/cpu.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const char *const cpu_names[] = {
    [DVIT_CPU_REFERENCE] = "reference",
    [DVIT_CPU_BASELINE] = "baseline",
    [DVIT_CPU_AVX2] = "avx2",
    [DVIT_CPU_AVX512] = "avx512",
};
_Static_assert(sizeof cpu_names / sizeof *cpu_names == DVIT_CPU_COUNT, "every level has a name");

static enum dvit_cpu level_of_processor(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return DVIT_CPU_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return DVIT_CPU_AVX2;
#endif
    return DVIT_CPU_BASELINE;
}

/* DVIT_CPU_HIGHEST: the build's own bound, to test what older processors run. */
enum dvit_cpu dvit_cpu_best(void)
{
    enum dvit_cpu level = level_of_processor();
    return level < DVIT_CPU_HIGHEST ? level : DVIT_CPU_HIGHEST;
}

bool dvit_cpu_has_bf16(void)
{
#if defined(__x86_64__)
    return dvit_cpu_best() == DVIT_CPU_AVX512 && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

bool dvit_cpu_has_vnni(void)
{
#if defined(__x86_64__)
    return dvit_cpu_best() == DVIT_CPU_AVX512 && __builtin_cpu_supports("avx512vnni");
#else
    return false;
#endif
}

bool dvit_cpu_has_amx(void)
{
#if defined(__x86_64__)
    /* The compilers' builtins do not know it: leaf 7, EDX bits 22 (bfloat16) and 24 (tiles). */
    const unsigned needed = 1u << 22 | 1u << 24;
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & needed) == needed;
#else
    return false;
#endif
}

const char *dvit_cpu_name(enum dvit_cpu cpu)
{
    return (unsigned)cpu < DVIT_CPU_COUNT ? cpu_names[cpu] : "unknown";
}

enum dvit_status dvit_cpu_parse(const char *name, enum dvit_cpu *out, struct dvit_error *error)
{
    enum dvit_cpu best = dvit_cpu_best();
    if (strcmp(name, "auto") == 0) {
        *out = best;
        return DVIT_OK;
    }
    for (int i = 0; i < DVIT_CPU_COUNT; i++) {
        if (strcmp(name, cpu_names[i]) != 0)
            continue;
        if (i > (int)best)
            return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                                  "cpu level \"%s\" is above what this machine has (%s)", name,
                                  cpu_names[best]);
        *out = (enum dvit_cpu)i;
        return DVIT_OK;
    }
    return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                          "unknown cpu level \"%s\", expected auto, reference, baseline, avx2 or "
                          "avx512",
                          name);
}

static const char *const precision_names[] = {
    [DVIT_PRECISION_F32] = "f32",
    [DVIT_PRECISION_BF16] = "bf16",
    [DVIT_PRECISION_INT8] = "int8",
};
_Static_assert(sizeof precision_names / sizeof *precision_names == DVIT_PRECISION_COUNT,
               "every precision has a name");

const char *dvit_precision_name(enum dvit_precision precision)
{
    return (unsigned)precision < DVIT_PRECISION_COUNT ? precision_names[precision] : "unknown";
}

bool dvit_cpu_can(enum dvit_cpu cpu, enum dvit_precision precision)
{
    if (precision == DVIT_PRECISION_F32 || cpu == DVIT_CPU_REFERENCE)
        return true;
    return cpu == DVIT_CPU_AVX512 &&
           (precision == DVIT_PRECISION_BF16 ? dvit_cpu_has_bf16() : dvit_cpu_has_vnni());
}

/* Where there are no products of less, rounding gains nothing: the plain C definition has them all,
 * and is slow in all. */
static enum dvit_precision fastest(enum dvit_cpu cpu, bool quantised)
{
    if (cpu == DVIT_CPU_REFERENCE)
        return DVIT_PRECISION_F32;
    if (quantised && dvit_cpu_can(cpu, DVIT_PRECISION_INT8))
        return DVIT_PRECISION_INT8;
    return dvit_cpu_can(cpu, DVIT_PRECISION_BF16) ? DVIT_PRECISION_BF16 : DVIT_PRECISION_F32;
}

enum dvit_status dvit_cpu_parse_precision(const char *name, enum dvit_cpu cpu, bool quantised,
                                          enum dvit_precision *out, struct dvit_error *error)
{
    *out = DVIT_PRECISION_F32;
    if (!name)
        return DVIT_OK;
    if (strcmp(name, "auto") == 0) {
        *out = fastest(cpu, quantised);
        return DVIT_OK;
    }
    for (int i = 0; i < DVIT_PRECISION_COUNT; i++) {
        if (strcmp(name, precision_names[i]) != 0)
            continue;
        *out = (enum dvit_precision)i;
        if (!dvit_cpu_can(cpu, *out))
            return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                                  "precision %s needs a processor with AVX-512 %s and the level "
                                  "avx512; this run has %s",
                                  name, *out == DVIT_PRECISION_BF16 ? "BF16" : "VNNI",
                                  dvit_cpu_name(cpu));
        return DVIT_OK;
    }
    return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                          "unknown precision \"%.40s\", expected f32, bf16, int8 or auto", name);
}

void dvit_cpu_describe(char *text, size_t capacity)
{
    static const char key[] = "model name";
    char info[2048]; /* the first processor's part */
    snprintf(text, capacity, "unknown");
    if (!dvit_file_read_start("/proc/cpuinfo", info, sizeof info))
        return;
    for (char *line = info, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        char *colon = strchr(line, ':');
        if (strncmp(line, key, sizeof key - 1) != 0 || !colon)
            continue;
        snprintf(text, capacity, "%s", colon[1] == ' ' ? colon + 2 : colon + 1);
        return;
    }
}
